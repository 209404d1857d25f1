"""LIVE cut into windows: by calendar, by rows in time order, or by rows as they stand."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.columns import is_date, is_text, parse_dates

CALENDAR = ("day", "week", "month")
MOST_WINDOWS = 1000


@dataclass(frozen=True)
class Windows:
    """Each row's window, and where each window starts and ends (both included)."""

    index: npt.NDArray[np.int64]
    names: tuple[tuple[str, str], ...]


def cut_windows(time: pl.Series | None, rows: int, every: int | str, faults: list[str]) -> Windows | None:
    """Cut the rows of LIVE into windows.

    Parameters
    ----------
    time : Series, optional
        When each row happened; without it rows are taken as they stand.
    rows : int
        Rows of LIVE.
    every : int or {"day", "week", "month"}
        Rows a window, or a calendar step (weeks start on Monday). A last window of
        under half its rows joins the one before; calendar windows without rows are left out.
    faults : list of str
        What is wrong is appended.

    Returns
    -------
    Windows or None
        None if a fault was found.
    """
    fault = every_fault(every, timed=time is not None)
    if fault is not None:
        faults.append(fault)
        return None
    order = clock(time, calendar=isinstance(every, str), faults=faults) if time is not None else None
    if time is not None and order is None:
        return None
    windows = _by_rows(time, order, rows, every) if isinstance(every, int) else _by_calendar(order, every)
    if len(windows.names) > MOST_WINDOWS:
        faults.append(too_many(every, len(windows.names)))
        return None
    return windows


def every_fault(every: int | str, *, timed: bool) -> str | None:
    """Say why LIVE cannot be cut like this; None if it can."""
    if isinstance(every, str):
        if every not in CALENDAR:
            return f"every={every!r} is neither a number of rows nor one of {', '.join(CALENDAR)}"
        if not timed:
            return f"windows of a {every} need a time column; name it, or give a number of rows"
    elif every < 1:
        return f"windows of {every} rows are not possible; give at least one"
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


def _by_rows(time: pl.Series | None, clock: npt.NDArray[np.float64] | None, rows: int, every: int) -> Windows:
    position = np.arange(rows)
    order = np.argsort(clock, kind="stable") if clock is not None else position
    count = row_windows(rows, every)
    index = np.empty(rows, dtype=np.int64)
    index[order] = np.minimum(position // every, count - 1)
    names = []
    for window in range(count):
        first = window * every
        last = rows - 1 if window == count - 1 else first + every - 1
        if time is None:
            names.append((str(first), str(last)))
        else:
            names.append((moment(time[int(order[first])]), moment(time[int(order[last])])))
    return Windows(index, tuple(names))


def row_windows(rows: int, every: int) -> int:
    """Return how many windows of ``every`` rows there are; a last one of under half joins the one before."""
    return max(1, rows // every + (2 * (rows % every) >= every))


def moment(value: object) -> str:
    """Return a time as it is shown."""
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else str(value)


def _by_calendar(days: npt.NDArray[np.float64] | None, every: str) -> Windows:
    assert days is not None
    starts, index = np.unique(calendar_start(days, every), return_inverse=True)
    return Windows(index.astype(np.int64), tuple(calendar_name(int(s), every) for s in starts))


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
