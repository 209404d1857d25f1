"""Each metric against scikit-learn, and each slope against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from steelyard.errors import InputError
from steelyard.evaluation import METRICS, Outputs, get_metric, outcome_columns

N = 300


def _classes(k: int):
    rng = np.random.default_rng(k)
    y = rng.choice(k, N, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    proba = softmax(np.round(1.5 * np.eye(k)[y] + rng.normal(size=(N, k)), 1), axis=1)
    return y, Outputs(proba, proba.argmax(axis=1)), rng.exponential(size=N)


def _regression(offset: float = 0.0):
    rng = np.random.default_rng(9)
    value = offset + rng.normal(size=N)
    return value + 0.3 + 0.7 * rng.normal(size=N), Outputs(value=value), rng.exponential(size=N)


def _expected(name: str, y, o: Outputs, w, k: int) -> float:
    if name == "accuracy":
        return sk.accuracy_score(y, o.label, sample_weight=w)
    if name == "f1":
        return sk.f1_score(y, o.label, sample_weight=w, average="binary" if k == 2 else "macro")
    if name == "auc" and k == 2:
        return sk.roc_auc_score(y, o.proba[:, 1], sample_weight=w)
    if name == "auc":
        each = [sk.roc_auc_score(y == c, o.proba[:, c], sample_weight=w) for c in range(k)]
        return float(np.mean(each))
    if name == "log_loss":
        return sk.log_loss(y, o.proba, sample_weight=w)
    if k == 2:
        return sk.brier_score_loss(y, o.proba[:, 1], sample_weight=w)
    return float(np.average(((o.proba - np.eye(k)[y]) ** 2).sum(axis=1), weights=w))


CLASSIFICATION = [name for name, m in METRICS.items() if m.kind == "classification"]
REGRESSION = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
}


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_against_scikit_learn(name, k):
    y, o, w = _classes(k)
    z = outcome_columns(y, o, n_classes=k)
    assert METRICS[name](o, z, sample_weight=w) == pytest.approx(_expected(name, y, o, w, k), abs=1e-12)
    assert METRICS[name](o, z) == pytest.approx(_expected(name, y, o, None, k), abs=1e-12)


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_against_scikit_learn(name):
    y, o, w = _regression()
    z = outcome_columns(y, o)
    expected = REGRESSION[name](y, o.value, sample_weight=w)
    assert METRICS[name](o, z, sample_weight=w) == pytest.approx(expected, abs=1e-12)


def test_r2_of_values_far_from_zero():
    """At an offset of 1e8 a sum of squares has lost every digit of a variance near 1."""
    y, o, w = _regression(offset=1e8)
    ours = METRICS["r2"](o, outcome_columns(y, o), sample_weight=w)
    # Values near 1e8 are themselves resolved to 1.5e-8.
    assert ours == pytest.approx(sk.r2_score(y, o.value, sample_weight=w), abs=1e-6)


def test_every_metric_is_tried_here():
    assert set(METRICS) == set(CLASSIFICATION) | set(REGRESSION)


@pytest.mark.parametrize(
    ("name", "k"),
    [(name, k) for name in CLASSIFICATION for k in (2, 3)] + [(name, None) for name in REGRESSION],
)
def test_slopes_are_derivatives(name, k):
    """The value moves by each row's share of the weight times its slope."""
    metric = METRICS[name]
    y, o, w = _regression() if k is None else _classes(k)
    rows = np.arange(40)
    o, w = o.take(rows), w[rows]
    z = outcome_columns(y[rows], o, n_classes=k)
    if k is not None:
        # Expected outcomes inside the simplex, as the estimates use them.
        z = 0.8 * z + 0.2 / k
    evaluated = metric.evaluate(o, z, w)
    slope = evaluated.slope(o)
    assert slope.shape == z.shape and evaluated.value == metric(o, z, sample_weight=w)
    rng = np.random.default_rng(0)
    for _ in range(10):
        move = rng.normal(size=z.shape)
        if k is not None:
            # Indicators sum to one in every row, and only such moves are defined for every metric.
            move -= move.mean(axis=1, keepdims=True)
        step = 1e-5
        up, down = (metric(o, z + s * step * move, sample_weight=w) for s in (1, -1))
        # Central differences err by step^2 times a third derivative of order 10, and 1e-16 / step.
        assert np.average(np.sum(slope * move, axis=1), weights=w) == pytest.approx(
            (up - down) / (2 * step), abs=1e-7
        )


@pytest.mark.parametrize(
    ("name", "k"),
    [(name, k) for name in CLASSIFICATION for k in (2, 3)] + [(name, None) for name in REGRESSION],
)
def test_influence_values_are_derivatives_in_the_weights(name, k):
    """Giving a row a little more weight moves the value by its influence value, the mean taken off."""
    metric = METRICS[name]
    y, o, w = _regression(offset=50.0) if k is None else _classes(k)
    rows = np.arange(40)
    o, w = o.take(rows), w[rows] / w[rows].sum()
    z = outcome_columns(y[rows], o, n_classes=k)
    influence = metric.evaluate(o, z, w).influence(o, z)
    influence = influence - w @ influence
    step = 1e-5
    for i in range(40):
        e = step * (rows == i)
        up, down = (metric(o, z, sample_weight=w + sign * e) for sign in (1, -1))
        # As above; a weight may be as small as 1e-4, so third derivatives are larger.
        assert influence[i] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("k", [2, 3])
def test_slopes_at_other_rows_follow_the_same_function(k):
    y, o, w = _classes(k)
    z = outcome_columns(y, o, n_classes=k)
    for name in CLASSIFICATION:
        evaluated = METRICS[name].evaluate(o, z, w)
        part = o.take(np.arange(7))
        np.testing.assert_allclose(evaluated.slope(part), evaluated.slope(o)[:7])


def test_undefined_values_are_nan_not_zero():
    o = Outputs(np.array([[0.4, 0.6]] * 3), np.ones(3, dtype=int))
    assert np.isnan(METRICS["auc"](o, outcome_columns([1, 1, 1], o, n_classes=2)))
    flat = Outputs(value=np.zeros(3))
    assert np.isnan(METRICS["r2"](flat, outcome_columns(np.ones(3), flat)))


def test_certain_and_wrong_probabilities_have_a_finite_loss():
    o = Outputs(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    ours = METRICS["log_loss"](o, outcome_columns([1, 1], o, n_classes=2))
    assert ours == pytest.approx(-0.5 * np.log(np.finfo(float).eps))


def test_what_a_metric_needs():
    labels = Outputs(label=np.array([0, 1]))
    assert METRICS["accuracy"].available(labels) and not METRICS["auc"].available(labels)
    assert len(labels) == 2 and len(labels.take([1])) == 1
    with pytest.raises(InputError, match=r"no metric 'auk'; choose from accuracy, auc"):
        get_metric("auk")
    with pytest.raises(InputError, match="needs probabilities, labels or values"):
        len(Outputs())
