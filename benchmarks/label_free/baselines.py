"""The two baselines that need no package: carry the figure over, and weigh by a domain classifier."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, mean_squared_error, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks.label_free.case import OUTPUT, Case, FloatArray
from benchmarks.label_free.measure import measured

FOLDS = 2


def carry_over(case: Case) -> list[dict[str, float]]:
    """Return the metrics on TRAIN, once for each window."""
    y, output = _labelled(case)
    once = {m: float(measured(m, y[None, :], output)[0]) for m in case.metrics}
    return [dict(once) for _ in case.windows]


def importance_weighting(case: Case, *, seed: int = 0) -> list[dict[str, float]]:
    """Return TRAIN's metrics weighted to look like each window.

    The weights are the odds of a cross-fitted boosted classifier of window
    against TRAIN, as they come: no clipping, no smoothing.
    """
    y, output = _labelled(case)
    table, live = _codes(case)
    answers = []
    for window in case.windows:
        X = np.vstack([table, live[window]])
        side = np.repeat([0, 1], [len(table), window.stop - window.start])
        p = cross_val_predict(
            HistGradientBoostingClassifier(random_state=seed),
            X,
            side,
            cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
            method="predict_proba",
        )[: len(table), 1]
        weight = p / np.maximum(1 - p, 1e-12)
        answers.append({m: _weighted(m, y, output, weight) for m in case.metrics})
    return answers


def _labelled(case: Case) -> tuple[FloatArray, FloatArray]:
    y = case.train[case.target].to_numpy().astype(np.float64)
    return y, case.train[OUTPUT].to_numpy().astype(np.float64)


def _codes(case: Case) -> tuple[FloatArray, FloatArray]:
    """Return the features as numbers: a category's code is one in every case."""
    numbers = [
        pl.col(name).cast(pl.String).cast(pl.Float64)
        if not kind.is_numeric()
        else pl.col(name).cast(pl.Float64)
        for name, kind in case.train.select(case.features).schema.items()
    ]
    return case.train.select(numbers).to_numpy(), case.live.select(numbers).to_numpy()


def _weighted(metric: str, y: FloatArray, output: FloatArray, weight: FloatArray) -> float:
    said = output >= 0.5
    if metric == "accuracy":
        return float(accuracy_score(y, said, sample_weight=weight))
    if metric == "f1":
        return float(f1_score(y, said, sample_weight=weight))
    if metric == "auc":
        return float(roc_auc_score(y, output, sample_weight=weight))
    if metric == "mae":
        return float(mean_absolute_error(y, output, sample_weight=weight))
    return float(np.sqrt(mean_squared_error(y, output, sample_weight=weight)))
