"""Categories as codes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

MOST_CATEGORIES = 250
OTHER = "(other)"


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
        encoded.clear(texts.len()).zip_with(texts.is_null(), encoded).to_numpy(), dtype=np.float64
    )


def counts(texts: pl.Series) -> dict[str, int]:
    """Return how many rows hold each text."""
    table = texts.drop_nulls().alias("text").value_counts(name="rows")
    return {str(text): int(n) for text, n in zip(table.to_series(0), table["rows"])}
