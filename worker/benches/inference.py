"""Inference side by side: stock PyTorch, OpenVINO, Nightread's engine; one network, one run, one machine.

Two full-size networks with seeded random weights: the PadChest DenseNet-121 at (1, 1, 224, 224) and the fMRI ResNet-50
at (8, 3, 45, 45). Every way of running them is a process of its own; all are measured in turn, in another order each
time. The INT8 weights are quantised here and are for speed only: random weights have no accuracy to lose.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import ROOT, Contender, machine, quartiles, table
from torch import nn

sys.path[:0] = [str(ROOT / "models" / "lib"), str(ROOT / "models" / "quantise")]

import quantise
from nightread_models import evaluation, manifest, onnx_export
from nightread_models.evaluation import Items

TIME_MODEL = ROOT / "target" / "release" / "time_model"
MODELS = {"densenet": ("padchest-26", 1, 16), "resnet": ("fmri-jhu-58", 8, 64)}
PYTHON = {
    "torch": "PyTorch, inference_mode",
    "torch-grad": "PyTorch as in the article, no inference_mode",
    "torch-channels-last": "PyTorch, channels-last",
    "ipex": "intel-extension-for-pytorch 2.8, PyTorch 2.8",
    "openvino": "OpenVINO, FP32",
    "openvino-default": "OpenVINO, precision left to it",
}
NIGHTREAD = [("cpu", "fp32"), ("openvino", "fp32"), ("cpu", "int8"), ("openvino", "int8")]


def random_network(description: dict[str, Any]) -> nn.Module:
    """Seeded weights, and norms with the statistics of one random batch, so that activations stay as tame as trained."""
    torch.manual_seed(58)
    network = manifest.network_for(description)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    low, high = (float(end) for end in description["input"]["value_range"])
    with torch.no_grad():
        network.train()(torch.empty(4, *description["input"]["item_shape"]).uniform_(low, high))
    return network.eval()


def prepare(kind: str, work: Path) -> Path:
    """`work/<kind>` with state dict, input of one batch, and a model folder in both precisions; made once."""
    name, batch, calibration = MODELS[kind]
    folder = work / kind
    if (folder / "ready").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    model = manifest.prepare_folder(manifest.MODELS / name, folder)
    description = manifest.read(model).unwrap()
    network = random_network(description)
    torch.save(network.state_dict(), folder / "state.pt")
    shape = tuple(description["input"]["item_shape"])
    low, high = description["input"]["value_range"]
    onnx_export.export(network, shape, model / "model.fp32.onnx")
    print(
        f"{kind}: export differs by {onnx_export.check_parity(network, model / 'model.fp32.onnx', shape, (low, high)):.1e}"
    )
    if "maps" in description:
        # The engine opens the network only; any files satisfy the manifest.
        table_ = manifest.read(model)
        maps = table_["maps"]
        for name, digest in (("file", "sha256"), ("mask", "mask_sha256")):
            if name in maps:
                (model / maps[name]).write_bytes(b"no maps: speed only")
                maps[digest] = manifest.sha256(model / maps[name])
        manifest.write(model, table_)
    manifest.fill_weights(model)
    images = np.random.default_rng(1).uniform(low, high, (2 * calibration, *shape)).astype(np.float32)
    items = Items(
        images[:calibration], "0" * 64, images[calibration:], np.zeros(calibration, int), np.arange(calibration)
    )
    logging.getLogger().setLevel(logging.ERROR)
    quantise.quantise(model / "model.fp32.onnx", model / "candidate.onnx", items.calibration, [])
    logits = [evaluation.run(model / f, items.evaluation, threads=1) for f in ("model.fp32.onnx", "candidate.onnx")]
    same = evaluation.decisions(description, logits[0]) == evaluation.decisions(description, logits[1])
    evidence = {
        "calibration_sha256": "0" * 64, "calibration_items": calibration, "evaluated_items": calibration,
        "agreement": round(float(same.mean()), 4), "metric": "accuracy",
        "fp32": [1.0, 1.0, 1.0], "int8": [round(float(same.mean()), 4)] * 3,
    }  # fmt: skip
    quantise.install(model, model / "candidate.onnx", evidence)
    image = images[:batch]
    np.save(folder / "input.npy", image)
    image.astype("<f4").tofile(folder / "input.f32")
    (folder / "ready").touch()
    return folder


def start(kind: str, folder: Path, threads: int, ipex: Path | None) -> list[Contender]:
    """All contenders for one network and number of threads, warm."""
    name, batch, _ = MODELS[kind]
    found = []
    for way, words in PYTHON.items():
        interpreter = ipex if way == "ipex" else Path(sys.executable)
        if interpreter is None:
            continue
        command: list[str | Path] = [
            interpreter, Path(__file__).with_name("contender.py"), way, kind, folder / "state.pt", folder / "input.npy",
            str(threads),
        ]  # fmt: skip
        found.append(Contender(words, command, threads, folder / f"{way}.log"))
    for provider, precision in NIGHTREAD:
        command = [
            TIME_MODEL, folder / name, precision, provider, str(batch), str(threads), folder / "input.f32",
        ]  # fmt: skip
        words = f"Nightread, {'ONNX Runtime' if provider == 'cpu' else 'OpenVINO provider'}, {precision.upper()}"
        found.append(Contender(words, command, threads, folder / f"nightread-{provider}-{precision}.log"))
    return found


def figures(contenders: list[Contender], kind: str, threads: int) -> list[dict[str, Any]]:
    """Of each: wall time (quartiles), ratio to stock PyTorch, processor time, furthest logit; null where it failed."""
    reference = contenders[0]
    wanted = np.array(reference.logits)
    found = []
    for contender in contenders:
        row: dict[str, Any] = {"engine": contender.name, "network": kind, "threads": threads}
        row |= dict.fromkeys(("ms", "ratio", "processor_ms", "apart"))
        if not contender.failure and contender.wall:
            row["ms"] = quartiles(contender.wall)
            row["processor_ms"] = quartiles(contender.processor)[1]
            if not reference.failure:
                # Of each pair in one turn, so that a busy moment meets both.
                row["ratio"] = quartiles([a / b for a, b in zip(reference.wall, contender.wall, strict=True)])[1]
                row["apart"] = float(np.abs(np.array(contender.logits) - wanted).max() / np.abs(wanted).max())
        found.append(row)
    return found


def line(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if row["ms"] is None:
        return [row["engine"], "failed", "", "", ""]
    low, middle, high = row["ms"]
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    apart = "" if row["apart"] is None else f"{row['apart']:.0e}"
    busy = f"{row['processor_ms']:.1f}" if row["threads"] == 1 else ""
    return [row["engine"], f"{middle:.1f} ({low:.1f} to {high:.1f})", ratio, busy, apart]


def main() -> None:
    """Prepares, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and logs")
    parser.add_argument("--pairs", type=int, default=21)
    parser.add_argument("--network", choices=MODELS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("--ipex-python", type=Path, help="interpreter that has intel-extension-for-pytorch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ipex = options.ipex_python
    if ipex is None or not ipex.exists():
        ipex = None
        print("SKIPPED: intel-extension-for-pytorch: its wheel is not installed")
    folders = {kind: prepare(kind, options.work.resolve()) for kind in options.network or MODELS}
    print(f"{machine()}\n{options.pairs} turns, medians (quartiles) of milliseconds")
    cores = len(os.sched_getaffinity(0))
    measured = []
    for kind, folder in folders.items():
        shape = np.load(folder / "input.npy").shape
        for threads in sorted({1, cores}):
            contenders = start(kind, folder, threads, ipex)
            generator = np.random.default_rng(threads)
            for _ in range(options.pairs):
                for index in generator.permutation(len(contenders)):
                    contenders[index].measure()
            for contender in contenders:
                contender.close()
            print(f"\n{MODELS[kind][0]} {shape}, {threads} thread(s); load {os.getloadavg()[0]:.1f}\n")
            header = ["", "ms", "times as fast as stock PyTorch", "ms of processor", "furthest logit, relative"]
            rows = figures(contenders, kind, threads)
            measured += rows
            print(table(header, [line(row) for row in rows]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
