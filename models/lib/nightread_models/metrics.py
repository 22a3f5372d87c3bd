"""Classification metrics by patient: AUC with a bootstrap interval, and a threshold's figures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (95 % {self.low:.4f} to {self.high:.4f})"

    def as_list(self) -> list[float]:
        """`[value, low, high]`, four decimals, as manifests hold it."""
        return [round(self.value, 4), round(self.low, 4), round(self.high, 4)]


def by_group(
    metric: Callable[[NDArray[np.intp]], float], groups: NDArray[Any], *, draws: int = 2000, seed: int = 0
) -> Interval:
    """A metric of rows over all rows, with a percentile bootstrap that resamples whole groups.

    Images of one patient are not independent: resampling images would flatter the interval. Draws
    on which the metric is undefined (NaN: one class only) are left out.
    """
    generator = np.random.default_rng(seed)
    rows = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    values = np.array(
        [metric(np.concatenate([rows[i] for i in generator.integers(len(rows), size=len(rows))])) for _ in range(draws)]
    )
    low, high = np.nanpercentile(values, [2.5, 97.5])
    value = metric(np.arange(len(groups)))
    # Few groups with the rarer class make a lopsided bootstrap: the interval still holds its value.
    return Interval(value, min(float(low), value), max(float(high), value))


def mean_auc(truth: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve, mean over those columns of (n, labels) that have both classes; NaN where none has.

    `truth` is 0, 1 or NaN (not known: that row is left out of that column).
    """
    areas = []
    for column in range(truth.shape[1]):
        known = ~np.isnan(truth[:, column])
        ones = truth[known, column]
        if 0 < ones.sum() < len(ones):
            areas.append(roc_auc_score(ones, scores[known, column]))
    return float(np.mean(areas)) if areas else float("nan")


def youden_threshold(truth: NDArray[np.float32], probabilities: NDArray[np.float32]) -> float:
    """Probability with the greatest sensitivity + specificity - 1 (Youden 1950), midway in its gap.

    The middle between the chosen score and the next lower one: a threshold that sits on a score
    would flip with the last bit.
    """
    false_rate, true_rate, thresholds = roc_curve(truth, probabilities, drop_intermediate=False)
    chosen = float(thresholds[int(np.argmax(true_rate - false_rate))])
    below = probabilities[probabilities < chosen]
    return (chosen + float(below.max())) / 2 if below.size else chosen


@dataclass(frozen=True)
class AtThreshold:
    """Confusion counts and the two rates at a threshold."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def sensitivity(self) -> float:
        """Share of positives found."""
        return self.true_positive / (self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of negatives left alone."""
        return self.true_negative / (self.true_negative + self.false_positive)


def at_threshold(truth: NDArray[np.float32], probabilities: NDArray[np.float32], threshold: float) -> AtThreshold:
    """Counts with `probability >= threshold` read as positive, the worker's rule."""
    positive, found = truth > 0.5, probabilities >= threshold
    return AtThreshold(
        int((positive & found).sum()),
        int((positive & ~found).sum()),
        int((~positive & ~found).sum()),
        int((~positive & found).sum()),
    )


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logistic function, in double precision."""
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
