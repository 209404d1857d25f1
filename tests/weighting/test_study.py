"""One study of two samples: what it keeps, what its parts agree on, and that no row is judged by itself."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from steelyard.datasets import make_gaussian_shift, make_mixture_shift
from steelyard.errors import InputError
from steelyard.numerics.binning import Bins
from steelyard.weighting import ratio_score
from steelyard.weighting.ratios._design import Design, reach
from steelyard.weighting.ratios._folded import FoldedLogistic
from steelyard.weighting.ratios.learners import LEARNERS
from steelyard.weighting.study import DomainStudy


def _study(n=600, m=400, **options):
    s = make_mixture_shift(n_source=n, n_target=m, n_features=5, random_state=3)
    return s, DomainStudy(s.X, s.X_target, random_state=0, **options)


def test_what_was_learnt_costs_nothing_again():
    _, study = _study()
    chosen = study.auto()
    fits = study.fits
    # Six on the first fold, and three at most on the four others.
    assert 6 < fits <= 6 + 3 * 4
    assert study.auto() is chosen and study.fits == fits
    kept = next(iter(chosen.shares))
    one = study.learn(kept)
    assert study.fits == fits and study.learn(kept) is one
    ones = study.learn("linear", weights=np.ones(600), columns=range(5))
    assert study.learn("linear", weights=np.ones(600), columns=(0, 1, 2, 3, 4)) is ones
    # Boosting over the quadratic log ratio uses the one that is there.
    study.learn("quadratic")
    fits = study.fits
    study.learn("boosted quadratic")
    assert study.fits - fits <= 5


@pytest.mark.parametrize("name", LEARNERS)
def test_a_rows_log_ratio_is_that_of_its_folds_model(name):
    s, study = _study(max_rows=300)
    found = study.learn(name)
    # Rows that were fitted were scored from their features at hand, others by the models.
    np.testing.assert_allclose(found.by_fold(s.X, study.fold), found.source, atol=1e-8)
    np.testing.assert_allclose(found.by_fold(s.X_target, study.fold_target + 5), found.target, atol=1e-8)
    said = np.stack([found.by_fold(s.X, np.full(600, k)) for k in range(5)])
    np.testing.assert_allclose(said.mean(axis=0), found.mean(s.X), atol=1e-9)
    assert np.mean(np.exp(found.source)) == pytest.approx(1)
    back = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(back.mean(s.X_target), found.mean(s.X_target))
    assert back != found and found == found


def test_the_choice_follows_the_same_rules():
    s, study = _study(n=1500, m=1200)
    chosen = study.auto()
    np.testing.assert_allclose(chosen.by_fold(s.X, study.fold), chosen.source, atol=1e-8)
    np.testing.assert_allclose(chosen.by_fold(s.X_target, study.fold_target), chosen.target, atol=1e-8)
    assert np.mean(np.exp(chosen.source)) == pytest.approx(1)
    assert set(chosen.scores) >= {"constant", *LEARNERS}


def test_fitted_ratios_do_not_hold_the_rows():
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(4000, 60)), rng.normal(0.1, size=(4000, 60))
    study = DomainStudy(X, X_target, random_state=0)
    found = study.learn("linear")
    # The log ratios themselves and a few arrays of columns' length, of 8 bytes a number.
    assert len(pickle.dumps(found)) < 8 * (len(X) + len(X_target)) + 200_000 < X.nbytes / 4


def test_answers_do_not_depend_on_what_was_asked_before():
    _, one = _study()
    _, other = _study()
    one.learn("kernel")
    one.learn("boosted", columns=(0, 2))
    one.auto()
    for name in ("boosted", "boosted quadratic", "kernel"):
        np.testing.assert_allclose(one.learn(name).source, other.learn(name).source, atol=1e-9)


def test_columns_are_read_alone():
    s, study = _study()
    found = study.learn("additive", columns=(1, 3))
    changed = s.X.copy()
    changed[:, [0, 2, 4]] = 99.0
    np.testing.assert_array_equal(found.mean(changed), found.mean(s.X))
    changed[:, 3] += 0.5
    assert np.abs(found.mean(changed) - found.mean(s.X)).max() > 0.01


def test_further_weights_of_the_source_take_the_shift_away():
    s = make_gaussian_shift(n_source=3000, n_target=2000, shift=(0.7,), n_features=4, random_state=4)
    study = DomainStudy(s.X, s.X_target, random_state=0)
    plain, weighted = study.learn("linear"), study.learn("linear", weights=np.exp(s.log_ratio))
    assert np.std(plain.target) > 0.5
    # A slope's standard error is about 1 / sqrt(1000) where weights cost two thirds of the source rows.
    assert np.std(weighted.target) < 0.12
    assert np.average(np.exp(weighted.source), weights=np.exp(s.log_ratio)) == pytest.approx(1)


def test_rows_that_do_not_count_do_not_matter():
    s = make_gaussian_shift(n_source=600, n_target=400, n_features=4, random_state=5)
    weight = np.repeat([1.0, 0.0], [400, 200])
    X = s.X.copy()
    X[400:] *= 100.0
    one = DomainStudy(s.X, s.X_target, sample_weight=weight, random_state=0).learn("additive")
    other = DomainStudy(X, s.X_target, sample_weight=weight, random_state=0).learn("additive")
    np.testing.assert_allclose(one.target, other.target, atol=1e-9)
    with pytest.raises(InputError, match="weights leave some fold's model without source rows"):
        DomainStudy(s.X, s.X_target, random_state=0).learn(
            "linear", weights=np.zeros(600) + (np.arange(600) == 3)
        )


def test_held_out_rows_are_not_known_to_their_models():
    """Without a shift, whatever a model makes of rows that it has not seen is a loss on average."""
    scores = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        study = DomainStudy(rng.normal(size=(300, 8)), rng.normal(size=(300, 8)), random_state=seed)
        scores.append([ratio_score(*_both(study.learn(name))) for name in ("additive", "kernel", "boosted")])
    # An additive model of 56 coefficients loses 56 / 600 / 2 or so; what is penalised or stopped, less.
    assert np.mean(scores, axis=0)[0] < -0.02 and np.mean(scores, axis=0).max() < 0.003


def _both(found):
    return found.source, found.target


@pytest.mark.parametrize("width", [6, 120])
def test_each_folds_regression_is_that_of_the_other_rows(width):
    rng = np.random.default_rng(6)
    n = 900
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, width - 1))])
    domain = (rng.random(n) < 0.4 / (1 + np.exp(-Z[:, 1])) + 0.2).astype(np.int64)
    weight, fold = rng.exponential(size=n), rng.integers(0, 4, size=n)
    penalty = np.concatenate([[1e-9], np.full(width - 1, 2e-2)])
    folded = FoldedLogistic(Z, domain, weight, fold, penalty)
    for k in (2, 0, 3):
        train = fold != k
        w = weight[train] / np.where(
            domain[train] == 1, weight[train & (domain == 1)].sum(), weight[train & (domain == 0)].sum()
        )
        # Its penalty is on coefficients over C, and the loss a sum: 2 in all, of which the mean is taken.
        plain = LogisticRegression(C=1 / (2 * 2e-2), tol=1e-10, max_iter=5000)
        plain.fit(Z[train][:, 1:], domain[train], sample_weight=w)
        np.testing.assert_allclose(folded.without(k)[0][1:], plain.coef_[0], atol=2e-4)
        assert folded.without(k)[0][0] == pytest.approx(plain.intercept_[0], abs=2e-4)


def test_one_row_moves_no_columns_ends():
    rng = np.random.default_rng(7)
    X, X_target = rng.normal(size=(2000, 3)), rng.normal(4.0, size=(200, 3))
    X[:, 2] = rng.random(2000) < 0.002  # mostly one value, and 1 now and then
    none = np.zeros(3, dtype=bool)
    ends = reach(X, X_target, none)
    wild = X.copy()
    wild[0, :2] = 1e9
    moved = reach(wild, X_target, none)
    np.testing.assert_allclose(moved, ends, atol=0.2)
    # Nothing of either side, the small one included, is beyond the ends but what nobody else is like.
    assert (X <= ends[1]).all() and (X_target <= ends[1]).all()
    design = Design.of(wild, np.ones(2000), none, limits=moved)
    assert np.abs(design(wild)).max() < 60 and np.std(design(X)[:, 1]) > 0.5


def test_bins_are_equal_shares_and_keep_what_is_small():
    rng = np.random.default_rng(8)
    X = np.column_stack([rng.exponential(size=5000), rng.integers(0, 9, size=5000), rng.normal(size=5000)])
    X[:50, 2] = np.nan
    bins = Bins.of(X, np.array([False, True, False]))
    codes = bins(X)
    counts = np.bincount(codes[:, 0].astype(int))
    assert len(counts) == 255 and counts.min() >= 18 and counts.max() <= 21
    np.testing.assert_array_equal(codes[:, 1], X[:, 1])
    assert np.isnan(codes[:50, 2]).all() and not np.isnan(codes[50:]).any()
    order = np.argsort(X[:, 0])
    assert (np.diff(codes[order, 0]) >= 0).all()
