"""Which of TRAIN's rows belong together: values of a column, or stretches of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.question import Question
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.texts import as_text
from steelyard.auditing.reading.windows import TimeEvidence, clock, time_form
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

LEAST_ROWS = 100
"""Rows of an environment from which its own figures say something."""

LEAST_TESTED = 3
"""Environments from which their spread says something."""

MOST_TESTED = 12
_BLOCKS = 8
# LIVE mostly lies a little farther off than the last stretch: it comes next.
_FAR = 1.5
# Blocks of the past that the first block to be tested is estimated from.
_FIRST = 2


@dataclass(frozen=True)
class Test:
    """One environment: its rows, the rows that it is estimated from, and how far apart in time they lie."""

    name: str
    rows: IntArray
    others: IntArray
    gap: float | None = None


@dataclass(frozen=True)
class Environments:
    """The environments of TRAIN that are put to the test, and how LIVE stands to them.

    ``gap`` is LIVE's distance in time, and ``share`` what is left of a move's variance
    where LIVE mixes several environments that TRAIN has not seen.
    """

    source: Literal["environments", "time"]
    column: str
    tests: tuple[Test, ...]
    gap: float | None = None
    share: float = 1.0
    findings: tuple[Finding, ...] = ()


def environment_faults(question: Question, columns: Sequence[str]) -> list[str]:
    """Say what is wrong with the column that was named."""
    name = question.environment
    if name is None:
        return []
    if name not in columns:
        shown = ", ".join(columns[:6]) + (f" and {len(columns) - 6} more" if len(columns) > 6 else "")
        return [f"environment column '{name}' is not a column of TRAIN ({shown}); check the name"]
    meant = {question.target: "target", question.prediction: "model's output"}
    meant |= dict.fromkeys(question.proba, "model's output")
    if name in meant:
        return [f"column '{name}' is the {meant[name]} and cannot be the environment as well"]
    return []


def environments_of(question: Question, tables: Tables, *, seed: int) -> Environments | None:
    """Return TRAIN's environments by the column that was named, or by time; None where neither is there."""
    train, live = tables.frame, tables.frame_live
    if question.environment is not None:
        return by_value(question.environment, train, live, rng=np.random.default_rng(seed))
    if question.time is not None and question.time in train.columns and question.time in live.columns:
        try:
            return by_time(question.time, train, live)
        except InputError as error:
            # Times are named for windows as well: that they do not part TRAIN is no reason to stop.
            text = f"{error} The drift intervals rest on how relations moved elsewhere."
            told = Finding("backtest-inconclusive", "info", text[:1].upper() + text[1:], step="estimate")
            return Environments("time", question.time, (), findings=(told,))
    return None


def by_value(
    column: str, train: pl.DataFrame, live: pl.DataFrame, *, rng: np.random.Generator
) -> Environments:
    """Return each value of a column as an environment, to be estimated from all others.

    Raises
    ------
    InputError
        If fewer than three values have rows enough.
    """
    texts = as_text(series_of(train, column))
    names, code = np.unique(texts.fill_null("").to_numpy().astype(str), return_inverse=True)
    code = np.where(texts.is_null().to_numpy(), -1, code)
    counts = np.bincount(code[code >= 0], minlength=len(names))
    enough = np.flatnonzero(counts >= LEAST_ROWS)
    if len(enough) < LEAST_TESTED:
        raise InputError(
            f"environment column '{column}' has {len(enough)} values with {LEAST_ROWS} rows or more in TRAIN "
            f"(of {len(names)}); name one with at least {LEAST_TESTED}, such as a site, a region or a month"
        )
    if len(enough) > MOST_TESTED:
        enough = np.sort(rng.choice(enough, size=MOST_TESTED, replace=False))
    tests = [Test(str(names[k]), np.flatnonzero(code == k), np.flatnonzero(code != k)) for k in enough]
    share = 1.0
    if column in live.columns:
        there, rows = np.unique(
            as_text(series_of(live, column)).drop_nulls().to_numpy().astype(str), return_counts=True
        )
        if len(there) and not set(there) & set(names):
            share = float(np.sum((rows / rows.sum()) ** 2))
    return Environments("environments", column, tuple(tests), share=share)


def by_time(column: str, train: pl.DataFrame, live: pl.DataFrame) -> Environments:
    """Return stretches of time with as many rows each, every one to be estimated from those before it.

    Raises
    ------
    InputError
        If the column holds no times, too few different ones, or too few rows.
    """
    when, when_live = (_times(frame, column, side) for frame, side in ((train, "TRAIN"), (live, "LIVE")))
    known = np.flatnonzero(np.isfinite(when))
    blocks = min(_BLOCKS, len(known) // LEAST_ROWS)
    ordered = known[np.argsort(when[known], kind="stable")]
    # Rows of one instant stay together, so that no block is estimated from its own.
    sorted_times = when[ordered]
    at = [k * len(known) // blocks for k in range(blocks)]
    first = np.searchsorted(sorted_times, sorted_times[at]).tolist()
    pieces = [ordered[a:b] for a, b in pairwise([*sorted(set(first)), len(known)])]
    if len(pieces) < _FIRST + LEAST_TESTED:
        raise InputError(
            f"time column '{column}' of TRAIN gives {len(pieces)} stretches of {LEAST_ROWS} rows or more; "
            f"at least {_FIRST + LEAST_TESTED} are needed to see how the relation moves: leave its times out "
            "of TRAIN, or give more rows"
        )
    tests = []
    for k in range(_FIRST, len(pieces)):
        before = np.concatenate(pieces[:k])
        gap = float(when[pieces[k]].mean() - when[before].mean())
        tests.append(Test(_span(series_of(train, column), pieces[k]), pieces[k], before, max(gap, 0.0)))
    ahead = float(np.nanmean(when_live) - when[known].mean())
    return Environments(
        "time", column, tuple(tests), gap=abs(ahead), findings=_order(column, when[known], when_live, tests)
    )


def _order(column: str, when: FloatArray, when_live: FloatArray, tests: list[Test]) -> tuple[Finding, ...]:
    """Tell if LIVE does not simply come after TRAIN, or lies farther off than any stretch that was tested."""
    first, last = np.nanmin(when_live), np.nanmax(when_live)
    if last < when.min():
        text = (
            f"LIVE lies before TRAIN by '{column}': the relation is taken to move backwards as much as it "
            "does forwards."
        )
        return (Finding("time-order", "warning", text, step="estimate"),)
    if first < when.max():
        text = (
            f"LIVE begins before TRAIN ends by '{column}': the stretches that they share tell less of the "
            "time to come than the drift intervals assume."
        )
        return (Finding("time-order", "info", text, step="estimate"),)
    gaps = [t.gap for t in tests if t.gap is not None]
    ahead = float(np.nanmean(when_live) - when.mean())
    if ahead > _FAR * max(gaps):
        text = (
            f"LIVE lies {ahead / max(gaps):.1f} times as far from TRAIN by '{column}' as any stretch of "
            "TRAIN that was tested: the drift intervals extrapolate."
        )
        return (Finding("time-beyond", "warning", text, step="estimate"),)
    return ()


def _times(frame: pl.DataFrame, column: str, side: str) -> FloatArray:
    """Return times as numbers, missing ones as NaN."""
    times = series_of(frame, column)
    form, _ = time_form(column, TimeEvidence.of(times), calendar=False)
    known = times.is_not_null().to_numpy()
    faults: list[str] = []
    numbers = clock(times.filter(times.is_not_null()), calendar=False, faults=faults, form=form)
    if numbers is None:
        raise InputError([fault.replace("in LIVE", f"in {side}") for fault in faults])
    out = np.full(len(known), np.nan)
    out[known] = numbers
    return out


def _span(column: pl.Series, rows: IntArray) -> str:
    """Return the first and the last time of some rows, as they are written."""
    part = column[rows].drop_nulls().sort()
    first, last = (as_text(part[[k]])[0] for k in (0, part.len() - 1))
    return f"{first} to {last}"
