"""The classifier's ratio against an exact one, and its parts against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steelyard.datasets import make_gaussian_shift, make_mixture_shift
from steelyard.errors import InputError
from steelyard.weighting import ClassifierRatio, ratio_score
from steelyard.weighting.ratios.calibrated import platt


def test_against_the_exact_log_ratio():
    s = make_gaussian_shift(n_source=4000, n_target=3000, shift=(0.8, -0.4), n_features=4, random_state=0)
    model = ClassifierRatio(random_state=0).fit(s.X, X_target=s.X_target)
    # Five coefficients, each known to about sqrt(1/4000 + 1/3000) = 0.024 times a factor below 1.5 for the
    # overlap: the log ratio's root mean square error is near sqrt(5) * 0.036 = 0.08; twice that is allowed.
    for ours, exact in (
        (np.log(model.weights()), s.log_ratio),
        (model.log_ratio(s.X), s.log_ratio),
        (model.log_ratio_target_, s.log_ratio_target),
    ):
        assert np.sqrt(np.mean((ours - exact) ** 2)) < 0.16
    # Upside down, the slope would be -1.
    assert np.polyfit(s.log_ratio, np.log(model.weights()), 1)[0] == pytest.approx(1, abs=0.1)


def test_weighted_means_are_the_target_s():
    s = make_gaussian_shift(n_source=6000, n_target=6000, shift=(0.7, -0.5), n_features=4, random_state=1)
    w = ClassifierRatio(random_state=0).fit(s.X, X_target=s.X_target).weights()
    # Effective size about 6000 / exp(0.74) = 2860: four standard errors of 1 / sqrt(2860).
    moments = np.average(s.X[:, :2], axis=0, weights=w)
    np.testing.assert_allclose(moments, [0.7, -0.5], atol=4 / np.sqrt(2860))


def test_unequal_sample_sizes_do_not_scale_the_ratio():
    s = make_gaussian_shift(n_source=4000, n_target=400, shift=(0.5,), n_features=4, random_state=2)
    model = ClassifierRatio(random_state=0).fit(s.X, X_target=s.X_target)
    # The mean of the exact ratio over target rows is exp(0.25); its standard error is about 0.65 / 20.
    assert np.exp(model.log_ratio_target_).mean() == pytest.approx(np.exp(0.25), abs=0.25)
    assert abs(model.log_mass_) < 0.1


def test_boosting_sees_what_a_linear_model_cannot():
    s = make_mixture_shift(n_source=3000, n_target=3000, n_features=4, random_state=0)
    linear = ClassifierRatio(random_state=0).fit(s.X, X_target=s.X_target)
    boosted = ClassifierRatio(
        HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8), random_state=0
    ).fit(s.X, X_target=s.X_target)
    scores = [ratio_score(m.log_ratio_, m.log_ratio_target_) for m in (linear, boosted)]
    best = ratio_score(s.log_ratio, s.log_ratio_target)
    assert scores[0] < 0.02 < scores[1] < best + 0.01
    assert np.corrcoef(np.log(boosted.weights()), s.log_ratio)[0, 1] > 0.85


def test_recalibration_undoes_overconfidence():
    """Each column is there three times, and naive Bayes believes it each time."""
    s = make_gaussian_shift(n_source=4000, n_target=4000, shift=(0.6,), n_features=4, random_state=3)
    X, X_target = np.tile(s.X, 3), np.tile(s.X_target, 3)
    slope = {}
    for calibrate in (True, False):
        model = ClassifierRatio(GaussianNB(), calibrate=calibrate, random_state=0).fit(X, X_target=X_target)
        slope[calibrate] = np.polyfit(s.log_ratio, np.log(model.weights()), 1)[0]
    assert slope[False] > 2.5
    assert slope[True] == pytest.approx(1, abs=0.15)


def test_recalibration_is_a_logistic_regression():
    rng = np.random.default_rng(4)
    f = rng.normal(size=800)
    label = (rng.uniform(size=800) < 1 / (1 + np.exp(-(0.4 * f - 0.7)))).astype(int)
    w = rng.exponential(size=800)
    slope, intercept = platt(f, label, w)
    model = LogisticRegression(C=1e9, tol=1e-10).fit(f[:, None], label, sample_weight=w)
    # The faint ridge of a millionth moves the slope by about 1e-5.
    assert (slope, intercept) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-4)


def test_scores_that_rank_the_wrong_way_say_nothing():
    rng = np.random.default_rng(5)
    f = rng.normal(size=500)
    label = (f + rng.normal(size=500) < 0).astype(int)
    assert platt(f, label, np.ones(500)) == (0.0, 0.0)


def test_separable_samples_stay_finite():
    X, X_target = np.linspace(0, 1, 60)[:, None], np.linspace(5, 6, 60)[:, None]
    model = ClassifierRatio(random_state=0).fit(X, X_target=X_target)
    assert np.isfinite(model.log_ratio_).all() and np.isfinite(model.log_ratio_target_).all()
    # Nothing of the target is reached: the ratio before scaling is tiny on the source, huge on the target.
    assert model.log_mass_ < -1 and model.log_ratio_target_.min() > model.log_ratio_.max()


def test_rows_beyond_the_limit_are_scored_all_the_same():
    s = make_gaussian_shift(n_source=1000, n_target=900, shift=(0.8,), n_features=4, random_state=6)
    model = ClassifierRatio(max_rows=300, random_state=0).fit(s.X, X_target=s.X_target)
    assert model.weights().shape == (1000,) and model.log_ratio_target_.shape == (900,)
    assert np.corrcoef(np.log(model.weights()), s.log_ratio)[0, 1] > 0.9


def test_too_few_rows():
    with pytest.raises(InputError, match="too few to cross-fit"):
        ClassifierRatio().fit(np.ones((1, 2)), X_target=np.ones((30, 2)))


def test_the_score_is_largest_at_the_true_ratio():
    s = make_gaussian_shift(n_source=20_000, n_target=20_000, shift=(0.8,), n_features=4, random_state=7)
    best = ratio_score(s.log_ratio, s.log_ratio_target)
    for change in (lambda r: 0.5 * r, lambda r: 1.5 * r, lambda r: r + 0.3, lambda r: -r, np.zeros_like):
        assert ratio_score(change(s.log_ratio), change(s.log_ratio_target)) < best
    # At the true ratio it is the Jensen-Shannon divergence; by quadrature over the moved coordinate.
    x = np.linspace(-8, 9, 20_001)
    p, q = (np.exp(-0.5 * (x - m) ** 2) / np.sqrt(2 * np.pi) for m in (0.0, 0.8))
    js = np.trapezoid(0.5 * p * np.log(2 * p / (p + q)) + 0.5 * q * np.log(2 * q / (p + q)), x)
    # The standard deviation of a row's term is below 0.4.
    assert best == pytest.approx(js, abs=4 * 0.4 / np.sqrt(40_000))
    assert ratio_score(np.full(3, -1e5), np.full(4, 1e5)) == pytest.approx(np.log(2))


def test_rows_that_do_not_count_take_no_place():
    """A few rows that count among many that do not: each fold has some, and the draw is of them."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(5000, 2)), rng.normal(0.7, size=(400, 2))
    weight = np.zeros(5000)
    weight[:300] = 1.0
    model = ClassifierRatio(max_rows=200, random_state=0).fit(X, X_target=X_target, sample_weight=weight)
    truth = 0.7 * X[:300].sum(axis=1)
    assert np.corrcoef(model.log_ratio_[:300], truth)[0, 1] > 0.95


def test_a_seed_reaches_inside_pipelines():
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(200, 2)), rng.normal(0.5, size=(200, 2))
    learner = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=10))
    first, again = (
        ClassifierRatio(learner, random_state=5).fit(X, X_target=X_target).weights() for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
