"""How the caller says that tables are to be read, where their values alone do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from steelyard.errors import InputError

MISSING_WORDS = ("", "na", "n/a", "nan", "null", "none", "?", "-", ".")
"""What stands for a missing value in a column of numbers, days or classes, in lower case."""

_TASKS = ("classification", "regression")


@dataclass(frozen=True)
class Dialect:
    """How both tables and the labels are read.

    Attributes
    ----------
    task : {"classification", "regression"}, optional
        What the target is; told from its values by default.
    categorical : tuple of str
        Columns whose numbers are names of categories.
    null : tuple of str
        Further words for a missing value, in any column.
    decimal : {".", ","}
        The sign before decimals, in numbers that are written as text.
    """

    task: Literal["classification", "regression"] | None = None
    categorical: tuple[str, ...] = ()
    null: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."

    @property
    def missing_words(self) -> frozenset[str]:
        """All words for a missing value, in lower case and without blanks around them."""
        return frozenset(MISSING_WORDS) | {word.strip().lower() for word in self.null}


PLAIN = Dialect()
"""As the values themselves tell."""


def dialect(
    *,
    task: Any = None,
    categorical: str | Sequence[str] = (),
    null: str | Sequence[str] = (),
    decimal: Any = ".",
) -> Dialect:
    """Return the dialect of these options.

    Raises
    ------
    InputError
        If an option has no such choice.

    Examples
    --------
    >>> dialect(null="unknown").missing_words >= {"na", "unknown"}
    True
    """
    faults = []
    if task not in (None, *_TASKS):
        faults.append(f"--task {task!r} is unknown; choose {' or '.join(_TASKS)}")
    if decimal not in (".", ","):
        faults.append(f"--decimal {decimal!r} is no decimal sign; choose '.' or ','")
    if faults:
        raise InputError(faults)
    columns = (categorical,) if isinstance(categorical, str) else tuple(categorical)
    words = (null,) if isinstance(null, str) else tuple(null)
    return Dialect(task, columns, words, decimal)
