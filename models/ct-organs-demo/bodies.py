"""What the demonstration learns from: one real abdomen with machine labels, and one body of labels without a CT."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import organs
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from nightread_models import ct

ABDOMEN = Path("ct/totalsegmentator/example_ct.nii.gz")
ABDOMEN_LABELS = Path("ct/totalsegmentator/example_seg_fast_force_split.nii.gz")
TRUNK_LABELS = Path("ct/totalsegmentator_dataset_s0327/s0327_labels_1.5mm.nii.gz")
# Upper arms lie beside the trunk: they are no part of its outline.
ARMS = (69, 70)


@dataclass(frozen=True)
class Body:
    """Structures [x, y, z] by TotalSegmentator's numbers on RAS axes, `spacing` in mm; HU where there is a CT.

    `outside` is the distance in mm from the hull of the structures (0 within), for painting skin, fat and air.
    """

    structures: NDArray[np.uint8]
    spacing: NDArray[np.float64]
    hu: NDArray[np.float32] | None = None
    outside: NDArray[np.float32] | None = None
    # Voxel indices (n, 3) of each label, a few thousand of each at most.
    where: dict[int, NDArray[np.int32]] = field(default_factory=dict)


def _where(structures: NDArray[np.uint8]) -> dict[int, NDArray[np.int32]]:
    """Some voxels of every label that the body has."""
    labels = organs.table()[structures]
    found = {}
    for index in range(1, organs.OUTPUTS):
        voxels = np.argwhere(labels == index).astype(np.int32)
        if len(voxels):
            found[index] = voxels[:: len(voxels) // 4000 + 1]
    return found


def _outside_hull(structures: NDArray[np.uint8], spacing: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distance in mm from each slice's convex hull, 0 within, on every second voxel of each axis, repeated."""
    coarse = structures[::2, ::2, ::2]
    inside = (coarse > 0) & ~np.isin(coarse, ARMS)
    hull = np.zeros_like(inside)
    for z in range(coarse.shape[2]):
        if inside[:, :, z].sum() > 3:
            hull[:, :, z] = convex_hull_image(inside[:, :, z])
    distance = ndimage.distance_transform_edt(~hull, sampling=tuple(2 * spacing)).astype(np.float32)
    for axis in range(3):
        distance = np.repeat(distance, 2, axis)
    return np.ascontiguousarray(distance[tuple(slice(0, n) for n in structures.shape)])


def _labels(path: Path) -> ct.Volume:
    """A label map on RAS axes, uint8."""
    volume = ct.to_ras(ct.read(path))
    return ct.Volume(np.ascontiguousarray(volume.voxels.astype(np.uint8)), volume.affine)


def abdomen(data: Path) -> Body:
    """TotalSegmentator's example CT, labels by TotalSegmentator itself."""
    scan, labels = ct.to_ras(ct.read(data / ABDOMEN)), _labels(data / ABDOMEN_LABELS)
    if scan.voxels.shape != labels.voxels.shape or not np.allclose(scan.affine, labels.affine, atol=1e-3):
        raise ValueError(f"{data / ABDOMEN_LABELS}: not on the grid of {ABDOMEN.name}")
    hu = np.maximum(scan.voxels, -1024).astype(np.float32)
    return Body(labels.voxels, scan.spacing, hu=hu, where=_where(labels.voxels))


def trunk(data: Path) -> Body:
    """Subject s0327 of TotalSegmentator's data set: 117 structures, neck to thigh."""
    labels = _labels(data / TRUNK_LABELS)
    outside = _outside_hull(labels.voxels, labels.spacing)
    return Body(labels.voxels, labels.spacing, outside=outside, where=_where(labels.voxels))


def means(body: Body) -> NDArray[Any]:
    """Mean HU of each structure (256), NaN for those that are not there."""
    assert body.hu is not None
    count = np.bincount(body.structures.ravel(), minlength=256)
    total = np.bincount(body.structures.ravel(), weights=body.hu.ravel(), minlength=256)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def subjects(folder: Path | None) -> list[Body]:
    """Further subjects with CT and labels, sorted by name: SUBJECT/ct.nii.gz, SUBJECT/labels.nii.gz."""
    found = []
    for path in sorted(folder.glob("*/ct.nii.gz")) if folder else []:
        scan, labels = ct.to_ras(ct.read(path)), _labels(path.with_name("labels.nii.gz"))
        if scan.voxels.shape != labels.voxels.shape:
            raise ValueError(f"{path.parent}: labels are not on the grid of the CT")
        hu = np.maximum(scan.voxels, -1024).astype(np.float32)
        found.append(Body(labels.voxels, scan.spacing, hu=hu, where=_where(labels.voxels)))
    return found
