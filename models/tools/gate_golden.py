"""Golden numbers for `nightread models gate`: what `quantise.judge` makes of made-up logits of two precisions.

    python models/tools/gate_golden.py

writes the file that the worker's own test reads. The second precision is the first rounded: as bfloat16 is, and so far
that ties arise and decisions turn.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "models" / part) for part in ("lib", "quantise")]

import quantise  # noqa: E402
from nightread_models import description  # noqa: E402
from nightread_models.evaluation import Items  # noqa: E402

GOLDEN = REPOSITORY / "worker/src/services/models/gate/golden.json"

MANIFEST = """schema = 1
name = "golden"
version = "1.0.0"
task = "radiograph"
description = "made up"
card = "README.md"

[weights.fp32]
file = "model.onnx"
sha256 = "{digest}"

[input]
name = "image"
item_shape = [1, 8, 8]
value_range = [-1024.0, 1024.0]

[preprocessing]
id = "xrv-1"
size = 8

{output}
[trained_on]
modality_words = "numbers"

[source]
data = "none"
citation = "none"
url = "none"
licence = "Apache-2.0"
not_for = "anything"
"""

ONE_HEAD = '[output]\nlogits = "logits"\nactivation = "{activation}"\ncalibration = "{calibration}"\n'
LABEL = '[[labels]]\nname = "{name}"\nthreshold = {threshold}\n'


def _labels(thresholds: list[float], more: str = "") -> str:
    return "".join(LABEL.format(name=f"L{at}", threshold=value) + more for at, value in enumerate(thresholds))


# Kind -> how far the logits spread. A narrow spread has many items at a threshold.
OUTPUTS = {
    "labels": (
        ONE_HEAD.format(activation="sigmoid", calibration="none")
        + _labels([0.5, 0.3, 0.62])
        + '[[labels]]\nname = ""\nsuppressed = true\n',
        2.0,
    ),
    "calibrated": (
        ONE_HEAD.format(activation="sigmoid", calibration="xrv-op-norm") + _labels([0.5, 0.4], "op_threshold = 0.2\n"),
        0.1,
    ),
    "classes": (ONE_HEAD.format(activation="softmax", calibration="none") + _labels([0.4, 0.4, 0.4]), 1.0),
    "heads": (
        '[[output.heads]]\nlogits = "one"\nactivation = "sigmoid"\ncalibration = "none"\n'
        '[[output.heads]]\nlogits = "other"\nactivation = "softmax"\ncalibration = "none"\n'
        + "".join(
            LABEL.format(name=f"L{at}", threshold=0.5) + f'head = "{head}"\n'
            for at, head in enumerate(["other", "one", "other", "one"])
        ),
        1.0,
    ),
}


# Each with the bits that the second precision has.
CASES = [("labels", 8), *((kind, 3) for kind in OUTPUTS)]


def _rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """The nearest numbers of so many significant bits; bfloat16 has eight."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 2.0**bits) / 2.0**bits, exponent).astype(np.float32)


def case(kind: str, bits: int, seed: int, count: int = 150) -> dict[str, Any]:
    """One manifest, `count` items of two precisions, and what `quantise.judge` says of them."""
    output, spread = OUTPUTS[kind]
    text = MANIFEST.format(digest="0" * 64, output=output)
    described = tomlkit.parse(text).unwrap()
    generator = np.random.default_rng(seed)
    labels = len(described["labels"])
    signal = generator.normal(size=(count, labels))
    logits = np.round(signal * spread, 3).astype(np.float32)
    rounded = _rounded(logits, bits)
    noisy = signal + generator.normal(size=signal.shape)
    if description.by_class(described):
        truth = noisy.argmax(1)
        truth[generator.random(count) < 0.1] = -1
    else:
        truth = (noisy > 0.5).astype(np.float64)
        truth[generator.random(truth.shape) < 0.1] = np.nan
    groups = np.array([f"p{number}" for number in generator.integers(count // 2, size=count)])
    calibration = np.zeros((300, 1), np.float32)
    evidence, reasons = quantise.judge(described, logits, rounded, Items(calibration, "", logits, truth, groups))
    return {
        "kind": kind,
        "manifest": text,
        "patients": groups.tolist(),
        "truth": np.where(np.isnan(truth), -1, truth).astype(int).tolist(),
        "fp32": logits.astype(np.float64).round(3).tolist(),
        "bf16": rounded.astype(np.float64).tolist(),
        "evidence": {key: evidence[key] for key in ("agreement", "metric", "fp32")} | {"bf16": evidence["int8"]},
        "reasons": reasons,
    }


def cases() -> list[dict[str, Any]]:
    """All of them, the same every time. Takes minutes: each AUC is drawn 4,000 times."""
    return [case(kind, bits, seed) for seed, (kind, bits) in enumerate(CASES)]


def text() -> str:
    """As the file has it: a line for each case."""
    return "[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases()) + "\n]\n"


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
