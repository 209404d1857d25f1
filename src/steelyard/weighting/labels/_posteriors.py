"""What EM, BBSE and RLLS share: cross-fitted class posteriors of both samples, and weights from ratios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from steelyard.errors import InputError
from steelyard.numerics.boosting import BoostedClassifier
from steelyard.numerics.fitting import check_takes_weights, fit_weighted
from steelyard.numerics.random import by_fold, deal_folds

FloatArray = npt.NDArray[np.float64]

_FLOOR = 1e-12  # a class that the target lacks weighs this much: logarithms stay finite


@dataclass(frozen=True)
class Posteriors:
    """Each row's class probabilities from one model that has not seen it.

    ``codes`` number the source labels by ``classes``; ``proba`` is (n, K) and
    ``proba_target`` (m, K).
    """

    classes: npt.NDArray[Any]
    codes: npt.NDArray[np.int64]
    models: list[Any]
    proba: FloatArray
    proba_target: FloatArray

    def log_weights(self, ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return log weights: of source rows by their class, of target rows by their posterior."""
        safe = np.maximum(ratio, _FLOOR)
        return np.log(safe)[self.codes], np.log(self.proba_target @ safe)


def log_density_ratio(models: list[Any], X: FloatArray, ratio: FloatArray) -> FloatArray:
    """Return the log density ratio of the features that label shift implies, at new rows."""
    proba = np.mean([model.predict_proba(X) for model in models], axis=0)
    return np.asarray(np.log(proba @ np.maximum(ratio, _FLOOR)))


def class_prior(codes: npt.NDArray[np.int64], n_classes: int, weight: FloatArray) -> FloatArray:
    """Return the weighted shares of the classes; a class without a row that counts raises."""
    prior = np.bincount(codes, weights=weight, minlength=n_classes) / weight.sum()
    if (prior == 0).any():
        raise InputError(f"class {int(np.argmin(prior))} has no source row; label shift cannot weigh it.")
    return np.asarray(prior)


def cross_fit(
    classifier: Any,
    X: FloatArray,
    y: Any,
    X_target: FloatArray,
    sample_weight: FloatArray,
    *,
    n_folds: int,
    rng: np.random.Generator,
    method: str,
) -> Posteriors:
    """Fit the classifier on all but one fold, in turn, and score every row of both samples once."""
    if y is None:
        raise InputError(
            f"{method} requires y to be passed, but the target y is None; "
            "label-shift weights need the source's labels: fit(X, y, X_target=...)."
        )
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) < 2 or len(classes) > max(50, len(codes) // 20):
        raise InputError(
            f"y has {len(classes)} class(es) in {len(codes)} rows; label shift needs a few classes."
        )
    base = classifier
    if base is None:  # small trees: their probabilities need less mending than those of large ones
        base = BoostedClassifier(max_leaf_nodes=4, max_iter=300, early_stopping=True, random_state=0)
    check_takes_weights(base, sample_weight)
    # Rows that do not count are dealt apart, so that every fold's model sees every class.
    fold = deal_folds(len(codes), n_folds, rng, strata=np.where(sample_weight > 0, codes, -1))
    counted = np.bincount(codes[sample_weight > 0], minlength=len(classes))
    if counted.min() < 2:
        raise InputError(
            f"class {classes[int(np.argmin(counted))]} of y has {counted.min()} sample(s) that "
            "count; cross-fitting needs at least 2 of each class."
        )
    models = [
        fit_weighted(clone(base), X[train], codes[train], sample_weight[train])
        for train in ((fold != k) & (sample_weight > 0) for k in range(n_folds))
    ]
    # One model a target row, as for the source: an average of models would be sharper than what the
    # calibration or the confusion matrix is of, and the class ratio would come out too close to one.
    fold_target = deal_folds(len(X_target), n_folds, rng)
    scorers: list[Callable[..., FloatArray]] = [model.predict_proba for model in models]
    return Posteriors(
        classes, codes, models, by_fold(scorers, fold, X), by_fold(scorers, fold_target, X_target)
    )
