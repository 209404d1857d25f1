"""Which categories are the same word in another spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Return categories by their spelling, but for those that the table itself tells apart."""
    known: dict[str, str] = {}
    twice = set()
    for name in names:
        plain = spelling(name)
        if plain in known:
            twice.add(plain)
        known[plain] = name
    return {plain: name for plain, name in known.items() if plain not in twice}


def spelling(text: str) -> str:
    """Return what is left of a category without case, blanks, and what stands for a blank.

    A sign before a number or behind a grade is none: ``A-`` is not ``A``, nor ``-5`` the same as ``5``.
    A number is the same with a point and zeros behind it, or with zeros before it.

    Examples
    --------
    >>> [spelling(text) for text in ("New_York ", "A-", "pre-school", "-05.0")]
    ['new york', 'a-', 'pre school', '-5']
    """
    plain = re.sub(r"[\s_]+", " ", text).strip().casefold()
    plain = re.sub(r"(?<=[^\W\d_]) ?[-\u2010\u2011] ?(?=[^\W\d_])", " ", plain)
    return re.sub(r"^([+-]?)0*(\d+)(?:\.0*)?$", r"\1\2", plain)
