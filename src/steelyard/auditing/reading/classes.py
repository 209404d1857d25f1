"""The one way in which classes are compared, wherever they stand: target, labels, predictions and options."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.missing import trimmed
from steelyard.auditing.reading.texts import is_text, known_texts

YES = {"yes", "y", "true", "t", "1", "positive", "pos"}
NO = {"no", "n", "false", "f", "0", "negative", "neg"}

_FLAGS = {"true": "True", "false": "False", "yes": "yes", "no": "no"}
# Words for a missing value that are names of classes as well: a severity, or the sign of a test.
_PERHAPS = frozenset({"none", "-"})


def class_keys(column: pl.Series, missing: Collection[str] = ()) -> pl.Series:
    """Return the texts by which classes compare; null where a value is missing.

    Neither the type nor blanks around a text matter, nor the case of a flag (true, false, yes, no). The
    case of any other word does.

    Parameters
    ----------
    column : Series
        Texts, flags or numbers.
    missing : collection of str
        Words for a missing value, in lower case.

    Examples
    --------
    >>> class_keys(pl.Series(["TRUE", "yes ", "B", "1.0", "NA"]), {"na"}).to_list()
    ['True', 'yes', 'B', '1', None]
    >>> class_keys(pl.Series([1.0, 0.5])).to_list()
    ['1', '0.5']
    """
    keys = known_texts(column)
    if not is_text(column.dtype) or column.dtype == pl.Boolean:
        return keys
    flags = keys.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.String)
    return flags.zip_with(flags.is_not_null(), trimmed(keys, missing))


def class_key(value: Any) -> str:
    """Return the text by which one class compares."""
    value = value.item() if isinstance(value, np.generic) else value
    plain = value if isinstance(value, (bool, int, float, str)) else str(value)
    key = class_keys(pl.Series([plain], strict=False))[0]
    return str(plain) if key is None else str(key)


def missing_in_classes(column: pl.Series, words: Collection[str], named: Collection[str]) -> frozenset[str]:
    """Return which words stand for a missing class in a column of a target.

    ``none`` and ``-`` may be classes: they are missing where all other values are numbers or flags, or
    where the caller says so.

    Parameters
    ----------
    column : Series
    words : collection of str
        All words for a missing value, in lower case.
    named : collection of str
        Those that the caller has named.

    Examples
    --------
    >>> words = frozenset({"na", "none", "-"})
    >>> sorted(missing_in_classes(pl.Series(["0", "1", "none"]), words, ()))
    ['-', 'na', 'none']
    >>> sorted(missing_in_classes(pl.Series(["mild", "none", "severe"]), words, ()))
    ['na']
    """
    if not is_text(column.dtype) or column.dtype == pl.Boolean:
        return frozenset(words)
    rest = class_keys(column, words).drop_nulls().unique()
    flags = rest.str.to_lowercase().is_in([*YES, *NO])
    numbers = rest.cast(pl.Float64, strict=False).is_not_null()
    if rest.len() >= 2 and bool((flags | numbers).all()):
        return frozenset(words)
    return frozenset(words) - (_PERHAPS - {word.strip().lower() for word in named})


def surely_missing(column: pl.Series, words: Collection[str]) -> pl.Series:
    """Return which values of a target are missing, whatever its other values are."""
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(False)
    if not is_text(column.dtype) or column.dtype == pl.Boolean:
        return column.is_null()
    return class_keys(column, frozenset(words) - _PERHAPS).is_null()


def class_values(column: pl.Series) -> dict[str, Any]:
    """Return the classes of a column without missing values: by key, each as it is most often written.

    Texts that are all numbers are numbers.
    """
    keys = class_keys(column)
    shown = column.cast(pl.String).str.strip_chars() if is_text(column.dtype) else column
    if column.dtype == pl.Boolean:
        shown = column
    table = pl.DataFrame({"key": keys, "value": shown}).group_by("key", "value").len()
    chosen = table.sort(["len", "value"], descending=[True, False]).unique("key", keep="first")
    values = dict(zip(chosen["key"].to_list(), chosen["value"].to_list()))
    if column.dtype != pl.Boolean and all(_is_number(key) for key in values):
        return {key: _number(key) for key in values}
    return values


def _is_number(key: str) -> bool:
    try:
        return _as_key(_number(key)) == key
    except (ValueError, OverflowError):
        return False


def _as_key(value: float | int) -> str:
    return str(known_texts(pl.Series([value]))[0])


def _number(key: str) -> float | int:
    value = float(key)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def merged_spellings(column: pl.Series) -> dict[str, list[str]]:
    """Return the classes that are written in more than one way, by key, with all of them."""
    if not is_text(column.dtype) or column.dtype == pl.Boolean:
        return {}
    table = pl.DataFrame({"key": class_keys(column), "value": column.cast(pl.String)}).unique()
    ways = (
        table.drop_nulls().group_by("key").agg(pl.col("value").sort()).filter(pl.col("value").list.len() > 1)
    )
    return {key: list(values) for key, values in sorted(ways.iter_rows())}


def class_codes(
    column: pl.Series, classes: Sequence[Any], missing: Collection[str] = (), *, any_case: bool = False
) -> npt.NDArray[np.float64]:
    """Return each value's index in ``classes``; NaN where it is missing or not one of them.

    Parameters
    ----------
    column : Series
    classes : sequence
    missing : collection of str
        Words for a missing value, in lower case.
    any_case : bool, default False
        Take a word for the only class that differs from it in case alone.

    Examples
    --------
    >>> class_codes(pl.Series(["good", "Bad ", "?"]), ("Bad", "Good"), {"?"}, any_case=True).tolist()
    [1.0, 0.0, nan]
    """
    codes = _codes(classes)
    keys = class_keys(column, missing)
    known = keys.replace_strict(codes, default=None, return_dtype=pl.Float64)
    if any_case and known.null_count() > keys.null_count():
        folded = _folded(classes)
        loose = keys.str.to_lowercase().replace_strict(folded, default=None, return_dtype=pl.Float64)
        known = known.zip_with(known.is_not_null(), loose) if folded else known
    return np.asarray(known.to_numpy(), dtype=np.float64)


def _codes(classes: Sequence[Any]) -> dict[str, float]:
    codes = {class_key(value): float(code) for code, value in enumerate(classes)}
    # A flag may be 1 on one side and True on the other.
    for flags, other in ((("False", "True"), ("0", "1")), (("0", "1"), ("False", "True"))):
        if set(codes) == set(flags):
            return {**codes, **{also: codes[flag] for flag, also in zip(flags, other)}}
    return codes


def _folded(classes: Sequence[Any]) -> dict[str, float]:
    """Return the classes' codes by their names in lower case; empty if two have the same."""
    folded = {class_key(value).lower(): float(code) for code, value in enumerate(classes)}
    return folded if len(folded) == len(classes) else {}


def find_class(value: Any, classes: Sequence[Any]) -> int | None:
    """Return which class a value names, in any type and case that leave no doubt; None if it names none.

    Examples
    --------
    >>> find_class("TRUE", (False, True)), find_class("1.0", (0, 1)), find_class("2", (0, 1))
    (1, 1, None)
    """
    key = class_key(value)
    code = _codes(classes).get(key, _folded(classes).get(key.lower()))
    return None if code is None else int(code)


def other_case(column: pl.Series, classes: Sequence[Any], missing: Collection[str]) -> list[tuple[str, Any]]:
    """Return the values that are taken for a class which differs in case alone, with that class."""
    strict, loose = (class_codes(column, classes, missing, any_case=case) for case in (False, True))
    rows = np.flatnonzero(np.isnan(strict) & ~np.isnan(loose))
    pairs = {str(column[int(row)]).strip(): classes[int(loose[row])] for row in rows[:10_000]}
    return sorted(pairs.items(), key=lambda pair: pair[0])
