"""What the demonstration model says about components of 32 real resting-state scans, beside the Yeo networks.

Group ICA and dual regression are the project's own; a component counts when its best correlation with a Yeo-7 network
(share of every 10 mm voxel that the network fills) is at least 0.4. No number is aimed at: it is written down as it is.

    python models/fmri-networks-demo/evaluate_real.py --bin target/release --work DIR
"""

import argparse
import json
import subprocess
from pathlib import Path

import nibabel
import numpy as np
from networks7 import LABELS, NOISE
from numpy.typing import NDArray
from train import predict

HERE = Path(__file__).resolve().parent
COMPONENTS = 20
LEAST = 0.4


def shares(labels_file: Path, image: nibabel.Nifti1Image, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(7, voxels): the share of every voxel inside that each network fills."""
    labels = nibabel.load(labels_file)
    values = np.rint(labels.get_fdata()).astype(int)
    out = np.zeros((7, *inside.shape))
    to_coarse = np.linalg.inv(image.affine) @ labels.affine
    for network in range(1, 8):
        where = np.rint(nibabel.affines.apply_affine(to_coarse, np.argwhere(values == network))).astype(int)
        where = where[((where >= 0) & (where < inside.shape)).all(1)]
        np.add.at(out[network - 1], tuple(where.T), 1.0)
    return out[:, inside]


def correlations(maps: NDArray[np.float64], networks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(components, 7) Pearson correlations over voxels."""
    return np.corrcoef(maps, networks)[: len(maps), len(maps) :]


def main() -> None:
    """Decompose, regress, classify, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the built Rust programs")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    scans = sorted((options.data / "fmri" / "rest32").glob("*.nii"))
    templates = options.data / "fmri" / "templates"
    if not scans:
        raise SystemExit(f"SKIPPED: no fmri/rest32 in {options.data}")
    options.work.mkdir(parents=True, exist_ok=True)
    group = options.work / "group"
    mask = templates / "MNI152NLin6_res-2x2x2_T1w_descr-brainmask.nii.gz"
    command = [options.bin / "group_ica", "--components", COMPONENTS, "--seed", 1, "--mask", mask, "--out", group]
    subprocess.run([str(part) for part in [*command, *scans]], check=True, stderr=subprocess.DEVNULL)
    image = nibabel.load(group / "maps.nii.gz")
    values = np.asarray(image.dataobj, dtype=np.float64)
    inside = np.abs(values).sum(3) > 0
    networks = shares(templates / "Yeo-7-liberal_space-MNI152NLin6_res-2x2x2.nii.gz", image, inside)
    of_group = correlations(values[inside].T, networks)

    right = {"group": [0, 0], "subject": [0, 0]}
    noise_right = [0, 0]
    confusion = np.zeros((7, len(LABELS)), int)
    # The file's voxel order, not NumPy's.
    order = np.argwhere(inside.transpose(2, 1, 0))[:, ::-1]
    place = np.zeros(inside.shape, int)
    place[tuple(order.T)] = np.arange(len(order))
    for scan in scans:
        for extra in (["--projections", "--grid", HERE / "maps.nii.gz"], []):
            one = [
                options.bin / "dual_regression",
                "--maps",
                group / "maps.nii.gz",
                "--out",
                options.work / "one",
                *extra,
            ]
            subprocess.run([str(part) for part in [*one, scan]], check=True, stdout=subprocess.DEVNULL)
        inputs = np.fromfile(options.work / "one.projections.f32", "<f4").reshape(COMPONENTS, 3, 45, 45)
        said = predict(HERE / "model.fp32.onnx", inputs).argmax(1)
        betas = np.fromfile(options.work / "one.beta.f32", "<f4").reshape(COMPONENTS, -1)
        of_subject = correlations(betas[:, place[inside]].astype(np.float64), networks)
        for k in range(COMPONENTS):
            for name, row in (("group", of_group[k]), ("subject", of_subject[k])):
                if row.max() >= LEAST:
                    right[name][0] += int(said[k] == row.argmax())
                    right[name][1] += 1
            if of_group[k].max() >= LEAST:
                confusion[of_group[k].argmax(), said[k]] += 1
            if of_group[k].max() < 0.2:
                noise_right[0] += int(said[k] == NOISE)
                noise_right[1] += 1
    report = {
        "group_components_at_0.4": int((of_group.max(1) >= LEAST).sum()),
        "agreement_group_criterion": right["group"],
        "agreement_subject_criterion": right["subject"],
        "called_noise_below_0.2": noise_right,
        "confusion_rows_network_columns_said": {
            LABELS[n]: confusion[n].tolist() for n in range(7) if confusion[n].any()
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
