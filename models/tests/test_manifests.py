"""Every manifest in the repository says what schema 1 knows, and what its model's source says."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import MODELS

from nightread_models import manifest

FIXTURES = MODELS.parent / "tests" / "fixtures" / "models"
FOLDERS = sorted(path.parent for root in (MODELS, FIXTURES) for path in root.glob("*/manifest.toml"))

# Field -> its fields, or None for a value. Lists of tables carry their item's fields.
SCHEMA = {
    "": {"schema", "name", "version", "task", "description", "card", "bring_your_own", "weights", "input"}
    | {"preprocessing", "window", "output", "labels", "trained_on", "source", "maps"},
    "weights": {"fp32", "int8"},
    "weights.fp32": {"file", "sha256", "data"},
    "weights.int8": {"file", "sha256", "data", "target", "evidence"},
    "weights.int8.evidence": {"calibration_sha256", "calibration_items", "agreement", "metric", "fp32", "int8"}
    | {"evaluated_items"},
    "input": {"name", "item_shape", "value_range"},
    "preprocessing": {"id", "size", "crop_offset_y", "scale", "mean", "std", "clip", "range", "spacing_mm"}
    | {"orientation", "axis_order", "order", "anisotropy"},
    "window": {"overlap", "weights", "placement", "padding", "resample"},
    "output": {"logits", "activation", "calibration", "cam"},
    "labels": {"name", "threshold", "op_threshold", "suppressed", "family", "code", "laterality", "min_ml"}
    | {"largest_component"},
    "labels.code": {"value", "scheme", "meaning"},
    "trained_on": {"views", "age_years", "min_side_px", "modality_words", "simulated", "demonstration"},
    "source": {"data", "citation", "url", "licence", "not_for"},
    "maps": {"file", "sha256", "count", "grid", "affine", "mask", "mask_sha256", "sign_convention", "des_norm"},
}


def unknown_fields(table: dict, at: str = "") -> list[str]:
    """Dotted names of fields that the schema does not have."""
    found = [f"{at}.{key}".lstrip(".") for key in table if key not in SCHEMA[at]]
    for key, value in table.items():
        name = f"{at}.{key}".lstrip(".")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and name in SCHEMA:
                found += unknown_fields(item, name)
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_manifest_is_complete(folder: Path) -> None:
    """Known fields only, name as the folder, a card, and either digests that hold or the way to get the weights."""
    description = tomllib.loads((folder / "manifest.toml").read_text())
    assert unknown_fields(description) == []
    assert description["schema"] == 1
    assert description["name"] == folder.name
    assert re.fullmatch(r"\d+\.\d+\.\d+", description["version"])
    assert (folder / description["card"]).is_file()
    assert ("bring_your_own" in description) == ("sha256" not in description["weights"]["fp32"])
    for weights in description["weights"].values():
        if "sha256" in weights:
            assert manifest.sha256(folder / weights["file"]) == weights["sha256"]
    # A model that ships maps ships the mask that a scan's coverage is judged by.
    maps = description.get("maps", {})
    if "sha256" in maps:
        assert manifest.sha256(folder / maps["file"]) == maps["sha256"]
        assert manifest.sha256(folder / maps["mask"]) == maps["mask_sha256"]
    for label in description["labels"]:
        assert ("threshold" in label) == (description["task"] != "segmentation")
        assert 0.0 < label.get("threshold", 0.5) < 1.0
        assert bool(label["name"]) != label.get("suppressed", False)
    named = [label["name"] for label in description["labels"] if label["name"]]
    assert len(named) == len(set(named))


def test_unknown_fields_are_seen() -> None:
    """The check above can fail, at every depth."""
    wrong = {"schema": 1, "colour": 1, "weights": {"fp32": {"file": "a", "size": 1}}, "labels": [{"nam": "x"}]}
    assert unknown_fields(wrong) == ["colour", "weights.fp32.size", "labels.nam"]


def test_label_orders() -> None:
    """The orders of the published networks: a few fixed points and the whole of what can be derived."""
    padchest = [label["name"] for label in manifest.read(MODELS / "padchest-26")["labels"]]
    assert len(padchest) == 26 and padchest == sorted(padchest)
    assert (padchest[5], padchest[21], padchest[25]) == ("Cardiomegaly", "Pleural_Thickening", "Tuberculosis")

    xrv = manifest.read(MODELS / "xrv-padchest-18")["labels"]
    assert [index for index, label in enumerate(xrv) if label.get("suppressed")] == [14, 16, 17]
    assert all(("op_threshold" in label) != label.get("suppressed", False) for label in xrv)
    assert (xrv[3]["name"], xrv[3]["op_threshold"]) == ("Pneumothorax", 0.001262615)

    networks = manifest.read(MODELS / "fmri-jhu-58")["labels"]
    assert len(networks) == 58
    fixed = {
        0: "DMN-RSC",
        10: "UNKNOWN",
        11: "NOISE",
        33: "LANG-BROCA",
        55: "CEREBELLAR-LATERAL-RIGHT",
        57: "HYPOTHALAMUS",
    }
    assert {index: networks[index]["name"] for index in fixed} == fixed
    assert len({label["family"] for label in networks}) == 16
    for label in networks:
        prefix = label["name"].split("-")[0]
        assert label["family"] == {"LANG": "LANGUAGE"}.get(prefix, prefix)


def test_every_file_of_the_weights_is_listed(tmp_path: Path) -> None:
    """An ONNX file that keeps tensors in another file: both get their digest, and one that does not has no list."""
    graphs = MODELS.parent / "worker" / "crates" / "engine" / "tests" / "models"
    for name, listed in (("external", ["external.onnx.data"]), ("linear", [])):
        folder = tmp_path / name
        folder.mkdir()
        for file in graphs.glob(f"{name}.onnx*"):
            shutil.copyfile(file, folder / file.name)
        (folder / "manifest.toml").write_text(f'bring_your_own = "x"\n[weights.fp32]\nfile = "{name}.onnx"\n')
        manifest.fill_weights(folder)
        weights = tomllib.loads((folder / "manifest.toml").read_text())["weights"]["fp32"]
        assert weights["sha256"] == manifest.sha256(folder / f"{name}.onnx")
        assert [row["file"] for row in weights.get("data", [])] == listed
        assert all(row["sha256"] == manifest.sha256(folder / row["file"]) for row in weights.get("data", []))
