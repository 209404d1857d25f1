"""Which columns move together, so that they are one player when a change is divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from steelyard.errors import InputError
from steelyard.numerics.checks import as_rows

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Columns = tuple[int, ...]

_MOST_WORK = 2e10


def group_features(
    X: Any, *, categorical: Any = None, max_groups: int = 4, n_bins: int = 8, max_rows: int = 10_000
) -> tuple[Columns, ...]:
    """Group columns that move together, by average linkage on their association.

    Parameters
    ----------
    X : array of shape (n, d)
        NaN where missing; missing values form a bin of their own.
    categorical : boolean array of shape (d,), optional
        Which columns hold category codes; numbers are cut at quantiles.
    max_groups : int
        The most groups that are formed.
    n_bins : int
        Bins a number; rarer categories beyond twice as many share a bin.
    max_rows : int
        At most so many rows, evenly spaced, are looked at; fewer, but never fewer
        than 1,000, where there are hundreds of columns.

    Returns
    -------
    tuple of tuples of int
        Column numbers, each column in one group, groups by their first column.

    Notes
    -----
    Association is Cramer's V with the bias correction of Bergsma (2013), which
    sees any dependence, not only a linear one. Time O(n (d n_bins)^2), in one
    matrix product; memory O((n + d n_bins) d n_bins).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 1000))
    >>> X = np.column_stack([a, b, a**2 + 0.1 * b, b + 0.1 * a])
    >>> group_features(X, max_groups=2)
    ((0, 2), (1, 3))
    """
    rows = as_rows(X)
    n, d = rows.shape
    if max_groups < 1:
        raise InputError(f"max_groups is {max_groups}; at least one is needed.")
    if d <= max_groups:
        return tuple((j,) for j in range(d))
    if max_groups == 1:
        return (tuple(range(d)),)
    mask = np.zeros(d, dtype=bool) if categorical is None else np.asarray(categorical, dtype=bool)
    # Tables of all pairs are one product of indicators, n (d n_bins)^2: wide tables make do with fewer rows.
    affordable = max(1_000, int(_MOST_WORK / (d * n_bins) ** 2))
    rows = rows[np.linspace(0, n - 1, min(n, max_rows, affordable)).astype(np.int64)]
    codes = [_binned(rows[:, j], bool(mask[j]), n_bins) for j in range(d)]
    distance = 1.0 - _cramers_v(codes)
    label = fcluster(linkage(squareform(distance, checks=False), "average"), max_groups, "maxclust")
    groups = [tuple(np.flatnonzero(label == k).tolist()) for k in np.unique(label)]
    return tuple(sorted(groups))


def _binned(column: FloatArray, categorical: bool, n_bins: int) -> IntArray:
    """Return bin numbers: categories most frequent first, numbers by quantile, missing values last."""
    missing = np.isnan(column)
    code = np.zeros(column.shape[0], dtype=np.int64)
    present = column[~missing]
    if categorical or np.unique(present).size <= n_bins:
        _, inverse, count = np.unique(present, return_inverse=True, return_counts=True)
        rank = np.argsort(np.argsort(-count, kind="stable"), kind="stable")
        code[~missing] = np.minimum(rank[inverse], 2 * n_bins)
    elif present.size:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, n_bins + 1)[1:-1]))
        code[~missing] = np.searchsorted(edges, present, side="right")
    code[missing] = code.max() + 1
    # Quantiles of a number with ties leave bins empty, which would count as values.
    return np.asarray(np.unique(code, return_inverse=True)[1], dtype=np.int64)


def _cramers_v(codes: Sequence[IntArray]) -> FloatArray:
    """Return Cramer's V of all pairs, (d, d), 1 on the diagonal; 0 for columns of one value."""
    n = len(codes[0])
    sizes = np.array([code.max() + 1 for code in codes])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Counts stay whole numbers in single precision, which is twice as fast.
    indicators = np.zeros((n, int(sizes.sum())), dtype=np.float32)
    for code, start in zip(codes, starts):
        indicators[np.arange(n), start + code] = 1.0
    tables = indicators.T @ indicators
    count = np.diag(tables).astype(np.float64)
    cells = tables**2 / count[:, None] / count
    phi2 = np.add.reduceat(np.add.reduceat(cells, starts, axis=0), starts, axis=1) - 1.0
    free = sizes - 1.0
    phi2 = np.maximum(0.0, phi2 - np.outer(free, free) / max(n - 1, 1))
    levels = sizes - free**2 / max(n - 1, 1)
    smaller = np.minimum.outer(levels, levels) - 1.0
    v = np.where(smaller > 0, np.sqrt(phi2 / np.where(smaller > 0, smaller, 1.0)), 0.0)
    v[np.minimum.outer(sizes, sizes) < 2] = 0.0
    np.fill_diagonal(v, 1.0)
    return np.minimum(v, 1.0)
