"""Trains the demonstration classifier of fMRI components on simulated cohorts, reports, and writes the model folder.

Inputs are the projections that `simulate.py` made with the project's own dual regression. Training sees four in five
subjects of the first cohorts; "held-out subjects" are their other subjects, "held-out cohorts" are cohorts whose
parcellation, smoothness and group maps it never saw. Nothing is chosen on either: the last epoch is taken.

    python models/fmri-networks-demo/train.py --cohorts DIR --work DIR --bf16
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import onnx
import torch
from networks7 import LABELS
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import compact, manifest, onnx_export
from nightread_models.networks import ResNet50

HERE = Path(__file__).resolve().parent
# Side in pixels, batch, epochs: the first epochs learn on shrunk projections at a quarter of the cost.
# Two cycles of the learning rate, each with its peak and its seed's offset.
CYCLES = ((1e-3, ((24, 64, 4), (45, 32, 1))), (4e-4, ((45, 32, 2),)))
WEIGHT_DECAY = 0.05
HELD_OUT_COHORTS = 2


def load(folder: Path) -> dict[str, NDArray[Any]]:
    """All cohorts' inputs (n, 3, 45, 45) uint8 with truth, cohort and subject."""
    parts: dict[str, list[NDArray[Any]]] = {"inputs": [], "truth": [], "subjects": [], "cohorts": []}
    for number, path in enumerate(sorted(folder.glob("cohort*/inputs.npz"))):
        with np.load(path) as arrays:
            for name in ("inputs", "truth", "subjects"):
                parts[name].append(arrays[name])
            parts["cohorts"].append(np.full(len(arrays["truth"]), number))
    return {name: np.concatenate(list_of_arrays) for name, list_of_arrays in parts.items()}


def rescale(images: Tensor) -> Tensor:
    """Joint min-max over the three projections, as the worker does it."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-6)


def smooth_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Noise with a grain of a few pixels, standard deviation near one."""
    coarse = torch.randn((*shape[:2], 12, 12), generator=generator)
    return F.interpolate(coarse, size=shape[-2:], mode="bicubic", align_corners=False)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """The three projections of one volume moved, mirrored and blurred together, with noise; rescaled.

    Axes: channel 0 is [x, y], channel 1 [y, z], channel 2 [x, z]. A blur of a projection is the projection of a blur.
    """
    out = torch.empty_like(images)
    padded = F.pad(images, (3, 3, 3, 3), mode="replicate")
    for n, image in enumerate(padded):
        x, y, z = (int(v) for v in torch.randint(0, 7, (3,), generator=generator))
        for channel, (rows, columns) in enumerate(((x, y), (y, z), (x, z))):
            out[n, channel] = image[channel, rows : rows + 45, columns : columns + 45]
        if torch.rand((), generator=generator) < 0.5:
            out[n, 0], out[n, 2] = out[n, 0].flip(0), out[n, 2].flip(0)
    # One blur for a batch, from none to the grain of a 10 mm scan.
    sigma = float(torch.rand((), generator=generator)) * 2.2
    if sigma > 0.3:
        taps = torch.arange(-7, 8, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
        kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).repeat(3, 1, 1, 1)
        out = F.conv2d(F.pad(out, (7, 7, 0, 0), mode="replicate"), kernel, groups=3)
        out = F.conv2d(F.pad(out, (0, 0, 7, 7), mode="replicate"), kernel.transpose(2, 3), groups=3)
    amount = 0.06 * torch.rand((len(out), 1, 1, 1), generator=generator)
    return rescale(out + amount * smooth_noise(tuple(out.shape), generator))


def train(network: ResNet50, inputs: Tensor, truth: Tensor, cycle: int, options: argparse.Namespace) -> None:
    """One cycle: AdamW, label smoothing, rarer classes weighted up by the root of their rarity."""
    peak, stages = CYCLES[cycle]
    generator = torch.Generator().manual_seed(options.seed + cycle)
    network.to(memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, fused=True)
    total = sum(len(inputs) // batch * epochs for _, batch, epochs in stages)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=total, pct_start=0.2)
    counts = torch.bincount(truth, minlength=len(LABELS)).clamp_min(1).float()
    weights = (counts.sum() / counts).sqrt()
    weights /= (weights * counts).sum() / counts.sum()
    for side, size, epoch in [(side, size, n + 1) for side, size, epochs in stages for n in range(epochs)]:
        began, losses, steps = time.monotonic(), [], len(inputs) // size
        network.train()
        order = torch.randperm(len(inputs), generator=generator)[: steps * size]
        for rows in order.split(size):
            batch = augment(inputs[rows].float() / 255, generator)
            if side != batch.shape[-1]:
                batch = F.interpolate(batch, size=side, mode="bilinear", antialias=True, align_corners=False)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                logits = network(batch.contiguous(memory_format=torch.channels_last))[0]
            loss = F.cross_entropy(logits.float(), truth[rows], weight=weights, label_smoothing=0.05)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if len(losses) % 20 == 0:
                recent = np.mean(losses[-20:])
                print(f"{side} px, epoch {epoch}, step {len(losses)} of {steps}: loss {recent:.4f}", flush=True)
        print(f"{side} px, epoch {epoch}: loss {np.mean(losses):.4f}, {time.monotonic() - began:.0f} s", flush=True)
        torch.save(network.state_dict(), options.work / "checkpoint.pt")


def predict(path: Path, inputs: NDArray[np.float32], threads: int = 2) -> NDArray[np.float32]:
    """Logits (n, labels) of an ONNX file."""
    runtime = onnx_export.session(path, threads=threads)
    name = runtime.get_inputs()[0].name
    parts = [runtime.run(["logits"], {name: inputs[at : at + 32]})[0] for at in range(0, len(inputs), 32)]
    return np.concatenate(parts)


def report_on(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, its count, and recall by class."""
    right = logits.argmax(1) == truth
    present = [k for k in range(len(LABELS)) if (truth == k).any()]
    return {
        "accuracy": round(float(right.mean()), 4),
        "items": len(truth),
        "recall": {LABELS[k]: round(float(right[truth == k].mean()), 4) for k in present},
    }


def write_folder(network: ResNet50, options: argparse.Namespace, evaluation: NDArray[np.float32]) -> dict[str, Any]:
    """ONNX in the model folder, compact; differences to the wide one, and the group maps of the demonstration."""
    wide, target = options.work / "wide.onnx", HERE / "model.fp32.onnx"
    network.to(memory_format=torch.contiguous_format)
    onnx_export.export(network, (3, 45, 45), wide)
    parity = onnx_export.check_parity(network, wide, (3, 45, 45), (0.0, 1.0))
    model = onnx.load(wide)
    compact.store_int8(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
    a, b = predict(wide, evaluation), predict(target, evaluation)
    manifest.fill_weights(HERE)
    return {
        "export_difference": parity,
        "wide_bytes": wide.stat().st_size,
        "stored_bytes": target.stat().st_size,
        "stored_same_decision": float((a.argmax(1) == b.argmax(1)).mean()),
        "stored_largest_logit_difference": float(np.abs(a - b).max()),
    }


def install_maps(cohort: Path) -> None:
    """The reference cohort's group maps as 8-bit NIfTI beside the manifest; which component is what, as JSON."""
    image = nibabel.load(cohort / "maps.nii.gz")
    values = np.asarray(image.dataobj, dtype=np.float32)
    stored = nibabel.Nifti1Image(values, image.affine)
    stored.header.set_data_dtype(np.int8)
    slope = float(np.abs(values).max()) / 127
    stored = nibabel.Nifti1Image(np.rint(values / slope).astype(np.int8), image.affine)
    stored.header.set_slope_inter(slope, 0)
    stored.header.set_sform(image.affine, code=4)
    nibabel.save(stored, HERE / "maps.nii.gz")
    table = manifest.read(HERE)
    table["maps"]["sha256"] = manifest.sha256(HERE / "maps.nii.gz")
    table["maps"]["count"] = values.shape[3]
    table["maps"]["affine"] = [[float(x) for x in row] for row in image.affine]
    manifest.write(HERE, table)
    shutil.copyfile(cohort / "labels.json", HERE / "maps.labels.json")


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=Path, required=True, help="what simulate.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the report")
    parser.add_argument("--reference", type=int, default=1, help="cohort whose group maps are shipped")
    parser.add_argument("--seed", type=int, default=20230905)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16 (evaluation stays FP32)")
    parser.add_argument("--from-cycle", type=int, default=0, help="go on with the checkpoint in the work folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    data = load(options.cohorts)
    last = int(data["cohorts"].max())
    unseen = data["cohorts"] > last - HELD_OUT_COHORTS
    held_out = ~unseen & (data["subjects"] % 5 == 4)
    training = ~unseen & ~held_out
    print(
        f"{training.sum()} to train, {held_out.sum()} of held-out subjects, {unseen.sum()} of held-out cohorts",
        flush=True,
    )
    network = ResNet50(len(LABELS))
    if options.from_cycle:
        network.load_state_dict(torch.load(options.work / "checkpoint.pt", weights_only=True))
    chosen = torch.from_numpy(data["inputs"][training]), torch.from_numpy(data["truth"][training])
    for cycle in range(options.from_cycle, len(CYCLES)):
        train(network, *chosen, cycle, options)
    scaled = {name: data["inputs"][rows].astype(np.float32) / 255 for name, rows in (("s", held_out), ("c", unseen))}
    install_maps(sorted(options.cohorts.glob("cohort*"))[options.reference])
    report = {"storage": write_folder(network, options, np.concatenate(list(scaled.values())))}
    report["held_out_subjects"] = report_on(predict(HERE / "model.fp32.onnx", scaled["s"]), data["truth"][held_out])
    report["held_out_cohorts"] = report_on(predict(HERE / "model.fp32.onnx", scaled["c"]), data["truth"][unseen])
    reference = held_out & (data["cohorts"] == options.reference)
    own = data["inputs"][reference].astype(np.float32) / 255
    report["shipped_maps"] = report_on(predict(HERE / "model.fp32.onnx", own), data["truth"][reference])
    (options.work / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
