"""Turns a trained 3-D segmentation network into a complete model folder that the worker can serve.

    python models/export/segmentation.py totalsegmentator FOLDER --out models
    python models/export/segmentation.py nnunet FOLDER --name lesions --out models
    python models/export/segmentation.py monai BUNDLE --out models

`totalsegmentator`: the folder of `total --fast` (nnU-Net with 118 outputs, 3 mm), read as TotalSegmentator reads.
`nnunet`: any result folder of nnU-Net v2 with plans.json, dataset.json and fold_N/checkpoint_final.pth.
`monai`: a bundle of a SegResNet or a UNet.

What the worker would do otherwise than the peer's own code is refused in words: cascades, regions, several folds or
channels, other normalisations. One patch is compared between PyTorch and ONNX Runtime (1e-4). Mirroring at test time
(nnU-Net's default) is not done by the worker: compare with `--disable_tta`.
"""

import argparse
import csv
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from nightread_models import monai_bundle, nnunet_folder, onnx_export, segmentation_export
from nightread_models.segmentation_export import Description, Label

STRUCTURES = Path(segmentation_export.__file__).with_name("structures.csv")
# TotalSegmentator 2.18: steps of 0.8 patches for `total`, 3 mm for `--fast`.
TOTAL_STEP, TOTAL_SPACING = 0.8, (3.0, 3.0, 3.0)
TOTAL_LABELS = 117


def codes() -> dict[str, tuple[tuple[str, str, str], str | None]]:
    """DICOM code and laterality of each structure of TotalSegmentator's `total` (from its own table)."""
    with STRUCTURES.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {r["name"]: ((r["value"], r["scheme"], r["meaning"]), r["laterality"] or None) for r in rows}


def label(name: str) -> Label:
    """A label, with the code of the structure of that name where there is one."""
    known = codes().get(name)
    return Label(name, known[0], known[1]) if known else Label(name)


def plain_name(name: str) -> str:
    """Lower-case letters, digits and hyphens, as a model's name must be."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def describe_nnunet(folder: nnunet_folder.Folder, name: str) -> Description:
    """nnU-Net's own way: its grid, its normalisation before resampling, logits back on the source's grid."""
    x, y, z = folder.spacing
    values = folder.intensities
    return Description(
        name=name,
        description=f"nnU-Net {folder.name}, {len(folder.labels) - 1} labels",
        spacing=(x, y, z),
        patch=folder.patch,
        orientation=folder.orientation,
        axis_order=folder.axis_order,
        preprocessing="ct-nnunet-1",
        clip=(values["percentile_00_5"], values["percentile_99_5"]),
        mean_std=(values["mean"], values["std"]),
        labels=[label(one) for one in folder.labels[1:]],
        overlap=0.5,
        weights="gaussian",
        placement="nnunet",
        padding="zero",
        resample="logits",
    )


def describe_totalsegmentator(folder: nnunet_folder.Folder, name: str) -> Description:
    """TotalSegmentator's way around nnU-Net: RAS, its own 3 mm grid, labels back to the nearest voxel."""
    found = [round(side, 3) for side in folder.spacing]
    if len(folder.labels) != TOTAL_LABELS + 1 or found != list(TOTAL_SPACING):
        raise ValueError(
            f"{len(folder.labels) - 1} labels at {found} mm: not the network of `total --fast` "
            f"({TOTAL_LABELS} labels at 3 mm). Its other tasks are several networks or other labels"
        )
    if unknown := [one for one in folder.labels[1:] if one not in codes()]:
        raise ValueError(f"labels that `total` does not have: {', '.join(unknown[:5])}")
    base = describe_nnunet(folder, name)
    changed = {
        "description": "TotalSegmentator total --fast: 117 structures at 3 mm",
        "spacing": TOTAL_SPACING,
        "orientation": "RAS",
        "preprocessing": "ct-totalseg-1",
        "overlap": round(1 - TOTAL_STEP, 6),
        "resample": "labels",
    }
    return Description(**{**base.__dict__, **changed})


def describe_bundle(bundle: monai_bundle.Bundle, name: str) -> Description:
    """MONAI's way: RAS, affine-true grid, a range of intensities."""
    return Description(
        name=name,
        description=f"MONAI bundle {bundle.name}, {len(bundle.labels) - 1} labels",
        spacing=bundle.spacing,
        patch=bundle.patch,
        orientation="RAS",
        axis_order="xyz",
        preprocessing="ct-monai-1",
        clip=bundle.clip,
        range=bundle.range,
        labels=[label(one) for one in bundle.labels[1:]],
        overlap=bundle.overlap,
        weights=bundle.weights,
        placement="monai",
        padding="zero",
        resample=bundle.resample,
    )


def card(description: Description, origin: str, notes: list[str]) -> str:
    """What can be said of a network that its owner brought."""
    lines = [
        f"# {description.name}",
        "",
        f"{description.description}. Exported from {origin} by `models/export/segmentation.py`; its training, figures",
        "and licence are its owner's to tell. Not a medical device.",
        "",
        f"Patches of {' x '.join(map(str, description.patch))} voxels ({description.axis_order}), "
        f"{' x '.join(f'{side:g}' for side in description.spacing)} mm along x, y, z; `{description.preprocessing}`.",
        *(["", *notes] if notes else []),
        "",
    ]
    return "\n".join(lines)


def export_nnunet(options: argparse.Namespace) -> tuple[Path, float]:
    """A folder of nnU-Net, as nnU-Net or TotalSegmentator would use it."""
    folder = nnunet_folder.read(options.folder, fold=options.fold, configuration=options.configuration)
    network = nnunet_folder.network(folder)
    notes = []
    if options.kind == "totalsegmentator":
        description = describe_totalsegmentator(folder, options.name or "totalsegmentator-fast")
    else:
        description = describe_nnunet(folder, options.name or plain_name(folder.name))
        if folder.mirrored:
            notes = ["nnU-Net mirrors at test time by default; the worker does not: its labels are `--disable_tta`'s."]
    text = card(description, f"an nnU-Net v2 folder ({folder.trainer})", notes)
    return segmentation_export.write_folder(network, description, text, options.out)


def export_bundle(options: argparse.Namespace) -> tuple[Path, float]:
    """A MONAI bundle."""
    bundle = monai_bundle.read(options.folder)
    notes = []
    if bundle.of_chances:
        notes = [
            "The bundle interpolates probabilities on the way back, the worker logits: voxels at the borders of labels",
            "may be decided otherwise.",
        ]
    description = describe_bundle(bundle, options.name or plain_name(bundle.name))
    text = card(description, f"the MONAI bundle {bundle.name}", notes)
    return segmentation_export.write_folder(bundle.network, description, text, options.out)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 on success, 2 with one line of explanation otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("totalsegmentator", "nnunet", "monai"))
    parser.add_argument("folder", type=Path, help="the trained network's folder")
    parser.add_argument("--out", type=Path, required=True, help="models folder to write OUT/NAME into")
    parser.add_argument("--name", help="the model's name; made from the folder's where it is left out")
    parser.add_argument("--fold", help="(nnunet) which fold, where there are several: 0, 1, ... or all")
    parser.add_argument("--configuration", help="(nnunet) which configuration, where the folder does not say")
    options = parser.parse_args(arguments)
    try:
        if options.name and plain_name(options.name) != options.name:
            raise ValueError(f"name {options.name!r}: lower-case letters, digits and hyphens")
        folder, worst = export_bundle(options) if options.kind == "monai" else export_nnunet(options)
    except (
        OSError,
        ValueError,
        nnunet_folder.FolderError,
        monai_bundle.BundleError,
        onnx_export.ParityError,
    ) as error:
        print(f"segmentation: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: difference {worst:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
