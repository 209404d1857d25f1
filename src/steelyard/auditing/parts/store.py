"""Where the columns of scored rows go: kept in memory, or left in files from which a run can go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy.typing as npt
import polars as pl

from steelyard.auditing.parts.source import Part
from steelyard.auditing.sums import Totals

T = TypeVar("T", bound=Totals)
Columns = Mapping[str, npt.NDArray[Any]]


class Store(Protocol):
    """Takes the columns of parts in their order, and gives them back as one table."""

    def resumed(self, side: str, kind: type[T]) -> tuple[int, T | None]:
        """Return how many parts of a side are done already, and their sums."""
        ...

    def keep(self, side: str, part: Part, columns: Columns) -> None:
        """Take the columns of a part's rows."""
        ...

    def checkpoint(self, side: str, done: int, totals: Totals, *, last: bool = False) -> None:
        """Note the sums over the first parts, if a run could go on from them."""
        ...

    def table(self, side: str, parts: int) -> pl.LazyFrame:
        """Return the rows' columns of all parts, behind the rows' numbers."""
        ...


def as_table(part: Part, columns: Columns) -> pl.DataFrame:
    """Return the columns of a part's rows, behind their numbers."""
    series = {
        name: pl.Series(values.tolist() if values.dtype == object else values, strict=False)
        for name, values in columns.items()
    }
    return pl.DataFrame({"row": part.index, **series})


class Memory:
    """Keeps everything, for tables that are held whole anyway."""

    def __init__(self) -> None:
        self._kept: dict[str, list[pl.DataFrame]] = {}

    def resumed(self, side: str, kind: type[T]) -> tuple[int, T | None]:
        """Nothing is ever left from a run before."""
        del side, kind
        return 0, None

    def keep(self, side: str, part: Part, columns: Columns) -> None:
        """Take the columns of a part's rows."""
        self._kept.setdefault(side, []).append(as_table(part, columns))

    def checkpoint(self, side: str, done: int, totals: Totals, *, last: bool = False) -> None:
        """There is nothing to go on from."""

    def table(self, side: str, parts: int) -> pl.LazyFrame:
        """Return the rows' columns of all parts."""
        del parts
        return pl.concat(self._kept[side]).lazy()
