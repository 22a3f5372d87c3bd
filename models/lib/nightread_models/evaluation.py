"""What two precisions of one model decide on the same items, and how well each does."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nightread_models import description, metrics, onnx_export, radiograph
from nightread_models.description import Head
from nightread_models.mistakes import Mistake, first_line

ARRAYS = ("calibration", "evaluation", "truth", "groups")
# What NumPy raises for files that are no archives of arrays, whole or in part.
UNREADABLE = (ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class Images(Protocol):
    """Network inputs (n, *item_shape), float32, that need not be in memory together: an array, or `prepared.Arrays`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Items:
    """Prepared network inputs: for calibration, and for evaluation with truth and groups (patients, subjects).

    `calibration` (m, *item_shape) and `evaluation` (n, *item_shape) are float32. `truth` is (n,) class indices where
    the only head is a softmax, -1 where the class is not known; else (n, labels) of 0 and 1, NaN where it is not known.
    `groups` (n,) names whose item each is.
    """

    calibration: Images
    calibration_sha256: str
    evaluation: Images
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
    """An .npz with the arrays `calibration`, `evaluation`, `truth` and `groups` (see `Items`). Raises Mistake."""
    archive = open_archive(path)
    if lacking := [name for name in ARRAYS if name not in archive]:
        raise Mistake(
            f"{path}: no array {', '.join(lacking)}: for what `nightread prepare` wrote, give the truth with --truth"
        )
    calibration, evaluation, truth, groups = (array_of(archive, path, name) for name in ARRAYS)
    for name, array in zip(ARRAYS, (calibration, evaluation, truth, groups), strict=True):
        if not array.ndim or (name != "groups" and array.dtype.kind not in "fiub"):
            shape = f"{array.dtype} {list(array.shape)}"
            raise Mistake(f"{path}: {name} is {shape}, where numbers of each item are needed: write it as float32")
    if not len(evaluation) == len(truth) == len(groups) > 0:
        counts = f"{len(evaluation)}, {len(truth)} and {len(groups)}"
        raise Mistake(f"{path}: evaluation, truth and groups have {counts} items: each needs one of every item")
    calibration = np.ascontiguousarray(calibration, dtype=np.float32)
    digest = radiograph.list_digest(item.tobytes() for item in calibration)
    return Items(calibration, digest, np.ascontiguousarray(evaluation, dtype=np.float32), truth, groups)


def open_archive(path: Path) -> Mapping[str, NDArray[Any]]:
    """An .npz archive, whose arrays are read when they are asked for. Raises Mistake for another file."""
    try:
        archive = np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        what = f"{path}: no .npz archive ({first_line(error)}): write it with `nightread prepare FILES --out {path}`"
        raise Mistake(what) from None
    if not isinstance(archive, Mapping):
        raise Mistake(f"{path}: one array, where `nightread prepare FILES --out x.npz` writes one for each file")
    if not len(archive):
        raise Mistake(f"{path}: holds no arrays: `nightread prepare` tells why a file has none")
    return archive


def array_of(archive: Mapping[str, NDArray[Any]], path: Path, name: str) -> NDArray[Any]:
    """One array of an archive. Raises Mistake for one that is broken or holds objects."""
    try:
        return np.asarray(archive[name])
    except UNREADABLE as error:
        raise Mistake(f"{path}: {name}: cannot be read ({first_line(error)}): write the archive anew") from None


def run(
    path: Path, images: Images, *, threads: int, batch: int = 8, outputs: Sequence[str] = ("logits",)
) -> NDArray[np.float32]:
    """What the outputs (n, labels) of an ONNX file give, side by side."""
    runtime = onnx_export.session(path, threads=threads)
    name = runtime.get_inputs()[0].name
    parts = [
        np.concatenate(runtime.run(list(outputs), {name: images[at : at + batch]}), axis=1)
        for at in range(0, len(images), batch)
    ]
    return np.concatenate(parts)


def run_heads(path: Path, heads: Sequence[Head], images: Images, *, threads: int) -> NDArray[np.float32]:
    """What the heads of an ONNX file give, (n, labels) in the order of the manifest's labels."""
    given = run(path, images, threads=threads, outputs=[head.logits for head in heads])
    places = [column for head in heads for column in head.columns]
    ordered = np.empty_like(given)
    ordered[:, places] = given
    return ordered


def probabilities(head: Head, given: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of what a head gives, (n, its labels), before any calibration; in double precision."""
    if head.activation == "softmax":
        weights = np.exp(given.astype(np.float64) - given.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)
    return given.astype(np.float64) if head.activation == "none" else metrics.sigmoid(given)


def decisions(manifest: Mapping[str, Any], logits: NDArray[np.float32]) -> NDArray[Any]:
    """What a result says of each item, from what all heads give (n, labels).

    Of components the class, (n,): it is their name. Of radiographs positive or not, (n, reported labels), and the class
    of each softmax behind these.
    """
    heads = description.heads(manifest)
    if manifest["task"] == "components" and description.by_class(manifest):
        return logits.argmax(1)
    reported = description.reported_columns(manifest)
    positive = np.zeros(logits.shape, bool)
    classes = []
    for head in heads:
        columns = list(head.columns)
        thresholds = [_raw_threshold(head, manifest["labels"][column]) for column in columns]
        positive[:, columns] = probabilities(head, logits[:, columns]) >= np.array(thresholds)
        if head.activation == "softmax":
            classes.append(logits[:, columns].argmax(1))
    return np.column_stack([positive[:, reported], *classes])


def _raw_threshold(head: Head, label: Mapping[str, Any]) -> float:
    """The probability before calibration from which on a label is positive; infinite for a suppressed one."""
    if label.get("suppressed", False):
        return float("inf")
    threshold = float(label["threshold"])
    if head.calibration != "xrv-op-norm":
        return threshold
    # The probability that `xrv-op-norm` maps onto the threshold.
    point = float(label["op_threshold"])
    return 2 * point * threshold if threshold < 0.5 else 1 - 2 * (1 - point) * (1 - threshold)


def score(manifest: Mapping[str, Any], logits: NDArray[np.float32], items: Items) -> tuple[str, metrics.Interval]:
    """`accuracy` where the truth is a class, else `auc`, with a 95 % interval over groups.

    The AUC is the mean over the reported labels that have both classes; labels of a softmax among several heads are
    ranked by their probability.
    """
    if description.by_class(manifest):
        known = items.truth >= 0
        right = (logits.argmax(1) == items.truth)[known].astype(np.float64)
        return "accuracy", metrics.by_group(lambda rows: float(right[rows].mean()), items.groups[known])
    ranks = logits.astype(np.float64)
    for head in description.heads(manifest):
        if head.activation == "softmax":
            columns = list(head.columns)
            ranks[:, columns] = probabilities(head, logits[:, columns])
    reported = description.reported_columns(manifest)
    truth, scores = np.asarray(items.truth, np.float64)[:, reported], ranks[:, reported]
    return "auc", metrics.by_group(lambda rows: metrics.mean_auc(truth[rows], scores[rows]), items.groups)
