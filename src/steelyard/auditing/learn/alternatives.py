"""What could be done instead: the model recalibrated, or trained anew, with weights and without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.learnt import Sampled
from steelyard.evaluation import recalibrate
from steelyard.numerics import as_generator, deal_folds, draw_seed
from steelyard.numerics.binning import MOST_BINS, Bins
from steelyard.numerics.boosting import (
    COARSE_BINS,
    WIDE,
    BoostedClassifier,
    BoostedRegressor,
    boosting_settings,
)

FloatArray = npt.NDArray[np.float64]

MAX_ROWS = 20_000
_FOLDS = 3


@dataclass(frozen=True)
class Alternatives:
    """Each TRAIN row's held-out loss under the model as it is, and under what could replace it.

    ``weights`` are the rows'; ``deployed`` and ``recalibrated`` are None where the
    model gives no probabilities or numbers. ``made_here`` tells that it is no one's.
    """

    weights: FloatArray
    deployed: FloatArray | None
    plain: FloatArray
    weighted: FloatArray
    recalibrated: FloatArray | None
    loss: str
    made_here: bool


def alternatives(sampled: Sampled, *, seed: int) -> Alternatives:
    """Cross-fit a boosted model with and without weights, and recalibrate the deployed one."""
    rng = as_generator(seed)
    tables, model = sampled.sample.tables, sampled.sample.model
    n, classes = len(tables.y), tables.n_classes
    rows = np.sort(rng.choice(n, size=min(n, MAX_ROWS), replace=False))
    y, w = tables.y[rows], sampled.readings[0].weights[rows]
    # Given weights, boosting bins its columns itself ten times as slowly; a wide table gets few bins.
    most = COARSE_BINS if tables.X.shape[1] > WIDE else MOST_BINS
    X = Bins.of(tables.X[rows], tables.categorical, most=most)(tables.X[rows])
    fold = deal_folds(len(rows), _FOLDS, rng, strata=None if classes is None else y)
    plain, weighted = np.empty(len(rows)), np.empty(len(rows))
    proba = None if model.train.proba is None else model.train.proba[rows]
    recalibrated = None if proba is None else np.empty(len(rows))
    for k in range(_FOLDS):
        train, test = fold != k, fold == k
        settings = boosting_settings(
            X[train],
            tables.categorical,
            max_iter=150,
            least_rows=500,
            few_iter=40,
            brisk=True,
            y=None if classes is None else y[train],
            seed=draw_seed(rng),
        )
        for out, weight in ((plain, None), (weighted, w[train])):
            out[test] = _held_out(X[train], y[train], weight, X[test], y[test], classes, settings)
        if recalibrated is not None and proba is not None:
            again = recalibrate(proba[train], y[train], proba[test], sample_weight=w[train])
            recalibrated[test] = _brier(again, y[test])
    deployed = None
    if proba is not None:
        deployed = _brier(proba, y)
    elif model.train.value is not None:
        deployed = (model.train.value[rows] - y) ** 2
    loss = "squared error" if classes is None else "Brier score"
    return Alternatives(w, deployed, plain, weighted, recalibrated, loss, model.made_here)


def _held_out(
    X: FloatArray,
    y: FloatArray,
    weight: FloatArray | None,
    X_test: FloatArray,
    y_test: FloatArray,
    n_classes: int | None,
    settings: dict[str, Any],
) -> FloatArray:
    """Return the losses of rows under a model of others."""
    if n_classes is None:
        number = BoostedRegressor(**settings).fit(X, y, sample_weight=weight)
        return np.asarray((number.predict(X_test) - y_test) ** 2)
    model = BoostedClassifier(**settings).fit(X, y.astype(int), sample_weight=weight)
    likely = np.zeros((len(X_test), n_classes))
    likely[:, model.classes_] = model.predict_proba(X_test)
    return _brier(likely, y_test)


def _brier(proba: FloatArray, y: FloatArray) -> FloatArray:
    """Return each row's Brier score."""
    if proba.shape[1] == 2:
        return np.asarray((proba[:, 1] - y) ** 2)
    return np.asarray(np.sum((proba - np.eye(proba.shape[1])[y.astype(int)]) ** 2, axis=1))
