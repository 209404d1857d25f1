"""Values as the texts by which they are compared, and which columns hold texts or days."""

from __future__ import annotations

import polars as pl


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds categories."""
    return dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def is_date(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds days or instants."""
    return dtype in (pl.Date, pl.Datetime)


def as_text(series: pl.Series) -> pl.Series:
    """Return the values as texts; a whole number without decimals, a flag as ``True`` or ``False``.

    Each value's text hangs on nothing but the value, so that it is the same in every part of a table.

    Examples
    --------
    >>> import polars as pl
    >>> as_text(pl.Series([1.0, 2.5, None])).to_list()
    ['1', '2.5', None]
    """
    if series.dtype == pl.Boolean:
        words = pl.when(pl.col("x")).then(pl.lit("True")).when(~pl.col("x")).then(pl.lit("False"))
        return series.to_frame("x").select(words.alias(series.name)).to_series()
    texts = series.cast(pl.String)
    if not series.dtype.is_float():
        return texts
    # NaN and infinities compare like large numbers: none of them is whole here.
    whole = (series.abs() < 2**53) & (series == series.floor())
    return series.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole.fill_null(False), texts)


def known_texts(series: pl.Series) -> pl.Series:
    """Return the values as texts by which numbers and texts compare: 3, 3.0, ``"3"`` and ``"3.0"`` are one.

    Blanks around a text are no part of it, nor is the precision that a number was stored in. Leading
    zeros are: ``"02139"`` is no number.

    Examples
    --------
    >>> known_texts(pl.Series(["3.0", " 3", "03", "yes "])).to_list()
    ['3', '3', '03', 'yes']
    """
    if series.dtype.is_float():
        if series.dtype == pl.Float32:
            # The decimals that were meant: 0.1 is 0.10000000149011612 in the wider type.
            series = series.cast(pl.String).cast(pl.Float64)
        return as_text(series.fill_nan(None))
    texts = as_text(series)
    if not is_text(series.dtype) or series.dtype == pl.Boolean:
        return texts
    texts = texts.str.strip_chars()
    numbers = texts.cast(pl.Float64, strict=False)
    plain = texts.str.contains(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    plain &= ~texts.str.contains(r"^[+-]?0\d") & (numbers.abs() < 2**53)
    return as_text(numbers).zip_with(plain.fill_null(False), texts)
