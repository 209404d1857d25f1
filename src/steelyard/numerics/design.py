"""Turning encoded tables into features for linear and kernel methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler

# A wide table has enough columns to tell rows apart; splines on each would cost more than they add.
_MOST_COLUMNS = 400


def additive_design(
    categorical: npt.NDArray[np.bool_], *, n_knots: int = 5, sparse: bool = True, max_categories: int = 30
) -> Any:
    """Return a transformer from columns to a basis in which a linear model is an additive one.

    Numbers become cubic splines with knots at quantiles (a standardised column
    where ``n_knots`` is 0), with a column that marks missing values; categories
    become indicators, the rare ones together.

    Parameters
    ----------
    categorical : boolean array of shape (d,)
        Which columns hold category codes.
    n_knots : int
        Knots of each spline; the basis has ``n_knots + 2`` columns a number. Fewer
        are used, down to none, where all numbers together would get more than
        400 columns.
    sparse : bool
        Whether the result is a sparse matrix.
    max_categories : int
        Indicators kept for one column.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.column_stack([np.linspace(0, 1, 50), np.arange(50) % 3])
    >>> additive_design(np.array([False, True]), n_knots=3).fit_transform(X).shape
    (50, 8)
    """
    impute = SimpleImputer(strategy="median", add_indicator=False, keep_empty_features=True)
    numbers, categories = np.flatnonzero(~categorical), np.flatnonzero(categorical)
    affordable = _MOST_COLUMNS // max(len(numbers), 1) - 2
    n_knots = min(n_knots, affordable) if affordable >= 3 else 0
    if n_knots > 0:
        basis = SplineTransformer(n_knots=n_knots, degree=3, knots="quantile", extrapolation="linear")
        # More than half of it is filled, and its own sparse form goes through lists of Python numbers
        # for every column: making it sparse afterwards takes a third of the time and less memory.
        as_asked = [FunctionTransformer(csr_matrix)] if sparse else []
        number: Any = make_pipeline(impute, StandardScaler(), basis, *as_asked)
    else:
        number = make_pipeline(impute, StandardScaler())
    indicator = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=max_categories,
        min_frequency=5,
        sparse_output=sparse,
    )
    parts = []
    if numbers.size:
        parts.append(("numbers", number, numbers))
    if categories.size:
        parts.append(("categories", indicator, categories))
    return ColumnTransformer(parts, sparse_threshold=1.0 if sparse else 0.0)
