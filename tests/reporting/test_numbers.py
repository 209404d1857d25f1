"""Numbers as they are written: they read back, and intervals keep their ends apart."""

from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from steelyard.reporting.numbers import decimals, number


@given(st.floats(-1e8, 1e8), st.integers(-3, 4))
def test_a_number_reads_back_within_half_a_unit(value: float, digits: int) -> None:
    text = number(value, digits)
    assert abs(float(text.replace(",", "")) - value) <= 0.5 * 10.0**-digits * (1 + 1e-9)
    assert not re.fullmatch(r"-0\.?0*", text)


@given(st.floats(1e-6, 1e6), st.floats(0.001, 0.9))
def test_an_interval_keeps_its_ends_apart(value: float, share: float) -> None:
    low, high = value * (1 - share), value * (1 + share)
    assume(high - low > 0.004)  # three decimals cannot tell ends apart that are nearer
    digits = decimals([value], low, high)
    assert number(low, digits) != number(high, digits)
