"""The specification check against independent fits, brute force, and simulations of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression

from steelyard.errors import InconclusiveError, InputError
from steelyard.evaluation.specification import maximum_likelihood, specification_test, weighting_gain


def sample(seed, *, model, n=600, curve=0.0, shift=0.7):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    w = np.exp(shift * X[:, 0] - shift**2 / 2)
    t = 0.2 + X @ [1.0, -0.5, 0.3] + curve * X[:, 0] ** 2
    if model == "linear":
        return X, t + (1 + 0.5 * np.abs(X[:, 1])) * rng.normal(size=n), w
    if model == "logistic":
        return X, (rng.uniform(size=n) < expit(t)).astype(float), w
    return X, (t - 0.2) ** 2 + rng.normal(size=n), w


def p_value(seed, model, curve=0.0):
    X, y, w = sample(seed, model=model, curve=curve)
    return specification_test(X, y, weights=w, model=model).p_value


def test_linear_fit_equals_scikit_learn():
    X, y, w = sample(0, model="linear")
    ours = maximum_likelihood(X, y, weights=w)
    theirs = LinearRegression().fit(X, y, sample_weight=w)
    np.testing.assert_allclose(ours, [theirs.intercept_, *theirs.coef_], rtol=1e-9)


def test_logistic_fit_equals_scikit_learn():
    X, y, w = sample(1, model="logistic")
    ours = maximum_likelihood(X, y, model="logistic", weights=w)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y, sample_weight=w)
    # scikit-learn stops at a gradient of 1e-10 a row; its coefficients are good to about 1e-5.
    np.testing.assert_allclose(ours, [*theirs.intercept_, *theirs.coef_[0]], atol=2e-5)


def test_phase_fit_reaches_the_minimum_that_scipy_finds_from_the_truth():
    X, y, w = sample(2, model="phase")
    ours = maximum_likelihood(X, y, model="phase", weights=w)
    best = minimize(lambda b: w @ (y - (X @ b) ** 2) ** 2 / len(y), [1.0, -0.5, 0.3], tol=1e-12).x
    np.testing.assert_allclose(np.abs(ours), np.abs(best), atol=1e-5)
    assert ours @ best == pytest.approx(np.sign(ours @ best) * best @ best, rel=1e-4)


@pytest.mark.parametrize("model", ["linear", "logistic", "phase"])
def test_integer_weights_equal_repeated_rows(model):
    X, y, w = sample(3, model=model, n=200)
    times = np.random.default_rng(0).integers(0, 4, size=200)
    again = np.repeat(np.arange(200), times)
    counted = specification_test(X, y, weights=w, model=model, sample_weight=times)
    repeated = specification_test(X[again], y[again], weights=w[again], model=model)
    assert counted.df == repeated.df
    assert counted.statistic == pytest.approx(repeated.statistic, rel=1e-6)
    assert counted.p_value == pytest.approx(repeated.p_value, rel=1e-6)
    np.testing.assert_allclose(counted.coef_weighted, repeated.coef_weighted, rtol=1e-7)


def test_statistic_is_hausmans_in_the_linear_model():
    # Brute force: difference of the two fits in the metric of its leave-one-out (HC3) sandwich.
    X, y, w = sample(4, model="linear", n=80)
    D = np.column_stack([np.ones(80), X])
    plain, weighted = (
        np.linalg.lstsq(D * v[:, None], y * v, rcond=None)[0] for v in (np.ones(80), np.sqrt(w))
    )
    A, B = np.linalg.inv(D.T @ D), np.linalg.inv((D * w[:, None]).T @ D)
    hat = np.einsum("ij,jk,ik->i", D, A, D)
    residual = (y - D @ plain) / (1 - hat)
    moves = (D * (w * residual)[:, None]) @ B - (D * residual[:, None]) @ A
    difference = weighted - plain
    expected = difference @ np.linalg.solve(moves.T @ moves, difference)
    result = specification_test(X, y, weights=w)
    assert result.statistic == pytest.approx(expected, rel=1e-8)
    assert result.df == 4
    np.testing.assert_allclose(result.coef, plain, rtol=1e-8)
    np.testing.assert_allclose(result.coef_weighted, weighted, rtol=1e-8)


@pytest.mark.parametrize("model", ["linear", "logistic", "phase"])
def test_size_and_power(model):
    p_null = [p_value(s, model) for s in range(200)]
    # At most 5% plus three binomial standard errors (1.5% each); asymptotics may fall below.
    assert np.mean(np.array(p_null) < 0.05) <= 0.05 + 3 * 0.0154
    p_curved = [p_value(s, model, 0.5) for s in range(20)]
    assert np.mean(np.array(p_curved) < 0.05) >= 0.8


def test_constant_weights_have_nothing_to_compare():
    X, y, _ = sample(5, model="logistic")
    result = specification_test(X, y, weights=np.full(600, 3.0), model="logistic")
    assert (result.statistic, result.df, result.p_value) == (0.0, 0, 1.0)


def test_scale_of_weights_and_columns_does_not_matter():
    X, y, w = sample(6, model="linear")
    one = specification_test(X, y, weights=w)
    two = specification_test(X * [1e4, 1.0, 1e-3], y, weights=37.0 * w)
    assert one.statistic == pytest.approx(two.statistic, rel=1e-6)


def test_what_cannot_be_fitted_says_so():
    X, y, w = sample(7, model="logistic")
    with pytest.raises(InconclusiveError, match="separable"):
        maximum_likelihood(X[:, :1], (X[:, 0] > 0).astype(float), model="logistic")
    with pytest.raises(InconclusiveError, match="collinear"):
        maximum_likelihood(np.column_stack([X, X[:, 0]]), y, model="linear")
    with pytest.raises(InputError, match="0 and 1"):
        specification_test(X, y + 1, weights=w, model="logistic")
    with pytest.raises(InputError, match="choose from"):
        maximum_likelihood(X, y, model="probit")
    spike = np.zeros(600)
    spike[:3] = 1.0
    with pytest.raises(InconclusiveError, match="effective rows"):
        specification_test(X, y, weights=spike)


def test_gain_is_the_weighted_mean_and_its_interval_covers():
    # Source N(0,1), target N(0.8,1); the loss difference is x + noise, its target mean 0.8.
    hits, n_runs = 0, 400
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=400)
        loss = rng.normal(size=400)
        w = np.exp(0.8 * x - 0.32)
        gain = weighting_gain(loss, loss - x, weights=w)
        hits += gain.low <= 0.8 <= gain.high
        assert gain.gain == pytest.approx(np.average(x, weights=w))
    # Nominal 95%, less three binomial standard errors (1.1% each) and 2% for the weights' skewness.
    assert hits / n_runs >= 0.95 - 0.033 - 0.02


def test_gain_integer_weights_and_verdicts():
    rng = np.random.default_rng(1)
    loss, other, w = rng.normal(size=(3, 60))
    w = np.exp(w)
    times = rng.integers(0, 3, size=60)
    again = np.repeat(np.arange(60), times)
    assert weighting_gain(loss, other, weights=w, sample_weight=times).to_dict() == pytest.approx(
        weighting_gain(loss[again], other[again], weights=w[again]).to_dict()
    )
    assert weighting_gain(loss + 5, loss + 0.1 * other, weights=w).helps is True
    assert weighting_gain(loss, loss + 5 + 0.1 * other, weights=w).helps is False
    assert weighting_gain(loss, loss + 0.01 * (other - np.average(other, weights=w)), weights=w).helps is None
    with pytest.raises(InconclusiveError, match="single row"):
        weighting_gain([1.0, 2.0], [0.0, 0.0], weights=[1.0, 0.0])
