"""CT volumes and windows: what MONAI's own transforms and inferer give."""

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, ScaleIntensityRange, Spacing
from scipy import ndimage

from nightread_models import ct, window

# Axes as stored, spacing along them, voxels.
CASES = {
    "axial": ("LPS", (0.8, 0.8, 5.0), (40, 36, 12)),
    "turned": ("SAR", (2.0, 0.9, 1.1), (14, 33, 28)),
    "fine": ("RAS", (1.5, 1.5, 1.5), (31, 30, 29)),
}


def stored(tmp_path: Path, case: str) -> Path:
    """A smooth volume with the case's axes, written as NIfTI."""
    axes, spacing, shape = CASES[case]
    noise = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal(shape), 1.5) * 900
    order = nibabel.orientations.axcodes2ornt(axes)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (to, sign) in enumerate(order.astype(int)):
        affine[to, axis] = sign * spacing[axis]
    affine[:3, 3] = 11.5, -7.25, 90
    path = tmp_path / f"{case}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(noise.astype(np.float32), affine), path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_grids_and_values_are_monais(case: str, tmp_path: Path) -> None:
    """Shape, affine and every voxel, to 1e-4 of the normalised range.

    Axes along the body's only: for oblique ones MONAI looks for a corner to a tolerance of 1e-8, finds none, and lays
    the grids' middles together instead. Ours lets the first voxels meet there too.
    """
    path = stored(tmp_path, case)
    peer = Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            Orientation(axcodes="RAS"),
            Spacing(pixdim=(2.0, 2.5, 3.0), mode="bilinear"),
            ScaleIntensityRange(a_min=-200, a_max=300, b_min=-2.5, b_max=2.5, clip=True),
        ]
    )(str(path))
    ours = ct.resample(ct.to_ras(ct.read(path)), (2.0, 2.5, 3.0))
    assert ours.voxels.shape == tuple(peer.shape[1:])
    assert np.allclose(ours.affine, np.asarray(peer.affine), atol=1e-4)
    prepared = ct.normalise(ours.voxels, (-200, 300), 50, 100)
    assert np.abs(prepared - np.asarray(peer[0])).max() <= 5 * 1e-4
    # Half a voxel off would be seen.
    moved = ndimage.shift(prepared, (0.5, 0, 0), order=1, mode="nearest")
    assert np.abs(moved - np.asarray(peer[0])).max() > 0.1


@pytest.mark.parametrize("case", CASES)
def test_labels_return_to_the_stored_axes(case: str, tmp_path: Path) -> None:
    """On a grid of half the spacing every stored voxel is a voxel of the grid: its label comes back to it."""
    scan = ct.read(stored(tmp_path, case))
    ras = ct.to_ras(scan)
    x, y, z = ras.spacing / 2
    labels = (ct.resample(ras, (x, y, z)).voxels > 20).astype(np.uint8)
    back = ct.from_ras(ct.labels_to_source(labels, (x, y, z), ras), scan)
    assert np.array_equal(back, scan.voxels > 20)


def uneven(patch: np.ndarray) -> np.ndarray:
    """A stand-in for a network whose logits depend on the place in the patch: a wrong start or weight is seen."""
    ramp = np.linspace(0, 1, patch.shape[-1], dtype=np.float32)
    return np.concatenate([patch * 2 - 1, patch * ramp, np.roll(patch, 1, axis=2)], 1)


@pytest.mark.parametrize(("overlap", "weighted"), list(itertools.product((0.25, 0.5, 0.625), (True, False))))
@pytest.mark.parametrize("shape", [(40, 33, 16), (16, 20, 70), (9, 40, 21)])
def test_windows_are_monais(shape: tuple[int, int, int], overlap: float, weighted: bool) -> None:
    """Mean logits of all patches, edge padding of short axes among them."""
    volume = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    ours = window.infer(volume, (16, 16, 16), overlap, uneven, weighted=weighted)
    inferer = SlidingWindowInferer(
        (16, 16, 16), 1, overlap, mode="gaussian" if weighted else "constant", padding_mode="replicate"
    )
    peer = inferer(torch.from_numpy(volume)[None, None], lambda patch: torch.from_numpy(uneven(patch.numpy())))
    assert np.abs(ours - peer[0].numpy()).max() < 2e-5
