"""Streamed audits of awkward input: the answer where there is one, otherwise one clear line a fault."""

import warnings

import numpy as np
import polars as pl
import pytest

import steelyard
from steelyard.auditing.read import read_tables
from steelyard.auditing.reading.columns import as_text
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.streaming import source as source_module
from steelyard.errors import InputError
from tests.auditing.test_streaming import tables

FLOATS = [0.0, -0.0, 1.0, 0.5, 2.0, 7.0, 1e-5, 1e17, 1e20, 1e300, -3.0, float("inf"), None]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Cut tables into many parts, of a size that divides nothing."""
    monkeypatch.setattr(source_module, "PART_ROWS", 397)


def test_a_number_has_one_text_whatever_stands_beside_it():
    whole = as_text(pl.Series(FLOATS)).to_list()
    assert whole == [as_text(pl.Series([value], dtype=pl.Float64))[0] for value in FLOATS]
    assert whole[:6] == ["0", "0", "1", "0.5", "2", "7"]
    # Below 2**53, the text of a whole float is that of the integer.
    assert as_text(pl.Series([2.0**53 - 1])).to_list() == [str(2**53 - 1)]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32])
@pytest.mark.parametrize("values", [[0.5, 2.0, 7.0], [1e-5, 3.0], [0.1, 1e20]])
def test_classes_may_mix_whole_numbers_with_fractions(values, dtype):
    x = np.random.default_rng(0).normal(size=300)
    code = np.arange(300) % len(values)
    frame = pl.DataFrame({"x": x, "y": pl.Series(np.array(values)[code], dtype=dtype)})
    live = frame.with_columns(y=pl.Series(np.array(values)[code]))
    read = read_tables(frame, live, target="y", labels="y")
    np.testing.assert_array_equal(read.y, code)
    np.testing.assert_array_equal(read.y_live, code)


@pytest.mark.parametrize("side", ["TRAIN", "LIVE"])
def test_bad_output_is_told_of_the_table_that_holds_it(side):
    train, live = tables(n=1_600, n_live=1_600)
    spoilt = train if side == "TRAIN" else live
    p = spoilt["p"].to_list()
    p[1_234] = 1.5
    spoilt = spoilt.with_columns(p=pl.Series(p))
    pair = (spoilt, live) if side == "TRAIN" else (train, spoilt)
    with pytest.raises(InputError, match=f"'p' in {side}: 1 values lie outside"):
        steelyard.audit(*pair, target="y", proba="p", sample=500)


def test_columns_that_only_live_has_are_not_called_labels():
    train, live = tables(n=200, n_live=200)
    read = read_tables(train, live.with_columns(more=pl.lit(1)), target="y", proba="p", labels="y")
    notes = {note.name: note for note in read.notes}
    assert notes["more"].issues == ("missing in TRAIN",)
    assert notes["day"].issues == ("missing in TRAIN",)
    labelled = read_tables(train, live.rename({"y": "truth"}), target="y", proba="p", labels="truth")
    assert not [note for note in labelled.notes if note.name == "truth" and note.issues != ("labels",)]


def test_huge_numbers_are_in_order_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = ColumnProfile("number").update(pl.Series([-1.7e308, 1.7e308, 1.0]))
    assert (profile.rising, profile.falling) == (False, False)
    assert ColumnProfile("number").update(pl.Series([-1.7e308, 1.7e308])).rising
