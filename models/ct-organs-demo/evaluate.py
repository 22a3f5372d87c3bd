"""Dice of the demonstration: its training case, phantoms of other bodies, and a series that training never saw.

python models/ct-organs-demo/evaluate.py --data ../shared/data --out models/ct-organs-demo/report.json
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import organs
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import bodies
import samples

from nightread_models import ct, window

HERE = Path(__file__).resolve().parent
Array = NDArray[np.float32]
Network = Callable[[Array], Array]

SIDE, VOXEL, OVERLAP = 48, 5.0, 0.5
SERIES = Path("ct/totalsegmentator/example_ct_dicom")
SERIES_LABELS = Path("ct/totalsegmentator/example_seg_dicom.nii.gz")
# Training counts its samples from 0: these seeds are of no sample that it saw.
PHANTOM_SEEDS = (9_000_001, 9_000_002, 9_000_003, 9_000_004)
PHANTOM_SHAPE = (80, 64, 88)


def largest_components(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of the labels that the manifest says so of, only the largest piece (26 neighbours)."""
    rows = tomllib.loads((HERE / "manifest.toml").read_text())["labels"]
    kept = labels.copy()
    for index in (at for at, row in enumerate(rows, start=1) if row.get("largest_component")):
        pieces, count = ndimage.label(labels == index, structure=np.ones((3, 3, 3)))
        if count > 1:
            sizes = np.bincount(pieces.ravel())[1:]
            kept[(pieces > 0) & (pieces != int(sizes.argmax()) + 1)] = 0
    return kept


def predict(scan: ct.Volume, network: Network) -> NDArray[np.uint8]:
    """Labels on the scan's own grid, as the worker gives them.

    `ct-monai-1`, windows, argmax, largest components, nearest back.
    """
    ras = ct.to_ras(scan)
    spacing = (VOXEL, VOXEL, VOXEL)
    image = ct.normalise(ct.resample(ras, spacing).voxels, samples.CLIP, samples.MEAN, samples.STD)
    labels = window.infer(image, (SIDE, SIDE, SIDE), OVERLAP, network).argmax(0).astype(np.uint8)
    return ct.from_ras(ct.labels_to_source(largest_components(labels), spacing, ras), scan)


def series(data: Path) -> ct.Volume:
    """The 20 slices as a volume: HU, position from ImagePositionPatient along the normal."""
    import pydicom

    slices = [pydicom.dcmread(path) for path in sorted((data / SERIES).glob("*.dcm"))]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    slices.sort(key=lambda item: float(np.dot(normal, np.array(item.ImagePositionPatient, float))))
    stack = [s.pixel_array.T * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    first, last = (np.array(slices[end].ImagePositionPatient, float) for end in (0, -1))
    between_rows, between_columns = (float(step) for step in slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * between_columns, column * between_rows
    affine[:3, 2], affine[:3, 3] = (last - first) / (len(slices) - 1), first
    # DICOM's x and y point left and back.
    return ct.Volume(np.stack(stack, -1).astype(np.float32), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def held_out_phantom(body: bodies.Body, seed: int) -> tuple[ct.Volume, NDArray[np.uint8]]:
    """A trunk in another shape and contrast than any that training saw, with its labels."""
    random = np.random.default_rng(seed)
    middle = np.mean([body.where[index].mean(0) for index in (1, 2, 5)], 0) * body.spacing
    to = samples.warp(body, random, strength=1.2, centre=middle)
    hu, labels = samples.phantom(body, to, PHANTOM_SHAPE, VOXEL, random)
    return ct.Volume(np.rint(hu), np.diag([VOXEL, VOXEL, VOXEL, 1.0])), labels


def dice(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> dict[str, float | None]:
    """Dice of each label that the truth has; None where it has none (false findings then count for nothing)."""
    scores: dict[str, float | None] = {}
    for index, name in enumerate(organs.LABELS, start=1):
        a, b = truth == index, found == index
        scores[name] = round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 4) if a.any() else None
    return scores


def evaluate(data: Path, network: Network, phantoms: int = len(PHANTOM_SEEDS)) -> dict[str, dict[str, float | None]]:
    """Dice by label on the three kinds of cases; of phantoms the mean."""
    table = organs.table()
    scan, seen = ct.read(data / bodies.ABDOMEN), ct.read(data / bodies.ABDOMEN_LABELS)
    report = {"training_case": dice(table[seen.voxels], predict(scan, network))}
    trunk = bodies.trunk(data)
    scores = []
    for seed in PHANTOM_SEEDS[:phantoms]:
        phantom, labels = held_out_phantom(trunk, seed)
        scores.append(dice(labels, predict(phantom, network)))
    mean: dict[str, float | None] = {}
    for name in organs.LABELS:
        values = [score[name] for score in scores if score[name] is not None]
        mean[name] = round(float(np.mean(values)), 4) if values else None
    report["phantoms_of_other_shape"] = mean
    slab = series(data)
    truth = ct.from_ras(ct.to_ras(ct.read(data / SERIES_LABELS)).voxels, slab)
    report["series_of_20_slices"] = dice(table[truth.astype(np.uint8)], predict(slab, network))
    return report


def main() -> int:
    """Command line: figures of the shipped file."""
    from nightread_models import onnx_export

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=HERE / "model.fp32.onnx")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runtime = onnx_export.session(options.model)
    report: dict[str, Any] = evaluate(options.data, lambda patch: runtime.run(["logits"], {"image": patch})[0])
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
