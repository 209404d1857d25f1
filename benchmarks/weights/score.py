"""How far weights are from the exact density ratio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]


def squared_error(weights: FloatArray, log_ratio: FloatArray) -> float:
    """Return ``mean((w - r)^2) / mean(r^2)``, both scaled to mean one over these rows.

    Constant weights score ``1 - 1 / mean(r^2)``, the share of the squared ratio that they
    miss. NaN where the weights cannot be scaled (not finite, or all zero).

    Parameters
    ----------
    weights : array of shape (n,)
    log_ratio : array of shape (n,)
        Exact log density ratio, target over source, up to a constant.
    """
    total = float(np.sum(weights))
    if not np.isfinite(total) or total == 0:
        return float("nan")
    w = weights / (total / len(weights))
    r = np.exp(log_ratio - np.max(log_ratio))
    r = r / r.mean()
    return float(np.mean((w - r) ** 2) / np.mean(r**2))


def rank_correlation(weights: FloatArray, log_ratio: FloatArray) -> float:
    """Return Spearman's correlation of weights and ratio; 0 for constant weights, NaN if one is NaN."""
    if np.isnan(weights).any():
        return float("nan")
    if np.ptp(weights) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(weights), rankdata(log_ratio))[0, 1])
