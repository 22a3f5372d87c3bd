"""Golden DVARS by nipype's `ComputeDVARS`, which fMRIPrep's tables have. Writes dvars.json beside itself.

    python worker/crates/fmri/tests/golden/dvars.py

The scan is made of sines, so that the test makes the same without a file. T = 60, V = 90; the voxels differ in how much and how
smoothly they change, one volume jumps, and two voxels never change: the
others are even in number, so that the worker's pairs of voxels hold all of them.
Versions: nipype 1.11.0 with those of worker/crates/fmri/bench/requirements.txt.
"""

import json
import tempfile
from pathlib import Path

import nibabel as nb
import numpy as np
from nipype.algorithms.confounds import compute_dvars

T, DIMS = 60, (9, 5, 2)


def scan() -> np.ndarray:
    """T x V, voxels in the order of a file."""
    t, v = np.arange(T)[:, None], np.arange(90)[None, :]
    smooth = (1 + 0.03 * v) * np.sin(0.21 * t + 0.7 * v) + 0.6 * np.cos(0.5 * t * (1 + 0.01 * v))
    rough = (0.5 + 0.02 * v) * np.sin(1.3 * t * t + 2.9 * v + 0.17 * t * v)
    jump = 7.0 * (t == 33) * np.cos(0.4 * v)
    return 900 + 40 * np.sin(v) + (v != 17) * (v != 40) * (smooth + rough + jump)


def main() -> None:
    """Writes the numbers."""
    volumes = scan().T.reshape(*DIMS, T, order="F")
    with tempfile.TemporaryDirectory() as folder:
        func, mask = Path(folder) / "func.nii.gz", Path(folder) / "mask.nii.gz"
        nb.save(nb.Nifti1Image(volumes, np.eye(4)), func)
        nb.save(nb.Nifti1Image(np.ones(DIMS, np.uint8), np.eye(4)), mask)
        standardised, raw, _ = compute_dvars(str(func), str(mask), remove_zerovariance=True)
    golden = {"raw": raw.tolist(), "standardised": standardised.tolist()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
    print(f"{len(raw)} values, standardised from {standardised.min():.3f} to {standardised.max():.3f}")


if __name__ == "__main__":
    main()
