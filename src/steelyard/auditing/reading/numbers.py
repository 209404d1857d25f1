"""Numbers that are written as texts: decimal commas, thousands, currencies and per cent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import polars as pl

from steelyard.auditing.reading.missing import trimmed

Decimal = Literal[".", ","]

_CURRENCY = r"(?:[$€£¥₹₩₽]|(?:US|A|C)\$|EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CAD|AUD|INR|CNY)"
_BLANKS = "\u0020\u00a0\u2009\u202f"
_APOSTROPHES = "'\u2019"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_PERCENT = r"\s*%$"
_ZERO = r"^[+-]?0*[.,]?0*$"


@dataclass(frozen=True)
class NumberForm:
    """How a column's numbers are written.

    ``marked`` tells that they are more than digits and a point: thousands are set apart, or
    there is a currency or a per cent sign. ``ambiguous`` tells that the other decimal sign would
    do as well, and give other numbers.
    """

    decimal: Decimal = "."
    marked: bool = False
    ambiguous: bool = False


PLAIN_NUMBERS = NumberForm()
"""As computers write them."""


def number_form(texts: pl.Series, words: Collection[str], decimal: Decimal = ".") -> NumberForm | None:
    """Return how texts are written as numbers; None if not all of them are.

    Parameters
    ----------
    texts : Series of String
    words : collection of str
        Stand for a missing value, in lower case.
    decimal : {".", ","}
        Tried first, and taken where both signs would do.

    Examples
    --------
    >>> number_form(pl.Series(["1.234,50", "-7"]), {"na"})
    NumberForm(decimal=',', marked=True, ambiguous=False)
    >>> number_form(pl.Series(["1,234", "2,500"]), {"na"}).ambiguous
    True
    """
    distinct = trimmed(texts, words).drop_nulls().unique()
    if not distinct.len():
        return None
    if decimal == "." and read_plain(distinct).null_count() == 0:
        return NumberForm()
    if not _one_unit(distinct):
        return None
    other: Decimal = "," if decimal == "." else "."
    read = {sign: read_marked(distinct, sign) for sign in (decimal, other)}
    fitting = [sign for sign, numbers in read.items() if numbers.null_count() == 0]
    if not fitting:
        return None
    ambiguous = len(fitting) == 2 and bool((read[decimal] != read[other]).any())
    return NumberForm(fitting[0], marked=True, ambiguous=ambiguous)


def _one_unit(distinct: pl.Series) -> bool:
    """Whether the numbers are of one currency at most, and all of them per cent or none."""
    signs = distinct.str.extract(f"({_CURRENCY})", 1).drop_nulls().n_unique()
    percent = distinct.str.contains(_PERCENT)
    return signs <= 1 and (not percent.any() or bool((percent | distinct.str.contains(_ZERO)).all()))


def read_numbers(texts: pl.Series, words: Collection[str], form: NumberForm) -> pl.Series:
    """Return texts as numbers; null where they are none.

    Examples
    --------
    >>> read_numbers(pl.Series(["$1,234.50", "12%", "n/a"]), {"n/a"}, NumberForm(marked=True)).to_list()
    [1234.5, 0.12, None]
    """
    kept = trimmed(texts, words)
    if not form.marked:
        return read_plain(kept)
    marked = read_marked(kept, form.decimal)
    # A number that a computer wrote, such as 1e-05, is read in any column with points.
    return marked if form.decimal == "," else marked.zip_with(marked.is_not_null(), read_plain(kept))


def read_plain(texts: pl.Series) -> pl.Series:
    """Return texts of digits, a point and perhaps an exponent as numbers; null where they are none."""
    return texts.cast(pl.Float64, strict=False).fill_nan(None)


def is_plain(texts: pl.Series) -> pl.Series:
    """Return which texts are a finite number as computers write it."""
    return texts.str.contains(_PLAIN)


def read_marked(texts: pl.Series, decimal: Decimal) -> pl.Series:
    """Return texts with thousands set apart, a currency or per cent as numbers; null where they are none."""
    mark = "." if decimal == "," else ","
    inner = texts.str.replace_all("\u2212", "-", literal=True)
    brackets = inner.str.contains(r"^\(.*\)$")
    inner = inner.str.strip_chars("()").zip_with(brackets.fill_null(False), inner)
    percent = inner.str.contains(_PERCENT)
    inner = inner.str.replace(_PERCENT, "")
    inner = inner.str.replace(rf"^([+-]?)\s*{_CURRENCY}\s*", "${1}")
    inner = inner.str.replace(rf"\s*{_CURRENCY}$", "").str.strip_chars()
    groups = f"[{mark}{_BLANKS}{_APOSTROPHES}]"
    whole = rf"(?:[1-9]\d{{0,2}}(?:{groups}\d{{3}})+|\d+)"
    shape = rf"^[+-]?(?:{whole}(?:[{decimal}]\d*)?|[{decimal}]\d+)(?:[eE][+-]?\d+)?$"
    fits = inner.str.contains(shape)
    digits = inner.str.replace_all(groups, "").str.replace(decimal, ".", literal=True)
    numbers = digits.cast(pl.Float64, strict=False)
    numbers = (-numbers).zip_with(brackets.fill_null(False), numbers)
    numbers = (numbers / 100).zip_with(percent.fill_null(False), numbers)
    return numbers.zip_with(fits.fill_null(False), numbers.clear(texts.len()))
