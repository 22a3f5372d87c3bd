"""Golden numbers of a dual regression with confounds: nilearn's `clean`, then NumPy. Writes confounds.json beside itself.

    python worker/crates/fmri/tests/golden/confounds.py

The problem is made of sines, so that the test makes the same without a file. T = 48, V = 90, K = 3, five confounds of
which one depends on the others; the first three volumes are dropped, and volumes of greater displacement than 0.5.
Versions: worker/benches/fmri/requirements.txt.
"""

import json
from pathlib import Path

import numpy as np
from nilearn.signal import clean

T, V, K, DROPPED, LIMIT = 48, 90, 3, 3, 0.5


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scan (T, V), maps (K, V), confounds (T, 5), framewise displacement (T)."""
    t, v, k = np.arange(T)[:, None], np.arange(V)[None, :], np.arange(K)
    maps = np.stack([np.sin(0.37 * (n + 1) * v[0] + n) + 0.2 for n in k])
    courses = np.stack([np.cos(0.31 * (n + 1) * t[:, 0] + 0.4 * n) for n in k], 1)
    confounds = np.stack(
        [np.sin(0.9 * t[:, 0]), 0.01 * t[:, 0] + 3, np.cos(1.7 * t[:, 0] + 1), np.sin(2.3 * t[:, 0] ** 1.5)], 1
    )
    confounds = np.column_stack([confounds, 2 * confounds[:, 0] - confounds[:, 1] + 7])
    noise = 0.5 * np.sin(1.3 * t + 2.9 * v + 0.17 * t * v) + 0.3 * np.cos(0.7 * t * t + 1.9 * v)
    shares = np.stack([np.cos(0.23 * (n + 2) * v[0]) for n in range(4)])
    scan = 900 + 3 * np.sin(v) + 4 * courses @ maps + 6 * confounds[:, :4] @ shares + noise
    displacement = 0.3 + 0.25 * np.sin(1.1 * t[:, 0])
    return scan, maps, confounds, displacement


def dual_regression(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Time courses (T, K) and maps (K, V), FSL's conventions, time courses normalised."""
    s = s - s.mean(1, keepdims=True)
    courses = np.linalg.solve(s @ s.T, s @ (y - y.mean(1, keepdims=True)).T).T
    design = courses - courses.mean(0)
    design /= design.std(0, ddof=1)
    return courses, np.linalg.solve(design.T @ design, design.T @ (y - y.mean(0)))


def main() -> None:
    """Writes the numbers."""
    scan, maps, confounds, displacement = problem()
    kept = np.flatnonzero((np.arange(T) >= DROPPED) & (displacement <= LIMIT))
    cleaned = clean(
        scan, detrend=False, standardize=False, standardize_confounds=True, filter=False, confounds=confounds,
        sample_mask=kept,
    )  # fmt: skip
    courses, betas = dual_regression(cleaned, maps)
    golden = {
        "kept": kept.tolist(), "courses": courses.tolist(), "betas_sum_of_magnitudes": np.abs(betas).sum(1).tolist(),
        "betas_first_voxels": betas[:, :12].tolist(),
    }  # fmt: skip
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
    print(f"{len(kept)} of {T} volumes, {V} voxels")


if __name__ == "__main__":
    main()
