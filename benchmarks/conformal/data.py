"""What every package gets: the same model's output on the same rows, and the truth to judge by.

The model has been fitted and asked before anything is timed: a row holds its output, and the
"model" that a package is handed reads it off. So what is measured is the conformal step alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from steelyard.datasets import make_tilted_uniform
from steelyard.weighting import ClassifierRatio

FloatArray = npt.NDArray[np.float64]

ALPHA = 0.1
CLASSES = 6
TRAIN_ROWS = 5_000
_RATIO_ROWS = 20_000  # a side, for the estimated ratio


@dataclass(frozen=True)
class Size:
    """Calibration and test rows of a draw, how many draws, and how often each competitor runs."""

    calibration: int
    test: int
    draws: int
    repeats: int


@dataclass(frozen=True)
class Tables:
    """The files of one draw.

    Each holds ``X_cal``, ``y_cal``, ``X_test`` and ``y_test``. In the regression's X are
    the columns low, middle, high, exact ratio, estimated ratio; in the classification's
    the probabilities of the classes and the two ratios.
    """

    regression: Path
    regression_shifted: Path
    classes: Path
    classes_shifted: Path


class Models:
    """The prefit models: boosted mean and quantiles, and a logistic regression of six classes."""

    def __init__(self, seed: int) -> None:
        s = make_tilted_uniform(n_source=TRAIN_ROWS, n_target=1, random_state=[seed, 0])
        common = {"max_iter": 60, "max_leaf_nodes": 15, "random_state": 0}
        self.middle = HistGradientBoostingRegressor(**common).fit(s.X, s.y)
        self.ends = [
            HistGradientBoostingRegressor(loss="quantile", quantile=q, **common).fit(s.X, s.y)
            for q in (ALPHA / 2, 1 - ALPHA / 2)
        ]
        labels = labels_of(s.X, np.random.default_rng([seed, 1]))
        self.classifier = LogisticRegression(max_iter=500).fit(s.X, labels)

    def numbers(self, X: FloatArray) -> FloatArray:
        """Return low, middle and high, (n, 3); the quantiles do not cross."""
        ends = np.column_stack([m.predict(X) for m in self.ends])
        return np.column_stack([ends.min(axis=1), self.middle.predict(X), ends.max(axis=1)])


def labels_of(X: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw one of six classes a row; they are harder to tell apart where the target lies."""
    angle = 2 * np.pi * np.arange(CLASSES) / CLASSES
    directions = np.stack([np.cos(angle), np.sin(angle)])
    sharpness = 2.5 * np.exp(-0.35 * (X[:, -1] - X[:, 0]))
    p = softmax((X[:, 1:3] @ directions) * sharpness[:, None] + 0.3 * X[:, 3:4] * np.cos(2 * angle), axis=1)
    above = rng.uniform(size=(len(X), 1)) > np.cumsum(p, axis=1)[:, :-1]
    return np.asarray(above.sum(axis=1), dtype=np.int64)


def prepare(models: Models, size: Size, seed: int, folder: Path) -> Tables:
    """Draw calibration rows and test rows of source and target, and write what the packages read."""
    n, m = size.calibration, size.test
    s = make_tilted_uniform(n_source=n + m, n_target=m, random_state=[seed, 2])
    rng = np.random.default_rng([seed, 3])
    labels, labels_target = labels_of(s.X, rng), labels_of(s.X_target, rng)
    numbers, numbers_target = models.numbers(s.X), models.numbers(s.X_target)
    proba, proba_target = (models.classifier.predict_proba(Z) for Z in (s.X, s.X_target))
    # The exact ratio has mean one over the source law; the estimated one over the calibration rows.
    ratio = ClassifierRatio(random_state=seed, max_rows=_RATIO_ROWS).fit(s.X[:n], X_target=s.X_target)
    weights = np.column_stack([np.exp(s.log_ratio[:n]), ratio.weights()])
    weights_target = np.column_stack([np.exp(s.log_ratio_target), np.exp(ratio.log_ratio_target_)])
    nothing = np.ones((m, 2))
    cal, rest = slice(0, n), slice(n, n + m)

    def write(
        name: str,
        out: FloatArray,
        y: npt.NDArray[Any],
        out_test: FloatArray,
        y_test: npt.NDArray[Any],
        w: FloatArray,
    ) -> Path:
        path = folder / f"{name}_{n}_{seed}.npz"
        # Numbers lie column by column, so that what the model returns is contiguous, as a model's output is;
        # probabilities lie row by row, for the same reason.
        order: Any = "F" if name.startswith("regression") else "C"
        np.savez(
            path,
            X_cal=np.asarray(np.column_stack([out[cal], weights]), order=order),
            y_cal=y[cal],
            X_test=np.asarray(np.column_stack([out_test, w]), order=order),
            y_test=y_test,
        )
        return path

    return Tables(
        regression=write("regression", numbers, s.y, numbers[rest], s.y[rest], nothing),
        regression_shifted=write(
            "regression_shifted", numbers, s.y, numbers_target, s.y_target, weights_target
        ),
        classes=write("classes", proba, labels, proba[rest], labels[rest], nothing),
        classes_shifted=write("classes_shifted", proba, labels, proba_target, labels_target, weights_target),
    )
