#!/usr/bin/env python3
"""Holds Nightread's model grids and its ways back against those of TotalSegmentator, nnU-Net and MONAI.

    parity.py volumes --dump target/release/dump_grid --data ../shared/data
    parity.py golden --out worker/crates/segmentation/tests/golden/grids.json

`volumes` prepares two real volumes by each recipe and exits with 1 where a value differs by more than 1e-3 of the normalised
range, a place on the way back is another, or a control (half a voxel aside, another order, mirrored) passes. Where a recipe
takes 0 for no value, voxels that are 0 but for the last bits are left out: torch takes them for 0 by how this processor rounds.
`golden` writes what the peers make of small volumes, for the tests.
"""

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

import peers
from cases import golden_cases, volume_recipes

LIMIT = 1e-3
# Share of the voxels that may be 0 but for the last bits, where such voxels are not compared.
MOST_NEARLY_ZERO = 1e-2


class Dump:
    """The example `dump_grid`, kept running."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def grid(self, image, recipe):
        """The tensor and the head of the answer."""
        values = np.asarray(image.dataobj)
        head = {"shape": values.shape, "affine": image.affine[:3].tolist(), "recipe": recipe}
        self.process.stdin.write(json.dumps(head).encode() + b"\n" + values.astype("<i2").tobytes(order="F"))
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        shape = answer["shape"][::-1]
        return np.frombuffer(self.process.stdout.read(4 * int(np.prod(shape))), "<f4").reshape(shape), answer


def width(recipe, tensor):
    """The normalised range."""
    if "std" in recipe:
        return (recipe["clip"][1] - recipe["clip"][0]) / recipe["std"]
    return float(np.ptp(recipe["range"])) if "range" in recipe else float(np.ptp(tensor))


def difference(ours, theirs, recipe):
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours.astype(float) - theirs).max()) / width(recipe, theirs)


def places(head, shape, kind):
    """Our way back as arrays over the source, one for each axis of the tensor; outside of what labels reach: not a number."""
    outside = np.ones(shape, bool)
    outside[tuple(slice(*bounds) for bounds in head["inside"])] = False
    found = []
    for axis, entry in enumerate(reversed(head["back"])):
        if isinstance(entry, dict):
            along = [1, 1, 1]
            along[entry["source_axis"]] = -1
            array = np.broadcast_to(np.asarray(entry[kind], float).reshape(along), shape).copy()
        else:
            array = np.tensordot(entry[:3], np.indices(shape), 1) + entry[3]
            array = np.clip(array, 0, head["shape"][::-1][axis] - 1)
            array = np.round(array) if kind == "nearest" else array
        array[outside] = np.nan
        found.append(array)
    return found


def way_back(dump, image, recipe):
    """Places that are not the peer's.

    Each axis has its own way, so bars are enough that are as long as the volume along one axis and three voxels thin.
    """
    kind, near = ("coordinates", 1e-3) if recipe["id"] == "ct-nnunet-1" else ("nearest", 0.0)
    wrong = 0
    for axis in range(3):
        shape = [3, 3, 3]
        shape[axis] = image.shape[axis]
        bar = nibabel.Nifti1Image(np.full(shape, 100, np.int16), image.affine)
        theirs = peers.BACK[recipe["id"]](bar, recipe)
        ours = places(dump.grid(bar, recipe)[1], bar.shape, kind)
        for a, b in zip(ours, theirs, strict=True):
            wrong += int(np.sum(~np.isclose(a, b, rtol=0, atol=near, equal_nan=True)))
    return wrong


def controls(image, recipe, ours, theirs):
    """Differences of what must not pass."""
    half = 0.5 * (theirs[:, :, 1:] + theirs[:, :, :-1])
    other = peers.PREPARE[recipe["id"]](image, dict(recipe, order=4 - recipe["order"]))
    return {
        "half": difference(ours[:, :, 1:], half, recipe),
        "order": difference(ours, other, recipe),
        "mirrored": difference(ours, theirs[:, :, ::-1], recipe),
    }


def real_volumes(data):
    folder = data / "ct/totalsegmentator"
    image = nibabel.load(folder / "example_ct.nii.gz")
    yield "example_ct", nibabel.Nifti1Image(np.asarray(image.dataobj).astype(np.int16), image.affine)
    names = sorted(folder.glob("example_ct_dicom/*.dcm"), key=height)
    series = SimpleITK.ReadImage([str(name) for name in names])
    spacing, direction = np.array(series.GetSpacing()), np.array(series.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, series.GetOrigin()
    affine[:2] *= -1
    values = SimpleITK.GetArrayFromImage(series).transpose(2, 1, 0).astype(np.int16)
    yield "example_ct_dicom", nibabel.Nifti1Image(values, affine)


def height(name):
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(name))
    reader.ReadImageInformation()
    return float(reader.GetMetaData("0020|0032").split("\\")[2])


def volumes(arguments):
    failed = 0
    for name, image in real_volumes(arguments.data):
        for recipe, with_controls in volume_recipes(name):
            theirs = peers.PREPARE[recipe["id"]](image, recipe)
            dump = Dump(arguments.dump)
            ours, head = dump.grid(image, recipe)
            is_zero_apart = "clip" not in recipe
            left_out = peers.monai_nearly_zero(image, recipe) if is_zero_apart else np.zeros(theirs.shape, bool)
            compared = np.where(left_out, theirs, ours) if ours.shape == theirs.shape else ours
            found = difference(compared, theirs, recipe)
            astray = way_back(dump, image, recipe)
            dump.close()
            wrong = controls(image, recipe, ours, theirs) if with_controls else {}
            passed = found <= LIMIT and astray == 0 and all(value > LIMIT for value in wrong.values())
            passed &= left_out.mean() <= MOST_NEARLY_ZERO
            failed += not passed
            print(f"{'ok  ' if passed else 'FAIL'} {name} {recipe['id']} {recipe['spacing_mm']} order {recipe['order']}: "
                  f"{ours.shape} difference {found:.1e} of the range, unequal {np.mean(ours != theirs):.1e}, "
                  f"{left_out.sum()} of {left_out.size} left out, {astray} places astray, "
                  + " ".join(f"{what} {value:.2f}" for what, value in wrong.items())
                  + f"; {head['seconds']:.2f} s, needs {head['needs']['peak_bytes'] >> 20} MiB, "
                    f"peak {(head['peak_kb'] - head['idle_kb']) >> 10} MiB", flush=True)
    return failed


def golden(arguments):
    found = []
    for name, values, affine, recipe in golden_cases():
        image = nibabel.Nifti1Image(values, affine)
        tensor = peers.PREPARE[recipe["id"]](image, recipe)
        back = [np.asarray(array, float) for array in peers.BACK[recipe["id"]](image, recipe)]
        found.append({
            "name": name, "recipe": recipe, "shape": values.shape, "affine": affine[:3].tolist(),
            "values": values.ravel(order="F").tolist(), "tensor_shape": tensor.shape,
            "tensor": [float(f"{value:.7g}") for value in tensor.ravel()],
            "back": [[None if np.isnan(place) else round(place, 4) for place in array.ravel(order="F")] for array in back],
        })
        print(name, values.shape, "->", tensor.shape)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in found)
    arguments.out.write_text(f"[\n{lines}\n]\n")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("volumes")
    command.add_argument("--dump", required=True)
    command.add_argument("--data", type=Path, required=True)
    command.set_defaults(run=volumes)
    command = commands.add_parser("golden")
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=golden)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    sys.exit(1 if arguments.run(arguments) else 0)


if __name__ == "__main__":
    main()
