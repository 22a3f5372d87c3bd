"""CT volumes by `nightread process` and by the peers' own code on the CPU: time and peak memory of whole processes.

    cargo build --release -p nightread
    python worker/benches/volumes/compare.py --data ../shared/data --work .cache/bench-volumes [CASE ...]

Needs models/requirements-peers.txt. Networks have full architectures and seeded random weights
(`models/tools/seeded_networks.py`), exported as by `models/export/segmentation.py`; the peer runs the same weights by
`models/export/reference_labels.py`. The source is one real CT (122 x 101 x 112 voxels), stretched to the case's size
with noise of 10 HU upon it, as `.nii.gz`. Labels of random weights are far less decided than trained ones, so that more
of the way back is computed than usual.

Each turn runs all contenders one after another, from file to label map on the disk, start and opening of the network
included. Exits with 1 where Nightread passes its bound of memory, or fails.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from measured import Measured, measure
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
SEEDED = ROOT / "models/tools/seeded_networks.py"
EXPORT = Path(__file__).with_name("export_seeded.py")
REFERENCE = ROOT / "models/export/reference_labels.py"
FETCH_RUNTIME = ROOT / "worker/tools/fetch-runtime"
PROVIDERS = ("cpu", "openvino")
NOISE_HU, LEAST_HU = 10.0, -1024


@dataclass(frozen=True)
class Case:
    """One volume and one network, and what is asked of the worker where all slices are read."""

    text: str
    # Of `seeded_networks.py`, and who runs it.
    network: str
    peer: str
    # Of the source along x, y, z.
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    bound_mib: float
    bound_seconds: float | None = None


CASES = {
    "abdomen": Case(
        "14 classes, 3 mm, nnU-Net of 1.4 M parameters, patch 96^3, overlap 1/2; grid 133 x 133 x 150",
        "nnunet",
        "nnunet",
        (512, 512, 300),
        (0.78125, 0.78125, 1.5),
        1.2 * 1024,
        60.0,
    ),
    "trunk": Case(
        "118 classes, 3 mm, TotalSegmentator's of 31 M parameters, patch 128^3, overlap 1/5; grid 167 x 133 x 300",
        "totalsegmentator",
        "totalsegmentator",
        (512, 408, 450),
        (0.9785, 0.978, 2.0),
        3.75 * 1024,
    ),
    "body": Case(
        "105 classes, 1.5 mm, MONAI's SegResNet of 18.8 M parameters, patch 96^3, overlap 1/4; grid 287 x 287 x 397",
        "segresnet",
        "monai",
        (512, 512, 397),
        (0.84, 0.84, 1.5),
        4.0 * 1024,
    ),
}


def stretched(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The same content on so many voxels, linearly."""
    for axis, count in enumerate(shape):
        at = np.linspace(0, values.shape[axis] - 1, count)
        low = np.minimum(at.astype(np.intp), values.shape[axis] - 2)
        part = (at - low).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        values = np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
    return values


def source(case: Case, slices: int, data: Path, path: Path) -> None:
    """Writes the CT of a case, so many slices of it; the first of it are those of the whole one."""
    if path.exists():
        return
    image = nibabel.load(data / "ct/totalsegmentator/example_ct.nii.gz")
    small = np.asarray(image.dataobj).astype(np.float32)
    part = max(2, round(small.shape[2] * slices / case.shape[2]))
    values = stretched(small[:, :, :part], (*case.shape[:2], slices))
    generator = np.random.default_rng(0)
    # Slice by slice: a volume of doubles would be gigabytes.
    for z in range(slices):
        values[:, :, z] += generator.normal(0, NOISE_HU, case.shape[:2])
    made = nibabel.Nifti1Image(values.clip(LEAST_HU, 3071).astype(np.int16), np.diag([*case.spacing, 1.0]))
    nibabel.openers.Opener.default_compresslevel = 1
    partial = path.with_name("partial.nii.gz")
    nibabel.save(made, partial)
    partial.rename(path)


def exported(case: Case, work: Path) -> tuple[Path, str]:
    """The peer's folder and the name of the worker's model of it, made once."""
    folder, models, name = work / "peers" / case.network, work / "models", f"seeded-{case.network}"
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    if not folder.exists():
        subprocess.run([sys.executable, SEEDED, case.network, "--out", folder.parent], **quiet)
    if not (models / name / "manifest.toml").exists():
        subprocess.run([sys.executable, EXPORT, case.peer, folder, "--out", models, "--name", name], **quiet)
    return folder, name


def runtime(provider: str) -> str:
    """The library of a provider."""
    told = subprocess.run([FETCH_RUNTIME, provider], stdout=subprocess.PIPE, text=True, check=True)
    return told.stdout.strip().splitlines()[-1]


@dataclass
class Contender:
    """One way of reading the case's volume."""

    name: str
    command: list[str | Path]
    environment: dict[str, str]
    # Where its labels are found when it is done.
    labels: tuple[Path, str]
    bound_gib: float | None = None


def contenders(case: Case, ct: Path, options: argparse.Namespace) -> list[Contender]:
    """The worker with each provider, and the peer."""
    folder, name = exported(case, options.work)
    found = []
    for provider in options.providers:
        out = options.work / f"results-{provider}"
        command = [options.binary, "process", ct, "--model", name, "--models", options.work / "models", "--out", out]
        settings = {"NIGHTREAD_MODELS_PROVIDER": provider, "NIGHTREAD_MODELS_RUNTIME": runtime(provider)}
        settings |= {"RUST_LOG": "error"}
        labels = (out / name, f"**/{ct.name.split('.')[0]}*.labels.nii.gz")
        found.append(Contender(f"Nightread, {provider}", [*command, "--force", "-q"], settings, labels))
    if not options.alone:
        out = options.work / f"{case.peer}.nii.gz"
        command = [sys.executable, REFERENCE, case.peer, folder, ct, out, "--threads", str(os.cpu_count())]
        settings = {"nnUNet_def_n_proc": "1", "TOTALSEG_DISABLE_TELEMETRY": "1"}
        found.append(Contender(f"{case.peer}, PyTorch", command, settings, (out.parent, out.name), options.bound_gib))
    return found


def labels_of(contender: Contender) -> NDArray[np.uint8]:
    """The label map that it wrote, and that there is one."""
    (path,) = contender.labels[0].glob(contender.labels[1])
    return np.asarray(nibabel.load(path).dataobj).astype(np.uint8)


def turns(many: list[Contender], options: argparse.Namespace) -> dict[str, list[Measured]]:
    """Runs all in turn; who failed once is not run again."""
    runs: dict[str, list[Measured]] = {one.name: [] for one in many}
    for _ in range(options.runs):
        for one in many:
            if any(run.ended for run in runs[one.name]):
                continue
            log = options.work / f"{one.name.split(',')[0].lower()}.log"
            run = measure(one.command, log, environment=one.environment, bound_gib=one.bound_gib)
            runs[one.name].append(run)
            print(
                f"  {one.name:28} {run.seconds:8.1f} s {run.processor:8.1f} s {run.mib:8.0f} MiB  {run.ended}",
                flush=True,
            )
    return runs


def told(many: list[Contender], runs: dict[str, list[Measured]]) -> list[dict[str, object]]:
    """Medians of each, against the first; and how many of its labels are the first's."""
    rows, first, labels = [], runs[many[0].name], None
    for one in many:
        values = runs[one.name]
        ended = next((run.ended for run in values if run.ended), "")
        row: dict[str, object] = {"contender": one.name, "turns": len(values), "ended": ended}
        for key in ("seconds", "processor", "mib"):
            row[key] = round(statistics.median(getattr(run, key) for run in values), 1)
            row[f"{key}_ratio"] = round(row[key] / statistics.median(getattr(run, key) for run in first), 2)
        row["greatest_mib"] = round(max(run.mib for run in values))
        if not ended:
            own = labels_of(one)
            labels = own if labels is None else labels
            row["labels"], row["same_voxels"] = len(np.unique(own)), round(float((own == labels).mean()), 6)
            if values[-1].printed.startswith("{"):
                row["by_itself"] = json.loads(values[-1].printed.splitlines()[-1])
        rows.append(row)
    return rows


def judged(case: Case, slices: int, rows: list[dict[str, object]]) -> bool:
    """Prints the table of a case; false where the worker fails or takes more memory than it may."""
    passed = True
    print(f"  {'median of':28} {'wall':>10} {'processor':>10} {'peak':>12} {'turns':>6}  labels as the first")
    for row in rows:
        same = row["ended"] or f"{100 * row['same_voxels']:.4f} % ({row['labels']} labels)"
        times = f"{row['seconds']:8.1f} s {row['processor']:8.1f} s"
        print(f"  {row['contender']:28} {times} {row['greatest_mib']:8} MiB {row['turns']:6}  {same}")
        if row["contender"] != "Nightread, cpu":
            continue
        whole = slices == case.shape[2]
        passed = not row["ended"] and not (whole and row["greatest_mib"] > case.bound_mib)
        asked = f"under {case.bound_mib:.0f} MiB" + (f", {case.bound_seconds:g} s" if case.bound_seconds else "")
        print(f"  {'ok' if passed else 'FAIL'}: asked for {asked if whole else 'nothing of fewer slices'}")
    return passed


def held(name: str, options: argparse.Namespace) -> bool:
    """Runs one case."""
    case = CASES[name]
    slices = min(options.slices or case.shape[2], case.shape[2])
    ct = options.work / f"{name}-{slices}.nii.gz"
    source(case, slices, options.data, ct)
    size = " x ".join(map(str, (*case.shape[:2], slices)))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    part = "" if slices == case.shape[2] else f" of all {case.shape[2]} slices"
    print(f"{name}: {size} voxels; {case.text}{part}; load averages {load}", flush=True)
    many = contenders(case, ct, options)
    rows = told(many, turns(many, options))
    with (options.work / "rows.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([name, slices, load, json.dumps(row)] for row in rows)
    return judged(case, slices, rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}; all where none is given")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/nightread")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--slices", type=int, help="fewer slices of each case")
    parser.add_argument("--bound-gib", type=float, default=12.0, help="memory that a peer may take")
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument(
        "--providers", nargs="*", choices=PROVIDERS, default=list(PROVIDERS), help="none: the peer alone"
    )
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    return 0 if all([held(name, options) for name in options.cases or CASES]) else 1


if __name__ == "__main__":
    sys.exit(main())
