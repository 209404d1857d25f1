"""What an audit says of each row: a table of TRAIN's weights and one of LIVE's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl


def in_memory_tables(
    weights: npt.NDArray[np.float64] | None, predictions: Mapping[str, npt.NDArray[Any]] | None
) -> dict[str, pl.LazyFrame]:
    """Return the tables of rows that are held, in the form of those that lie in files.

    Parameters
    ----------
    weights : array of shape (n,), optional
        One a row of TRAIN as read; NaN, for a row that was left out, becomes null.
    predictions : mapping of str to array of shape (m,), optional
        The columns, one value a row of LIVE.

    Returns
    -------
    dict of str to LazyFrame
        ``"weights"`` and ``"predictions"``, each behind a column ``row`` that
        counts from 0; none for what was not given.
    """
    import polars as pl

    tables = {}
    if weights is not None:
        tables["weights"] = _numbered({"weight": pl.Series(weights, dtype=pl.Float64, nan_to_null=True)})
    if predictions is not None:
        tables["predictions"] = _numbered(
            {
                # An array of objects may hold whole numbers or texts: their own type is found from them.
                name: pl.Series(values.tolist() if values.dtype == object else values, strict=False)
                for name, values in predictions.items()
            }
        )
    return tables


def column_arrays(table: pl.LazyFrame) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a table of rows, but for the rows' numbers; a null number becomes NaN."""
    return {column.name: column.to_numpy() for column in table.collect() if column.name != "row"}


def _numbered(columns: Mapping[str, pl.Series]) -> pl.LazyFrame:
    import polars as pl

    frame = pl.DataFrame(dict(columns)).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    return frame.lazy()
