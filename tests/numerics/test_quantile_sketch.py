"""The sketch's sample against the laws of sampling."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from steelyard.errors import InputError
from steelyard.numerics import QuantileSketch, weighted_quantile

LEVELS = np.array([0.01, 0.1, 0.5, 0.9, 0.99])


def test_few_rows_are_exact():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=300), rng.integers(0, 4, 300).astype(float)
    x[:20] = np.nan
    sketch = QuantileSketch.of(x[:100], w[:100]).merge(QuantileSketch.of(x[100:], w[100:], start=100))
    expected = weighted_quantile(x[20:], LEVELS, sample_weight=w[20:])
    np.testing.assert_array_equal(sketch.quantile(LEVELS), expected)
    assert sketch.complete and sketch.rank_error() == 0 and sketch.missing == w[:20].sum()
    assert sketch.effective_rows == pytest.approx(w[20:].sum() ** 2 / (w[20:] @ w[20:]))


def test_the_sample_does_not_depend_on_the_cuts():
    x = np.random.default_rng(1).normal(size=20_000)
    whole = QuantileSketch.of(x, capacity=100)
    cuts = [0, 5, 9000, 9001, 20_000]
    parts = [QuantileSketch.of(x[i:j], capacity=100, start=i) for i, j in pairwise(cuts)]
    merged = parts[3].merge(parts[0]).merge(parts[2].merge(parts[1]))
    assert merged == whole and len(whole.values) == 100


def test_the_rank_error_holds_as_often_as_it_says():
    """Over streams (each a hash of its own) the rank is within the bound at least 95% of the time."""
    n, repeats = 3000, 300
    x = np.random.default_rng(2).permutation(n).astype(float)
    sketches = [QuantileSketch.of(x, capacity=400, stream=s) for s in range(repeats)]
    ranks = np.array([(s.quantile(LEVELS) + 1) / n for s in sketches])
    # A quantile of a step function of 400 values is off by up to one step on top.
    inside = np.abs(ranks - LEVELS) <= sketches[0].rank_error() + 1 / 400
    assert (inside.mean(axis=0) >= 0.95).all()
    # A share of a simple random sample has variance q (1 - q) / k (1 - k / n); so have the median's ranks.
    expected = np.sqrt(0.25 / 400 * (1 - 400 / n))
    assert ranks[:, 2].std() == pytest.approx(expected, rel=4 / np.sqrt(2 * repeats))
    assert ranks[:, 2].mean() == pytest.approx(0.5, abs=4 * expected / np.sqrt(repeats) + 1 / 400)


def test_weighted_quantiles_are_without_bias():
    rng = np.random.default_rng(3)
    x = rng.normal(size=4000)
    w = np.exp(x)  # under these weights the law is N(1, 1)
    errors = []
    for stream in range(200):
        sketch = QuantileSketch.of(x, w, capacity=300, stream=stream)
        mass = sketch.masses
        errors.append(
            [mass.sum() / w.sum() - 1, mass[sketch.values < 1].sum() / w.sum() - w[x < 1].sum() / w.sum()]
        )
        median = sketch.quantile(0.5)
        assert abs(w[x <= median].sum() / w.sum() - 0.5) < 3 * sketch.rank_error()
    mean, error = np.mean(errors, axis=0), np.std(errors, axis=0) / np.sqrt(200)
    assert (np.abs(mean) < 4 * error).all()


def test_different_streams_give_different_samples_of_equal_laws():
    x = np.arange(1000.0)
    a, b = (QuantileSketch.of(x, capacity=50, stream=s) for s in (0, 1))
    # Of 50 values of 1000, two draws share 2.5 on average.
    assert len(np.intersect1d(a.values, b.values)) < 10
    assert a.merge(b).rows == 2000


def test_merging_keeps_the_smaller_capacity():
    x = np.arange(100.0)
    merged = QuantileSketch.of(x, capacity=30).merge(QuantileSketch.of(x, capacity=10, stream=1))
    assert (merged.capacity, len(merged.values), merged.complete) == (10, 10, False)


def test_no_values_and_faults():
    empty = QuantileSketch.of([np.nan, np.nan])
    assert np.isnan(empty.quantile(LEVELS)).all() and empty.effective_rows == 0 and empty.missing == 2
    for bad in (lambda: QuantileSketch.of([[1.0]]), lambda: QuantileSketch.of([1.0], capacity=0)):
        with pytest.raises(InputError):
            bad()
