"""Mergeable summaries of rows: collect from a batch with ``of``, join with ``merge``, then finish.

``merge`` is associative and commutative to rounding, and the summary of no rows
is its identity, so batches may be summarised anywhere and joined in any order.
Integer weights give what repeated rows would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics._record import Record, batch_weights, padded, same_shape

FloatArray = npt.NDArray[np.float64]

_LARGEST = float(np.finfo(np.float64).max)


class Mergeable(Protocol):
    """Anything with ``merge``."""

    def merge(self, other: Self, /) -> Self:
        """Return the summary of both sets of rows."""


K = TypeVar("K")
S = TypeVar("S", bound=Mergeable)


def merge_keyed(a: Mapping[K, S], b: Mapping[K, S]) -> dict[K, S]:
    """Return the union of two sets of named summaries (such as one a window), equal names merged.

    Examples
    --------
    >>> weeks = merge_keyed({1: Moments.of([5.0]), 2: Moments.of([3.0])}, {2: Moments.of([4.0])})
    >>> {week: float(part.means[0]) for week, part in weeks.items()}
    {1: 5.0, 2: 3.5}
    """
    out = dict(a)
    for key, part in b.items():
        out[key] = out[key].merge(part) if key in out else part
    return out


def _matrix(X: Any, name: str) -> FloatArray:
    array = np.asarray(X, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise InputError(f"{name} has {array.ndim} dimensions; pass rows and columns.")
    if np.isinf(array).any():
        column = int(np.flatnonzero(np.isinf(array).any(axis=0))[0])
        raise InputError(f"{name} has infinite values (first in column {column}); replace or drop them.")
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Moments(Record):
    """Weighted mean and variance of each column, its missing values (NaN) left out.

    Attributes
    ----------
    count : array of shape (d,)
        Rows with a value and a weight above zero.
    weight : array of shape (d,)
        Their weights' sum.
    mean, mean_rest : arrays of shape (d,)
        The mean is their sum: the second holds what the rounding of the first
        left out, so that columns near 1e12 lose nothing. 0 where there is no row.
    m2 : array of shape (d,)
        Weighted sum of squared differences from the mean, at most the largest
        float: differences beyond about 1e150 are too far for it.

    Notes
    -----
    Chan, Golub and LeVeque's pairwise update. Time O(n d), memory O(d).

    Examples
    --------
    >>> import numpy as np
    >>> batches = [np.array([[1.0, 5.0], [2.0, np.nan]]), np.array([[6.0, 7.0]])]
    >>> both = Moments.of(batches[0]).merge(Moments.of(batches[1]))
    >>> both.means.tolist(), both.count.tolist()
    ([3.0, 6.0], [3.0, 2.0])
    """

    count: FloatArray
    weight: FloatArray
    mean: FloatArray
    mean_rest: FloatArray
    m2: FloatArray

    def __post_init__(self) -> None:
        same_shape("Moments", self.count, self.weight, self.mean, self.mean_rest, self.m2)

    @classmethod
    def of(cls, X: Any, sample_weight: Any = None) -> Moments:
        """Return the moments of a batch, (n, d) or (n,); n may be 0."""
        x = _matrix(X, "X")
        n, d = x.shape
        w = batch_weights(sample_weight, n)[:, None] * ~np.isnan(x)
        weight = w.sum(axis=0)
        if n == 0:
            return cls(*(np.zeros(d) for _ in range(5)))
        seen = w > 0
        # Differences from a value of the column itself are exact for constants and for large levels.
        first = x[np.argmax(seen, axis=0), np.arange(d)]
        pivot = np.where(weight > 0, first, 0.0)
        share = w / np.where(weight > 0, weight, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            shift = np.sum(share * _finite(np.where(seen, x - pivot, 0.0)), axis=0)
            mean, rest = _two_sum(pivot, shift)
            residual = _finite(np.where(seen, (x - mean) - rest, 0.0))
            correction = np.sum(share * residual, axis=0)
            m2 = _finite(np.sum(w * residual**2, axis=0)) - _finite(weight * correction**2)
            mean, rest = _two_sum(mean, rest + correction)
        m2 = np.maximum(m2, 0.0)
        return cls(seen.sum(axis=0).astype(np.float64), weight, mean, rest, m2)

    def merge(self, other: Moments, /) -> Moments:
        """Return the moments of both sets of rows."""
        if len(self.count) != len(other.count):
            raise InputError(f"cannot merge moments of {len(self.count)} and {len(other.count)} columns.")
        weight = self.weight + other.weight
        share = other.weight / np.where(weight > 0, weight, 1.0)
        gap = self.gap(other)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, rest = _two_sum(self.mean, self.mean_rest + share * gap)
            m2 = _finite(self.m2 + other.m2 + self.weight * share * _finite(gap**2))
        # Nothing is added to what is empty, nor taken from it: the other side stands as it is.
        alone = other.weight == weight
        mean, rest = np.where(alone, other.mean, mean), np.where(alone, other.mean_rest, rest)
        m2 = np.where(alone, other.m2, m2)
        return Moments(self.count + other.count, weight, mean, rest, m2)

    def gap(self, other: Moments) -> FloatArray:
        """Return the other's means less these, (d,), without the rounding of large levels."""
        with np.errstate(over="ignore"):
            return _finite((other.mean - self.mean) + (other.mean_rest - self.mean_rest))

    @property
    def means(self) -> FloatArray:
        """Mean of each column, (d,); NaN where there is no row."""
        return np.where(self.weight > 0, self.mean + self.mean_rest, np.nan)

    @property
    def variances(self) -> FloatArray:
        """Variance of each column, dividing by the weights' sum, (d,); NaN where there is no row."""
        positive = self.weight > 0
        return np.where(positive, self.m2 / np.where(positive, self.weight, 1.0), np.nan)

    def standardised_difference(self, target: Moments, *, weighted: Moments | None = None) -> FloatArray:
        """Return each column's mean difference, target less source, in pooled standard deviations, (d,).

        ``weighted`` are the source's moments under weights: they give the
        source's mean, and these here the scale. 0 where a column is constant
        or empty.

        Examples
        --------
        >>> Moments.of([0.0, 2.0]).standardised_difference(Moments.of([1.0, 3.0])).tolist()
        [1.0]
        """
        centre = self if weighted is None else weighted
        spread = np.sqrt(0.5 * (self.variances + target.variances))
        usable = (spread > 0) & (centre.weight > 0)
        return np.where(usable, centre.gap(target) / np.where(usable, spread, 1.0), 0.0)


def _two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ``a + b`` rounded, and exactly what the rounding left out (Knuth)."""
    total = _finite(a + b)
    part = total - a
    return total, np.nan_to_num((a - (total - part)) + (b - part), nan=0.0, posinf=0.0, neginf=0.0)


def _finite(values: FloatArray) -> FloatArray:
    """Return values with what overflowed set to the largest float."""
    return np.clip(values, -_LARGEST, _LARGEST)


@dataclass(frozen=True, slots=True, eq=False)
class CategoryCounts(Record):
    """Weighted counts of the codes 0, 1, ... of each column, missing values (NaN) counted apart.

    Attributes
    ----------
    rows : int
    squares : float
        Sum of the rows' squared weights: what the effective number of rows rests on.
    missing : array of shape (d,)
        Weight of the rows without a code.
    counts : tuple of d arrays
        Weight of each code, up to the largest seen.

    Notes
    -----
    Time O(n d), memory O(codes).

    Examples
    --------
    >>> counts = CategoryCounts.of([0, 2, 2, float("nan")])
    >>> counts.merge(CategoryCounts.of([1])).counts[0].tolist(), counts.shares(0).tolist()
    ([1.0, 1.0, 2.0], [0.25, 0.0, 0.5, 0.25])
    """

    rows: int
    squares: float
    missing: FloatArray
    counts: tuple[FloatArray, ...]

    def __post_init__(self) -> None:
        if len(self.missing) != len(self.counts):
            raise InputError(f"counts of {len(self.counts)} columns, but {len(self.missing)} missing shares.")

    @classmethod
    def of(cls, codes: Any, sample_weight: Any = None) -> CategoryCounts:
        """Return the counts of a batch of codes, (n, d) or (n,); n may be 0."""
        x = _matrix(codes, "codes")
        w = batch_weights(sample_weight, x.shape[0])
        known = ~np.isnan(x)
        counts = []
        for column, keep in zip(x.T, known.T):
            # Without gaps nothing is picked out, and without weights rows are only counted.
            kept, mass = (column, w) if keep.all() else (column[keep], w[keep])
            with np.errstate(invalid="ignore"):  # what no integer holds is told below
                codes = kept.astype(np.int64)
            if (codes != kept).any() or (codes < 0).any():
                raise InputError("codes must be whole numbers from 0; encode the categories first.")
            weights = None if sample_weight is None else mass
            counts.append(np.bincount(codes, weights=weights).astype(np.float64))
        return cls(x.shape[0], float(w @ w), w @ ~known, tuple(counts))

    def merge(self, other: CategoryCounts, /) -> CategoryCounts:
        """Return the counts of both sets of rows."""
        if len(self.counts) != len(other.counts):
            raise InputError(f"cannot merge counts of {len(self.counts)} and {len(other.counts)} columns.")
        return CategoryCounts(
            self.rows + other.rows,
            self.squares + other.squares,
            self.missing + other.missing,
            tuple(padded(a, b) for a, b in zip(self.counts, other.counts)),
        )

    @property
    def weight(self) -> float:
        """Sum of the rows' weights."""
        return float(self.counts[0].sum() + self.missing[0]) if self.counts else 0.0

    @property
    def effective_rows(self) -> float:
        """Kish's effective number of rows; 0 where there is none."""
        return self.weight**2 / self.squares if self.squares > 0 else 0.0

    def shares(self, column: int, *, size: int | None = None, missing: bool = True) -> FloatArray:
        """Return the share of each code, (size,), and last, if ``missing``, that of rows without one.

        Without rows they are NaN.
        """
        counts = padded(self.counts[column], np.zeros(size or 0))
        if missing:
            counts = np.append(counts, self.missing[column])
        total = counts.sum()
        return counts / total if total > 0 else np.full(len(counts), np.nan)

    def both_shares(
        self, other: CategoryCounts, column: int, *, missing: bool = True
    ) -> tuple[FloatArray, FloatArray]:
        """Return the shares of one column here and there, of one length."""
        size = max(len(self.counts[column]), len(other.counts[column]))
        return (
            self.shares(column, size=size, missing=missing),
            other.shares(column, size=size, missing=missing),
        )

    def total_variation(self, other: CategoryCounts) -> FloatArray:
        """Return each column's total variation, missing values a category of their own, (d,).

        Examples
        --------
        >>> CategoryCounts.of([0, 0, 1, 1]).total_variation(CategoryCounts.of([0, 0, 0, 1])).tolist()
        [0.25]
        """
        both = [self.both_shares(other, j) for j in range(len(self.counts))]
        return np.array([0.5 * np.abs(a - b).sum() for a, b in both])

    def standardised_difference(
        self, target: CategoryCounts, *, weighted: CategoryCounts | None = None
    ) -> FloatArray:
        """Return the root of each column's mean squared difference of shares, in standard deviations, (d,).

        Missing values are left out. As in `Moments.standardised_difference`,
        ``weighted`` gives the source's shares and these counts the scale.
        """
        out = np.zeros(len(self.counts))
        for j in range(len(out)):
            plain, there = self.both_shares(target, j, missing=False)
            here = plain if weighted is None else weighted.shares(j, size=len(plain), missing=False)
            if np.isnan(here).any() or np.isnan(there).any():
                continue
            variance = 0.5 * (plain * (1 - plain) + there * (1 - there))
            # Rare categories have tiny variances and noisy shares, so each counts by its variance.
            present = variance > 0
            if present.any():
                out[j] = np.sqrt(np.sum((there - here)[present] ** 2) / variance[present].sum())
        return out
