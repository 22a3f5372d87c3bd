"""Compares two label maps on the same grid: Dice, RAVD, ASSD and MSSD of each label, in mm and mL.

    python models/tools/compare_labels.py TRUTH.nii.gz FOUND.nii.gz [--model models/ct-organs-demo] [--json]

RAVD is signed and relative to the first map. A dash stands where one of the maps has none of a label.
"""

import argparse
import json
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import ct
from nightread_models.volume_metrics import Agreement, agreement

# Affines as files keep them: float32.
SAME_MM = 1e-2


def compare(truth: Path, found: Path) -> tuple[dict[int, Agreement], float]:
    """Figures of each label that either map has, and the share of voxels with the same label.

    The maps may be stored with other axes (mirrored, permuted): both are brought to RAS. Raises ValueError where they
    are not on one grid.
    """
    a, b = ct.to_ras(ct.read(truth)), ct.to_ras(ct.read(found))
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= np.array(a.voxels.shape) - 1
    if a.voxels.shape != b.voxels.shape or np.abs((a.affine - b.affine) @ corners.T).max() > SAME_MM:
        raise ValueError(f"{truth} and {found} are not on one grid")
    for path, volume in ((truth, a), (found, b)):
        if not np.array_equal(volume.voxels, np.rint(volume.voxels)):
            raise ValueError(f"{path}: not whole numbers; a label map is wanted")
    spacing = tuple(float(side) for side in a.spacing)
    labels = sorted({int(value) for value in np.union1d(np.unique(a.voxels), np.unique(b.voxels))} - {0})
    figures = {value: agreement(a.voxels == value, b.voxels == value, spacing) for value in labels}
    return figures, float((a.voxels == b.voxels).mean())


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 on success, 2 with one line of explanation otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("found", type=Path)
    parser.add_argument("--model", type=Path, help="model folder whose labels the numbers are")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        figures, same = compare(options.truth, options.found)
        names = []
        if options.model:
            names = [row["name"] for row in tomllib.loads((options.model / "manifest.toml").read_text())["labels"]]
    except (OSError, ValueError, KeyError) as error:
        print(f"compare_labels: {error}", file=sys.stderr)
        return 2
    named = {names[value - 1] if 0 < value <= len(names) else str(value): row for value, row in figures.items()}
    if options.json:
        print(json.dumps({"same_voxels": same, "labels": {name: asdict(row) for name, row in named.items()}}, indent=2))
        return 0
    print(f"{same:.6%} of the voxels have the same label")
    print(f"{'label':28}{'Dice':>8}{'RAVD %':>10}{'ASSD mm':>10}{'MSSD mm':>10}{'truth mL':>11}{'found mL':>11}")
    for name, row in named.items():
        cells = [(row.dice, 8, 4), (row.ravd, 10, 2), (row.assd, 10, 3), (row.mssd, 10, 2)]
        cells += [(row.truth_ml, 11, 2), (row.found_ml, 11, 2)]
        print(f"{name:28}" + "".join(f"{'-':>{w}}" if v is None else f"{v:{w}.{d}f}" for v, w, d in cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
