"""Which recipes are held against the peers, on which volumes."""

import numpy as np

STANDARDISED = {"clip": [-1004.0, 1588.0], "mean": -50.4, "std": 503.4}
SPLEEN = {"clip": [-57.0, 164.0], "range": [0.0, 1.0]}


def totalseg(spacing, order=1):
    return {"id": "ct-totalseg-1", "spacing_mm": spacing, "orientation": "RAS", "axis_order": "zyx", "order": order, **STANDARDISED}


def nnunet(spacing, order=3, orientation="none", axis_order="zyx"):
    return {"id": "ct-nnunet-1", "spacing_mm": spacing, "orientation": orientation, "axis_order": axis_order, "order": order,
            **STANDARDISED}


def monai(spacing, intensity, axis_order="xyz"):
    return {"id": "ct-monai-1", "spacing_mm": spacing, "orientation": "RAS", "axis_order": axis_order, "order": 1, **intensity}


def volume_recipes(name):
    """Recipes for a real volume, and whether controls are tried with them."""
    small = name == "example_ct"
    yield totalseg([2.0] * 3 if small else [3.0] * 3), True
    yield nnunet([1.7, 1.7, 2.3] if small else [1.5] * 3), True
    yield monai([2.0, 2.0, 3.0] if small else [1.5, 1.5, 2.0], SPLEEN), True
    yield nnunet([2.0, 2.0, 7.5], orientation="RAS") if small else nnunet([0.8, 0.8, 3.0], orientation="RAS"), False
    yield totalseg([3.0] * 3) if small else totalseg([1.5] * 3), False
    yield monai([4.0] * 3, {"clip": [-200.0, 300.0], "mean": 50.0, "std": 100.0}), False
    yield monai([2.0 if small else 3.0] * 3, {"range": [-1.0, 1.0]}), False
    if not small:
        yield totalseg([3.0] * 3, order=3), False


def affine(columns, origin, mm):
    """Columns as world directions with signs (1-based), voxel edges along the source's axes."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, column in enumerate(columns):
        matrix[abs(column) - 1, axis] = np.sign(column) * mm[axis]
    matrix[:3, 3] = origin
    return matrix


def rotated(matrix, degrees):
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    return (turn @ matrix).astype(np.float32).astype(float)


def golden_cases():
    """Small volumes: names, values, affines, recipes."""
    random = np.random.default_rng(17)

    def body(shape):
        return random.integers(-1100, 1700, shape).astype(np.int16)

    ras, lps = affine([1, 2, 3], [-8, 4, 100], [1.5, 1.5, 2.0]), affine([-1, -2, 3], [90, 80, -30], [0.9, 0.9, 2.5])
    sagittal = affine([3, -1, 2], [7, -3, 11], [0.8, 3.0, 1.1])
    tilted = lps.copy()
    tilted[1, 2] = 0.9
    padded = body((7, 6, 8))
    padded[0], padded[:, :, -2:] = 0, 0
    yield "totalseg_ras", body((9, 7, 6)), ras, totalseg([2.0, 2.0, 2.0])
    yield "totalseg_lps_up", body((5, 6, 4)), lps, totalseg([0.5, 0.6, 2.0])
    yield "totalseg_sagittal", body((8, 4, 7)), sagittal, totalseg([1.5, 1.5, 1.5])
    yield "totalseg_cubic", body((7, 6, 5)), lps, totalseg([1.5, 1.5, 1.5], order=3)
    # Eleven places of five voxels: the way back meets halves.
    yield "totalseg_halves", body((11, 5, 3)), affine([1, 2, 3], [0, 0, 0], [0.6, 1.0, 4.0]), totalseg([1.2, 2.0, 4.0])
    yield "totalseg_same", body((4, 5, 3)), ras, totalseg([1.5, 1.5, 2.0])
    yield "totalseg_zeros", padded, ras, totalseg([1.1, 1.3, 1.7])
    yield "totalseg_flat", body((6, 5, 1)), ras, totalseg([3.0, 3.0, 3.0])
    yield "nnunet_down", body((9, 7, 6)), lps, nnunet([1.6, 1.6, 3.1])
    yield "nnunet_up", body((5, 4, 4)), ras, nnunet([0.8, 0.9, 1.2])
    yield "nnunet_slices", body((6, 7, 5)), affine([-1, -2, 3], [1, 2, 3], [0.8, 0.8, 5.0]), nnunet([1.1, 1.0, 3.0])
    yield "nnunet_slices_model", body((6, 7, 8)), ras, nnunet([1.0, 1.2, 6.5])
    yield "nnunet_slices_x", body((4, 8, 7)), affine([1, 2, 3], [1, 2, 3], [6.0, 1.0, 1.0]), nnunet([1.8, 1.5, 1.5])
    yield "nnunet_sagittal_ras", body((8, 4, 7)), sagittal, nnunet([1.5, 1.5, 1.5], orientation="RAS")
    yield "nnunet_yzx", body((6, 5, 7)), lps, nnunet([1.5, 1.2, 2.0], axis_order="yzx")
    yield "nnunet_linear", body((6, 5, 7)), lps, nnunet([1.5, 1.2, 2.0], order=1)
    yield "nnunet_same", body((5, 4, 3)), ras, nnunet([1.5, 1.5, 2.0])
    yield "nnunet_zeros", padded, lps, nnunet([1.1, 1.3, 1.7])
    yield "monai_range", body((9, 7, 6)), lps, monai([1.5, 1.5, 2.0], SPLEEN)
    yield "monai_sagittal", body((8, 4, 7)), sagittal, monai([1.5, 1.4, 1.3], STANDARDISED)
    yield "monai_zyx_nonzero", body((7, 6, 5)), ras, monai([1.1, 1.2, 1.3], {"range": [-1.0, 1.0]}, axis_order="zyx")
    # A source of half the model's steps: every second voxel is half-way.
    yield "monai_halves", body((9, 8, 5)), affine([1, 2, 3], [0, 0, 0], [0.75, 0.75, 2.0]), monai([1.5, 1.5, 2.0], SPLEEN)
    # The same where torch's own rounding decides, in no order (so far as its size goes: thin, and long).
    yield "monai_halves_long", body((300, 2, 2)), affine([-1, 2, 3], [0, 0, 0], [0.75, 1.0, 2.0]), monai([1.5, 1.5, 2.0], SPLEEN)
    yield "monai_thirds_long", body((2, 333, 2)), affine([1, 2, 3], [5, 6, 7], [1.5, 1.0, 2.0]), monai([1.0, 2.0, 2.0], SPLEEN)
    yield "monai_near", body((6, 5, 4)), affine([1, 2, 3], [0, 0, 0], [1.4995, 1.0, 2.0]), monai([1.5, 1.5, 2.0], SPLEEN)
    yield "monai_same", body((4, 3, 5)), ras, monai([1.5, 1.5, 2.0], SPLEEN)
    yield "monai_oblique", body((7, 6, 5)), rotated(lps, 17.0), monai([1.5, 1.5, 2.0], SPLEEN)
    yield "monai_tilted", body((7, 6, 8)), tilted, monai([1.5, 1.4, 2.1], SPLEEN)
