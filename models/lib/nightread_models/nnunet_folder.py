"""nnU-Net v2 result folders (`TRAINER__PLANS__CONFIGURATION`): what the worker can run of them, and the network.

Needs `dynamic-network-architectures` alone, not nnU-Net. Whatever would give other labels than nnU-Net gives
(cascades, regions, several channels, other normalisations, resamplings or readers) is refused in words.
"""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures import unet
from torch import Tensor, nn

CHECKPOINT = "checkpoint_final.pth"
NETWORKS = {"PlainConvUNet": unet.PlainConvUNet, "ResidualEncoderUNet": unet.ResidualEncoderUNet}
# What plans may name, and nothing else: plans are data, and are not to have code looked up by them.
PARTS = {
    "Conv3d": nn.Conv3d,
    "InstanceNorm3d": nn.InstanceNorm3d,
    "LeakyReLU": nn.LeakyReLU,
    "ReLU": nn.ReLU,
}
# Readers -> orientation of the arrays. Files ending with .nii.gz are read by SimpleITK where nothing is said.
READERS = {"SimpleITKIO": "as-stored", "NibabelIO": "as-stored", "NibabelIOWithReorient": "RAS"}
RESAMPLING = {
    "resampling_fn_data": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}


class FolderError(Exception):
    """The folder cannot be read, or holds what the worker does not run."""


@dataclass(frozen=True)
class Folder:
    """One configuration of a trained nnU-Net, checked."""

    name: str
    # Settings of the configuration, `inherits_from` resolved.
    settings: dict[str, Any]
    # Names of the labels in the order of the outputs, background first.
    labels: list[str]
    # percentile_00_5, percentile_99_5, mean, std of the training foreground in HU.
    intensities: dict[str, float]
    orientation: str
    # Which of z, y, x each axis of the network is.
    axis_order: str
    trainer: str
    mirrored: bool
    weights: dict[str, Tensor]

    @property
    def patch(self) -> tuple[int, int, int]:
        """Voxels of a patch in the network's order of axes."""
        a, b, c = (int(side) for side in self.settings["patch_size"])
        return a, b, c

    @property
    def spacing(self) -> list[float]:
        """Sides of a voxel in mm along x, y, z of the arrays that are read."""
        by_axis = dict(zip(self.axis_order, self.settings["spacing"], strict=True))
        return [float(by_axis[axis]) for axis in "xyz"]


def _json(path: Path) -> dict[str, Any]:
    """An object from a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise FolderError(f"{path}: not an object")
    return content


def _fold(folder: Path, wanted: str | None) -> Path:
    """The one fold's folder."""
    found = sorted(path.parent.name for path in folder.glob(f"fold_*/{CHECKPOINT}"))
    if wanted is not None:
        found = [name for name in found if name == f"fold_{wanted}"]
    if not found:
        raise FolderError(f"{folder}: no fold_{wanted or '*'}/{CHECKPOINT}")
    if len(found) > 1:
        raise FolderError(f"{folder}: {len(found)} folds ({', '.join(found)}); the worker runs one, see --fold")
    return folder / found[0]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint, no code run from it: tensors, containers, and numpy's scalars (scores, learning rates)."""
    scalar = np.float64(0).__reduce__()[0]
    allowed = [
        # Files name the function by where it was in numpy 1 or where it is in numpy 2.
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)},
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError) as error:
        raise FolderError(f"{path}: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not isinstance(content.get("network_weights"), dict):
        raise FolderError(f"{path}: no network_weights; not a checkpoint of nnU-Net v2")
    return content


def _settings(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    configurations, chain = plans.get("configurations", {}), list[str]()
    merged: dict[str, Any] = {}
    current: str | None = name
    while current is not None:
        if current not in configurations or current in chain:
            raise FolderError(f"plans.json: configuration {current!r} is missing, or inherits from itself")
        chain.append(current)
        merged = {**configurations[current], **merged}
        current = configurations[current].get("inherits_from")
    merged.pop("inherits_from", None)
    return merged


def _labels(dataset: dict[str, Any]) -> list[str]:
    """Names by output; regions and gaps are refused."""
    labels = dict(dataset.get("labels", {}))
    labels.pop("ignore", None)
    if regions := [name for name, value in labels.items() if isinstance(value, list) and len(value) != 1]:
        raise FolderError(f"dataset.json: region-based labels ({', '.join(regions[:3])}); the worker gives a voxel one")
    numbers = {int(value[0] if isinstance(value, list) else value): name for name, value in labels.items()}
    if sorted(numbers) != list(range(len(labels))):
        raise FolderError("dataset.json: labels are not 0, 1, 2 and so on")
    return [numbers[index] for index in range(len(numbers))]


def _refusals(settings: dict[str, Any], plans: dict[str, Any], dataset: dict[str, Any]) -> list[str]:
    """Everything about the configuration that the worker would do otherwise than nnU-Net."""
    found = []
    if settings.get("previous_stage"):
        found.append("the second stage of a cascade, which needs the first one's labels")
    if len(settings.get("patch_size", ())) != 3:
        found.append("not a 3-D configuration")
    channels = dataset.get("channel_names", dataset.get("modality", {}))
    if len(channels) != 1:
        found.append(f"{len(channels)} input channels; the worker gives one")
    if (schemes := settings.get("normalization_schemes")) != ["CTNormalization"]:
        found.append(f"normalisation {schemes}; the worker has CTNormalization")
    if (preprocessor := settings.get("preprocessor_name", "DefaultPreprocessor")) != "DefaultPreprocessor":
        found.append(f"preprocessor {preprocessor}; the worker has DefaultPreprocessor")
    for key, wanted in RESAMPLING.items():
        function, options = settings.get(key), settings.get(f"{key}_kwargs", {})
        if function != "resample_data_or_seg_to_shape" or {**wanted, **options} != wanted:
            found.append(f"{key} {function} {options}; the worker has resample_data_or_seg_to_shape {wanted}")
    if sorted(plans.get("transpose_forward", [0, 1, 2])) != [0, 1, 2]:
        found.append(f"transpose_forward {plans['transpose_forward']}")
    return found


def read(folder: Path, *, fold: str | None = None, configuration: str | None = None) -> Folder:
    """Reads and judges a folder with plans.json, dataset.json and one fold_N/checkpoint_final.pth.

    Raises FolderError that lists everything the worker would do otherwise than nnU-Net.
    """
    plans, dataset = _json(folder / "plans.json"), _json(folder / "dataset.json")
    checkpoint = read_checkpoint(_fold(folder, fold) / CHECKPOINT)
    start = checkpoint.get("init_args") or {}
    name = configuration or start.get("configuration") or folder.name.rsplit("__", 1)[-1]
    settings = _settings(plans, str(name))
    reader = dataset.get("overwrite_image_reader_writer") or plans.get("image_reader_writer") or "SimpleITKIO"
    refused = _refusals(settings, plans, dataset)
    if reader not in READERS:
        refused.append(f"reader {reader}; the worker reads as {', '.join(READERS)}")
    if refused:
        raise FolderError(f"{folder}: " + "; ".join(refused))
    properties = plans.get("foreground_intensity_properties_per_channel", {}).get("0")
    if not properties:
        raise FolderError("plans.json: no foreground_intensity_properties_per_channel")
    return Folder(
        name=str(plans.get("dataset_name", folder.name)),
        settings=settings,
        labels=_labels(dataset),
        intensities={key: float(properties[key]) for key in ("percentile_00_5", "percentile_99_5", "mean", "std")},
        orientation=READERS[reader],
        axis_order="".join("zyx"[axis] for axis in plans.get("transpose_forward", [0, 1, 2])),
        trainer=str(checkpoint.get("trainer_name", "")),
        mirrored=bool(checkpoint.get("inference_allowed_mirroring_axes")),
        weights={_plain(key): value.float() for key, value in checkpoint["network_weights"].items()},
    )


def _plain(key: str) -> str:
    """A parameter's name without the wrappers of parallel or compiled training."""
    for prefix in ("module.", "_orig_mod."):
        key = key.removeprefix(prefix)
    return key


def _old_architecture(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class and arguments from plans before nnU-Net 2.5 (TotalSegmentator's weights have these)."""
    stages = len(settings["n_conv_per_stage_encoder"])
    name = str(settings["UNet_class_name"])
    base, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
    blocks = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    return name, {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
        "conv_op": "Conv3d",
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        blocks: settings["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def build(settings: dict[str, Any], outputs: int) -> nn.Module:
    """The untrained network of a configuration, without deep supervision. Raises FolderError for another class."""
    if "architecture" in settings:
        architecture = settings["architecture"]
        name, arguments = str(architecture["network_class_name"]), dict(architecture["arch_kwargs"])
    else:
        name, arguments = _old_architecture(settings)
    short = name.rsplit(".", 1)[-1]
    if short not in NETWORKS:
        raise FolderError(f"network {name}; known are {', '.join(NETWORKS)}")
    for key in ("conv_op", "norm_op", "dropout_op", "nonlin"):
        if (value := arguments.get(key)) is not None:
            part = str(value).rsplit(".", 1)[-1]
            if part not in PARTS:
                raise FolderError(f"{key} {value}; known are {', '.join(PARTS)}")
            arguments[key] = PARTS[part]
    arguments["deep_supervision"] = False
    return NETWORKS[short](input_channels=1, num_classes=outputs, **arguments)


def network(folder: Folder) -> nn.Module:
    """The trained network in inference mode."""
    built = build(folder.settings, len(folder.labels))
    try:
        built.load_state_dict(folder.weights)
    except RuntimeError as error:
        raise FolderError(f"{folder.trainer}: weights are not of the planned network: {error}") from error
    return built.eval()
