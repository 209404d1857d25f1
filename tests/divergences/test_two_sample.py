"""The two-sample test: its size under the null, its power, and the AUC's interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.linear_model import LogisticRegression

from steelyard.divergences import auc_interval, prequential_test
from steelyard.errors import InputError

REPEATS = 250


def linear(rows, domain, weight, seed):
    del seed
    return LogisticRegression().fit(rows, domain, sample_weight=weight).decision_function


def _p_values(draw, **options):
    out = []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        X, X_target, more = draw(rng)
        out.append(prequential_test(X, X_target, scorer=linear, random_state=rng, **more, **options).p_value)
    return np.array(out)


@pytest.mark.parametrize("sizes", [(120, 120), (200, 60)])
def test_size_under_the_null(sizes):
    p = _p_values(lambda rng: (rng.normal(size=(sizes[0], 3)), rng.normal(size=(sizes[1], 3)), {}))
    for level in (0.05, 0.2):
        low, high = binom(REPEATS, level).ppf([0.0005, 0.9995])
        # The normal law of stages with a dozen rows a side adds a point to the 5%.
        assert low <= np.sum(p < level) <= high + 0.01 * REPEATS


def test_size_with_weights_that_make_the_source_the_target():
    def draw(rng):
        X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(150, 2)) + [0.5, 0.0]
        return X, X_target, {"sample_weight": np.exp(0.5 * X[:, 0])}

    p = _p_values(draw)
    low, high = binom(REPEATS, 0.05).ppf([0.0005, 0.9995])
    assert low <= np.sum(p < 0.05) <= high + 0.01 * REPEATS


def test_power_is_what_the_detectable_auc_says():
    """At a shift whose AUC is the stated one for power 0.8, about that share is rejected."""
    rng = np.random.default_rng(0)
    stated = prequential_test(
        rng.normal(size=(400, 1)), rng.normal(size=(400, 1)), scorer=linear, random_state=0
    ).detectable_auc
    # Two unit normals d apart have AUC Phi(d / sqrt 2).
    d = np.sqrt(2) * norm.ppf(stated)
    p = _p_values(lambda r: (r.normal(size=(400, 1)), r.normal(size=(400, 1)) + d, {}))
    # The fitted direction is right in one dimension, so only chance and the changed variance matter.
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / REPEATS) + 0.04)


def test_weights_that_do_not_make_them_alike_are_seen():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 2))
    found = prequential_test(
        X, rng.normal(size=(600, 2)), scorer=linear, sample_weight=np.exp(0.7 * X[:, 0]), random_state=0
    )
    assert found.p_value < 1e-4 and found.auc > 0.5


def test_constant_scores_and_few_rows():
    X = np.zeros((50, 1))
    flat = prequential_test(X, X, scorer=linear, random_state=0)
    assert flat.p_value >= 0.5 and flat.auc == 0.5
    with pytest.raises(InputError, match="too few"):
        prequential_test(X[:5], X, scorer=linear)
    thinned = prequential_test(X, X, scorer=linear, max_rows=20, random_state=0)
    assert (thinned.n, thinned.m) == (20, 20)


def test_auc_interval_covers():
    truth = norm.cdf(0.6 / np.sqrt(2))
    inside = 0
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        _, low, high = auc_interval(rng.normal(size=150), rng.normal(size=120) + 0.6, cross_fitted=False)
        inside += low <= truth <= high
    assert binom(REPEATS, 0.95).ppf(0.0005) - 0.01 * REPEATS <= inside <= binom(REPEATS, 0.95).ppf(0.9995)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=150), rng.normal(size=120) + 0.6
    plain, wide = auc_interval(a, b, cross_fitted=False), auc_interval(a, b)
    assert wide[2] - wide[1] == pytest.approx(np.sqrt(2) * (plain[2] - plain[1]))
