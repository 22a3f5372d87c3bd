"""Agreement of label maps: held against MONAI's figures, and against what can be worked out by hand."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.metrics.utils import get_surface_distance
from scipy import ndimage

import compare_labels
from nightread_models.volume_metrics import agreement

SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.8, 5.0), (3.0, 1.5, 2.25))


def blob(seed: int, shape: tuple[int, int, int], share: float) -> np.ndarray:
    """A smooth random shape that fills a share of the array, up to its borders."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_figures_are_monais(seed: int, spacing: tuple[float, float, float]) -> None:
    """Dice, both surfaces' distances and the greatest of them, to 1e-6."""
    shape = (23, 31, 19)
    truth, found = blob(seed, shape, 0.2), blob(seed, shape, 0.26) ^ blob(seed + 100, shape, 0.01)
    ours = agreement(truth, found, spacing)
    a, b = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (truth, found))
    assert ours.dice == pytest.approx(float(compute_dice(b, a)), abs=1e-6)
    greatest = compute_hausdorff_distance(b, a, include_background=True, spacing=list(spacing))
    assert ours.mssd == pytest.approx(float(greatest), abs=1e-6 * float(greatest))
    # MONAI's own mean over both directions is a mean of two means; the challenge's is over all surface voxels.
    edges = [ndimage.binary_erosion(mask) ^ mask for mask in (truth, found)]
    both = [get_surface_distance(edges[i], edges[1 - i], spacing=spacing) for i in (0, 1)]
    assert ours.assd == pytest.approx(float(np.concatenate(both).mean()), abs=1e-6)
    assert ours.ravd == pytest.approx(100 * (found.sum() / truth.sum() - 1), abs=1e-6)


def test_figures_by_hand() -> None:
    """Two boxes, one moved by two voxels of 1.5 mm."""
    truth, found = np.zeros((12, 9, 9), bool), np.zeros((12, 9, 9), bool)
    truth[2:6, 2:6, 2:6], found[4:8, 2:6, 2:6] = True, True
    ours = agreement(truth, found, (1.5, 1.0, 2.0))
    assert (ours.dice, ours.ravd, ours.mssd) == (0.5, 0.0, 3.0)
    assert ours.truth_ml == pytest.approx(64 * 3.0 / 1000)
    same = agreement(truth, truth, (1.5, 1.0, 2.0))
    assert (same.dice, same.ravd, same.assd, same.mssd) == (1.0, 0.0, 0.0, 0.0)


def test_what_is_missing_has_no_distance() -> None:
    """An empty map makes no number up."""
    empty, some = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    some[2, 2, 2] = True
    assert agreement(empty, empty, (1, 1, 1)).dice is None
    missed, extra = agreement(some, empty, (1, 1, 1)), agreement(empty, some, (1, 1, 1))
    assert (missed.dice, missed.ravd, missed.assd, missed.mssd) == (0.0, -100.0, None, None)
    assert (extra.dice, extra.ravd, extra.assd) == (0.0, None, None)
    with pytest.raises(ValueError, match="label maps of"):
        agreement(some, some[1:], (1, 1, 1))


def test_the_tool_takes_any_order_of_axes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same labels stored mirrored and permuted agree wholly; half a voxel further off is another grid."""
    labels = blob(1, (20, 16, 12), 0.3).astype(np.uint8) + 2 * blob(2, (20, 16, 12), 0.1)
    affine = np.diag([2.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = -10, 5, 7
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), affine), tmp_path / "a.nii.gz")
    turned = nibabel.Nifti1Image(labels.astype(np.uint8), affine)
    turned = turned.as_reoriented(nibabel.orientations.axcodes2ornt("PSL"))
    assert turned.shape != labels.shape
    nibabel.save(turned, tmp_path / "b.nii.gz")
    both = [str(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz")]
    assert compare_labels.main([*both, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["same_voxels"] == 1.0
    assert all(row["dice"] == 1.0 and row["mssd"] == 0.0 for row in report["labels"].values())
    affine[0, 3] += 1.0
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), affine), tmp_path / "c.nii.gz")
    assert compare_labels.main([both[0], str(tmp_path / "c.nii.gz")]) == 2
    assert "not on one grid" in capsys.readouterr().err
