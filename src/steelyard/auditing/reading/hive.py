"""Keys in the names of directories, such as ``region=eu``, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from steelyard.auditing.reading.names import column
from steelyard.auditing.reading.places import Place


class Key(NamedTuple):
    """A key of one file's directories: its column's name, its value, and the type of all files' values."""

    name: str
    value: Any
    dtype: pl.DataType
    written: str | None


def typed_keys(places: Sequence[Place]) -> list[tuple[Key, ...]]:
    """Return each file's keys, of types that hold the values of all files.

    Examples
    --------
    >>> from pathlib import Path
    >>> places = [Place(Path("a"), (("year", "2024"),)), Place(Path("b"), (("year", None),))]
    >>> [keys[0].value for keys in typed_keys(places)]
    [2024, None]
    """
    written: dict[str, list[str]] = {}
    for place in places:
        for name, value in place.keys:
            values = written.setdefault(name, [])
            if value is not None and value not in values:
                values.append(value)
    read = {name: _read(values) for name, values in written.items()}
    return [
        tuple(
            Key(
                name,
                None if value is None else dict(zip(written[name], read[name]))[value],
                read[name].dtype,
                value,
            )
            for name, value in place.keys
        )
        for place in places
    ]


def _read(values: list[str]) -> pl.Series:
    """Read texts as Polars would read a column of them."""
    texts = pl.Series("key", values, dtype=pl.String)
    if not values:
        return texts
    try:
        read = pl.read_csv(
            texts.to_frame().write_csv().encode(), infer_schema_length=None, try_parse_dates=True
        ).to_series()
    except pl.exceptions.PolarsError:
        return texts
    return read if read.len() == texts.len() and not read.null_count() else texts


def disagreement(scan: pl.LazyFrame, key: Key) -> str | None:
    """Return a value of a file's own column that is not its directory's, as text; None if there is none."""
    held = scan.select(column(key.name).unique()).collect().to_series()
    for value in held.to_list():
        if value is None and key.value is None:
            continue
        if value is None or not (value == key.value or str(value) == key.written):
            return "no value" if value is None else f"'{value}'"
    return None
