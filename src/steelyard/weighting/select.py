"""Choosing among weight estimators by how well they tell held-out target rows from source rows."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics.checks import as_weights
from steelyard.numerics.weighted import log_mean_exp

FloatArray = npt.NDArray[np.float64]
Loss = Literal["logistic", "squared"]

_CAP_LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_CAP_GAIN = 0.05
_FEW = 5


def ratio_score(
    log_ratio: Any, log_ratio_target: Any, *, sample_weight: Any = None, loss: Loss = "logistic"
) -> float:
    """Return how well log ratios of held-out rows explain the two samples; larger is better.

    The score is 0 for constant weights, and its population value is largest at
    the true ratio.

    With ``loss="logistic"`` it is the mean log likelihood of the domain of each row,
    source and target balanced, less that of constant weights: at most ``log 2``,
    at the true ratio the Jensen-Shannon divergence, and finite where a ratio is
    0. With ``loss="squared"`` it is ``E_q[w] - E_p[w^2] / 2 - 1/2`` of weights scaled
    to a source mean of one: the true ratio's has half its variance, and any
    weights lack of that half their mean squared error. The former bears heavy
    tails, the latter punishes them.

    Parameters
    ----------
    log_ratio : array of shape (n,)
        At source rows that the estimator did not fit.
    log_ratio_target : array of shape (m,)
        At target rows that it did not fit.
    sample_weight : array of shape (n,), optional
    loss : {"logistic", "squared"}

    Examples
    --------
    >>> ratio_score([0.0, 0.0], [0.0])
    0.0
    """
    s, t = np.asarray(log_ratio, dtype=np.float64), np.asarray(log_ratio_target, dtype=np.float64)
    w = as_weights(sample_weight, s.shape[0])
    if loss == "logistic":
        loss_s = np.average(np.logaddexp(0.0, s), weights=w)
        loss_t = np.mean(np.logaddexp(0.0, -t))
        return float(np.log(2.0) - 0.5 * (loss_s + loss_t))
    if loss == "squared":
        scale = log_mean_exp(s, sample_weight=w)
        second = log_mean_exp(2 * (s - scale), sample_weight=w)
        # Beyond this any score is as bad as any other, and the exponential would overflow.
        return float(np.exp(min(log_mean_exp(t - scale), 300.0)) - 0.5 * np.exp(min(second, 600.0)) - 0.5)
    raise InputError(f"loss is {loss!r}; choose one of {', '.join(get_args(Loss))}.")


def best_cap(log_ratio: Any, log_ratio_target: Any, *, sample_weight: Any = None) -> float:
    """Return the log ratio above which larger ones only add error, by the squared score of held-out rows.

    Where a ratio is truly large there are target rows, so that the caps tried are
    quantiles of the target's log ratios, up to `most_shown`. The highest that comes
    within 5% of the best score is returned: the score of the largest weights rests on few rows.

    Parameters
    ----------
    log_ratio, log_ratio_target, sample_weight
        As in `ratio_score`.

    Examples
    --------
    >>> best_cap([-1.0, 0.0, 9.0], [0.5, 0.5, 1.0])
    0.5
    """
    s, t = np.asarray(log_ratio, dtype=np.float64), np.asarray(log_ratio_target, dtype=np.float64)
    most = most_shown(s, t, sample_weight=sample_weight)
    levels = np.quantile(t, _CAP_LEVELS)
    caps = [*levels[levels < most], most]
    scores = [weights_score(np.minimum(s, c), np.minimum(t, c), sample_weight=sample_weight) for c in caps]
    enough = max(scores) - _CAP_GAIN * abs(max(scores))
    return float(caps[int(np.flatnonzero(np.asarray(scores) >= enough)[-1])])


def most_shown(log_ratio: Any, log_ratio_target: Any, *, sample_weight: Any = None) -> float:
    """Return the largest log ratio that two samples can show.

    That is the fifth largest of the target rows' (of fewer than 50 rows, a tenth's), since
    fewer rows than that are chance, and no more than what puts all of the source's mass
    on one row.

    Parameters
    ----------
    log_ratio, log_ratio_target, sample_weight
        As in `ratio_score`.

    Examples
    --------
    >>> round(most_shown([0.0, 0.0], [1.0] * 99 + [50.0]), 4)
    0.6931
    """
    s, t = np.asarray(log_ratio, dtype=np.float64), np.asarray(log_ratio_target, dtype=np.float64)
    w = as_weights(sample_weight, s.shape[0])
    enough = min(_FEW, max(len(t) // 10, 1))
    common = float(np.partition(t, len(t) - enough)[len(t) - enough])
    # One row that has all the mass weighs as much as all rows do together.
    return min(common, log_mean_exp(s, sample_weight=w) + float(np.log(np.count_nonzero(w))))


def weights_score(log_ratio: Any, log_ratio_target: Any, *, sample_weight: Any = None) -> float:
    """Return the squared `ratio_score`, target rows counted up to the largest log ratio of a source row.

    Beyond that a target row's log ratio says nothing of the source rows' weights, and
    a single one of them would outweigh all others.

    Examples
    --------
    >>> weights_score([0.0, 1.0], [1.0]) == weights_score([0.0, 1.0], [50.0])
    True
    """
    s = np.asarray(log_ratio, dtype=np.float64)
    w = as_weights(sample_weight, s.shape[0])
    t = np.minimum(np.asarray(log_ratio_target, dtype=np.float64), s[w > 0].max())
    return ratio_score(s, t, sample_weight=w, loss="squared")


def score_difference(
    better: FloatArray,
    better_target: FloatArray,
    other: FloatArray,
    other_target: FloatArray,
    *,
    sample_weight: FloatArray,
) -> tuple[float, float]:
    """Return by how much one log ratio's logistic score exceeds another's, and the standard error.

    Examples
    --------
    >>> zero, one = np.zeros(2), np.ones(2)
    >>> score_difference(zero, zero, zero, zero, sample_weight=one)
    (0.0, 0.0)
    """
    source = np.logaddexp(0.0, other) - np.logaddexp(0.0, better)
    target = np.logaddexp(0.0, -other_target) - np.logaddexp(0.0, -better_target)
    centre = np.average(source, weights=sample_weight)
    spread = np.average((source - centre) ** 2, weights=sample_weight)
    error = 0.5 * np.sqrt(spread / sample_weight.sum() + target.var() / len(target))
    return float(0.5 * (centre + target.mean())), float(error)
