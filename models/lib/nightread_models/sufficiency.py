"""Whether items suffice to calibrate on and to judge by, told before anything is quantised."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightread_models import description
from nightread_models.evaluation import Images, Items
from nightread_models.mistakes import Mistake, listed

LEAST_CALIBRATION = 300
# With fewer, one item that is decided otherwise is more than the 1 % that the gate lets pass.
LEAST_EVALUATION = 100
# Shares of value_range: how far beyond it values may lie, and how much of it they must take up.
BEYOND, TAKEN = 0.05, 0.01
# How many of all values may lie further out: interpolation overshoots at edges.
OUTLIERS = 0.1


def check(described: Mapping[str, Any], items: Items) -> list[str]:
    """What there is to say of items that suffice. Raises Mistake with all that they lack."""
    problems = [
        f"{name}: {len(images)} items, {least} are needed at least: {what}"
        for name, images, least, what in (
            ("calibration", items.calibration, LEAST_CALIBRATION, "prepare more files, or raise --count"),
            ("evaluation", items.evaluation, LEAST_EVALUATION, "prepare more files, or lower --count to 300"),
        )
        if len(images) < least
    ]
    problems += _image_problems(described, items)
    problems += _truth_problems(described, items.truth)
    if problems:
        raise Mistake(*problems)
    lines, problems = _labels(described, items.truth)
    if problems:
        raise Mistake(*problems)
    patients = len(np.unique(items.groups))
    if patients < 2:
        raise Mistake("evaluation: all items are of one patient: an interval needs several")
    judging = f"{len(items.evaluation)} of {patients} patients to judge by"
    return [f"{len(items.calibration)} items to calibrate on, {judging}", *lines]


def _named(images: Images, part: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every item with its file, or its place where it has none."""
    names = getattr(images, "names", None)
    for place in range(len(images)):
        yield names[place] if names else f"{part}[{place}]", images[place : place + 1][0]


def _image_problems(described: Mapping[str, Any], items: Items) -> list[str]:
    """Shapes, types, numbers that are none, and a range that is not the manifest's."""
    shape = tuple(described["input"]["item_shape"])
    low, high = (float(end) for end in described["input"]["value_range"])
    slack = BEYOND * (high - low)
    misshapen, broken, outside, total, least, most = [], [], 0, 0, np.inf, -np.inf
    for part, images in (("calibration", items.calibration), ("evaluation", items.evaluation)):
        for name, image in _named(images, part):
            if image.shape != shape or image.dtype != np.float32:
                misshapen.append(f"{name} ({image.dtype} {list(image.shape)})")
            elif not np.isfinite(image).all():
                broken.append(name)
            else:
                outside += int(((image < low - slack) | (image > high + slack)).sum())
                total += image.size
                least, most = min(least, float(image.min())), max(most, float(image.max()))
    lines = []
    if misshapen:
        wanted = f"the manifest's input is float32 {list(shape)}"
        mend = "prepare them for this model"
        lines.append(f"{len(misshapen)} items of another form, {wanted}: {listed(misshapen)}; {mend}")
    if broken:
        mend = "prepare them anew or take them out"
        lines.append(f"{len(broken)} items with NaN or infinite values: {listed(broken)}; {mend}")
    if total and (outside > OUTLIERS * total or most - least < TAKEN * (high - low)):
        found = f"values from {least:.6g} to {most:.6g}, value_range is {[low, high]}"
        lines.append(f"items have {found}: prepare them for this model, or mend input.value_range")
    return lines


def _truth_problems(described: Mapping[str, Any], truth: NDArray[Any]) -> list[str]:
    """The form of the truth."""
    names = [label.get("name", "") for label in described["labels"]]
    if description.by_class(described):
        if truth.ndim != 1 or not np.isin(truth, np.arange(-1, len(names))).all():
            return [f"truth must be one class for each item, 0 to {len(names) - 1}, or -1 where it is not known"]
        return []
    if truth.ndim != 2:
        return [f"truth is {list(truth.shape)}, not (items, labels): give a column for each of {listed(names, 30)}"]
    if truth.shape[1] < len(names):
        lacking = listed(names[truth.shape[1] :], 30)
        return [f"truth has {truth.shape[1]} columns, the manifest {len(names)} labels: add {lacking} (NaN: not known)"]
    if truth.shape[1] > len(names):
        return [f"truth has {truth.shape[1]} columns, the manifest {len(names)} labels: drop what is of no label"]
    known = truth[~np.isnan(truth.astype(np.float64))]
    if not np.isin(known, (0, 1)).all():
        return ["truth has values other than 0 and 1: write NaN where it is not known"]
    return []


def _labels(described: Mapping[str, Any], truth: NDArray[Any]) -> tuple[list[str], list[str]]:
    """What is told of the labels, and what is wrong with all of them together."""
    names = [label.get("name", "") for label in described["labels"]]
    if description.by_class(described):
        present = np.unique(truth[truth >= 0])
        if len(present) < 2:
            found = names[present[0]] if len(present) else "none"
            return [], [f"truth of the evaluation has one class or none ({found}): add items of others"]
        absent = [name for index, name in enumerate(names) if index not in present and name]
        return ([f"classes that no item has: {listed(absent, 30)}"] if absent else []), []
    left_out = []
    reported = description.reported_columns(described)
    for index in reported:
        column = truth[:, index].astype(np.float64)
        ones, zeros = int((column == 1).sum()), int((column == 0).sum())
        if not ones or not zeros:
            lacks = "no truth" if ones == zeros else f"no {'positives' if not ones else 'negatives'}"
            left_out.append(f"{names[index]} ({lacks})")
    if len(left_out) == len(reported):
        what = "no label has positives and negatives among the items to judge by"
        return [], [f"{what}: {listed(left_out, 30)}; add items"]
    told = f"AUC is the mean over {len(reported) - len(left_out)} of {len(reported)} labels"
    return [f"{told}, left out: {listed(left_out, 30)}" if left_out else told], []
