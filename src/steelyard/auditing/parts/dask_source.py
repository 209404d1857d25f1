"""A Dask DataFrame as a table in parts: its partitions, the large ones in slices."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from steelyard.auditing.parts.dask_tasks import UNSTEADY, as_polars
from steelyard.auditing.parts.source import PART_ROWS, Part, cut
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.names import repeated_fault
from steelyard.auditing.reading.sources import computed
from steelyard.errors import InputError


@dataclass(frozen=True)
class DaskFrame:
    """The partitions of a Dask DataFrame, each a delayed value; ``sizes`` holds their rows.

    Read here, a partition is computed by whatever scheduler Dask would use; the
    Dask engine has it computed, turned into a Polars frame and scored where it lies.
    """

    partitions: tuple[Any, ...] = field(repr=False)
    sizes: tuple[int, ...]
    columns: tuple[str, ...]
    name: str
    part_rows: int = PART_ROWS
    dialect: Dialect = PLAIN
    parts: tuple[Part, ...] = field(init=False, repr=False)
    _recent: _Recent = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", cut(self.sizes, self.part_rows))
        object.__setattr__(self, "_recent", _Recent())

    @property
    def rows(self) -> int:
        """Rows of all partitions."""
        return sum(self.sizes)

    def read(self, part: Part) -> pl.DataFrame:
        """Return the rows of one part."""
        frame = self._recent.get(part.file, self._compute)
        if frame.height != self.sizes[part.file]:
            raise InputError(UNSTEADY)
        return frame.slice(part.start, part.rows)

    def identity(self) -> list[Any]:
        """Return Dask's own name of what the frame is computed from, and its rows."""
        return [self.name, len(self.sizes), self.rows]

    def _compute(self, number: int) -> pl.DataFrame:
        partition = computed(self.partitions[number], "a partition of the Dask DataFrame")
        return as_polars(partition, self.dialect)


class _Recent:
    """The last partitions that were computed: their slices are read one after another."""

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[int, _Once] = OrderedDict()

    def get(self, number: int, make: Callable[[int], pl.DataFrame]) -> pl.DataFrame:
        with self._lock:
            once = self._held.setdefault(number, _Once())
            self._held.move_to_end(number)
            while len(self._held) > self.most:
                self._held.popitem(last=False)
        return once.get(number, make)


class _Once:
    """A frame that whoever comes first computes, and the others wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frame: pl.DataFrame | None = None

    def get(self, number: int, make: Callable[[int], pl.DataFrame]) -> pl.DataFrame:
        with self._lock:
            if self._frame is None:
                self._frame = make(number)
            return self._frame


def count_dask(frame: Any) -> int:
    """Return how many rows a Dask DataFrame has, by computing its partitions."""
    name, partitions = _partitions(frame)
    sizes = _sizes(partitions)
    with _lock:
        _counted[name] = sizes
        while len(_counted) > _MOST_COUNTED:
            _counted.popitem(last=False)
    return sum(sizes)


def open_dask(
    frame: Any, side: str, faults: list[str], *, part_rows: int = PART_ROWS, dialect: Dialect = PLAIN
) -> DaskFrame | None:
    """Return a Dask DataFrame in parts; None, and why in ``faults``, if it is none to audit."""
    columns = tuple(str(name) for name in frame.columns)
    fault = repeated_fault(side, columns)
    if fault is not None:
        faults.append(fault)
        return None
    name, partitions = _partitions(frame)
    with _lock:
        known = _counted.pop(name, ())
    sizes = known if len(known) == len(partitions) else _sizes(partitions)
    if not sum(sizes):
        faults.append(f"{side} has no rows; give a table with a header and rows")
        return None
    return DaskFrame(partitions, sizes, columns, name, part_rows, dialect)


# What was counted to see whether a frame is too large to hold is counted again by nobody: its
# partitions' rows wait here, under Dask's name of it, until it is opened.
_MOST_COUNTED = 4
_lock = threading.Lock()
_counted: OrderedDict[str, tuple[int, ...]] = OrderedDict()


def _partitions(frame: Any) -> tuple[str, tuple[Any, ...]]:
    """Return Dask's name of a frame, and its partitions as delayed values."""
    from dask.base import tokenize

    return str(tokenize(frame)), tuple(frame.to_delayed())


def _sizes(partitions: tuple[Any, ...]) -> tuple[int, ...]:
    # Dask may merge the partitions of a frame of fewer columns, so that rows have to be counted in
    # the very partitions that are read later.
    from dask import delayed

    lengths = delayed(_together)(*map(delayed(len), partitions))
    return tuple(computed(lengths, "the Dask DataFrame"))


def _together(*lengths: int) -> tuple[int, ...]:
    return lengths
