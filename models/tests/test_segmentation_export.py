"""Exports of 3-D networks: full architectures compute the same in ONNX, and the rest is refused in words."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seeded_networks
import segmentation
from nightread_models import manifest, nnunet_folder, onnx_export, segmentation_export


def smooth_patch(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Smooth noise over the whole range, (1, 1, *shape)."""
    coarse = torch.rand(1, 1, *(side // 8 for side in shape), generator=torch.Generator().manual_seed(3))
    fine = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)
    return (low + (high - low) * fine).numpy()


def common_labels(weights: Path, patch: np.ndarray) -> int:
    """How many labels have at least one voxel in a hundred each."""
    logits = onnx_export.session(weights).run(["logits"], {"image": patch})[0][0]
    shares = np.bincount(logits.argmax(0).ravel(), minlength=len(logits)) / logits[0].size
    return int((shares >= 0.01).sum())


# Patches are smaller than those of real folders where the network allows it: the arithmetic is the same.
FULL = {
    "nnunet": ("nnunet", lambda folder: seeded_networks.nnunet(folder, 48), 13),
    "nnunet-thick": ("nnunet", seeded_networks.nnunet_thick, 7),
    "totalsegmentator": ("totalsegmentator", lambda folder: seeded_networks.totalsegmentator(folder, 64), 117),
    "segresnet": ("monai", lambda folder: seeded_networks.segresnet(folder, 48), 104),
    "unet": ("monai", lambda folder: seeded_networks.unet(folder, 48), 5),
}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_network_computes_the_same_in_its_folder(kind: str, tmp_path: Path) -> None:
    """Parity within 1e-4 by the script's own check, a complete manifest, and at least five labels worth comparing."""
    how, make, count = FULL[kind]
    source = make(tmp_path / kind)
    assert segmentation.main([how, str(source), "--out", str(tmp_path / "models"), "--name", f"seeded-{kind}"]) == 0
    folder = tmp_path / "models" / f"seeded-{kind}"
    described = tomllib.loads((folder / "manifest.toml").read_text())
    assert described["task"] == "segmentation"
    assert described["weights"]["fp32"]["sha256"] == manifest.sha256(folder / "model.fp32.onnx")
    assert len(described["labels"]) == count
    assert (folder / described["card"]).is_file()
    low, high = described["preprocessing"].get("range", (-7.0, 4.0))
    patch = smooth_patch(tuple(described["input"]["item_shape"][1:]), low, high)
    assert common_labels(folder / "model.fp32.onnx", patch) >= 5


def test_manifests_say_what_the_peers_do(tmp_path: Path) -> None:
    """Grid, order of axes, intensities, window and way back of nnU-Net and of TotalSegmentator."""
    thick = nnunet_folder.read(seeded_networks.nnunet_thick(tmp_path / "thick"))
    described = segmentation_export.document(segmentation.describe_nnunet(thick, "thick")).unwrap()
    assert (described["input"]["name"], described["input"]["item_shape"]) == ("image", [1, 16, 64, 96])
    assert described["preprocessing"] == {
        "id": "ct-nnunet-1",
        "spacing_mm": [0.8, 1.5, 5.0],
        "orientation": "as-stored",
        "axis_order": "zyx",
        "clip": [-950.0, 600.0],
        "mean": 85.0,
        "std": 140.0,
    }
    assert described["window"] == {
        "overlap": 0.5,
        "weights": "gaussian",
        "placement": "nnunet",
        "padding": "zero",
        "resample": "logits",
    }
    assert described["output"] == {"logits": "logits", "activation": "softmax", "calibration": "none"}

    total = nnunet_folder.read(seeded_networks.totalsegmentator(tmp_path / "total", 64))
    described = segmentation_export.document(segmentation.describe_totalsegmentator(total, "total")).unwrap()
    assert described["preprocessing"]["orientation"] == "RAS"
    assert described["preprocessing"]["id"] == "ct-totalseg-1"
    assert described["window"]["overlap"] == pytest.approx(0.2)
    assert described["window"]["resample"] == "labels"
    assert described["labels"][2] == {
        "name": "kidney_left",
        "code": {"value": "64033007", "scheme": "SCT", "meaning": "Kidney"},
        "laterality": "left",
    }


def turned(plans: dict[str, Any], dataset: dict[str, Any], settings: dict[str, Any]) -> None:
    """Plans whose network takes y, z, x."""
    plans["transpose_forward"] = [1, 0, 2]
    settings["spacing"] = [1.5, 5.0, 0.8]


def test_transposed_plans_keep_the_spacing_of_each_axis(tmp_path: Path) -> None:
    """`transpose_forward` moves the network's axes, not the source's."""
    folder = changed_folder(tmp_path, turned)
    read = nnunet_folder.read(folder)
    assert read.axis_order == "yzx"
    assert read.spacing == [0.8, 1.5, 5.0]


Change = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]


def changed_folder(tmp_path: Path, change: Change) -> Path:
    """A small nnU-Net folder with its plans or data set changed."""
    folder = seeded_networks.nnunet(tmp_path / "nnunet", 32)
    plans, dataset = (json.loads((folder / name).read_text()) for name in ("plans.json", "dataset.json"))
    change(plans, dataset, plans["configurations"]["3d_fullres"])
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


REFUSED: dict[str, tuple[Change, str]] = {
    "cascade": (lambda p, d, s: s.update(previous_stage="3d_lowres"), "cascade"),
    "regions": (lambda p, d, s: d["labels"].update(whole=[1, 2, 3]), "region-based"),
    "channels": (lambda p, d, s: d.update(channel_names={"0": "CT", "1": "PET"}), "2 input channels"),
    "z-score": (lambda p, d, s: s.update(normalization_schemes=["ZScoreNormalization"]), "normalisation"),
    "flat": (lambda p, d, s: s.update(patch_size=[64, 64]), "not a 3-D configuration"),
    "resampling": (lambda p, d, s: s.update(resampling_fn_data="resample_torch_simple"), "resampling_fn_data"),
    "order": (lambda p, d, s: s["resampling_fn_data_kwargs"].update(order=1), "resampling_fn_data"),
    "reader": (lambda p, d, s: p.update(image_reader_writer="Tiff3DIO"), "reader"),
    "gap": (lambda p, d, s: d["labels"].update(late=40), "labels are not"),
    "network": (
        lambda p, d, s: s["architecture"].update(network_class_name="somebody.elses.Network"),
        "network somebody.elses.Network",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_folders_are_refused_in_words(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, the reason on one line, nothing written."""
    change, words = REFUSED[case]
    folder = changed_folder(tmp_path, change)
    assert segmentation.main(["nnunet", str(folder), "--out", str(tmp_path / "models")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_one_of_several_folds_must_be_chosen(tmp_path: Path) -> None:
    """An ensemble is refused, a named fold is taken."""
    folder = seeded_networks.nnunet(tmp_path / "nnunet", 32)
    (folder / "fold_1").mkdir()
    (folder / "fold_1" / "checkpoint_final.pth").write_bytes((folder / "fold_0/checkpoint_final.pth").read_bytes())
    with pytest.raises(nnunet_folder.FolderError, match="2 folds"):
        nnunet_folder.read(folder)
    assert len(nnunet_folder.read(folder, fold="1").labels) == 14


class Bomb:
    """Runs code where a pickle is read by ordinary means."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    """Numpy's scalars are read, anything else than data is refused."""
    folder = seeded_networks.nnunet(tmp_path / "nnunet", 32)
    path = folder / "fold_0/checkpoint_final.pth"
    assert nnunet_folder.read_checkpoint(path)["_best_ema"] == 0.5
    torch.save({"network_weights": {}, "more": Bomb()}, path)
    with pytest.raises(nnunet_folder.FolderError, match="checkpoint_final"):
        nnunet_folder.read_checkpoint(path)


BUNDLES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "expression": (lambda c: c["inferer"].update(overlap="$0.5 if True else 0"), "expression"),
    "network": (lambda c: c["network_def"].update(_target_="SwinUNETR"), "SwinUNETR"),
    "z-score": (
        lambda c: c["preprocessing"]["transforms"].insert(4, {"_target_": "NormalizeIntensityd", "keys": "image"}),
        "NormalizeIntensityd",
    ),
    "crop": (
        lambda c: c["preprocessing"]["transforms"].insert(4, {"_target_": "CropForegroundd", "keys": "image"}),
        "CropForegroundd",
    ),
    "orientation": (lambda c: c["preprocessing"]["transforms"][2].update(axcodes="LPS"), "LPS"),
    "components": (
        lambda c: c["postprocessing"]["transforms"].insert(1, {"_target_": "KeepLargestConnectedComponentd"}),
        "KeepLargestConnectedComponentd",
    ),
    "padding": (lambda c: c["inferer"].update(padding_mode="reflect"), "padding_mode"),
}


@pytest.mark.parametrize("case", BUNDLES)
def test_other_bundles_are_refused_in_words(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the worker would do otherwise, and expressions, which are code."""
    change, words = BUNDLES[case]
    folder = seeded_networks.unet(tmp_path / "unet", 32)
    path = folder / "configs" / "inference.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert segmentation.main(["monai", str(folder), "--out", str(tmp_path / "models")]) == 2
    assert words in capsys.readouterr().err


def test_a_difference_leaves_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: with a network that is changed after its export nothing is left to be served."""
    folder = seeded_networks.nnunet(tmp_path / "nnunet", 32)
    exported = segmentation_export.export

    def export_and_change(network: torch.nn.Module, patch: tuple[int, int, int], path: Path) -> None:
        exported(network, patch, path)
        with torch.no_grad():
            list(network.parameters())[-1].add_(0.5)

    monkeypatch.setattr(segmentation_export, "export", export_and_change)
    assert segmentation.main(["nnunet", str(folder), "--out", str(tmp_path / "models")]) == 2
    assert not list((tmp_path / "models").glob("*/*.onnx"))
