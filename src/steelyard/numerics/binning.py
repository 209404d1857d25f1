"""Numbers as codes of at most 255 quantile bins: what boosted trees see of them, made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MOST_BINS = 255


@dataclass(frozen=True, eq=False)
class Bins:
    """Quantile bins of columns; a column of few values, or of categories, is left as it is.

    Histogram trees bin their columns anyway, once a fit, and where rows have weights
    scikit-learn's take ten times as long over it. Columns that were binned before
    are cut between their codes, which costs next to nothing.

    Attributes
    ----------
    edges : tuple of array or None
        Of each column; None leaves it as it is.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.column_stack([np.arange(1000.0), np.arange(1000) % 3])
    >>> bins = Bins.of(X, np.array([False, True]), most=4)
    >>> bins(np.array([[-5.0, 2.0], [300.0, 1.0], [np.nan, 0.0]])).tolist()
    [[0.0, 2.0], [1.0, 1.0], [nan, 0.0]]
    """

    edges: tuple[FloatArray | None, ...]

    @classmethod
    def of(cls, X: FloatArray, categorical: BoolArray, *, most: int = MOST_BINS) -> Bins:
        """Measure the columns of rows; time O(n log n) a column."""
        return cls(tuple(None if categorical[j] else _edges(X[:, j], most) for j in range(X.shape[1])))

    def __call__(self, X: FloatArray) -> FloatArray:
        """Return the rows with codes in place of numbers, (n, d); missing values stay missing."""
        out = X.copy(order="F")
        for j, edges in enumerate(self.edges):
            if edges is None:
                continue
            values = np.ascontiguousarray(X[:, j])
            code = np.searchsorted(edges, values, side="right").astype(np.float64)
            out[:, j] = np.where(np.isnan(values), np.nan, code)
        return out


def _edges(values: FloatArray, most: int) -> FloatArray | None:
    """Return the edges between a column's bins, or None if it has few values."""
    ordered = np.sort(values[~np.isnan(values)])
    if len(ordered) <= most or 1 + np.count_nonzero(np.diff(ordered)) <= most:
        return None
    cut = (np.arange(1, most) * len(ordered)) // most
    # Between two values, so that rounding moves no row to another bin.
    return np.unique(0.5 * ordered[cut - 1] + 0.5 * ordered[cut])
