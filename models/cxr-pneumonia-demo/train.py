"""Trains the pneumonia demonstration model from scratch, chooses, reports and exports it.

The recipe: progressive resizing (two epochs at 96 px, two at 128, two at 224), AdamW with one cycle
of the learning rate, small affine and contrast jitter. Training sees the data set's train patients
only. Its validation patients are split in two by patient: the epoch and the threshold are chosen on
one half, the figures come from the other.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import metrics, radiograph
from nightread_models.networks import DenseNet121

STAGES = ((96, 2), (128, 2), (224, 2))
BATCH = 32
PEAK_RATE = 1.5e-3
WEIGHT_DECAY = 0.05


def augment(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """(n, 1, 224, 224) -> (n, 1, side, side): rotated, shifted, scaled, contrast and brightness changed."""
    count = len(images)
    if side != images.shape[-1]:
        images = F.interpolate(images, size=side, mode="bilinear", antialias=True, align_corners=False)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high, generator=generator)

    angle = uniform(-0.17, 0.17)
    scale = uniform(0.9, 1.12)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = (cos, -sin, uniform(-0.1, 0.1), sin, cos, uniform(-0.1, 0.1))
    grid = F.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast, brightness = uniform(0.85, 1.15), uniform(-80.0, 80.0)
    images = images * contrast.view(-1, 1, 1, 1) + brightness.view(-1, 1, 1, 1)
    return images.clamp(-1024.0, 1024.0)


def predict(network: DenseNet121, images: Tensor) -> np.ndarray:
    """Logits (n,) in FP32."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(batch)[0][:, 0] for batch in images.split(BATCH)]).numpy()


def train(images: Tensor, truth: Tensor, options: argparse.Namespace) -> Iterator[tuple[str, DenseNet121]]:
    """Yields `(epoch name, network)` after each epoch at full size."""
    generator = torch.Generator().manual_seed(options.seed)
    network = DenseNet121(1).to(memory_format=torch.channels_last)
    # Weight decay is for convolutions and the classifier, not for norms and biases.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    )
    steps = len(images) // BATCH
    total = steps * sum(epochs for _, epochs in STAGES)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=total, pct_start=0.2)
    # Both classes weigh the same in the loss, whatever their share.
    share = truth.mean()
    weights = torch.where(truth > 0.5, 0.5 / share, 0.5 / (1 - share))
    for side, epochs in STAGES:
        for epoch in range(1, epochs + 1):
            began, losses = time.monotonic(), []
            network.train()
            order = torch.randperm(len(images), generator=generator)[: steps * BATCH]
            for rows in order.split(BATCH):
                batch = augment(images[rows], side, generator).contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                    logits = network(batch)[0][:, 0]
                loss = F.binary_cross_entropy_with_logits(logits.float(), truth[rows], weight=weights[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            seconds = time.monotonic() - began
            print(f"{side} px, epoch {epoch}: loss {np.mean(losses):.4f}, {seconds:.0f} s", flush=True)
            if side == radiograph.SIDE:
                yield f"{side} px, epoch {epoch}", network


def main() -> None:
    """Train, choose, report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python models/cxr-pneumonia-demo/train.py --bf16 --work target/cxr-pneumonia-demo",
    )
    parser.add_argument("--data", type=Path, default=radiograph.data_folder(), help="folder that holds xray/kermany")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the report")
    parser.add_argument("--seed", type=int, default=20230905)
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="sums depend on it: two made the shipped weights; on a busy machine one is far faster",
    )
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16 (evaluation stays FP32)")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    random.seed(options.seed)
    options.work.mkdir(parents=True, exist_ok=True)

    training = radiograph.kermany(options.data, "train")
    choosing, reported = radiograph.halves(radiograph.kermany(options.data, "val"))
    images, truth = torch.from_numpy(radiograph.load(training)), torch.from_numpy(radiograph.labels(training))
    choosing_images, choosing_truth = torch.from_numpy(radiograph.load(choosing)), radiograph.labels(choosing)

    best = (-1.0, "", 0.5)
    for name, network in train(images, truth, options):
        probabilities = metrics.sigmoid(predict(network, choosing_images))
        auc = metrics.mean_auc(choosing_truth[:, None], probabilities[:, None])
        print(f"{name}: choosing half AUC {auc:.4f}", flush=True)
        if auc > best[0]:
            best = (auc, name, metrics.youden_threshold(choosing_truth, probabilities))
            torch.save(network.state_dict(), options.work / "checkpoint.pt")

    network = DenseNet121(1)
    network.load_state_dict(torch.load(options.work / "checkpoint.pt", weights_only=True))
    probabilities = metrics.sigmoid(predict(network, torch.from_numpy(radiograph.load(reported))))
    truth_reported = radiograph.labels(reported)
    columns = truth_reported[:, None], probabilities[:, None]
    auc = metrics.by_group(
        lambda rows: metrics.mean_auc(columns[0][rows], columns[1][rows]), radiograph.patients(reported)
    )
    figures = metrics.at_threshold(truth_reported, probabilities, best[2])
    report = {
        "chosen": best[1],
        "choosing_auc": best[0],
        "threshold": best[2],
        "reported_auc": auc.as_list(),
        "reported_images": len(reported),
        "reported_patients": len(set(radiograph.patients(reported))),
        "sensitivity": figures.sensitivity,
        "specificity": figures.specificity,
        **asdict(figures),
    }
    (options.work / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
