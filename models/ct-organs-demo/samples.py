"""Training samples: patches of deformed bodies, each decided by a seed and its number alone. Never mirrored."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import organs
import paint
import torch
from bodies import Body, means
from numpy.typing import NDArray
from torch.nn import functional as F

from nightread_models import ct

Array = NDArray[np.float32]
Random = np.random.Generator

CLIP, MEAN, STD = (-200.0, 300.0), 50.0, 100.0
# Shares of the three sources.
REAL, REPAINTED = 0.4, 0.25
# How often a patch is centred near each label: the large ones are in most patches anyway.
NEAR = {"liver": 4, "spleen": 2, "kidney_right": 2, "kidney_left": 2, "stomach": 2, "gallbladder": 1.5, "pancreas": 2}
NEAR |= {"aorta": 1, "inferior_vena_cava": 1, "lungs": 1, "bones": 0.7, "bowel": 0.7}


@dataclass(frozen=True)
class Warp:
    """From patch to body: mm = centre + matrix @ (mm from the patch's middle) + elastic displacement."""

    centre: NDArray[np.float64]
    matrix: NDArray[np.float64]
    # Displacements in mm at control points (3, n, n, n) that span the patch.
    control: Array


@lru_cache(maxsize=32)
def _spline(points: int, controls: int) -> Array:
    """(points, controls) weights of a cubic B-spline over an interval, the outer controls repeated."""
    at = np.linspace(0, controls - 1, points)
    weights = np.zeros((points, controls), np.float32)
    for offset in range(-1, 3):
        index = np.floor(at).astype(int) + offset
        t = np.abs(at - index)
        value = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))
        np.add.at(weights, (np.arange(points), np.clip(index, 0, controls - 1)), value.astype(np.float32))
    return weights


def warp(body: Body, random: Random, *, strength: float, centre: NDArray[np.float64] | None = None) -> Warp:
    """A random place and shape. `strength` 1: +-14 degrees, 0.78 to 1.28 along each axis, 9 mm of elastic."""
    if centre is None:
        if random.random() < 0.12:
            centre = random.uniform(0, 1, 3) * np.array(body.structures.shape) * body.spacing
        else:
            names = [name for index, name in enumerate(organs.LABELS, 1) if index in body.where]
            odds = np.array([NEAR[name] for name in names])
            name = names[random.choice(len(names), p=odds / odds.sum())]
            voxels = body.where[list(organs.LABELS).index(name) + 1]
            centre = voxels[random.integers(len(voxels))] * body.spacing + random.uniform(-70, 70, 3)
    a, b, c = random.uniform(-0.25, 0.25, 3) * strength
    turn = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = turn @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    size = np.exp(random.uniform(-0.12, 0.12) * strength + random.uniform(-0.13, 0.13, 3) * strength)
    control = random.normal(0, 9.0 * strength * random.uniform(0.3, 1.3), (3, 5, 5, 5)).astype(np.float32)
    return Warp(centre, turn * size, control)


def indices(body: Body, to: Warp, shape: tuple[int, int, int], voxel: float) -> Array:
    """Fractional voxel indices of the body (3, x, y, z) under a patch of `shape` voxels of `voxel` mm."""
    x, y, z = (_spline(n, to.control.shape[1]) for n in shape)
    # The spline's own smoothing takes half of the displacement's spread.
    moved = np.einsum("cijk,xi->cxjk", 2.0 * to.control, x)
    moved = np.einsum("cxjk,yj->cxyk", moved, y)
    moved = np.einsum("cxyk,zk->cxyz", moved, z)
    axes = [((np.arange(n) - (n - 1) / 2) * voxel).astype(np.float32) for n in shape]
    for row in range(3):
        moved[row] += np.float32(to.centre[row])
        moved[row] += np.float32(to.matrix[row, 0]) * axes[0][:, None, None]
        moved[row] += np.float32(to.matrix[row, 1]) * axes[1][None, :, None]
        moved[row] += np.float32(to.matrix[row, 2]) * axes[2][None, None, :]
        moved[row] /= np.float32(body.spacing[row])
    return moved


def nearest(volume: NDArray[np.generic], at: Array) -> NDArray[np.generic]:
    """Values at the nearest voxels, held at the edge."""
    whole = [np.clip(np.rint(a), 0, n - 1).astype(np.int32) for a, n in zip(at, volume.shape, strict=True)]
    flat = (whole[0] * np.int32(volume.shape[1]) + whole[1]) * np.int32(volume.shape[2]) + whole[2]
    return np.take(volume.ravel(), flat)


def linear(volume: Array, at: Array) -> Array:
    """Trilinear values, held at the edge."""
    sizes = np.array(volume.shape, np.float32) - 1
    # The sampler takes the last axis first, from -1 to 1 between the centres of the outer voxels.
    grid = np.stack([at[axis] * (2 / sizes[axis]) - 1 for axis in (2, 1, 0)], -1)
    found = F.grid_sample(
        torch.from_numpy(volume)[None, None], torch.from_numpy(grid)[None], padding_mode="border", align_corners=True
    )
    return found[0, 0].numpy()


def phantom(body: Body, to: Warp, shape: tuple[int, int, int], voxel: float, random: Random) -> tuple[Array, Array]:
    """HU and labels of a phantom, painted on voxels of half the size and averaged, as a scanner averages."""
    assert body.outside is not None
    fine = tuple(2 * n for n in shape)
    at = indices(body, to, fine, voxel / 2)
    hu = paint.phantom(nearest(body.structures, at), nearest(body.outside, at), voxel / 2, random)
    hu = F.avg_pool3d(torch.from_numpy(hu)[None], 2)[0].numpy()
    structures = nearest(body.structures, indices(body, to, shape, voxel))
    return hu, organs.table()[structures]


def held_slab(image: Array, labels: Array, random: Random) -> tuple[Array, Array]:
    """A series that ends within the patch: slices beyond are those of its ends, as the worker pads."""
    count = image.shape[2]
    thick = int(random.integers(8, count + 1))
    low = int(random.integers(0, count - thick + 1))
    rows = np.clip(np.arange(count), low, low + thick - 1)
    return image[:, :, rows], labels[:, :, rows]


class Samples:
    """Patches by number: `sample(n)` is the same whatever was drawn before."""

    def __init__(self, real: list[Body], painted: list[Body], seed: int) -> None:
        self.real, self.painted, self.seed = real, painted, seed
        self.means = [means(body) for body in real]

    def sample(self, number: int, side: int, voxel: float) -> tuple[Array, NDArray[np.uint8]]:
        """Prepared image and labels (side, side, side), voxels of `voxel` mm."""
        random = np.random.default_rng((self.seed, number))
        kind, shape = random.random(), (side, side, side)
        if kind < REAL + REPAINTED or not self.painted:
            chosen = int(random.integers(len(self.real)))
            body = self.real[chosen]
            hu = body.hu if kind < REAL else paint.repainted(body, self.means[chosen], random)
            at = indices(body, warp(body, random, strength=1.0), shape, voxel)
            image, labels = linear(hu, at), organs.table()[nearest(body.structures, at)]
        else:
            body = self.painted[int(random.integers(len(self.painted)))]
            image, labels = phantom(body, warp(body, random, strength=1.2), shape, voxel, random)
        image = paint.as_scanned(image, voxel, random)
        if random.random() < 0.35:
            image, labels = held_slab(image, labels, random)
        return np.ascontiguousarray(ct.normalise(image, CLIP, MEAN, STD)), np.ascontiguousarray(labels)
