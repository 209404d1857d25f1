"""Sums over batches give each metric as it is on all rows at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from steelyard.errors import InputError
from steelyard.evaluation import METRICS, MetricSums, Outputs, outcome_columns, window_sums
from steelyard.numerics import merge_keyed

N = 300
CUTS = (slice(0, 1), slice(1, 1), slice(1, 120), slice(120, N))


def _classes(k: int, *, expected: bool = False):
    rng = np.random.default_rng(k)
    y = rng.choice(k, N)
    proba = softmax(np.round(np.eye(k)[y] + rng.normal(size=(N, k)), 1), axis=1)
    outputs = Outputs(proba, proba.argmax(axis=1))
    z = softmax(rng.normal(size=(N, k)), axis=1) if expected else outcome_columns(y, outputs, n_classes=k)
    return outputs, z, rng.exponential(size=N)


def _regression(*, offset: float = 0.0, expected: bool = False):
    rng = np.random.default_rng(9)
    outputs = Outputs(value=offset + rng.normal(size=N))
    z = outcome_columns(outputs.value + 0.3 + 0.7 * rng.normal(size=N), outputs)
    if expected:
        z[:, 2] += rng.exponential(size=N)
    return outputs, z, rng.exponential(size=N)


CASES = {
    "two classes": _classes(2),
    "four classes": _classes(4),
    "expected classes": _classes(3, expected=True),
    "numbers": _regression(),
    "expected numbers": _regression(expected=True),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_batches_give_what_all_rows_give(case, weighted):
    outputs, z, w = CASES[case]
    w = w if weighted else None
    a, b, c, d = (MetricSums.of(outputs.take(s), z[s], None if w is None else w[s]) for s in CUTS)
    merged = a.merge(b).merge(c.merge(d))
    back = MetricSums.from_dict(json.loads(json.dumps(d.merge(c).merge(b.merge(a)).to_dict())))
    kind = "regression" if outputs.value is not None else "classification"
    for name, metric in METRICS.items():
        if metric.kind == kind:
            expected = metric(outputs, z, sample_weight=w)
            assert merged.value(name) == pytest.approx(expected, rel=1e-11)
            assert back.value(name) == pytest.approx(expected, rel=1e-11)
        else:
            with pytest.raises(InputError, match="no sums"):
                merged.value(name)


def test_bins_leave_all_but_the_auc_exact():
    outputs, z, w = CASES["two classes"]
    exact, binned = (MetricSums.of(outputs, z, w, edges=e) for e in (None, np.linspace(0, 1, 101)[1:-1]))
    for name in ("accuracy", "f1", "log_loss", "brier"):
        assert binned.value(name) == exact.value(name)
    low, high = binned.tables[0].auc_bounds()
    assert low <= exact.value("auc") <= high < low + 0.05


def test_r2_of_predictions_at_a_high_level():
    # Predictions near 1e7 keep nine digits of their spread, and so does R2.
    outputs, z, w = _regression(offset=1e7)
    sums = MetricSums.of(outputs.take(slice(0, 90)), z[:90], w[:90]).merge(
        MetricSums.of(outputs.take(slice(90, N)), z[90:], w[90:])
    )
    truth = sk.r2_score(outputs.value + z[:, 1], outputs.value, sample_weight=w)
    assert sums.value("r2") == pytest.approx(truth, abs=1e-7)


def test_what_is_undefined_is_not_a_number():
    outputs, z, _ = CASES["two classes"]
    nothing = MetricSums.of(outputs.take(slice(0, 0)), z[:0])
    assert all(np.isnan(nothing.value(name)) for name in ("auc", "f1", "accuracy", "brier", "log_loss"))
    empty = MetricSums.of(Outputs(value=np.zeros(0)), np.zeros((0, 3)))
    assert all(np.isnan(empty.value(name)) for name in ("mae", "rmse", "r2"))
    ones = MetricSums.of(Outputs(value=np.ones(4)), np.zeros((4, 3)))
    assert np.isnan(ones.value("r2")) and ones.value("rmse") == 0


def test_windows_join_by_name():
    outputs, z, w = CASES["two classes"]
    days = np.array(["mon", "tue", "wed"])[np.arange(N) // 110]
    halves = [window_sums(days[s], outputs.take(s), z[s], w[s]) for s in (slice(0, 150), slice(150, N))]
    merged = merge_keyed(*halves)
    assert list(merged) == ["mon", "tue", "wed"] and list(halves[0]) == ["mon", "tue"]
    for day, sums in merged.items():
        rows = days == day
        expected = METRICS["auc"](outputs.take(rows), z[rows], sample_weight=w[rows])
        assert sums.value("auc") == pytest.approx(expected, rel=1e-11)


def test_faults():
    outputs, z, _ = CASES["two classes"]
    numbers, r, _ = CASES["numbers"]
    with pytest.raises(InputError, match="different kinds"):
        MetricSums.of(outputs, z).merge(MetricSums.of(numbers, r))
    with pytest.raises(InputError, match="missing"):
        MetricSums.of(numbers, np.where(r > 0, r, np.nan))
    with pytest.raises(InputError, match="no metric sums"):
        MetricSums.from_dict({"tables": []})
    with pytest.raises(InputError, match="damaged"):
        MetricSums.from_dict(MetricSums.of(outputs, z).to_dict() | {"tables": 3})
    with pytest.raises(InputError, match="no sums"):
        MetricSums.of(outputs, z).value("lift")
    labels = MetricSums.of(Outputs(label=outputs.label), z)
    assert labels.value("accuracy") == METRICS["accuracy"](outputs, z)
    with pytest.raises(InputError, match="auc"):
        labels.value("auc")
