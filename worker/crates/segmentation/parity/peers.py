"""Volumes prepared by the peers' own code, and what their own ways back do with indices of the model's grid.

A source is a nibabel image of int16. A recipe is a dictionary with the fields of a manifest. `prepare` gives the network's
tensor as the peer makes it; `way_back` gives, for each spatial axis of that tensor, where each voxel of the source lies.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    NormalizeIntensity,
    Orientation,
    ScaleIntensity,
    ScaleIntensityRange,
    Spacing,
)
from monai.transforms.utils import convert_applied_interp_mode
from nibabel.funcs import as_closest_canonical
from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from totalsegmentator.alignment import undo_canonical
from totalsegmentator.resampling import change_spacing


def plans(recipe):
    """nnU-Net's plans as its planner writes them, with this recipe's numbers."""
    resampling = {}
    for what, order in (("data", recipe["order"]), ("probabilities", 1)):
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": False, "order": order, "order_z": 0, "force_separate_z": None,
        }
    resampling["resampling_fn_seg"] = "resample_data_or_seg_to_shape"
    resampling["resampling_fn_seg_kwargs"] = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
    forward = ["zyx".index(axis) for axis in recipe["axis_order"]]
    low, high = recipe["clip"]
    properties = {"mean": recipe["mean"], "std": recipe["std"], "percentile_00_5": low, "percentile_99_5": high}
    return PlansManager({
        "transpose_forward": forward, "transpose_backward": list(np.argsort(forward)),
        "foreground_intensity_properties_per_channel": {"0": properties},
        "configurations": {"3d_fullres": {
            "spacing": [recipe["spacing_mm"]["xyz".index(axis)] for axis in recipe["axis_order"]],
            "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False], "architecture": {}, **resampling,
        }},
    })


def nnunet_run(path, recipe):
    """What nnU-Net's reader and preprocessor give for a file: tensor, properties, reader, plans, configuration."""
    reader = NibabelIOWithReorient() if recipe["orientation"] == "RAS" else SimpleITKIO()
    data, properties = reader.read_images([str(path)])
    manager = plans(recipe)
    configuration = manager.get_configuration("3d_fullres")
    with contextlib.redirect_stdout(io.StringIO()):
        data, _, properties = DefaultPreprocessor().run_case_npy(data, None, properties, manager, configuration, {})
    return np.asarray(data)[0], properties, manager, configuration


def nnunet_prepare(image, recipe):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case_0000.nii"
        nibabel.save(image, path)
        return nnunet_run(path, recipe)[0]


def nnunet_restore(array, properties, manager, configuration):
    """`convert_predicted_logits_to_segmentation_with_correct_shape` up to the logits: back to the source's z, y, x."""
    spacing = [properties["spacing"][axis] for axis in manager.transpose_forward]
    back = configuration.resampling_fn_probabilities(
        array[None].astype(np.float32), properties["shape_after_cropping_and_before_resampling"],
        configuration.spacing, spacing)
    whole = np.full(properties["shape_before_cropping"], np.nan)
    whole[tuple(slice(*bounds) for bounds in properties["bbox_used_for_cropping"])] = back[0]
    return whole.transpose(manager.transpose_backward)


def nnunet_back(image, recipe):
    """Coordinates: linear interpolation of an index is the place itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case_0000.nii"
        nibabel.save(image, path)
        tensor, properties, manager, configuration = nnunet_run(path, recipe)
    places = []
    for ramp in ramps(tensor.shape):
        array = nnunet_restore(ramp, properties, manager, configuration).transpose(2, 1, 0)
        if recipe["orientation"] == "RAS":
            turned = as_closest_canonical(image)
            array = np.asarray(undo_canonical(nibabel.Nifti1Image(array, turned.affine), image).dataobj)
        places.append(array)
    return places


def totalseg_resampled(image, recipe):
    """The canonical image and what TotalSegmentator gives to nnU-Net."""
    turned = as_closest_canonical(nibabel.Nifti1Image(image.get_fdata(), image.affine))
    return turned, change_spacing(turned, list(recipe["spacing_mm"]), order=recipe["order"], dtype=np.int32, nr_cpus=1)


def totalseg_prepare(image, recipe):
    return nnunet_prepare(totalseg_resampled(image, recipe)[1], recipe)


def totalseg_back(image, recipe):
    """Nearest indices: an index as a label, by the order of `nnUNet_predict_image`."""
    turned, resampled = totalseg_resampled(image, recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case_0000.nii"
        nibabel.save(resampled, path)
        tensor, properties, manager, configuration = nnunet_run(path, recipe)
    places = []
    for ramp in ramps(tensor.shape):
        # One more, so that background is 0.
        labels = np.nan_to_num(nnunet_restore(ramp + 1, properties, manager, configuration)).transpose(2, 1, 0)
        restored = change_spacing(
            nibabel.Nifti1Image(labels, resampled.affine), list(recipe["spacing_mm"]), turned.shape, order=0,
            dtype=np.int32, nr_cpus=1, force_affine=turned.affine)
        array = np.asarray(undo_canonical(restored, image).dataobj).astype(float) - 1
        places.append(np.where(array < 0, np.nan, array))
    return places


def monai_transforms(recipe):
    linear = recipe["order"] == 1
    place = [Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
             Spacing(pixdim=recipe["spacing_mm"], mode="bilinear" if linear else recipe["order"],
                     padding_mode="border" if linear else "nearest")]
    clip, span = recipe.get("clip"), recipe.get("range")
    if clip and span:
        scale = [ScaleIntensityRange(clip[0], clip[1], span[0], span[1], clip=True)]
    elif clip:
        scale = [ScaleIntensityRange(clip[0], clip[1], clip[0], clip[1], clip=True),
                 NormalizeIntensity(subtrahend=recipe["mean"], divisor=recipe["std"])]
    else:
        scale = [NormalizeIntensity(nonzero=True)] + ([ScaleIntensity(span[0], span[1])] if span else [])
    return place, scale


def monai_tensor(image):
    return MetaTensor(torch.from_numpy(image.get_fdata(dtype=np.float32))[None], affine=torch.from_numpy(image.affine))


def monai_prepare(image, recipe):
    place, scale = monai_transforms(recipe)
    tensor = Compose(place + scale)(monai_tensor(image))
    return tensor.numpy()[0].transpose(["xyz".index(axis) for axis in recipe["axis_order"]])


def monai_nearly_zero(image, recipe):
    """Where a value is 0 but for the last bits, which `NormalizeIntensity(nonzero=True)` takes for 0 or not by their rounding."""
    placed = Compose(monai_transforms(recipe)[0])(monai_tensor(image)).numpy()[0]
    return (np.abs(placed) < 1e-3).transpose(["xyz".index(axis) for axis in recipe["axis_order"]])


def monai_back(image, recipe, mode="nearest"):
    """Nearest indices as `Invertd(nearest_interp=True)` has them; with `bilinear`, places."""
    transforms = Compose(monai_transforms(recipe)[0])
    placed = transforms(monai_tensor(image))
    places = []
    for axis in recipe["axis_order"]:
        ramp = ramps(placed.shape[1:])["xyz".index(axis)]
        tensor = MetaTensor(torch.from_numpy(ramp.astype(np.float32))[None], meta=placed.meta)
        tensor.applied_operations = convert_applied_interp_mode(placed.applied_operations, mode=mode)
        places.append(transforms.inverse(tensor).numpy()[0])
    return places


def ramps(shape):
    return np.indices(shape).astype(float)


PREPARE = {"ct-totalseg-1": totalseg_prepare, "ct-nnunet-1": nnunet_prepare, "ct-monai-1": monai_prepare}
BACK = {"ct-totalseg-1": totalseg_back, "ct-nnunet-1": nnunet_back, "ct-monai-1": monai_back}
