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


def install(maps: GroupMaps, folder: Path) -> None:
    """Copies the file beside the manifest and writes its digest and affine there."""
    description = manifest.read(folder)
    table = description["maps"]
    # Keep the file as it is, compressed or not: its digest can then be compared with its origin's.
    table["file"] = "maps" + "".join(maps.path.suffixes[-2:] if maps.path.suffix == ".gz" else maps.path.suffixes[-1:])
    target = folder / str(table["file"])
    if maps.path.resolve() != target.resolve():
        shutil.copyfile(maps.path, target)
    table["sha256"] = manifest.sha256(target)
    table["affine"] = maps.affine
    manifest.write(folder, description)
