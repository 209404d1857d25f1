"""steelyard's intervals and sets: ``JOB ANSWER``, see benchmarks/measure.py."""
# ruff: noqa: E402

from __future__ import annotations

import json
import sys
import time
from statistics import median

from benchmarks.bare import hide

hide("pandas")  # an extra of ours, which the other packages' environments need not have

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.frozen import FrozenEstimator

from steelyard.conformal import SplitConformalClassifier, SplitConformalRegressor


class Reader(RegressorMixin, BaseEstimator):
    """A fitted model whose prediction is a column of the row; 'quantile' chooses it for the ends."""

    def __init__(self, quantile=0.5):
        self.quantile = quantile

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X[:, 1 if self.quantile == 0.5 else 0 if self.quantile < 0.5 else 2]

    def __sklearn_is_fitted__(self):
        return True


class ClassReader(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probabilities are the row's first columns."""

    classes_ = np.arange(6)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return X[:, : len(self.classes_)]

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_is_fitted__(self):
        return True


def model_of(job):
    if job["task"] == "regression":
        base = Reader() if job["method"] == "cqr" else FrozenEstimator(Reader())
        return SplitConformalRegressor(base, alpha=job["alpha"], nonconformity=job["method"])
    return SplitConformalClassifier(
        FrozenEstimator(ClassReader()), alpha=job["alpha"], nonconformity=job["method"], random_state=0
    )


def main(job):
    spent = []
    for path, out in zip(job["tables"], job["out"]):
        with np.load(path) as z:
            X_cal, y_cal, X_test = z["X_cal"], z["y_cal"], z["X_test"]
        column = {"none": None, "exact": -2, "estimated": -1}[job["weights"]]
        w_cal, w_test = (None, None) if column is None else (X_cal[:, column], X_test[:, column])
        model = model_of(job).fit(X_cal[:2], y_cal[:2])
        started = time.perf_counter()
        model.conformalize(X_cal, y_cal, sample_weight=w_cal)
        if job["task"] == "regression":
            answer = model.predict_interval(X_test, w_test)
        else:
            answer = model.predict_set(X_test, w_test)
        spent.append(time.perf_counter() - started)
        np.save(out, answer)
    return {"seconds": median(spent)}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as job_file:
        answer = main(json.load(job_file))
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(answer, answer_file)
