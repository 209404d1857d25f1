"""How far one column moved, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, kstwobign

from steelyard.numerics.checks import as_weights
from steelyard.numerics.quantile_sketch import QuantileSketch
from steelyard.numerics.summaries import CategoryCounts
from steelyard.numerics.weighted import effective_sample_size

FloatArray = npt.NDArray[np.float64]


def kolmogorov_smirnov(a: FloatArray, b: FloatArray, *, sample_weight: Any = None) -> tuple[float, float]:
    """Return the largest gap between two distribution functions, and its asymptotic p-value.

    Parameters
    ----------
    a, b : arrays of shape (n,) and (m,)
    sample_weight : array of shape (n,), optional
        Of ``a``; its effective sample size then stands for n.

    Notes
    -----
    With ties the p-value is conservative. Time O((n + m) log(n + m)).

    Examples
    --------
    >>> import numpy as np
    >>> distance, p = kolmogorov_smirnov(np.arange(100.0), np.arange(100.0) + 50)
    >>> distance, p < 1e-6
    (0.5, True)
    """
    w = None if sample_weight is None else as_weights(sample_weight, len(a))
    n = len(a) if w is None else effective_sample_size(w)
    return _largest_gap(_Steps.of(a, w), n, _Steps.of(b), len(b))


@dataclass(frozen=True)
class _Steps:
    """A distribution function: values in order, and the weight up to each (None where all weigh the same)."""

    values: FloatArray
    cumulative: FloatArray | None

    @classmethod
    def of(cls, values: FloatArray, weights: FloatArray | None = None) -> _Steps:
        if weights is None or weights.min() == weights.max():
            return cls(np.sort(values), None)  # no weight has to follow its value
        order = np.argsort(values)
        return cls(values[order], np.concatenate([[0.0], np.cumsum(weights[order])]))

    def share(self, points: FloatArray, side: Literal["left", "right"]) -> FloatArray:
        """Return the share of weight below the points, or up to them."""
        count = np.searchsorted(self.values, points, side=side)
        if self.cumulative is None:
            return np.asarray(count / len(self.values))
        return np.asarray(self.cumulative[count] / self.cumulative[-1])


# Looking a value up costs more than sorting it, so first only one in so many is looked up.
_STRIDE = 64


def _largest_gap(a: _Steps, n: float, b: _Steps, m: float) -> tuple[float, float]:
    """Return the largest gap between two samples of n and m effective rows, and its p-value.

    F_a exceeds F_b the most at a value of a, and falls short of it the most just before one (or
    not at all). Between two values of a, no gap exceeds F_a at the second less F_b at the first, or
    the reverse; only where this is more than what was found already is every value looked at.
    """
    edges = np.append(a.values[::_STRIDE], a.values[-1])
    up_to, other_up_to = a.share(edges, "right"), b.share(edges, "right")
    found = _gap_at(a, b, edges)
    bound = np.maximum(up_to[1:] - other_up_to[:-1], other_up_to[1:] - up_to[:-1])
    rows = np.flatnonzero(bound > found)[:, None] * _STRIDE + np.arange(1, _STRIDE)
    distance = max(found, _gap_at(a, b, a.values[rows[rows < len(a.values)]]))
    return distance, float(kstwobign.sf(distance * np.sqrt(n * m / (n + m))))


def _gap_at(a: _Steps, b: _Steps, points: FloatArray) -> float:
    """Return the largest gap at values of a and just before them; 0 without any."""
    above = a.share(points, "right") - b.share(points, "right")
    below = b.share(points, "left") - a.share(points, "left")
    return float(max(above.max(initial=0.0), below.max(initial=0.0)))


def total_variation(
    a: npt.NDArray[Any], b: npt.NDArray[Any], *, sample_weight: Any = None
) -> tuple[float, float]:
    """Return the total variation between two samples of codes, and a chi-squared p-value.

    Categories with fewer than five expected rows on a side are tested together.
    Time O(n + m).

    Examples
    --------
    >>> import numpy as np
    >>> total_variation(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))[0]
    0.25
    """
    w = as_weights(sample_weight, len(a))
    distance, p = category_shift(CategoryCounts.of(a.astype(int), w), CategoryCounts.of(b.astype(int)))
    return float(distance[0]), float(p[0])


def category_shift(source: CategoryCounts, target: CategoryCounts) -> tuple[FloatArray, FloatArray]:
    """Return each column's total variation between two sets of counts, and chi-squared p-values, (d,) each.

    Missing values are a category of their own. Without rows on a side both are NaN.

    Examples
    --------
    >>> from steelyard.numerics import CategoryCounts
    >>> distance, p = category_shift(CategoryCounts.of([0, 0, 1, 1]), CategoryCounts.of([0, 0, 0, 1]))
    >>> distance.tolist()
    [0.25]
    """
    n, m = source.effective_rows, target.effective_rows
    if n == 0 or m == 0:
        nothing = np.full(len(source.counts), np.nan)
        return nothing, nothing
    p_values = []
    for j in range(len(source.counts)):
        a, b = source.both_shares(target, j)
        if a[-1] == 1 or b[-1] == 1:
            # A side without any value: all that can differ is the share of missing ones.
            a, b = (np.array([1 - share[-1], share[-1]]) for share in (a, b))
        p_values.append(_chi_squared(a, b, n, m))
    return source.total_variation(target), np.array(p_values)


def _chi_squared(share_a: FloatArray, share_b: FloatArray, n: float, m: float) -> float:
    """Return the p-value of the difference of shares of n and m rows, rare categories together."""
    pooled = (n * share_a + m * share_b) / (n + m)
    small = pooled * min(n, m) < 5
    tested_a = np.append(share_a[~small], share_a[small].sum())
    tested_b = np.append(share_b[~small], share_b[small].sum())
    expected = np.append(pooled[~small], pooled[small].sum())
    filled = expected > 0
    if filled.sum() < 2:
        return 1.0
    statistic = float(np.sum((tested_a - tested_b)[filled] ** 2 / expected[filled])) * n * m / (n + m)
    return float(chi2.sf(statistic, int(filled.sum()) - 1))


def number_shift(source: QuantileSketch, target: QuantileSketch) -> tuple[float, float]:
    """Return effect and p-value of a column of numbers, as `column_shift` does, from two sketches.

    Exact where the sketches are complete; else the effect is off by no more
    than the sum of their rank errors, and the p-value is that of as many rows
    as they keep.

    Examples
    --------
    >>> import numpy as np
    >>> from steelyard.numerics import QuantileSketch
    >>> a, b = np.arange(100.0), np.append(np.arange(100.0) + 50, np.nan)
    >>> number_shift(QuantileSketch.of(a), QuantileSketch.of(b)) == column_shift(a, b, categorical=False)
    True
    """
    if not len(source.values) or not len(target.values):
        return _with_missing(None, source.presence, target.presence)
    among_known = _largest_gap(
        _Steps.of(source.values, source.masses),
        source.effective_rows,
        _Steps.of(target.values, target.masses),
        target.effective_rows,
    )
    return _with_missing(among_known, source.presence, target.presence)


def column_shift(
    a: FloatArray, b: FloatArray, *, categorical: bool, sample_weight: Any = None
) -> tuple[float, float]:
    """Return effect in [0, 1] and p-value of one column, missing values counted as a category of their own.

    For a number: the larger effect of the known values' distance, shrunk by the
    share known, and of the change in the share missing; Bonferroni over the two.
    """
    w = None if sample_weight is None else as_weights(sample_weight, len(a))
    if categorical:
        effects, p_values = category_shift(CategoryCounts.of(a, w), CategoryCounts.of(b))
        return float(effects[0]), float(p_values[0])
    known, known_b = ~np.isnan(a), ~np.isnan(b)
    if len(a) and len(b) and known.all() and known_b.all():
        return kolmogorov_smirnov(a, b, sample_weight=w)
    presence = CategoryCounts.of(np.where(known, 0.0, np.nan), w)
    presence_b = CategoryCounts.of(np.where(known_b, 0.0, np.nan))
    counted = known if w is None else known & (w > 0)
    if not known_b.any() or not counted.any():
        return _with_missing(None, presence, presence_b)
    among_known = kolmogorov_smirnov(a[known], b[known_b], sample_weight=None if w is None else w[known])
    return _with_missing(among_known, presence, presence_b)


def _with_missing(
    among_known: tuple[float, float] | None, presence: CategoryCounts, presence_target: CategoryCounts
) -> tuple[float, float]:
    """Join effect and p-value among the known values (None without any) with the change in their share."""
    effects, p_values = category_shift(presence, presence_target)
    gap, p_gap = float(effects[0]), float(p_values[0])
    if among_known is None:
        return gap, p_gap
    effect, p = among_known
    if not presence.missing[0] and not presence_target.missing[0]:
        return effect, p
    covered = min(1.0 - float(side.shares(0)[-1]) for side in (presence, presence_target))
    return max(gap, effect * covered), min(1.0, 2 * min(p, p_gap))


def benjamini_hochberg(p_values: Any) -> FloatArray:
    """Return p-values adjusted to control the false discovery rate.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return out
