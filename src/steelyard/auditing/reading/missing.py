"""What stands for a missing value: nulls, NaN, and words in texts."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl


def is_missing_word(texts: pl.Series, words: Collection[str]) -> pl.Series:
    """Return which texts are words for a missing value, whatever their case and the blanks around them.

    Parameters
    ----------
    texts : Series of String
    words : collection of str
        In lower case.

    Examples
    --------
    >>> is_missing_word(pl.Series(["n/a ", "1", None]), {"n/a"}).to_list()
    [True, False, False]
    """
    return texts.str.strip_chars().str.to_lowercase().is_in(list(words)).fill_null(False)


def trimmed(texts: pl.Series, words: Collection[str]) -> pl.Series:
    """Return texts without the blanks around them, null where a word stands for a missing value.

    Examples
    --------
    >>> trimmed(pl.Series(["NA", " 1 "]), {"na"}).to_list()
    [None, '1']
    """
    none = pl.Series(texts.name, [None], dtype=pl.String).new_from_index(0, texts.len())
    return none.zip_with(is_missing_word(texts, words), texts.str.strip_chars())


def words_found(texts: pl.Series, words: Collection[str]) -> tuple[str, ...]:
    """Return the words for a missing value that occur, as they are written but for blanks around them."""
    found = texts.filter(is_missing_word(texts, words)).str.strip_chars()
    return tuple(sorted(found.unique().to_list()))
