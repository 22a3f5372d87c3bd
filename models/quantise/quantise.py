"""Makes INT8 weights of a model folder, and writes them into its manifest only if they are good enough.

Static quantisation (QDQ) by ONNX Runtime: weights per channel, signed, with reduced range (7 bits, so that
processors without VNNI do not saturate); activations unsigned 8 bits. The scheme is called `u8s8-reduce-range`.
Before it, norms become integer-friendly convolutions and the channels of shared features get one range; the
classifier stays in FP32, and its bias takes up the mean error.
Calibration sees training items only. The gate, on items that neither training nor calibration saw: the same
decisions as FP32 on at least 99 % of the items, and a loss of at most half a point (AUC or accuracy). A
candidate that fails is not installed, and the manifest stays as it is.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is loaded

import numpy as np
import onnx
import tomlkit
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import equalise, evaluation, faster, graphs, manifest, onnx_export, radiograph
from nightread_models.evaluation import Items

TARGET = "u8s8-reduce-range"
LEAST_AGREEMENT = 0.99
GREATEST_LOSS = 0.005
LEAST_CALIBRATION = 300

EXAMPLES = """examples:
  python models/quantise/quantise.py --folder models/cxr-pneumonia-demo
  python models/quantise/quantise.py --folder /srv/nightread/models/fmri-jhu-58 --items prepared.npz
"""


class Batches(CalibrationDataReader):
    """Feeds (m, *item_shape) to the calibrator in batches."""

    def __init__(self, name: str, images: NDArray[np.float32], size: int = 8) -> None:
        self.batches: Iterator[dict[str, NDArray[np.float32]]] = iter(
            [{name: images[at : at + size]} for at in range(0, len(images), size)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None after the last."""
        return next(self.batches, None)


def quantise(
    source: Path, target: Path, images: NDArray[np.float32], keep_fp32: list[str], *, threads: int = 1
) -> list[str]:
    """Writes the INT8 version of `source`, calibrated on `images`; returns the names of nodes left in FP32.

    These are the classifier's (it costs little and errs most), the first convolution's if the image has one channel
    (it is faster so), and those in `keep_fp32`. Raises ValueError for a
    name that no node has.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        model = onnx.load(source)
        faster.fold_constants(model)
        graphs.norms_to_convolutions(model)
        graphs.pooling_to_convolutions(model)
        kept = graphs.stem(model)
        equalise.equalise_features(model, images, Path(folder))
        onnx.save(model, prepared)
        # Shapes of these networks are static but for the batch: ONNX's own inference suffices.
        quant_pre_process(prepared, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        if unknown := set(keep_fp32) - {node.name for node in model.graph.node}:
            raise ValueError(f"--keep-fp32: no node {', '.join(sorted(unknown))}")
        kept += graphs.head(model) + keep_fp32
        quantize_static(
            prepared,
            target,
            Batches(model.graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
        )
    # What rounding adds to each logit on average, taken off again: measured on the calibration items.
    wanted = evaluation.run(source, images, threads=threads)
    shift = (wanted - evaluation.run(target, images, threads=threads)).mean(0)
    model = onnx.load(target)
    graphs.shift_logits(model, shift)
    onnx_export.strip(model)
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString(deterministic=True))
    print(f"bias of the logits corrected by {np.array2string(shift, precision=3, threshold=8)}")
    return kept


def judge(
    description: dict[str, Any], fp32: NDArray[np.float32], int8: NDArray[np.float32], items: Items
) -> tuple[dict[str, Any], list[str]]:
    """The evidence for a manifest, from logits (n, labels) of both precisions, and why it does not suffice."""
    same = evaluation.decisions(description, fp32) == evaluation.decisions(description, int8)
    # An item agrees when all its findings do.
    agreement = float(same.reshape(len(same), -1).all(1).mean())
    metric, before = evaluation.score(description, fp32, items)
    _, after = evaluation.score(description, int8, items)
    evidence = {
        "calibration_sha256": items.calibration_sha256,
        "calibration_items": len(items.calibration),
        "agreement": round(agreement, 4),
        "metric": metric,
        "fp32": before.as_list(),
        "int8": after.as_list(),
        "evaluated_items": len(items.truth),
    }
    reasons = []
    # Written so that NaN fails too.
    if not agreement >= LEAST_AGREEMENT:
        reasons.append(f"agreement {agreement:.4f} below {LEAST_AGREEMENT}")
    if not before.value - after.value <= GREATEST_LOSS:
        reasons.append(f"{metric} falls from {before.value:.4f} to {after.value:.4f}, more than {GREATEST_LOSS}")
    if len(items.calibration) < LEAST_CALIBRATION:
        reasons.append(f"{len(items.calibration)} calibration items, fewer than {LEAST_CALIBRATION}")
    return evidence, reasons


def install(folder: Path, candidate: Path, evidence: dict[str, Any]) -> None:
    """Moves the candidate into the folder and writes `[weights.int8]`."""
    description = manifest.read(folder)
    file = "model.int8.onnx"
    shutil.move(candidate, folder / file)
    table = tomlkit.table()
    table.update({"file": file, "sha256": manifest.sha256(folder / file), "target": TARGET})
    proof = tomlkit.table()
    proof.update(evidence)
    proof.add(tomlkit.nl())
    table["evidence"] = proof
    description["weights"]["int8"] = table
    manifest.write(folder, description)


def quantise_folder(folder: Path, items: Items, keep_fp32: list[str], threads: int) -> list[str]:
    """Quantises, judges and, if good enough, installs; returns the reasons against (none: installed)."""
    description = manifest.read(folder).unwrap()
    source = folder / description["weights"]["fp32"]["file"]
    if description["weights"]["fp32"].get("sha256") != manifest.sha256(source):
        raise ValueError(f"{source}: not the file whose digest the manifest holds")
    with tempfile.TemporaryDirectory() as work:
        candidate = Path(work) / "candidate.onnx"
        kept = quantise(source, candidate, items.calibration, keep_fp32, threads=threads)
        fp32 = evaluation.run(source, items.evaluation, threads=threads)
        int8 = evaluation.run(candidate, items.evaluation, threads=threads)
        evidence, reasons = judge(description, fp32, int8, items)
        print(f"kept in FP32: {', '.join(kept) or 'none'}")
        print(f"largest difference of a logit: {np.abs(fp32 - int8).max():.3f}")
        for key, value in evidence.items():
            print(f"{key}: {value}")
        if not reasons:
            install(folder, candidate, evidence)
    return reasons


def main() -> int:
    """Command line; 0 when installed, 1 when the gate refused, 2 on an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="model folder with FP32 weights")
    parser.add_argument("--items", type=Path, help=".npz of prepared items; default: the Kermany data set")
    parser.add_argument("--data", type=Path, default=radiograph.data_folder(), help="folder that holds xray/kermany")
    parser.add_argument("--count", type=int, default=320, help="training items to calibrate on")
    parser.add_argument("--seed", type=int, default=20230905, help="chooses the calibration items")
    parser.add_argument("--keep-fp32", nargs="*", default=[], metavar="NODE", help="more nodes to leave in FP32")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    # The quantiser logs a warning for each step it thinks the caller forgot.
    logging.getLogger().setLevel(logging.ERROR)
    try:
        if options.items:
            items = evaluation.items_from_file(options.items)
        else:
            items = evaluation.kermany_items(options.data, options.count, options.seed)
        reasons = quantise_folder(options.folder, items, options.keep_fp32, options.threads)
    except (OSError, ValueError, KeyError) as error:
        print(f"quantise: {error}", file=sys.stderr)
        return 2
    for reason in reasons:
        print(f"not installed: {reason}", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
