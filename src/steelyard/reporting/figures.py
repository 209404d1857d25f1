"""Small drawings for the report: SVG that takes its colours from the page and any width without distortion.

Each drawing is one strip of a table row, so that the numbers stand beside it;
positions are percentages, so text and dots keep their size on a phone. Three
primitives (dots with intervals, a bar with its interval, a line with its band)
share :class:`Scale`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

from steelyard.reporting.numbers import number, percent

Shape = Literal["solid", "hollow", "diamond"]


@dataclass(frozen=True)
class Scale:
    """A linear scale from ``low`` to ``high``, drawn from 0% to 100% of the width."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float | None], *, pad: float = 0.06) -> Scale:
        """Return the scale that holds all the values, with some room at both ends.

        Examples
        --------
        >>> Scale.around([0.0, None, 1.0], pad=0.1)
        Scale(low=-0.1, high=1.1)
        """
        known = [v for v in values if v is not None]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = pad * (high - low) or abs(high) * pad or pad
        return cls(low - room, high + room)

    def at(self, value: float) -> float:
        """Return the position in percent; what lies outside stops at the edge."""
        return min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round numbers inside the scale, at most ``most`` of them.

        Examples
        --------
        >>> Scale(0.0, 1.0).ticks()
        [0.0, 0.5, 1.0]
        >>> Scale(0.76, 0.87).ticks()
        [0.8, 0.85]
        """
        span = self.high - self.low
        exponent = math.floor(math.log10(span)) - 1
        for step in (m * 10.0**e for e in range(exponent, exponent + 3) for m in (1, 2, 5)):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first + 1 <= most:
                return [round(k * step, 12) for k in range(first, last + 1)]
        return []

    def digits(self) -> int:
        """Return the decimals that tell the ticks apart."""
        ticks = self.ticks()
        step = ticks[1] - ticks[0] if len(ticks) > 1 else self.high - self.low
        return max(0, -math.floor(math.log10(step) + 1e-9))


@dataclass(frozen=True)
class Mark:
    """One value on a strip, with its interval if it has one, and a wider one around that."""

    value: float | None
    shape: Shape = "solid"
    low: float | None = None
    high: float | None = None
    far: tuple[float | None, float | None] = (None, None)


def dots(
    scale: Scale, marks: Sequence[Mark], label: str, *, reference: Sequence[float] = (), grid: bool = True
) -> Markup:
    """Draw values as dots, circles or diamonds, with intervals behind them.

    Parameters
    ----------
    scale : Scale
        Shared by the rows of one table.
    marks : sequence of Mark
        Drawn in order; those without a value are left out.
    label : str
        The text alternative.
    reference : sequence of float
        Values to mark by a dashed line.
    grid : bool
        Whether the scale's ticks are drawn.
    """
    body = _grid(scale) if grid else Markup("")
    body += Markup("").join(_vertical("reference", scale.at(r)) for r in reference)
    for mark in marks:
        if mark.far[0] is not None and mark.far[1] is not None:
            body += _whisker(scale.at(mark.far[0]), scale.at(mark.far[1]))
        if mark.low is not None and mark.high is not None:
            a, b = scale.at(mark.low), scale.at(mark.high)
            body += Markup('<rect class="band" x="{:.2f}%" y="7" width="{:.2f}%" height="8" rx="4"/>').format(
                a, max(b - a, 0.3)
            )
    for mark in marks:
        if mark.value is not None:
            body += _dot(mark.shape, scale.at(mark.value), "11")
    return _strip(body, label)


def bar(
    scale: Scale, value: float, label: str, *, low: float | None = None, high: float | None = None
) -> Markup:
    """Draw a bar from zero to the value, with a whisker for its interval."""
    zero, end = scale.at(0.0), scale.at(value)
    body = _grid(scale) + Markup('<rect class="bar" x="{:.2f}%" y="5" width="{:.2f}%" height="12"/>').format(
        min(zero, end), abs(end - zero)
    )
    body += _vertical("zero", zero)
    if low is not None and high is not None:
        body += _whisker(scale.at(low), scale.at(high))
    return _strip(body, label)


def _whisker(a: float, b: float) -> Markup:
    """Draw a line from one place to another, with a stroke at either end."""
    ends = (
        Markup('<line class="whisker" x1="{0:.2f}%" x2="{0:.2f}%" y1="8" y2="14"/>').format(x) for x in (a, b)
    )
    line = Markup('<line class="whisker" x1="{0:.2f}%" x2="{1:.2f}%" y1="11" y2="11"/>').format(a, b)
    return line + Markup("").join(ends)


def axis(scale: Scale, *, share: bool = False) -> Markup:
    """Draw the numbers of a scale, to stand under the strips that share it; shares as percentages."""
    digits, ticks = scale.digits(), scale.ticks()
    # On a phone only numbers a third of the width apart have room; zero comes first.
    roomy: list[float] = []
    for tick in sorted(ticks, key=lambda t: (t != 0, abs(t))):
        if all(abs(scale.at(tick) - scale.at(kept)) >= 33 for kept in roomy):
            roomy.append(tick)
    body = Markup("")
    for tick in ticks:
        x = scale.at(tick)
        body += Markup('<text x="{:.2f}%" y="12" text-anchor="{}"{}>{}</text>').format(
            x,
            "start" if x < 4 else "end" if x > 96 else "middle",
            Markup("") if tick in roomy else Markup(' class="wide"'),
            percent(tick, max(digits - 2, 0)) if share else number(tick, digits).replace("-", "−"),
        )
    return Markup('<svg class="axis" width="100%" height="16" aria-hidden="true">{}</svg>').format(body)


def line(
    values: Sequence[Mark], label: str, *, reference: float | None = None, actual: Sequence[float | None] = ()
) -> Markup:
    """Draw a series as a line with its band; values that are not known leave a marked gap.

    Parameters
    ----------
    values : sequence of Mark
        One a window, in order.
    label : str
        The text alternative.
    reference : float, optional
        A level to compare with, dashed.
    actual : sequence of float or None
        Measured values at the same places, drawn as diamonds.
    """
    ends = [x for m in values for x in (m.value, m.low, m.high)]
    scale = Scale.around([*ends, reference, *actual])
    n = len(values)
    xs = [100 * (i + 0.5) / n for i in range(n)]
    ys = [100 - scale.at(m.value) if m.value is not None else None for m in values]

    shapes, single = Markup(""), Markup("")
    for first, last in _runs([y is not None for y in ys]):
        upper = [(xs[i], 100 - scale.at(_known(values[i].high, values[i].value))) for i in range(first, last)]
        lower = [(xs[i], 100 - scale.at(_known(values[i].low, values[i].value))) for i in range(first, last)]
        middle = [(xs[i], _known(ys[i])) for i in range(first, last)]
        if last - first == 1:  # one point has no line to lie on
            single += Markup(
                '<line class="whisker" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1:.2f}%" y2="{2:.2f}%"/>'
            ).format(xs[first], upper[0][1], lower[0][1])
            continue
        shapes += Markup('<polygon class="band" points="{}"/>').format(_points([*upper, *reversed(lower)]))
        shapes += Markup('<polyline class="line" points="{}"/>').format(_points(middle))
    gaps = Markup("").join(
        Markup('<rect class="gap" x="{:.2f}" y="0" width="{:.2f}" height="100"/>').format(
            100 * first / n, 100 * (last - first) / n
        )
        for first, last in _runs([y is None for y in ys])
    )
    grid, numbers, digits = Markup(""), Markup(""), scale.digits()
    for tick in scale.ticks():
        y = 100 - scale.at(tick)
        grid += Markup('<line class="grid" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>').format(y)
        numbers += Markup('<text x="100%" dx="-6" y="{:.2f}%" dy="4" text-anchor="end">{}</text>').format(
            y, number(tick, digits).replace("-", "−")
        )
    if reference is not None:
        grid += Markup('<line class="reference" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>').format(
            100 - scale.at(reference)
        )
    points = Markup("")
    if n <= 60:  # beyond that the dots would hide the line
        points += Markup("").join(_dot("solid", x, f"{y:.2f}%") for x, y in zip(xs, ys) if y is not None)
    points += Markup("").join(
        _dot("diamond", x, f"{100 - scale.at(a):.2f}%") for x, a in zip(xs, actual) if a is not None
    )
    return Markup(
        '<div class="plot" role="img" aria-label="{}">'
        '<svg class="axis" width="100%" height="190" aria-hidden="true">{}</svg>'
        '<svg class="lines" width="100%" height="190" aria-hidden="true">'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{}</svg>{}'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">{}</svg>{}{}'
        "</svg></div>"
    ).format(label, numbers, gaps, grid, shapes, single, points)


def _strip(body: Markup, label: str) -> Markup:
    return Markup(
        '<svg class="strip" width="100%" height="22" role="img" aria-label="{0}"><title>{0}</title>{1}</svg>'
    ).format(escape(label), body)


def _grid(scale: Scale) -> Markup:
    return Markup("").join(_vertical("grid", scale.at(tick)) for tick in scale.ticks())


def _vertical(css: str, x: float) -> Markup:
    return Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="0" y2="100%"/>').format(css, x)


def _dot(shape: Shape, x: float, y: str) -> Markup:
    if shape == "diamond":  # an inner svg, because a path takes no percentages
        return Markup(
            '<svg x="{:.2f}%" y="{}" class="at"><path class="diamond" d="M0-6L6 0L0 6L-6 0Z"/></svg>'
        ).format(x, y)
    return Markup('<circle class="{}" cx="{:.2f}%" cy="{}" r="4.5"/>').format(shape, x, y)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _known(*candidates: float | None) -> float:
    return next(c for c in candidates if c is not None)


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the stretches of true flags, as half-open index pairs."""
    edges = [i for i in range(len(flags) + 1) if (i < len(flags) and flags[i]) != (i > 0 and flags[i - 1])]
    return list(zip(edges[::2], edges[1::2]))
