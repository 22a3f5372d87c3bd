"""Golden network matrices: nilearn's `ConnectivityMeasure`. Writes connectivity.json beside itself.

    python worker/crates/fmri/tests/golden/connectivity.py

The courses are made of sines, so that the test makes the same without a file. The first case has more volumes than
components, the second fewer. Versions: worker/benches/fmri/requirements.txt.
"""

import json
from pathlib import Path

import numpy as np
from nilearn.connectome import ConnectivityMeasure
from sklearn.covariance import EmpiricalCovariance, LedoitWolf

CASES = [(120, 7), (30, 40)]


def courses(volumes: int, components: int) -> np.ndarray:
    """(volumes, components), of unequal scales and means, with shared parts."""
    t, k = np.arange(volumes)[:, None], np.arange(components)[None, :]
    own = np.sin(0.37 * (k + 1) * t + 0.2 * t * t + k)
    shared = np.cos(0.21 * t) * np.cos(0.5 * k) + np.sin(0.11 * t + 1) * np.sin(0.9 * k)
    return (own + 1.5 * shared) * (1 + 3 * k) + 10 * k


def measure(x: np.ndarray, kind: str, estimator: object) -> np.ndarray:
    """One matrix, of standardised courses."""
    standard = (x - x.mean(0)) / x.std(0)
    return ConnectivityMeasure(cov_estimator=estimator, kind=kind, standardize=False).fit_transform([standard])[0]


def main() -> None:
    """Writes the numbers."""
    golden = []
    for volumes, components in CASES:
        x = courses(volumes, components)
        standard = (x - x.mean(0)) / x.std(0)
        correlation = measure(x, "correlation", EmpiricalCovariance())
        off = ~np.eye(components, dtype=bool)
        assert np.allclose(correlation, np.corrcoef(x.T), atol=1e-9)
        golden.append({
            "volumes": volumes, "components": components,
            "correlation": correlation.tolist(),
            "partial": measure(x, "partial correlation", LedoitWolf(store_precision=False)).tolist(),
            "shrinkage": float(LedoitWolf().fit(standard).shrinkage_),
            "fisher_z_sum_of_magnitudes": float(np.abs(np.arctanh(correlation[off])).sum()),
        })  # fmt: skip
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
    for case in golden:
        print(case["volumes"], case["components"], case["shrinkage"])


if __name__ == "__main__":
    main()
