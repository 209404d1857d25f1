"""Names of columns as names: Polars takes some for patterns, and frames may have numbers as names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import polars as pl
import polars.selectors as cs

from steelyard.errors import InputError

Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)


def column(name: str) -> pl.Expr:
    """Return the column of this very name; ``pl.col`` would take ``*`` or ``^b$`` for a pattern.

    Examples
    --------
    >>> import polars as pl
    >>> pl.DataFrame({"^b$": [1], "b": [2]}).select(column("^b$")).columns
    ['^b$']
    """
    return cs.by_name(name).as_expr()


def series_of(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a column's values; a name that is a pattern stands in quotes.

    Methods of a Series look for their column by its name, and would find another one, or none.

    Examples
    --------
    >>> import polars as pl
    >>> series_of(pl.DataFrame({"^b$": [1, None]}), "^b$").drop_nulls().to_list()
    [1]
    """
    series = frame.get_column(name)
    return series.alias(f"'{name}'") if name.startswith("^") and name.endswith("$") else series


def only(rows: Rows, names: Iterable[str]) -> Rows:
    """Return these columns, in this order."""
    return rows.select([column(name) for name in names])


def without(rows: Rows, names: Iterable[str]) -> Rows:
    """Return all columns but these; a name that is not there is no matter."""
    gone = set(names)
    return only(rows, [name for name in rows.collect_schema().names() if name not in gone])


def recast(rows: Rows, types: dict[str, Any]) -> Rows:
    """Return these columns, in this order, each in its type."""
    return rows.select([column(name).cast(dtype) for name, dtype in types.items()])


def common_type(types: Iterable[Any]) -> Any:
    """Return the type that holds the values of all these types; a PolarsError if there is none."""
    empty = [pl.Series("", [], dtype=dtype).to_frame() for dtype in types]
    return pl.concat(empty, how="vertical_relaxed").dtypes[0]


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of frames of the same columns, in types that hold every frame's values."""
    first = frames[0].schema
    if all(frame.schema == first for frame in frames):
        return pl.concat(frames)
    # One frame's integers may be another's decimals: the wider type holds both.
    types = {name: common_type([frame.schema[name] for frame in frames]) for name in first}
    return pl.concat([recast(frame, types) for frame in frames])


def as_name(value: Any) -> Any:
    """Return what names a column as its name: that of a frame's column may be a number."""
    plain = isinstance(value, (int, float)) or type(value).__module__ == "numpy"
    return str(value) if plain else value


def as_names(value: Any) -> tuple[str, ...]:
    """Return one name, several or none as names."""
    if value is None:
        return ()
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    return tuple(str(name) for name in value) if several else (str(value),)


def repeated_fault(where: str, names: Iterable[str]) -> str | None:
    """Say which names stand more than once, if any do."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if not repeated:
        return None
    if repeated == [""]:
        return f"{where} has more than one column without a name; name them"
    return f"{where} has more than one column named {listed(repeated)}; rename or remove the copies"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return some names in quotes, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without its full stop."""
    if isinstance(error, InputError):
        return error.faults[0]
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".;") if text else type(error).__name__
