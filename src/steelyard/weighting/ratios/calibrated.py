"""Log ratios recalibrated on the rows that they were not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import expit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class HeldOutRatio(Protocol):
    """A log ratio of two samples' rows, out of fold, and of further rows."""

    @property
    def source(self) -> FloatArray:
        """Of the source rows."""
        ...

    @property
    def target(self) -> FloatArray:
        """Of the target rows."""
        ...

    def by_fold(self, X: Any, fold: IntArray, *, known: dict[int, FloatArray] | None = None) -> FloatArray:
        """Return those of further rows, each by the models of its fold."""
        ...


@dataclass(frozen=True, eq=False)
class CalibratedRatio:
    """A log ratio that was learnt cautiously, stretched to what rows that it had not seen bear out.

    Boosting that stops early understates ratios, most where there is nothing on
    the other side: just where it matters whether the source covers the target.
    """

    ratio: HeldOutRatio
    slope: float
    intercept: float

    @classmethod
    def of(cls, ratio: HeldOutRatio) -> CalibratedRatio:
        """Recalibrate a log ratio by logistic regression on its held-out values, both sides counted alike."""
        n, m = len(ratio.source), len(ratio.target)
        slope, intercept = platt(
            np.concatenate([ratio.source, ratio.target]),
            np.repeat([0, 1], [n, m]),
            np.repeat([1.0 / n, 1.0 / m], [n, m]),
        )
        return cls(ratio, slope, intercept)

    @property
    def source(self) -> FloatArray:
        """Log ratios of the source rows."""
        return self.slope * self.ratio.source + self.intercept

    @property
    def target(self) -> FloatArray:
        """Log ratios of the target rows."""
        return self.slope * self.ratio.target + self.intercept

    def by_fold(self, X: Any, fold: IntArray, *, known: dict[int, FloatArray] | None = None) -> FloatArray:
        """Return log ratios of further rows, each by the models of its fold."""
        return np.asarray(self.slope * self.ratio.by_fold(X, fold, known=known) + self.intercept)


def platt(log_odds: FloatArray, label: npt.NDArray[Any], weight: FloatArray) -> tuple[float, float]:
    """Return slope and intercept of the logistic recalibration, by Newton's method.

    A faint pull of the slope towards one (a millionth of the data's weight)
    keeps separable classes finite.
    """
    weight = weight / weight.sum()
    slope, intercept = 1.0, 0.0
    ridge = 1e-6
    for _ in range(50):
        p = expit(slope * log_odds + intercept)
        curvature = weight * p * (1 - p)
        residual = weight * (label - p)
        gradient = np.array([residual @ log_odds - ridge * (slope - 1), residual.sum() - ridge * intercept])
        cross = float(curvature @ log_odds)
        hessian = np.array(
            [[curvature @ log_odds**2 + ridge, cross], [cross, curvature.sum() + ridge]], dtype=np.float64
        )
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        slope, intercept = slope + float(step[0]), intercept + float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    # A negative slope would turn the ranking round: then the held-out scores say nothing.
    return (max(slope, 0.0), intercept if slope > 0 else 0.0)
