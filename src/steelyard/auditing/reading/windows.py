"""How LIVE can be cut into windows: calendar steps, numbers of rows, and the times that put rows in order."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.dates import (
    IN_WORDS,
    DateEvidence,
    Order,
    choose_order,
    offsets,
    read_dates,
)
from steelyard.auditing.reading.dialect import PLAIN
from steelyard.auditing.reading.missing import trimmed
from steelyard.auditing.reading.texts import is_date, is_text
from steelyard.auditing.result import Finding

CALENDAR = ("day", "week", "month")
MOST_WINDOWS = 1000
_DAY_US = 86_400_000_000


MOST_ROWS = 10**15
"""Rows of a window at most: more than any table has, and well within 64 bits."""


def every_fault(every: int | str, *, timed: bool) -> str | None:
    """Say why LIVE cannot be cut like this; None if it can."""
    if isinstance(every, str):
        if every not in CALENDAR:
            return f"every={every!r} is neither a number of rows nor one of {', '.join(CALENDAR)}"
        if not timed:
            return f"windows of a {every} need a time column; name it, or give a number of rows"
    elif every < 1:
        return f"windows of {every} rows are not possible; give at least one"
    elif every > MOST_ROWS:
        return f"windows of more than {MOST_ROWS:,} rows are larger than any table; give fewer"
    return None


def too_many(every: int | str, count: int) -> str:
    """Say that the windows are too short."""
    return f"every={every} cuts LIVE into {count} windows; choose longer ones (at most {MOST_WINDOWS})"


@dataclass(frozen=True)
class TimeForm:
    """How the texts of a time column are read; ``utc`` cuts days in UTC, not by each text's own clock."""

    order: Order = "ymd"
    utc: bool = False


@dataclass(frozen=True)
class TimeEvidence:
    """What some rows of a time column tell of how its texts are to be read; parts merge."""

    dates: DateEvidence
    offsets: frozenset[str]

    @classmethod
    def of(cls, time: pl.Series) -> TimeEvidence | None:
        """Return what the rows tell; None of times that are no texts."""
        if not is_text(time.dtype):
            return None
        texts = trimmed(time.cast(pl.String), PLAIN.missing_words)
        return cls(DateEvidence.of(texts), offsets(texts))

    def followed_by(self, other: TimeEvidence) -> TimeEvidence:
        """Return what both tell."""
        return TimeEvidence(self.dates.followed_by(other.dates), self.offsets | other.offsets)


def time_form(
    name: str, evidence: TimeEvidence | None, *, calendar: bool
) -> tuple[TimeForm, tuple[Finding, ...]]:
    """Return how a time column is read, and what there is to say of it."""
    if evidence is None:
        return TimeForm(), ()
    chosen = choose_order([evidence.dates])
    found = []
    if chosen is not None and chosen.why:
        remedy = " If that is wrong, write them as 2024-01-31." if chosen.ambiguous else ""
        text = (
            f"Time column '{name}' is read with the {IN_WORDS[chosen.order]}, {chosen.why}"
            f"{', though another order would do' if chosen.ambiguous else ''}.{remedy}"
        )
        found.append(
            Finding("dates-as-text", "warning" if chosen.ambiguous else "info", text, columns=(name,))
        )
    mixed = len(evidence.offsets) > 1
    if mixed and calendar:
        shown = ", ".join(sorted(offset or "none" for offset in evidence.offsets))
        text = (
            f"Time column '{name}' has several offsets from UTC ({shown}): days are cut at midnight UTC. To "
            "have those of its place, store it with a time zone, or without offsets."
        )
        found.append(Finding("mixed-offsets", "warning", text, columns=(name,)))
    return TimeForm("ymd" if chosen is None else chosen.order, utc=mixed), tuple(found)


AS_WRITTEN = TimeForm()


def clock(
    time: pl.Series, *, calendar: bool, faults: list[str], form: TimeForm = AS_WRITTEN
) -> npt.NDArray[np.float64] | None:
    """Return the times as numbers that sort (epoch days for dates).

    For a ``calendar`` they are those of the column's own clock, so that a day is a day of its time zone;
    else those of UTC, in which no hour comes twice.
    """
    what = f"time column '{time.name}' in LIVE"
    texts = trimmed(time.cast(pl.String), PLAIN.missing_words) if is_text(time.dtype) else None
    missing = (time if texts is None else texts).null_count()
    if missing:
        faults.append(f"{what}: {missing} of {time.len()} values are missing; fill them or drop those rows")
        return None
    if is_date(time.dtype):
        if calendar and time.dtype == pl.Datetime:
            time = time.dt.replace_time_zone(None)
        moments = time.cast(pl.Datetime("us")).to_physical().cast(pl.Float64)
        return np.asarray(moments.to_numpy() / _DAY_US, dtype=np.float64)
    if texts is not None:
        days = read_dates(texts, form.order, local=calendar and not form.utc)
        if days.null_count():
            faults.append(
                f"{what} does not hold dates (such as '{texts.filter(days.is_null())[0]}'); write them as "
                "2024-01-31 or 2024-01-31T12:00:00"
            )
            return None
        return np.asarray(days.to_numpy(), dtype=np.float64)
    if calendar or not time.dtype.is_numeric():
        faults.append(
            f"{what} does not hold dates; write them as 2024-01-31, or cut windows of a number of rows"
        )
        return None
    values = np.asarray(time.cast(pl.Float64).to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all():
        faults.append(f"{what} holds infinite or missing values; fill them or drop those rows")
        return None
    return values


def row_windows(rows: int, every: int) -> int:
    """Return how many windows of ``every`` rows there are; a last one of under half joins the one before."""
    return max(1, rows // every + (2 * (rows % every) >= every))


def moment(value: object) -> str:
    """Return a time as it is shown."""
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else str(value)


def calendar_start(days: npt.NDArray[np.float64], every: str) -> npt.NDArray[np.int64]:
    """Return the epoch day on which each moment's day, week or month began."""
    day = np.floor(days).astype(np.int64)
    if every == "day":
        return day
    if every == "week":
        # 1970-01-01 was a Thursday: day -3 was a Monday.
        return (day + 3) // 7 * 7 - 3
    return day.astype("datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def calendar_name(start: int, every: str) -> tuple[str, str]:
    """Return the first and the last day of a window."""
    return _day(start), _day(_end(start, every))


def _end(start: int, every: str) -> int:
    if every == "month":
        month = np.datetime64(start, "D").astype("datetime64[M]") + 1
        return int(month.astype("datetime64[D]").astype(np.int64)) - 1
    return start + (6 if every == "week" else 0)


def _day(number: int) -> str:
    return str(np.datetime64(int(number), "D"))
