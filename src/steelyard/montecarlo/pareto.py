"""The tail of a set of weights: its Pareto shape, and weights smoothed by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.numerics.checks import as_vector
from steelyard.numerics.weight_sums import TopWeights

FloatArray = npt.NDArray[np.float64]

# Rows from which a share is known to within a half of itself or so.
_SURE_ROWS = 10


def fit_generalised_pareto(exceedances: Any) -> tuple[float, float]:
    """Return the shape k and scale of a generalised Pareto law fitted to positive exceedances.

    The empirical-Bayes estimate of Zhang and Stephens (2009), with the weak
    prior on k of Pareto smoothed importance sampling (ten observations at 0.5).
    Time O(n sqrt(n)).

    Parameters
    ----------
    exceedances : array of shape (n,)
        Values above the threshold, the threshold subtracted; n >= 5.
    """
    x = np.sort(as_vector(exceedances, name="exceedances"))
    n = x.shape[0]
    m = 30 + int(math.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    if quartile <= 0 or x[-1] <= 0:
        return float("nan"), float("nan")
    b = 1 / x[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    log_lik = n * (np.log(-b / k) - k - 1)
    posterior = np.exp(log_lik - log_lik.max())
    posterior /= posterior.sum()
    b_hat = float(b @ posterior)
    shape = float(np.log1p(-b_hat * x).mean())
    scale = -shape / b_hat
    return (n * shape + 10 * 0.5) / (n + 10), scale


def _tail_length(n: int) -> int:
    return int(min(0.2 * n, 3 * math.sqrt(n)))


def pareto_k(log_weights: Any) -> float | None:
    """Return the estimated Pareto shape of the largest weights, or None where there are too few.

    Below 0.5 the weighted mean has a finite variance and behaves as usual;
    above 0.7 it cannot be trusted at any realistic sample size.

    Parameters
    ----------
    log_weights : array of shape (n,)

    Notes
    -----
    The tail is the ``min(n / 5, 3 sqrt(n))`` largest weights. None is returned
    where it has fewer than five values or no spread (bounded weights such as
    those of classes). Time O(n).

    Examples
    --------
    >>> import numpy as np
    >>> u = np.random.default_rng(0).uniform(size=100_000)
    >>> bool(abs(pareto_k(-0.5 * np.log(u)) - 0.5) < 0.15)  # weights u^-0.5 have k = 0.5
    True
    """
    log_w = as_vector(log_weights, name="log_weights")
    tail = _tail_length(log_w.shape[0])
    if tail < 5:
        return None
    largest = np.partition(log_w, -tail - 1)[-tail - 1 :]
    fitted = _fit_tail(np.sort(largest))
    return None if fitted is None else fitted[0]


def pareto_k_of_top(top: TopWeights) -> float | None:
    """Return what `pareto_k` returns of all the log weights, from the largest of them alone.

    Raises
    ------
    InconclusiveError
        If ``top`` keeps fewer weights than the tail of its rows has.

    Examples
    --------
    >>> import numpy as np
    >>> log_w = np.random.default_rng(0).normal(size=1000)
    >>> halves = [TopWeights.of(half) for half in (log_w[:500], log_w[500:])]
    >>> pareto_k_of_top(halves[0].merge(halves[1])) == pareto_k(log_w)
    True
    """
    tail = _tail_length(top.rows)
    if tail < 5:
        return None
    fitted = _fit_tail(top.largest(tail + 1)[::-1])
    return None if fitted is None else fitted[0]


def pareto_smooth(log_weights: Any) -> tuple[FloatArray, float | None]:
    """Return log weights whose tail is replaced by quantiles of the fitted Pareto law, and k.

    No weight grows beyond the largest raw one. Where the tail cannot be fitted
    the weights come back as they are, with k None.

    Notes
    -----
    Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance
    sampling". Time O(n log n).
    """
    return _smooth(as_vector(log_weights, name="log_weights"))


def smoothed_tail(raw: FloatArray, smooth: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return the log weights of the tail before and after smoothing, both ascending; None if none changed.

    With :func:`follow_tail` further rows are smoothed as those that were fitted.
    """
    changed = raw != smooth
    if not changed.any():
        return None
    order = np.argsort(raw, kind="stable")
    # The largest weight may keep its value and belongs to the tail all the same; the last one before the
    # tail comes with it, so that what lies between the two is led from one to the other.
    tail = order[max(int(np.argmax(changed[order])) - 1, 0) :]
    return raw[tail], np.maximum.accumulate(smooth[tail])


def follow_tail(log_weights: FloatArray, tail: tuple[FloatArray, FloatArray] | None) -> FloatArray:
    """Return log weights with those beyond the cut-off moved as in ``tail``.

    Examples
    --------
    >>> import numpy as np
    >>> raw, smooth = np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.0, 2.0])
    >>> follow_tail(np.array([-1.0, 4.0, 9.0]), smoothed_tail(raw, smooth)).tolist()
    [-1.0, 2.0, 2.0]
    """
    if tail is None:
        return log_weights
    known, smooth = tail
    return np.where(log_weights >= known[0], np.interp(log_weights, known, smooth), log_weights)


def _tied(distinct: int, rows: int) -> bool:
    """Whether so many rows share their values rather than happen to meet."""
    return 2 * distinct < rows


def _fit_tail(largest: FloatArray) -> tuple[float, float, float] | None:
    """Return shape, scale and cut-off (in units of the largest weight) of a tail, or None if it is none.

    ``largest`` holds the cut-off and the tail's log weights, ascending.
    """
    tail, top = len(largest) - 1, float(largest[-1])
    if not math.isfinite(top):
        return None
    cutoff = math.exp(largest[0] - top)
    exceed = np.exp(largest[1:] - top) - cutoff
    distinct, rows = np.unique(exceed, return_counts=True)
    if _tied(len(distinct), tail):
        # A table of few different rows: a value that many of them share is as sure as their number, and
        # no tail. Where even the largest is rare, the law of the values themselves is looked at.
        if rows[-1] >= _SURE_ROWS or distinct[0] < 0:
            return None
        exceed = distinct[distinct > 0]
        tail = len(exceed)
    # Ties at the cut-off, or a tail of a few distinct values, are no Pareto tail.
    if len(distinct) < 5 or exceed[0] < 0 or exceed[-1] <= 1e-12 or exceed[tail // 4] <= 0:
        return None
    k, scale = fit_generalised_pareto(exceed)
    return (k, scale, cutoff) if math.isfinite(k) else None


def _smooth(log_w: FloatArray) -> tuple[FloatArray, float | None]:
    tail = _tail_length(log_w.shape[0])
    if tail < 5:
        return log_w, None
    order = np.argsort(log_w, kind="stable")[-tail - 1 :]
    fitted = _fit_tail(log_w[order])
    if fitted is None:
        return log_w, None
    k, scale, cutoff = fitted
    if _tied(len(np.unique(log_w[order[1:]])), tail):
        # To draw equal weights apart would make a difference between rows that have none.
        return log_w, k
    top = float(log_w[order[-1]])
    p = (np.arange(tail) + 0.5) / tail
    quantiles = -scale * np.log1p(-p) if abs(k) < 1e-12 else scale * np.expm1(-k * np.log1p(-p)) / k
    out = log_w.copy()
    out[order[1:]] = np.minimum(np.log(np.maximum(cutoff + quantiles, 1e-300)), 0.0) + top
    return out, k
