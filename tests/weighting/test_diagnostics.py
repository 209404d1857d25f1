"""Balance by hand, and holes that were dug on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.datasets import make_gaussian_shift, make_shift
from steelyard.numerics import Moments
from steelyard.weighting import standardised_differences, uncovered_regions


def test_differences_by_hand():
    X = np.array([[0.0], [1.0], [5.0]])
    X_target = np.array([[2.0], [4.0]])
    # Variances 14/3 and 1; unweighted means 2 and 3; weighted mean (0 + 2 + 15) / 6.
    pooled = np.sqrt((14 / 3 + 1) / 2)
    assert standardised_differences(X, X_target)[0] == pytest.approx(1 / pooled)
    after = standardised_differences(X, X_target, weights=[1, 2, 3])[0]
    assert after == pytest.approx((3 - 17 / 6) / pooled)


def test_differences_of_categories_by_hand():
    a, b = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 2.0])
    found = standardised_differences(a[:, None], b[:, None], categorical=np.array([True]))[0]
    p, q = np.array([0.75, 0.25, 0.0]), np.array([0.25, 0.5, 0.25])
    variance = 0.5 * (p * (1 - p) + q * (1 - q))
    assert found == pytest.approx(np.sqrt(np.sum((p - q) ** 2) / variance.sum()))


def test_exact_weights_balance():
    s = make_gaussian_shift(n_source=8000, n_target=8000, shift=(0.6, -0.6), n_features=4, random_state=0)
    before = standardised_differences(s.X, s.X_target)
    after = standardised_differences(s.X, s.X_target, weights=np.exp(s.log_ratio))
    assert before[:2] == pytest.approx([0.6, -0.6], abs=4 * np.sqrt(2 / 8000))
    # Effective size 8000 / exp(0.72), beside 8000.
    assert np.abs(after).max() < 4 * np.sqrt(np.exp(0.72) / 8000 + 1 / 8000)


def test_differences_skip_what_is_missing_and_constant():
    X = np.array([[1.0, np.nan, 3.0], [1.0, np.nan, 5.0], [1.0, np.nan, np.nan]])
    X_target = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 6.0]])
    assert standardised_differences(X, X_target).tolist() == [0.0, 0.0, 1.0]
    assert standardised_differences(X + 1e9, X_target + 1e9)[2] == pytest.approx(1.0)


def test_a_planted_hole_is_found_and_named():
    s = make_shift("no_overlap", n_source=4000, n_target=4000, strength=1.0, random_state=0)
    regions = uncovered_regions(s.X, s.X_target, names=list("abcde"))
    assert regions
    # The source ends at 1 and the rest of the target begins at 1.5.
    assert any(condition.startswith("a >") for condition in regions[0].conditions)
    cut = float(next(c for c in regions[0].conditions if c.startswith("a >")).split(">")[1])
    assert 0.95 <= cut <= 1.55
    assert "a > " in str(regions[0])
    outside = s.truth["mass_outside"]
    # Shares are measured on half of the 4000 rows.
    found = sum(r.target_share for r in regions)
    assert found == pytest.approx(outside, abs=4 * np.sqrt(outside * (1 - outside) / 2000) + 0.01)
    assert max(r.source_share for r in regions) < 0.01


def test_holes_in_categories_and_missing_values_are_named():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(size=2000), rng.integers(0, 3, 2000)])
    X_target = np.column_stack([rng.normal(size=2000), rng.integers(0, 4, 2000)])
    texts = [None, ["red", "green", "blue", "grey"]]
    found = uncovered_regions(X, X_target, names=["size", "colour"], categories=texts)
    assert [str(r) for r in found] == ["colour is grey"]
    X_target[:, 1] = rng.integers(0, 3, 2000)
    X[:, 0], X_target[:, 0] = rng.integers(0, 9, 2000), rng.integers(0, 9, 2000)
    X_target[:300, 0] = np.nan
    found = uncovered_regions(X, X_target, names=["size", "colour"], categories=texts)
    assert [str(r) for r in found] == ["size is missing"]
    assert found[0].target_share == pytest.approx(0.15, abs=0.035)


def test_a_range_without_a_lower_end_says_that_missing_values_are_in_it():
    rng = np.random.default_rng(2)
    X, X_target = rng.uniform(0, 1, size=(2000, 1)), rng.uniform(0, 1, size=(2000, 1))
    X_target[:300] -= 2.0
    X_target[300:600] = np.nan
    (found,) = uncovered_regions(X, X_target, names=["size"])
    assert str(found).startswith("size <= ") and str(found).endswith(" or missing")
    assert found.target_share == pytest.approx(0.3, abs=0.045)


@pytest.mark.parametrize("seed", range(5))
def test_no_hole_is_found_where_there_is_none(seed):
    s = make_gaussian_shift(n_source=2000, n_target=2000, shift=(0.5,), n_features=4, random_state=seed)
    assert uncovered_regions(s.X, s.X_target, names=list("abcd")) == ()


def test_differences_of_merged_moments_are_those_of_the_tables():
    rng = np.random.default_rng(3)
    X, X_target, w = rng.normal(size=(200, 2)), rng.normal(size=(150, 2)), rng.exponential(size=200)
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    offset = 1e12
    exact = np.round(8 * np.vstack([X, X_target])) / 8  # eighths are exact near 1e12
    X, X_target = exact[:200], exact[200:]
    expected = standardised_differences(X, X_target, weights=w)

    def summed(values, weights=None):
        parts = [
            Moments.of(values[rows] + offset, None if weights is None else weights[rows]) for rows in cut
        ]
        return parts[0].merge(parts[1])

    cut = slice(0, 70), slice(70, None)
    found = summed(X).standardised_difference(summed(X_target), weighted=summed(X, w))
    np.testing.assert_allclose(found, expected, rtol=1e-11)
