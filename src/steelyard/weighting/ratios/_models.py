"""The fitted log ratios of all folds of one learner; they hold nothing of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steelyard.numerics.binning import Bins
from steelyard.weighting.ratios._basis import KernelBasis
from steelyard.weighting.ratios._design import Design

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BLOCK = 20_000


class Models(Protocol):
    """One log ratio a fold."""

    def each(self, X: FloatArray) -> FloatArray:
        """Return what every fold's model says of rows, (n, folds)."""
        ...

    def own(self, X: FloatArray, fold: IntArray) -> FloatArray:
        """Return what the model of each row's fold says of it, (n,)."""
        ...


@dataclass(frozen=True, eq=False)
class LinearModels:
    """Log ratios that are linear in the features of one design; ``coef`` is (k, folds)."""

    design: Design
    coef: FloatArray

    def each(self, X: FloatArray) -> FloatArray:
        """Return what every fold's model says of rows, (n, folds)."""
        return self.design.values(X, self.coef)

    def own(self, X: FloatArray, fold: IntArray) -> FloatArray:
        """Return what the model of each row's fold says of it, (n,)."""
        return _pick(self.each(X), fold)


@dataclass(frozen=True, eq=False)
class KernelModels:
    """Log ratios in a Gaussian kernel's space over the features of one design; ``coef`` is (m, folds)."""

    design: Design
    basis: KernelBasis
    coef: FloatArray

    def each(self, X: FloatArray) -> FloatArray:
        """Return what every fold's model says of rows, (n, folds)."""
        out = np.empty((len(X), self.coef.shape[1]))
        for start in range(0, len(X), _BLOCK):
            part = slice(start, start + _BLOCK)
            out[part] = self.basis.standardised(self.design(X[part])[:, 1:]) @ self.coef
        return out

    def own(self, X: FloatArray, fold: IntArray) -> FloatArray:
        """Return what the model of each row's fold says of it, (n,)."""
        return _pick(self.each(X), fold)


@dataclass(frozen=True, eq=False)
class Tree:
    """One fold's trees: what to add, the columns that they read, and the terms of a linear model in bins."""

    model: Any
    offset: float
    columns: IntArray
    terms: IntArray | None = None
    bins: Bins | None = None


@dataclass(frozen=True, eq=False)
class BoostedModels:
    """Trees over binned columns and, where there is a ``base``, its log ratio and strongest terms."""

    bins: Bins
    trees: tuple[Tree, ...]
    base: LinearModels | None = None

    def each(self, X: FloatArray) -> FloatArray:
        """Return what every fold's model says of rows, (n, folds)."""
        out = np.empty((len(X), len(self.trees)))
        for start in range(0, len(X), _BLOCK):
            part = slice(start, start + _BLOCK)
            codes, Z = self._read(X[part])
            for k in range(len(self.trees)):
                out[part, k] = self._said(k, codes, Z)
        return out

    def own(self, X: FloatArray, fold: IntArray) -> FloatArray:
        """Return what the model of each row's fold says of it, (n,)."""
        out = np.empty(len(X))
        for start in range(0, len(X), _BLOCK):
            part, which = slice(start, start + _BLOCK), fold[start : start + _BLOCK]
            codes, Z = self._read(X[part])
            for k in np.unique(which):
                rows = which == k
                out[part][rows] = self._said(int(k), codes[rows], None if Z is None else Z[rows])
        return out

    def _read(self, X: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        return self.bins(X), None if self.base is None else self.base.design(X)

    def _said(self, k: int, codes: FloatArray, Z: FloatArray | None) -> FloatArray:
        tree = self.trees[k]
        rows = codes[:, tree.columns]
        if self.base is not None and Z is not None and tree.terms is not None and tree.bins is not None:
            terms = np.column_stack([Z @ self.base.coef[:, k], Z[:, tree.terms]])
            rows = np.hstack([rows, tree.bins(terms)])
        return np.asarray(tree.model.decision_function(rows) + tree.offset)


def _pick(said: FloatArray, fold: IntArray) -> FloatArray:
    return np.asarray(said[np.arange(len(said)), fold])
