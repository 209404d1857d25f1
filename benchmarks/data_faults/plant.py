"""Faults put into a split of a real table, each in several strengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

Pair = tuple[pl.DataFrame, pl.DataFrame]
Rng = np.random.Generator


@dataclass(frozen=True)
class Fault:
    """A fault: its name, its strength in words, the findings that tell of it, and how it is put in.

    ``put`` returns None where a table has no column that can carry it, else the tables
    and the columns of which one must be named.
    """

    name: str
    strength: str
    found_by: frozenset[str]
    put: Callable[[pl.DataFrame, pl.DataFrame, str, Rng], tuple[Pair, tuple[str, ...]] | None]


def _numbers(frame: pl.DataFrame, live: pl.DataFrame, *, distinct: int = 20) -> list[str]:
    """Return columns of numbers with that many values and few missing ones."""
    return [
        c.name
        for c in live
        if c.dtype.is_numeric()
        and frame[c.name].dtype.is_numeric()
        and c.n_unique() >= distinct
        and c.fill_nan(None).null_count() < 0.1 * c.len()
    ]


def _words(frame: pl.DataFrame, live: pl.DataFrame, least: int, most: int) -> list[str]:
    """Return text columns with so many values in both tables, each frequent enough to show."""
    out = []
    for c in live:
        values = c.drop_nulls()
        if c.dtype == pl.String and least <= values.n_unique() <= most:
            both = set(values) == set(frame[c.name].drop_nulls())
            counts = values.value_counts(name="rows of a value")["rows of a value"]
            if both and int(counts.min()) >= 10:  # type: ignore[arg-type]
                out.append(c.name)
    return out


def _drawn(names: list[str], rng: Rng, k: int = 1) -> list[str] | None:
    return None if len(names) < k else [names[i] for i in rng.choice(len(names), k, replace=False)]


def leak(noise: float) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Return a copy of the target under other names, wrong in a share of the rows.

    Of a number: with noise of that share of its spread.
    """

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        y = train[target]
        if y.dtype.is_numeric() and y.n_unique() > 10:
            values = y.cast(pl.Float64).to_numpy()
            leaked = pl.Series("leaked", values + rng.normal(0, max(noise, 1e-9) * np.nanstd(values), len(y)))
            there = pl.Series("leaked", rng.choice(leaked.to_numpy(), live.height))
        else:
            codes = y.cast(pl.String).rank("dense").to_numpy().astype(int)
            n = codes.max()
            wrong = rng.random(len(codes)) < noise
            codes = np.where(wrong, rng.integers(1, n + 1, len(codes)), codes)
            # Two codes a class, as codes of decisions have it.
            texts = [f"{'KXQZVWRTPL'[c % 10]}{int(u)}" for c, u in zip(codes, rng.integers(1, 3, len(codes)))]
            leaked = pl.Series("leaked", texts)
            there = pl.Series("leaked", rng.choice(np.array(texts), live.height))
        return (train.with_columns(leaked), live.with_columns(there)), ("leaked",)

    return put


def filled(share: float, value: float | str) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Put one value into a share of LIVE's rows of a column of numbers."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        chosen = _drawn(_numbers(train, live), rng)
        if chosen is None:
            return None
        x = live[chosen[0]].cast(pl.Float64).to_numpy().copy()
        hidden = rng.random(len(x)) < share
        # Who fills in a mean takes that of the values that are known.
        x[hidden] = float(np.nanmean(x[~hidden])) if value == "mean" else float(value)
        return (train, live.with_columns(pl.Series(chosen[0], x))), tuple(chosen)

    return put


def exchanged(kind: str) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Exchange two columns of LIVE."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        names = _numbers(train, live) if kind == "numbers" else _words(train, live, 2, 20)
        chosen = _drawn(names, rng, 2)
        if chosen is None:
            return None
        a, b = chosen
        return (train, live.with_columns(live[a].alias(b), live[b].alias(a))), (a, b)

    return put


def relabelled(least: int, most: int) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Exchange the two most frequent values of a column of LIVE."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        chosen = _drawn(_words(train, live, least, most), rng)
        if chosen is None:
            return None
        first, second = live[chosen[0]].drop_nulls().value_counts(sort=True, name="rows")[chosen[0]][:2]
        return (
            train,
            live.with_columns(live[chosen[0]].replace({first: second, second: first})),
        ), tuple(chosen)

    return put


def turned(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
    """Turn a column of numbers round within its range."""
    chosen = _drawn(_numbers(train, live), rng)
    if chosen is None:
        return None
    x = live[chosen[0]].cast(pl.Float64).fill_nan(None)
    return (train, live.with_columns((float(x.max()) + float(x.min()) - x).alias(chosen[0]))), tuple(chosen)


def prepared(how: str) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Standardise or log a column of LIVE."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        positive = [n for n in _numbers(train, live) if float(live[n].min()) > 0]  # type: ignore[arg-type]
        chosen = _drawn(positive if how == "log" else _numbers(train, live), rng)
        if chosen is None:
            return None
        x = live[chosen[0]].cast(pl.Float64).to_numpy()
        made = np.log(x) if how == "log" else (x - np.nanmean(x)) / max(float(np.nanstd(x)), 1e-12)
        return (train, live.with_columns(pl.Series(chosen[0], made))), tuple(chosen)

    return put


def scaled(share: float, factor: float) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Multiply a share of LIVE's rows of a positive column."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        names = [n for n in _numbers(train, live) if (live[n].fill_nan(None).drop_nulls() > 0).mean() > 0.9]
        chosen = _drawn(names, rng)
        if chosen is None:
            return None
        x = live[chosen[0]].cast(pl.Float64).to_numpy().copy()
        x[rng.random(len(x)) < share] *= factor
        return (train, live.with_columns(pl.Series(chosen[0], x))), tuple(chosen)

    return put


def broken_sum(share: float) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Add the sum of two columns to both tables, off by a tenth of its spread in a share of LIVE's rows."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        chosen = _drawn([n for n in _numbers(train, live) if n != target], rng, 2)
        if chosen is None:
            return None
        total = [
            frame[chosen[0]].cast(pl.Float64) + frame[chosen[1]].cast(pl.Float64) for frame in (train, live)
        ]
        x = total[1].to_numpy().copy()
        step = 0.1 * float(np.nanstd(x))
        x[rng.random(len(x)) < share] += step
        pair = train.with_columns(total[0].alias("total")), live.with_columns(pl.Series("total", x))
        return pair, ("total", *chosen)

    return put


def broken_name(share: float) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Add a name for each value of a coded column; a share of LIVE's rows gets another's."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        chosen = _drawn([n for n in _words(train, live, 3, 20) if n != target], rng)
        if chosen is None:
            return None
        values = sorted(set(live[chosen[0]].drop_nulls()))
        names = {v: f"name {k // 2}" for k, v in enumerate(values)}
        named = [frame[chosen[0]].replace(names) for frame in (train, live)]
        there = named[1].to_numpy().copy()
        wrong = rng.random(len(there)) < share
        there[wrong] = rng.choice(sorted(set(names.values())), int(wrong.sum()))
        pair = train.with_columns(named[0].alias("named")), live.with_columns(pl.Series("named", there))
        return pair, ("named", *chosen)

    return put


def shared(share: float) -> Callable[..., tuple[Pair, tuple[str, ...]] | None]:
    """Replace a share of LIVE's rows by rows of TRAIN."""

    def put(train: pl.DataFrame, live: pl.DataFrame, target: str, rng: Rng):
        n = max(round(share * live.height), 1)
        rows = train.select(live.columns)[rng.choice(train.height, n, replace=n > train.height)]
        return (train, pl.concat([rows, live[n:]])), ()

    return put


def _of(name: str, found_by: str, *strengths: tuple[str, Callable[..., object]]) -> list[Fault]:
    return [Fault(name, words, frozenset(found_by.split()), put) for words, put in strengths]  # type: ignore[arg-type]


FAULTS = (
    *_of(
        "a column gives the target away",
        "target-leak",
        *((f"{noise:.0%} noise", leak(noise)) for noise in (0.0, 0.02, 0.05, 0.1)),
    ),
    *_of(
        "-999 for missing",
        "filled-in sentinel-value",
        *((f"{share:.0%} of LIVE", filled(share, -999)) for share in (0.4, 0.1, 0.03)),
    ),
    *_of(
        "0 for missing",
        "filled-in",
        *((f"{share:.0%} of LIVE", filled(share, 0)) for share in (0.4, 0.1)),
    ),
    *_of(
        "the mean for missing",
        "filled-in",
        *((f"{share:.0%} of LIVE", filled(share, "mean")) for share in (0.4, 0.1)),
    ),
    *_of(
        "two columns exchanged",
        "exchanged-columns recoded-category",
        ("numbers", exchanged("numbers")),
        ("categories", exchanged("categories")),
    ),
    *_of(
        "two values exchanged",
        "exchanged-values",
        ("of two", relabelled(2, 2)),
        ("of three to twenty", relabelled(3, 20)),
    ),
    *_of("a number runs the other way", "reversed-column sign-flip", ("all of LIVE", turned)),
    *_of(
        "another unit",
        "unit-change mixed-units",
        ("all of LIVE, times 1,000", scaled(1.1, 1000.0)),
        *((f"{share:.0%} of LIVE, times 1,000", scaled(share, 1000.0)) for share in (0.3, 0.05)),
        ("30% of LIVE, times 10", scaled(0.3, 10.0)),
    ),
    *_of(
        "scaled in one table",
        "rescaled-column",
        ("standardised in LIVE", prepared("standard")),
        ("logged in LIVE", prepared("log")),
    ),
    *_of(
        "a sum is off",
        "broken-relation",
        *((f"{share:.0%} of LIVE", broken_sum(share)) for share in (1.0, 0.1, 0.03)),
    ),
    *_of(
        "a code has another name",
        "broken-relation",
        *((f"{share:.0%} of LIVE", broken_name(share)) for share in (1.0, 0.1, 0.03)),
    ),
    *_of(
        "rows of TRAIN in LIVE",
        "shared-rows",
        *((f"{share:.0%} of LIVE", shared(share)) for share in (1.0, 0.3, 0.05)),
    ),
)
