"""The two classifiers that tell LIVE from TRAIN: an additive one and a boosted one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from steelyard.numerics.boosting import COARSE_BINS, WIDE, BoostedClassifier
from steelyard.numerics.design import additive_design

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class QuietLogistic(LogisticRegression):  # type: ignore[misc]
    """Logistic regression that may stop early: for nuisance fits whose held-out score is checked anyway."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> QuietLogistic:
        """Fit, without the warning that the last digits had not converged."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().fit(X, y, sample_weight=sample_weight)
        return self


def additive_classifier(categorical: BoolArray, *, n_knots: int = 5) -> Any:
    """Return a logistic regression on splines and indicators."""
    return make_pipeline(
        additive_design(categorical, n_knots=n_knots), QuietLogistic(C=0.3, max_iter=60, tol=1e-3)
    )


def boosted_classifier(X: FloatArray, categorical: BoolArray, *, seed: int | None = None) -> Any:
    """Return gradient boosting sized for the rows; small samples and wide tables get small trees."""
    n, d = X.shape
    small, wide = n < 5_000 or d > WIDE, d > WIDE
    # Categories need a bin each.
    coarse = {"max_bins": COARSE_BINS} if wide and not categorical.any() else {}
    return BoostedClassifier(
        categorical_features=categorical if categorical.any() else None,
        learning_rate=0.2 if wide else 0.1,
        max_iter=30 if wide else 60 if small else 150,
        max_leaf_nodes=8 if small else 31,
        min_samples_leaf=20,
        early_stopping=n >= 500,
        n_iter_no_change=8,
        random_state=seed,
        **coarse,
    )


def domain_scorer(categorical: BoolArray) -> Callable[..., Callable[[FloatArray], FloatArray]]:
    """Return a scorer for the two-sample test: the sum of both classifiers' log odds."""

    def fit(
        rows: FloatArray, domain: npt.NDArray[np.int64], weight: FloatArray, seed: int
    ) -> Callable[[FloatArray], FloatArray]:
        boosted = boosted_classifier(rows, categorical, seed=seed)
        # Weights make boosting bin its columns by a path ten times as slow, so that it gets rows drawn
        # by weight instead. The test stays valid whatever the scorer was fitted to.
        drawn = slice(None) if np.all(weight == 1.0) else _drawn(weight, domain, seed)
        boosted.fit(rows[drawn], domain[drawn])
        additive = additive_classifier(categorical, n_knots=4 if len(rows) > 500 else 0)
        additive.fit(rows, domain, quietlogistic__sample_weight=weight)

        def score(new: FloatArray) -> FloatArray:
            return np.asarray(boosted.decision_function(new) + additive.decision_function(new))

        return score

    return fit


def _drawn(weight: FloatArray, domain: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Draw as many rows of each side as it has, evenly spaced in cumulative weight."""
    rng = np.random.default_rng(seed)
    out = []
    for side in (0, 1):
        rows = np.flatnonzero(domain == side)
        ends = np.cumsum(weight[rows])
        points = (np.arange(len(rows)) + rng.random()) / len(rows) * ends[-1]
        out.append(rows[np.minimum(np.searchsorted(ends, points), len(rows) - 1)])
    return np.concatenate(out)
