"""Whose rounding a difference is: answers in single precision held against the same network in double precision.

The weights and the tensor are those of single precision, converted without loss; double precision rounds 1e9 times
finer, so its logits stand for the exact ones. `models/tools/parity.py` prints what this finds.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn


@dataclass
class Seen:
    """One image: Nightread's document, PyTorch's logits, and by how much the probabilities differ at most."""

    path: str
    difference: float
    logits: np.ndarray
    probabilities: np.ndarray
    torch_logits: np.ndarray


def chosen(seen: list[Seen], count: int) -> list[Seen]:
    """Half of `count` images that differ most, and half spaced over the others."""
    seen = sorted(seen, key=lambda one: -one.difference)
    most, rest = seen[: count // 2], sorted(seen[count // 2 :], key=lambda one: one.path)
    spaced = count - len(most)
    return most + rest[:: max(1, len(rest) // max(1, spaced))][:spaced]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The logistic function in double precision."""
    return 1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64)))


def exact_logits(network: nn.Module, tensors: list[np.ndarray]) -> np.ndarray:
    """Logits in double precision, (images, labels)."""
    double = copy.deepcopy(network).double().eval()
    with torch.inference_mode():
        return np.stack([double(torch.from_numpy(tensor.copy()).double()[None])[0].numpy() for tensor in tensors])


def runtime_logits(file: Path, tensors: list[np.ndarray]) -> np.ndarray:
    """Logits by ONNX Runtime's own Python package on one thread, (images, labels)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(["logits"], {"image": np.ascontiguousarray(one[None])})[0][0] for one in tensors])


def off(logits: np.ndarray, exact: np.ndarray) -> str:
    """How far logits are from the exact ones: largest and root mean square, and the largest in probability."""
    apart = np.asarray(logits, np.float64) - exact
    probability = np.abs(sigmoid(logits) - sigmoid(exact)).max()
    return f"logits {np.abs(apart).max():.1e} (rms {np.sqrt((apart**2).mean()):.1e}), probabilities {probability:.1e}"


def told(network: nn.Module, last: nn.Linear, file: Path, seen: list[Seen], tensors: list[np.ndarray]) -> list[str]:
    """Lines on the errors of Nightread, of ONNX Runtime and of PyTorch, and on what Nightread adds to the runtime's."""
    exact = exact_logits(network, tensors)
    runtime = runtime_logits(file, tensors)
    ours = np.stack([one.logits for one in seen])
    written = np.stack([one.probabilities for one in seen])
    theirs = np.stack([one.torch_logits for one in seen])
    return [
        f"Nightread {off(ours, exact)}",
        f"ONNX Runtime in Python {off(runtime, exact)}",
        f"PyTorch {off(theirs, exact)}",
        f"PyTorch and Nightread apart: {off(theirs, ours.astype(np.float64))}",
        f"Nightread and ONNX Runtime in Python apart: {off(runtime, ours.astype(np.float64))}",
        f"Nightread's probabilities and its logits' sigmoid apart: {np.abs(written - sigmoid(ours)).max():.1e}",
        f"sums of the last layer reach {np.abs(exact - last.bias.detach().numpy()).max():.0f} before the bias, "
        f"logits {np.abs(exact).max():.1f}",
    ]
