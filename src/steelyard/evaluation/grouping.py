"""Which columns move together, so that they are one player when a change is divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from steelyard.errors import InputError
from steelyard.numerics.checks import as_rows

FloatArray = npt.NDArray[np.float64]
Columns = tuple[int, ...]


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
        The first so many rows, evenly spaced, are looked at.

    Returns
    -------
    tuple of tuples of int
        Column numbers, each column in one group, groups by their first column.

    Notes
    -----
    Association is Cramer's V with the bias correction of Bergsma (2013), which
    sees any dependence, not only a linear one. Time O(d^2 n).

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
    rows = rows[np.linspace(0, n - 1, min(n, max_rows)).astype(np.int64)]
    codes = [_binned(rows[:, j], bool(mask[j]), n_bins) for j in range(d)]
    distance = np.zeros((d, d))
    for i in range(d):
        for j in range(i):
            distance[i, j] = distance[j, i] = 1.0 - _cramers_v(codes[i], codes[j])
    label = fcluster(linkage(squareform(distance), "average"), max_groups, "maxclust")
    groups = [tuple(np.flatnonzero(label == k).tolist()) for k in np.unique(label)]
    return tuple(sorted(groups))


def _binned(column: FloatArray, categorical: bool, n_bins: int) -> npt.NDArray[np.int64]:
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
    return code


def _cramers_v(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    n = a.shape[0]
    table = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1)).reshape(
        a.max() + 1, -1
    )
    table = table[table.any(axis=1)][:, table.any(axis=0)].astype(np.float64)
    r, c = table.shape
    if min(r, c) < 2 or n < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi2 = float(((table - expected) ** 2 / expected).sum()) / n
    phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi2 / smaller))) if smaller > 0 else 0.0
