"""Notes on columns as they are read: kind, role, and what is odd about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from steelyard.auditing.profiles.reference import ReferenceColumn
from steelyard.auditing.reading.columns import align
from steelyard.auditing.reading.dialect import Dialect
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.triage import Verdict
from steelyard.auditing.result import ColumnNote, Finding


def with_withheld(
    notes: Sequence[ColumnNote], columns: Sequence[ReferenceColumn], live: pl.DataFrame, dialect: Dialect
) -> tuple[tuple[ColumnNote, ...], tuple[Finding, ...]]:
    """Return the notes in the order of a profile's columns, with those of which it keeps no values."""
    known = {note.name: note for note in notes}
    told: list[Finding] = []
    ordered: list[ColumnNote] = []
    for column in columns:
        note = known.pop(column.name, None)
        if note is None:
            note = _left_out(column, live, dialect)
            if column.finding is not None and note.missing_live is not None:
                told.append(column.finding)
        ordered.append(note)
    return (*ordered, *known.values()), tuple(told)


def _left_out(column: ReferenceColumn, live: pl.DataFrame, dialect: Dialect) -> ColumnNote:
    """Note a column of which the profile holds no values."""
    missing: float | None = None
    distinct: int | None = None
    issues = column.issues or ("excluded",)
    if column.name in live.columns:
        series = live[column.name]
        missing, distinct = series.null_count() / max(series.len(), 1), series.drop_nulls().n_unique()
        both = align(column.name, series, series, dialect)
        if "excluded" not in issues and both.fault is None and both.kind != "absent":
            profile = profiled(both.kind, both.train)
            missing, distinct = profile.missing_rate, profile.distinct
    elif "excluded" not in issues:
        issues = (*issues, "missing in LIVE")
    return ColumnNote(
        column.name, column.kind, "dropped", column.missing, missing, column.distinct, distinct, issues
    )


def profiled(kind: str, series: pl.Series) -> ColumnProfile:
    """Return the summary of a column."""
    return ColumnProfile("category" if kind == "category" else "number").update(series)


def noted(
    name: str,
    verdict: Verdict,
    train: ColumnProfile,
    live: ColumnProfile | None,
    role: Literal["feature", "dropped"],
    issues: tuple[str, ...] = (),
) -> ColumnNote:
    """Note a column by its summaries."""
    missing = live.missing_rate if live else None
    distinct = live.distinct if live else None
    issues = (*issues, *verdict.issues, *(() if live else ("missing in LIVE",)))
    return ColumnNote(name, verdict.kind, role, train.missing_rate, missing, train.distinct, distinct, issues)


def some_columns(names: Sequence[str], most: int = 6) -> str:
    """Return names for a message, the first of many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
