"""Tables of rows: those that are held look as those that lie in files do."""

from __future__ import annotations

import math
import pickle

import numpy as np
import polars as pl

from steelyard.auditing.row_tables import column_arrays, in_memory_tables
from tests.auditing.example_audit import binary, nothing_measured


def test_tables_in_memory_number_their_rows_and_know_what_is_missing() -> None:
    tables = in_memory_tables(
        np.array([0.5, math.nan, 1.5]),
        {"prediction": np.array(["a", "b"], dtype=object), "in_set_a": np.array([True, False])},
    )
    weights, predictions = tables["weights"].collect(), tables["predictions"].collect()
    assert weights.schema == {"row": pl.Int64, "weight": pl.Float64}
    assert weights.rows() == [(0, 0.5), (1, None), (2, 1.5)]
    assert predictions.schema == {"row": pl.Int64, "prediction": pl.String, "in_set_a": pl.Boolean}
    np.testing.assert_array_equal(column_arrays(tables["weights"])["weight"], [0.5, math.nan, 1.5])
    arrays = column_arrays(tables["predictions"])
    assert {name: values.tolist() for name, values in arrays.items()} == {
        "prediction": ["a", "b"],
        "in_set_a": [True, False],
    }


def test_what_was_not_made_has_no_table() -> None:
    assert in_memory_tables(None, None) == {}
    assert nothing_measured().row_weights is None
    assert nothing_measured().row_predictions is None


def test_a_result_reads_its_arrays_once_and_travels() -> None:
    result = binary()
    assert result.row_weights is result.row_weights
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.row_weights, result.row_weights)
