"""Confidence-based estimates where the posterior is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from steelyard.errors import InputError
from steelyard.evaluation import (
    Outputs,
    confidence_based,
    confidence_based_windows,
    get_metric,
    outcome_columns,
    recalibrate,
)


def _draw(seed, n=1500, tilt=1.2):
    """A score u, uniform in the source and tilted in the target; P(y = 1) = u^2, so the score is off."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(size=n), rng.uniform(size=n) ** (1 / tilt)
    y, y_target = ((rng.uniform(size=n) < p**2).astype(int) for p in (u, v))
    # The target's density is tilt * u^(tilt - 1) on (0, 1).
    return _outputs(u), y, _outputs(v), y_target, tilt * u ** (tilt - 1)


def _outputs(u):
    return Outputs(np.column_stack([1 - u, u]), (u > 0.5).astype(int))


def test_recalibration_finds_the_posterior():
    source, y, target, _, w = _draw(0, n=20_000)
    found = recalibrate(source.proba, y, target.proba, sample_weight=w)
    # Isotonic regression of n rows errs by about n^(-1/3) = 0.04 at a point, less on average.
    assert np.sqrt(np.mean((found[:, 1] - target.proba[:, 1] ** 2) ** 2)) < 0.04
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_recalibration_is_monotone_and_repeats_rows():
    source, y, target, _, _ = _draw(1, n=400)
    times = np.random.default_rng(0).integers(0, 4, 400)
    rows = np.repeat(np.arange(400), times)
    weighted = recalibrate(source.proba, y, target.proba, sample_weight=times)
    np.testing.assert_allclose(weighted, recalibrate(source.proba[rows], y[rows], target.proba), atol=1e-12)
    order = np.argsort(target.proba[:, 1])
    assert (np.diff(weighted[order, 1]) >= 0).all()


def test_three_classes_sum_to_one_and_are_calibrated():
    rng = np.random.default_rng(2)
    proba = rng.dirichlet([1, 1, 1], size=20_000)
    true = proba**2 / (proba**2).sum(axis=1, keepdims=True)
    y = (rng.uniform(size=(20_000, 1)) > true.cumsum(axis=1)).sum(axis=1)
    found = recalibrate(proba, y, proba)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.abs(found.mean(axis=0) - np.bincount(y) / 20_000).max() < 0.01
    # One probability does not tell a row's whole posterior, but it gets far nearer than the score does.
    assert np.mean((found - true) ** 2) < 0.3 * np.mean((proba - true) ** 2)


@pytest.mark.parametrize("name", ["accuracy", "auc", "log_loss"])
def test_right_on_average_with_an_interval_that_covers(name):
    metric, errors, inside = get_metric(name), [], 0
    for seed in range(120):
        source, y, target, y_target, w = _draw(seed)
        found = confidence_based(metric, outputs=source, y=y, outputs_target=target, weights=w)
        actual = metric(target, outcome_columns(y_target, target, n_classes=2))
        errors.append(found.value - actual)
        inside += found.low <= actual <= found.high
    # Isotonic regression fitted on the rows themselves is a little too sure: 0.003 at 1500 rows.
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(120) + 0.004
    assert inside >= binom(120, 0.93).ppf(0.001)


def test_believing_the_score_is_worse():
    source, y, target, y_target, w = _draw(3, n=10_000)
    metric = get_metric("accuracy")
    actual = metric(target, outcome_columns(y_target, target, n_classes=2))
    found = confidence_based(metric, outputs=source, y=y, outputs_target=target, weights=w).value
    assert abs(found - actual) < 0.25 * abs(metric(target, target.proba) - actual)


def test_what_the_estimate_is_called_and_what_it_needs():
    source, y, target, _, w = _draw(4, n=200)
    names = [
        confidence_based(get_metric("accuracy"), outputs=source, y=y, outputs_target=target, weights=v).method
        for v in (None, w)
    ]
    assert names == ["confidence-based", "confidence-based, recalibrated for the shift"]
    with pytest.raises(InputError, match="needs the model's probabilities"):
        confidence_based(
            get_metric("accuracy"), outputs=Outputs(label=y), y=y, outputs_target=Outputs(label=y)
        )


@pytest.mark.parametrize("weighted", [True, False])
def test_windows_are_estimated_as_one_by_one(weighted):
    source, y, target, _, w = _draw(5, n=600)
    weights = w if weighted else None
    metrics = [get_metric(name) for name in ("accuracy", "auc", "f1", "log_loss", "brier")]
    windows = [slice(0, 250), np.arange(599, 300, -2), slice(None)]
    found = confidence_based_windows(
        metrics, outputs=source, y=y, outputs_target=target, windows=windows, weights=weights
    )
    assert [len(row) for row in found] == [5, 5, 5]
    for window, row in zip(windows, found):
        for metric, estimate in zip(metrics, row):
            part = target.take(window)
            alone = confidence_based(metric, outputs=source, y=y, outputs_target=part, weights=weights)
            np.testing.assert_allclose(
                [estimate.value, estimate.standard_error, estimate.low, estimate.high],
                [alone.value, alone.standard_error, alone.low, alone.high],
                rtol=1e-10,
            )
            # By hand: the metric with expected labels, and the two sources of error.
            expected = recalibrate(source.proba, y, part.proba, sample_weight=weights)
            assert estimate.value == pytest.approx(metric(part, expected), rel=1e-12)
            v = np.ones(600) / 600 if weights is None else weights / weights.sum()
            surprise = outcome_columns(y, source, n_classes=2)
            surprise -= recalibrate(source.proba, y, source.proba, sample_weight=weights)
            slope = metric.evaluate(part, expected, np.ones(len(part))).slope(source)
            squares = np.sum(slope * surprise, axis=1) ** 2
            variance = v**2 @ squares + v @ squares / len(part)
            assert estimate.standard_error == pytest.approx(np.sqrt(variance), rel=1e-10)
