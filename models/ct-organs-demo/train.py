"""Trains the CT demonstration from scratch, resumes where it stopped, and reports Dice as it goes.

Two single-thread processes average their gradients: a step is a batch of two. The first steps see the whole field of
the patch on coarse voxels, at a third of the cost; the rest the voxels and the patch of the manifest. Samples are
drawn by seed and number, so that a run that was stopped goes on with what it would have seen. What is kept is the
running mean of the weights; nothing is chosen by any score.

    OMP_WAIT_POLICY=passive nice python models/ct-organs-demo/train.py --data ../shared/data --work DIR

`--data` is the folder described in `bodies.py`; `--more FOLDER` adds a folder of TotalSegmentator's data set
(SUBJECT/ct.nii.gz with SUBJECT/labels.nii.gz, its numbers), which is what a model for anything but a demonstration
would need.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import bodies
import evaluate
import organs
from samples import Samples

from nightread_models.unet3d import UNet3d

# Side in voxels and mm of a voxel.
COARSE, FINE = (32, 7.5), (evaluate.SIDE, evaluate.VOXEL)
PEAK_RATE, WARM_UP, FALL = 3e-3, 60, 0.25
WEIGHT_DECAY = 0.01
MEAN_OF = 0.996
HEADS = (1.0, 0.5, 0.25)
# Small organs count for more in the cross-entropy; background, bones and bowel for less. Order of the outputs.
CLASS_WEIGHTS = (0.5, 1, 1.5, 1.5, 1.5, 1.5, 2.5, 2.5, 2, 2, 1, 0.8, 1)


def loss_of(logits: list[Tensor], truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy and soft Dice of the labels that are there, at three levels."""
    total = torch.zeros(())
    for scale, output in zip(HEADS, logits, strict=True):
        step = truth.shape[-1] // output.shape[-1]
        labels = truth[:, ::step, ::step, ::step]
        chances = output.softmax(1)
        right = chances.gather(1, labels[:, None]).flatten()
        count = torch.bincount(labels.flatten(), minlength=output.shape[1]).float()
        overlap = torch.zeros_like(count).index_add(0, labels.flatten(), right)
        size = chances.sum((0, 2, 3, 4)) + count
        there = count > 0
        there[0] = False
        missed = 1 - (2 * overlap[there] + 1) / (size[there] + 1)
        dice = missed.mean() if there.any() else missed.sum()
        total = total + scale * (F.cross_entropy(output, labels, weight=weights) + dice)
    return total / sum(HEADS)


def rate(step: int, steps: int) -> float:
    """Rises for some steps, stays, and falls to nothing over the last quarter."""
    left = (steps - step) / (FALL * steps)
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP, max(left, 0.01))


def share_gradients(network: nn.Module, processes: int, own_s: float) -> float:
    """Mean of the processes' gradients, in each of them. Returns the processor seconds of all."""
    if processes == 1:
        return own_s
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients] + [torch.tensor([own_s])])
    distributed.all_reduce(flat)
    all_s = float(flat[-1])
    flat /= processes
    for gradient, part in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
    return all_s


class Run:
    """Network, optimiser and the running mean of the weights, with what a checkpoint holds."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = UNet3d(organs.OUTPUTS)
        groups = [
            {"params": [p for p in self.network.parameters() if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in self.network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=PEAK_RATE)
        self.mean = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.step, self.coarse_steps, self.before_s, self.log = 0, 0, 0.0, list[dict[str, Any]]()

    def average(self) -> None:
        """Moves the running mean towards the weights; quickly at first."""
        keep = min(MEAN_OF, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.mean[name].lerp_(value, 1 - keep)

    def save(self, path: Path, processor_s: float) -> None:
        """Writes a checkpoint whole, or not at all."""
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "mean": self.mean}
        state |= {"step": self.step, "coarse_steps": self.coarse_steps, "processor_s": processor_s, "log": self.log}
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.mean, self.step, self.coarse_steps = state["mean"], state["step"], state["coarse_steps"]
        self.before_s, self.log = state["processor_s"], state["log"]

    def averaged(self) -> UNet3d:
        """The network with the running mean of its weights, for inference."""
        network = UNet3d(organs.OUTPUTS)
        network.load_state_dict(self.mean)
        return network.eval()


def score(run: Run, data: Path, processor_s: float) -> None:
    """Adds a row of Dice to the log, and says it."""
    network = run.averaged()
    with torch.inference_mode():
        report = evaluate.evaluate(data, lambda patch: network(torch.from_numpy(patch)).numpy(), phantoms=1)
    run.log.append({"step": run.step, "processor_s": round(processor_s), **report})
    print(json.dumps(run.log[-1]), flush=True)


def process(rank: int, options: argparse.Namespace, drawn: Samples) -> None:
    """One of the processes that train together; the first one writes, scores and speaks."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if options.processes > 1:
        meet = f"file://{(options.work / 'meet').resolve()}"
        distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=options.processes)
    run, kept = Run(options.seed), options.work / "checkpoint.pt"
    if kept.exists():
        run.load(kept)
    weights = torch.tensor(CLASS_WEIGHTS, dtype=torch.float32)
    steps, losses = options.coarse_steps + options.fine_steps, list[float]()
    began = time.process_time()
    while run.step < steps:
        side, voxel = COARSE if run.step < options.coarse_steps else FINE
        image, labels = drawn.sample(run.step * options.processes + rank, side, voxel)
        for group in run.optimiser.param_groups:
            group["lr"] = rate(run.step, steps)
        run.network.train()
        loss = loss_of(run.network(torch.from_numpy(image)[None, None]), torch.from_numpy(labels)[None].long(), weights)
        run.optimiser.zero_grad(set_to_none=False)
        loss.backward()
        spent = run.before_s + share_gradients(run.network, options.processes, time.process_time() - began)
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), 3.0)
        run.optimiser.step()
        run.step += 1
        run.coarse_steps += side == COARSE[0]
        run.average()
        losses.append(loss.item())
        if rank == 0 and run.step % 50 == 0:
            print(f"step {run.step} of {steps}: loss {np.mean(losses[-50:]):.4f}, {spent:.0f} processor s", flush=True)
        if rank == 0 and (run.step % options.score_every == 0 or run.step == steps):
            score(run, options.data, spent)
        if rank == 0 and (run.step % 50 == 0 or run.step == steps):
            run.save(kept, spent)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ct/, see bodies.py")
    parser.add_argument("--more", type=Path, help="folder of further subjects with CT and labels")
    parser.add_argument("--work", type=Path, required=True, help="checkpoint and log")
    parser.add_argument("--seed", type=int, default=20261130)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--coarse-steps", type=int, default=1200)
    parser.add_argument("--fine-steps", type=int, default=1600)
    parser.add_argument("--score-every", type=int, default=600)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / "meet").unlink(missing_ok=True)
    torch.set_num_threads(1)
    real = [bodies.abdomen(options.data), *bodies.subjects(options.more)]
    drawn = Samples(real, [bodies.trunk(options.data)], options.seed)
    if options.processes == 1:
        process(0, options, drawn)
    else:
        # Forked, so that the bodies are in memory once.
        torch.multiprocessing.start_processes(process, (options, drawn), options.processes, start_method="fork")
    return 0


if __name__ == "__main__":
    sys.exit(main())
