"""Holds the shipped weights against simulated subjects that they were not trained on.

The cohorts come from simulate.py, which makes the same scans again from their seeds. A subject whose number leaves 4
when divided by 5 was held out of training; the last two cohorts were held out altogether. Some held-out subjects took
part in their cohort's group ICA, which saw no label: the others are also counted apart.

    python models/fmri-networks-demo/evaluate_simulated.py --cohorts DIR
"""

import argparse
import json
from pathlib import Path

import numpy as np
from networks7 import LABELS
from simulate import GROUP
from train import HELD_OUT_COHORTS, predict, report_on

HERE = Path(__file__).resolve().parent
COHORTS = 10


def main() -> None:
    """Predict, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=Path, required=True, help="what simulate.py wrote; missing ones are left out")
    parser.add_argument("--model", type=Path, default=HERE / "model.fp32.onnx", help="another file of the same outputs")
    options = parser.parse_args()
    said, truth, cohorts, subjects = [], [], [], []
    for number in range(COHORTS):
        path = options.cohorts / f"cohort{number:02d}" / "inputs.npz"
        if not path.exists():
            print(f"cohort {number} is not there")
            continue
        with np.load(path) as arrays:
            chosen = (arrays["subjects"] % 5 == 4) | (number >= COHORTS - HELD_OUT_COHORTS)
            said.append(predict(options.model, arrays["inputs"][chosen].astype(np.float32) / 255))
            truth.append(arrays["truth"][chosen])
            subjects.append(arrays["subjects"][chosen])
            cohorts.append(np.full(int(chosen.sum()), number))
    if not said:
        raise SystemExit(f"no cohort in {options.cohorts}: run simulate.py first")
    logits, right = np.concatenate(said), np.concatenate(truth)
    numbers, people = np.concatenate(cohorts), np.concatenate(subjects)
    unseen = numbers >= COHORTS - HELD_OUT_COHORTS
    parts = {
        "held_out_subjects": ~unseen,
        "held_out_subjects_outside_the_group_ica": ~unseen & (people >= GROUP),
        "held_out_cohorts": unseen,
    }
    report = {name: report_on(logits[rows], right[rows]) for name, rows in parts.items() if rows.any()}
    print(json.dumps({"labels": LABELS, **report}, indent=2))


if __name__ == "__main__":
    main()
