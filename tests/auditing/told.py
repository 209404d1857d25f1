"""What an audit tells of two tables before anything is learnt, by the pass over all rows that it makes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.parts.source import Frame, Part
from steelyard.auditing.parts.store import Memory
from steelyard.auditing.parts.windows import make_cutter
from steelyard.auditing.reading.copies import RowCopies, copies_found, has_continuous, shared_found
from steelyard.auditing.result import Finding
from steelyard.auditing.say.columns import described
from steelyard.auditing.score import encoded
from steelyard.auditing.sides import Side, Sides
from steelyard.auditing.sums import RowCounts
from steelyard.auditing.tables import Tables

FloatArray = npt.NDArray[np.float64]


def found(tables: Tables) -> tuple[Finding, ...]:
    """Return all findings on columns and rows, of tables whose every row was read.

    Rows without a target are no longer among the tables' rows: those only an audit tells.
    """
    sides, sums = [], []
    capacity = max(len(tables.X), len(tables.X_live))
    for name, frame, X in (("TRAIN", tables.frame, tables.X), ("LIVE", tables.frame_live, tables.X_live)):
        again, profiles, unread = encoded(tables.features, frame, Part(0, 0, frame.height), name)
        # What the sums are taken of is what the steps were given.
        np.testing.assert_array_equal(again, X)
        whole = Frame(frame, frame.height)
        sides.append(Side(name, whole, np.arange(frame.height), frame))
        copies = RowCopies.of(again, capacity=capacity)
        sums.append({"profiles": profiles, "unread": unread, "copies": copies})
    train, live = (SimpleNamespace(**part) for part in sums)
    train.counts, train.held = RowCounts(len(tables.y), 0, 0), 0
    train.labelled_copies = RowCopies.of(np.column_stack([tables.X, tables.y]), capacity=capacity)
    _, told = described(tables, train, live, Sides(*sides, None, None, None, Memory()))
    return told


def copied(X: FloatArray, X_live: FloatArray, y: FloatArray | None = None) -> list[Finding]:
    """Return the findings on copies of rows, (n, d) and (n_live, d); ``y`` is part of TRAIN's if given."""
    capacity = max(len(X), len(X_live))
    train, live = (RowCopies.of(rows, capacity=capacity) for rows in (X, X_live))
    labelled = train if y is None else RowCopies.of(np.column_stack([X, y]), capacity=capacity)
    found = copies_found(labelled, live) if has_continuous(X) else []
    return [*found, *shared_found(train, live)]


def windowed(
    live: pl.DataFrame, every: int | str, *, time: str | None = None, part_rows: int = 17
) -> tuple[list[int], tuple[tuple[str, str], ...]]:
    """Return each row's window, counted from 0, and their names; LIVE is cut part by part."""
    source = Frame(live, part_rows)
    cutter = make_cutter(source, time, every, map)
    assert cutter is not None
    keys = np.concatenate([cutter(source.read(part), part.index) for part in source.parts])
    known, window = np.unique(keys, return_inverse=True)
    return window.tolist(), tuple(cutter.name(int(key)) for key in known)
