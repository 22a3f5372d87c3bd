"""The committed model keeps the promises of its card, measured again on the real images."""

import json

import numpy as np
import pytest
from conftest import MODELS

from nightread_models import evaluation, manifest, metrics, radiograph

FOLDER = MODELS / "cxr-pneumonia-demo"


@pytest.fixture(scope="module")
def reported() -> list[radiograph.Image]:
    """The half of the validation patients that nothing was chosen on."""
    try:
        images = radiograph.kermany(radiograph.data_folder(), "val")
    except FileNotFoundError:
        pytest.skip("SKIPPED: cxr-pneumonia-demo on real images: no xray/kermany in NIGHTREAD_TEST_DATA")
    return radiograph.halves(images)[1]


def test_reported_figures(reported: list[radiograph.Image]) -> None:
    """AUC, sensitivity and specificity of the ONNX file are those of the training report and of the card."""
    description = manifest.read(FOLDER)
    report = json.loads((FOLDER / "training.json").read_text())
    logits = evaluation.run(FOLDER / str(description["weights"]["fp32"]["file"]), radiograph.load(reported), threads=1)
    truth = radiograph.labels(reported)
    auc = metrics.mean_auc(truth[:, None], logits)
    threshold = float(description["labels"][0]["threshold"])
    counts = metrics.at_threshold(truth, metrics.sigmoid(logits[:, 0]), threshold)
    assert len(reported) == report["reported_images"]
    assert auc >= 0.99
    assert auc == pytest.approx(report["reported_auc"][0], abs=2e-4)
    assert threshold == pytest.approx(report["threshold"], abs=1e-4)
    for name in ("sensitivity", "specificity"):
        assert getattr(counts, name) == pytest.approx(report[name], abs=0.01)
    card = (FOLDER / "README.md").read_text()
    assert f"{report['reported_auc'][0]:.4f}" in card
    assert f"{report['sensitivity']:.3f}" in card and f"{report['specificity']:.3f}" in card


def test_int8_decides_alike(reported: list[radiograph.Image]) -> None:
    """Where INT8 weights are offered, their evidence can be measured again."""
    description = manifest.read(FOLDER).unwrap()
    if "int8" not in description["weights"]:
        pytest.skip("SKIPPED: cxr-pneumonia-demo INT8: the manifest offers none")
    some = reported[::4]
    images = radiograph.load(some)
    logits = {
        name: evaluation.run(FOLDER / weights["file"], images, threads=1)
        for name, weights in description["weights"].items()
    }
    same = evaluation.decisions(description, logits["fp32"]) == evaluation.decisions(description, logits["int8"])
    assert np.mean(same) >= 0.97
