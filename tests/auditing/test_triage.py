"""Triage: planted oddities are found, clean columns stay silent, and summaries merge exactly."""

from __future__ import annotations

from functools import reduce

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.auditing.reading.copies import RowCopies
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.triage import judge_column
from tests.auditing.told import copied

RNG = np.random.default_rng(0)


def numbers(values) -> ColumnProfile:
    return ColumnProfile("number").update(pl.Series(np.asarray(values, dtype=float)))


def texts(values) -> ColumnProfile:
    return ColumnProfile("category").update(pl.Series(list(values), dtype=pl.String))


def judge(train, live, kind="number", name="v"):
    make = texts if kind == "category" else numbers
    return judge_column(name, make(train), make(live), kind=kind)


def ids(verdict) -> list[str]:
    return [finding.id for finding in verdict.findings]


# The summary ------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(-999.0)),
        max_size=60,
    ),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_merging_is_associative_and_equals_one_pass(values, i, j):
    i, j = sorted((min(i, len(values)), min(j, len(values))))
    series = pl.Series(values, dtype=pl.Float64)
    a, b, c = (
        ColumnProfile("number", stream).update(part)
        for stream, part in enumerate((series[:i], series[i:j], series[j:]))
    )
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    once = ColumnProfile("number").update(series)
    for other in (right, once):
        for name in (
            "rows",
            "missing",
            "infinite",
            "low",
            "high",
            "core_low",
            "core_high",
            "sentinels",
            "values",
        ):
            assert getattr(left, name) == getattr(other, name), name
        for name in ("first", "last", "rising", "falling", "whole", "distinct"):
            assert getattr(left, name) == getattr(other, name), name
        # Rounding of a sum of up to 60 values below 1e6.
        assert left.mean == pytest.approx(other.mean, abs=1e-8)
        assert left.std == pytest.approx(other.std, rel=1e-9, abs=1e-8)
        np.testing.assert_array_equal(left.quantiles([0, 0.3, 1]), other.quantiles([0, 0.3, 1]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.sampled_from("abcdé")), max_size=40),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_merging_texts(values, i, j):
    i, j = sorted((min(i, len(values)), min(j, len(values))))
    series = pl.Series(values, dtype=pl.String)
    a, b, c = (ColumnProfile("category").update(part) for part in (series[:i], series[i:j], series[j:]))
    one = ColumnProfile("category").update(series).to_dict()
    assert a.merge(b).merge(c).to_dict() == a.merge(b.merge(c)).to_dict() == one


def test_moments_and_quantiles_against_numpy():
    x = RNG.lognormal(size=20_000)
    profile = numbers(x[:7]).update(pl.Series(x[7:]))
    assert profile.mean == pytest.approx(x.mean(), rel=1e-12)
    assert profile.std == pytest.approx(x.std(), rel=1e-12)
    levels = np.linspace(0.05, 0.95, 10)
    ranks = np.searchsorted(np.sort(x), profile.quantiles(levels)) / len(x)
    # A rank of a sample of 4,096: standard error at most 0.5 / 64; four of them.
    np.testing.assert_allclose(ranks, levels, atol=4 * 0.5 / 64)


def test_large_columns_keep_bounded_exact_counts_however_they_are_cut():
    values = pl.Series([f"key {i % 30_000}" for i in range(90_000)])
    whole = ColumnProfile("category").update(values)
    cut = [
        ColumnProfile("category").update(values.slice(s, n))
        for s, n in ((0, 10), (10, 50_000), (50_010, 50_000))
    ]
    merged = cut[0].merge(cut[1].merge(cut[2]))
    assert merged.values == whole.values
    assert set(whole.values.values()) == {3}
    # The k-th smallest hash has a relative error of 1/sqrt(k); four of them.
    assert whole.distinct == pytest.approx(30_000, rel=4 / np.sqrt(4096))


def test_large_samples_merge_exactly():
    x = pl.Series(RNG.normal(size=30_000))
    a, b, c = (ColumnProfile("number", k).update(x.slice(k * 10_000, 10_000)) for k in range(3))
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    np.testing.assert_array_equal(left.quantiles([0.1, 0.5]), right.quantiles([0.1, 0.5]))
    assert left.distinct == right.distinct


def test_profiles_of_different_kinds_do_not_merge():
    with pytest.raises(ValueError, match="category"):
        numbers([1]).merge(texts(["a"]))


# Clean columns -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "live"),
    [
        (RNG.normal(size=2000), RNG.normal(0.3, 1.2, size=2000)),
        (RNG.lognormal(size=2000), RNG.lognormal(0.2, 1.1, size=2000)),
        (RNG.integers(0, 90, 2000), RNG.integers(10, 80, 2000)),
        (RNG.poisson(1, 2000), RNG.poisson(1.5, 2000)),
        (np.repeat([0, 1], 1000), RNG.integers(0, 2, 2000)),
        # Unique whole numbers in no order, with a plain name: measurements, not an identifier.
        (RNG.permutation(2000), RNG.permutation(2000)),
    ],
)
def test_ordinary_shift_is_not_an_oddity(train, live):
    assert judge(train, live).findings == ()


def test_false_alarms_are_rare_under_strong_drift():
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scale, offset = rng.uniform(0.7, 1.4), rng.uniform(-0.5, 0.5)
        shape = rng.gamma if seed % 2 else rng.weibull
        found += len(judge(shape(2.0, size=300), offset + scale * shape(2.0, size=300)).findings)
    # Scaled by up to 1.4 and moved besides, a column now and then looks like miles in kilometres: 1%.
    assert found <= 2


# Planted oddities ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "offset", "said"),
    [
        (1000, 0, "times 1000"),
        (0.01, 0, "times 0.01"),
        (2.54, 0, "centimetres"),
        (0.4536, 0, "kilograms"),
        (1 / 0.4536, 0, "pounds"),
        (0.3048, 0, "metres"),
        (1.609, 0, "kilometres"),
        (12, 0, "months"),
        (60, 0, "seconds"),
    ],
)
def test_change_of_unit(factor, offset, said):
    verdict = judge(RNG.normal(170, 25, 1500), factor * RNG.normal(170, 25, 1500) + offset)
    assert ids(verdict)[0] == "unit-change"
    assert said in verdict.findings[0].text
    assert not verdict.dropped


def test_temperatures_and_signs():
    celsius = RNG.normal(12, 8, 1500)
    assert ids(judge(RNG.normal(size=1500), 1000 * RNG.normal(size=1500))) == ["unit-change"]
    verdict = judge(celsius, 1.8 * RNG.normal(12, 8, 1500) + 32)
    assert ids(verdict) == ["unit-change"]
    assert "Fahrenheit" in verdict.findings[0].text
    assert ids(judge(RNG.lognormal(size=1500), -RNG.lognormal(size=1500))) == ["sign-flip"]


def test_sentinels_on_one_side_only():
    age = RNG.integers(18, 90, 1000)
    live = np.where(RNG.random(1000) < 0.02, 999, age)
    assert "sentinel-value" in ids(judge(age, live))
    assert "LIVE alone" in judge(age, live).findings[0].text
    assert "TRAIN alone" in judge(live, age).findings[0].text
    assert judge(live, live).findings == ()
    # 999 within the range of incomes is an income.
    income = RNG.integers(0, 50_000, 1000)
    assert judge(income, np.where(RNG.random(1000) < 0.02, 999, income)).findings == ()


def test_recoded_and_misspelt_and_new_categories():
    train = RNG.choice(["male", "female"], 1000, p=[0.4, 0.6])
    live = RNG.choice(["M", "F"], 1000, p=[0.42, 0.58])
    assert ids(judge(train, live, "category")) == ["recoded-category"]
    assert ids(judge(train, [t.upper() + " " for t in train], "category")) == ["category-spelling"]
    some = np.where(RNG.random(1000) < 0.1, "other", train)
    verdict = judge(train, some, "category")
    assert ids(verdict) == ["new-category"]
    assert verdict.findings[0].severity == "warning"
    share = (some == "other").mean()
    assert f"{share:.1%}" in verdict.findings[0].text
    few = np.array(train, dtype=object)
    few[:3] = "other"
    assert judge(train, few, "category").findings[0].severity == "info"
    assert judge(train, train[:500], "category").findings == ()


def test_codes_that_moved_by_one():
    p = [0.2, 0.5, 0.3]
    verdict = judge(RNG.choice([1, 2, 3], 1000, p=p), RNG.choice([0, 1, 2], 1000, p=p))
    assert ids(verdict) == ["recoded-category"]
    assert "1 to 3 in TRAIN and 0 to 2 in LIVE" in verdict.findings[0].text


def test_missing_rate_jump_needs_size_and_certainty():
    x = RNG.normal(size=1000)
    with_gaps = np.where(RNG.random(1000) < 0.2, np.nan, x)
    assert ids(judge(x, with_gaps)) == ["missing-jump"]
    assert ids(judge(with_gaps, x)) == ["missing-jump"]
    assert judge(x, np.where(np.arange(1000) < 30, np.nan, x)).findings == ()
    assert judge(x[:50], np.where(np.arange(50) < 4, np.nan, x[:50])).findings == ()


@pytest.mark.parametrize(
    ("train", "live", "kind", "name", "id_"),
    [
        ([3.0] * 100, [3.0] * 100, "number", "v", "constant-column"),
        (["a"] * 100, ["b"] * 100, "category", "v", "constant-column"),
        ([np.nan] * 100, [1.0] * 100, "number", "v", "empty-column"),
        (range(100), range(100, 200), "number", "v", "identifier"),
        (RNG.permutation(100), RNG.permutation(100), "number", "customer_id", "identifier"),
        (RNG.permutation(100), RNG.permutation(100), "number", "userID", "identifier"),
        (
            [f"k{i:04d}" for i in range(100)],
            [f"k{i:04d}" for i in range(100, 200)],
            "category",
            "v",
            "identifier",
        ),
        ([f"text {i * 37 % 100}" for i in range(100)], ["text"] * 100, "category", "v", "free-text"),
        (np.arange(100) % 2 + 2015, np.arange(100) % 3 + 2017, "number", "year", "period-marker"),
        (np.arange(100) % 20, np.arange(100) % 20 + 30, "date", "v", "period-marker"),
    ],
)
def test_columns_that_are_left_out(train, live, kind, name, id_):
    verdict = judge(train, live, kind, name)
    assert verdict.dropped
    assert ids(verdict) == [id_]
    assert f"'{name}'" in verdict.findings[0].text


def test_a_constant_that_varies_in_live_is_a_warning():
    assert judge([1.0] * 100, [1.0] * 100).findings[0].severity == "info"
    verdict = judge([1.0] * 100, [1.0, 2.0] * 50)
    assert verdict.findings[0].severity == "warning"
    assert "50%" in verdict.findings[0].text


def test_ranges_apart_are_told_and_kept():
    verdict = judge(RNG.uniform(0, 1, 500), RNG.uniform(1.1, 1.4, 500) ** 2)
    assert ids(verdict) == ["disjoint-range"]
    assert not verdict.dropped


# Rows ----------------------------------------------------------------------------


def test_copies_within_and_between_tables():
    X, X_live = RNG.normal(size=(300, 3)), RNG.normal(size=(200, 3))
    X[5, 1] = np.nan
    assert copied(X, X_live) == []
    within = copied(np.vstack([X, X[:30]]), X_live)
    assert [f.id for f in within] == ["duplicate-rows"]
    assert within[0].text.startswith("30 rows of TRAIN")
    between = copied(X, np.vstack([X_live, X[:20]]))
    assert [f.id for f in between] == ["shared-rows"]
    assert between[0].text.startswith("20 rows of LIVE")


def test_coded_rows_coincide_without_fault():
    X = RNG.integers(0, 3, size=(300, 4)).astype(float)
    assert copied(X, X) == []


def test_same_row_with_another_target_is_no_copy():
    X = RNG.normal(size=(200, 2))
    X[160:] = X[:40]
    other = RNG.normal(size=(100, 2))
    assert len(copied(X, other, np.zeros(200))) == 1
    assert copied(X, other, (np.arange(200) >= 160).astype(float)) == []


def test_sketched_copies_are_those_of_all_rows_whatever_the_order():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 2))
    X[2_400:] = X[:600]
    live = np.vstack([rng.normal(size=(900, 2)), X[:100]])
    parts = [RowCopies.of(part, capacity=800) for part in np.array_split(X, 7)]
    forwards = reduce(lambda a, b: a.merge(b), parts)
    nested = parts[6].merge(parts[3]).merge(reduce(lambda a, b: b.merge(a), parts[:3] + parts[4:6]))
    assert forwards.to_dict() == nested.to_dict()
    assert RowCopies.from_dict(forwards.to_dict()).to_dict() == forwards.to_dict()
    # 600 of 3,000 rows are copies; a third of the distinct rows is kept, each counted wholly, so the
    # share's standard error is below sqrt(0.2 * 0.8 / 800) = 0.014.
    assert abs(forwards.copies - 0.2) < 3 * 0.014
    assert RowCopies.of(X, capacity=5_000).copies == pytest.approx(0.2)
    sketch = RowCopies.of(live, capacity=5_000)
    assert sketch.shared_with(RowCopies.of(X, capacity=5_000)) == pytest.approx(0.1)
    # Of LIVE's 1,000 rows about a third are compared: sqrt(0.1 * 0.9 / 300) = 0.017.
    assert abs(sketch.shared_with(forwards) - 0.1) < 3 * 0.017
