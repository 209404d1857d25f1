"""Columns in bins: the order and the gaps stay, categories and columns of few values are left alone."""

from __future__ import annotations

import numpy as np

from steelyard.numerics.binning import MOST_BINS, Bins


def test_binned_numbers_keep_their_order_and_gaps() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.standard_cauchy(2000), rng.integers(0, 900, 2000), rng.integers(0, 200, 2000) / 7]
    )
    X[:5, 0] = np.nan
    categorical = np.array([False, True, False])
    binned = Bins.of(X, categorical)(X)
    assert np.array_equal(np.isnan(binned), np.isnan(X)) and np.array_equal(binned[:, 1:], X[:, 1:])
    order = np.argsort(X[5:, 0])
    assert (np.diff(binned[5:, 0][order]) >= 0).all()
    assert 250 <= np.unique(binned[5:, 0]).size <= MOST_BINS


def test_further_rows_get_the_codes_of_the_rows_that_were_measured() -> None:
    rng = np.random.default_rng(1)
    X = rng.exponential(size=(3000, 1))
    bins = Bins.of(X, np.array([False]))
    new = np.array([[-1e9], [1e9], [np.nan], [-0.0], [X[7, 0]]])
    codes = bins(new)[:, 0]
    assert codes[0] == codes[3] == 0 and codes[1] == bins(X).max() and np.isnan(codes[2])
    assert codes[4] == bins(X)[7, 0]
