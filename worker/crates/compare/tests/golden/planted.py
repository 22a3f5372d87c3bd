"""The case that `compare.py` plants: findings, components and segments of two models."""

import math
from typing import Any

import numpy as np
import pandas as pd


def single(values: Any) -> np.ndarray:
    """As documents hold numbers: single precision, reckoned with in double."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def planted_findings(generator: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Findings of 48 patients with 1 to 4 images, of two models; and the truth, with gaps."""
    images = [(f"p{p:02}", f"p{p:02}/{i}.png") for p in range(48) for i in range(1 + p % 4)]
    truth = pd.DataFrame(images, columns=["patient", "study"])[["study", "patient"]]
    base = {"Mass": -0.2, "Nodule": -2.2, "Hernia": -9.0, "Effusion, left": 0.4}
    rows = []
    for label, shift in base.items():
        of_patient = {patient: generator.normal() for patient, _ in images}
        sick = {patient: generator.random() < 1 / (1 + math.exp(-shift)) for patient, _ in images}
        truth[label] = [float(sick[patient]) for patient, _ in images]
        for place, (patient, study) in enumerate(images):
            logit_a = shift + 1.4 * sick[patient] + of_patient[patient] + 0.6 * generator.normal()
            logit_b = logit_a + 0.1 + 0.35 * generator.normal()
            logits = single([logit_a, logit_b])
            # Two decimals, so that scores are tied.
            probabilities = single(np.round(1 / (1 + np.exp(-logits)), 2))
            has_a, has_b = not (label == "Nodule" and place % 17 == 3), not (label == "Mass" and place % 23 == 5)
            row: dict[str, Any] = {"study": study, "label": label}
            for side, has, logit, probability in zip("ab", [has_a, has_b], logits, probabilities, strict=True):
                row[f"logit_{side}"] = logit if has else math.nan
                row[f"probability_{side}"] = probability if has else math.nan
                row[f"positive_{side}"] = float(probability >= single(0.5)) if has else math.nan
            rows.append(row)
    truth.loc[truth.index % 7 == 2, "Mass"] = math.nan
    truth.loc[truth.index % 5 == 1, "Effusion, left"] = math.nan
    truth = truth[truth.index % 29 != 11].copy()
    truth["Fracture"] = 0.0
    truth.loc[len(images)] = ["elsewhere.png", "p99", 1.0, 0.0, 0.0, 1.0, 0.0]
    # The order of the file must not matter.
    return pd.DataFrame(rows), truth.sample(frac=1, random_state=3)


def planted_components(generator: np.random.Generator) -> pd.DataFrame:
    """Six components of 25 scans by two models."""
    names = np.array(["", "visual", "default mode", "motor", "noise"])
    rows = []
    for scan in range(25):
        for index in range(6):
            a = 0 if generator.random() < 0.1 else 1 + (index + (generator.random() < 0.1)) % 4
            b = a if generator.random() < 0.85 else int(generator.integers(0, 5))
            row: dict[str, Any] = {"study": f"scan-{scan:02}.nii.gz", "index": index}
            for side, label in zip("ab", [a, b], strict=True):
                row[f"label_{side}"] = names[label]
                row[f"probability_{side}"] = single(generator.random()).item()
                row[f"correlation_{side}"] = generator.uniform(-0.2, 0.95) if label else math.nan
                peak = generator.integers(-60, 60, 3) if label else [math.nan] * 3
                row |= {f"{axis}_{side}": float(place) for axis, place in zip("xyz", peak, strict=True)}
            rows.append(row)
    return pd.DataFrame(rows)


def planted_segments(generator: np.random.Generator) -> pd.DataFrame:
    """Organs of 30 volumes by two models: some not found, some that only one model knows."""
    organs = {
        "liver": (1500, 60), "spleen": (200, 50), "pancreas": (80, 40), "kidney, left": (160, 110), "cyst": (3, 8),
    }  # fmt: skip
    rows = []
    for volume in range(30):
        for label, (millilitres, units) in organs.items():
            size, rare = millilitres * generator.lognormal(0, 0.3), label in {"cyst", "pancreas"}
            row: dict[str, Any] = {"study": f"volume-{volume:02}", "label": label}
            for side, shift in {"a": 0.0, "b": 0.02}.items():
                is_found = generator.random() > (0.4 if rare else 0.02)
                measured = size * (1 + shift + 0.05 * generator.normal())
                row[f"volume_{side}"] = round(measured, 3) if is_found else 0.0
                row[f"mean_{side}"] = round(units + 4 * generator.normal(), 2) if is_found else math.nan
            if label == "cyst" and volume % 6 == 1:
                row["volume_a"] = row["mean_a"] = math.nan
            if label == "kidney, left" and volume % 8 == 3:
                row["volume_b"] = row["mean_b"] = math.nan
            rows.append(row)
    return pd.DataFrame(rows)
