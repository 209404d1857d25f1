"""Columns of texts nearly all of which are numbers or dates: too much to lose without a word."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from steelyard.auditing.reading.dates import ORDERS, read_dates
from steelyard.auditing.reading.dialect import Dialect
from steelyard.auditing.reading.missing import trimmed
from steelyard.auditing.reading.numbers import read_marked, read_plain
from steelyard.auditing.result import Finding

NEARLY_ALL = 0.95
# With fewer different values a column says as much as categories.
_FEW = 20


def partly_read(name: str, sides: Sequence[pl.Series], dialect: Dialect) -> tuple[Finding, ...]:
    """Tell if at least 95% of a column's texts are numbers or dates, and what keeps it from being read.

    Parameters
    ----------
    name : str
    sides : sequence of Series
        The texts of both tables.
    dialect : Dialect
    """
    texts = trimmed(pl.concat(list(sides)), dialect.missing_words).drop_nulls()
    if texts.n_unique() <= _FEW:
        return ()
    table = texts.alias("text").value_counts(name="rows")
    distinct, rows = table["text"], table["rows"]
    best, what = None, ""
    for word, read in _readings(distinct):
        known = read.is_not_null()
        share = int(rows.filter(known).sum()) / texts.len()
        if share >= NEARLY_ALL and (best is None or share > best[0]):
            best, what = (share, known), word
    if best is None:
        return ()
    odd = distinct.filter(~best[1]).sort()
    example = distinct.filter(best[1]).sort()[0]
    if not odd.len():
        remedy = "They are not all of one currency or unit: write them as plain numbers"
        seen = ""
    else:
        shown = ", ".join(f"'{text}'" for text in odd.head(3))
        more = f" and {odd.len() - 3} more" if odd.len() > 3 else ""
        seen = f", but for {shown}{more}"
        remedy = f"If those mean missing, say so (--null '{odd[0]}'), else correct them"
    text = (
        f"Column '{name}' looks like {what} (such as '{example}') in {best[0]:.1%} of its rows{seen}: taken "
        f"as text, which says little. {remedy}."
    )
    return (Finding(f"looks-like-{what}", "warning", text, columns=(name,)),)


def _readings(distinct: pl.Series) -> list[tuple[str, pl.Series]]:
    dates = [("dates", read_dates(distinct, order)) for order in ORDERS]
    # Digits behind a zero are codes.
    if distinct.str.contains(r"^0\d+$").any():
        return dates
    plain = read_plain(distinct)
    marked = [read_marked(distinct, sign) for sign in (".", ",")]
    numbers = [("numbers", plain.zip_with(plain.is_not_null(), one)) for one in marked]
    return [*numbers, *dates]
