"""Ridge logistic regressions that each leave one fold out, at little more than the cost of one."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit

from steelyard.weighting.ratios.kernel_logistic import information, ridge_logistic

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_TOLERANCE = 1e-9
_STEPS = 25
# More rows than these are fitted to every so many first: most steps are then made on a part.
_PART_ROWS = 6_000
# From so many features the second derivatives are what a fit costs.
_WIDE = 100


def balanced(weight: FloatArray, domain: IntArray) -> FloatArray:
    """Return weights of which each side's sum to one half."""
    sizes = weight[domain == 0].sum(), weight[domain == 1].sum()
    return np.asarray(0.5 * weight / np.where(domain == 0, *sizes))


class FoldedLogistic:
    """For each fold, the logistic regression of all rows but the fold's.

    The first is found by Newton's method. The others differ from it by what two
    folds weigh, so that they start there and share its second derivatives, summed
    up once by fold and side; their steps cost a gradient each. The likelihood is
    concave: where a fit ends does not depend on where it starts, so that no fold's
    fit knows its own rows by way of the first.

    Parameters
    ----------
    Z : array of shape (n, m)
    domain : array of shape (n,)
        0 for source, 1 for target, which count alike.
    weight : array of shape (n,)
    fold : array of shape (n,)
    penalty : array of shape (m,)
        On squared coefficients, as in `ridge_logistic`.

    Notes
    -----
    Time O(n m^2) for about four steps and O(n m) for some ten more a fold.
    """

    def __init__(
        self, Z: FloatArray, domain: IntArray, weight: FloatArray, fold: IntArray, penalty: FloatArray
    ) -> None:
        self.Z, self.domain, self.weight, self.fold, self.penalty = Z, domain, weight, fold, penalty
        self.single = Z.shape[1] >= _WIDE
        self.start: FloatArray | None = None
        self.parts: FloatArray | None = None

    def without(self, k: int) -> tuple[FloatArray, FloatArray]:
        """Return the coefficients without fold k's rows, (m,), and their second derivatives, (m, m)."""
        counted = balanced(self.weight * (self.fold != k), self.domain)
        if self.start is None:
            self.start = self._newton(counted)
        if self.parts is None:
            self.parts = self._second_derivatives(self.start)
        hessian = self._summed(k)
        coef = self._chord(counted, hessian, self.start)
        return (self._newton(counted, self.start) if coef is None else coef), hessian

    def _newton(self, counted: FloatArray, start: FloatArray | None = None) -> FloatArray:
        every = len(self.Z) // _PART_ROWS
        if start is None and every >= 2:
            part = slice(None, None, every)
            start = self._ridge(self.Z[part], part, balanced(counted[part], self.domain[part]), None, 1e-4)
        return self._ridge(self.Z, slice(None), counted, start, _TOLERANCE)

    def _ridge(
        self, Z: FloatArray, part: slice, counted: FloatArray, start: FloatArray | None, tolerance: float
    ) -> FloatArray:
        label = self.domain[part].astype(np.float64)
        fitted = partial(
            ridge_logistic,
            Z,
            label,
            sample_weight=counted,
            penalty=self.penalty,
            start=start,
            tolerance=tolerance,
        )
        try:
            return fitted(single=self.single)
        except LinAlgError:  # a penalty below what single precision resolves
            return fitted()

    def _second_derivatives(self, coef: FloatArray) -> FloatArray:
        """Return sums over rows by fold and side, (folds, 2, m, m), before the sides are balanced."""
        p = expit(self.Z @ coef)
        curvature = self.weight * p * (1 - p)
        m, folds = self.Z.shape[1], int(self.fold.max()) + 1
        out = np.zeros((folds, 2, m, m), dtype=np.float32 if self.single else np.float64)
        for k in range(folds):
            for side in (0, 1):
                rows = np.flatnonzero((self.fold == k) & (self.domain == side))
                out[k, side] = information(self.Z[rows], curvature[rows], single=self.single)
        return out

    def _summed(self, k: int) -> FloatArray:
        assert self.parts is not None
        out = np.zeros(self.parts.shape[2:])
        for side in (0, 1):
            mass = self.weight[(self.fold != k) & (self.domain == side)].sum()
            out += 0.5 / mass * np.delete(self.parts[:, side], k, axis=0).sum(axis=0)
        return out

    def _chord(self, counted: FloatArray, hessian: FloatArray, coef: FloatArray) -> FloatArray | None:
        """Make Newton steps with second derivatives that stay; None where they do not settle."""
        try:
            factor = cho_factor(hessian + np.diag(self.penalty), lower=True)
        except LinAlgError:
            return None
        before = np.inf
        for _ in range(_STEPS):
            gradient = self.Z.T @ (counted * (expit(self.Z @ coef) - self.domain)) + self.penalty * coef
            step = -cho_solve(factor, gradient)
            left = -float(gradient @ step)
            if not left < before:
                return None
            coef, before = coef + step, left
            if left < _TOLERANCE:
                return coef
        return None
