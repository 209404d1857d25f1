"""Which window a row of LIVE belongs to, told from the row alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.parts.source import Part, Source, gather
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.windows import (
    AS_WRITTEN,
    MOST_WINDOWS,
    TimeEvidence,
    TimeForm,
    calendar_name,
    calendar_start,
    clock,
    every_fault,
    moment,
    row_windows,
    time_form,
    too_many,
)
from steelyard.auditing.result import Finding
from steelyard.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Run = Callable[[Callable[[Part], Any], Sequence[Part]], Iterable[Any]]


class Cutter(Protocol):
    """Tells rows their window's key; keys ascend in the order of the windows."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to say of how times are read."""
        ...

    def __call__(self, frame: pl.DataFrame, index: IntArray) -> IntArray:
        """Return the keys of rows, (n,), given as read and by their numbers in LIVE."""
        ...

    def name(self, key: int) -> tuple[str, str]:
        """Return where a window starts and ends, both included."""
        ...


@dataclass(frozen=True)
class ByCalendar:
    """Days, weeks or months of a time column."""

    column: str
    every: str
    form: TimeForm = AS_WRITTEN
    findings: tuple[Finding, ...] = ()

    def __call__(self, frame: pl.DataFrame, index: IntArray) -> IntArray:
        """Return the epoch day on which each row's window starts."""
        del index
        return calendar_start(_times(frame, self.column, self.form, calendar=True), self.every)

    def name(self, key: int) -> tuple[str, str]:
        """Return the first and the last day."""
        return calendar_name(key, self.every)


@dataclass(frozen=True)
class ByRows:
    """A fixed number of rows, as they stand."""

    every: int
    rows: int
    findings: tuple[Finding, ...] = ()

    def __call__(self, frame: pl.DataFrame, index: IntArray) -> IntArray:
        """Return each row's window, counted from 0."""
        del frame
        return np.minimum(index // self.every, row_windows(self.rows, self.every) - 1)

    def name(self, key: int) -> tuple[str, str]:
        """Return the first and the last row."""
        last = key == row_windows(self.rows, self.every) - 1
        return str(key * self.every), str(self.rows - 1 if last else (key + 1) * self.every - 1)


@dataclass(frozen=True)
class ByTimedRows:
    """A fixed number of rows in the order of a time column, equal times in the order of the rows.

    ``times`` and ``numbers`` are those of each window's first row.
    """

    column: str
    times: FloatArray
    numbers: IntArray
    names: tuple[tuple[str, str], ...]
    form: TimeForm = AS_WRITTEN
    findings: tuple[Finding, ...] = ()

    def __call__(self, frame: pl.DataFrame, index: IntArray) -> IntArray:
        """Return each row's window, counted from 0."""
        when = _times(frame, self.column, self.form, calendar=False)
        # The window is the last whose first row comes no later: (time, number) in that order.
        begun = np.searchsorted(self.times, when, side="left")
        tied = np.searchsorted(self.times, when, side="right")
        out = begun - 1
        for step in range(int((tied - begun).max(initial=0))):
            at = np.minimum(begun + step, len(self.numbers) - 1)
            out += (begun + step < tied) & (self.numbers[at] <= index)
        return np.maximum(out, 0)

    def name(self, key: int) -> tuple[str, str]:
        """Return the times of the first and the last row."""
        return self.names[key]


def make_cutter(source: Source, time: str | None, every: int | str | None, run: Run) -> Cutter | None:
    """Return what cuts LIVE into windows; None where none are asked for.

    Raises
    ------
    InputError
        If LIVE cannot be cut like this.

    Notes
    -----
    Windows of a number of rows in the order of a time column need that column
    whole: 16 bytes a row while the order is found.
    """
    if every is None:
        return None
    fault = every_fault(every, timed=time is not None)
    if fault is not None:
        raise InputError(fault)
    if isinstance(every, str):
        assert time is not None
        return ByCalendar(time, every, *_form(source, time, run, calendar=True))
    count = row_windows(source.rows, every)
    if count > MOST_WINDOWS:
        raise InputError(too_many(every, count))
    if time is None:
        return ByRows(every, source.rows)
    form, findings = _form(source, time, run, calendar=False)
    when = np.concatenate(list(run(_Times(source, time, form), source.parts)))
    order = np.argsort(when, kind="stable")
    first = order[np.arange(count) * every]
    last = order[np.append(np.arange(1, count) * every, source.rows) - 1]
    ends, place = np.unique(np.concatenate([first, last]), return_inverse=True)
    shown = [moment(value) for value in gather(source, ends, run)[time].to_list()]
    named = [(shown[place[k]], shown[place[count + k]]) for k in range(count)]
    return ByTimedRows(time, when[first], first, tuple(named), form, findings)


def check_count(every: int | str | None, windows: Sized) -> None:
    """Raise an InputError if there are more windows than are reported."""
    if every is not None and len(windows) > MOST_WINDOWS:
        raise InputError(too_many(every, len(windows)))


@dataclass(frozen=True)
class _Times:
    """A part's times as numbers."""

    source: Source
    column: str
    form: TimeForm

    def __call__(self, part: Part) -> FloatArray:
        return _times(self.source.read(part), self.column, self.form, calendar=False)


@dataclass(frozen=True)
class _Evidence:
    """What a part's times tell of how they are written."""

    source: Source
    column: str

    def __call__(self, part: Part) -> TimeEvidence | None:
        return TimeEvidence.of(series_of(self.source.read(part), self.column))


def _form(source: Source, column: str, run: Run, *, calendar: bool) -> tuple[TimeForm, tuple[Finding, ...]]:
    """Return how a time column is read, by all of its rows where they are texts."""
    look = _Evidence(source, column)
    whole: TimeEvidence | None = None
    for parts in (source.parts[:1], source.parts[1:]):
        for found in run(look, parts):
            whole = found if whole is None or found is None else whole.followed_by(found)
        if whole is None:
            break
    return time_form(column, whole, calendar=calendar)


def _times(frame: pl.DataFrame, column: str, form: TimeForm, *, calendar: bool) -> FloatArray:
    faults: list[str] = []
    values = clock(series_of(frame, column), calendar=calendar, faults=faults, form=form)
    if values is None:
        raise InputError(faults)
    return values
