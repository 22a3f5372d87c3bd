"""Golden framewise displacement by nipype's formula (`FramewiseDisplacement`, method Power). Writes motion.json beside itself.

    python worker/crates/fmri/tests/golden/motion.py

Versions: worker/benches/fmri/requirements.txt.
"""

import json
from pathlib import Path

import numpy as np

RADIUS_MM = 50


def main() -> None:
    """Writes the numbers."""
    t = np.arange(40)[:, None]
    k = np.arange(6)[None, :]
    parameters = np.cumsum(np.sin(0.7 * t * (k + 1) + k) * [0.1, 0.05, 0.2, 0.002, 0.001, 0.003], axis=0)
    parameters = parameters.round(9)
    # As nipype: millimetres first, then differences, magnitudes, and their sum.
    mm = parameters.copy()
    mm[:, 3:6] *= RADIUS_MM
    displacement = np.abs(mm[1:] - mm[:-1]).sum(axis=1)
    golden = {
        "parameters": parameters.tolist(), "displacement_mm": displacement.tolist(), "mean_mm": float(displacement.mean()),
    }  # fmt: skip
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
