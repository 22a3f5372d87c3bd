"""Group ICA against nilearn's CanICA, dual regression against nibabel + NumPy: time, peak memory and agreement.

    cargo build --release -p nightread-tools --bins
    python worker/benches/fmri/compare.py --bin target/release --data ../shared/data --work DIR

Every measurement is a process of its own (wall time, peak resident memory), interleaved, medians printed. Both sides
see the same files and both may use all cores.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

HERE = Path(__file__).resolve().parent
MAPS = 100


def measure(command: list[str | Path]) -> dict[str, Any]:
    """Runs a process: wall seconds, peak MiB, and what it printed last."""
    # A tuning for other processors' old OpenBLAS would slow NumPy down.
    environment = {k: v for k, v in os.environ.items() if k not in {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}}
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    printed = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    lines = printed.strip().splitlines()
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mib": usage.ru_maxrss / 1024,
        "printed": json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None,
    }


def compare(sides: dict[str, list[str | Path]], runs: int) -> dict[str, dict[str, float]]:
    """Medians of interleaved runs, printed as a table."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, command in sides.items():
            results[name].append(measure(command))
    medians = {
        name: {key: statistics.median(one[key] for one in many) for key in ("seconds", "cpu", "mib")}
        for name, many in results.items()
    }
    for name, row in medians.items():
        print(f"  {name:44} {row['seconds']:8.2f} s wall {row['cpu']:8.2f} s cpu {row['mib']:8.0f} MiB", flush=True)
    return medians


def make_maps(mask_file: Path, out: Path) -> None:
    """100 smooth maps: sums of a few Gaussian blobs each, on the mask's grid, single precision."""
    if out.exists():
        return
    image = nibabel.load(mask_file)
    inside = np.asanyarray(image.dataobj) > 0
    places = nibabel.affines.apply_affine(image.affine, np.argwhere(inside)).astype(np.float32)
    generator = np.random.default_rng(0)
    maps = np.zeros((*inside.shape, MAPS), np.float32)
    for k in range(MAPS):
        values = 0.3 * generator.standard_normal(len(places)).astype(np.float32)
        for _ in range(3):
            centre = places[generator.integers(len(places))]
            values += 8 * np.exp(-((places - centre) ** 2).sum(1) / (2 * generator.uniform(6, 12) ** 2))
        maps[inside, k] = values
    nibabel.save(nibabel.Nifti1Image(maps, image.affine), out)


def regression(arguments: argparse.Namespace) -> None:
    """The 2 mm scan: time and memory, then memory over the number of volumes."""
    templates = arguments.data / "fmri" / "templates"
    mask = templates / "MNI152NLin6_res-2x2x2_T1w_descr-brainmask.nii.gz"
    maps = arguments.work / "maps100.nii.gz"
    make_maps(mask, maps)
    scans = {}
    for volumes in (200, 1200):
        scans[volumes] = arguments.work / f"scan{volumes}.nii.gz"
        if not scans[volumes].exists():
            networks = templates / "Yeo-17_space-MNI152NLin6_res-2x2x2.nii.gz"
            measure([
                arguments.bin / "simulate_scan", "--networks", networks, "--mask", mask, "--volumes", str(volumes),
                "--white", scans[volumes],
            ])  # fmt: skip
    ours = [arguments.bin / "dual_regression", "--maps", maps, "--mask", mask]
    theirs = [sys.executable, HERE / "numpy_dual_regression.py", maps, mask, scans[200]]
    print(f"dual regression, 91x109x91x200 int16 .nii.gz, {MAPS} maps")
    rows = compare(
        {
            "nightread": [*ours, scans[200]],
            "nightread, one thread": [*ours, "--threads", "1", scans[200]],
            "nibabel + NumPy float64": theirs,
            "nibabel + NumPy float32, careful": [*theirs, "--dtype", "float32"],
        },
        arguments.runs,
    )
    base, own = rows["nibabel + NumPy float64"], rows["nightread"]
    print(f"  float64: {base['seconds'] / own['seconds']:.2f}x faster, {own['mib'] / base['mib']:.3f} of its memory")
    if arguments.z:
        print("the same with z at every voxel")
        compare({"nightread": [*ours, "--z", scans[200]], "nibabel + NumPy + SciPy": [*theirs, "--z"]}, 1)
    print("memory over the number of volumes")
    compare({f"nightread, {volumes} volumes": [*ours, scans[volumes]] for volumes in scans}, 1)


CANICA = """
import json, sys, time
from nilearn.decomposition import CanICA
mask, *scans = sys.argv[1:]
start = time.perf_counter()
CanICA(n_components=20, mask=mask, smoothing_fwhm=None, random_state=0, n_jobs=2, verbose=0).fit(scans)
print(json.dumps({"seconds": time.perf_counter() - start}))
"""


def ica(arguments: argparse.Namespace) -> None:
    """20 components of the 32 real scans."""
    scans = sorted((arguments.data / "fmri" / "rest32").iterdir())
    brain = arguments.data / "fmri" / "templates" / "MNI152NLin6_res-2x2x2_T1w_descr-brainmask.nii.gz"
    out = arguments.work / "group"
    ours = [arguments.bin / "group_ica", "--components", "20", "--mask", brain, "--out", out, *scans]
    measure(ours)
    # Both sides decompose the same voxels: those of the maps just made.
    image = nibabel.load(out / "maps.nii.gz")
    mask = arguments.work / "mask10.nii.gz"
    inside = np.abs(np.asanyarray(image.dataobj)).sum(3) > 0
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), image.affine), mask)
    print(f"group ICA, 20 components, {len(scans)} scans of 17x20x17x148, {int(inside.sum())} voxels, 10 starts")
    rows = compare({"nightread": ours, "nilearn CanICA": [sys.executable, "-c", CANICA, mask, *scans]}, arguments.runs)
    print(f"  {rows['nilearn CanICA']['seconds'] / rows['nightread']['seconds']:.2f}x faster (whole processes)")
    agreement(arguments, out / "maps.nii.gz", mask, scans)


def agreement(arguments: argparse.Namespace, maps: Path, mask: Path, scans: list[Path]) -> None:
    """Betas and time courses of every scan against the NumPy reference."""
    prefix = arguments.work / "one"
    least, worst, worst_course = 1.0, 0.0, 0.0
    for scan in scans:
        measure([arguments.bin / "dual_regression", "--maps", maps, "--out", prefix, scan])
        measure([sys.executable, HERE / "numpy_dual_regression.py", maps, mask, scan, "--out", f"{prefix}.npz"])
        want = np.load(f"{prefix}.npz")
        got = np.fromfile(f"{prefix}.beta.f32", "<f4").reshape(20, -1).astype(np.float64)
        courses = np.fromfile(f"{prefix}.tc.f64", "<f8").reshape(-1, 20)
        # NumPy walks the grid in another order than the file does.
        shape = nibabel.load(mask).shape
        inside = np.asanyarray(nibabel.load(mask).dataobj) > 0
        volume = np.zeros((20, *shape))
        volume.reshape(20, -1)[:, np.flatnonzero(np.ravel(inside, order="C"))] = want["betas"]
        order = np.argwhere(inside.transpose(2, 1, 0))
        betas = volume[:, order[:, 2], order[:, 1], order[:, 0]]
        for a, b in zip(got, betas, strict=True):
            least = min(least, float(np.corrcoef(a, b)[0, 1]))
            worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
        worst_course = max(worst_course, float(np.abs(courses - want["courses"]).max() / np.abs(want["courses"]).max()))
    print(f"agreement with NumPy on {len(scans)} scans: least correlation {least:.10f}, greatest relative error")
    print(f"  {worst:.2e} (maps, of the map's greatest value), {worst_course:.2e} (time courses)")


def confounds(arguments: argparse.Namespace) -> None:
    """Confounds, dropped and censored volumes in one pass against nilearn's `clean` and NumPy, on real scans."""
    from nilearn.signal import clean
    from numpy_dual_regression import dual_regression

    maps, work = arguments.work / "group" / "maps.nii.gz", arguments.work
    inside = np.abs(np.asanyarray(nibabel.load(maps).dataobj)).sum(3) > 0
    order = np.argwhere(inside.transpose(2, 1, 0))[:, ::-1]
    group = np.asanyarray(nibabel.load(maps).dataobj)[tuple(order.T)].T.astype(np.float64)
    worst, worst_course = 0.0, 0.0
    for number, scan in enumerate(sorted((arguments.data / "fmri" / "rest32").iterdir())[:8]):
        values = np.asanyarray(nibabel.load(scan).dataobj)[tuple(order.T)].T.astype(np.float64)
        generator = np.random.default_rng(number)
        # Confounds that explain much: mixtures of the scan's own courses, a drift and noise.
        own = values @ generator.standard_normal((values.shape[1], 10)) / np.sqrt(values.shape[1])
        columns = np.column_stack([own, np.linspace(-1, 1, len(values)), generator.standard_normal((len(values), 3))])
        moved = np.abs(generator.standard_normal(len(values))) * 0.3
        names = [f"column{n}" for n in range(columns.shape[1])]
        lines = ["\t".join([*names, "framewise_displacement"])]
        lines += ["\t".join(repr(float(x)) for x in [*row, fd]) for row, fd in zip(columns, moved, strict=True)]
        (work / "confounds.tsv").write_text("\n".join(lines) + "\n")
        prefix = work / "cleaned"
        measure([
            arguments.bin / "dual_regression", "--maps", maps, "--confounds", work / "confounds.tsv", "--columns", "column*",
            "--drop", "4", "--max-displacement", "0.5", "--out", prefix, scan,
        ])  # fmt: skip
        kept = np.flatnonzero((np.arange(len(values)) >= 4) & (moved <= 0.5))
        cleaned = clean(
            values, detrend=False, standardize=False, standardize_confounds=True, filter=False, confounds=columns,
            sample_mask=kept,
        )  # fmt: skip
        courses, betas, _, _ = dual_regression(cleaned, group.copy())
        got = np.fromfile(f"{prefix}.beta.f32", "<f4").reshape(len(group), -1)
        got_courses = np.fromfile(f"{prefix}.tc.f64", "<f8").reshape(-1, len(group))
        worst = max(worst, float((np.abs(got - betas).max(1) / np.abs(betas).max(1)).max()))
        worst_course = max(worst_course, float(np.abs(got_courses - courses).max() / np.abs(courses).max()))
    print("confounds (14), dropped and censored volumes against nilearn's clean and NumPy on 8 scans:")
    print(f"  greatest relative error {worst:.2e} (maps, of the map's greatest value), {worst_course:.2e} (time courses)")
    if max(worst, worst_course) > 1e-6:
        raise SystemExit("the confounds are not regressed out as nilearn does")


def main() -> None:
    """Runs both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the built Rust programs")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for simulated scans (about 3 GB)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--z", action="store_true", help="also compare z at every voxel")
    parser.add_argument("--only", choices=["ica", "regression"])
    arguments = parser.parse_args()
    if not (arguments.data / "fmri").exists():
        raise SystemExit(f"SKIPPED: no fmri folder in {arguments.data}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores, {resource.getpagesize() * os.sysconf('SC_PHYS_PAGES') >> 30} GiB, load {os.getloadavg()[0]:.1f}")
    if arguments.only != "regression":
        ica(arguments)
        confounds(arguments)
    if arguments.only != "ica":
        regression(arguments)


if __name__ == "__main__":
    main()
