"""How LIVE can be cut into windows: calendar steps, numbers of rows, and the times that put rows in order."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.columns import is_date, is_text, parse_dates

CALENDAR = ("day", "week", "month")
MOST_WINDOWS = 1000


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


def clock(time: pl.Series, *, calendar: bool, faults: list[str]) -> npt.NDArray[np.float64] | None:
    """Return the times as numbers that sort (epoch days for dates)."""
    what = f"time column '{time.name}' in LIVE"
    if time.null_count():
        faults.append(
            f"{what}: {time.null_count()} of {time.len()} values are missing; fill them or drop those rows"
        )
        return None
    if is_date(time.dtype):
        time = time.cast(pl.Datetime("us")).dt.replace_time_zone(None).dt.to_string("iso")
    if is_text(time.dtype):
        days = parse_dates(time.cast(pl.String))
        if days is None:
            faults.append(
                f"{what} does not hold dates (such as '{_odd(time.cast(pl.String))}'); write them as "
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


def _odd(texts: pl.Series) -> str:
    """Return the first text that is no date; the first one if each is, though not all of one kind."""
    return str(next((text for text in texts if parse_dates(pl.Series([text])) is None), texts[0]))


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
