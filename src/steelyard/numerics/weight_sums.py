"""Mergeable summaries of log weights: how many rows they leave, and their largest values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InconclusiveError, InputError
from steelyard.numerics._record import Record
from steelyard.numerics.checks import as_vector

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class WeightSums(Record):
    """What the weights' effective number of rows and largest share rest on, in log space throughout.

    Attributes
    ----------
    rows : int
    top : float or None
        Largest log weight; None where no weight is above zero.
    total, squares : float
        Sums of the weights and of their squares, in units of the largest.

    Examples
    --------
    >>> sums = WeightSums.of([1000.0, 1000.0]).merge(WeightSums.of([-1000.0]))
    >>> sums.effective_rows, sums.largest_share, sums.rows
    (2.0, 0.5, 3)
    """

    rows: int
    top: float | None
    total: float
    squares: float

    @classmethod
    def of(cls, log_weights: Any) -> WeightSums:
        """Return the sums of a batch of log weights, (n,); minus infinity stands for a weight of zero."""
        log_w = as_log_weights(log_weights)
        finite = log_w[log_w > -np.inf]
        if not finite.size:
            return cls(len(log_w), None, 0.0, 0.0)
        top = float(finite.max())
        w = np.exp(finite - top)
        return cls(len(log_w), top, float(w.sum()), float(w @ w))

    def merge(self, other: WeightSums, /) -> WeightSums:
        """Return the sums over both sets of rows."""
        rows = self.rows + other.rows
        if self.top is None or other.top is None:
            full = self if other.top is None else other
            return WeightSums(rows, full.top, full.total, full.squares)
        top = max(self.top, other.top)
        a, b = math.exp(self.top - top), math.exp(other.top - top)
        total, squares = a * self.total + b * other.total, a**2 * self.squares + b**2 * other.squares
        return WeightSums(rows, top, total, squares)

    @property
    def effective_rows(self) -> float | None:
        """Kish's effective number of rows; None where no weight is above zero."""
        return None if self.top is None else self.total**2 / self.squares

    @property
    def largest_share(self) -> float | None:
        """Share of the largest weight in the sum of all; None where no weight is above zero."""
        return None if self.top is None else 1.0 / self.total

    @property
    def log_mean(self) -> float | None:
        """Logarithm of the mean weight: what to subtract so that the weights have mean one."""
        return None if self.top is None else self.top + math.log(self.total / self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class TopWeights(Record):
    """The largest log weights of any number of rows: what the Pareto shape of their tail rests on.

    Attributes
    ----------
    capacity : int
        How many are kept; a merger keeps the smaller capacity of the two. The
        tail of n rows has at most 3 sqrt(n), so the default serves 1.9e9 rows.
    rows : int
    values : array of shape (at most capacity,)
        Descending, weights of zero left out.

    Notes
    -----
    Time O(n + k log k), memory O(k).

    Examples
    --------
    >>> top = TopWeights.of([1.0, 5.0, 3.0], capacity=2).merge(TopWeights.of([4.0], capacity=2))
    >>> top.largest(2).tolist(), top.rows
    ([5.0, 4.0], 4)
    """

    capacity: int
    rows: int
    values: FloatArray

    @classmethod
    def of(cls, log_weights: Any, *, capacity: int = 131_072) -> TopWeights:
        """Return the largest of a batch of log weights, (n,); minus infinity is a weight of zero."""
        if capacity < 1:
            raise InputError(f"capacity is {capacity}; keep at least one weight.")
        log_w = as_log_weights(log_weights)
        return cls(capacity, len(log_w), _largest(log_w[log_w > -np.inf], capacity))

    def merge(self, other: TopWeights, /) -> TopWeights:
        """Return the largest of both sets of rows."""
        capacity = min(self.capacity, other.capacity)
        values = _largest(np.concatenate([self.values, other.values]), capacity)
        return TopWeights(capacity, self.rows + other.rows, values)

    def largest(self, k: int) -> FloatArray:
        """Return the k largest log weights, descending, (k,).

        Raises
        ------
        InconclusiveError
            If fewer were kept than are asked for.
        """
        if k > self.rows:
            raise InputError(f"{k} weights are asked for of {self.rows} rows.")
        if k > self.capacity:
            raise InconclusiveError(
                f"the {k} largest of {self.rows} weights are needed and {self.capacity} were kept; "
                f"collect them again with capacity={k} or more."
            )
        out = np.full(k, -np.inf)
        kept = self.values[:k]
        out[: len(kept)] = kept
        return out


def _largest(values: FloatArray, capacity: int) -> FloatArray:
    if len(values) > capacity:
        values = np.partition(values, len(values) - capacity)[-capacity:]
    return np.sort(values)[::-1]


def as_log_weights(log_weights: Any) -> FloatArray:
    """Return log weights as a vector without NaN or plus infinity."""
    log_w = as_vector(log_weights, name="log_weights")
    if (log_w == np.inf).any():
        raise InputError(f"log_weights has {int((log_w == np.inf).sum())} infinite values; cap those rows.")
    return log_w
