"""What two precisions of one model decide on the same items, and how well each does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightread_models import metrics, onnx_export, radiograph


@dataclass(frozen=True)
class Items:
    """Prepared network inputs: for calibration, and for evaluation with truth and groups (patients, subjects).

    `calibration` (m, *item_shape) and `evaluation` (n, *item_shape) are float32. `truth` is (n, labels)
    of 0 and 1 for sigmoid models, (n,) class indices for softmax models. `groups` (n,) names whose item each is.
    """

    calibration: NDArray[np.float32]
    calibration_sha256: str
    evaluation: NDArray[np.float32]
    truth: NDArray[Any]
    groups: NDArray[Any]


def kermany_items(root: Path, count: int, seed: int) -> Items:
    """Training images, chosen by seed, to calibrate; the reported half of the validation patients to evaluate."""
    training = radiograph.kermany(root, "train")
    chosen = np.random.default_rng(seed).choice(len(training), size=count, replace=False)
    calibration = [training[index] for index in sorted(chosen)]
    _, reported = radiograph.halves(radiograph.kermany(root, "val"))
    return Items(
        radiograph.load(calibration),
        radiograph.content_digest(calibration),
        radiograph.load(reported),
        radiograph.labels(reported)[:, None],
        radiograph.patients(reported),
    )


def items_from_file(path: Path) -> Items:
    """An .npz with the arrays `calibration`, `evaluation`, `truth` and `groups` (see `Items`)."""
    with np.load(path, allow_pickle=False) as arrays:
        calibration = np.ascontiguousarray(arrays["calibration"], dtype=np.float32)
        digest = radiograph.list_digest(item.tobytes() for item in calibration)
        evaluation = np.ascontiguousarray(arrays["evaluation"], dtype=np.float32)
        items = Items(calibration, digest, evaluation, arrays["truth"], arrays["groups"])
    if not len(items.evaluation) == len(items.truth) == len(items.groups) > 0:
        raise ValueError(f"{path}: evaluation, truth and groups differ in length, or are empty")
    return items


def run(path: Path, images: NDArray[np.float32], *, threads: int, batch: int = 8) -> NDArray[np.float32]:
    """Logits (n, labels) of an ONNX file."""
    runtime = onnx_export.session(path, threads=threads)
    name = runtime.get_inputs()[0].name
    parts = [runtime.run(["logits"], {name: images[at : at + batch]})[0] for at in range(0, len(images), batch)]
    return np.concatenate(parts)


def decisions(manifest: Mapping[str, Any], logits: NDArray[np.float32]) -> NDArray[Any]:
    """Positive or not, (n, reported labels), for sigmoid models; the class, (n,), for softmax models."""
    if manifest["output"]["activation"] == "softmax":
        return logits.argmax(1)
    calibrated = manifest["output"]["calibration"] == "xrv-op-norm"
    columns = reported_columns(manifest)
    thresholds = []
    for column in columns:
        label = manifest["labels"][column]
        threshold = float(label["threshold"])
        if calibrated:
            # The probability that `xrv-op-norm` maps onto the threshold.
            point = float(label["op_threshold"])
            threshold = 2 * point * threshold if threshold < 0.5 else 1 - 2 * (1 - point) * (1 - threshold)
        thresholds.append(threshold)
    return metrics.sigmoid(logits[:, columns]) >= np.array(thresholds)


def reported_columns(manifest: Mapping[str, Any]) -> list[int]:
    """Indices of the labels that are not suppressed."""
    return [index for index, label in enumerate(manifest["labels"]) if not label.get("suppressed", False)]


def score(manifest: Mapping[str, Any], logits: NDArray[np.float32], items: Items) -> tuple[str, metrics.Interval]:
    """`auc` (mean over the reported labels) or `accuracy`, with a 95 % interval over groups."""
    if manifest["output"]["activation"] == "softmax":
        right = (logits.argmax(1) == items.truth).astype(np.float64)
        return "accuracy", metrics.by_group(lambda rows: float(right[rows].mean()), items.groups)
    columns = reported_columns(manifest)
    truth, scores = items.truth[:, columns], logits[:, columns]
    return "auc", metrics.by_group(lambda rows: metrics.mean_auc(truth[rows], scores[rows]), items.groups)
