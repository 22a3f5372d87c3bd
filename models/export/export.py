"""Turns a downloaded checkpoint into a complete model folder that the worker can serve.

Takes a state dict, a dict around one ("model", "state_dict", ...), or a whole pickled module; builds
the network, writes ONNX with a dynamic batch and the outputs `logits` and `cam`, checks it against
PyTorch on random inputs (batches of 1 and 5, 1e-4), and writes manifest (with digests), card and
weights to OUT/<model>.

A pickled module runs code when it is read by ordinary means. It is refused unless --trust-pickle is
given; even then only tensors and empty module shells are built, and anything else is refused by name.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import checkpoints, group_maps, manifest, onnx_export
from nightread_models.networks import parameter_count

EXAMPLES = """examples:
  python models/export/export.py --model padchest-26 --trust-pickle --out models \\
      --checkpoint pc-densenet-densenet-best.pt
  python models/export/export.py --model xrv-padchest-18 --trust-pickle --out models \\
      --checkpoint pc-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt
  python models/export/export.py --model fmri-jhu-58 --out models \\
      --checkpoint model_final25D.pth --maps melodic_IC.nii.gz
"""


def export_folder(
    template: Path,
    checkpoint: Path,
    out: Path,
    *,
    trust_pickle: bool = False,
    maps: Path | None = None,
    mask: Path | None = None,
) -> tuple[Path, float]:
    """Writes the complete model folder below `out`; returns it and the largest ONNX-PyTorch difference.

    Nothing is written before the checkpoint and the maps have been read and found right.
    """
    description = manifest.read(template)
    network = manifest.network_for(description)
    checkpoints.load_into(network, checkpoints.read_state_dict(checkpoint, trust_pickle=trust_pickle))
    if ("maps" in description) != (maps is not None):
        raise ValueError(f"{description['name']}: --maps is for models with group-ICA maps, and needed there")
    if mask and not maps:
        raise ValueError("--mask belongs to --maps")
    checked = group_maps.read(maps, description["maps"]) if maps else None
    if mask and checked:
        group_maps.read_mask(mask, checked)

    folder = manifest.prepare_folder(template, out)
    weights = folder / str(description["weights"]["fp32"]["file"])
    item_shape = tuple(int(side) for side in description["input"]["item_shape"])
    low, high = (float(end) for end in description["input"]["value_range"])
    onnx_export.export(network, item_shape, weights, input_name=str(description["input"]["name"]))
    try:
        worst = onnx_export.check_parity(network, weights, item_shape, (low, high))
    except onnx_export.ParityError:
        weights.unlink()
        raise
    if checked:
        group_maps.install(checked, folder, mask)
    digest = manifest.fill_weights(folder)
    print(f"{folder}: {parameter_count(network):,} parameters, sha256 {digest}, difference {worst:.1e}")
    return folder, worst


def main() -> int:
    """Command line; 0 on success, 2 with one line of explanation otherwise."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="name of a folder in models/, or a path to a template folder")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the downloaded .pt or .pth file")
    parser.add_argument("--out", type=Path, required=True, help="models folder to write OUT/<model> into")
    parser.add_argument("--maps", type=Path, help="4-D NIfTI of the group-ICA maps (fMRI models)")
    parser.add_argument("--mask", type=Path, help="brain mask on the maps' grid, which scans' coverage is judged by")
    parser.add_argument("--trust-pickle", action="store_true", help="read a whole pickled module (see above)")
    options = parser.parse_args()
    named = manifest.MODELS / options.model
    template = named if named.is_dir() else Path(options.model)
    try:
        export_folder(
            template,
            options.checkpoint,
            options.out,
            trust_pickle=options.trust_pickle,
            maps=options.maps,
            mask=options.mask,
        )
    except (OSError, ValueError, checkpoints.CheckpointError, onnx_export.ParityError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
