"""The tail of a set of weights: its Pareto shape, and weights smoothed by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.numerics.checks import as_vector

FloatArray = npt.NDArray[np.float64]


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
    those of classes).

    Examples
    --------
    >>> import numpy as np
    >>> u = np.random.default_rng(0).uniform(size=100_000)
    >>> bool(abs(pareto_k(-0.5 * np.log(u)) - 0.5) < 0.15)  # weights u^-0.5 have k = 0.5
    True
    """
    smoothed = _smooth(as_vector(log_weights, name="log_weights"))
    return smoothed[1]


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


def _smooth(log_w: FloatArray) -> tuple[FloatArray, float | None]:
    n = log_w.shape[0]
    tail = _tail_length(n)
    if tail < 5:
        return log_w, None
    top = float(log_w.max())
    order = np.argsort(log_w, kind="stable")
    index = order[-tail:]
    cutoff = math.exp(log_w[order[-tail - 1]] - top)
    exceed = np.exp(log_w[index] - top) - cutoff
    # Ties at the cut-off, or a tail of a few distinct values, are no Pareto tail.
    if exceed[0] < 0 or exceed[-1] <= 1e-12 or np.unique(exceed).shape[0] < 5 or exceed[tail // 4] <= 0:
        return log_w, None
    k, scale = fit_generalised_pareto(exceed)
    if not math.isfinite(k):
        return log_w, None
    p = (np.arange(tail) + 0.5) / tail
    quantiles = -scale * np.log1p(-p) if abs(k) < 1e-12 else scale * np.expm1(-k * np.log1p(-p)) / k
    out = log_w.copy()
    out[index] = np.minimum(np.log(np.maximum(cutoff + quantiles, 1e-300)), 0.0) + top
    return out, k
