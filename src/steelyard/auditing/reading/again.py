"""Columns judged anew, once profiles of more rows than those first read are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.triage import judge_column
from steelyard.auditing.tables import Tables

# What is known of a column from the way it was read, and from no profile.
_OF_READING = ("type differs", "numbers written as text")


def judged_again(
    tables: Tables, train: Mapping[str, ColumnProfile], live: Mapping[str, ColumnProfile]
) -> Tables:
    """Return the tables with the notes and findings on features that these profiles give.

    Parameters
    ----------
    tables : Tables
    train, live : mapping of str to ColumnProfile
        By name; a feature that either lacks is left as it is.
    """
    features = {f.name: f for f in tables.features if f.name in train and f.name in live}
    before = {id(f) for name in features for f in tables.column_findings.get(name, ())}
    found = [f for f in tables.findings if id(f) not in before]
    notes = []
    for note in tables.notes:
        feature = features.get(note.name)
        if feature is None or feature.kind == "absent":
            notes.append(note)
            continue
        a, b = train[note.name], live[note.name]
        note = replace(
            note,
            missing_train=a.missing_rate,
            missing_live=b.missing_rate,
            distinct_train=a.distinct,
            distinct_live=b.distinct,
        )
        verdict = judge_column(note.name, a, b, kind=feature.kind)
        # A column that the steps have used is not left out any more, whatever all rows show.
        if not verdict.dropped:
            found += verdict.findings
            kept = [issue for issue in note.issues if issue in _OF_READING]
            note = replace(note, issues=(*kept, *verdict.issues))
        notes.append(note)
    return replace(tables, notes=tuple(notes), findings=tuple(found))
