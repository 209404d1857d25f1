"""What was learnt from the sample, put to all rows: each part becomes sums and columns of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.certify import LiveRows, Predictions
from steelyard.auditing.estimate import as_outputs
from steelyard.auditing.limits import UNCOVERED_RATIO
from steelyard.auditing.reading.columns import convert, encode, unread
from steelyard.auditing.reading.copies import RowCopies
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.target import Target, encode_target, read_labels
from steelyard.auditing.reading.triage import unusable
from steelyard.auditing.streaming.source import Part, Source
from steelyard.auditing.streaming.totals import LiveTotals, TrainTotals, WindowTotals
from steelyard.auditing.streaming.windows import Cutter
from steelyard.auditing.tables import Deployed, Feature, Output
from steelyard.auditing.weigh import RowWeights
from steelyard.errors import InputError
from steelyard.evaluation import OutcomeModels, Outputs, outcome_columns
from steelyard.evaluation.estimates import label_noises
from steelyard.evaluation.sums import MetricSums
from steelyard.numerics import CategoryCounts, Moments, TopWeights, WeightSums
from steelyard.numerics.quantile_sketch import scatter
from steelyard.weighting import ClassifierRatio, shift_posterior

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]

# Its exponential, times the rows of any table, is still a number.
_LARGEST_LOG = 600.0


@dataclass(frozen=True)
class KnownTrain:
    """The sampled rows of TRAIN, for which the steps have already said everything.

    ``index`` holds their numbers in the table, ascending; ``raw`` the log weights
    before their tail was smoothed.
    """

    index: IntArray
    output: Output
    expected: FloatArray
    log_weights: FloatArray
    raw: FloatArray


@dataclass(frozen=True)
class KnownLive:
    """The sampled rows of LIVE, in the same way; ``outside`` marks those that TRAIN does not cover."""

    index: IntArray
    output: Output
    expected: FloatArray
    outside: npt.NDArray[np.bool_]
    columns: Columns = field(repr=False)
    sizes: FloatArray
    unbounded: FloatArray


def _find(known: IntArray, index: IntArray) -> tuple[npt.NDArray[np.bool_], IntArray]:
    """Return which of the rows are known, and where those are."""
    if not len(known):
        return np.zeros(len(index), dtype=bool), np.zeros(0, dtype=np.int64)
    at = np.minimum(np.searchsorted(known, index), len(known) - 1)
    inside = known[at] == index
    return inside, at[inside]


@dataclass(frozen=True)
class Learnt:
    """The fitted steps.

    ``slopes`` gives each metric's derivative in the outcome columns, taken at
    the sample. ``class_ratio`` turns expectations of TRAIN into those of LIVE.
    ``edges`` are the bins of the probabilities for LIVE, for its windows and for
    TRAIN; None keeps every score apart. ``highest`` is the log weight at which
    TRAIN's are held.
    """

    features: tuple[Feature, ...]
    target: Target
    target_name: str
    deployed: Deployed
    models: OutcomeModels
    class_ratio: FloatArray | None
    weights: RowWeights
    weights_other: RowWeights | None
    boosted: ClassifierRatio | None
    predictions: Predictions
    slopes: Mapping[str, Any]
    edges: FloatArray | None
    window_edges: FloatArray | None
    train_edges: FloatArray | None
    top_capacity: int
    highest: float
    salt: int

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None for a regression."""
        return None if self.target.classes is None else len(self.target.classes)

    def encode(
        self, frame: pl.DataFrame, part: Part, side: str
    ) -> tuple[FloatArray, dict[str, ColumnProfile], dict[str, int]]:
        """Return the rows' columns as numbers and codes, (n, d), the columns' profiles, and unread values."""
        X = np.empty((frame.height, len(self.features)))
        profiles = {}
        lost = {}
        for j, feature in enumerate(self.features):
            series = convert(frame[feature.name], feature.kind, flags=feature.flags)
            lost[feature.name] = unread(frame[feature.name], series)
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

    def deal(self, index: IntArray) -> tuple[IntArray, FloatArray]:
        """Return a fold and a uniform number for each row, that hang on nothing but its number."""
        keys = scatter(index.astype(np.uint64) ^ np.uint64(self.salt))
        fold = (keys >> np.uint64(33)).astype(np.int64)
        return fold, scatter(keys).astype(np.float64) * 2.0**-64

    def expect(self, X: FloatArray, output: Output, fold: IntArray) -> FloatArray:
        """Return the outcome columns to expect."""
        expected = self.models(X, as_outputs(output), fold)
        return expected if self.class_ratio is None else shift_posterior(expected, self.class_ratio)

    def weigh(self, X: FloatArray, fold: IntArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return the log weights of LIVE rows, and which of them TRAIN does not cover."""
        if self.boosted is None:
            return self.weights.target(X, fold), np.zeros(len(X), dtype=bool)
        ratio = self.boosted.log_ratio_by_fold(X, fold)
        outside = ratio > np.log(UNCOVERED_RATIO)
        # Where the weights are this ratio it need not be computed again: it is half of the work.
        if self.weights.ratio == self.boosted.log_ratio_by_fold:
            return ratio - self.weights.offset, outside
        return self.weights.target(X, fold), outside

    def numbers(self, X: FloatArray, weights: FloatArray | None = None) -> tuple[Moments, CategoryCounts]:
        """Return the sums of the columns that hold numbers, and of those that hold codes."""
        codes = np.array([f.categories is not None for f in self.features], dtype=bool)
        return Moments.of(X[:, ~codes], weights), CategoryCounts.of(X[:, codes], weights)

    def effects(self, outputs: Outputs, outcome: FloatArray) -> FloatArray:
        """Return what each metric's slope makes of outcome columns, (n, metrics)."""
        return np.column_stack([np.sum(slope(outputs) * outcome, axis=1) for slope in self.slopes.values()])


@dataclass(frozen=True)
class ScoreLive:
    """Turns a part of LIVE into its sums and the columns of its predictions."""

    learnt: Learnt
    source: Source
    known: KnownLive
    cutter: Cutter | None
    labels: str | FloatArray | None

    def __call__(self, part: Part) -> tuple[LiveTotals, Columns]:
        """Read and score one part; what is wrong with its rows is told with their numbers."""
        frame = self.source.read(part)
        try:
            return self._score(frame, part)
        except InputError as error:
            where = f"({part.span} of LIVE)"
            raise InputError([f"{fault} {where}" for fault in error.faults]) from error

    def _score(self, frame: pl.DataFrame, part: Part) -> tuple[LiveTotals, Columns]:
        learnt, known = self.learnt, self.known
        X, profiles, lost = learnt.encode(frame, part, "LIVE")
        inside, at = _find(known.index, part.index)
        fold, uniforms = learnt.deal(part.index)
        new = np.flatnonzero(~inside)
        output, expected = known.output.take(at), known.expected[at]
        outside, sizes, unbounded = known.outside[at], known.sizes[at], known.unbounded[at]
        columns = {name: values[at] for name, values in known.columns.items()}
        if len(new):
            X_new, fold_new = X[new], fold[new]
            output_new = learnt.deployed(frame[new], X_new, fold_new, "LIVE")
            expected_new = learnt.expect(X_new, output_new, fold_new)
            log_new, outside_new = learnt.weigh(X_new, fold_new)
            other = None
            if learnt.weights_other is not None:
                other = _weights(learnt.weights_other.target(X_new, fold_new))
            rows = LiveRows(
                X_new, output_new, expected_new, _weights(log_new), other, fold_new, uniforms[new]
            )
            predicted = learnt.predictions(rows)
            order = np.argsort(np.concatenate([np.flatnonzero(inside), new]), kind="stable")
            output = _both_outputs(output, output_new, order)
            expected = np.concatenate([expected, expected_new])[order]
            outside = np.concatenate([outside, outside_new])[order]
            sizes = np.concatenate([sizes, predicted.sizes])[order]
            unbounded = np.concatenate([unbounded, predicted.unbounded])[order]
            columns = {
                name: np.concatenate([columns[name], values])[order] if len(at) else values
                for name, values in predicted.columns.items()
            }
        y = self._labels(frame, part)
        totals = self._sum(frame, part, X, profiles, output, expected, y, sizes)
        return LiveTotals(
            **totals,
            unread=lost,
            outside=int(outside.sum()),
            unbounded=float(unbounded.sum()),
            covered=None if y is None else int(_covers(columns, learnt.target, y).sum()),
        ), columns

    def _labels(self, frame: pl.DataFrame, part: Part) -> FloatArray | None:
        if self.labels is None:
            return None
        if not isinstance(self.labels, str):
            return self.labels[part.first : part.first + part.rows]
        faults: list[str] = []
        y = read_labels(frame[self.labels], self.learnt.target, "labels", faults)
        if y is None:
            raise InputError(faults)
        return y

    def _sum(
        self,
        frame: pl.DataFrame,
        part: Part,
        X: FloatArray,
        profiles: dict[str, ColumnProfile],
        output: Output,
        expected: FloatArray,
        y: FloatArray | None,
        sizes: FloatArray,
    ) -> dict[str, Any]:
        learnt = self.learnt
        outputs = as_outputs(output)
        actual = None if y is None else outcome_columns(y, outputs, n_classes=learnt.n_classes)
        each = [label_noises(slope(outputs), expected) for slope in learnt.slopes.values()]
        noise = np.column_stack([e for e in each if e is not None]) if learnt.n_classes is not None else None
        windows = {}
        if self.cutter is not None:
            keys = self.cutter(frame, part.index)
            for key in np.unique(keys):
                chosen = np.flatnonzero(keys == key)
                windows[int(key)] = _window(outputs, expected, noise, actual, chosen, learnt.window_edges)
        numbers, codes = learnt.numbers(X)
        whole = _window(outputs, expected, noise, actual, slice(None), learnt.edges)
        finite = Moments.of(sizes[np.isfinite(sizes)])
        return {
            "profiles": profiles,
            "copies": RowCopies.of(X),
            "numbers": numbers,
            "codes": codes,
            "whole": whole,
            "windows": windows,
            "sizes": finite,
        }


def _weights(log_w: FloatArray) -> FloatArray:
    """Return weights, those of rows far from all others finite still."""
    return np.exp(np.minimum(log_w, _LARGEST_LOG))


def _window(
    outputs: Outputs,
    expected: FloatArray,
    noise: FloatArray | None,
    actual: FloatArray | None,
    rows: Any,
    edges: FloatArray | None,
) -> WindowTotals:
    part = outputs.take(rows)
    return WindowTotals(
        len(part),
        MetricSums.of(part, expected[rows], edges=edges),
        None if noise is None else Moments.of(noise[rows]),
        None if actual is None else MetricSums.of(part, actual[rows], edges=edges),
    )


def _both_outputs(a: Output, b: Output, order: IntArray) -> Output:
    """Return two outputs as one, in the given order."""
    pairs = ((a.proba, b.proba), (a.label, b.label), (a.value, b.value))
    return Output(*(None if x is None or y is None else np.concatenate([x, y])[order] for x, y in pairs))


def _covers(columns: Columns, target: Target, y: FloatArray) -> npt.NDArray[np.bool_]:
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
    known: KnownTrain

    def __call__(self, part: Part) -> tuple[TrainTotals, Columns]:
        """Read and score one part; what is wrong with its rows is told with their numbers."""
        frame = self.source.read(part)
        try:
            return self._score(frame, part)
        except InputError as error:
            where = f"({part.span} of TRAIN)"
            raise InputError([f"{fault} {where}" for fault in error.faults]) from error

    def _score(self, frame: pl.DataFrame, part: Part) -> tuple[TrainTotals, Columns]:
        learnt, known = self.learnt, self.known
        column = frame[learnt.target_name]
        y, unlabelled = encode_target(column, learnt.target)
        kept = np.flatnonzero(np.isfinite(y))
        index = part.index[kept]
        frame, y = frame[kept], y[kept]
        X, profiles, lost = learnt.encode(frame, part, "TRAIN")
        inside, at = _find(known.index, index)
        fold, _ = learnt.deal(index)
        new = np.flatnonzero(~inside)
        output, expected = known.output.take(at), known.expected[at]
        log_w, raw = known.log_weights[at], known.raw[at]
        held = 0
        if len(new):
            output_new = learnt.deployed(frame[new], X[new], fold[new], "TRAIN")
            expected_new = learnt.expect(X[new], output_new, fold[new])
            log_new, raw_new = learnt.weights.source(X[new], y[new], fold[new])
            held = int((raw_new > learnt.highest).sum())
            log_new, raw_new = np.minimum(log_new, learnt.highest), np.minimum(raw_new, learnt.highest)
            order = np.argsort(np.concatenate([np.flatnonzero(inside), new]), kind="stable")
            output = _both_outputs(output, output_new, order)
            expected = np.concatenate([expected, expected_new])[order]
            log_w = np.concatenate([log_w, log_new])[order]
            raw = np.concatenate([raw, raw_new])[order]
        outputs = as_outputs(output)
        outcome = outcome_columns(y, outputs, n_classes=learnt.n_classes)
        weights = np.exp(log_w)
        residual = learnt.effects(outputs, outcome - expected)
        numbers, codes = learnt.numbers(X)
        weighted_numbers, weighted_codes = learnt.numbers(X, weights)
        totals = TrainTotals(
            rows=len(y),
            unlabelled=unlabelled,
            unknown=part.rows - unlabelled - len(y),
            unread=lost,
            held=held,
            profiles=profiles,
            copies=RowCopies.of(X),
            labelled_copies=RowCopies.of(np.column_stack([X, y])),
            numbers=numbers,
            weighted_numbers=weighted_numbers,
            codes=codes,
            weighted_codes=weighted_codes,
            naive=MetricSums.of(outputs, outcome, edges=learnt.train_edges),
            residuals=Moments.of(residual, weights),
            residuals_squared=Moments.of(residual, weights**2),
            weights=WeightSums.of(log_w),
            top=TopWeights.of(raw, capacity=learnt.top_capacity),
        )
        every = np.full(part.rows, np.nan)
        every[kept] = log_w
        return totals, {"log_weight": every}
