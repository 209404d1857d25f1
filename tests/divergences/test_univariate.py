"""Distances of one column against SciPy, chi-squared tables and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, false_discovery_control, ks_2samp

from steelyard.divergences import (
    benjamini_hochberg,
    category_shift,
    column_shift,
    kolmogorov_smirnov,
    number_shift,
    total_variation,
)
from steelyard.numerics import CategoryCounts, QuantileSketch


@pytest.mark.parametrize("digits", [1, 8], ids=["ties", "no ties"])
def test_kolmogorov_smirnov_against_scipy(digits):
    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(size=300), digits), np.round(0.15 + rng.normal(size=400), digits)
    distance, p = kolmogorov_smirnov(a, b)
    exact = ks_2samp(a, b, method="exact")
    assert distance == pytest.approx(exact.statistic, abs=1e-12)
    # The asymptotic law errs by O(1 / sqrt(n)): here by a hundredth or two.
    assert p == pytest.approx(ks_2samp(a, b, method="asymp").pvalue, abs=0.03)


def test_kolmogorov_smirnov_of_integer_weights_is_that_of_repeated_rows():
    rng = np.random.default_rng(1)
    a, b, times = rng.normal(size=50), rng.normal(size=60), rng.integers(0, 4, 50)
    weighted, _ = kolmogorov_smirnov(a, b, sample_weight=times)
    assert weighted == pytest.approx(kolmogorov_smirnov(np.repeat(a, times), b)[0], abs=1e-12)


def test_total_variation_against_a_chi_squared_test():
    rng = np.random.default_rng(2)
    a, b = rng.choice(4, 500, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, 300, p=[0.3, 0.3, 0.2, 0.2])
    counts = np.array([np.bincount(a, minlength=4), np.bincount(b, minlength=4)])
    distance, p = total_variation(a, b)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert distance == pytest.approx(max((shares[0] - shares[1])[list(s)].sum() for s in _subsets(4)))
    assert p == pytest.approx(chi2_contingency(counts, correction=False).pvalue, rel=1e-10)


def _subsets(k):
    return [[j for j in range(k) if i >> j & 1] for i in range(2**k)]


def test_rare_categories_are_tested_together():
    a = np.repeat([0, 1, 2, 3, 4], [500, 480, 2, 1, 1])
    b = np.repeat([0, 1, 2, 3, 4], [490, 490, 1, 3, 2])
    together = np.array([[500, 480, 4], [490, 490, 6]])
    assert total_variation(a, b)[1] == pytest.approx(chi2_contingency(together).pvalue, rel=0.01)


def test_equal_samples_are_at_distance_zero():
    a = np.arange(40) % 5
    assert total_variation(a, a) == (0.0, 1.0)
    assert kolmogorov_smirnov(a.astype(float), a.astype(float)) == (0.0, 1.0)
    assert total_variation(np.zeros(9), np.zeros(7)) == (0.0, 1.0)


def test_the_distances_tell_sides_apart():
    a, b = np.array([0.0, 1.0]), np.array([2.0, 3.0, 4.0])
    assert kolmogorov_smirnov(a, b)[0] == 1.0
    assert total_variation(np.array([0, 0]), np.array([1, 1]))[0] == 1.0


def test_missing_values_are_a_category_of_their_own():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=1000), rng.normal(size=1000)
    b[:200] = np.nan
    effect, p = column_shift(a, b, categorical=False)
    # A fifth is missing on one side only, and the known values do not differ.
    assert effect == pytest.approx(0.2) and p < 1e-20
    codes = (np.arange(1000) % 3).astype(float)
    holes = codes.copy()
    holes[codes == 2] = np.nan
    effect, p = column_shift(codes, holes, categorical=True)
    assert effect == pytest.approx(np.mean(codes == 2)) and p < 1e-20
    assert column_shift(np.full(30, np.nan), np.full(30, np.nan), categorical=False) == (0.0, 1.0)
    effect, p = column_shift(a, np.full(500, np.nan), categorical=False)
    assert effect == 1.0 and p < 1e-20


def test_p_values_of_a_column_without_shift_are_not_too_small():
    rng = np.random.default_rng(4)
    rejected = 0
    for _ in range(400):
        a, b = rng.normal(size=80), rng.normal(size=80)
        a[rng.uniform(size=80) < 0.3], b[rng.uniform(size=80) < 0.3] = np.nan, np.nan
        rejected += column_shift(a, b, categorical=False)[1] < 0.05
    # A binomial with 400 draws at 5% exceeds 33 with probability 0.2%.
    assert rejected <= 33


p_lists = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(p_lists)
def test_benjamini_hochberg_against_its_definition(p):
    p = np.array(p)
    m = len(p)
    adjusted = benjamini_hochberg(p)
    order = np.sort(p)
    for value, ours in zip(p, adjusted):
        # The smallest m * p_(j) / j over all j with p_(j) >= p.
        brute = min(m * order[j] / (j + 1) for j in range(m) if order[j] >= value)
        assert ours == pytest.approx(min(1.0, brute), abs=1e-12)
    np.testing.assert_allclose(adjusted, false_discovery_control(p), atol=1e-12)


def test_shifts_of_merged_summaries_are_those_of_the_columns():
    rng = np.random.default_rng(5)
    a, b, w = rng.normal(size=300), 0.2 + rng.normal(size=250), rng.exponential(size=300)
    a[rng.uniform(size=300) < 0.1], b[rng.uniform(size=250) < 0.2] = np.nan, np.nan
    first, rest = QuantileSketch.of(a[:100], w[:100]), QuantileSketch.of(a[100:], w[100:], start=100)
    found = number_shift(first.merge(rest), QuantileSketch.of(b, stream=1))
    assert found == pytest.approx(column_shift(a, b, categorical=False, sample_weight=w), abs=1e-12)
    codes, codes_b = np.round(2 * np.abs(a)), np.round(2 * np.abs(b))
    counts = CategoryCounts.of(codes[:100], w[:100]).merge(CategoryCounts.of(codes[100:], w[100:]))
    distance, p = category_shift(counts, CategoryCounts.of(codes_b))
    expected = column_shift(codes, codes_b, categorical=True, sample_weight=w)
    assert (distance[0], p[0]) == pytest.approx(expected, abs=1e-12)


def test_shifts_of_samples_lie_within_their_rank_errors():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=30_000), 0.1 + rng.normal(size=30_000)
    truth = kolmogorov_smirnov(a, b)[0]
    sides = QuantileSketch.of(a, capacity=2000), QuantileSketch.of(b, capacity=2000, stream=1)
    effect, p = number_shift(*sides)
    assert abs(effect - truth) < sum(side.rank_error(0.999) for side in sides)
    # The p-value is that of two samples of 2000, not of 30,000.
    assert p == pytest.approx(ks_2samp(sides[0].values, sides[1].values, method="asymp").pvalue, abs=0.01)


def test_shifts_without_rows_are_not_numbers():
    empty, one = CategoryCounts.of([]), CategoryCounts.of([1])
    assert np.isnan(category_shift(empty, one)).all()
    assert np.isnan(number_shift(QuantileSketch.of([]), QuantileSketch.of([1.0]))).all()
    assert number_shift(QuantileSketch.of([np.nan]), QuantileSketch.of([1.0]))[0] == 1.0


@pytest.mark.parametrize("digits", [1, 2, 15])
@pytest.mark.parametrize("shift", [0.0, 0.1, 2.0])
def test_the_largest_gap_is_found_wherever_it_lies(digits, shift):
    """Against both distribution functions at every value, on more rows than are looked up at first."""
    rng = np.random.default_rng([digits, round(10 * shift)])
    a = np.round(rng.standard_normal(1500) * rng.choice([1, 3]), digits)
    b = np.round(rng.standard_normal(900) + shift, digits)
    for weight in (np.ones(1500), rng.integers(0, 3, 1500) * rng.random(1500)):
        points = np.unique(np.concatenate([a, b]))
        share = np.array([weight[a <= t].sum() for t in points]) / weight.sum()
        other = np.array([np.mean(b <= t) for t in points])
        found, _ = kolmogorov_smirnov(a, b, sample_weight=weight)
        assert found == pytest.approx(np.abs(share - other).max(), abs=1e-13)
