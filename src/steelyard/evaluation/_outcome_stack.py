"""How the learners of an expected outcome are put together, by coefficients fitted to held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from sklearn.linear_model import LinearRegression, LogisticRegression

FloatArray = npt.NDArray[np.float64]
Parts = Mapping[str, FloatArray]

# Columns of a learner of numbers. Boosting has the first of each pair alone.
_NAMES = {
    "boosted": ("mean", "rest"),
    "additive": ("mean", "size", "rest", "rest squared"),
}


def log_odds(proba: FloatArray) -> FloatArray:
    """Return the log odds of each class against the first."""
    log_p = np.log(np.clip(proba, 1e-6, 1.0))
    return np.asarray(log_p[:, 1:] - log_p[:, :1])


@dataclass(frozen=True)
class ClassStack:
    """A logistic regression on the learners' log odds, which also recalibrates them."""

    model: Any
    n_classes: int

    def __call__(self, parts: Parts) -> FloatArray:
        """Return class probabilities, (n, n_classes)."""
        inputs = np.hstack([log_odds(p) for p in parts.values()])
        out = np.zeros((len(inputs), self.n_classes))
        out[:, self.model.classes_] = self.model.predict_proba(inputs)
        return out


def stack_classes(held_out: Parts, y: FloatArray, n_classes: int) -> ClassStack:
    """Fit the stack to held-out probabilities of rows with class codes ``y``."""
    inputs = np.hstack([log_odds(p) for p in held_out.values()])
    return ClassStack(LogisticRegression(C=1.0, max_iter=500).fit(inputs, y.astype(np.int64)), n_classes)


@dataclass(frozen=True)
class MeanStack:
    """Non-negative least squares on the learners' means."""

    blend: Any

    def __call__(self, parts: Parts) -> FloatArray:
        """Return the residual's mean, (n,)."""
        return np.asarray(self.blend.predict(_columns(parts, "mean")))


def stack_means(held_out: Parts, residual: FloatArray) -> MeanStack:
    """Fit the stack to held-out means of rows with these residuals."""
    return MeanStack(_non_negative(_columns(held_out, "mean"), residual))


@dataclass(frozen=True)
class NumberStack:
    """The outcome columns of a number from its residual's mean and the spread about that.

    ``r^2`` is the mean's square and the variance about it, so that the columns
    agree with one another wherever the rows lie. ``|r|`` is what a normal
    residual of that mean, and of that mean size about it, would have.
    """

    mean: MeanStack
    rest: Any
    variance: Any
    size: Any

    def __call__(self, parts: Parts) -> FloatArray:
        """Return the expected ``|r|, r, r^2``, (n, 3)."""
        mean = self.mean(parts)
        variance = np.maximum(self.variance.predict(_variances(parts)), 0.0)
        size = np.maximum(self.size.predict(_sizes(mean, self.rest, parts)), 0.0)
        return np.column_stack([size, mean, mean**2 + variance])


def stack_numbers(mean: MeanStack, held_out: Parts, outcome: FloatArray) -> NumberStack:
    """Fit the stack to held-out columns of rows with these outcome columns."""
    center = mean(held_out)
    left = outcome[:, 1] - center
    rest = _non_negative(_columns(held_out, "rest"), np.abs(left))
    variance = _non_negative(_variances(held_out), left**2)
    size = _non_negative(_sizes(center, rest, held_out), outcome[:, 0])
    return NumberStack(mean, rest, variance, size)


def _non_negative(inputs: FloatArray, y: FloatArray) -> Any:
    return LinearRegression(positive=True).fit(inputs, y)


def _columns(parts: Parts, name: str) -> FloatArray:
    return np.column_stack([p[:, _NAMES[k].index(name)] for k, p in parts.items() if name in _NAMES[k]])


def _variances(parts: Parts) -> FloatArray:
    """Return what tells the variance: mean sizes squared, which large values sway less, and mean squares."""
    return np.hstack([np.maximum(_columns(parts, "rest"), 0.0) ** 2, _squares(parts)])


def _squares(parts: Parts) -> FloatArray:
    if "additive" not in parts:
        return np.empty((len(next(iter(parts.values()))), 0))
    return np.maximum(_columns({"additive": parts["additive"]}, "rest squared"), 0.0)


def _sizes(mean: FloatArray, rest: Any, parts: Parts) -> FloatArray:
    around = np.maximum(rest.predict(_columns(parts, "rest")), 0.0)
    folded = _folded(mean, around)
    if "additive" not in parts:
        return folded[:, None]
    return np.column_stack([folded, _columns({"additive": parts["additive"]}, "size")])


def _folded(mean: FloatArray, size: FloatArray) -> FloatArray:
    """Return E|mean + e| for a normal e with E|e| = size."""
    sd = np.maximum(size * np.sqrt(np.pi / 2), 1e-12 * np.maximum(np.abs(mean), 1.0))
    z = mean / sd
    return np.asarray(sd * np.sqrt(2 / np.pi) * np.exp(-0.5 * z**2) + mean * (2 * ndtr(z) - 1))
