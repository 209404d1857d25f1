"""Tables of rows: numbered, knowing what is missing, the same whether they are held or lie in files."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steelyard.auditing.parts.source import Part
from steelyard.auditing.parts.spool import Spool, normalised_weights
from steelyard.auditing.parts.store import Memory, Store
from tests.auditing.example_audit import binary, nothing_measured, of_rows


@pytest.mark.parametrize("where", ["memory", "files"])
def test_tables_number_their_rows_and_know_what_is_missing(where: str, tmp_path: Path) -> None:
    store: Store = Memory() if where == "memory" else Spool(tmp_path, {}, resume=False)
    parts = Part(0, 0, 2), Part(1, 2, 1)
    log_weights = np.log([1.0, math.nan, 3.0])
    said = np.array(["a", "b", None], dtype=object)
    for part in parts:
        rows = slice(part.first, part.first + part.rows)
        store.keep("train", part, {"log_weight": log_weights[rows]})
        store.keep("live", part, {"prediction": said[rows], "in_set_a": np.array([True, False, True])[rows]})
    weights = normalised_weights(store.table("train", 2), math.log(2)).collect()
    predictions = store.table("live", 2).collect()
    assert weights.schema == {"row": pl.Int64, "weight": pl.Float64}
    assert weights["row"].to_list() == [0, 1, 2]
    assert weights["weight"].to_list() == [pytest.approx(0.5), None, pytest.approx(1.5)]
    assert predictions.schema == {"row": pl.Int64, "prediction": pl.String, "in_set_a": pl.Boolean}
    assert predictions.rows() == [(0, "a", True), (1, "b", False), (2, None, True)]


def test_arrays_are_the_tables_columns_and_a_null_weight_is_nan() -> None:
    weights = of_rows(weight=np.array([0.5, math.nan, 1.5])).with_columns(pl.col("weight").fill_nan(None))
    predictions = of_rows(prediction=np.array(["a", "b"], dtype=object), in_set_a=np.array([True, False]))
    result = replace(nothing_measured(), row_tables={"weights": weights, "predictions": predictions})
    np.testing.assert_array_equal(result.row_weights, [0.5, math.nan, 1.5])
    assert result.row_predictions is not None
    assert {name: values.tolist() for name, values in result.row_predictions.items()} == {
        "prediction": ["a", "b"],
        "in_set_a": [True, False],
    }


def test_what_was_not_made_has_no_table() -> None:
    assert nothing_measured().row_weights is None
    assert nothing_measured().row_predictions is None


def test_a_result_reads_its_arrays_once_and_travels() -> None:
    result = binary()
    assert result.row_weights is result.row_weights
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.row_weights, result.row_weights)
