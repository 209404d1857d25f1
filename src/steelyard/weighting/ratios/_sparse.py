"""Logistic regression on the features that matter: the adaptive lasso's path, a choice on it, a refit."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path_gram

from steelyard.weighting.ratios._folded import balanced
from steelyard.weighting.ratios.kernel_logistic import free_constant, information, ridge_logistic

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def sparse_logistic(Z: FloatArray, domain: IntArray, weight: FloatArray) -> FloatArray:
    """Return coefficients of a logistic regression that keeps the features that matter.

    The likelihood is taken as the parabola at its maximum; along the path of the
    adaptive lasso on it, the Schwarz criterion chooses the features, which are then
    fitted without the lasso.

    Parameters
    ----------
    Z : array of shape (n, k)
        Features on one scale; the first is the constant, which is always kept.
    domain : array of shape (n,)
        0 for source, 1 for target.
    weight : array of shape (n,)
        How often each row counts; the two sides count alike in the fit.

    Returns
    -------
    array of shape (k,)

    Notes
    -----
    The cost is that of two logistic regressions, whatever the length of the path.
    Least-squares approximation of the lasso as of Wang and Leng.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 4))
    >>> X[1000:, 1] += 1.0
    >>> Z = np.column_stack([np.ones(2000), X])
    >>> np.flatnonzero(sparse_logistic(Z, np.repeat([0, 1], 1000), np.ones(2000))).tolist()
    [0, 2]
    """
    counted = balanced(weight, domain)
    # So many rows in two samples of equal size would know as much.
    size = max(4.0 / sum(1.0 / weight[domain == side].sum() for side in (0, 1)), 2.0)
    penalty = free_constant(Z.shape[1], 1.0 / size)
    first = ridge_logistic(Z, domain, sample_weight=counted, penalty=penalty)
    p = 1.0 / (1.0 + np.exp(-Z @ first))
    curvature = information(Z, counted * p * (1 - p))
    return refit(Z, domain, counted, sparse_features(first, curvature, size), first, curvature, size)


def sparse_features(coef: FloatArray, information: FloatArray, size: float) -> IntArray:
    """Return the features to keep, the constant 0 among them, of a likelihood's maximum and curvature.

    Parameters
    ----------
    coef : array of shape (k,)
    information : array of shape (k, k)
        Second derivatives of the mean loss.
    size : float
        How many rows they rest on.
    """
    inner = information + 1e-10 * np.eye(len(coef))
    # Without the constant, whose best value follows from the others'.
    H = inner[1:, 1:] - np.outer(inner[1:, 0], inner[0, 1:]) / inner[0, 0]
    b = coef[1:]
    scale = np.abs(b)
    path = np.zeros((1, len(b)))
    if scale.max(initial=0.0) > 0:
        gram = H * np.outer(scale, scale)
        with warnings.catch_warnings():
            # Features that follow from others are dropped on the way, as they should be.
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, _, found = lars_path_gram(gram @ np.sign(b), gram, n_samples=int(size), method="lasso")
        path = found.T * scale
    off = path - b
    lack = size * np.einsum("ij,ij->i", off @ H, off)
    chosen = int(np.argmin(lack + (path != 0).sum(axis=1) * np.log(size)))
    return np.concatenate([[0], 1 + np.flatnonzero(path[chosen])])


def refit(
    Z: FloatArray,
    domain: IntArray,
    counted: FloatArray,
    kept: IntArray,
    coef: FloatArray,
    information: FloatArray,
    size: float,
) -> FloatArray:
    """Return coefficients, (k,), of the kept features fitted alone, starting where the parabola ends."""
    inner = information + 1e-8 * np.eye(len(coef))
    gone = np.setdiff1d(np.arange(len(coef)), kept)
    start = coef[kept] + np.linalg.solve(inner[np.ix_(kept, kept)], inner[np.ix_(kept, gone)] @ coef[gone])
    out = np.zeros(len(coef))
    out[kept] = ridge_logistic(
        Z[:, kept],
        domain,
        sample_weight=counted,
        penalty=free_constant(len(kept), 1.0 / size),
        start=start,
        tolerance=1e-10,
    )
    return out
