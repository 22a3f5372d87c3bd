"""Preprocessing and data handling, against numbers computed elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from nightread_models import radiograph
from nightread_models.radiograph import Image


def test_normalise_golden() -> None:
    """TorchXRayVision's values for 16-bit samples, to the last bit."""
    pixels = np.array([[0, 1, 2047, 4095, 32767, 32768, 65534, 65535]], dtype=np.uint16)
    expected = [-1024, -1023.96875, -960.0302734375, -896.029296875, -0.015625, 0.015625, 1023.96875, 1024]
    assert radiograph.normalise(pixels, 65535).tolist() == [expected]
    with pytest.raises(ValueError, match="above the maximum"):
        radiograph.normalise(pixels, 4095)


def test_crop_and_resize_golden() -> None:
    """A formula image of 300 x 260, through TorchXRayVision's crop and scikit-image resize."""
    i, j = np.mgrid[:300, :260]
    pixels = ((i * 7919 + j * 104729 + ((i * j) % 977) * 31) % 65536).astype(np.uint16)
    image = radiograph.preprocess(pixels, 65535)
    assert image.shape == (1, 224, 224) and image.dtype == np.float32
    golden = {(0, 0): -215.315125, (0, 223): -15.072793, (111, 57): -120.559128, (223, 223): -767.508423}
    for (row, column), value in golden.items():
        assert image[0, row, column] == pytest.approx(value, abs=1e-4)


def test_halves_part_patients() -> None:
    """No patient is on both sides, both labels are on both, and the seed decides."""
    images = [
        Image(Path(f"{n}.jpeg"), "val", "PNEUMONIA" if n % 3 else "NORMAL", f"p{n // 6 * 3 + n % 3}")
        for n in range(120)
    ]
    choosing, reported = radiograph.halves(images)
    assert len(choosing) + len(reported) == 120
    assert not {p.patient for p in choosing} & {p.patient for p in reported}
    for half in (choosing, reported):
        assert {p.label for p in half} == {"NORMAL", "PNEUMONIA"}
    assert radiograph.halves(images) == (choosing, reported)
    assert radiograph.halves(images, seed=1) != (choosing, reported)


def test_list_digest_ignores_order() -> None:
    """The digest is of a set of contents."""
    assert radiograph.list_digest([b"a", b"b"]) == radiograph.list_digest([b"b", b"a"])
    assert radiograph.list_digest([b"a"]) != radiograph.list_digest([b"a", b"a"])
