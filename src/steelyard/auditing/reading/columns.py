"""One column of both tables brought to one kind, then turned into numbers or category codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.result import Finding

Kind = Literal["number", "category", "date", "absent"]

MOST_CATEGORIES = 250
OTHER = "(other)"
_MISSING_WORDS = ["", "na", "n/a", "nan", "null", "none", "?", "-", "."]
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Aligned:
    """A column of both tables in one kind.

    ``train`` and ``live`` are Float64 for numbers and dates (epoch days), String
    for categories, null where missing. ``fault`` says why that could not be done;
    ``flags`` that texts were read as True and False.
    """

    kind: Kind
    train: pl.Series
    live: pl.Series
    findings: tuple[Finding, ...] = ()
    issues: tuple[str, ...] = field(default=())
    fault: str | None = None
    flags: bool = False


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds categories."""
    return dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def is_date(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds days or instants."""
    return dtype in (pl.Date, pl.Datetime)


def align(name: str, train: pl.Series, live: pl.Series) -> Aligned:
    """Bring the two sides of a column to one kind, converting where that loses nothing.

    Parameters
    ----------
    name : str
        Used in the messages.
    train, live : Series
        The column as read, of any type.

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
        return _align_absent(name, train, live, train_is_absent=kinds[0] == "absent")
    if kinds == ("category", "category"):
        return _align_texts(name, train, live)
    if kinds[0] == kinds[1]:
        return Aligned(kinds[0], _numeric(train), _numeric(live))  # type: ignore[arg-type]
    return _convert(name, train, live, kinds[0] == "category")


def _align_absent(name: str, train: pl.Series, live: pl.Series, *, train_is_absent: bool) -> Aligned:
    """Align a column that has no value at all on one side, which fits whatever the other side is."""
    full = live if train_is_absent else train
    both = align(name, full, full)
    empty = both.train.clear((train if train_is_absent else live).len())
    sides = (empty, both.live) if train_is_absent else (both.train, empty)
    return Aligned(both.kind, *sides, both.findings, both.issues, both.fault)


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
    return _where(whole, series.cast(pl.Int64, strict=False).cast(pl.String), texts)


def parse_dates(texts: pl.Series) -> pl.Series | None:
    """Read ISO dates or instants as epoch days; None if some value is not one."""
    kept = texts.drop_nulls()
    if not kept.len() or not kept.str.contains(_ISO).all():
        return None
    days = _dates(texts)
    return days if days.null_count() == texts.null_count() else None


def _dates(texts: pl.Series) -> pl.Series:
    """Return ISO dates or instants as epoch days; null where a text is neither."""
    normal = texts.str.replace(" ", "T", literal=True)
    zoned = normal.str.contains(r"(Z|[+-]\d{2}:?\d{2})$") & normal.str.contains("T", literal=True)
    minutes = normal.str.contains(r"T\d{2}:\d{2}(Z|[+-]|$)")
    normal = _where(minutes, normal.str.replace(r"(T\d{2}:\d{2})", "${1}:00"), normal)
    normal = _where(normal.str.contains("T", literal=True), normal, normal + "T00:00:00")
    normal = _where(zoned, normal, normal + "Z")
    return _numeric(
        normal.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
    )


def _where(condition: pl.Series, yes: pl.Series, no: pl.Series) -> pl.Series:
    return yes.zip_with(condition.fill_null(False), no)


def parse_numbers(texts: pl.Series) -> tuple[pl.Series, tuple[str, ...]] | None:
    """Read texts as numbers, with the usual words for "missing"; None if some value is neither.

    Returns
    -------
    (Series, tuple of str) or None
        The numbers, and the words that were read as missing.
    """
    trimmed = texts.str.strip_chars()
    absent = trimmed.str.to_lowercase().is_in(_MISSING_WORDS)
    words = tuple(sorted(set(trimmed.filter(absent.fill_null(False)).to_list())))
    rest = _where(absent, pl.Series([None], dtype=pl.String).extend_constant(None, texts.len() - 1), trimmed)
    numbers = rest.cast(pl.Float64, strict=False)
    if numbers.null_count() != rest.null_count() or rest.null_count() == rest.len():
        return None
    return numbers, words


def _align_texts(name: str, train: pl.Series, live: pl.Series) -> Aligned:
    plain = train.dtype == pl.String and live.dtype == pl.String
    texts, live_texts = as_text(train), as_text(live)
    if plain:
        dates = parse_dates(texts), parse_dates(live_texts)
        if dates[0] is not None and dates[1] is not None:
            return Aligned("date", dates[0], dates[1])
        numbers, live_numbers = parse_numbers(texts), parse_numbers(live_texts)
        # Digits alone may well be codes (postcodes); digits beside a word for "missing" are numbers.
        if numbers and live_numbers and (numbers[1] or live_numbers[1]) and not _coded(texts, live_texts):
            words = sorted({*numbers[1], *live_numbers[1]})
            text = (
                f"Column '{name}' holds numbers and {_quoted(words)}: read as numbers, those as missing. "
                "Write missing values as empty cells to be sure."
            )
            finding = Finding("numbers-as-text", "info", text)
            return Aligned("number", numbers[0], live_numbers[0], (finding,), ("numbers written as text",))
    if pl.Boolean in (train.dtype, live.dtype) and train.dtype != live.dtype:
        flags = [_flag_words(s) for s in (texts, live_texts)]
        if all(flag is not None for flag in flags):
            finding = _type_change(name, train, live, "read as flags on both sides")
            pair = (flags[0], flags[1])
            return Aligned("category", *pair, (finding,), ("type differs",), flags=True)  # type: ignore[arg-type]
    return Aligned("category", texts, live_texts)


def _coded(*sides: pl.Series) -> bool:
    return any(bool(s.str.contains(r"^\s*0\d").any()) for s in sides)


def _flag_words(texts: pl.Series) -> pl.Series | None:
    lower = texts.str.strip_chars().str.to_lowercase()
    if not lower.drop_nulls().is_in(["true", "false"]).all():
        return None
    return lower.str.to_titlecase()


def _convert(name: str, train: pl.Series, live: pl.Series, train_is_text: bool) -> Aligned:
    """Align a column that is a text, flag or date on one side and something else on the other."""
    text, other = (train, live) if train_is_text else (live, train)
    converted: pl.Series | None = None
    kind: Kind = "number"
    how = ""
    words: tuple[str, ...] = ()
    other_numbers = _numeric(other) if not is_text(other.dtype) else None
    if is_text(text.dtype) and other_numbers is not None:
        if text.dtype == pl.Boolean and not is_date(other.dtype):
            if other_numbers.drop_nulls().is_in([0.0, 1.0]).all():
                converted, how = text.cast(pl.Float64), "flags read as 0 and 1"
        elif is_date(other.dtype):
            converted, how, kind = parse_dates(as_text(text)), "texts read as dates", "date"
        elif text.dtype in (pl.Categorical, pl.Enum) and other.dtype.is_numeric():
            codes = as_text(other)
            finding = _type_change(name, train, live, "numbers read as category names")
            pair = (as_text(train), codes) if train_is_text else (codes, as_text(live))
            return Aligned("category", *pair, (finding,), ("type differs",))
        else:
            parsed = parse_numbers(as_text(text))
            if parsed is not None:
                (converted, words), how = parsed, "texts read as numbers"
    if converted is None or other_numbers is None:
        return Aligned("absent", train, live, fault=_mismatch(name, train, live))
    if words:
        how += f" ({_quoted(list(words))} as missing)"
    finding = _type_change(name, train, live, how)
    pair = (converted, other_numbers) if train_is_text else (other_numbers, converted)
    issue = "numbers written as text" if how.startswith("texts read as numbers") else "type differs"
    if issue != "type differs":
        finding = Finding("numbers-as-text", finding.severity, finding.text)
    return Aligned(kind, *pair, (finding,), (issue,))


def convert(series: pl.Series, kind: Kind, *, flags: bool = False) -> pl.Series:
    """Bring further rows of a column to the kind that was found for it; what does not fit becomes missing.

    Parameters
    ----------
    series : Series
        The rows, of any type.
    kind : {"number", "category", "date"}
    flags : bool
        Texts are flags, however they are spelled.

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
        words = as_text(series)
        return words.str.strip_chars().str.to_lowercase().str.to_titlecase() if flags else words
    if series.dtype == pl.Null:
        return series.cast(pl.Float64)
    if not text:
        return _numeric(series)
    if series.dtype == pl.Boolean:
        return series.cast(pl.Float64)
    if kind == "date":
        return _dates(as_text(series))
    trimmed = as_text(series).str.strip_chars()
    return trimmed.cast(pl.Float64, strict=False).fill_nan(None)


def unread(series: pl.Series, read: pl.Series) -> int:
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
    return int((~lost.str.strip_chars().str.to_lowercase().is_in(_MISSING_WORDS)).sum())


def _type_change(name: str, train: pl.Series, live: pl.Series, how: str) -> Finding:
    text = (
        f"Column '{name}' is {_word(train)} in TRAIN and {_word(live)} in LIVE: {how}. "
        "Store it in one type, in case the deployed model sees the difference."
    )
    return Finding("type-change", "warning", text)


def _mismatch(name: str, train: pl.Series, live: pl.Series) -> str:
    shown = [f"{_word(s)} in {side}{_example(s)}" for s, side in ((train, "TRAIN"), (live, "LIVE"))]
    return f"column '{name}' is {shown[0]} but {shown[1]}; make the types agree or exclude the column"


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


def _quoted(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def category_order(train: Mapping[str, int], live: Mapping[str, int]) -> tuple[str, ...]:
    """Order categories for coding: TRAIN's by frequency, then those that only LIVE has; at most 250.

    Which 250 are kept goes by the rows of both tables together: to prefer TRAIN's would
    send LIVE's rare categories to the rest more often than TRAIN's, a difference between
    the tables that is none.

    Parameters
    ----------
    train, live : mapping of str to int
        The rows of each category.

    Examples
    --------
    >>> category_order({"a": 2, "b": 5}, {"a": 1, "c": 9})
    ('b', 'a', 'c')
    """

    def ranked(counts: Mapping[str, int]) -> list[str]:
        return sorted(counts, key=lambda text: (-counts[text], text))

    names = ranked(train) + [text for text in ranked(live) if text not in train]
    if len(names) <= MOST_CATEGORIES:
        return tuple(names)
    together = {text: train.get(text, 0) + live.get(text, 0) for text in names}
    kept = set(ranked(together)[:MOST_CATEGORIES])
    return (*(text for text in names if text in kept), OTHER)


def encode(texts: pl.Series, categories: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Return each text's index in ``categories``; unlisted ones share the last, missing ones are NaN."""
    codes = {text: float(code) for code, text in enumerate(categories)}
    last = float(len(categories) - 1) if categories and categories[-1] == OTHER else None
    encoded = texts.replace_strict(codes, default=last, return_dtype=pl.Float64)
    return np.asarray(
        _where(texts.is_null(), encoded.clear(texts.len()), encoded).to_numpy(), dtype=np.float64
    )


def counts(texts: pl.Series) -> dict[str, int]:
    """Return how many rows hold each text."""
    table = texts.drop_nulls().alias("text").value_counts(name="rows")
    return {str(text): int(n) for text, n in zip(table.to_series(0), table["rows"])}
