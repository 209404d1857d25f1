"""Which probability column is which class's, told from the columns' names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from steelyard.auditing.reading.classes import class_key


def class_positions(names: Sequence[str], classes: Sequence[Any]) -> list[int] | str | None:
    """Return, for each class, which of the columns is its.

    A column is of the class that its name ends with; where several fit, of the longest.

    Parameters
    ----------
    names : sequence of str
        One column a class.
    classes : sequence

    Returns
    -------
    list of int, str or None
        What is wrong in words, if some names fit and others do not; None if no name ends with a class.

    Examples
    --------
    >>> class_positions(["p_b", "p_a_b"], ["a_b", "b"])
    [1, 0]
    >>> class_positions(["proba_yes", "proba_no"], ["No", "Yes"])
    [1, 0]
    >>> class_positions(["first", "second"], ["a", "b"]) is None
    True
    """
    keys = [class_key(value) for value in classes]
    some = False
    for words in _ways(keys):
        for plain in (str, str.lower, _spelling):
            known = [plain(word) for word in words]
            if len(set(known)) < len(known):
                break
            nearest = [_ending(plain(name), known) for name in names]
            some |= any(found is not None for found in nearest)
            if None not in nearest and len(set(nearest)) == len(names):
                return [nearest.index(code) for code in range(len(keys))]
    if not some:
        return None
    shown = ", ".join(f"'{name}'" for name in names)
    wanted = ", ".join(f"'p_{key}'" for key in keys[:6])
    return f"({shown}) cannot be told apart by the classes that they end with; name them like {wanted}"


def _ways(keys: Sequence[str]) -> list[list[str]]:
    """Return the classes as a name may have them: 1 may stand there as 1.0, and True as 1."""
    ways = [list(keys), [f"{key}.0" if key.isdigit() else key for key in keys]]
    other = {"0": "False", "1": "True", "False": "0", "True": "1"}
    return [*ways, [other[key] for key in keys]] if set(keys) in ({"0", "1"}, {"False", "True"}) else ways


def _ending(name: str, known: Sequence[str]) -> int | None:
    """Return the longest class that a name ends with, after a sign or at its start."""
    fits = [
        code
        for code, word in enumerate(known)
        if name == word or (name.endswith(word) and _apart(name[: -len(word)], word))
    ]
    return max(fits, key=lambda code: len(known[code]), default=None)


def _apart(before: str, key: str) -> bool:
    if not before:
        return True
    # "p1" ends with the class 1, "p11" does not.
    return not before[-1].isalnum() or (key.isdigit() and before[-1].isalpha())


def _spelling(text: str) -> str:
    return re.sub(r"[^\w+]+|_+", "_", text.lower()).strip("_") or text
