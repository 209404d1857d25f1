"""Choosing among weight estimators by how well they tell held-out target rows from source rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.numerics.checks import as_weights

FloatArray = npt.NDArray[np.float64]


def ratio_score(log_ratio: Any, log_ratio_target: Any, *, sample_weight: Any = None) -> float:
    """Return how well log ratios of held-out rows explain the two samples; larger is better.

    The mean log likelihood of the domain of each row, source and target
    balanced, less that of constant weights: 0 for no information, at most
    ``log 2``. Its population value is largest at the true ratio, where it is the
    Jensen-Shannon divergence; it stays finite where a ratio is 0.

    Parameters
    ----------
    log_ratio : array of shape (n,)
        At source rows that the estimator did not fit.
    log_ratio_target : array of shape (m,)
        At target rows that it did not fit.
    sample_weight : array of shape (n,), optional

    Examples
    --------
    >>> ratio_score([0.0, 0.0], [0.0])
    0.0
    """
    s, t = np.asarray(log_ratio, dtype=np.float64), np.asarray(log_ratio_target, dtype=np.float64)
    w = as_weights(sample_weight, s.shape[0])
    loss_s = np.average(np.logaddexp(0.0, s), weights=w)
    loss_t = np.mean(np.logaddexp(0.0, -t))
    return float(np.log(2.0) - 0.5 * (loss_s + loss_t))
