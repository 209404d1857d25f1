"""What was learnt on the sampled rows, in the form that is put to every row: frozen, and sent to workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.learn.anchors import Anchor, anchored
from steelyard.auditing.learn.asked import Ratio
from steelyard.auditing.learn.predictions import Calibrated, Predictions, ToPredict
from steelyard.auditing.learn.readings import Reading
from steelyard.auditing.learn.shift import Detected
from steelyard.auditing.learn.weights import Cover, RowWeights, Weighted
from steelyard.auditing.limits import UNCOVERED_RATIO
from steelyard.auditing.reading.target import Target
from steelyard.auditing.tables import Deployed, Feature, Sample
from steelyard.evaluation import ExpectedOutcome, Metric, OutcomeModels, Outputs
from steelyard.numerics.quantile_sketch import scatter
from steelyard.weighting.study import Said

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]

# Its exponential, times the rows of any table, is still a number.
_LARGEST_LOG = 600.0


class Rows:
    """Base of records that hold something of each of some rows, in arrays, outputs, or mappings of arrays."""

    def take(self, rows: Any) -> Self:
        """Return what is held of some of the rows."""
        return type(self)(**{f.name: _taken(getattr(self, f.name), rows) for f in fields(self)})  # type: ignore[arg-type]

    def followed_by(self, other: Self, order: IntArray) -> Self:
        """Return both sets of rows, this one's first, and then in the given order."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: _one_behind_the_other(a, b, order) for name, (a, b) in pairs.items()})


def _taken(part: Any, rows: Any) -> Any:
    if isinstance(part, Outputs):
        return part.take(rows)
    return {k: v[rows] for k, v in part.items()} if isinstance(part, Mapping) else part[rows]


def _one_behind_the_other(a: Any, b: Any, order: IntArray) -> Any:
    if isinstance(a, Outputs):
        return Outputs.joined([a, b], order)
    if isinstance(a, Mapping):
        return {name: np.concatenate([a[name], values])[order] for name, values in b.items()}
    return np.concatenate([a, b])[order]


@dataclass(frozen=True)
class TrainRows(Rows):
    """What is said of TRAIN's rows: output, expected outcome, log weights by reading, (n, readings).

    ``raw`` are the leading reading's before their tail was smoothed.
    """

    outputs: Outputs
    expected: FloatArray
    log_weights: FloatArray
    raw: FloatArray


@dataclass(frozen=True)
class LiveRows(Rows):
    """What is said of LIVE's rows: output, expected outcome as TRAIN has it, cover, and predictions."""

    outputs: Outputs
    expected: FloatArray
    outside: BoolArray
    columns: Columns
    sizes: FloatArray
    unbounded: FloatArray


@dataclass(frozen=True)
class LearntReading:
    """One reading of the shift: what it corrects, its weights, and each metric's derivative under it."""

    reading: Reading
    weights: RowWeights
    slopes: tuple[Callable[[Outputs], FloatArray], ...]

    @property
    def name(self) -> str:
        """The reading's name."""
        return self.reading.name

    def effects(self, outputs: Outputs, outcome: FloatArray) -> FloatArray:
        """Return what each metric's slope makes of outcome columns, (n, metrics)."""
        return np.column_stack([np.sum(slope(outputs) * outcome, axis=1) for slope in self.slopes])


@dataclass(frozen=True)
class Learnt:
    """The fitted steps, and what they say of rows.

    ``highest`` are the log weights at which TRAIN's are held, by reading.
    """

    features: tuple[Feature, ...]
    target: Target
    target_name: str
    deployed: Deployed
    models: OutcomeModels
    readings: tuple[LearntReading, ...]
    covers: Ratio
    predictions: Predictions
    highest: FloatArray
    salt: int

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None for a regression."""
        return None if self.target.classes is None else len(self.target.classes)

    @property
    def categorical(self) -> BoolArray:
        """Which columns hold codes, (d,)."""
        return np.array([f.categories is not None for f in self.features], dtype=bool)

    def deal(self, index: IntArray) -> tuple[IntArray, FloatArray]:
        """Return a fold and a uniform number for each row, that hang on nothing but its number."""
        keys = scatter(index.astype(np.uint64) ^ np.uint64(self.salt))
        fold = (keys >> np.uint64(33)).astype(np.int64)
        return fold, scatter(keys).astype(np.float64) * 2.0**-64

    def of_train(
        self, frame: pl.DataFrame, X: FloatArray, y: FloatArray, index: IntArray
    ) -> tuple[TrainRows, int]:
        """Return what is said of rows of TRAIN, and of how many the weight was held."""
        fold, _ = self.deal(index)
        outputs = self.deployed(frame, X, fold, "TRAIN")
        expected = self.models(X, outputs, fold)
        each = [reading.weights.source(X, y, fold) for reading in self.readings]
        raw = each[0][1]
        held = int((raw > self.highest[0]).sum())
        log_weights = np.minimum(np.column_stack([log_w for log_w, _ in each]), self.highest)
        return TrainRows(outputs, expected, log_weights, np.minimum(raw, self.highest[0])), held

    def of_live(self, frame: pl.DataFrame, X: FloatArray, index: IntArray) -> LiveRows:
        """Return what is said of rows of LIVE."""
        fold, uniforms = self.deal(index)
        outputs = self.deployed(frame, X, fold, "LIVE")
        expected = self.models(X, outputs, fold)
        weights, outside = self._weigh_live(X, fold)
        leading = self.readings[0].reading.correct(expected)
        predicted = self.predictions(ToPredict(X, outputs, leading, weights, fold, uniforms))
        return LiveRows(outputs, expected, outside, predicted.columns, predicted.sizes, predicted.unbounded)

    def _weigh_live(self, X: FloatArray, fold: IntArray) -> tuple[FloatArray, BoolArray]:
        """Return the weights of LIVE's rows by reading, and which rows TRAIN does not cover."""
        # What weighs and what tells the cover may rest on the same models, which are half of the work.
        known: Said = {}
        outside = self.covers.by_fold(X, fold, known=known) > np.log(UNCOVERED_RATIO)
        each = [reading.weights.target(X, fold, known) for reading in self.readings]
        # Rows far from all others still get a finite weight.
        return np.exp(np.minimum(np.column_stack(each), _LARGEST_LOG)), outside


@dataclass(frozen=True)
class Sampled:
    """The steps' results on the sample, from which the sums of all rows are said.

    ``anchors`` are, of each reading, those of each metric, and ``expected`` what outcomes it expects.
    """

    sample: Sample
    shift: Detected
    readings: tuple[Weighted, ...]
    cover: Cover
    anchors: tuple[tuple[Anchor, ...], ...]
    calibrated: Calibrated
    expected: tuple[ExpectedOutcome, ...]

    def train_rows(self) -> TrainRows:
        """Return what is said of TRAIN's sampled rows."""
        return TrainRows(
            self.sample.model.train,
            self.sample.expected.source,
            np.column_stack([w.source for w in self.readings]),
            self.readings[0].raw,
        )

    def live_rows(self) -> LiveRows:
        """Return what is said of LIVE's sampled rows."""
        predicted = self.calibrated.sampled
        return LiveRows(
            self.sample.model.live,
            self.sample.expected.target,
            self.cover.outside,
            predicted.columns,
            predicted.sizes,
            predicted.unbounded,
        )

    def learnt(self, *, train_rows: int, salt: int) -> Learnt:
        """Return what is put to every row; TRAIN has ``train_rows``."""
        tables, model = self.sample.tables, self.sample.model
        return Learnt(
            features=tables.features,
            target=Target(tables.task, tables.classes, np.zeros(0), written=tables.target_written),
            target_name=tables.target,
            deployed=model.deployed,
            models=self.sample.expected.models,
            readings=tuple(
                LearntReading(w.reading, w.rows, tuple(a.slope for a in anchors))
                for w, anchors in zip(self.readings, self.anchors)
            ),
            covers=self.cover.ratio,
            predictions=self.calibrated.predictions,
            # Where the weights' tail has k <= 1, beyond which nothing is estimated, the largest of n
            # weights is at most about n / m times the largest of m. What the ratio gives rows farther
            # off is extrapolated, and one of them would be all that counts.
            highest=np.array([w.raw.max() for w in self.readings]) + np.log(train_rows / len(tables.X)),
            salt=salt,
        )


def gathered(
    sample: Sample,
    shift: Detected,
    weighed: tuple[tuple[Weighted, ...], Cover],
    metrics: Sequence[Metric],
    calibrated: Calibrated,
) -> Sampled:
    """Gather the steps' results, and take each metric's derivative under each reading."""
    readings, cover = weighed
    expected = tuple(w.reading.corrected(sample.expected) for w in readings)
    anchors = tuple(anchored(sample, w.reading, e, metrics) for w, e in zip(readings, expected))
    return Sampled(sample, shift, readings, cover, anchors, calibrated, expected)
