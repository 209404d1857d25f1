"""A table that is read part by part, in an order that does not depend on who reads it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.names import first_line, only, recast, series_of, stacked
from steelyard.auditing.reading.places import kind_of
from steelyard.auditing.reading.sources import scan_plain
from steelyard.auditing.reading.tidy import Tidy
from steelyard.errors import InputError

IntArray = npt.NDArray[np.int64]

PART_ROWS = 131_072
"""Rows of a part: enough that reading one costs little more than its rows, few enough to hold several."""


@dataclass(frozen=True)
class Part:
    """A run of rows: the ``first`` one's number in the whole table, how many, and where in which file."""

    number: int
    first: int
    rows: int
    file: int = 0
    start: int = 0

    @property
    def span(self) -> str:
        """The rows in words, for a message."""
        return f"rows {self.first} to {self.first + self.rows - 1}"

    @property
    def index(self) -> IntArray:
        """The rows' numbers in the whole table."""
        return np.arange(self.first, self.first + self.rows)


def cut(sizes: Sequence[int], part_rows: int) -> tuple[Part, ...]:
    """Cut files of so many rows into parts; none spans two files, so that each is one slice of one file."""
    parts: list[Part] = []
    first = 0
    for file, size in enumerate(sizes):
        for start in range(0, size, part_rows):
            parts.append(Part(len(parts), first + start, min(part_rows, size - start), file, start))
        first += size
    return tuple(parts)


class Source(Protocol):
    """A table in parts. It is sent to whoever reads, so it holds no open file."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts in the order of their rows."""
        ...

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        ...

    def read(self, part: Part) -> pl.DataFrame:
        """Return the rows of one part."""
        ...

    def identity(self) -> list[Any]:
        """Return plain values that change when the rows do."""
        ...


@dataclass(frozen=True)
class Files:
    """Parquet or Arrow files, read by slices.

    ``sizes`` holds their rows, ``types`` those that hold every file's values, and ``tidied`` what is
    done to each file's columns.
    """

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    columns: tuple[str, ...]
    part_rows: int = PART_ROWS
    names: tuple[str, ...] = ()
    types: Mapping[str, pl.DataType] = field(default_factory=dict, repr=False)
    tidied: tuple[Tidy, ...] = field(default=(), repr=False)
    parts: tuple[Part, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", cut(self.sizes, self.part_rows))

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(self.sizes)

    def read(self, part: Part) -> pl.DataFrame:
        """Return the rows of one part."""
        path = self.paths[part.file]
        tidy = self.tidied[part.file] if self.tidied else Tidy()
        try:
            scan = scan_plain(Path(path), kind_of(Path(path)) or "Arrow")
            frame = only(tidy(scan.slice(part.start, part.rows)), self.columns).collect()
        except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
            raise InputError(f"'{path}' cannot be read any more: {first_line(error)}") from error
        if frame.height != part.rows:
            raise InputError(f"'{path}' has lost rows while it was read; run again on files that rest")
        return recast(frame, dict(self.types)) if self.types else frame

    def identity(self) -> list[Any]:
        """Return names, sizes and times of change of the files as the caller named them."""
        out: list[Any] = []
        for name in self.names or self.paths:
            stat = os.stat(name)
            out.append([str(Path(name).resolve()), stat.st_size, stat.st_mtime_ns])
        return out


@dataclass(frozen=True)
class Frame:
    """A data frame in memory, in slices."""

    frame: pl.DataFrame = field(repr=False)
    part_rows: int = PART_ROWS

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.frame.columns)

    @property
    def rows(self) -> int:
        """Rows of the frame."""
        return self.frame.height

    @property
    def parts(self) -> tuple[Part, ...]:
        """Slices of equal size, the last one shorter."""
        return cut((self.rows,), self.part_rows)

    def read(self, part: Part) -> pl.DataFrame:
        """Return the rows of one part."""
        return self.frame.slice(part.first, part.rows)

    def identity(self) -> list[Any]:
        """Return the sum of the rows' hashes, and their number."""
        return [self.rows, int(self.frame.hash_rows(seed=0).sum() or 0)]


def system_number(error: BaseException) -> int:
    """Return the system's number of what went wrong, which Polars says in words alone; 0 if it is unknown."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    number = re.search(r"\(os error (\d+)\)", str(error))
    return 0 if number is None else int(number[1])


def gather(
    source: Source,
    rows: IntArray,
    run: Callable[[Callable[[Part], pl.DataFrame], Sequence[Part]], Iterable[pl.DataFrame]],
) -> pl.DataFrame:
    """Return the rows of ascending numbers, from whichever parts they are in.

    Parameters
    ----------
    source : Source
    rows : array of shape (k,)
    run : callable
        Maps a function over parts and yields the results in their order.
    """
    wanted = [p for p in source.parts if len(_within(rows, p))]
    pieces = list(run(Taken(source, rows), wanted))
    return stacked(pieces).rechunk()


def gather_known(
    source: Source,
    rows: IntArray,
    column: str,
    run: Callable[[Callable[[Part], Any], Sequence[Part]], Iterable[Any]],
) -> tuple[pl.DataFrame, IntArray]:
    """Return those of the rows of ascending numbers that have a value in a column, and their numbers."""
    wanted = [p for p in source.parts if len(_within(rows, p))]
    pieces = list(run(TakenKnown(source, rows, column), wanted))
    frame = stacked([piece for piece, _ in pieces]).rechunk()
    return frame, np.concatenate([index for _, index in pieces])


@dataclass(frozen=True)
class TakenKnown:
    """Those of a part's rows that are wanted and have a value in a column."""

    source: Source
    rows: IntArray
    column: str

    def __call__(self, part: Part) -> tuple[pl.DataFrame, IntArray]:
        """Read the part and keep them."""
        index = _within(self.rows, part)
        frame = self.source.read(part)[index - part.first]
        known = has_value(series_of(frame, self.column))
        return frame.filter(pl.Series(known)), index[known]


def has_value(column: pl.Series) -> npt.NDArray[np.bool_]:
    """Return which rows are neither null nor NaN."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return column.is_not_null().to_numpy()


@dataclass(frozen=True)
class Taken:
    """Those of a part's rows that are wanted."""

    source: Source
    rows: IntArray

    def __call__(self, part: Part) -> pl.DataFrame:
        """Read the part and keep them."""
        return self.source.read(part)[_within(self.rows, part) - part.first]


def _within(rows: IntArray, part: Part) -> IntArray:
    start, end = np.searchsorted(rows, [part.first, part.first + part.rows])
    return rows[start:end]
