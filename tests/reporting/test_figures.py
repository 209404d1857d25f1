"""Drawings: values are read back from the positions."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from steelyard.reporting import figures
from steelyard.reporting.figures import Mark, Scale


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    assume(span > 1e-6 * abs(low))  # otherwise the ticks' own rounding shows
    scale = Scale(low, low + span)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 5
    slack = 1e-6 * span
    assert all(low - slack <= t <= low + span + slack for t in ticks)
    if len(ticks) > 1:
        mantissa = (ticks[1] - ticks[0]) / 10 ** math.floor(math.log10(ticks[1] - ticks[0]) + 1e-6)
        assert any(math.isclose(mantissa, m, rel_tol=1e-4) for m in (1, 2, 5))


def test_a_bar_starts_at_zero_and_ends_at_the_value() -> None:
    scale = Scale(-0.05, 0.15)
    svg = figures.bar(scale, -0.03, "age", low=-0.04, high=0.01)
    match = re.search(r'class="bar" x="([\d.]+)%" y="5" width="([\d.]+)%"', svg)
    assert match
    left, width = (float(g) for g in match.groups())
    assert (left, left + width) == pytest.approx((10.0, 25.0), abs=0.01)  # (-0.03 and 0 + 0.05) / 0.2
    assert [float(x) for x in re.findall(r'class="whisker" x1="([\d.]+)%"', svg)[1:]] == pytest.approx(
        [5.0, 30.0]
    )


def test_a_dot_stands_at_its_value_and_its_band_at_the_interval() -> None:
    svg = figures.dots(
        Scale(0.0, 2.0), [Mark(1.5, "solid", 1.0, 1.8), Mark(None, "hollow"), Mark(0.5, "diamond")], "m"
    )
    assert 'class="solid" cx="75.00%"' in svg
    assert 'class="band" x="50.00%" y="7" width="40.00%"' in svg
    assert "hollow" not in svg
    assert '<svg x="25.00%"' in svg


def test_a_line_breaks_where_a_window_is_inconclusive() -> None:
    marks = [
        Mark(v, "solid", v - 1, v + 1) if v else Mark(None) for v in (5.0, 6.0, None, 7.0, 8.0, None, 9.0)
    ]
    svg = figures.line(marks, "m", reference=5.5)
    assert svg.count("<polyline") == 2
    assert svg.count('class="gap"') == 2
    assert svg.count('class="solid"') == 5
    points = re.findall(r'<polyline class="line" points="([^"]+)"', svg)[0].split()
    scale = Scale.around([4.0, 10.0])
    heights = [100 - float(p.split(",")[1]) for p in points]
    assert heights == pytest.approx([scale.at(5.0), scale.at(6.0)], abs=0.01)
