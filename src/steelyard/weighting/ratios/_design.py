"""Columns as features of a linear model, measured once for all folds and learners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.numerics.design import additive_design
from steelyard.weighting.ratios._basis import Scale

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_BLOCK = 20_000
_MOST_TERMS = 400
# Numbers end where they are this many times as far from the median as the outermost percent begins: beyond
# 4.6 standard deviations of a normal column, which has no such rows; a gross outlier is no more than others.
_REACH = 2.0
_TAIL = 0.01


def reach(X: FloatArray, X_target: FloatArray, categorical: BoolArray) -> FloatArray:
    """Return the limits, (2, d), beyond which numbers count as the limit; infinite for categories.

    Each side is measured by itself and the wider of the two counts: what is common on
    a small side is no outlier. One row can hardly move a quantile, so that none sets the
    scale of a column, or is far enough from the others to turn a slope.
    """
    out = np.empty((2, X.shape[1]))
    out[0], out[1] = -np.inf, np.inf
    for j in np.flatnonzero(~categorical):
        ends = [e for e in (_reach(X[:, j]), _reach(X_target[:, j])) if e is not None]
        if ends:
            out[:, j] = min(e[0] for e in ends), max(e[1] for e in ends)
    return out


def _reach(values: FloatArray) -> tuple[float, float] | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, middle, high = np.quantile(known, [_TAIL, 0.5, 1.0 - _TAIL])
    # A column that is mostly one value has its ends among the others.
    if high == middle and (above := known[known > middle]).size:
        high = np.median(above)
    if low == middle and (below := known[known < middle]).size:
        low = np.median(below)
    return float(middle - _REACH * (middle - low)), float(middle + _REACH * (high - middle))


@dataclass(frozen=True, eq=False)
class Design:
    """Columns as features of a linear model, mean zero and variance one, a constant before them.

    ``degree`` 2 adds the squares and products of the numbers, as far as there are
    at most 400 features; ``n_knots`` makes splines of them. A missing number is the
    column's median, with a column that marks it; one beyond ``limits`` is the limit.
    """

    columns: Any
    limits: FloatArray
    gaps: IntArray
    n_numbers: int
    degree: int
    scale: Scale | None = None

    @classmethod
    def of(
        cls,
        X: FloatArray,
        weight: FloatArray,
        categorical: BoolArray,
        *,
        limits: FloatArray | None = None,
        degree: int = 1,
        n_knots: int = 0,
    ) -> Design:
        """Measure the columns of rows, of which ``weight`` says how much they count."""
        return cls.measured(X, weight, categorical, limits=limits, degree=degree, n_knots=n_knots)[0]

    @classmethod
    def measured(
        cls,
        X: FloatArray,
        weight: FloatArray,
        categorical: BoolArray,
        *,
        limits: FloatArray | None = None,
        degree: int = 1,
        n_knots: int = 0,
    ) -> tuple[Design, FloatArray]:
        """Return the design and the features of its own rows, (n, k)."""
        ends = reach(X, X, categorical) if limits is None else limits
        columns = additive_design(categorical, n_knots=n_knots, sparse=False, max_categories=15)
        columns.fit(np.clip(X, *ends))
        gaps = np.flatnonzero(np.isnan(X).any(axis=0) & ~categorical)
        raw = cls(columns, ends, gaps, int((~categorical).sum()) if n_knots == 0 else 0, degree)
        Z = raw(X)
        mean = np.average(Z[:, 1:], axis=0, weights=weight)
        Z[:, 1:] -= mean
        share = weight / weight.sum()
        spread = np.sqrt(np.einsum("i,ij,ij->j", share, Z[:, 1:], Z[:, 1:]))
        # Columns are on one scale already: what hardly varies is rounding, or a product that never changes.
        spread = np.where(spread > 1e-9, spread, np.inf)
        Z[:, 1:] /= spread
        return cls(columns, ends, gaps, raw.n_numbers, degree, Scale(mean, spread)), Z

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return the features of rows, (n, k), the constant first."""
        base = np.asarray(self.columns.transform(np.clip(X, *self.limits)))
        parts = [np.ones((len(X), 1)), base, np.isnan(X[:, self.gaps]).astype(np.float64)]
        p = self.n_numbers
        if self.degree == 2 and p and base.shape[1] + p <= _MOST_TERMS:
            numbers = base[:, :p]  # the numbers' columns come first
            if base.shape[1] + p * (p + 1) // 2 <= _MOST_TERMS:
                parts += [numbers[:, [i]] * numbers[:, i:] for i in range(p)]
            else:
                parts.append(numbers**2)
        Z = np.hstack(parts)
        if self.scale is not None:
            Z[:, 1:] -= self.scale.mean
            Z[:, 1:] /= self.scale.spread
        return Z

    def has_room(self) -> bool:
        """Say whether the numbers' squares would leave at most 400 features."""
        width = int(self.columns.transform(np.zeros((1, self.limits.shape[1]))).shape[1])
        return width + self.n_numbers <= _MOST_TERMS

    def values(self, X: FloatArray, coef: FloatArray) -> FloatArray:
        """Return the functions with these coefficients, (k,) or (k, folds), at rows, in blocks."""
        out = np.empty((len(X), *coef.shape[1:]))
        for start in range(0, len(X), _BLOCK):
            part = slice(start, start + _BLOCK)
            out[part] = self(X[part]) @ coef
        return out
