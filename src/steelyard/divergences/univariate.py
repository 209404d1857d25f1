"""How far one column moved, and whether that is more than chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, kstwobign

from steelyard.numerics.checks import as_weights
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
    w = as_weights(sample_weight, len(a))
    order_a, b_sorted = np.argsort(a, kind="stable"), np.sort(b)
    a_sorted, cumulative = a[order_a], np.concatenate([[0.0], np.cumsum(w[order_a])])
    cumulative /= cumulative[-1]
    points = np.concatenate([a_sorted, b_sorted])
    f_a = cumulative[np.searchsorted(a_sorted, points, side="right")]
    f_b = np.searchsorted(b_sorted, points, side="right") / len(b)
    distance = float(np.abs(f_a - f_b).max())
    size = effective_sample_size(w)
    scaled = distance * np.sqrt(size * len(b) / (size + len(b)))
    return distance, float(kstwobign.sf(scaled))


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
    a, b = a.astype(int), b.astype(int)
    k = int(max(a.max(), b.max())) + 1
    share_a = np.bincount(a, weights=w, minlength=k) / w.sum()
    share_b = np.bincount(b, minlength=k) / len(b)
    distance = 0.5 * float(np.abs(share_a - share_b).sum())
    n, m = effective_sample_size(w), float(len(b))
    pooled = (n * share_a + m * share_b) / (n + m)
    small = pooled * min(n, m) < 5
    tested_a = np.append(share_a[~small], share_a[small].sum())
    tested_b = np.append(share_b[~small], share_b[small].sum())
    expected = np.append(pooled[~small], pooled[small].sum())
    filled = expected > 0
    if filled.sum() < 2:
        return distance, 1.0
    statistic = float(np.sum((tested_a - tested_b)[filled] ** 2 / expected[filled])) * n * m / (n + m)
    return distance, float(chi2.sf(statistic, int(filled.sum()) - 1))


def column_shift(
    a: FloatArray, b: FloatArray, *, categorical: bool, sample_weight: Any = None
) -> tuple[float, float]:
    """Return effect in [0, 1] and p-value of one column, missing values counted as a category of their own.

    For a number: the larger effect of the known values' distance, shrunk by the
    share known, and of the change in the share missing; Bonferroni over the two.
    """
    missing_a, missing_b = np.isnan(a), np.isnan(b)
    w = as_weights(sample_weight, len(a))
    gap, p_gap = 0.0, 1.0
    if missing_a.any() or missing_b.any():
        gap, p_gap = total_variation(missing_a.astype(int), missing_b.astype(int), sample_weight=w)
    known, known_b = ~missing_a, ~missing_b
    if not known.any() or not known_b.any() or w[known].sum() == 0:
        return gap, p_gap
    if categorical:
        top = int(max(np.nanmax(a), np.nanmax(b))) + 1
        return total_variation(np.where(missing_a, top, a), np.where(missing_b, top, b), sample_weight=w)
    effect, p = kolmogorov_smirnov(a[known], b[known_b], sample_weight=w[known])
    if p_gap == 1.0 and gap == 0.0:
        return effect, p
    covered = min(float(np.average(known, weights=w)), float(known_b.mean()))
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
