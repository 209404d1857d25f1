"""A table of scores against scikit-learn on the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from steelyard.errors import InputError
from steelyard.numerics import ScoreTable, weighted_auc


def _rows(seed: int = 0, n: int = 400, digits: int = 2):
    rng = np.random.default_rng(seed)
    p = np.round(rng.uniform(size=n), digits)
    return p, (rng.uniform(size=n) < p).astype(float), rng.exponential(size=n)


def _in_parts(p, z, w=None, edges=None):
    cut = len(p) // 3
    return ScoreTable.of(p[:cut], z[:cut], None if w is None else w[:cut], edges=edges).merge(
        ScoreTable.of(p[cut:], z[cut:], None if w is None else w[cut:], edges=edges)
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.37])
def test_metrics_against_scikit_learn(weighted, threshold):
    p, z, w = _rows()
    w = w if weighted else None
    table, called = _in_parts(p, z, w), p > threshold
    assert table.accuracy(threshold) == pytest.approx(sk.accuracy_score(z, called, sample_weight=w))
    assert table.f1(threshold) == pytest.approx(sk.f1_score(z, called, sample_weight=w))
    assert table.auc() == pytest.approx(sk.roc_auc_score(z, p, sample_weight=w))
    assert table.brier() == pytest.approx(sk.brier_score_loss(z, p, sample_weight=w))
    assert table.log_loss() == pytest.approx(sk.log_loss(z, p, sample_weight=w))


def test_expected_outcomes_and_scores_that_are_no_probabilities():
    rng = np.random.default_rng(1)
    s, z = rng.normal(size=200), rng.uniform(size=200)
    table = _in_parts(s, z)
    assert table.auc() == pytest.approx(weighted_auc(s, z, 1 - z))
    for finish in (table.brier, table.log_loss, table.calibration):
        with pytest.raises(InputError, match="probabilities"):
            finish()


def test_bins_keep_the_losses_and_bound_the_auc():
    p, z, w = _rows(2, digits=6)
    edges = [0.1, 0.37, 0.5, 0.8]
    exact, table = ScoreTable.of(p, z, w), _in_parts(p, z, w, edges=edges)
    for name in ("accuracy", "f1", "brier", "log_loss"):
        assert getattr(table, name)() == pytest.approx(getattr(exact, name)(), rel=1e-12)
    low, high = table.auc_bounds()
    assert low < exact.auc() < high and abs(table.auc() - exact.auc()) <= (high - low) / 2
    assert exact.binned(edges).to_dict().keys() == table.to_dict().keys()
    for joined in (exact.binned([0.37, 0.5]), table.binned([0.37, 0.5])):
        np.testing.assert_allclose(joined.positive, ScoreTable.of(p, z, w, edges=[0.37, 0.5]).positive)
    with pytest.raises(InputError, match="no edge"):
        table.accuracy(0.6)
    with pytest.raises(InputError, match="not cut"):
        table.binned([0.2])
    with pytest.raises(InputError, match="different edges"):
        table.merge(exact)
    with pytest.raises(InputError, match="different edges"):
        table.merge(exact.binned([0.5]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_the_bounds_hold_for_any_bins(rows, edges):
    p, z = np.array(rows, dtype=float).T
    exact, table = ScoreTable.of(p, z), ScoreTable.of(p, z, edges=edges)
    if np.isnan(exact.auc()):
        assert len(np.unique(z)) == 1 and np.isnan(table.auc())
        return
    low, high = table.auc_bounds()
    assert low - 1e-12 <= exact.auc() <= high + 1e-12


def test_calibration_against_scikit_learn():
    p, z, _ = _rows(3, n=2000, digits=9)
    bins = _in_parts(p, z).calibration()
    true, predicted = calibration_curve(z, p, n_bins=10)
    np.testing.assert_allclose([b.positive_share for b in bins], true)
    np.testing.assert_allclose([b.mean_score for b in bins], predicted)
    assert bins[0].low == 0.0 and bins[-1].high == 1.0 and bins[3].effective_rows == bins[3].weight
    sizes = np.histogram(p, 10, (0, 1))[0]
    error = np.average(np.abs(true - predicted), weights=sizes)
    assert _in_parts(p, z).calibration_error() == pytest.approx(error)
    assert _in_parts(p, z, edges=[0.5]).calibration()[1].low == 0.5


def test_effective_rows_of_bins():
    table = ScoreTable.of([0.1, 0.2, 0.9], [0, 1, 1], [1.0, 3.0, 2.0])
    first, last = table.calibration([0.5])
    assert first.effective_rows == pytest.approx(16 / 10) and last.effective_rows == 1.0
    assert table.effective_rows == pytest.approx(36 / 14)


def test_a_table_of_nothing_says_nothing():
    for table in (
        ScoreTable.of([], []),
        ScoreTable.of([0.3], [1], [0.0]),
        ScoreTable.of([], [], edges=[0.5]),
    ):
        values = [table.accuracy(), table.f1(), table.auc(), table.brier(), table.calibration_error()]
        assert np.isnan(values).all() and table.calibration() == ()
    assert ScoreTable.of([0.2], [0]).f1() == 0.0
    assert np.isnan(ScoreTable.of([0.2, 0.4], [0, 0]).auc())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1], [2.0]), "between 0 and 1"),
        (([np.inf], [1.0]), "infinite"),
        (([np.nan], [1.0]), "NaN"),
        (([0.1], [1.0, 0.0]), "2 values for 1 rows"),
        (([0.1], [1.0], [-1.0]), "negative"),
    ],
)
def test_faults(arguments, message):
    with pytest.raises(InputError, match=message):
        ScoreTable.of(*arguments)
    with pytest.raises(InputError, match="ascending"):
        ScoreTable.of([0.1], [1.0], edges=[0.5, 0.5])
