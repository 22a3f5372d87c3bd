"""CT volumes as the worker prepares them (`ct-monai-1`): RAS axes, affine-true linear resampling, clip, mean and std.

The rule of MONAI's `Orientation` and `Spacing`: output voxel o of an axis lies at o new/old of the input, so that the
first voxels meet and every voxel is where its affine says. Arrays are indexed [x, y, z]; lengths are in mm.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """Voxels [x, y, z] with the affine from indices to mm, RAS+."""

    voxels: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Steps along the three axes in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def read(path: Path) -> Volume:
    """A 3-D NIfTI with its scaling applied. Raises ValueError for any other number of dimensions."""
    image = nibabel.load(path)
    if len(image.shape) != 3:
        raise ValueError(f"{path}: {len(image.shape)} dimensions, wanted 3")
    return Volume(np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64))


def to_ras(volume: Volume) -> Volume:
    """Axes permuted and mirrored to the closest of x right, y anterior, z superior."""
    steps = nibabel.io_orientation(volume.affine)
    voxels = nibabel.apply_orientation(volume.voxels, steps)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(steps, volume.voxels.shape)
    return Volume(np.ascontiguousarray(voxels), affine)


def from_ras(voxels: NDArray[Any], source: Volume) -> NDArray[Any]:
    """Voxels on the RAS axes of `source` (as it was read) back on its own axes."""
    same = nibabel.orientations.axcodes2ornt("RAS")
    back = nibabel.orientations.ornt_transform(same, nibabel.io_orientation(source.affine))
    return np.ascontiguousarray(nibabel.apply_orientation(voxels, back))


def resampled_shape(shape: tuple[int, ...], old: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[int, ...]:
    """Voxels along each axis: the new grid spans the centres of the old one, rounded (half to even)."""
    return tuple(int(np.round((n - 1) * a / b + 1)) for n, a, b in zip(shape, old, new, strict=True))


def resample(volume: Volume, spacing: tuple[float, float, float]) -> Volume:
    """Linear along each axis at o new/old, held at the edge; float32."""
    old, new = volume.spacing, np.asarray(spacing, dtype=np.float64)
    values = volume.voxels.astype(np.float32)
    for axis, count in enumerate(resampled_shape(values.shape, old, new)):
        values = _linear(values, axis, np.arange(count) * (new[axis] / old[axis]))
    affine = volume.affine.copy()
    affine[:3, :3] *= new / old
    return Volume(values, affine)


def _linear(values: NDArray[np.float32], axis: int, at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values at fractional indices along one axis, held at both ends."""
    last = values.shape[axis] - 1
    at = np.clip(at, 0.0, last)
    low = np.minimum(np.floor(at).astype(np.intp), max(last - 1, 0))
    high = np.minimum(low + 1, last)
    shape = [1] * values.ndim
    shape[axis] = len(at)
    part = (at - low).astype(np.float32).reshape(shape)
    return np.take(values, low, axis) * (1 - part) + np.take(values, high, axis) * part


def labels_to_source(labels: NDArray[Any], spacing: tuple[float, float, float], source: Volume) -> NDArray[Any]:
    """Labels on the model's grid to the nearest voxel of `source` (RAS axes): source voxel i lies at i old/new."""
    old = source.spacing
    out = labels
    for axis, count in enumerate(source.voxels.shape):
        at = np.rint(np.arange(count) * (old[axis] / spacing[axis])).astype(np.intp)
        out = np.take(out, np.clip(at, 0, labels.shape[axis] - 1), axis)
    return out


def normalise(values: NDArray[np.float32], clip: tuple[float, float], mean: float, std: float) -> NDArray[np.float32]:
    """HU clipped, minus mean, over std."""
    return ((np.clip(values, *clip) - mean) / std).astype(np.float32)
