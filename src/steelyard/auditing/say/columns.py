"""The columns of the two tables, and what is odd about them, told from all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from steelyard.auditing.data_faults.explained import explained
from steelyard.auditing.profiles.reference import Reference, ReferenceColumn
from steelyard.auditing.reading.copies import copies_found, has_continuous, shared_found
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.triage import judge_column
from steelyard.auditing.result import ColumnNote, Finding
from steelyard.auditing.sides import Sides
from steelyard.auditing.sums import LiveSums, RowCounts, TrainSums
from steelyard.auditing.tables import Tables

# What is known of a column from the way it was read, and from no profile.
_OF_READING = ("type differs", "numbers written as text", "dates written as text", "partly read")


def described(
    tables: Tables, train: TrainSums, live: LiveSums, sides: Sides
) -> tuple[tuple[ColumnNote, ...], tuple[Finding, ...]]:
    """Return a note on each column, and the findings on columns and rows.

    Features are judged by the profiles of all rows. Of a column that no step uses
    only the rows that were read are known, or what a profile tells.
    """
    judged = {f.name: f for f in tables.features}
    of_features: dict[str, Sequence[Finding]] = {}
    notes: list[ColumnNote] = []
    found: list[Finding] = list(tables.findings)
    in_part = sides.train.sampled or sides.live.sampled
    if in_part:
        found = [_of_sample(finding, tables) for finding in found]
    stored = {} if sides.reference is None else {c.name: c for c in sides.reference.columns}
    for note in tables.notes:
        feature = judged.get(note.name)
        if feature is None:
            notes.append(_unused(note, sides, stored.get(note.name)))
            continue
        a, b = train.profiles[note.name], live.profiles[note.name]
        note, told = rejudged(note, feature.kind, a, b, tables.column_findings)
        notes.append(note)
        of_features[note.name] = told
    for each in explained(of_features, train.profiles, live.profiles).values():
        found += each
    found += _rows_left_out(tables.target, train.counts, sides.reference)
    found += [*_unread("TRAIN", train.unread), *_unread("LIVE", live.unread)]
    found += _held(train.held)
    if has_continuous(tables.X):
        found += copies_found(train.labelled_copies, live.copies)
    found += shared_found(train.copies, live.copies)
    return tuple(notes), tuple(found)


def moved_by(finding: Finding) -> bool:
    """Whether a fault of the data sets LIVE apart from TRAIN: not one that both tables have."""
    return finding.explains and finding.id != "target-leak"


def rejudged(
    note: ColumnNote,
    kind: str,
    train: ColumnProfile,
    live: ColumnProfile,
    before: Mapping[str, Sequence[Finding]],
) -> tuple[ColumnNote, tuple[Finding, ...]]:
    """Return a feature's note and findings by the profiles of all rows; ``before`` by those read first."""
    if kind == "absent":
        return note, tuple(before.get(note.name, ()))
    note = replace(
        note,
        missing_train=train.missing_rate,
        missing_live=live.missing_rate,
        distinct_train=train.distinct,
        distinct_live=live.distinct,
    )
    verdict = judge_column(note.name, train, live, kind=kind)  # type: ignore[arg-type]
    # A column that the steps have used is not left out any more, whatever all rows show.
    if verdict.dropped:
        return note, tuple(before.get(note.name, ()))
    kept = [issue for issue in note.issues if issue in _OF_READING]
    return replace(note, issues=(*kept, *verdict.issues)), verdict.findings


def _unused(note: ColumnNote, sides: Sides, stored: ReferenceColumn | None) -> ColumnNote:
    # How many values differ in a part does not tell how many do in the whole.
    if sides.train.sampled:
        note = replace(note, distinct_train=None)
    if sides.live.sampled:
        note = replace(note, distinct_live=None)
    if stored is None:
        return note
    whole = sides.reference is not None and sides.reference.whole
    if whole and note.missing_train is not None:
        return note
    return replace(note, missing_train=stored.missing, distinct_train=stored.distinct)


def _of_sample(finding: Finding, tables: Tables) -> Finding:
    """Say of a finding on a column that is left out that the sampled rows alone have told it."""
    dropped = {
        id(f) for name, told in tables.column_findings.items() for f in told if name not in tables.used
    }
    if id(finding) not in dropped:
        return finding
    return replace(finding, text=f"{finding.text} (Told from the sampled rows.)")


def _rows_left_out(target: str, counts: RowCounts, reference: Reference | None) -> list[Finding]:
    """Tell of TRAIN's rows that do not count: without a target, or of a class that no sampled row has."""
    found = []
    if counts.unlabelled:
        text = (
            f"Target '{target}' is missing in {counts.unlabelled} rows of TRAIN "
            f"({counts.unlabelled / counts.every:.1%}): those rows are left out. If they are missing for a "
            "reason, the rest may not speak for all."
        )
        found.append(Finding("missing-target", "warning", text))
    if counts.unknown:
        some = "1 row" if counts.unknown == 1 else f"{counts.unknown:,} rows"
        remedy = (
            "Sample more rows (--sample)"
            if reference is None
            else "Make the profile with more rows (--sample)"
        )
        text = (
            f"In {some} of {counts.every:,} TRAIN's target '{target}' is one of the values that no sampled "
            f"row has: left out. {remedy} if they matter."
        )
        found.append(Finding("rare-class-left-out", "warning", text))
    return found


def _unread(side: str, unread: Mapping[str, int]) -> list[Finding]:
    """Tell of values that only rows outside of the sample have, and that do not fit their column."""
    found = []
    for name, rows in unread.items():
        if rows:
            text = (
                f"Column '{name}' holds numbers or dates in the sampled rows, and other texts in {rows:,} of "
                f"the rest of {side}: those were taken as missing. Correct them, or exclude the column."
            )
            found.append(Finding("unread-values", "warning", text, step="score"))
    return found


def _held(rows: int) -> list[Finding]:
    if not rows:
        return []
    text = (
        f"{rows:,} of TRAIN's rows lie so far from the sampled ones that their weights were held "
        "at the largest that is due with so many rows. Look for values that cannot be right."
    )
    return [Finding("weights-held", "warning", text, step="score")]
