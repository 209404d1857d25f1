"""The choice among learners by held-out rows, its parts, and what it makes of awkward columns."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from steelyard.datasets import make_gaussian_shift, make_mixture_shift
from steelyard.errors import InputError
from steelyard.weighting import AutoRatio, best_cap, ratio_score
from steelyard.weighting._choose import pool
from steelyard.weighting.ratios._design import Design
from steelyard.weighting.ratios._sample import Measured, Sample
from steelyard.weighting.ratios._sparse import sparse_logistic
from steelyard.weighting.ratios.learners import LEARNERS


def _error(w, log_ratio):
    r = np.exp(log_ratio)
    return np.mean((w / w.mean() - r / r.mean()) ** 2) / np.mean((r / r.mean()) ** 2)


def test_on_gaussians_it_is_the_linear_ratio():
    chosen, errors = [], []
    for seed in range(6):
        s = make_gaussian_shift(n_source=2000, n_target=2000, random_state=seed)
        auto = AutoRatio(random_state=0).fit(s.X, X_target=s.X_target)
        chosen.append(auto.chosen_)
        errors.append(_error(auto.weights(), s.log_ratio))
        assert np.polyfit(s.log_ratio, np.log(auto.weights()), 1)[0] == pytest.approx(1, abs=0.15)
        assert auto.fits_ <= 20
        if auto.chosen_ == "linear":
            assert auto.shares_ == {"linear": 1.0}
    # Three coefficients of variance about 1/2000 + 1/2000 each, over the mean of r^2 of 2.1, with the
    # heavy tail of the squared error: one draw in six has 0.03, the others below 0.01. Plain logistic
    # regression: 0.012 to 0.022; skada's Gaussians, the best peer: 0.023.
    assert np.median(errors) < 0.01 and np.mean(errors) < 0.02
    # Another is beyond a standard error by chance, once or twice in six.
    assert chosen.count("linear") >= 4


def test_on_the_mixture_it_combines():
    s = make_mixture_shift(n_source=2000, n_target=2000, random_state=0)
    auto = AutoRatio(random_state=0).fit(s.X, X_target=s.X_target)
    # Measured over six draws: 0.06 to 0.11. Boosting alone 0.14 to 0.27; the best peer 0.43.
    assert _error(auto.weights(), s.log_ratio) < 0.15
    best = ratio_score(s.log_ratio, s.log_ratio_target)
    # Standard error of a score's difference: below 0.4 / sqrt(4000).
    assert max(auto.scores_.values()) < best + 3 * 0.4 / np.sqrt(4000)
    assert abs(auto.scores_["linear"]) < 0.01 < auto.scores_["additive"] < auto.scores_["combined"]
    new = make_mixture_shift(n_source=5000, n_target=10, random_state=1)
    assert _error(auto.weights(new.X), new.log_ratio) < 0.15
    back = pickle.loads(pickle.dumps(auto))
    np.testing.assert_array_equal(back.weights(new.X), auto.weights(new.X))


def test_without_a_shift_the_weights_are_constant():
    # Chance finds a difference beyond a standard error in about one draw of eight: measured.
    s = make_gaussian_shift(n_source=1000, n_target=1000, shift=0.0, random_state=5)
    auto = AutoRatio(random_state=0).fit(s.X, X_target=s.X_target)
    assert auto.chosen_ == "constant" and auto.shares_ == {} and auto.scores_["constant"] == pytest.approx(0)
    np.testing.assert_array_equal(auto.weights(), 1.0)
    np.testing.assert_array_equal(auto.weights(s.X_target), 1.0)


def test_scores_of_folds_follow_the_fitted_rows():
    s = make_gaussian_shift(n_source=1000, n_target=1000, shift=(0.6,), n_features=4, random_state=4)
    auto = AutoRatio(["linear"], n_folds=3, random_state=0).fit(s.X, X_target=s.X_target)
    said = np.stack([auto.log_ratio_by_fold(s.X, np.full(1000, k)) for k in range(3)])
    assert np.ptp(said, axis=0).max() > 0
    # Each row's own log ratio is one of the three; the mean of models is their mean.
    assert np.abs(said - auto.log_ratio_).min(axis=0).max() < 1e-9
    np.testing.assert_allclose(said.mean(axis=0), auto.log_ratio(s.X), atol=1e-9)


def test_categories_and_missing_values():
    """One category is twice as frequent in the target, and a column is missing more often there."""
    rng = np.random.default_rng(5)
    n = 4000

    def side(share, missing):
        number = rng.normal(size=n)
        number[rng.random(n) < missing] = np.nan
        return np.column_stack([number, np.where(rng.random(n) < share, 2.0, rng.integers(0, 2, n))])

    X, X_target = side(0.3, 0.1), side(0.6, 0.3)
    auto = AutoRatio(categorical_features=np.array([False, True]), random_state=0)
    w = auto.fit(X, X_target=X_target).weights()
    for of_category, of_missing in ((True, True), (True, False), (False, True), (False, False)):
        rows = ((X[:, 1] == 2) == of_category) & (np.isnan(X[:, 0]) == of_missing)
        exact = (2.0 if of_category else 4 / 7) * (3.0 if of_missing else 7 / 9)
        # The smallest cell has about 120 rows in the source: a relative error of 1 / sqrt(120), three times.
        assert w[rows].mean() == pytest.approx(exact, rel=0.3)


def test_one_side_much_larger():
    s = make_gaussian_shift(n_source=20_000, n_target=400, shift=(0.8,), n_features=4, random_state=6)
    auto = AutoRatio(max_rows=5_000, random_state=0).fit(s.X, X_target=s.X_target)
    # The slope's standard error is about 1 / sqrt(400).
    assert np.polyfit(s.log_ratio, np.log(auto.weights()), 1)[0] == pytest.approx(1, abs=0.2)
    assert abs(auto.log_mass_) < 0.15


def test_what_it_does_not_take():
    X = np.random.default_rng(7).normal(size=(60, 2))
    with pytest.raises(InputError, match=r"candidates are \['best'\]; choose some of linear, quadratic"):
        AutoRatio(["best"]).fit(X, X_target=X)
    with pytest.raises(InputError, match=r"pass 2 booleans, one a column"):
        AutoRatio(categorical_features=[1]).fit(X, X_target=X)
    with pytest.raises(InputError, match=r"X has 1 sample\(s\) that count and X_target 60"):
        AutoRatio().fit(X[:1], X_target=X)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_has_the_right_sign_and_scale(name):
    """Sides of unequal size, and a source that is weighted to half of its rows' number."""
    s = make_gaussian_shift(n_source=3000, n_target=1000, shift=(0.9, -0.6), n_features=4, random_state=8)
    rows, domain = np.vstack([s.X, s.X_target]), np.repeat([0, 1], [3000, 1000])
    weight, fold = np.repeat([0.5, 1.0], [3000, 1000]), np.arange(4000) % 2
    sample = Sample(Measured(rows, domain, weight, np.zeros(4, dtype=bool)), weight, fold, 2)

    def make(name):
        return LEARNERS[name](sample, np.random.default_rng(0), make)

    learner = make(name)
    for k in range(2):
        learner.fit(k)
    models = learner.models()

    def f(X):
        return models.each(X).mean(axis=1)

    new = make_gaussian_shift(n_source=4000, n_target=10, shift=(0.9, -0.6), n_features=4, random_state=9)
    inner = np.abs(new.log_ratio) < 1.5
    slope, level = np.polyfit(new.log_ratio[inner], f(new.X)[inner], 1)
    # Trees flatten, early stopping more so.
    assert slope == pytest.approx(1, abs=0.3) and level == pytest.approx(0, abs=0.15)


def test_the_sparse_model_keeps_what_matters():
    rng = np.random.default_rng(10)
    X = rng.normal(size=(4000, 12))
    X[2000:, [1, 7]] += [0.5, -0.4]
    Z, domain = np.column_stack([np.ones(4000), X]), np.repeat([0, 1], 2000)
    coef = sparse_logistic(Z, domain, np.ones(4000))
    assert np.flatnonzero(coef).tolist() == [0, 2, 8]
    # What is kept is fitted without the lasso.
    plain = LogisticRegression(C=1e6, tol=1e-10).fit(X[:, [1, 7]], domain)
    np.testing.assert_allclose(coef[[2, 8]], plain.coef_[0], atol=2e-3)
    times = rng.integers(1, 4, size=4000)
    np.testing.assert_allclose(
        sparse_logistic(Z, domain, times.astype(float)),
        sparse_logistic(np.repeat(Z, times, axis=0), np.repeat(domain, times), np.ones(times.sum())),
        atol=1e-5,
    )


def test_designs_of_wide_tables_stay_small():
    rng = np.random.default_rng(11)
    for d, degree_two in ((20, 20 + 20 * 21 // 2), (100, 200), (350, 350)):
        X = rng.normal(size=(50, d))
        design = Design.of(X, np.ones(50), np.zeros(d, dtype=bool), degree=2)
        assert design(X).shape[1] == 1 + degree_two


def test_pooling_is_a_logistic_regression_with_shares_that_are_not_negative():
    rng = np.random.default_rng(12)
    f, g = rng.normal(size=(300, 3)), rng.normal([0.8, -0.5, 0.2], 1, size=(200, 3))
    w = rng.exponential(size=300)
    weight = np.concatenate([w / w.sum(), np.full(200, 1 / 200)])
    rows, y = np.vstack([f, g]), np.repeat([0.0, 1.0], [300, 200])

    def loss(c):
        h = rows @ c[:3] + c[3]
        return weight @ (np.logaddexp(0, h) - y * h)

    best = minimize(loss, np.zeros(4), bounds=[(0, None)] * 3 + [(None, None)], method="SLSQP", tol=1e-12)
    ours = pool(f, g, sample_weight=w)
    np.testing.assert_allclose(ours, best.x, atol=5e-3)
    assert ours[1] == 0


def test_the_squared_score_is_half_the_error_that_weights_lack():
    s = make_gaussian_shift(n_source=50_000, n_target=50_000, shift=(0.6,), n_features=4, random_state=13)

    def score(f):
        return ratio_score(f(s.log_ratio), f(s.log_ratio_target), loss="squared")

    exact = score(lambda r: r)
    # Half the variance of the exact ratio, exp(0.36) - 1; a row's terms have a standard deviation below 3.
    assert exact == pytest.approx((np.exp(0.36) - 1) / 2, abs=4 * 3 / np.sqrt(50_000))
    assert score(np.zeros_like) == pytest.approx(0, abs=1e-12)
    flat = score(lambda r: 0.5 * r)
    r, w = np.exp(s.log_ratio), np.exp(0.5 * s.log_ratio)
    lack = 0.5 * np.mean((w / w.mean() - r / r.mean()) ** 2)
    assert exact - flat == pytest.approx(lack, abs=4 * 1 / np.sqrt(50_000))
    assert np.isfinite(ratio_score([0.0, 500.0], [900.0], loss="squared"))
    with pytest.raises(InputError, match="loss is 'cubic'"):
        ratio_score([0.0], [0.0], loss="cubic")


def test_a_cap_stops_what_runs_away_and_nothing_else():
    s = make_gaussian_shift(n_source=5000, n_target=5000, shift=(0.8,), n_features=4, random_state=14)
    assert best_cap(s.log_ratio, s.log_ratio_target) > np.quantile(s.log_ratio_target, 0.98)
    wild = np.where(np.abs(s.X[:, 1]) > 3, 8.0, s.log_ratio)
    cap = best_cap(wild, s.log_ratio_target)
    # A cap costs little at 0.7 of the target's log ratios: where the score is within 5% of the best.
    assert np.quantile(s.log_ratio_target, 0.5) <= cap < 4.0
