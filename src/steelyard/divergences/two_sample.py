"""Do two samples come from one law: a classifier two-sample test whose p-value is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from steelyard.errors import InputError
from steelyard.numerics.checks import as_weights
from steelyard.numerics.random import as_generator, deal_folds, draw_seed
from steelyard.numerics.weighted import auc_influence

FloatArray = npt.NDArray[np.float64]
Scorer = Callable[[FloatArray, npt.NDArray[np.int64], FloatArray, int], Callable[[FloatArray], FloatArray]]


@dataclass(frozen=True)
class TwoSampleTest:
    """``p_value`` of equal laws (one-sided), the AUC that was tested, and the smallest detectable AUC."""

    p_value: float
    auc: float
    detectable_auc: float
    n: int
    m: int


def prequential_test(
    X: FloatArray,
    X_target: FloatArray,
    *,
    scorer: Scorer,
    sample_weight: Any = None,
    n_stages: int = 5,
    power: float = 0.8,
    level: float = 0.05,
    max_rows: int = 20_000,
    random_state: Any = None,
) -> TwoSampleTest:
    """Test whether target and (weighted) source rows come from the same law.

    The rows are dealt to ``n_stages`` parts. At each stage a classifier fitted
    on the parts before tells target from source rows in the next part, and its
    AUC is compared with 1/2. Given the parts before, the AUC of a stage has mean
    1/2 if the laws agree, so the stages' standardised excesses are martingale
    differences, and their weighted sum is standard normal. Ordinary
    cross-fitting does not have that: each row helps to fit the models that score
    the others, which for a linear classifier doubles the variance under the
    null and gives a nominal 5% test a size of about 12%.

    Parameters
    ----------
    X, X_target : arrays of shape (n, d) and (m, d)
    scorer : callable
        ``scorer(rows, domain, weight, seed)`` fits a classifier and returns a
        function from rows to scores.
    sample_weight : array of shape (n,), optional
        Of the source rows; then the null is that the weighted source is the target.
    n_stages, max_rows : int
        Parts, and the most rows a side that are used.
    power, level : float
        For ``detectable_auc``, the AUC at which the test rejects with that power.
    random_state : int, Generator or None

    Raises
    ------
    InputError
        With fewer than ten rows on a side.

    Notes
    -----
    Time: ``n_stages - 1`` fits. Standard errors are those of a Mann-Whitney
    statistic under equal laws, with ties and weights allowed for.
    """
    rng = as_generator(random_state)
    w = as_weights(sample_weight, len(X))
    if min(len(X), len(X_target)) < 2 * n_stages:
        raise InputError(f"{len(X)} and {len(X_target)} rows are too few for a test in {n_stages} stages.")
    if len(X) > max_rows:
        keep = rng.choice(len(X), size=max_rows, replace=False)
        X, w = X[keep], w[keep]
    if len(X_target) > max_rows:
        X_target = X_target[rng.choice(len(X_target), size=max_rows, replace=False)]
    rows = np.vstack([X, X_target])
    domain = np.repeat(np.array([0, 1]), [len(X), len(X_target)])
    weight = np.concatenate([w / w.mean(), np.ones(len(X_target))])
    part = deal_folds(len(rows), n_stages, rng, strata=domain)

    excess, errors, share = [], [], []
    for stage in range(1, n_stages):
        before, now = part < stage, part == stage
        score = scorer(rows[before], domain[before], weight[before], draw_seed(rng))(rows[now])
        auc, se = _auc_and_error(score, domain[now], weight[now])
        excess.append(auc - 0.5)
        errors.append(se)
        # Later stages were fitted on more rows; the weights are fixed beforehand.
        share.append(np.sqrt(stage))
    c = np.array(share) / np.linalg.norm(share)
    delta, error = np.array(excess), np.array(errors)
    known = error > 0
    if not known.any():
        return TwoSampleTest(1.0, 0.5, 1.0, len(X), len(X_target))
    c = c[known] / np.linalg.norm(c[known])
    z = float(c @ (delta[known] / error[known]))
    needed = float((norm.ppf(power) + norm.ppf(1 - level)) / np.sum(c / error[known]))
    auc = 0.5 + float(np.average(delta[known], weights=c / error[known]))
    return TwoSampleTest(float(norm.sf(z)), auc, min(0.5 + needed, 1.0), len(X), len(X_target))


def _auc_and_error(
    score: FloatArray, domain: npt.NDArray[np.int64], weight: FloatArray
) -> tuple[float, float]:
    """Return the AUC and its standard error if both sides had the pooled law of scores.

    Under that null the AUC is a difference of two means of pooled ranks. The
    error is not zero where the scores separate the samples.
    """
    auc, _, _ = auc_influence(score, weight * domain, weight * (1 - domain))
    if not np.isfinite(auc):
        return 0.5, 0.0
    side: list[FloatArray] = [weight * (domain == k) / weight[domain == k].sum() for k in (0, 1)]
    _, group = np.unique(score, return_inverse=True)
    mass = np.bincount(group, weights=0.5 * (side[0] + side[1]))
    rank = (np.cumsum(mass) - 0.5 * mass)[group] - 0.5
    return auc, float(np.sqrt((side[0] ** 2 + side[1] ** 2) @ rank**2))


def auc_interval(
    score: FloatArray, score_target: FloatArray, *, level: float = 0.95, cross_fitted: bool = True
) -> tuple[float, float, float]:
    """Return the AUC of held-out scores with an interval.

    Parameters
    ----------
    score, score_target : arrays of shape (n,) and (m,)
    level : float
    cross_fitted : bool
        Each row's score comes from a model that the other rows helped to fit.
        The variance is then doubled, which is what that costs a linear
        classifier under equal laws, and more than it costs otherwise.
    """
    both = np.concatenate([score, score_target])
    positive = np.repeat([0.0, 1.0], [len(score), len(score_target)])
    auc, d_pos, d_neg = auc_influence(both, positive, 1 - positive)
    own = np.where(positive == 1, d_pos, d_neg)
    # Samples that the scores separate leave no spread to see; one row amiss could still come.
    least = 0.5 / min(len(score), len(score_target))
    se = math.sqrt(max((2.0 if cross_fitted else 1.0) * float(own @ own), least**2))
    z = float(norm.ppf(0.5 + level / 2))
    return auc, max(auc - z * se, 0.0), min(auc + z * se, 1.0)
