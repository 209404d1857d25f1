"""What is done to the columns of a table as it is read, whoever reads it and however much at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from steelyard.auditing.reading.hive import Key
from steelyard.auditing.reading.names import column

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_HALF = getattr(pl, "Float16", None)


@dataclass(frozen=True)
class Tidy:
    """What is done to a file's columns.

    Attributes
    ----------
    null : tuple of str
        Words, and numbers, that stand for a missing value.
    left_out : tuple of str
        Columns that are none of the table's, such as the index that pandas wrote.
    keys : tuple of Key
        Columns from the names of the file's directories.
    """

    null: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()

    def __call__(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        """Return the table as the audit takes it."""
        kept = [
            _plain(name, dtype, self.null)
            for name, dtype in scan.collect_schema().items()
            if name not in self.left_out
        ]
        keys = [pl.lit(key.value, dtype=key.dtype).alias(key.name) for key in self.keys]
        tidied = scan.select(*kept, *keys)
        return Tidy(self.null)(tidied) if self.null and keys else tidied


def words_and_numbers(null: tuple[str, ...]) -> tuple[list[str], list[float]]:
    """Return words for a missing value in lower case, and those among them that are numbers."""
    words = [word.strip().lower() for word in null]
    return words, [float(word) for word in words if _NUMBER.fullmatch(word)]


def _plain(name: str, dtype: Any, null: tuple[str, ...]) -> pl.Expr:
    values = column(name)
    while hasattr(dtype, "ext_storage"):
        values, dtype = values.ext.storage(), dtype.ext_storage()
    if dtype.is_decimal():
        # No step needs a decimal's exactness, and not every operation takes one.
        values, dtype = values.cast(pl.Float64), pl.Float64()
    elif _HALF is not None and dtype == _HALF:
        values, dtype = values.cast(pl.Float32), pl.Float32()
    missing = _means_missing(values, dtype, null) if null else None
    return values if missing is None else pl.when(missing).then(None).otherwise(values).alias(name)


def _means_missing(values: pl.Expr, dtype: Any, null: tuple[str, ...]) -> pl.Expr | None:
    """Return where one of the words stands; None in a column of a type that holds none of them."""
    words, numbers = words_and_numbers(null)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = values.cast(pl.String).str.strip_chars().str.to_lowercase()
        return texts.is_in(words)
    if dtype.is_integer():
        # Compared as whole numbers: a large one has neighbours that are the same as a float.
        whole = [int(n) if abs(n) < 2**53 else None for n in numbers if n.is_integer()]
        whole += [int(word) for word in words if re.fullmatch(r"[+-]?\d{16,18}", word)]
        same = [values == n for n in dict.fromkeys(whole) if n is not None]
        return pl.any_horizontal(same) if same else None
    if dtype.is_float():
        # A number of fewer digits is the same number as the word only in the column's own type.
        same = [values == pl.lit(n, dtype=dtype) for n in numbers]
        return pl.any_horizontal(same) if same else None
    if dtype == pl.Date:
        days = [day for word in words if (day := _instant(word, date)) is not None]
        return values.is_in(days) if days else None
    if dtype == pl.Datetime:
        times = [time for word in words if (time := _instant(word, datetime)) is not None]
        same = [values.dt.replace_time_zone(None) == pl.lit(time) for time in times]
        return pl.any_horizontal(same) if same else None
    return None


def _instant(word: str, kind: Any) -> Any:
    try:
        return kind.fromisoformat(word) if not word.isdecimal() else None
    except ValueError:
        return None
