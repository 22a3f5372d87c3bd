"""How two label maps agree: Dice, relative volume difference, and distances between surfaces in mm.

Surfaces are the voxels of a label that one erosion by six neighbours takes away; distances run between voxel centres.
The four figures are those of the CHAOS challenge (Kavur et al., Med Image Anal 69:101950, 2021).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Figures of one label; None where one of the maps has none of it."""

    # 2 |A and B| / (|A| + |B|); None where neither map has it.
    dice: float | None
    # 100 (|B| - |A|) / |A| in percent, A the truth; signed.
    ravd: float | None
    # Mean distance from the surfaces of both maps to that of the other, mm.
    assd: float | None
    # Greatest such distance (Hausdorff), mm.
    mssd: float | None
    truth_ml: float
    found_ml: float


def surface(mask: Mask) -> Mask:
    """Voxels of the mask with a neighbour (of six) outside of it; beyond the array is outside."""
    return mask & ~ndimage.binary_erosion(mask)


def surface_distances(truth: Mask, found: Mask, spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distances in mm from every surface voxel of either mask to the nearest of the other. Both hold something."""
    a, b = surface(truth), surface(found)
    to_b = ndimage.distance_transform_edt(~b, sampling=spacing)
    to_a = ndimage.distance_transform_edt(~a, sampling=spacing)
    return np.concatenate([to_b[a], to_a[b]])


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around the mask, one voxel wider where there is room."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in found)


def agreement(truth: Mask, found: Mask, spacing: tuple[float, float, float]) -> Agreement:
    """All figures of two masks on the same grid, `spacing` in mm along the array's axes.

    Raises ValueError where the grids differ.
    """
    if truth.shape != found.shape:
        raise ValueError(f"label maps of {truth.shape} and {found.shape} voxels")
    voxel_ml = float(np.prod(spacing)) / 1000
    a, b = int(truth.sum()), int(found.sum())
    volumes = {"truth_ml": a * voxel_ml, "found_ml": b * voxel_ml}
    if not a and not b:
        return Agreement(None, None, None, None, **volumes)
    dice = 2 * int((truth & found).sum()) / (a + b)
    if not a or not b:
        return Agreement(dice, -100.0 if a else None, None, None, **volumes)
    # The outermost slices of the box are empty but at the array's own border, as they are in the whole array.
    box = _box(truth | found)
    distances = surface_distances(truth[box], found[box], spacing)
    return Agreement(dice, 100 * (b - a) / a, float(distances.mean()), float(distances.max()), **volumes)
