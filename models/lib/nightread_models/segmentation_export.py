"""3-D networks -> model folders of task `segmentation`: ONNX of one patch, manifest and card."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomlkit
import torch
from torch import nn

from nightread_models import manifest, onnx_export

OPSET = 17
TOLERANCE = 1e-4
WEIGHTS = "model.fp32.onnx"
INPUT, OUTPUT = "image", "logits"


# Fields of `[source]`, all of which the worker wants.
SOURCE = ("data", "citation", "url", "licence", "not_for")


@dataclass(frozen=True)
class Label:
    """One label of the outputs; codes are DICOM's (value, scheme, meaning)."""

    name: str
    code: tuple[str, str, str] | None = None
    laterality: str | None = None
    min_ml: float | None = None
    largest_component: bool = False


@dataclass(frozen=True)
class Description:
    """What a manifest of task `segmentation` says. Lengths in mm along x, y, z; `patch` in the network's order."""

    name: str
    description: str
    spacing: tuple[float, float, float]
    patch: tuple[int, int, int]
    orientation: str
    axis_order: str
    preprocessing: str
    clip: tuple[float, float]
    labels: list[Label]
    overlap: float
    weights: str
    placement: str
    padding: str
    resample: str
    version: str = "1.0.0"
    mean_std: tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    source: dict[str, str] = field(default_factory=dict)


def export(network: nn.Module, patch: tuple[int, int, int], path: Path) -> None:
    """Writes FP32 ONNX: `image` (1, 1, *patch) -> `logits` (1, outputs, *patch).

    By the exporter that traces: the newer one has no advantage for these networks, and splits what
    `InstanceNormalization` does in one node.
    """
    network.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, *patch),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            do_constant_folding=True,
        )
    model = onnx.load(path)
    onnx_export.strip(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def check_parity(
    network: nn.Module, path: Path, patch: tuple[int, int, int], value_range: tuple[float, float]
) -> float:
    """Largest difference of one patch's logits between ONNX Runtime and PyTorch, relative to max(1, |expected|).

    The patch is smooth noise over the whole range of inputs. Raises ParityError above `TOLERANCE`.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, *(max(side // 8, 2) for side in patch), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=patch, mode="trilinear", align_corners=True)
    low, high = value_range
    image = low + (high - low) * (smooth + 0.02 * torch.randn(1, 1, *patch, generator=generator)).clamp(0, 1)
    network.eval()
    with torch.inference_mode():
        expected = network(image).numpy()
    found = onnx_export.session(path).run([OUTPUT], {INPUT: image.numpy()})[0]
    if expected.shape != found.shape:
        raise onnx_export.ParityError(f"logits: shape {found.shape}, expected {expected.shape}")
    difference = float(np.abs(expected - found).max() / max(1.0, float(np.abs(expected).max())))
    # Written so that NaN fails too.
    if not difference <= TOLERANCE:
        raise onnx_export.ParityError(f"logits: difference {difference:.2e} above {TOLERANCE:.0e}")
    return difference


def value_range(description: Description) -> tuple[float, float]:
    """Smallest and largest value that the preprocessing gives."""
    if description.range is not None:
        return description.range
    assert description.mean_std is not None
    mean, std = description.mean_std
    return (description.clip[0] - mean) / std, (description.clip[1] - mean) / std


def document(description: Description) -> tomlkit.TOMLDocument:
    """The manifest, without the weights' digest."""
    text = tomlkit.document()
    head: dict[str, Any] = {"schema": 1, "name": description.name, "version": description.version}
    head |= {"task": "segmentation", "description": description.description, "card": "README.md"}
    text.update(head)
    text["weights"] = {"fp32": {"file": WEIGHTS, "sha256": ""}}
    low, high = value_range(description)
    text["input"] = {"name": INPUT, "item_shape": [1, *description.patch], "value_range": [low, high]}
    preprocessing: dict[str, Any] = {
        "id": description.preprocessing,
        "spacing_mm": list(description.spacing),
        "orientation": description.orientation,
        "axis_order": description.axis_order,
        "clip": list(description.clip),
    }
    if description.mean_std is not None:
        preprocessing |= {"mean": description.mean_std[0], "std": description.mean_std[1]}
    if description.range is not None:
        preprocessing["range"] = list(description.range)
    text["preprocessing"] = preprocessing
    text["window"] = {
        "overlap": description.overlap,
        "weights": description.weights,
        "placement": description.placement,
        "padding": description.padding,
        "resample": description.resample,
    }
    text["output"] = {"logits": OUTPUT, "activation": "softmax", "calibration": "none"}
    labels = tomlkit.aot()
    for label in description.labels:
        row = tomlkit.table()
        row["name"] = label.name
        if label.code:
            code = tomlkit.inline_table()
            code.update(dict(zip(("value", "scheme", "meaning"), label.code, strict=True)))
            row["code"] = code
        for key in ("laterality", "min_ml"):
            if (value := getattr(label, key)) is not None:
                row[key] = value
        if label.largest_component:
            row["largest_component"] = True
        labels.append(row)
    text["labels"] = labels
    text["trained_on"] = {"modality_words": description.source.get("data", "CT, as its owner tells")}
    text["source"] = {key: description.source.get(key, "as its owner tells") for key in SOURCE}
    return text


def write_folder(network: nn.Module, description: Description, card: str, out: Path) -> tuple[Path, float]:
    """Writes OUT/<name> with weights, manifest and card; returns it and the largest ONNX-PyTorch difference.

    Raises ParityError, and then leaves no weights.
    """
    folder = out / description.name
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS
    export(network, description.patch, weights)
    try:
        worst = check_parity(network, weights, description.patch, value_range(description))
    except onnx_export.ParityError:
        weights.unlink()
        raise
    (folder / "README.md").write_text(card, encoding="utf-8")
    manifest.write(folder, document(description))
    manifest.fill_weights(folder)
    return folder, worst
