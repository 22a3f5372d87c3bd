"""What INT8 does to a network of volumes: Dice of each label against FP32, time and peak memory, on both providers.

    python worker/benches/volumes/int8.py models/ct-organs-demo --data ../shared/data --work .cache/bench-int8

Static quantisation (QDQ) by ONNX Runtime, the scheme of `models/quantise/quantise.py`: weights per channel in 7 bits,
activations unsigned 8 bits. Convolutions are quantised but for the first and those that give the logits; ONNX Runtime
has no transposed convolution and no norm in integers, so both stay in FP32. Calibration sees patches of one real CT
(TotalSegmentator's `example_ct`); labels are compared on that CT and on another patient's series of 20 slices.

Both precisions are read by `nightread process`: INT8 as a copy of the model folder with other weights. Times are of
whole processes, in turn.
"""

import argparse
import os
import statistics
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is loaded

import compare
import nibabel
import numpy as np
import onnx
from measured import Measured, measure
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(compare.ROOT / "models/lib"))

from nightread_models import ct, manifest, window

# Patches that the calibrator sees: it keeps every tensor of each until it is done.
PATCHES = 6


class Patches(CalibrationDataReader):
    """Patches of a CT as the network's manifest asks for them, in its order of axes."""

    def __init__(self, description: dict, path: Path) -> None:
        settings = description["preprocessing"]
        volume = ct.resample(ct.to_ras(ct.read(path)), tuple(settings["spacing_mm"]))
        low, high = settings["clip"]
        values = ct.normalise(volume.voxels, (low, high), settings["mean"], settings["std"])
        # Patches are told in the network's order, volumes as x, y, z.
        values = values.transpose(["xyz".index(axis) for axis in settings["axis_order"]])
        patch = tuple(description["input"]["item_shape"][1:])
        values, _ = window.padded(values, patch)
        places = list(window.places(values.shape, patch, 0.5))
        chosen = places[:: max(1, len(places) // PATCHES)][:PATCHES]
        self.name = description["input"]["name"]
        self.values: Iterator[NDArray[np.float32]] = iter([np.ascontiguousarray(values[place]) for place in chosen])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next patch, or None after the last."""
        values = next(self.values, None)
        return None if values is None else {self.name: values[None, None]}


def kept(model: onnx.ModelProto) -> list[str]:
    """The first convolution and the last ones: those whose outputs are the network's."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    outputs = {output.name for output in model.graph.output}
    return [convolutions[0].name, *(node.name for node in convolutions if outputs & set(node.output))]


def quantised(folder: Path, out: Path, calibration: Path) -> str:
    """Writes OUT/NAME-int8, a model folder; returns its name."""
    description = manifest.read(folder).unwrap()
    name = f"{description['name']}-int8"
    own = out / name
    own.mkdir(parents=True, exist_ok=True)
    weights = own / "model.fp32.onnx"
    prepared = out / "prepared.onnx"
    quant_pre_process(folder / description["weights"]["fp32"]["file"], prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    quantize_static(
        prepared,
        weights,
        Patches(description, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept(model),
    )
    (own / description["card"]).write_text(f"# {name}\n\nA measurement of INT8; not for reading.\n", encoding="utf-8")
    changed = manifest.read(folder)
    changed["name"], changed["weights"] = name, {"fp32": {"file": weights.name, "sha256": ""}}
    manifest.write(own, changed)
    manifest.fill_weights(own)
    return name


def series(data: Path, work: Path) -> Path:
    """The slices of another patient, in one archive."""
    path = work / "series.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for slice_ in sorted((data / "ct/totalsegmentator/example_ct_dicom").glob("*.dcm")):
            archive.write(slice_, slice_.name)
    return path


def read(options: argparse.Namespace, models: Path, name: str, provider: str, study: Path) -> tuple[Measured, Path]:
    """Reads a study; returns what that took and the label map."""
    out = options.work / f"results-{provider}"
    command = [options.binary, "process", study, "--model", name, "--models", models, "--out", out, "--force", "-q"]
    environment = {"NIGHTREAD_MODELS_PROVIDER": provider, "NIGHTREAD_MODELS_RUNTIME": compare.runtime(provider)}
    run = measure(command, options.work / "worker.log", environment=environment | {"RUST_LOG": "error"})
    if run.ended:
        raise SystemExit(f"{name}, {provider}, {study.name}: {run.ended}")
    (labels,) = (out / name).glob(f"**/{study.name.split('.')[0]}*.labels.nii.gz")
    return run, labels


def dice(one: Path, other: Path) -> dict[int, float]:
    """Dice of each label that either of two maps of one study has."""
    a, b = (np.asarray(nibabel.load(path).dataobj).astype(np.uint8).ravel() for path in (one, other))
    both = np.bincount(a[a == b], minlength=256)
    each = np.bincount(a, minlength=256) + np.bincount(b, minlength=256)
    return {int(value): 2 * float(both[value] / each[value]) for value in np.flatnonzero(each)}


def held(options: argparse.Namespace, study: Path, folders: dict[str, tuple[Path, str]]) -> None:
    """Both precisions on both providers, in turn; then labels against those of FP32 on the CPU."""
    runs: dict[tuple[str, str], list[Measured]] = {}
    labels: dict[tuple[str, str], Path] = {}
    for _ in range(options.runs):
        for provider in options.providers:
            for precision, (models, name) in folders.items():
                run, labels[provider, precision] = read(options, models, name, provider, study)
                runs.setdefault((provider, precision), []).append(run)
    print(study.name)
    for (provider, precision), values in runs.items():
        seconds, processor, mib = (
            statistics.median(getattr(run, key) for run in values) for key in ("seconds", "processor", "mib")
        )
        print(f"  {provider:9} {precision:5} {seconds:7.2f} s {processor:7.2f} s of processor {mib:6.0f} MiB")
    first = labels[options.providers[0], "fp32"]
    names = [row["name"] for row in manifest.read(options.folder).unwrap()["labels"]]
    for (provider, precision), path in labels.items():
        if path == first:
            continue
        found = dice(first, path)
        named = {names[value - 1]: round(score, 4) for value, score in found.items() if value}
        least, mean = min(named.values(), default=1.0), np.mean(list(named.values()))
        print(f"  {provider} {precision}: least Dice against FP32 {least}, mean {mean:.4f}; {named}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="model folder of task segmentation, with mean and std")
    parser.add_argument("--binary", type=Path, default=compare.ROOT / "target/release/nightread")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--providers", nargs="+", choices=compare.PROVIDERS, default=list(compare.PROVIDERS))
    options = parser.parse_args()
    options.work, options.folder = options.work.resolve(), options.folder.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    example = options.data / "ct/totalsegmentator/example_ct.nii.gz"
    made = options.work / "models"
    name = quantised(options.folder, made, example)
    folders = {"fp32": (options.folder.parent, options.folder.name), "int8": (made, name)}
    for study in (example, series(options.data, options.work)):
        held(options, study, folders)


if __name__ == "__main__":
    main()
