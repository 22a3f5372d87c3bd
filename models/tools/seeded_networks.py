"""Writes peers' folders with full architectures and seeded random weights: for parity and speed, never for reading.

    python models/tools/seeded_networks.py totalsegmentator --out DIR
    python models/export/segmentation.py totalsegmentator DIR/totalsegmentator --out DIR/models

The last layer is scaled and freed of its mean, so that argmax gives many labels. Kinds: `nnunet` (1.4 M parameters, 14
outputs, 3 mm), `nnunet-thick` (the same for 1.5 x 0.8 x 5 mm), `totalsegmentator` (31 M, 118 outputs, plans as its
weights have them), `segresnet` (18.8 M, 105 outputs, 1.5 mm), `unet` (the spleen bundle's, 4.8 M).
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from monai.networks.nets import SegResNet, UNet

from nightread_models import nnunet_folder, segmentation_export

SEED = 17
RESAMPLING = {
    key: {"is_seg": seg, "order": order, "order_z": 0, "force_separate_z": None}
    for key, seg, order in (
        ("resampling_fn_data", False, 3),
        ("resampling_fn_seg", True, 1),
        ("resampling_fn_probabilities", False, 1),
    )
}
INTENSITIES = {"mean": 85.0, "std": 140.0, "percentile_00_5": -950.0, "percentile_99_5": 600.0, "median": 90.0}
INTENSITIES |= {"min": -1024.0, "max": 3000.0}


def spread(network: nn.Module) -> None:
    """Frees the last convolution's rows of their mean and scales them: no label wins everywhere."""
    last = [module for module in network.modules() if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d))][-1]
    with torch.no_grad():
        weight = last.weight
        # Input channels are the second axis of a convolution, the first of a transposed one.
        inputs = 0 if isinstance(last, nn.ConvTranspose3d) else 1
        weight -= weight.mean(inputs, keepdim=True)
        weight *= 4.0 / weight.std()
        if last.bias is not None:
            last.bias.zero_()


def settle(network: nn.Module, patch: tuple[int, int, int]) -> nn.Module:
    """Norms get random scales and shifts; batch norms the statistics of one batch, so that activations stay tame."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm3d, nn.InstanceNorm3d, nn.GroupNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
    if any(isinstance(module, nn.BatchNorm3d) for module in network.modules()):
        coarse = torch.rand(1, 1, *(side // 8 for side in patch))
        with torch.no_grad():
            network.train()(nn.functional.interpolate(coarse, size=patch, mode="trilinear"))
    return network.eval()


def configuration(patch: tuple[int, int, int], spacing: tuple[float, float, float]) -> dict[str, Any]:
    """A configuration of plans, without its architecture; patch and spacing along z, y, x."""
    settings: dict[str, Any] = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [130.0, 130.0, 130.0],
        "spacing": list(spacing),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": True,
    }
    for key, options in RESAMPLING.items():
        settings |= {key: "resample_data_or_seg_to_shape", f"{key}_kwargs": options}
    return settings


def architecture(widths: list[int], strides: list[list[int]]) -> dict[str, Any]:
    """A PlainConvUNet as today's plans describe it."""
    stages = len(widths)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": widths,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": strides,
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def old_architecture(stages: int) -> dict[str, Any]:
    """The same in the words of plans before nnU-Net 2.5, as TotalSegmentator's weights have them."""
    return {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "num_pool_per_axis": [stages - 1] * 3,
        "pool_op_kernel_sizes": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "conv_kernel_sizes": [[3, 3, 3]] * stages,
    }


def write_nnunet(folder: Path, settings: dict[str, Any], labels: list[str], reader: str = "SimpleITKIO") -> Path:
    """A result folder of nnU-Net v2 with one fold."""
    plans = {
        "dataset_name": "Dataset917_Seeded",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [3.0, 1.0, 1.0],
        "original_median_shape_after_transp": [100, 200, 200],
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": settings},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
    }
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {name: index for index, name in enumerate(["background", *labels])},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    torch.manual_seed(SEED)
    network = nnunet_folder.build(settings, len(labels) + 1)
    settle(network, tuple(settings["patch_size"]))
    spread(network)
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": {},
        "grad_scaler_state": None,
        # As nnU-Net writes it: numpy's scalars among plain values.
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.1)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1,
        "init_args": {"configuration": "3d_fullres", "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / nnunet_folder.CHECKPOINT)
    return folder


def nnunet(folder: Path, patch: int = 96) -> Path:
    """Widths 16 to 128, 14 outputs, 3 mm."""
    settings = configuration((patch, patch, patch), (3.0, 3.0, 3.0))
    settings["architecture"] = architecture([16, 32, 64, 128], [[1, 1, 1]] + [[2, 2, 2]] * 3)
    return write_nnunet(folder, settings, [f"label_{n}" for n in range(1, 14)])


def nnunet_thick(folder: Path) -> Path:
    """For thick slices: 5 mm along z, 1.5 along y, 0.8 along x; the first level is not halved along z."""
    settings = configuration((16, 64, 96), (5.0, 1.5, 0.8))
    settings["architecture"] = architecture([16, 32, 64, 128], [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]])
    return write_nnunet(folder, settings, [f"label_{n}" for n in range(1, 8)])


def totalsegmentator(folder: Path, patch: int = 128) -> Path:
    """Plans and labels as those of `total --fast`: six stages, 118 outputs, 3 mm."""
    path = Path(segmentation_export.__file__).with_name("structures.csv")
    with path.open(newline="", encoding="utf-8") as file:
        labels = [row["name"] for row in csv.DictReader(file)]
    settings = configuration((patch, patch, patch), (3.0, 3.0, 3.0)) | old_architecture(6)
    return write_nnunet(folder, settings, labels, reader="NibabelIOWithReorient")


def write_bundle(folder: Path, network: nn.Module, definition: dict[str, Any], rest: dict[str, Any]) -> Path:
    """A bundle; `rest` has spacing, window and the way back."""
    patch = tuple(rest["patch"])
    settle(network, patch)
    spread(network)
    back: list[dict[str, Any]] = [
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": rest["nearest"],
            "to_tensor": True,
        },
    ]
    softmax = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
    writer = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "eval"}
    low, high = rest["clip"]
    inference = {
        "spatial": rest["spacing"],
        "network_def": definition,
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": "@spatial", "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": low,
                    "a_max": high,
                    "b_min": 0.0,
                    "b_max": 1.0,
                    "clip": True,
                },
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": rest["patch"],
            "sw_batch_size": 1,
            "overlap": rest["overlap"],
            "mode": rest["mode"],
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [softmax, *(back if rest["nearest"] else back[::-1]), writer],
        },
    }
    names = {str(index): name for index, name in enumerate(["background", *rest["labels"]])}
    metadata = {"name": folder.name, "network_data_format": {"outputs": {"pred": {"channel_def": names}}}}
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(inference, indent=1))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=1))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def segresnet(folder: Path, patch: int = 96) -> Path:
    """SegResNet with 32 filters, 105 outputs, 1.5 mm, Gaussian weights, labels back to the nearest voxel."""
    torch.manual_seed(SEED)
    definition = {"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 105, "init_filters": 32}
    definition |= {"blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1], "dropout_prob": 0.2}
    network = SegResNet(**{key: value for key, value in definition.items() if key[0] != "_"})
    rest = {"spacing": [1.5, 1.5, 1.5], "patch": [patch] * 3, "overlap": 0.25, "mode": "gaussian", "nearest": True}
    rest |= {"clip": (-250.0, 400.0), "labels": [f"label_{n}" for n in range(1, 105)]}
    return write_bundle(folder, network, definition, rest)


def unet(folder: Path, patch: int = 96) -> Path:
    """The spleen bundle's residual UNet with batch norms, here with 6 outputs; probabilities back by interpolation."""
    torch.manual_seed(SEED)
    definition: dict[str, Any] = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 6}
    definition |= {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2, "norm": "batch"}
    network = UNet(**{key: value for key, value in definition.items() if key[0] != "_"})
    rest = {"spacing": [1.5, 1.5, 2.0], "patch": [patch] * 3, "overlap": 0.5, "mode": "constant", "nearest": False}
    rest |= {"clip": (-57.0, 164.0), "labels": ["liver", *(f"label_{n}" for n in range(2, 6))]}
    return write_bundle(folder, network, definition, rest)


KINDS = {
    "nnunet": nnunet,
    "nnunet-thick": nnunet_thick,
    "totalsegmentator": totalsegmentator,
    "segresnet": segresnet,
    "unet": unet,
}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--out", type=Path, required=True, help="folder to write OUT/KIND into")
    options = parser.parse_args()
    print(KINDS[options.kind](options.out / options.kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
