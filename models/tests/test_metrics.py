"""Metrics on cases that can be worked out by hand."""

import numpy as np
import pytest

from nightread_models import metrics


def test_auc_and_threshold() -> None:
    """Three of four positive-negative pairs in order; Youden's threshold between 0.2 and 0.35."""
    truth = np.array([0.0, 0.0, 1.0, 1.0])
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    assert metrics.mean_auc(truth[:, None], scores[:, None]) == 0.75
    separated = np.array([0.1, 0.2, 0.35, 0.8])
    assert metrics.youden_threshold(truth, separated) == pytest.approx(0.275)
    counts = metrics.at_threshold(truth, scores, 0.4)
    assert (counts.true_positive, counts.false_negative, counts.true_negative, counts.false_positive) == (1, 1, 1, 1)
    assert (counts.sensitivity, counts.specificity) == (0.5, 0.5)


def test_auc_of_one_class_is_undefined() -> None:
    """No number is made up where there is none."""
    assert np.isnan(metrics.mean_auc(np.ones((4, 1)), np.arange(4.0)[:, None]))


def test_interval_resamples_groups() -> None:
    """Copies of a patient's images add no certainty; the interval holds the value and shrinks with patients."""
    generator = np.random.default_rng(3)
    right = generator.random(200) < 0.8

    def width(groups: np.ndarray, values: np.ndarray) -> float:
        interval = metrics.by_group(lambda rows: float(values[rows].mean()), groups, draws=500)
        assert interval.low <= interval.value <= interval.high
        return interval.high - interval.low

    patients = np.arange(200)
    alone, copied = width(patients, right), width(np.repeat(patients, 4), np.repeat(right, 4))
    assert copied == pytest.approx(alone, rel=0.15)
    # Standard error of a share: 2 * 1.96 * sqrt(0.8 * 0.2 / 200) = 0.111.
    assert alone == pytest.approx(0.111, rel=0.2)
