"""Dual regression with nibabel and NumPy, as a whole process: the other side of compare.py.

`--dtype float64` is what the libraries do by themselves (`get_fdata`). `--dtype float32` is written with care: only
the mask's voxels are ever converted, in single precision, and nothing is kept twice.
"""

import argparse
import json
import time
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray


def dual_regression(
    y: NDArray[np.floating], s: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating], int]:
    """Scan (T, V) and maps (K, V) -> time courses (T, K), maps (K, V), t (K, V), degrees of freedom.

    Ordinary least squares with FSL's conventions: both stages demeaned, time courses normalised, dof T - K. Works in
    place on both arguments.
    """
    # Centred maps leave nothing of a volume's mean, so that the volumes need no centring of their own.
    s -= s.mean(1, keepdims=True)
    courses = np.linalg.solve(s @ s.T, s @ y.T).T
    design = courses - courses.mean(0)
    design /= design.std(0, ddof=1)
    y -= y.mean(0)
    inverse = np.linalg.inv(design.T @ design)
    betas = inverse @ (design.T @ y)
    dof = len(design) - design.shape[1]
    y -= design @ betas
    variance = np.einsum("tv,tv->v", y, y) / dof
    with np.errstate(divide="ignore", invalid="ignore"):
        t = betas / np.sqrt(np.diag(inverse)[:, None] * variance)
    return courses, betas, t, dof


def load(path: Path, inside: NDArray[np.bool_], dtype: str) -> NDArray[np.floating]:
    """(volumes, voxels) of a 4-D file."""
    image = nibabel.load(path)
    if dtype == "float64":
        return image.get_fdata()[inside].T.copy()
    # The file's own type, then the mask, then single precision.
    values = np.asanyarray(image.dataobj)[inside]
    return np.ascontiguousarray(values.T, dtype=np.float32)


def main() -> None:
    """Runs once and prints seconds and facts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--z", action="store_true", help="also z at every voxel (SciPy)")
    parser.add_argument("--out", type=Path, help="save time courses, betas and t here")
    parser.add_argument("maps", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("scan", type=Path)
    arguments = parser.parse_args()
    start = time.perf_counter()
    inside = np.asanyarray(nibabel.load(arguments.mask).dataobj) > 0
    maps = load(arguments.maps, inside, arguments.dtype)
    prepared = time.perf_counter() - start
    scan = load(arguments.scan, inside, arguments.dtype)
    varies = scan.min(0) != scan.max(0)
    if not varies.all():
        maps, scan = maps[:, varies], scan[:, varies]
    courses, betas, t, dof = dual_regression(scan, maps)
    if arguments.z:
        from scipy import stats

        z = np.sign(t) * stats.norm.isf(stats.t.sf(np.abs(t), dof))
        assert z.shape == t.shape
    seconds = time.perf_counter() - start - prepared
    if arguments.out:
        np.savez(arguments.out, courses=courses, betas=betas, t=t)
    print(json.dumps({"maps_seconds": prepared, "seconds": seconds, "voxels": int(inside.sum())}))


if __name__ == "__main__":
    main()
