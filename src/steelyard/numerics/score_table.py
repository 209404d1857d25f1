"""A mergeable table of scores and outcomes, from which the metrics of a binary classifier are read off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics._record import Record, batch_weights, same_shape
from steelyard.numerics.checks import as_vector

FloatArray = npt.NDArray[np.float64]

_SUMS = ("positive", "negative", "expected", "brier_sum", "log_loss_sum", "squares")


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose score lies in ``(low, high]``: what was said on average, and what happened."""

    low: float
    high: float
    weight: float
    effective_rows: float
    mean_score: float
    positive_share: float


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable(Record):
    """Weighted outcomes by score: one row a distinct score, or one a bin between given edges.

    Attributes
    ----------
    edges : array of shape (b - 1,) or None
        Of the bins ``(-inf, e_1], (e_1, e_2], ..., (e_last, inf)``; None where
        every distinct score has a row of its own.
    scores : array of shape (b,), or (0,) for bins
        The distinct scores, ascending.
    positive, negative : arrays of shape (b,)
        Weight of the positive and of the negative outcomes.
    expected : array of shape (b,)
        Weighted sum of the scores: the positives that they promise.
    brier_sum, log_loss_sum : arrays of shape (b,)
        Weighted sums of each row's loss.
    squares : array of shape (b,)
        Sum of squared weights.
    low, high : float or None
        Range of the scores.

    Notes
    -----
    With a row a score everything is exact, and memory grows with the number of
    distinct scores. Bins take fixed memory: sums and losses stay exact, and so
    do accuracy and F1 at a threshold that is an edge; the AUC counts scores of
    one bin as tied, and `auc_bounds` tells how far that can be off. Time
    O(n log n).

    Examples
    --------
    >>> first = ScoreTable.of([0.2, 0.8, 0.8], [0, 1, 0])
    >>> table = first.merge(ScoreTable.of([0.9], [1]))
    >>> table.auc(), table.accuracy(), round(table.brier(), 4)
    (0.875, 0.75, 0.1825)
    """

    edges: FloatArray | None
    scores: FloatArray
    positive: FloatArray
    negative: FloatArray
    expected: FloatArray
    brier_sum: FloatArray
    log_loss_sum: FloatArray
    squares: FloatArray
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        sums = [getattr(self, name) for name in _SUMS]
        if self.edges is None:
            same_shape("ScoreTable", self.scores, *sums)
        else:
            same_shape("ScoreTable", np.append(self.edges, 0.0), *sums)

    @classmethod
    def of(cls, scores: Any, outcomes: Any, sample_weight: Any = None, *, edges: Any = None) -> ScoreTable:
        """Return the table of a batch; it may be empty.

        Parameters
        ----------
        scores : array of shape (n,)
            The higher the likelier positive: probabilities, for the losses and
            the calibration; any finite numbers for the rest.
        outcomes : array of shape (n,)
            0 or 1, or the expected outcome in between.
        sample_weight : array of shape (n,), optional
            Rows of weight zero leave no trace.
        edges : array of shape (k,), optional
            Ascending, for bins; as few as one.
        """
        s = as_vector(scores, name="scores") + 0.0  # makes -0.0 and 0.0 one score
        z = as_vector(outcomes, n=len(s), name="outcomes")
        w = batch_weights(sample_weight, len(s))
        if np.isinf(s).any():
            raise InputError(f"scores has {int(np.isinf(s).sum())} infinite values; cap those rows.")
        if ((z < 0) | (z > 1)).any():
            raise InputError("outcomes must lie between 0 and 1, the share of a positive case.")
        s, z, w = s[w > 0], z[w > 0], w[w > 0]
        cuts = None if edges is None else _checked_edges(edges)
        if cuts is None:
            distinct, row = np.unique(s, return_inverse=True)
            size = len(distinct)
        else:
            distinct, row, size = np.zeros(0), np.searchsorted(cuts, s, side="left"), len(cuts) + 1
        p = np.clip(s, 0.0, 1.0)
        floor = np.finfo(np.float64).eps
        log_loss = -z * np.log(np.maximum(p, floor)) - (1 - z) * np.log(np.maximum(1 - p, floor))
        terms = (w * z, w * (1 - z), w * s, w * (z * (1 - p) ** 2 + (1 - z) * p**2), w * log_loss, w * w)
        sums = {name: _by_row(row, term, size) for name, term in zip(_SUMS, terms)}
        low, high = (float(s.min()), float(s.max())) if len(s) else (None, None)
        return cls(cuts, distinct, low=low, high=high, **sums)

    def merge(self, other: ScoreTable, /) -> ScoreTable:
        """Return the table of both sets of rows; their edges must be the same."""
        mine, theirs = self.edges, other.edges
        if mine is None and theirs is None:
            distinct, row = np.unique(np.concatenate([self.scores, other.scores]), return_inverse=True)
            size = len(distinct)
        elif mine is not None and theirs is not None and np.array_equal(mine, theirs):
            distinct, size = self.scores, len(self.positive)
            row = np.tile(np.arange(size), 2)
        else:
            raise InputError(
                "cannot merge tables of different edges; make both with the same, or use binned."
            )
        low = min((x for x in (self.low, other.low) if x is not None), default=None)
        high = max((x for x in (self.high, other.high) if x is not None), default=None)
        return ScoreTable(mine, distinct, low=low, high=high, **self._regrouped(row, size, other))

    def _regrouped(self, row: npt.NDArray[Any], size: int, *others: ScoreTable) -> dict[str, FloatArray]:
        parts = (self, *others)
        return {
            name: _by_row(row, np.concatenate([getattr(part, name) for part in parts]), size)
            for name in _SUMS
        }

    def binned(self, edges: Any) -> ScoreTable:
        """Return the table by bins; those of a table that has bins can only be joined, not cut."""
        cuts = _checked_edges(edges)
        if self.edges is None:
            row = np.searchsorted(cuts, self.scores, side="left")
        else:
            if not np.isin(cuts, self.edges).all():
                raise InputError("bins can be joined but not cut: the new edges must be among the old ones.")
            # A bin is known by its upper end, which lies in the same new bin as the rest of it.
            row = np.searchsorted(cuts, np.append(self.edges, np.inf), side="left")
        sums = self._regrouped(row, len(cuts) + 1)
        return ScoreTable(cuts, np.zeros(0), low=self.low, high=self.high, **sums)

    @property
    def weight(self) -> float:
        """Sum of the rows' weights."""
        return float(self.positive.sum() + self.negative.sum())

    @property
    def effective_rows(self) -> float:
        """Kish's effective number of rows; 0 where there is none."""
        squares = float(self.squares.sum())
        return self.weight**2 / squares if squares > 0 else 0.0

    def accuracy(self, threshold: float = 0.5) -> float:
        """Return the share of rows called right, those above the threshold called positive."""
        called = self._called(threshold)
        right = float(self.positive[called].sum() + self.negative[~called].sum())
        return right / self.weight if self.weight > 0 else math.nan

    def f1(self, threshold: float = 0.5) -> float:
        """Return F1 of the positive outcome; 0 where nothing is positive and nothing called so."""
        called = self._called(threshold)
        hits, claims = (
            float(self.positive[called].sum()),
            float((self.positive + self.negative)[called].sum()),
        )
        denominator = claims + float(self.positive.sum())
        if self.weight <= 0:
            return math.nan
        return 2 * hits / denominator if denominator > 0 else 0.0

    def _called(self, threshold: float) -> npt.NDArray[np.bool_]:
        if self.edges is None:
            return self.scores > threshold
        if threshold not in self.edges:
            raise InputError(
                f"threshold {threshold} is no edge of the bins; make the table with it among them."
            )
        return np.append(self.edges, np.inf) > threshold

    def auc(self) -> float:
        """Return the area under the ROC curve, ties (scores of one bin too) half; NaN for one outcome."""
        return sum(self.auc_bounds()) / 2

    def auc_bounds(self) -> tuple[float, float]:
        """Return the area under the ROC curve with tied pairs all wrong, and all right.

        For bins the AUC of the scores themselves lies in between.
        """
        total = float(self.positive.sum()) * float(self.negative.sum())
        if total <= 0:
            return math.nan, math.nan
        above = float(self.positive @ (np.cumsum(self.negative) - self.negative)) / total
        return above, above + float(self.positive @ self.negative) / total

    def brier(self) -> float:
        """Return the mean squared error of the probabilities."""
        return self._mean_loss(self.brier_sum)

    def log_loss(self) -> float:
        """Return the mean logarithmic loss of the probabilities, each kept above 2e-16."""
        return self._mean_loss(self.log_loss_sum)

    def _mean_loss(self, sums: FloatArray) -> float:
        self._check_probabilities()
        return float(sums.sum()) / self.weight if self.weight > 0 else math.nan

    def _check_probabilities(self) -> None:
        if self.low is not None and self.high is not None and (self.low < 0 or self.high > 1):
            raise InputError(
                f"the scores reach from {self.low:.4g} to {self.high:.4g}; this needs probabilities."
            )

    def calibration(self, edges: Any = None) -> tuple[CalibrationBin, ...]:
        """Return what each bin of scores promised and what happened, empty bins left out.

        Parameters
        ----------
        edges : array, optional
            Tenths where the table is exact, and the table's own otherwise.
        """
        self._check_probabilities()
        if edges is None and self.edges is None:
            edges = np.linspace(0, 1, 11)[1:-1]
        table = self if edges is None else self.binned(edges)
        assert table.edges is not None
        ends = np.concatenate([[-np.inf], table.edges, [np.inf]])
        out = []
        for b in np.flatnonzero(table.squares > 0):
            weight = float(table.positive[b] + table.negative[b])
            out.append(
                CalibrationBin(
                    max(float(ends[b]), 0.0),
                    min(float(ends[b + 1]), 1.0),
                    weight,
                    weight**2 / float(table.squares[b]),
                    float(table.expected[b]) / weight,
                    float(table.positive[b]) / weight,
                )
            )
        return tuple(out)

    def calibration_error(self, edges: Any = None) -> float:
        """Return the mean gap between promise and outcome over the bins, each by its weight; NaN if empty."""
        bins = self.calibration(edges)
        total = sum(b.weight for b in bins)
        gap = sum(b.weight * abs(b.mean_score - b.positive_share) for b in bins)
        return gap / total if total > 0 else math.nan


def _checked_edges(edges: Any) -> FloatArray:
    cuts = as_vector(edges, name="edges")
    if not len(cuts) or not np.isfinite(cuts).all() or (np.diff(cuts) <= 0).any():
        raise InputError("edges must be one or more finite numbers in ascending order.")
    return cuts


def _by_row(row: npt.NDArray[Any], terms: FloatArray, size: int) -> FloatArray:
    return np.bincount(row, weights=terms, minlength=size).astype(np.float64)
