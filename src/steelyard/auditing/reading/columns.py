"""One column of both tables brought to one kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from steelyard.auditing.reading.aligned import Aligned, Kind
from steelyard.auditing.reading.both_texts import (
    dates_told,
    numbers_told,
    quoted,
    texts_as_dates,
    texts_as_numbers,
)
from steelyard.auditing.reading.dates import (
    DateEvidence,
    choose_order,
    read_dates,
)
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.missing import is_missing_word, trimmed, words_found
from steelyard.auditing.reading.numbers import number_form, read_numbers
from steelyard.auditing.reading.partly import partly_read
from steelyard.auditing.reading.texts import as_text, is_date, is_text, known_texts
from steelyard.auditing.reading.written import AS_IS, Written
from steelyard.auditing.result import Finding

_DAY_US = 86_400_000_000


def align(
    name: str, train: pl.Series, live: pl.Series, dialect: Dialect = PLAIN, *, as_names: bool = False
) -> Aligned:
    """Bring the two sides of a column to one kind, converting where that loses nothing.

    Parameters
    ----------
    name : str
        Used in the messages.
    train, live : Series
        The column as read, of any type.
    dialect : Dialect
        How the caller says that values are to be read.
    as_names : bool
        The column's numbers are names of categories.

    Returns
    -------
    Aligned
        With a fault if the two sides hold different things, or something that is not a table's value.

    Notes
    -----
    O(rows) time and memory.
    """
    kinds = (_kind(train), _kind(live))
    for series, kind, side in ((train, kinds[0], "TRAIN"), (live, kinds[1], "LIVE")):
        if kind is None:
            fault = (
                f"column '{name}' in {side} is of type {series.dtype}, which no step can use; remove "
                "it or exclude it"
            )
            return Aligned("absent", train, live, fault=fault)
    if kinds == ("absent", "absent"):
        return Aligned("absent", train.cast(pl.Float64), live.cast(pl.Float64))
    if "absent" in kinds:
        return _align_absent(name, train, live, dialect, as_names, train_is_absent=kinds[0] == "absent")
    if as_names:
        return _as_names(train, live, dialect)
    if kinds == ("category", "category"):
        return _align_texts(name, train, live, dialect)
    if kinds[0] == kinds[1]:
        return Aligned(kinds[0], _numeric(train), _numeric(live))  # type: ignore[arg-type]
    return _convert(name, train, live, kinds[0] == "category", dialect)


def _align_absent(
    name: str, train: pl.Series, live: pl.Series, dialect: Dialect, as_names: bool, *, train_is_absent: bool
) -> Aligned:
    """Align a column that has no value at all on one side, which fits whatever the other side is."""
    full = live if train_is_absent else train
    both = align(name, full, full, dialect, as_names=as_names)
    empty = both.train.clear((train if train_is_absent else live).len())
    sides = {"train": empty} if train_is_absent else {"live": empty}
    return replace(both, **sides)  # type: ignore[arg-type]


def _kind(series: pl.Series) -> Kind | None:
    dtype = series.dtype
    if dtype == pl.Null or series.null_count() == series.len():
        return "absent"
    if is_date(dtype):
        return "date"
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return "number"
    return "category" if is_text(dtype) else None


def _numeric(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Date:
        return series.to_physical().cast(pl.Float64)
    if series.dtype == pl.Datetime:
        return series.cast(pl.Datetime("us")).to_physical().cast(pl.Float64) / _DAY_US
    if series.dtype == pl.Time:
        return series.to_physical().cast(pl.Float64) / 1e9
    if series.dtype == pl.Duration:
        return series.dt.total_microseconds().cast(pl.Float64) / 1e6
    return series.cast(pl.Float64).fill_nan(None)


def _as_names(train: pl.Series, live: pl.Series, dialect: Dialect) -> Aligned:
    """Take numbers for names of categories; so do words for a missing number mean that a name is missing."""
    sides = [known_texts(train), known_texts(live)]
    texts = pl.concat([side.rename("") for side in sides])
    form = number_form(texts, dialect.missing_words)
    written = Written(dialect.missing_words if form is not None else frozenset(), names=True)
    names = [convert(side, "category", written) for side in sides]
    return Aligned("category", names[0], names[1], written=written)


# Texts on both sides -----------------------------------------------------------------


def _align_texts(name: str, train: pl.Series, live: pl.Series, dialect: Dialect) -> Aligned:
    texts, live_texts = as_text(train), as_text(live)
    if train.dtype == pl.String and live.dtype == pl.String:
        read = texts_as_dates(name, texts, live_texts, dialect)
        read = read or texts_as_numbers(name, texts, live_texts, dialect)
        if read is not None:
            return read
        told = partly_read(name, (texts, live_texts), dialect)
        return Aligned("category", texts, live_texts, told, ("partly read",) if told else ())
    if pl.Boolean in (train.dtype, live.dtype) and train.dtype != live.dtype:
        flags = [_flag_words(s) for s in (texts, live_texts)]
        if all(flag is not None for flag in flags):
            finding = _type_change(name, train, live, "read as flags on both sides")
            pair = (flags[0], flags[1])
            return Aligned("category", *pair, (finding,), ("type differs",), written=Written(flags=True))  # type: ignore[arg-type]
    return Aligned("category", texts, live_texts)


def _flag_words(texts: pl.Series) -> pl.Series | None:
    lower = texts.str.strip_chars().str.to_lowercase()
    if not lower.drop_nulls().is_in(["true", "false"]).all():
        return None
    return lower.str.to_titlecase()


# Texts on one side -------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """Texts that were read as what the other side holds, and how."""

    values: pl.Series
    how: str
    kind: Kind = "number"
    written: Written = AS_IS
    told: tuple[Finding, ...] = ()


def _convert(name: str, train: pl.Series, live: pl.Series, train_is_text: bool, dialect: Dialect) -> Aligned:
    """Align a column that is a text, flag or date on one side and something else on the other."""
    text, other = (train, live) if train_is_text else (live, train)
    if not is_text(text.dtype) or is_text(other.dtype):
        return Aligned("absent", train, live, fault=_mismatch(name, train, live))
    if text.dtype in (pl.Categorical, pl.Enum) and other.dtype.is_numeric():
        finding = _type_change(name, train, live, "numbers read as category names")
        pair = as_text(train), as_text(live)
        return Aligned("category", *pair, (finding,), ("type differs",))
    numbers = _numeric(other)
    if text.dtype == pl.Boolean:
        read = _flags_as_numbers(text, numbers, other)
    elif is_date(other.dtype):
        read = _dates_like(name, as_text(text), numbers, dialect)
    else:
        read = _numbers_like(name, as_text(text), dialect)
    if read is None:
        return Aligned("absent", train, live, fault=_mismatch(name, train, live))
    finding = _type_change(name, train, live, read.how)
    pair = (read.values, numbers) if train_is_text else (numbers, read.values)
    issue = "type differs"
    if read.how.startswith("texts read as numbers"):
        issue, finding = "numbers written as text", replace(finding, id="numbers-as-text")
    return Aligned(read.kind, *pair, (finding, *read.told), (issue,), written=read.written)


def _flags_as_numbers(text: pl.Series, numbers: pl.Series, other: pl.Series) -> _Read | None:
    if is_date(other.dtype) or not numbers.drop_nulls().is_in([0.0, 1.0]).all():
        return None
    return _Read(text.cast(pl.Float64), "flags read as 0 and 1")


def _dates_like(name: str, texts: pl.Series, days: pl.Series, dialect: Dialect) -> _Read | None:
    words = dialect.missing_words
    kept = trimmed(texts, words)
    known = days.drop_nulls()
    chosen = choose_order([DateEvidence.of(kept)], (float(known.min()), float(known.max())))  # type: ignore[arg-type]
    if chosen is None:
        return None
    written = Written(words, order=chosen.order)
    told = dates_told(name, chosen, kept)
    return _Read(read_dates(kept, chosen.order), "texts read as dates", "date", written, told)


def _numbers_like(name: str, texts: pl.Series, dialect: Dialect) -> _Read | None:
    words = dialect.missing_words
    form = number_form(texts, words, dialect.decimal)
    if form is None:
        return None
    found = words_found(texts, words)
    how = "texts read as numbers" + (f" ({quoted(found)} as missing)" if found else "")
    told = (numbers_told(name, form, texts, found, dialect),) if form.ambiguous else ()
    return _Read(read_numbers(texts, words, form), how, "number", Written(words, form), told)


# Further rows ------------------------------------------------------------------------


def convert(series: pl.Series, kind: Kind, written: Written = AS_IS) -> pl.Series:
    """Bring further rows of a column to the kind that was found for it; what does not fit becomes missing.

    Parameters
    ----------
    series : Series
        The rows, of any type.
    kind : {"number", "category", "date"}
    written : Written
        How texts are read.

    Returns
    -------
    Series
        Float64 for numbers and dates, String for categories, as in `Aligned`.

    Examples
    --------
    >>> import polars as pl
    >>> convert(pl.Series(["1.5", "n/a", "x"]), "number").to_list()
    [1.5, None, None]
    """
    text = is_text(series.dtype)
    if kind == "category":
        if written.names:
            return trimmed(known_texts(series), written.missing)
        words = as_text(series)
        return words.str.strip_chars().str.to_lowercase().str.to_titlecase() if written.flags else words
    if series.dtype == pl.Null:
        return series.cast(pl.Float64)
    if not text:
        return _numeric(series)
    if series.dtype == pl.Boolean:
        return series.cast(pl.Float64)
    if kind == "date":
        return read_dates(trimmed(as_text(series), written.missing), written.order)
    return read_numbers(as_text(series), written.missing, written.numbers)


def unread(series: pl.Series, read: pl.Series, written: Written = AS_IS) -> int:
    """Return in how many rows ``convert`` found a text that is neither a number or date nor means "missing".

    Examples
    --------
    >>> import polars as pl
    >>> texts = pl.Series(["1.5", "n/a", "x"])
    >>> unread(texts, convert(texts, "number"))
    1
    """
    if not is_text(series.dtype) or read.null_count() == series.null_count():
        return 0
    lost = as_text(series.filter(read.is_null() & series.is_not_null()))
    return int((~is_missing_word(lost, written.missing)).sum())


# In words ----------------------------------------------------------------------------


def _type_change(name: str, train: pl.Series, live: pl.Series, how: str) -> Finding:
    text = (
        f"Column '{name}' is {_word(train)} in TRAIN and {_word(live)} in LIVE: {how}. "
        "Store it in one type, in case the deployed model sees the difference."
    )
    return Finding("type-change", "warning", text)


def _mismatch(name: str, train: pl.Series, live: pl.Series) -> str:
    shown = [f"{_word(s)} in {side}{_example(s)}" for s, side in ((train, "TRAIN"), (live, "LIVE"))]
    return (
        f"column '{name}' is {shown[0]} but {shown[1]}; make the types agree, name a word that means "
        "missing (--null) or exclude the column"
    )


def _example(series: pl.Series) -> str:
    if not is_text(series.dtype):
        return ""
    texts = as_text(series).drop_nulls()
    odd = texts.filter(texts.str.strip_chars().cast(pl.Float64, strict=False).is_null())
    shown = odd if odd.len() else texts
    return f" (such as '{shown[0]}')" if shown.len() else ""


def _word(series: pl.Series) -> str:
    if series.dtype == pl.Boolean:
        return "a flag"
    if is_text(series.dtype):
        return "text"
    return "a date" if is_date(series.dtype) else "a number"
