"""Weighted statistics against repeated rows, brute force, scikit-learn and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from steelyard.errors import InputError
from steelyard.numerics import (
    auc_influence,
    effective_sample_size,
    log_mean_exp,
    mean_one,
    weighted_auc,
    weighted_quantile,
)

counted = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        # Few distinct values, so that ties are common.
        hnp.arrays(np.float64, n, elements=st.integers(-4, 4).map(float)),
        hnp.arrays(np.int64, n, elements=st.integers(0, 5)),
    ).filter(lambda pair: pair[1].sum() > 0)
)


@given(counted, st.integers(0, 24))
def test_quantile_is_that_of_repeated_rows(sample, k):
    values, times = sample
    q = k / 24
    expected = np.quantile(np.repeat(values, times), q, method="inverted_cdf")
    assert weighted_quantile(values, q, sample_weight=times) == expected


@given(counted, st.floats(1e-6, 1e6))
def test_quantile_does_not_depend_on_the_scale_of_weights(sample, scale):
    values, times = sample
    q = np.array([0.07, 0.33, 0.51, 0.93])  # no multiples of 1 / sum of weights up to 150, bar rounding
    np.testing.assert_array_equal(
        weighted_quantile(values, q, sample_weight=times),
        weighted_quantile(values, q, sample_weight=times * scale),
    )


def test_quantile_at_levels_that_floats_cannot_hit():
    # 0.1 + 0.2 > 0.3 in floating point: the level 0.3 is reached by the second value all the same.
    assert weighted_quantile([1.0, 2.0, 3.0], 0.3, sample_weight=[0.1, 0.2, 0.7]) == 2.0
    assert weighted_quantile(np.arange(10.0), [0.0, 1.0]).tolist() == [0.0, 9.0]


def _brute_auc(scores, positive, negative):
    above = (scores[:, None] > scores[None, :]) + 0.5 * (scores[:, None] == scores[None, :])
    return float(positive @ above @ negative / (positive.sum() * negative.sum()))


@given(
    st.integers(2, 25).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float64, n, elements=st.integers(-3, 3).map(float)),
            hnp.arrays(np.float64, n, elements=st.floats(0.0, 5.0)),
            hnp.arrays(np.float64, n, elements=st.floats(0.0, 5.0)),
        ).filter(lambda t: t[1].sum() > 1e-3 and t[2].sum() > 1e-3)
    )
)
def test_auc_against_all_pairs(sample):
    scores, positive, negative = sample
    expected = _brute_auc(scores, positive, negative)
    assert weighted_auc(scores, positive, negative) == pytest.approx(expected, abs=1e-12)
    # Turned round, what was above is below.
    assert weighted_auc(-scores, positive, negative) == pytest.approx(1 - expected, abs=1e-12)


def test_auc_against_scikit_learn():
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=500) < 0.3).astype(float)
    scores, w = np.round(y + rng.normal(size=500), 1), rng.exponential(size=500)
    expected = roc_auc_score(y, scores, sample_weight=w)
    assert weighted_auc(scores, w * y, w * (1 - y)) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(weighted_auc(scores, w, 0 * w))


def test_auc_influence_is_its_derivative():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 8, size=20).astype(float)
    positive, negative = rng.uniform(size=20), rng.uniform(size=20)
    auc, d_positive, d_negative = auc_influence(scores, positive, negative)
    assert auc == weighted_auc(scores, positive, negative)
    # Central differences with step 1e-5 err by about 1e-10 (third derivatives near 1) and 1e-11 (rounding).
    step = 1e-5
    for i in range(20):
        e = step * (np.arange(20) == i)
        up, down = weighted_auc(scores, positive + e, negative), weighted_auc(scores, positive - e, negative)
        assert d_positive[i] == pytest.approx((up - down) / (2 * step), abs=1e-8)
        up, down = weighted_auc(scores, positive, negative + e), weighted_auc(scores, positive, negative - e)
        assert d_negative[i] == pytest.approx((up - down) / (2 * step), abs=1e-8)
    # The AUC does not depend on the scale of either mass (Euler's identity).
    assert positive @ d_positive == pytest.approx(0, abs=1e-12)
    assert negative @ d_negative == pytest.approx(0, abs=1e-12)


def test_influence_values_give_delong_s_variance():
    """For observed labels, the squared influence values sum to DeLong's variance, but for n - 1."""
    rng = np.random.default_rng(2)
    y = (np.arange(60) < 25).astype(float)
    scores = y + rng.normal(size=60)
    _, d_pos, d_neg = auc_influence(scores, y, 1 - y)
    own = np.where(y == 1, d_pos, d_neg)
    above = scores[y == 1][:, None] > scores[y == 0][None, :]
    delong = above.mean(axis=1).var() / 25 + above.mean(axis=0).var() / 35
    assert own @ own == pytest.approx(delong, rel=1e-10)


@pytest.mark.parametrize("level", [-1000.0, 0.0, 1000.0])
def test_mean_one_far_from_zero(level):
    log_w = level + np.array([0.0, 1.0, -2.0, 3.5])
    assert np.exp(mean_one(log_w)).mean() == pytest.approx(1, abs=1e-12)
    # Only differences matter; at 1000 a float resolves 1e-13.
    np.testing.assert_allclose(mean_one(log_w), mean_one(log_w - level), atol=1e-12)
    assert log_mean_exp(log_w) == pytest.approx(level + np.log(np.mean(np.exp(log_w - level))), abs=1e-12)


def test_mean_one_of_a_weighted_source():
    log_w, times = np.array([0.3, -1.0, 2.0]), np.array([1.0, 3.0, 2.0])
    repeated = mean_one(np.repeat(log_w, [1, 3, 2]))
    np.testing.assert_allclose(np.repeat(mean_one(log_w, sample_weight=times), [1, 3, 2]), repeated)


def test_rows_without_weight_have_log_weight_minus_infinity():
    assert np.exp(mean_one(np.array([-np.inf, 0.0]))).tolist() == [0.0, 2.0]


@given(
    hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e6)).filter(lambda w: w.max() > 1e-3)
)
def test_effective_sample_size_lies_between_one_and_n(weights):
    ess = effective_sample_size(weights)
    assert 1 - 1e-9 <= ess <= len(weights) + 1e-9
    assert effective_sample_size(weights * 1e-3) == pytest.approx(ess, rel=1e-9)


def test_effective_sample_size_of_huge_weights_and_of_equal_ones():
    # Squares of 1e300 would overflow.
    assert effective_sample_size(np.full(7, 1e300)) == pytest.approx(7)
    assert effective_sample_size([0.0, 5.0, 0.0]) == 1.0
    with pytest.raises(InputError, match="sums to zero"):
        effective_sample_size([0.0, 0.0])
