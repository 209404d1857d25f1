"""A mergeable sample of fixed size: quantiles of any number of rows, with a bound on their rank's error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics._record import Record, batch_weights, same_shape
from steelyard.numerics.summaries import CategoryCounts
from steelyard.numerics.weighted import weighted_quantile

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class QuantileSketch(Record):
    """The rows whose keys hash lowest: a random sample of all rows that is the same however they were cut.

    Attributes
    ----------
    capacity : int
        Values kept at most; a merger keeps the smaller capacity of the two.
    rows : int
        Rows seen, those without a value included.
    weight, squares : float
        Sums of the weights, and of their squares, of the rows with a value.
    missing, missing_squares : float
        The same of the rows without one (NaN).
    values, weights, ranks : arrays of shape (at most capacity,)
        The sample by rank: the logarithm of an exponential variable over the
        row's weight, so that heavier rows come sooner.
    threshold : float or None
        Lowest rank left out; None where every row is kept.

    Notes
    -----
    While no more than ``capacity`` rows have a value all is exact. Beyond, a
    row with rank below log t, the threshold, stands for ``w / (1 - exp(-w t))``, the
    inverse of its chance to be kept (Cohen and Kaplan's bottom-k sketch). With
    equal weights that is a simple random sample, and `rank_error` bounds the
    error of a quantile's rank. A row's key is its ``stream`` and its place in
    it: parts that are summarised apart need different ones. Time O(n), and
    O(k log k) a batch.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(10_000.0)
    >>> first = QuantileSketch.of(x[:6000], capacity=1000)
    >>> both = first.merge(QuantileSketch.of(x[6000:], capacity=1000, start=6000))
    >>> abs(float(both.quantile(0.5)) - 5000) < 10_000 * both.rank_error()
    True
    """

    capacity: int
    rows: int
    weight: float
    squares: float
    missing: float
    missing_squares: float
    values: FloatArray
    weights: FloatArray
    ranks: FloatArray
    threshold: float | None

    def __post_init__(self) -> None:
        same_shape("QuantileSketch", self.values, self.weights, self.ranks)

    @classmethod
    def of(
        cls, values: Any, sample_weight: Any = None, *, capacity: int = 4096, stream: int = 0, start: int = 0
    ) -> QuantileSketch:
        """Return the sketch of a batch, (n,); n may be 0.

        Parameters
        ----------
        values : array of shape (n,)
            NaN where missing; infinities are values like others, but cannot be
            written by ``to_dict``.
        sample_weight : array of shape (n,), optional
        capacity : int
        stream : int
            Number of the part of the data that the batch belongs to.
        start : int
            How many rows of that part came before.
        """
        if capacity < 1:
            raise InputError(f"capacity is {capacity}; keep at least one value.")
        x = np.asarray(values, dtype=np.float64)
        if x.ndim != 1:
            raise InputError(f"values must be one-dimensional, not of shape {x.shape}.")
        w = batch_weights(sample_weight, len(x))
        gone = np.isnan(x)
        index = np.flatnonzero(~gone & (w > 0))
        salt = scatter(np.array([stream], dtype=np.uint64))[0]
        uniform = (scatter((index.astype(np.uint64) + np.uint64(start)) ^ salt) + 0.5) * 2.0**-64
        exponential = -np.log1p(-np.minimum(uniform, 1.0 - 2.0**-53))
        ranks = np.log(exponential) - np.log(w[index])
        known, lost = w[~gone], w[gone]
        sums = (float(known.sum()), float(known @ known), float(lost.sum()), float(lost @ lost))
        sample = _lowest(x[index] + 0.0, w[index], ranks, None, capacity)
        return cls(capacity, len(x), *sums, *sample)

    def merge(self, other: QuantileSketch, /) -> QuantileSketch:
        """Return the sketch of both sets of rows."""
        capacity = min(self.capacity, other.capacity)
        left_out = [t for t in (self.threshold, other.threshold) if t is not None]
        sample = _lowest(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.ranks, other.ranks]),
            min(left_out, default=None),
            capacity,
        )
        return QuantileSketch(
            capacity,
            self.rows + other.rows,
            self.weight + other.weight,
            self.squares + other.squares,
            self.missing + other.missing,
            self.missing_squares + other.missing_squares,
            *sample,
        )

    @property
    def complete(self) -> bool:
        """Whether every row with a value is in the sample."""
        return self.threshold is None

    @property
    def presence(self) -> CategoryCounts:
        """How many rows have a value (code 0) and how many do not."""
        known = (np.array([self.weight]),)
        return CategoryCounts(self.rows, self.squares + self.missing_squares, np.array([self.missing]), known)

    @property
    def masses(self) -> FloatArray:
        """How much each sampled value stands for, (k,)."""
        if self.threshold is None:
            return self.weights
        with np.errstate(over="ignore"):
            return self.weights / -np.expm1(-np.exp(np.log(self.weights) + self.threshold))

    @property
    def effective_rows(self) -> float:
        """Kish's effective number of the rows with a value, or of those sampled if that is fewer."""
        if self.squares == 0:
            return 0.0
        rows = self.weight**2 / self.squares
        if self.threshold is None:
            return rows
        mass = self.masses
        return float(min(rows, mass.sum() ** 2 / (mass @ mass)))

    def quantile(self, q: Any) -> FloatArray:
        """Return quantiles, as `weighted_quantile` does; NaN where there is no value."""
        if not len(self.values):
            return np.full(np.shape(q), np.nan)
        return weighted_quantile(self.values, q, sample_weight=self.masses)

    def rank_error(self, level: float = 0.95) -> float:
        """Return a bound on how far a quantile's share of rows below it is from its level.

        It holds for each quantile with the given probability over the hashes:
        0 where the sample is complete; Hoeffding's and Serfling's inequality
        for a simple random sample of k of n rows, ``sqrt((1 - (k - 1) / n)
        log(2 / (1 - level)) / (2 k))``: 0.021 for the default capacity. With
        unequal weights the effective number of sampled rows stands for k, which
        makes it an approximation.
        """
        if self.threshold is None:
            return 0.0
        mass = self.masses
        size = float(mass.sum() ** 2 / (mass @ mass))
        left = 1.0 - (size - 1.0) / max(self.rows, 1)
        return math.sqrt(left * math.log(2.0 / (1.0 - level)) / (2.0 * size))


def _lowest(
    values: FloatArray, weights: FloatArray, ranks: FloatArray, threshold: float | None, capacity: int
) -> tuple[FloatArray, FloatArray, FloatArray, float | None]:
    """Return the sample with the lowest ranks in their order, and the lowest rank left out."""
    if len(ranks) > 4 * capacity:
        # Ranks past the place after the last kept one cannot matter: sort only what can.
        near = ranks <= np.partition(ranks, capacity)[capacity]
        values, weights, ranks = values[near], weights[near], ranks[near]
    order = np.lexsort((values, ranks))
    kept, dropped = order[:capacity], order[capacity:]
    if len(dropped):
        first = float(ranks[dropped[0]])
        threshold = first if threshold is None else min(first, threshold)
    return values[kept], weights[kept], ranks[kept], threshold


def scatter(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return 64-bit keys scattered evenly (the finaliser of SplitMix64), the same on every machine."""
    z = keys + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
