"""How the texts of a column are to be read, carried along so that every part of a table is read alike."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.auditing.reading.dates import Order
from steelyard.auditing.reading.dialect import MISSING_WORDS
from steelyard.auditing.reading.numbers import PLAIN_NUMBERS, NumberForm


@dataclass(frozen=True)
class Written:
    """How a column's texts become values.

    Attributes
    ----------
    missing : frozenset of str
        Words for a missing value where texts are numbers or days, in lower case.
    numbers : NumberForm
        How numbers are written.
    order : {"dmy", "mdy", "ymd"}
        Which of day, month and year comes first.
    flags : bool
        Texts are flags, however they are spelled.
    names : bool
        Numbers are names of categories: 3, 3.0 and ``"3"`` are one, and the words mean missing.
    """

    missing: frozenset[str] = frozenset(MISSING_WORDS)
    numbers: NumberForm = PLAIN_NUMBERS
    order: Order = "ymd"
    flags: bool = False
    names: bool = False


AS_IS = Written()
"""As computers write numbers and days."""
