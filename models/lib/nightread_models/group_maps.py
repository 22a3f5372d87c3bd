"""Group-ICA maps of fMRI models: a 4-D NIfTI that the worker regresses scans onto."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from nightread_models import manifest


@dataclass(frozen=True)
class GroupMaps:
    """A checked file, with the affine (voxel indices to millimetres, 4x4) that its header holds."""

    path: Path
    affine: list[list[float]]


def read(path: Path, expected: Mapping[str, Any]) -> GroupMaps:
    """Checks the file against a manifest's `[maps]`: count, grid, finite values, no constant map.

    Raises ValueError that names the difference.
    """
    image = nibabel.load(path)
    wanted = (*(int(side) for side in expected["grid"]), int(expected["count"]))
    if tuple(image.shape) != wanted:
        raise ValueError(f"{path}: shape {tuple(image.shape)}, the manifest says {wanted}")
    values = np.asarray(image.dataobj, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: holds values that are not finite")
    constant = np.flatnonzero(np.ptp(values.reshape(-1, wanted[3]), axis=0) == 0)
    if constant.size:
        raise ValueError(f"{path}: constant maps {constant.tolist()}")
    return GroupMaps(path, [[float(x) for x in row] for row in image.affine])


def read_mask(path: Path, maps: GroupMaps) -> Path:
    """Checks that a brain mask is 3-D, on the grid of the maps, and neither empty nor the whole box.

    Raises ValueError that names the difference.
    """
    mask, image = nibabel.load(path), nibabel.load(maps.path)
    if tuple(mask.shape) != tuple(image.shape[:3]) or not np.allclose(mask.affine, image.affine, atol=0.01):
        raise ValueError(f"{path}: the mask is not on the grid of {maps.path}")
    inside = np.asanyarray(mask.dataobj) > 0
    if not inside.any() or inside.all():
        raise ValueError(f"{path}: the mask tells no brain from the rest")
    return path


def install(maps: GroupMaps, folder: Path, mask: Path | None = None) -> None:
    """Copies the maps, and their brain mask, beside the manifest and writes digests and affine there."""
    description = manifest.read(folder)
    table = description["maps"]
    table["file"], table["sha256"] = copy(maps.path, folder, "maps")
    table["affine"] = maps.affine
    if mask:
        table["mask"], table["mask_sha256"] = copy(mask, folder, "mask")
    else:
        # Without a mask the worker only warns about coverage; it must not look for a file that is not there.
        table.pop("mask", None)
    manifest.write(folder, description)


def copy(path: Path, folder: Path, name: str) -> tuple[str, str]:
    """Puts a file into the folder under a name, compressed or not as it is, so that digests can be compared.

    Returns its file name and digest.
    """
    target = folder / (name + "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]))
    if path.resolve() != target.resolve():
        shutil.copyfile(path, target)
    return target.name, manifest.sha256(target)
