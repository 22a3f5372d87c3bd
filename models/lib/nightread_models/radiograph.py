"""Radiographs as the worker prepares them (preprocessing id `xrv-1`), and the Kermany data set.

Normalise to [-1024, 1024], centre-crop to the shorter side, resize with scikit-image's antialiased
resampler: the order and the arithmetic of TorchXRayVision 1.5 (Apache-2.0), re-implemented.
"""

import csv
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from skimage.transform import resize

SIDE = 224
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Image:
    """One row of the data set's `labels.csv`."""

    path: Path
    split: str
    label: str
    patient: str

    @property
    def positive(self) -> bool:
        """True for pneumonia, whatever its cause."""
        return self.label == "PNEUMONIA"


def data_folder() -> Path:
    """Root of the test data: `NIGHTREAD_TEST_DATA`, or `../shared/data` beside the repository."""
    return Path(os.environ.get("NIGHTREAD_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def kermany(root: Path, split: str) -> list[Image]:
    """Images of one split ("train" or "val"; split by patient), sorted by file name.

    Raises FileNotFoundError where the data is not there, ValueError for an empty split.
    """
    folder = root / "xray" / "kermany"
    with (folder / "labels.csv").open(newline="") as rows:
        images = [
            Image(folder / row["file"], row["split"], row["label"], row["patient"])
            for row in csv.DictReader(rows)
            if row["split"] == split
        ]
    if not images:
        raise ValueError(f"{folder / 'labels.csv'}: no images in split {split!r}")
    return sorted(images, key=lambda image: image.path.name)


def read_gray(path: Path) -> NDArray[np.uint8]:
    """8-bit grey values (h, w); of a colour image the first channel, as TorchXRayVision takes it."""
    with PIL.Image.open(path) as image:
        pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{path}: expected 8-bit samples, found {pixels.dtype}")
    return pixels if pixels.ndim == 2 else pixels[:, :, 0]


def normalise(pixels: NDArray[np.unsignedinteger], maxval: int) -> NDArray[np.float32]:
    """Grey values 0..maxval -> [-1024, 1024], float32 throughout (one rounding each in / and -)."""
    if pixels.max() > maxval:
        raise ValueError(f"pixel value {pixels.max()} above the maximum {maxval}")
    unit = pixels.astype(np.float32) / np.float32(maxval)
    return (np.float32(2) * unit - np.float32(1)) * np.float32(1024)


def preprocess(pixels: NDArray[np.unsignedinteger], maxval: int = 255) -> NDArray[np.float32]:
    """Grey image (h, w), 0..maxval -> network input (1, 224, 224) in [-1024, 1024]."""
    image = normalise(pixels, maxval)
    height, width = image.shape
    side = min(height, width)
    top, left = height // 2 - side // 2, width // 2 - side // 2
    image = image[top : top + side, left : left + side]
    if side == SIDE:
        return image[None]
    resized = resize(image, (SIDE, SIDE), mode="constant", preserve_range=True)
    return resized.astype(np.float32)[None]


def load(images: list[Image]) -> NDArray[np.float32]:
    """Network inputs (n, 1, 224, 224) of the images, in their order."""
    return np.stack([preprocess(read_gray(image.path)) for image in images])


def labels(images: list[Image]) -> NDArray[np.float32]:
    """1.0 for pneumonia, 0.0 for normal: (n,)."""
    return np.array([image.positive for image in images], dtype=np.float32)


def patients(images: list[Image]) -> NDArray[np.str_]:
    """Patient of each image: (n,)."""
    return np.array([image.patient for image in images])


def halves(images: list[Image], seed: int = 20230905) -> tuple[list[Image], list[Image]]:
    """Split by patient into a choosing half and a reported half, stratified by label, seeded.

    Everything that is chosen (epoch, threshold) is chosen on the first; only the second is reported.
    """
    generator = np.random.default_rng(seed)
    choosing: set[str] = set()
    for positive in (False, True):
        names = sorted({p.patient for p in images if p.positive == positive})
        shuffled = generator.permutation(names)
        choosing.update(str(name) for name in shuffled[: len(names) // 2])
    return (
        [p for p in images if p.patient in choosing],
        [p for p in images if p.patient not in choosing],
    )


def content_digest(images: list[Image]) -> str:
    """SHA-256 over the sorted SHA-256 digests of the files, one hex digest a line."""
    return list_digest(image.path.read_bytes() for image in images)


def list_digest(contents: Iterable[bytes]) -> str:
    """SHA-256 over the sorted SHA-256 digests of the contents, one hex digest a line."""
    digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
