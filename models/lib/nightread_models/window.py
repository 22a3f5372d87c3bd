"""Sliding windows over a volume as MONAI's `sliding_window_inference` lays and weighs them."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def starts(size: int, patch: int, overlap: float) -> list[int]:
    """First indices of the patches along an axis of `size` >= `patch`; the last one ends with the axis."""
    step = patch if patch == size else max(int(patch * (1 - overlap)), 1)
    count = next(n for n in range(1, size + 2) if (n - 1) * step + patch >= size)
    return [min(n * step, size - patch) for n in range(count)]


def gaussian(patch: int, scale: float = 0.125) -> Array:
    """One axis of MONAI's importance map: a Gaussian about the middle, sigma = `scale` of the patch."""
    at = np.arange(-(patch - 1) / 2, (patch - 1) / 2 + 1, dtype=np.float32)
    return np.exp(at**2 / np.float32(-2 * (patch * scale) ** 2))


def padded(volume: Array, patch: tuple[int, ...]) -> tuple[Array, tuple[slice, ...]]:
    """The volume with edge values up to a patch's size, half on each side, and where it lies in that."""
    lacks = [max(p - n, 0) for p, n in zip(patch, volume.shape, strict=True)]
    pads = [(lack // 2, lack - lack // 2) for lack in lacks]
    inside = tuple(slice(low, low + n) for (low, _), n in zip(pads, volume.shape, strict=True))
    return np.pad(volume, pads, mode="edge"), inside


def places(shape: tuple[int, ...], patch: tuple[int, ...], overlap: float) -> Iterator[tuple[slice, ...]]:
    """Where the patches lie, last axis fastest."""
    axes = [starts(n, p, overlap) for n, p in zip(shape, patch, strict=True)]
    for firsts in product(*axes):
        yield tuple(slice(at, at + p) for at, p in zip(firsts, patch, strict=True))


def infer(
    volume: Array, patch: tuple[int, ...], overlap: float, network: Callable[[Array], Array], *, weighted: bool = True
) -> Array:
    """Mean logits (channels, x, y, z) of all patches, by Gaussian weights (else equal ones).

    `network` maps a patch (1, 1, x, y, z) to logits (1, channels, x, y, z).
    """
    image, inside = padded(volume, patch)
    axes = [gaussian(p) if weighted else np.ones(p, np.float32) for p in patch]
    # The floor keeps a corner's weight from vanishing, as MONAI does it.
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    weights = np.maximum(weights, max(float(weights.min()), 1e-3))
    total, logits = np.zeros(image.shape, np.float32), None
    for place in places(image.shape, patch, overlap):
        out = network(np.ascontiguousarray(image[place])[None, None])[0]
        if logits is None:
            logits = np.zeros((len(out), *image.shape), np.float32)
        logits[(slice(None), *place)] += out * weights
        total[place] += weights
    assert logits is not None
    return (logits / total)[(slice(None), *inside)]
