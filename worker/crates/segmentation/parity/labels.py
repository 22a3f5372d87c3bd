#!/usr/bin/env python3
"""Holds labels of exported networks against those of their makers' own code: nnU-Net, TotalSegmentator, MONAI.

    labels.py --binary target/release/nightread --data ../shared/data --work .cache/parity-labels monai

Needs the requirements beside it. Networks have full architectures and random weights (`models/tools/seeded_networks.py`),
are exported by `models/export/segmentation.py`, and read one real CT by `nightread process` and by the peer. nnU-Net and
TotalSegmentator run as they are, with sums in half precision, and with sums in single precision (`-single`). A MONAI UNet
runs with Gaussian weights and an overlap of a half, and labels go back by the nearest voxel, or by interpolation of logits
or (as its bundle has it, and the worker has not) of probabilities.

Prints the share of equal voxels of each. Exits with 1 where it is under 99.99 %, but for what is known to differ (sums in
half precision, interpolated probabilities), or where a control (labels a voxel aside) passes.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
EXPORT = ROOT / "models/export"
sys.path[:0] = [str(ROOT / "models" / part) for part in ("lib", "tools", "export")]

import nibabel
import numpy as np

LEAST = 0.9999
SINGLE = "-single"
# Peer -> (how it is exported, whether 99.99 % are asked).
CASES = {
    "nnunet": ("nnunet", False),
    "nnunet-single": ("nnunet", True),
    "totalsegmentator": ("totalsegmentator", False),
    "totalsegmentator-single": ("totalsegmentator", True),
    "monai-nearest": ("monai", True),
    "monai-logits": ("monai", True),
    "monai-probabilities": ("monai", False),
}


def monai_bundle(folder, way):
    """The seeded UNet with Gaussian weights, and its labels' way back."""
    import seeded_networks

    seeded_networks.unet(folder, 64)
    path = folder / "configs/inference.json"
    content = json.loads(path.read_text())
    content["spatial"] = [2.0, 2.0, 2.5]
    content["inferer"]["mode"] = "gaussian"
    steps = content["postprocessing"]["transforms"]
    softmax, invert, discrete, writer = steps
    if way == "nearest":
        invert["nearest_interp"] = True
        steps = [softmax, discrete, invert, writer]
    content["postprocessing"]["transforms"] = steps[1:] if way == "logits" else steps
    path.write_text(json.dumps(content))


def folder_of(case, work):
    """The peer's folder, made once; both precisions share one."""
    folder = work / case.removesuffix(SINGLE)
    if folder.exists():
        return folder
    if case.startswith("monai-"):
        monai_bundle(folder, case.removeprefix("monai-"))
    else:
        import seeded_networks

        {"nnunet": seeded_networks.nnunet, "totalsegmentator": seeded_networks.totalsegmentator}[folder.name](folder, 64)
    return folder


def ours(case, how, folder, ct, arguments):
    """Labels by the worker, of the exported network."""
    models, name, out = arguments.work / "models", f"seeded-{folder.name}", arguments.work / "results"
    if not (models / name / "manifest.toml").exists():
        program = [sys.executable, str(EXPORT / "segmentation.py"), how, str(folder), "--out", str(models), "--name", name]
        subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    program = [arguments.binary, "process", str(ct), "--model", name, "--models", str(models), "--out", str(out), "-q"]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    (path,) = (out / name).rglob("*.labels.nii.gz")
    return nibabel.load(path)


def theirs(case, how, folder, ct, work):
    """Labels by the peer's code, in a process of its own."""
    out = work / f"{case}.nii.gz"
    single = ["--single"] if case.endswith(SINGLE) else []
    program = [sys.executable, str(EXPORT / "reference_labels.py"), how, str(folder), str(ct), str(out), *single]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "nnUNet_def_n_proc": "1"})
    return nibabel.load(out)


def hold(case, ct, arguments):
    """Compares, prints; false where it fails."""
    how, asked = CASES[case]
    folder = folder_of(case, arguments.work)
    found, expected = ours(case, how, folder, ct, arguments), theirs(case, how, folder, ct, arguments.work)
    if found.shape != expected.shape or not np.allclose(found.affine, expected.affine, atol=1e-3):
        raise SystemExit(f"{case}: not on one grid")
    a, b = (np.asarray(image.dataobj) for image in (found, expected))
    share, control = np.mean(a == b), np.mean(a[1:] == b[:-1])
    passed = (share >= LEAST or not asked) and control < LEAST
    print(
        f"{'ok  ' if passed else 'FAIL'} {case}: {100 * share:.4f} % of {a.size} voxels equal, {(a != b).sum()} differ, "
        f"{len(np.unique(b))} labels; a voxel aside {100 * control:.1f} %",
        flush=True,
    )
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="beginnings of names of cases; all where none is given")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    source = nibabel.load(arguments.data / "ct/totalsegmentator/example_ct.nii.gz")
    ct = arguments.work / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(source.dataobj).astype(np.int16), source.affine), ct)
    chosen = [case for case in CASES if not arguments.kinds or case.startswith(tuple(arguments.kinds))]
    sys.exit(0 if all([hold(case, ct, arguments) for case in chosen]) else 1)


if __name__ == "__main__":
    main()
