"""Golden numbers of ordinal outputs: coral-pytorch's grades of CORAL and CORN logits, and the distribution over the
grades that NumPy makes of its probabilities. Writes ordinal.json beside itself.

    python worker/crates/engine/tests/golden/ordinal.py

Versions: coral-pytorch==1.4.0 torch==2.15.0 numpy==2.4.6
"""

import json
from pathlib import Path

import numpy as np
import torch
from coral_pytorch.dataset import corn_label_from_logits, proba_to_label
from coral_pytorch.layers import CoralLayer

CASES = 40


def case(logits: torch.Tensor, above: torch.Tensor, grade: torch.Tensor) -> dict:
    """Logits of one item, its grade, and its distribution: what is above a grade and not above the next."""
    edges = np.concatenate([[1.0], above.double().numpy().ravel(), [0.0]])
    probabilities = -np.diff(edges)
    assert (probabilities >= -1e-7).all()
    return {
        "logits": [round(value, 6) for value in logits.ravel().tolist()],
        "grade": int(grade),
        "probabilities": [abs(round(max(value, 0.0), 9)) for value in probabilities.tolist()],
    }


def main() -> None:
    """Writes the numbers."""
    torch.manual_seed(7)
    golden = {"ordinal-coral": [], "ordinal-corn": []}
    for number in range(CASES):
        grades = 2 + number % 6
        with torch.no_grad():
            layer = CoralLayer(8, grades)
            layer.coral_bias.copy_(torch.sort(3 * torch.randn(grades - 1), descending=True).values)
            coral = torch.round(layer(torch.randn(1, 8)), decimals=6)
            above = torch.sigmoid(coral)
            golden["ordinal-coral"].append(case(coral, above, proba_to_label(above)))
            corn = torch.round(4 * torch.randn(1, grades - 1), decimals=6)
            # `corn_label_from_logits` makes these before it counts them.
            above = torch.cumprod(torch.sigmoid(corn), dim=1)
            assert proba_to_label(above) == corn_label_from_logits(corn)
            golden["ordinal-corn"].append(case(corn, above, corn_label_from_logits(corn)))
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
