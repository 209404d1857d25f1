"""An audit against a profile: what is asked, TRAIN's side of the tables, and the figures of all its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.auditing.estimate import Estimated
from steelyard.auditing.profiles.sealed import SUFFIX
from steelyard.auditing.read import read_tables, rows_left_out
from steelyard.auditing.reading.again import judged_again
from steelyard.auditing.reading.columns import align, convert
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.sources import load
from steelyard.auditing.reference import Reference, ReferenceColumn, load_reference
from steelyard.auditing.result import ColumnNote, Finding, Performance
from steelyard.auditing.streaming.totals import TrainTotals
from steelyard.auditing.tables import Feature, Tables
from steelyard.errors import InputError
from steelyard.evaluation.sums import MetricSums


@dataclass(frozen=True)
class Question:
    """What an audit is asked, a profile's own answers filled in.

    ``train`` is TRAIN as given, or the rows of the ``reference`` in its place.
    """

    train: Any
    target: str
    proba: tuple[str, ...]
    prediction: str | None
    exclude: tuple[str, ...]
    positive: Any
    reference: Reference | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """The names of columns, as the audit takes them."""
        return {
            "target": self.target,
            "proba": self.proba,
            "prediction": self.prediction,
            "exclude": self.exclude,
            "positive": self.positive,
        }


def ask(
    train: Any,
    *,
    target: str | None,
    proba: str | Sequence[str],
    prediction: str | None,
    exclude: str | Sequence[str],
    positive: Any,
    model: Any,
) -> Question:
    """Return the question, once TRAIN is known to be a table or a profile.

    Raises
    ------
    InputError
        If a table comes without a target, or a profile was made for another question.
    """
    proba = (proba,) if isinstance(proba, str) else tuple(proba)
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if is_profile(train):
        reference = train if isinstance(train, Reference) else load_reference(train)
        given = (("target", target), ("proba", proba), ("prediction", prediction), ("positive", positive))
        faults = [
            f"TRAIN is a profile made with {_option(name, getattr(reference, name))}, not "
            f"{_option(name, value)}; leave that out, or make a profile of TRAIN with it"
            for name, value in given
            if value not in (None, ()) and str(value) != str(getattr(reference, name))
        ]
        if faults:
            raise InputError(faults)
        # A model is to be judged, not what another one said: that is no column of TRAIN then.
        judged = model is None or bool(proba or prediction)
        frame = reference.sample if judged else reference.sample.drop(reference.outputs)
        return Question(
            frame,
            reference.target,
            reference.proba if judged else (),
            reference.prediction if judged else None,
            # What the profile does not hold needs no leaving out.
            tuple(name for name in exclude if name not in {c.name for c in reference.withheld}),
            reference.positive,
            reference,
        )
    if target is None:
        raise InputError("no target is named; name the column of TRAIN to predict (--target)")
    return Question(train, target, proba, prediction, exclude, positive)


def is_profile(train: Any) -> bool:
    """Whether TRAIN is a profile, or by its name the file of one."""
    if isinstance(train, (str, Path)):
        return Path(train).suffix.lower() == SUFFIX
    return isinstance(train, Reference)


def _option(name: str, value: Any) -> str:
    if value in (None, ()):
        return f"no --{name}"
    return f"--{name} {' '.join(value) if isinstance(value, tuple) else value}"


def read_against(
    reference: Reference, train: pl.DataFrame, live: Any, *, exclude: tuple[str, ...], **named: Any
) -> Tables:
    """Read a profile's rows and LIVE as `read_tables` does, and note the columns that are not in the profile.

    Parameters
    ----------
    reference : Reference
    train : DataFrame
        Its sample, or some of its rows or columns.
    live : path or table
    exclude : tuple of str
    **named
        As `read_tables` takes them.
    """
    faults: list[str] = []
    frame_live = load(live, "LIVE", faults)
    if frame_live is None:
        raise InputError(faults)
    # TRAIN had these columns: in LIVE they are left out like there, and are nothing new.
    known = [column for column in reference.columns if column.name not in train.columns]
    meant = {named.get("time"), named["labels"] if isinstance(named.get("labels"), str) else None}
    hidden = [c.name for c in known if c.name in frame_live.columns and c.name not in meant]
    tables = read_tables(train, frame_live, exclude=(*exclude, *hidden), **named)
    notes = {note.name: note for note in tables.notes}
    told: list[Finding] = []
    ordered: list[ColumnNote] = []
    for column in reference.columns:
        note = notes.pop(column.name, None)
        if note is None:
            note = _left_out(column, frame_live)
            if column.finding is not None and note.missing_live is not None:
                told.append(column.finding)
        ordered.append(note)
    return replace(tables, notes=(*ordered, *notes.values()), findings=(*tables.findings, *told))


def _left_out(column: ReferenceColumn, live: pl.DataFrame) -> ColumnNote:
    """Note a column of which the profile holds no values."""
    missing: float | None = None
    distinct: int | None = None
    issues = column.issues or ("excluded",)
    if column.name in live.columns:
        series = live[column.name]
        missing, distinct = series.null_count() / max(series.len(), 1), series.drop_nulls().n_unique()
        both = align(column.name, series, series)
        if "excluded" not in issues and both.fault is None and both.kind != "absent":
            profile = ColumnProfile("category" if both.kind == "category" else "number").update(both.train)
            missing, distinct = profile.missing_rate, profile.distinct
    elif "excluded" not in issues:
        issues = (*issues, "missing in LIVE")
    return ColumnNote(
        column.name, column.kind, "dropped", column.missing, missing, column.distinct, distinct, issues
    )


def profile_finding(reference: Reference) -> Finding:
    """Tell that TRAIN is a profile, and what that means for the figures."""
    made = f"TRAIN is a profile, made on {reference.created[:10]} of {reference.rows:,} rows"
    text = f"{made}, all of which it holds."
    if not reference.whole:
        also = " and the performance carried over" if reference.sums is not None else ""
        text = (
            f"{made} with {reference.sample.height:,} of them sampled: models were fitted, and shifts "
            "tested, on those, and the intervals hold the sample's size. "
            f"The figures of the columns{also} are those of all rows."
        )
    return Finding("profile", "info", text)


def carried_over(estimated: Estimated, question: Question) -> Estimated:
    """Return the estimates beside the figures carried over from all rows of TRAIN, where those are kept."""
    sums = _sums(question)
    if sums is None:
        return estimated

    def moved(rows: tuple[Performance, ...]) -> tuple[Performance, ...]:
        return tuple(replace(row, naive=sums.value(row.metric)) for row in rows)

    windows = tuple(replace(w, performance=moved(w.performance)) for w in estimated.windows)
    return replace(estimated, performance=moved(estimated.performance), windows=windows)


def all_of_train(totals: TrainTotals, question: Question, tables: Tables) -> TrainTotals:
    """Return the sums of the profile's rows with those of all rows of TRAIN in their place, where kept."""
    sums = _sums(question)
    if question.reference is None or question.reference.whole:
        return totals
    full = _profiles(question.reference, tables.features)
    return replace(
        totals,
        profiles={**totals.profiles, **full},
        naive=totals.naive if sums is None else sums,
    )


def _sums(question: Question) -> MetricSums | None:
    """Return the metrics' sums, if they are of more rows than the sample and of the output that is judged."""
    reference = question.reference
    if reference is None or reference.whole or (question.proba, question.prediction) == ((), None):
        return None
    return reference.sums


def describe_columns(tables: Tables, reference: Reference) -> Tables:
    """Return the tables with findings on their columns, and notes, that rest on all rows of TRAIN."""
    if reference.whole:
        return tables
    assert tables.frame_live is not None
    train = _profiles(reference, tables.features)
    live = {
        f.name: ColumnProfile(train[f.name].kind).update(convert(tables.frame_live[f.name], f.kind))
        for f in tables.features
        if f.name in train
    }
    return judged_again(tables, train, live)


def of_all_rows(tables: Tables, reference: Reference) -> Tables:
    """Return the tables with the counts of those columns that no step uses, and of rows that do not count."""
    columns = {column.name: column for column in reference.columns}

    def counted(note: ColumnNote) -> ColumnNote:
        column = columns.get(note.name)
        if column is None or note.role == "feature" or (reference.whole and note.missing_train is not None):
            return note
        return replace(note, missing_train=column.missing, distinct_train=column.distinct)

    notes = tuple(counted(note) for note in tables.notes)
    # Where `read_tables` tells it of rows that it has left out itself.
    first = [finding for finding in tables.findings if finding.id in ("task", "rare-class")]
    rest = [finding for finding in tables.findings if finding not in first]
    return replace(tables, notes=notes, findings=(*first, *_left_over(reference), *rest))


def _left_over(reference: Reference) -> list[Finding]:
    """Tell of TRAIN's rows that do not count, of which the sample has none."""
    return rows_left_out(
        reference.target,
        reference.rows + reference.unlabelled + reference.unknown,
        reference.unlabelled,
        reference.unknown,
        remedy="Make the profile with more rows (--sample)",
    )


def _profiles(reference: Reference, features: Sequence[Feature]) -> dict[str, ColumnProfile]:
    """Return the profiles of all rows of those columns that are read here as they were read there."""
    columns = {column.name: column for column in reference.columns}
    out = {}
    for feature in features:
        column = columns[feature.name]
        if column.profile is not None and column.kind == feature.kind and not feature.flags:
            out[feature.name] = column.profile
    return out
