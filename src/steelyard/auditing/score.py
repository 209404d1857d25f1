"""What was learnt, put to all rows: each part of a side becomes sums, and columns of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.learn.learnt import Columns, Learnt, LearntReading, LiveRows, Sampled, TrainRows
from steelyard.auditing.parts.engine import Threads
from steelyard.auditing.parts.source import Part, Source
from steelyard.auditing.parts.windows import Cutter, check_count
from steelyard.auditing.profiles.reference import Reference
from steelyard.auditing.question import Question, Run
from steelyard.auditing.reading.categories import encode
from steelyard.auditing.reading.columns import align, convert, unread
from steelyard.auditing.reading.copies import KEPT, RowCopies
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.target import Target, encode_target, read_labels
from steelyard.auditing.reading.texts import is_text
from steelyard.auditing.reading.triage import unusable
from steelyard.auditing.reading.written import AS_IS
from steelyard.auditing.sides import Side, Sides
from steelyard.auditing.sums import (
    ExpectedSums,
    LiveSums,
    ResidualSums,
    RowCounts,
    Totals,
    TrainSums,
    WindowSums,
    score_edges,
)
from steelyard.auditing.tables import Feature, Profiles
from steelyard.errors import InputError
from steelyard.evaluation import Outputs, outcome_columns
from steelyard.evaluation.estimates import label_noises
from steelyard.evaluation.sums import MetricSums
from steelyard.numerics import CategoryCounts, Moments, TopWeights, WeightSums

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
T = TypeVar("T", bound=Totals)

# A window's fewer rows have the noise for wider bins.
_WINDOW_BINS = 500


@dataclass(frozen=True)
class Bins:
    """How finely sums are kept.

    The bins of the probabilities for LIVE, for its windows and for TRAIN; None keeps
    every score apart. ``top`` weights, and ``copies`` distinct rows, are kept at most.
    """

    live: FloatArray | None
    window: FloatArray | None
    train: FloatArray | None
    top: int
    copies: int

    @classmethod
    def of(cls, sides: Sides, train: Outputs, live: Outputs) -> Bins:
        """Return what fits in memory: a side that is all in the sample has room for each of its scores."""
        part = sides.live.sampled, sides.train.sampled
        # The tail of n weights has at most 3 sqrt(n) of them, and one more is its threshold.
        top = int(4 * np.sqrt(sides.train.source.rows)) + 100
        held = max(len(sides.train.rows), len(sides.live.rows))
        return cls(
            live=score_edges(live.proba) if part[0] else None,
            window=score_edges(live.proba, most=_WINDOW_BINS) if part[0] else None,
            train=score_edges(train.proba) if part[1] else None,
            top=top,
            copies=KEPT if any(part) else max(KEPT, held),
        )


@dataclass(frozen=True)
class Known:
    """Rows of which the steps have said everything already: their numbers, ascending, and what.

    Where they are all rows of a side that is one part, ``encoded`` holds these and their profiles.
    """

    index: IntArray
    rows: Any
    encoded: tuple[FloatArray, Profiles] | None = None

    def encode(
        self, features: tuple[Feature, ...], frame: pl.DataFrame, part: Part, side: str
    ) -> tuple[FloatArray, Profiles, dict[str, int]]:
        """Return a part's rows encoded, their columns' profiles, and how many values could not be read."""
        if self.encoded is None:
            return encoded(features, frame, part, side)
        return *self.encoded, dict.fromkeys((f.name for f in features), 0)

    def find(self, index: IntArray) -> tuple[BoolArray, IntArray]:
        """Return which of the rows are known, and where those are."""
        if not len(self.index):
            return np.zeros(len(index), dtype=bool), np.zeros(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.index, index), len(self.index) - 1)
        inside = self.index[at] == index
        return inside, at[inside]


@dataclass(frozen=True)
class ScoreLive:
    """Turns a part of LIVE into its sums and the columns of its predictions."""

    learnt: Learnt
    source: Source
    known: Known
    bins: Bins
    cutter: Cutter | None
    labels: str | FloatArray | None

    def __call__(self, part: Part) -> tuple[LiveSums, Columns]:
        """Read and score one part; what is wrong with its rows is told with their numbers."""
        return _told_where(self._score, self.source.read(part), part, "LIVE")

    def _score(self, frame: pl.DataFrame, part: Part) -> tuple[LiveSums, Columns]:
        learnt = self.learnt
        X, profiles, lost = self.known.encode(learnt.features, frame, part, "LIVE")
        inside, at = self.known.find(part.index)
        rows: LiveRows = self.known.rows.take(at)
        new = np.flatnonzero(~inside)
        if len(new):
            order = np.argsort(np.concatenate([np.flatnonzero(inside), new]), kind="stable")
            fresh = learnt.of_live(frame[new], X[new], part.index[new])
            rows = rows.followed_by(fresh, order) if len(at) else fresh
        y = self._labels(frame, part)
        actual = None if y is None else outcome_columns(y, rows.outputs, n_classes=learnt.n_classes)
        each = [_under(reading, rows, learnt.n_classes is not None) for reading in learnt.readings]
        numbers, codes = _moments(learnt, X)
        return LiveSums(
            profiles=profiles,
            copies=RowCopies.of(X, capacity=self.bins.copies),
            numbers=numbers,
            codes=codes,
            whole=self._window(rows.outputs, each, actual, slice(None), self.bins.live),
            windows=self._windows(frame, part, rows.outputs, each, actual),
            unread=lost,
            outside=int(rows.outside.sum()),
            sizes=Moments.of(rows.sizes[np.isfinite(rows.sizes)]),
            unbounded=float(rows.unbounded.sum()),
            covered=None if y is None else int(_covers(rows.columns, learnt.target, y).sum()),
        ), rows.columns

    def _labels(self, frame: pl.DataFrame, part: Part) -> FloatArray | None:
        if self.labels is None:
            return None
        if not isinstance(self.labels, str):
            return self.labels[part.first : part.first + part.rows]
        faults: list[str] = []
        y = read_labels(series_of(frame, self.labels), self.learnt.target, "labels", faults)
        if y is None:
            raise InputError(faults)
        return y

    def _windows(
        self,
        frame: pl.DataFrame,
        part: Part,
        outputs: Outputs,
        each: list[_Expected],
        actual: FloatArray | None,
    ) -> dict[int, WindowSums]:
        if self.cutter is None:
            return {}
        keys = self.cutter(frame, part.index)
        chosen = {int(key): np.flatnonzero(keys == key) for key in np.unique(keys)}
        return {
            key: self._window(outputs, each, actual, rows, self.bins.window) for key, rows in chosen.items()
        }

    def _window(
        self,
        outputs: Outputs,
        each: list[_Expected],
        actual: FloatArray | None,
        rows: Any,
        edges: FloatArray | None,
    ) -> WindowSums:
        part = outputs.take(rows)
        return WindowSums(
            len(part),
            {
                e.name: ExpectedSums(
                    MetricSums.of(part, e.outcome[rows], edges=edges),
                    None if e.noise is None else Moments.of(e.noise[rows]),
                )
                for e in each
            },
            None if actual is None else MetricSums.of(part, actual[rows], edges=edges),
        )


@dataclass(frozen=True)
class _Expected:
    """What a reading expects of rows: outcome columns, and each metric's label noise, (n, metrics)."""

    name: str
    outcome: FloatArray
    noise: FloatArray | None


def _under(reading: LearntReading, rows: LiveRows, of_classes: bool) -> _Expected:
    outcome = reading.reading.correct(rows.expected)
    if not of_classes:
        return _Expected(reading.name, outcome, None)
    each = [label_noises(slope(rows.outputs), outcome) for slope in reading.slopes]
    return _Expected(reading.name, outcome, np.column_stack([noise for noise in each if noise is not None]))


def _covers(columns: Columns, target: Target, y: FloatArray) -> BoolArray:
    """Return whether each row's interval or set holds its label."""
    if target.classes is None:
        return np.asarray((columns["low"] <= y) & (y <= columns["high"]))
    sets = np.column_stack([columns[f"in_set_{name}"] for name in target.classes])
    return np.asarray(sets[np.arange(len(y)), y.astype(np.int64)])


@dataclass(frozen=True)
class ScoreTrain:
    """Turns a part of TRAIN into its sums and the log weights of its rows (NaN for rows left out)."""

    learnt: Learnt
    source: Source
    known: Known
    bins: Bins

    def __call__(self, part: Part) -> tuple[TrainSums, Columns]:
        """Read and score one part; what is wrong with its rows is told with their numbers."""
        return _told_where(self._score, self.source.read(part), part, "TRAIN")

    def _score(self, frame: pl.DataFrame, part: Part) -> tuple[TrainSums, Columns]:
        learnt = self.learnt
        y, unlabelled = encode_target(series_of(frame, learnt.target_name), learnt.target)
        kept = np.flatnonzero(np.isfinite(y))
        index = part.index[kept]
        frame, y = frame[kept], y[kept]
        X, profiles, lost = self.known.encode(learnt.features, frame, part, "TRAIN")
        inside, at = self.known.find(index)
        rows: TrainRows = self.known.rows.take(at)
        new, held = np.flatnonzero(~inside), 0
        if len(new):
            order = np.argsort(np.concatenate([np.flatnonzero(inside), new]), kind="stable")
            fresh, held = learnt.of_train(frame[new], X[new], y[new], index[new])
            rows = rows.followed_by(fresh, order)
        outcome = outcome_columns(y, rows.outputs, n_classes=learnt.n_classes)
        weights = np.exp(rows.log_weights)
        numbers, codes = _moments(learnt, X)
        weighted_numbers, weighted_codes = _moments(learnt, X, weights[:, 0])
        sums = TrainSums(
            counts=RowCounts(len(y), unlabelled, part.rows - unlabelled - len(y)),
            unread=lost,
            held=held,
            profiles=profiles,
            copies=RowCopies.of(X, capacity=self.bins.copies),
            labelled_copies=RowCopies.of(np.column_stack([X, y]), capacity=self.bins.copies),
            numbers=numbers,
            weighted_numbers=weighted_numbers,
            codes=codes,
            weighted_codes=weighted_codes,
            naive=MetricSums.of(rows.outputs, outcome, edges=self.bins.train),
            readings={
                reading.name: _residuals(reading, rows, outcome, w)
                for reading, w in zip(learnt.readings, weights.T)
            },
            weights=WeightSums.of(rows.log_weights[:, 0]),
            top=TopWeights.of(rows.raw, capacity=self.bins.top),
        )
        every = np.full(part.rows, np.nan)
        every[kept] = rows.log_weights[:, 0]
        return sums, {"log_weight": every}


def _residuals(
    reading: LearntReading, rows: TrainRows, outcome: FloatArray, weights: FloatArray
) -> ResidualSums:
    effects = reading.effects(rows.outputs, outcome - reading.reading.correct(rows.expected))
    return ResidualSums(Moments.of(effects, weights), Moments.of(effects, weights**2))


def _told_where(
    score: Callable[[pl.DataFrame, Part], tuple[T, Columns]], frame: pl.DataFrame, part: Part, side: str
) -> tuple[T, Columns]:
    """Score a part's rows; a fault of theirs is told with their numbers."""
    try:
        return score(frame, part)
    except InputError as error:
        where = f"({part.span} of {side})"
        raise InputError([f"{fault} {where}" for fault in error.faults]) from error


def encoded(
    features: tuple[Feature, ...], frame: pl.DataFrame, part: Part, side: str
) -> tuple[FloatArray, dict[str, ColumnProfile], dict[str, int]]:
    """Return the rows' columns as numbers and codes, (n, d), the columns' profiles, and unread values."""
    X = np.empty((frame.height, len(features)))
    profiles = {}
    lost = {}
    for j, feature in enumerate(features):
        series = convert(series_of(frame, feature.name), feature.kind, feature.written)
        lost[feature.name] = unread(series_of(frame, feature.name), series, feature.written)
        kind: Literal["number", "category"] = "number" if feature.categories is None else "category"
        profile = ColumnProfile(kind, stream=part.number).update(series)
        fault = unusable(feature.name, side, profile)
        if fault is not None:
            raise InputError(fault)
        profiles[feature.name] = profile
        if feature.categories is None:
            X[:, j] = series.fill_nan(None).to_numpy()
        else:
            X[:, j] = encode(series, feature.categories)
    return X, profiles, lost


def _moments(
    learnt: Learnt, X: FloatArray, weights: FloatArray | None = None
) -> tuple[Moments, CategoryCounts]:
    """Return the sums of the columns that hold numbers, and of those that hold codes."""
    codes = learnt.categorical
    return Moments.of(X[:, ~codes], weights), CategoryCounts.of(X[:, codes], weights)


# All parts ------------------------------------------------------------------------


def score_all(
    sides: Sides, sampled: Sampled, question: Question, run: Run, *, done: Callable[[float], None]
) -> tuple[TrainSums, LiveSums]:
    """Put what was learnt to every row of both sides, and add it up.

    The rows' weights and predictions go to the sides' store. ``done`` is told the
    share of the parts that are through.

    Notes
    -----
    Time O(n d) and the models' predictions of rows that are not in the sample,
    memory that of a few parts.
    """
    learnt = sampled.learnt(train_rows=sides.train.source.rows, salt=question.seeds.deal)
    bins = Bins.of(sides, sampled.sample.model.train, sampled.sample.model.live)
    labels = _labels(sides, learnt.target)
    tables = sampled.sample.tables
    read = [
        (X, profiles) if side.held else None
        for side, X, profiles in zip((sides.train, sides.live), (tables.X, tables.X_live), tables.profiles)
    ]
    known = Known(sides.live.rows, sampled.live_rows(), read[1])
    score_live = ScoreLive(learnt, sides.live.source, known, bins, sides.cutter, labels)
    known = Known(sides.train.rows[tables.kept], sampled.train_rows(), read[0])
    score_train = ScoreTrain(learnt, sides.train.source, known, bins)
    n_live, n_train = len(sides.live.source.parts), len(sides.train.source.parts)
    every = n_live + n_train
    live = _collect(score_live, sides, "live", LiveSums, run, lambda k: done(k / every))
    check_count(question.every, live.windows)
    train = _collect(score_train, sides, "train", TrainSums, run, lambda k: done((n_live + k) / every))
    if sides.reference is not None:
        judged = bool(question.proba or question.prediction)
        train = with_stored(train, sides.reference, learnt.features, judged=judged, dialect=question.dialect)
    return train, live


def _labels(sides: Sides, target: Target) -> str | FloatArray | None:
    """Return the column of LIVE's labels, or their values."""
    if not isinstance(sides.labels, pl.Series):
        return sides.labels
    faults: list[str] = []
    values = read_labels(sides.labels, target, "labels", faults)
    if values is None:
        raise InputError(faults)
    return values


def _collect(
    score: Callable[[Part], tuple[T, Mapping[str, npt.NDArray[Any]]]],
    sides: Sides,
    side: Literal["train", "live"],
    kind: type[T],
    run: Run,
    done: Callable[[int], None],
) -> T:
    """Add up the parts in their order, from where a run before this one was interrupted."""
    table: Side = getattr(sides, side)
    parts, store = table.source.parts, sides.store
    # Rows that are known and here are no work to send away.
    engine = Threads(1) if table.held else run.engine
    finished, totals = store.resumed(side, kind)
    done(finished)
    for part, (sums, columns) in zip(parts[finished:], engine.map(score, parts[finished:])):
        store.keep(side, part, columns)
        totals = sums if totals is None else totals.merge(sums)
        finished += 1
        store.checkpoint(side, finished, totals, last=finished == len(parts))
        done(finished)
    if totals is None:
        raise InputError(f"{side.upper()} has no rows; give a table with a header and rows")
    return totals


def with_stored(
    train: TrainSums,
    reference: Reference,
    features: tuple[Feature, ...],
    *,
    judged: bool,
    dialect: Dialect = PLAIN,
) -> TrainSums:
    """Return the sums of a profile's rows, with those of all rows of TRAIN in their place where it has them.

    ``judged`` tells that the output whose sums it keeps is the one that is judged.
    """
    columns = {column.name: column for column in reference.columns}
    profiles = dict(train.profiles)
    for feature in features:
        column = columns[feature.name]
        # Read here as it was read there.
        if (
            column.profile is not None
            and column.kind == feature.kind
            and _read_alike(feature, reference, dialect)
        ):
            profiles[feature.name] = column.profile
    return replace(
        train,
        counts=RowCounts(reference.rows, reference.unlabelled, reference.unknown),
        profiles=profiles,
        naive=train.naive if reference.sums is None or reference.whole or not judged else reference.sums,
    )


def _read_alike(feature: Feature, reference: Reference, dialect: Dialect) -> bool:
    """Whether TRAIN's column alone is read as it is beside LIVE's."""
    column = reference.sample[feature.name]
    if feature.written == AS_IS:
        return True
    alone = align(feature.name, column, column, dialect, as_names=feature.written.names)
    return alone.written == feature.written if is_text(column.dtype) else not feature.written.flags
