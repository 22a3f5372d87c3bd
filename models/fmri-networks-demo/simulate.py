"""Simulated cohorts with known networks, passed through the project's own group ICA and dual regression.

A cohort has its own parcellation of the seven Yeo networks into one to three parts each (groups of Schaefer parcels,
both hemispheres together), its own smoothness, noise and group maps. Every subject of it has its own seed: place,
strength, time courses, artefacts. The Rust programs of worker/tools do all of that; this script only decides what to
ask of them.

    cargo build --release -p nightread-tools --bins
    python models/fmri-networks-demo/simulate.py --bin target/release --work DIR
"""

import argparse
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
from networks7 import LABELS, NOISE
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

# A component is a network's when it correlates with a part of it at least so, an artefact's when with none so much.
NETWORK_AT, NOISE_AT = 0.4, 0.2
GROUP, SUBJECTS = 14, 24
VOXEL_MM = 4.0


def atlas(templates: Path) -> tuple[nibabel.Nifti1Image, NDArray[np.int64], NDArray[np.int64]]:
    """The grid's image, Yeo-7 labels (0 to 7) and Schaefer parcels (0 to 200), both (45, 54, 45)."""
    yeo = nibabel.load(templates / "Yeo-7_space-MNI152NLin6_res-4x4x4.nii.gz")
    parcels = nibabel.load(templates / "Schaefer200_space-MNI152NLin6_res-4x4x4.nii.gz")
    return yeo, np.rint(yeo.get_fdata()).astype(np.int64), np.rint(parcels.get_fdata()).astype(np.int64)


def sources(
    generator: np.random.Generator, image: nibabel.Nifti1Image, yeo: NDArray[np.int64], parcels: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(45, 54, 45, parts): the seven networks cut into parts, every parcel with its own weight."""
    members: dict[int, list[tuple[int, NDArray[np.float64]]]] = {n: [] for n in range(1, 8)}
    for parcel in range(1, int(parcels.max()) + 1):
        where = np.argwhere(parcels == parcel)
        labels = yeo[tuple(where.T)]
        labels = labels[labels > 0]
        if labels.size:
            centre = nibabel.affines.apply_affine(image.affine, where.mean(0))
            # Homologous parcels belong together: the side does not count.
            members[int(np.bincount(labels).argmax())].append((parcel, np.abs(centre * [1, 0, 0]) + centre * [0, 1, 1]))
    volumes = []
    for network, list_of_parcels in members.items():
        parts = int(generator.integers(1, 4))
        places = np.array([place for _, place in list_of_parcels])
        seeds = places[generator.choice(len(places), size=min(parts, len(places)), replace=False)]
        part_of = ((places[:, None] - seeds[None]) ** 2).sum(2).argmin(1)
        for part in range(len(seeds)):
            volume = np.zeros(yeo.shape, np.float32)
            for (parcel, _), own in zip(list_of_parcels, part_of, strict=True):
                if own == part:
                    inside = (parcels == parcel) & ((yeo == network) | (yeo == 0))
                    volume[inside] = generator.uniform(0.5, 1.0)
            if (volume > 0).sum() >= 60:
                volumes.append(volume)
    return np.stack(volumes, -1)


def label_components(maps_file: Path, sources_file: Path, smooth_mm: float, yeo: NDArray[np.int64]) -> list[int]:
    """Index into LABELS for every component; -1 for those that are neither clearly a network's nor an artefact's.

    A component belongs to the network of the source that it correlates with most (Pearson, over the brain).
    """
    maps = np.asarray(nibabel.load(maps_file).dataobj, dtype=np.float64)
    parts = np.asarray(nibabel.load(sources_file).dataobj, dtype=np.float64)
    inside = np.abs(maps).sum(3) > 0
    smooth = np.stack([gaussian_filter(part, smooth_mm / 2.355 / VOXEL_MM) for part in np.moveaxis(parts, 3, 0)])
    networks = [int(np.bincount(yeo[(part > 0) & (yeo > 0)]).argmax()) for part in np.moveaxis(parts, 3, 0)]
    correlation = np.corrcoef(maps[inside].T, smooth[:, inside])[: maps.shape[3], maps.shape[3] :]
    labels = []
    for row in correlation:
        if row.max() >= NETWORK_AT:
            labels.append(networks[int(row.argmax())] - 1)
        else:
            labels.append(NOISE if row.max() < NOISE_AT else -1)
    return labels


class Cohort:
    """One cohort: its folder, its simulated subjects, its group maps."""

    def __init__(self, binaries: Path, templates: Path, work: Path, number: int) -> None:
        self.binaries, self.number = binaries, number
        self.folder = work / f"cohort{number:02d}"
        self.mask = templates / "MNI152NLin6_res-2x2x2_T1w_descr-brainmask.nii.gz"
        self.generator = np.random.default_rng(1000 + number)

    def call(self, *arguments: str | Path) -> str:
        """Runs an example binary; its standard output."""
        name, *rest = (str(argument) for argument in arguments)
        return subprocess.run([str(self.binaries / name), *rest], check=True, capture_output=True, text=True).stdout

    def simulate(self, subject: int, out: Path) -> None:
        """Writes one subject's scan."""
        own = np.random.default_rng([2000 + self.number, subject])
        self.call(
            "simulate_scan", "--networks", self.folder / "sources.nii.gz", "--mask", self.mask,
            "--seed", str(self.number * 10_000 + subject), "--volumes", str(own.integers(100, 160)),
            "--tr", f"{own.uniform(0.8, 2.6):.2f}", "--place", f"{own.uniform(1.5, 3.5):.2f}",
            "--smooth", f"{self.smooth * own.uniform(0.9, 1.1):.2f}", "--network", f"{own.uniform(0.008, 0.016):.4f}",
            "--artefact", f"{own.uniform(0.006, 0.016):.4f}", "--noise", f"{own.uniform(0.008, 0.018):.4f}", out,
        )  # fmt: skip

    def build(self, image: nibabel.Nifti1Image, yeo: NDArray[np.int64], parcels: NDArray[np.int64]) -> None:
        """Sources, group scans and group maps; then the projections of every subject's components."""
        if (self.folder / "inputs.npz").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.smooth = float(self.generator.uniform(5.0, 12.0))
        components = int(self.generator.integers(16, 29))
        volumes = sources(self.generator, image, yeo, parcels)
        nibabel.save(nibabel.Nifti1Image(volumes, image.affine), self.folder / "sources.nii.gz")
        scans = [self.folder / f"group{n:02d}.nii" for n in range(GROUP)]
        for n, scan in enumerate(scans):
            self.simulate(n, scan)
        self.call(
            "group_ica", "--components", str(components), "--seed", str(self.number), "--restarts", "4",
            "--mask", self.mask, "--out", self.folder, *scans,
        )  # fmt: skip
        maps = self.folder / "maps.nii.gz"
        labels = label_components(maps, self.folder / "sources.nii.gz", self.smooth, yeo)
        inputs, truth, subjects, indices = [], [], [], []
        for n in range(GROUP + SUBJECTS):
            scan = scans[n] if n < GROUP else self.folder / "subject.nii"
            if n >= GROUP:
                self.simulate(n, scan)
            self.call("dual_regression", "--maps", maps, "--projections", "--out", self.folder / "one", scan)
            scan.unlink()
            values = np.fromfile(self.folder / "one.projections.f32", "<f4").reshape(len(labels), 3, 45, 45)
            for k, label in enumerate(labels):
                if label >= 0 and values[k].any():
                    inputs.append((values[k] * 255).round().astype(np.uint8))
                    truth.append(label)
                    subjects.append(n)
                    indices.append(k)
        np.savez(
            self.folder / "inputs.npz", inputs=np.array(inputs), truth=np.array(truth), subjects=np.array(subjects),
            components=np.array(indices),
        )  # fmt: skip
        names = [LABELS[label] if label >= 0 else None for label in labels]
        (self.folder / "labels.json").write_text(json.dumps({"smooth_mm": self.smooth, "components": names}))
        counts = {name: names.count(name) for name in [*LABELS, None]}
        print(f"cohort {self.number}: {components} components, {self.smooth:.1f} mm, {counts}", flush=True)


def main() -> None:
    """Builds the cohorts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the built Rust programs")
    parser.add_argument("--work", type=Path, required=True, help="folder for the cohorts (about 20 MB each)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with fmri/templates")
    parser.add_argument("--cohorts", type=int, nargs="+", default=list(range(10)), metavar="N", help="numbers, from 0")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    templates = arguments.data / "fmri" / "templates"
    image, yeo, parcels = atlas(templates)
    cohorts = [Cohort(arguments.bin, templates, arguments.work, n) for n in arguments.cohorts]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for done in [pool.submit(cohort.build, image, yeo, parcels) for cohort in cohorts]:
            done.result()


if __name__ == "__main__":
    main()
