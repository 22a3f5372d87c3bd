"""Writes the model folder from a checkpoint of `train.py`: weights, digest, figures in report.json and in the card.

python models/ct-organs-demo/finish.py --data ../shared/data --work DIR

What a checkpoint holds at any time will do: the running mean of the weights so far.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import evaluate
import onnx
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import organs

from nightread_models import compact, manifest, onnx_export, segmentation_export
from nightread_models.unet3d import UNet3d

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- figures by finish.py -->", "<!-- end of figures -->"
COLUMNS = {
    "training_case": "training case (machine labels)",
    "phantoms_of_other_shape": "phantoms of other shape and contrast",
    "series_of_20_slices": "20-slice series, never seen (machine labels)",
}


def figures(report: dict[str, Any]) -> str:
    """The card's table of Dice, and what the training took."""
    dice = report["dice"]
    lines = [
        f"{report['steps']} steps of two patches ({report['coarse_steps']} of them coarse), "
        f"{report['processor_s'] / 60:.0f} minutes of processor time.",
        "",
        f"| Dice | {' | '.join(COLUMNS.values())} |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for name in organs.LABELS:
        cells = [dice[kind][name] for kind in COLUMNS]
        lines.append(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.2f}" for cell in cells) + " |")
    return "\n".join(lines)


def write_card(report: dict[str, Any]) -> None:
    """Puts the figures between their marks in the card."""
    card = HERE / "README.md"
    text = card.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    card.write_text(f"{before}{BEGIN}\n{figures(report)}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where train.py keeps its checkpoint")
    parser.add_argument(
        "--phantoms", type=int, default=len(evaluate.PHANTOM_SEEDS), help="how many to take the mean of"
    )
    options = parser.parse_args()
    state = torch.load(options.work / "checkpoint.pt", weights_only=True)
    network = UNet3d(organs.OUTPUTS)
    network.load_state_dict(state["mean"])
    compact.round_half(network)
    side, weights = evaluate.SIDE, HERE / segmentation_export.WEIGHTS
    segmentation_export.export(network, (side, side, side), weights)
    model = onnx.load(weights)
    compact.store_half(model)
    weights.write_bytes(model.SerializeToString(deterministic=True))
    worst = segmentation_export.check_parity(network, weights, (side, side, side), (-2.5, 2.5))
    digest = manifest.fill_weights(HERE)
    runtime = onnx_export.session(weights)
    report = {
        "weights_sha256": digest,
        "parameters": sum(p.numel() for p in network.parameters()),
        "steps": state["step"],
        "coarse_steps": min(state["step"], state["coarse_steps"]),
        "processor_s": round(state["processor_s"]),
        "largest_difference_to_torch": float(f"{worst:.1e}"),
        "phantoms": options.phantoms,
        "dice": evaluate.evaluate(
            options.data, lambda patch: runtime.run(["logits"], {"image": patch})[0], options.phantoms
        ),
    }
    (HERE / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    write_card(report)
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
