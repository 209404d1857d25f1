"""The learned likelihood-ratio test against closed forms, its exact size, and planted anomalies."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.errors import InputError
from steelyard.evaluation.goodness_of_fit import nplm_statistic, nplm_test


def test_statistic_approaches_the_exact_log_likelihood_ratio():
    # N(0.5, 1) against N(0, 1): f = x/2 - 1/8, and 2 sum_data f has mean 2 n / 8 = n / 4.
    rng = np.random.default_rng(0)
    reference, data = rng.normal(size=(20_000, 1)), rng.normal(0.5, size=(4000, 1))
    exact = 2 * np.sum(data / 2 - 1 / 8) - 2 * 0.2 * np.sum(np.expm1(reference / 2 - 1 / 8))
    # The fit adds its in-sample gain, about one chi-square degree a free direction (fewer than 30 here),
    # and minimises another proper score: 5% of a statistic near 1000.
    assert nplm_statistic(reference, data, random_state=0) == pytest.approx(exact, rel=0.05)


def test_statistic_is_near_zero_for_a_copy():
    X = np.random.default_rng(1).normal(size=(300, 2))
    assert abs(nplm_statistic(X, X, random_state=0)) < 1e-6


@pytest.mark.parametrize("way", ["permutation", "toys"])
def test_size_is_exact(way):
    # 19 toys at level 5%: rejection has probability 1/20 under the null (ties have none).
    n_runs, rejected = 150, 0
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        X, Z = rng.exponential(size=(60, 2)), rng.exponential(size=(30, 2))
        toys = None if way == "permutation" else lambda g: g.exponential(size=(30, 2))
        result = nplm_test(X, Z, toys=toys, n_toys=19, n_centres=8, random_state=rng)
        rejected += result.p_value <= 0.05
        assert result.calibration == way
    # Three binomial standard errors.
    assert abs(rejected / n_runs - 0.05) < 3 * (0.05 * 0.95 / n_runs) ** 0.5


def planted(kind, rng, n):
    X = rng.normal(size=(n, 3))
    if kind == "mean":
        return X + [0.7, 0.0, 0.0]
    if kind == "spread":
        return X * [1.4, 1.0, 1.0]
    if kind == "dependence":
        X[:, 1] = 0.7 * X[:, 0] + np.sqrt(1 - 0.49) * X[:, 1]
    return X


@pytest.mark.parametrize("kind", ["mean", "spread", "dependence"])
def test_planted_anomalies_are_found(kind):
    rng = np.random.default_rng(2)
    found = [
        nplm_test(rng.normal(size=(600, 3)), planted(kind, rng, 300), n_toys=19, random_state=rng).p_value
        for _ in range(8)
    ]
    # The exact likelihood-ratio test has power above 0.999 for each of these.
    assert np.mean(np.array(found) <= 0.05) >= 0.75


def test_same_seed_same_answer_and_scale_does_not_matter():
    rng = np.random.default_rng(3)
    X, Z = rng.normal(size=(100, 2)), rng.normal(size=(50, 2))
    one = nplm_test(X, Z, n_toys=19, random_state=0)
    assert one == nplm_test(X, Z, n_toys=19, random_state=0)
    other = nplm_test(X * [1e6, 1e-3] + 7, Z * [1e6, 1e-3] + 7, n_toys=19, random_state=0)
    assert other.statistic == pytest.approx(one.statistic, rel=1e-4)
    assert one.to_dict()["n_toys"] == 19


def test_bad_input_says_what_to_do():
    X = np.zeros((10, 2)) + np.arange(10)[:, None]
    with pytest.raises(InputError, match="same columns"):
        nplm_test(X, X[:, :1])
    with pytest.raises(InputError, match="missing values"):
        nplm_test(np.where(X == 3, np.nan, X), X)
    with pytest.raises(InputError, match="toys"):
        nplm_test(X, X, toys=lambda g: X[:3], n_toys=3)
    with pytest.raises(InputError, match="all alike"):
        nplm_statistic(np.ones((5, 2)), X)
    with pytest.raises(InputError, match="n_toys"):
        nplm_test(X, X, n_toys=0)
