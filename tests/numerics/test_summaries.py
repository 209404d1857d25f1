"""Every summary merges like the rows it stands for, and finishes as the whole table would."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steelyard.errors import InconclusiveError, InputError
from steelyard.numerics import (
    CategoryCounts,
    Moments,
    QuantileSketch,
    ScoreTable,
    TopWeights,
    WeightSums,
    effective_sample_size,
    merge_keyed,
)

EDGES = [0.25, 0.5, 0.75]

# Each summarises rows of three numbers in [0, 1]: a value (or NaN), an outcome, a weight.
MAKERS = {
    "moments": lambda r, start: Moments.of(np.column_stack([r[:, 0], 1e12 + 3 * r[:, 0]]), r[:, 2]),
    "plain moments": lambda r, start: Moments.of(r),
    "counts": lambda r, start: CategoryCounts.of(np.floor(4 * r[:, :2]), r[:, 2]),
    "weights": lambda r, start: WeightSums.of(2000 * np.nan_to_num(r[:, 0]) - 1000),
    "zero weights": lambda r, start: WeightSums.of(np.where(r[:, 1] > 0.5, -np.inf, r[:, 1])),
    "top": lambda r, start: TopWeights.of(np.nan_to_num(r[:, 0]), capacity=5),
    "scores": lambda r, start: ScoreTable.of(np.nan_to_num(r[:, 0]), r[:, 1], r[:, 2]),
    "bins": lambda r, start: ScoreTable.of(np.nan_to_num(r[:, 0]), r[:, 1], r[:, 2], edges=EDGES),
    "sketch": lambda r, start: QuantileSketch.of(r[:, 0], r[:, 2], capacity=6, start=start),
}
unit = st.one_of(st.sampled_from([0.0, 0.25, 1.0]), st.floats(0, 1))
rows_of = st.lists(st.tuples(st.one_of(st.just(np.nan), unit), unit, unit), max_size=24).map(
    lambda rows: np.array(rows, dtype=float).reshape(-1, 3)
)
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def assert_close(a, b):
    """Fields agree to the rounding of sums of a few dozen terms, at levels near 1 and near 1e12 alike."""
    for (name, x), (_, y) in zip(a.to_dict().items(), b.to_dict().items(), strict=True):
        if name in ("mean", "mean_rest"):
            continue
        if name == "counts":
            assert len(x) == len(y)
            for p, q in zip(x, y):
                np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-12)
        elif x is None or y is None:
            assert x is y
        else:
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11, err_msg=name)
    if isinstance(a, Moments):
        # The level cancels: means near 1e12 agree to far less than the 1e-4 that one float holds there.
        held = (a.weight > 0) & (b.weight > 0)
        np.testing.assert_allclose(np.where(held, a.gap(b), 0), 0, atol=1e-11)


@every
@settings(max_examples=40, deadline=None)
@given(rows=rows_of, i=st.integers(0, 24), j=st.integers(0, 24))
def test_merging_parts_is_summarising_the_whole(make, rows, i, j):
    i, j = sorted((min(i, len(rows)), min(j, len(rows))))
    a, b, c = (make(part, start) for part, start in ((rows[:i], 0), (rows[i:j], i), (rows[j:], j)))
    whole = make(rows, 0)
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert_close(merged, whole)
    assert_close(a.merge(b), b.merge(a))


@every
@settings(max_examples=25, deadline=None)
@given(rows=rows_of)
def test_no_rows_are_the_identity_and_plain_values_lose_nothing(make, rows):
    summary, empty = make(rows, 0), make(rows[:0], 0)
    assert summary.merge(empty) == summary == empty.merge(summary)
    back = type(summary).from_dict(json.loads(json.dumps(summary.to_dict(), allow_nan=False)))
    assert back == summary
    assert type(empty).from_dict(empty.to_dict()) == empty
    assert pickle.loads(pickle.dumps(summary)) == summary


@every
def test_foreign_and_damaged_values_are_refused(make):
    plain = make(np.full((3, 3), 0.5), 0).to_dict()
    kind = type(make(np.full((3, 3), 0.5), 0))
    for name in plain:
        lacking = {key: value for key, value in plain.items() if key != name}
        with pytest.raises(InputError, match="needs"):
            kind.from_dict(lacking)
        for wrong in ("no number", float("nan"), [float("inf")]):
            with pytest.raises(InputError, match="damaged"):
                kind.from_dict(plain | {name: wrong})
    with pytest.raises(InputError):
        kind.from_dict([1, 2])
    assert make(np.full((3, 3), 0.5), 0) != 5


@pytest.mark.parametrize("name", ["moments", "counts", "scores", "bins", "sketch"])
def test_a_list_too_short_is_refused(name):
    whole = MAKERS[name](np.random.default_rng(0).uniform(size=(9, 3)), 0)
    plain = whole.to_dict()
    last = [key for key, value in plain.items() if isinstance(value, list)][-1]
    with pytest.raises(InputError):
        type(whole).from_dict(plain | {last: plain[last][:-1]})


# Moments ----------------------------------------------------------------------


def test_moments_against_numpy_with_weights_and_gaps():
    rng = np.random.default_rng(0)
    X, w = rng.lognormal(size=(500, 3)), rng.exponential(size=500)
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    parts = [Moments.of(X[i:j], w[i:j]) for i, j in pairwise([0, 1, 1, 7, 300, 500])]
    found = parts[0].merge(parts[1]).merge(parts[2].merge(parts[3])).merge(parts[4])
    for j in range(3):
        keep = ~np.isnan(X[:, j])
        mean = np.average(X[keep, j], weights=w[keep])
        assert found.means[j] == pytest.approx(mean, rel=1e-13)
        variance = np.average((X[keep, j] - mean) ** 2, weights=w[keep])
        assert found.variances[j] == pytest.approx(variance, rel=1e-12)
        assert found.count[j] == keep.sum()


def test_integer_weights_are_repeated_rows():
    rng = np.random.default_rng(1)
    X, times = rng.normal(size=(40, 2)), rng.integers(0, 4, 40)
    repeated = Moments.of(np.repeat(X, times, axis=0))
    weighted = Moments.of(X, times)
    np.testing.assert_allclose(weighted.means, repeated.means, rtol=1e-12)
    np.testing.assert_allclose(weighted.variances, repeated.variances, rtol=1e-12)


@pytest.mark.parametrize("offset", [1e12, -1e15])
def test_moments_survive_large_levels(offset):
    # Values on a grid of eighths are exact at 1e15 too.
    rng = np.random.default_rng(2)
    x = np.round(8 * rng.normal(size=4000)) / 8
    a, b = (
        Moments.of(x[:1000] + offset),
        Moments.of(x[1000:2000] + offset).merge(Moments.of(x[2000:] + offset)),
    )
    assert a.merge(b).variances[0] == pytest.approx(x.var(), rel=1e-12)
    # A float near 1e12 resolves 1e-4, near 1e15 0.1; the difference of the means is exact to rounding.
    assert a.gap(b)[0] == pytest.approx(x[1000:].mean() - x[:1000].mean(), abs=1e-13)


@pytest.mark.parametrize("value", [0.1, 1e12 + 0.3, -7.0])
def test_a_constant_has_no_variance_however_it_is_cut(value):
    parts = [Moments.of(np.full(n, value), np.linspace(0.1, 2, n)) for n in (3, 1, 40)]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.m2.tolist() == [0.0] and merged.means.tolist() == [value]


def test_an_outlier_in_first_place_does_not_spoil_the_rest():
    x = np.concatenate([[1e12], np.random.default_rng(3).normal(size=999)])
    found = Moments.of(x, np.append(0.0, np.ones(999)))
    assert found.variances[0] == pytest.approx(x[1:].var(), rel=1e-12)
    assert Moments.of(x).means[0] == pytest.approx(x.mean(), rel=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    arrays(float, st.integers(1, 8), elements=st.floats(allow_nan=True, allow_infinity=False)),
    st.integers(0, 8),
)
def test_moments_of_any_floats_stay_numbers(x, cut):
    merged = Moments.of(x[:cut]).merge(Moments.of(x[cut:]))
    for part in (merged.mean, merged.mean_rest, merged.m2, merged.weight):
        assert np.isfinite(part).all()
    assert np.isnan(merged.means[0]) == np.isnan(x).all()


def test_moments_of_nothing_and_faults():
    empty = Moments.of(np.full((4, 2), np.nan))
    assert np.isnan(empty.means).all() and np.isnan(empty.variances).all()
    np.testing.assert_array_equal(empty.standardised_difference(Moments.of(np.ones((3, 2)))), 0)
    for bad in (
        lambda: Moments.of([1.0, np.inf]),
        lambda: Moments.of([1.0], [-1.0]),
        lambda: Moments.of([[[1]]]),
    ):
        with pytest.raises(InputError):
            bad()
    with pytest.raises(InputError, match="columns"):
        empty.merge(Moments.of([1.0]))


# Counts -----------------------------------------------------------------------


def test_counts_and_shares_by_hand():
    a = CategoryCounts.of([[0, 1], [2, np.nan], [2, 1]], [1.0, 2.0, 3.0])
    assert a.counts[0].tolist() == [1.0, 0.0, 5.0] and a.missing.tolist() == [0.0, 2.0]
    assert a.shares(1).tolist() == pytest.approx([0, 4 / 6, 2 / 6])
    assert a.shares(1, missing=False).tolist() == [0, 1]
    assert a.effective_rows == pytest.approx(effective_sample_size([1.0, 2.0, 3.0]))
    b = CategoryCounts.of([[0, 0], [4, 1]])
    # Shares 1/6, 0, 5/6, 0, 0 beside 1/2, 0, 0, 0, 1/2; then 0, 2/3, 1/3 missing beside 1/2, 1/2, 0.
    assert a.total_variation(b).tolist() == pytest.approx([5 / 6, 1 / 2])
    with pytest.raises(InputError, match="whole"):
        CategoryCounts.of([0.5])
    with pytest.raises(InputError, match="whole"):
        CategoryCounts.of([-1.0])
    with pytest.raises(InputError, match="columns"):
        a.merge(CategoryCounts.of([1]))
    assert np.isnan(CategoryCounts.of([]).shares(0)).all() and CategoryCounts.of([]).effective_rows == 0


# Weights ----------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1000.0, -1000.0])
def test_weight_sums_against_plain_weights(level):
    log_w = np.random.default_rng(4).normal(size=300)
    sums = WeightSums.of(log_w[:1] + level).merge(WeightSums.of(log_w[1:] + level))
    w = np.exp(log_w)
    assert sums.effective_rows == pytest.approx(effective_sample_size(w), rel=1e-10)
    assert sums.largest_share == pytest.approx(w.max() / w.sum(), rel=1e-10)
    assert sums.log_mean == pytest.approx(np.log(w.mean()) + level, abs=1e-10)


def test_weights_of_zero_count_as_rows_only():
    sums = WeightSums.of([-np.inf, 0.0, -np.inf])
    assert (sums.rows, sums.effective_rows, sums.largest_share) == (3, 1.0, 1.0)
    none = WeightSums.of([-np.inf])
    assert none.effective_rows is None and none.largest_share is None and none.log_mean is None
    with pytest.raises(InputError, match="infinite"):
        WeightSums.of([np.inf])
    with pytest.raises(InputError, match="NaN"):
        WeightSums.of([np.nan])


def test_the_largest_weights_are_kept_and_too_few_are_told():
    log_w = np.random.default_rng(5).normal(size=1000)
    top = TopWeights.of(log_w[:3], capacity=50).merge(TopWeights.of(log_w[3:], capacity=70))
    np.testing.assert_array_equal(top.largest(50), np.sort(log_w)[::-1][:50])
    with pytest.raises(InconclusiveError, match="capacity=51"):
        top.largest(51)
    with pytest.raises(InputError, match="of 1000 rows"):
        top.largest(1001)
    zeros = TopWeights.of([-np.inf, 2.0, -np.inf])
    assert zeros.largest(3).tolist() == [2.0, -np.inf, -np.inf]
    with pytest.raises(InputError):
        TopWeights.of([1.0], capacity=0)


def test_named_summaries_merge_by_name():
    a, b = {"mon": WeightSums.of([0.0])}, {"mon": WeightSums.of([1.0]), "tue": WeightSums.of([2.0])}
    merged = merge_keyed(a, b)
    assert {key: part.rows for key, part in merged.items()} == {"mon": 2, "tue": 1}
    assert a["mon"].rows == 1
