"""From TRAIN to its profile: a sample of the rows, then the sums of all of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard._version import __version__
from steelyard.auditing.parts.engine import Threads
from steelyard.auditing.parts.opening import open_source
from steelyard.auditing.parts.source import Part, Source
from steelyard.auditing.profiles.reference import (
    MOST_CELLS,
    MOST_SAMPLED,
    ColumnRole,
    Reference,
    ReferenceColumn,
)
from steelyard.auditing.reading.classes import surely_missing
from steelyard.auditing.reading.columns import convert
from steelyard.auditing.reading.dialect import PLAIN, Dialect, dialect
from steelyard.auditing.reading.names import as_name, as_names, only, series_of, stacked, without
from steelyard.auditing.reading.outputs import read_output
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.read import MIN_ROWS, read_tables
from steelyard.auditing.reading.target import Target, encode_target
from steelyard.auditing.reading.texts import is_date, is_text
from steelyard.auditing.reading.triage import judge_column, unusable
from steelyard.auditing.reading.watch import Watch
from steelyard.auditing.reading.written import AS_IS, Written
from steelyard.auditing.result import ColumnNote
from steelyard.auditing.sums import score_edges
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError
from steelyard.evaluation import outcome_columns
from steelyard.evaluation.sums import MetricSums
from steelyard.numerics import as_generator, draw_seed, merge_keyed
from steelyard.numerics.progress import Progress, silent
from steelyard.numerics.quantile_sketch import scatter

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
R = TypeVar("R")
Map = Callable[[Callable[[Part], R], Sequence[Part]], Iterable[R]]

SAMPLE_ROWS = 50_000
"""Rows that a profile keeps by default: the audit's models see no more of TRAIN."""

# No value of such a column is kept.
_WITHHELD = {"identifier", "free text"}


def profile(
    train: Any,
    *,
    target: str,
    proba: str | Sequence[str] = (),
    prediction: str | None = None,
    exclude: str | Sequence[str] = (),
    positive: Any = None,
    task: str | None = None,
    categorical: str | Sequence[str] = (),
    null: str | Sequence[str] = (),
    decimal: str = ".",
    sample: int = SAMPLE_ROWS,
    seed: int = 0,
    progress: Progress = silent,
) -> Reference:
    """Keep what later audits need of TRAIN, so that TRAIN itself need not be kept.

    Parameters
    ----------
    train : path, or pandas, Polars or Arrow table
        CSV, Parquet, Arrow/Feather or NDJSON, one file, a directory or a glob; read in parts and never
        held whole.
    target : str
        The column to predict.
    proba : str or sequence of str, optional
        Columns with the deployed model's probabilities, as `steelyard.audit` takes them.
    prediction : str, optional
        Or the column with its predictions.
    exclude : str or sequence of str
        Columns of which nothing is to be kept but how many values are missing and how many differ.
    positive : object, optional
        The positive one of two classes.
    task, categorical, null, decimal : optional
        How TRAIN is read, as `steelyard.audit` takes them; LIVE is read so later.
    sample : int
        Rows to keep at most.
    seed : int
        Draws them: the same rows and seed give the same sample, however the files are cut.
    progress : Progress
        Told of each step as it starts.

    Returns
    -------
    Reference
        ``save(path)`` writes it to a file; `steelyard.audit` takes either in TRAIN's place.

    Raises
    ------
    InputError
        With every fault of TRAIN that was found.

    Notes
    -----
    Two passes over the rows: O(n d) time, memory that of a few parts and the
    sample. The sample is those rows that have a target and whose numbers hash
    lowest. Columns that identify rows, or are free text, leave no values.

    Examples
    --------
    >>> import polars as pl
    >>> import steelyard
    >>> train = pl.DataFrame({"x": [0.1, 0.7, 0.4, 0.9] * 250, "y": [0, 1, 0, 1] * 250})
    >>> reference = steelyard.profile(train, target="y", sample=400)
    >>> reference.rows, reference.sample.height, reference.columns[0].profile.mean
    (1000, 400, 0.525)
    """
    read_as = dialect(task=task, categorical=as_names(categorical), null=null, decimal=decimal)
    named = _Named(
        as_name(target), as_names(proba), as_name(prediction), as_names(exclude), positive, read_as
    )
    watch = Watch.of({"TRAIN": train})
    if not MIN_ROWS <= sample <= MOST_SAMPLED:
        raise InputError(f"a sample of {sample} rows: keep from {MIN_ROWS} to {MOST_SAMPLED:,}")
    salt = draw_seed(as_generator(seed))
    engine = Threads()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="steelyard-") as scratch:
        with progress.step("Opening TRAIN"):
            source = open_source(
                train, "TRAIN", faults, scratch=Path(scratch), dialect=read_as, named=named.columns
            )
            if source is not None:
                faults += named.faults(source.columns)
                cells = min(sample, source.rows) * len(set(source.columns) - set(named.exclude))
                if cells > MOST_CELLS:
                    faults.append(
                        f"a sample of {min(sample, source.rows):,} rows would hold {cells:,} values, more "
                        f"than the {MOST_CELLS:,} that a profile may; keep fewer (--sample) or exclude some"
                    )
            if source is None or faults:
                raise InputError(faults)
        with progress.step("Drawing the sample") as done:
            drawn = _draw(source, named, sample, salt, engine.map, done)
        with progress.step("Looking over the sample"):
            tables = named.read(drawn)
        with progress.step("Adding up all rows") as done:
            sums = _add_up(source, named, tables, engine.map, done)
    watch.check()
    columns = tuple(_column(name, named, tables, sums) for name in source.columns)
    kept = [c.name for c in columns if c.name not in named.dropped and not _WITHHELD & set(c.issues)]
    plain = positive.item() if isinstance(positive, np.generic) else positive
    return Reference(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        steelyard_version=__version__,
        target=named.target,
        proba=named.proba,
        prediction=named.prediction,
        positive=plain if plain is None or isinstance(plain, (str, int, float)) else str(plain),
        exclude=named.exclude,
        seed=int(seed),
        rows=sums.rows,
        unlabelled=sums.unlabelled,
        unknown=sums.unknown,
        columns=columns,
        sample=only(drawn, kept),
        sums=sums.sums,
        dialect=read_as,
    )


@dataclass(frozen=True)
class _Named:
    """The columns that the caller named."""

    target: str
    proba: tuple[str, ...]
    prediction: str | None
    exclude: tuple[str, ...]
    positive: Any
    dialect: Dialect = PLAIN

    @property
    def columns(self) -> frozenset[str]:
        """All of them, whatever they are for."""
        return frozenset((self.target, *self.outputs, *self.exclude, *self.dialect.categorical))

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.proba if self.prediction is None else (*self.proba, self.prediction)

    @property
    def dropped(self) -> frozenset[str]:
        """Excluded columns that mean nothing else."""
        return frozenset(self.exclude) - {self.target, *self.outputs}

    def faults(self, columns: Sequence[str]) -> list[str]:
        """Say which of them are not there."""
        words = [("target", self.target), *(("output column", name) for name in self.outputs)]
        words += [("excluded column", name) for name in self.exclude]
        shown = ", ".join(columns[:6]) + (f" and {len(columns) - 6} more" if len(columns) > 6 else "")
        return [
            f"{word} '{name}' is not a column of TRAIN ({shown}); check the name"
            for word, name in words
            if name not in columns
        ]

    def read(self, drawn: pl.DataFrame) -> Tables:
        """Look over the sample, as an audit would that meets the same rows again."""
        try:
            return read_tables(
                drawn,
                without(drawn, [self.target]),
                target=self.target,
                proba=self.proba,
                prediction=self.prediction,
                positive=self.positive,
                dialect=self.dialect,
            )
        except InputError as error:
            # The same rows stand on both sides, so that most faults are told twice.
            once = [fault for fault in error.faults if not re.search(r"\bLIVE\b", fault)]
            raise InputError(once or error.faults) from None


# The sample ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """Rows with their numbers in TRAIN, and the keys by which the lowest are kept."""

    frame: pl.DataFrame
    index: IntArray
    keys: npt.NDArray[np.uint64]

    def lowest(self, most: int) -> _Drawn:
        """Return the rows with the lowest keys, in their order in TRAIN."""
        if len(self.keys) <= most:
            return self
        kept = np.sort(np.argpartition(self.keys, most)[:most])
        return _Drawn(self.frame[kept], self.index[kept], self.keys[kept])

    def followed_by(self, other: _Drawn) -> _Drawn:
        """Return both sets of rows, this one's first."""
        frame = stacked([self.frame, other.frame])
        index = np.concatenate([self.index, other.index])
        return _Drawn(frame, index, np.concatenate([self.keys, other.keys]))


@dataclass(frozen=True)
class _Draw:
    """Draws from one part those rows that have a target and whose keys are lowest."""

    source: Source
    named: _Named
    most: int
    salt: int

    def __call__(self, part: Part) -> _Drawn:
        frame = self.source.read(part)
        known = ~surely_missing(series_of(frame, self.named.target), self.named.dialect.missing_words)
        rows = np.flatnonzero(known.to_numpy())
        index = part.index[rows]
        keys = scatter(index.astype(np.uint64) ^ scatter(np.array([self.salt], dtype=np.uint64))[0])
        return _Drawn(without(frame[rows], self.named.dropped), index, keys).lowest(self.most)


def _draw(
    source: Source,
    named: _Named,
    most: int,
    salt: int,
    run: Map[_Drawn],
    done: Callable[[float], None],
) -> pl.DataFrame:
    kept: _Drawn | None = None
    for k, drawn in enumerate(run(_Draw(source, named, most, salt), source.parts), start=1):
        kept = drawn if kept is None else kept.followed_by(drawn).lowest(most)
        done(k / len(source.parts))
    if kept is None or not len(kept.keys):
        raise InputError(f"target '{named.target}' is missing in every row of TRAIN; give a labelled table")
    return kept.frame.rechunk()


# The sums of all rows ------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """What a pass over all rows adds up; ``nulls`` counts those of each column."""

    rows: int
    unlabelled: int
    unknown: int
    nulls: Mapping[str, int]
    profiles: Mapping[str, ColumnProfile]
    sums: MetricSums | None

    def merge(self, other: _Sums) -> _Sums:
        return _Sums(
            self.rows + other.rows,
            self.unlabelled + other.unlabelled,
            self.unknown + other.unknown,
            {name: count + other.nulls[name] for name, count in self.nulls.items()},
            merge_keyed(self.profiles, other.profiles),
            None if self.sums is None or other.sums is None else self.sums.merge(other.sums),
        )


@dataclass(frozen=True)
class _AddUp:
    """Adds up one part. ``kinds`` holds what the sample's columns are, ``features`` how texts are read."""

    source: Source
    named: _Named
    target: Target
    kinds: Mapping[str, str]
    features: Mapping[str, Written]
    edges: FloatArray | None

    def __call__(self, part: Part) -> _Sums:
        named = self.named
        frame = self.source.read(part)
        y, unlabelled = encode_target(series_of(frame, named.target), self.target)
        kept = np.flatnonzero(np.isfinite(y))
        frame, y = frame[kept], y[kept]
        profiles = {}
        for name in frame.columns:
            kind = self.kinds.get(name) or _kind_of(series_of(frame, name).dtype)
            if kind is not None:
                profiles[name] = self._profile(name, series_of(frame, name), kind, part)
        return _Sums(
            rows=len(y),
            unlabelled=unlabelled,
            unknown=part.rows - unlabelled - len(y),
            nulls={name: series_of(frame, name).null_count() for name in frame.columns},
            profiles=profiles,
            sums=self._metrics(frame, y) if named.outputs else None,
        )

    def _profile(self, name: str, column: pl.Series, kind: str, part: Part) -> ColumnProfile:
        written = self.features.get(name, AS_IS)
        read = convert(column, "category" if kind == "text" else kind, written)  # type: ignore[arg-type]
        made = ColumnProfile("category" if kind in ("category", "text") else "number", stream=part.number)
        made.update(read)
        fault = unusable(name, "TRAIN", made, f" in {part.span}")
        if fault is not None and name in self.features:
            raise InputError(fault)
        return made

    def _metrics(self, frame: pl.DataFrame, y: FloatArray) -> MetricSums:
        faults: list[str] = []
        output = read_output(
            frame,
            "TRAIN",
            self.target,
            proba=self.named.proba,
            prediction=self.named.prediction,
            faults=faults,
        )
        if output is None:
            raise InputError(faults)
        outputs = output.labelled()
        n_classes = None if self.target.classes is None else len(self.target.classes)
        return MetricSums.of(outputs, outcome_columns(y, outputs, n_classes=n_classes), edges=self.edges)


def _add_up(
    source: Source, named: _Named, tables: Tables, run: Map[_Sums], done: Callable[[float], None]
) -> _Sums:
    add_up = _AddUp(
        source,
        named,
        Target(tables.task, tables.classes, np.zeros(0), written=tables.target_written),
        {note.name: note.kind for note in tables.notes if note.kind != "absent"},
        {feature.name: feature.written for feature in tables.features},
        None if tables.given is None else score_edges(tables.given.train.proba),
    )
    total: _Sums | None = None
    for k, sums in enumerate(run(add_up, source.parts), start=1):
        total = sums if total is None else total.merge(sums)
        done(k / len(source.parts))
    assert total is not None
    return total


def _kind_of(dtype: pl.DataType) -> Literal["number", "category", "date"] | None:
    """Return the kind of a column that no step has looked at."""
    if is_date(dtype):
        return "date"
    if is_text(dtype):
        return "category"
    return "number" if dtype.is_numeric() else None


def _column(name: str, named: _Named, tables: Tables, sums: _Sums) -> ReferenceColumn:
    """Describe a column by all rows, without values unless it is a feature."""
    note = next((note for note in tables.notes if note.name == name), None)
    found = sums.profiles.get(name)
    share = sums.nulls[name] / max(sums.rows, 1)
    if name in named.dropped or note is None:
        distinct = None if found is None else found.distinct
        kind = "number" if found is not None and found.kind == "number" else "category"
        return ReferenceColumn(name, kind, "dropped", share, distinct, ("excluded",))  # type: ignore[arg-type]
    role: ColumnRole = "dropped" if note.role == "time" else note.role
    plain = ReferenceColumn(name, note.kind, role, share, note.distinct_train)
    if found is None:
        return plain
    plain = replace(plain, distinct=found.distinct)
    if role in ("target", "output"):
        return plain
    plain = replace(plain, missing=found.missing_rate)
    return _judged(plain, note, found, tables)


def _judged(
    column: ReferenceColumn, note: ColumnNote, found: ColumnProfile, tables: Tables
) -> ReferenceColumn:
    """Return a column with its profile, or without any values if it identifies rows or is free text."""
    name = column.name
    issues = [issue for issue in note.issues if issue in _WITHHELD]
    kind: Literal["number", "category", "date"] = "date" if note.kind == "date" else found.kind
    verdict = judge_column(name, found, found, kind=kind)
    issues = issues or [issue for issue in verdict.issues if verdict.dropped and issue in _WITHHELD]
    if not issues:
        return replace(column, role="feature", profile=found)
    told = verdict.findings if verdict.dropped else tables.column_findings.get(name, ())
    return replace(column, role="dropped", issues=tuple(issues), finding=told[0] if told else None)
