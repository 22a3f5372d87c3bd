"""Golden numbers of heatmaps: matplotlib's table, scikit-image's upsampling, NumPy's bytes. Writes heatmap.json beside itself.

    python worker/crates/radiograph/tests/golden/heatmap.py

Versions: numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 matplotlib==3.11.2
"""

import io
import json
from pathlib import Path

import matplotlib
import numpy as np
from skimage.transform import resize

# SciPy's filter, which scikit-image calls, is a spline through the values only where a line has enough of them (4e-8 off
# with seven, 1e-3 with three).
CASES = [(7, 7, 64), (14, 9, 50), (8, 8, 21)]


def case(height: int, width: int, size: int) -> dict:
    """A map and what becomes of it."""
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    cells = (12 * np.sin(1.7 * x + 0.9 * y * y) - 3 * y + x).astype(np.float32)
    large = resize(cells.astype(np.float64), (size, size), order=3, mode="symmetric", anti_aliasing=False)
    return {
        "height": height, "width": width, "size": size, "map": cells.ravel().tolist(),
        "upsampled": [round(value, 7) for value in large.ravel().tolist()],
    }  # fmt: skip


def main() -> None:
    """Writes the numbers."""
    table = [[round(255 * c) for c in matplotlib.colormaps["inferno"](i)[:3]] for i in range(256)]
    written = io.BytesIO()
    np.save(written, np.array([[1.0, 2.5, -3.0], [0.0, 1e-9, 7.0]], dtype="<f4"))
    golden = {"inferno": table, "upsampled": [case(*sizes) for sizes in CASES], "npy": list(written.getvalue())}
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
