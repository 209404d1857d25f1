"""The record of a sample with a known shift, and how it is put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from steelyard.datasets._truth import risks

FloatArray = npt.NDArray[np.float64]
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class ShiftedSample:
    """A source and a target sample, and what is true of them.

    Attributes
    ----------
    X, X_target : ndarray of shape (n, d)
        Features, in the scale of a standard normal.
    y, y_target : ndarray of shape (n,)
        Class codes (int64) or numbers (float64).
    log_ratio, log_ratio_target : ndarray of shape (n,)
        Exact ``log(p_target(x) / p_source(x))`` at the source and the target rows;
        ``inf`` where the source has no mass.
    kind, task : str
        As asked for.
    posterior, posterior_source : ndarray or None
        P(y = 1 | x), (n,), or P(y = k | x), (n, k): under the target at the target
        rows, under the source at the source rows. None for a regression.
    mean, mean_source, sd, sd_source : ndarray of shape (n,) or None
        The same for a regression, in which y given x is normal.
    scores, scores_target : ndarray
        A deployed model's output, P(y = 1), P(y = k) or a prediction: a fixed
        function of the first two features, overconfident and off centre, the
        same in source and target.
    truth : mapping
        ``"source"`` and ``"target"``: the scorer's expected ``accuracy``,
        ``log_loss``, ``brier`` (or ``mae``, ``mse``) given the rows' features, so
        free of the noise of the labels; and what the kind adds:
        ``prior_source``/``prior_target``, ``shifted_feature``, ``mass_outside``
        or ``region`` (a boolean mask over the target rows).
    """

    X: FloatArray
    y: npt.NDArray[Any]
    X_target: FloatArray
    y_target: npt.NDArray[Any]
    log_ratio: FloatArray
    log_ratio_target: FloatArray
    kind: str
    task: Task
    scores: FloatArray
    scores_target: FloatArray
    posterior: FloatArray | None = None
    posterior_source: FloatArray | None = None
    mean: FloatArray | None = None
    mean_source: FloatArray | None = None
    sd: FloatArray | None = None
    sd_source: FloatArray | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)


def deployed_score(X: FloatArray, task: Task) -> FloatArray:
    """Return the deployed model: right in direction, too sure of itself, off centre, blind to all but two."""
    f = 1.2 * X[:, 0] - 0.8 * X[:, 1]
    if task == "regression":
        return 0.3 + 0.9 * f
    if task == "binary":
        return np.asarray(expit(0.3 + 1.5 * f))
    third = -1.0 * X[:, 0] - 0.4 * X[:, 1]
    return np.asarray(softmax(1.5 * np.column_stack([np.zeros(len(X)), f, 0.2 + third]), axis=1))


def class_sample(
    X: FloatArray,
    X_target: FloatArray,
    y: list[npt.NDArray[np.int64]],
    p: list[FloatArray],
    ratio: list[FloatArray],
    kind: str,
    task: Task,
    extra: dict[str, Any],
) -> ShiftedSample:
    """Put together the record of a classification; every list holds source, then target."""
    scores = [deployed_score(Z, task) for Z in (X, X_target)]
    truth = {side: risks(s, posterior=q) for side, s, q in zip(("source", "target"), scores, p)}
    return ShiftedSample(
        X=X,
        y=y[0],
        X_target=X_target,
        y_target=y[1],
        log_ratio=ratio[0],
        log_ratio_target=ratio[1],
        kind=kind,
        task=task,
        scores=scores[0],
        scores_target=scores[1],
        posterior=p[1],
        posterior_source=p[0],
        truth={**truth, **extra},
    )


def regression_sample(
    X: FloatArray,
    X_target: FloatArray,
    y: list[FloatArray],
    laws: list[tuple[FloatArray, FloatArray]],
    ratio: list[FloatArray],
    kind: str,
    extra: dict[str, Any],
) -> ShiftedSample:
    """Put together the record of a regression; every list holds source, then target."""
    scores = [deployed_score(Z, "regression") for Z in (X, X_target)]
    truth = {side: risks(s, mean=mu, sd=sd) for side, s, (mu, sd) in zip(("source", "target"), scores, laws)}
    return ShiftedSample(
        X=X,
        y=y[0],
        X_target=X_target,
        y_target=y[1],
        log_ratio=ratio[0],
        log_ratio_target=ratio[1],
        kind=kind,
        task="regression",
        scores=scores[0],
        scores_target=scores[1],
        mean=laws[1][0],
        mean_source=laws[0][0],
        sd=laws[1][1],
        sd_source=laws[0][1],
        truth={**truth, **extra},
    )
