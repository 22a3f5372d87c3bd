"""Items for `quantise.py` from simulated cohorts: calibration from training subjects, evaluation from all others.

The split is `train.py`'s: of the first eight cohorts four subjects in five were trained on, cohorts 8 and 9 not at all.
Any of the cohorts will do; a group is a subject of a cohort.

    python models/fmri-networks-demo/simulate.py --bin target/release --work DIR --cohorts 0 1 8 9
    python models/fmri-networks-demo/int8_items.py --cohorts DIR --out DIR/items.npz
    python models/quantise/quantise.py --folder models/fmri-networks-demo --items DIR/items.npz
"""

import argparse
from pathlib import Path

import numpy as np

TRAINING_COHORTS = 8
CALIBRATION = 320


def main() -> None:
    """Writes the .npz and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=Path, required=True, help="what simulate.py wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20230905)
    options = parser.parse_args()
    trained, evaluation, truth, groups = [], [], [], []
    for path in sorted(options.cohorts.glob("cohort*/inputs.npz")):
        number = int(path.parent.name.removeprefix("cohort"))
        with np.load(path) as arrays:
            inputs, subjects = arrays["inputs"], arrays["subjects"]
            seen = (subjects % 5 != 4) & (number < TRAINING_COHORTS)
            trained.append(inputs[seen])
            evaluation.append(inputs[~seen])
            truth.append(arrays["truth"][~seen])
            groups.append(number * 1000 + subjects[~seen])
        print(f"cohort {number}: {seen.sum()} trained on, {(~seen).sum()} not")
    pool = np.concatenate(trained)
    chosen = np.sort(np.random.default_rng(options.seed).choice(len(pool), CALIBRATION, replace=False))
    np.savez(
        options.out,
        calibration=pool[chosen].astype(np.float32) / 255,
        evaluation=np.concatenate(evaluation).astype(np.float32) / 255,
        truth=np.concatenate(truth),
        groups=np.concatenate(groups),
    )
    print(f"{CALIBRATION} of {len(pool)} to calibrate, {sum(map(len, truth))} to evaluate")


if __name__ == "__main__":
    main()
