"""How numbers are written to be read: rounding, intervals and percentages.

Numbers that belong together are rounded alike, to what their interval supports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def decimals(values: Iterable[float | None], low: float | None = None, high: float | None = None) -> int:
    """Return how many decimals a reader can use for numbers that belong together.

    Two figures of the interval's half-width where there is one, otherwise three
    figures of the largest value; never more than three figures after the point
    for numbers of ordinary size. Negative means rounding to tens, hundreds, and
    so on.

    Examples
    --------
    >>> decimals([0.79123], 0.77712, 0.80534)
    3
    >>> decimals([48213.7], 47011.2, 49400.9)
    -2
    """
    largest = max((abs(v) for v in values if v is not None), default=0.0)
    by_size = 2 - math.floor(math.log10(largest)) if largest > 0 else 2
    most = max(3, by_size) if largest < 0.1 else 3
    if low is not None and high is not None and high > low:
        return min(1 - math.floor(math.log10((high - low) / 2)), most)
    return min(by_size, most)


def number(value: float | None, digits: int | None = None, *, sign: bool = False) -> str:
    """Write a number to be read: rounded, with thousands separators; a dash where there is none.

    Examples
    --------
    >>> number(0.791234), number(48213.7, -2), number(-0.0001, 3), number(None)
    ('0.791', '48,200', '0.000', '–')
    """
    if value is None:
        return "–"
    digits = decimals([value]) if digits is None else digits
    if digits > 5 or abs(value) >= 1e9:
        return f"{value:+.2e}" if sign else f"{value:.2e}"
    rounded = round(value, digits) + 0.0
    text = f"{abs(rounded):,.{max(digits, 0)}f}"
    return ("-" if rounded < 0 else "+" if sign and rounded > 0 else "") + text


def percent(value: float | None, digits: int | None = None) -> str:
    """Write a share as a percentage.

    Examples
    --------
    >>> percent(0.3412), percent(0.0231), percent(0.0002), percent(0.9031, 1)
    ('34%', '2.3%', '<0.1%', '90.3%')
    """
    if value is None:
        return "–"
    if digits is None:
        if 0 < value < 0.001:
            return "<0.1%"
        digits = 1 if 0 < value < 0.0995 else 0
    return f"{100 * value:.{digits}f}%"


def interval(low: float | None, high: float | None, digits: int) -> str:
    """Write an interval in brackets, or nothing where it is not known."""
    if low is None or high is None:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def percent_interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares in brackets, or nothing where it is not known."""
    if low is None or high is None:
        return ""
    return f"[{percent(low, 1)}, {percent(high, 1)}]"


def p_value(value: float | None) -> str:
    """Write a p-value.

    Examples
    --------
    >>> p_value(0.00002), p_value(0.0314)
    ('p < 0.001', 'p = 0.031')
    """
    if value is None:
        return "no p-value"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def row_digits(row: Mapping[str, Any]) -> int:
    """Return the decimals for one metric's numbers."""
    values = [row["naive"], row["live_estimate"], row["live_actual"]]
    return decimals(values, row["low"], row["high"])


def change_digits(attribution: Mapping[str, Any], performance: Sequence[Mapping[str, Any]]) -> int:
    """Return the decimals for the parts of a change.

    As fine as the interval of the largest part allows, but never finer than the
    metric itself is shown, or than three decimals.
    """
    largest = max(attribution["parts"], key=lambda p: abs(p["change"]))
    digits = decimals([attribution["total"], largest["change"]], largest["low"], largest["high"])
    own = [row_digits(row) for row in performance if row["metric"] == attribution["metric"]]
    return min(digits, max([3, *own]))
