"""Predictions on LIVE that hold there under every reading of the shift, and the coverage to expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from steelyard.auditing.learn.weights import Weighted
from steelyard.auditing.tables import Sample, predicted_numbers
from steelyard.conformal import (
    Coverage,
    aps_scores,
    conformal_thresholds,
    cqr_interval,
    cqr_scores,
    expected_coverage,
    label_scores,
    sets_from_scores,
)
from steelyard.evaluation import Outputs
from steelyard.numerics import as_generator, by_fold, deal_folds, draw_seed
from steelyard.numerics.boosting import BoostedRegressor

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Kind = Literal["interval", "set"]

MAX_FIT_ROWS = 30_000


@dataclass(frozen=True)
class ToPredict:
    """What is known of some rows of LIVE when their predictions are made.

    ``expected`` holds under the leading reading; ``weights``, (n, readings), are on the
    scale of TRAIN's. ``uniforms`` break ties between classes.
    """

    X: FloatArray
    outputs: Outputs
    expected: FloatArray
    weights: FloatArray
    fold: IntArray
    uniforms: FloatArray


@dataclass(frozen=True)
class Predicted:
    """Predictions of some rows: their columns, each one's size, and the share of it that is unbounded."""

    columns: dict[str, npt.NDArray[Any]]
    sizes: FloatArray
    unbounded: FloatArray


class Predictions(Protocol):
    """Calibrated predictions, for any rows of LIVE."""

    @property
    def kind(self) -> Kind:
        """What a prediction is."""
        ...

    def __call__(self, rows: ToPredict) -> Predicted:
        """Return the rows' intervals or sets."""
        ...


@dataclass(frozen=True)
class Calibration:
    """The calibration rows' nonconformity, and how each reading of the shift weighs them.

    Of each reading: TRAIN's weights, and the ratio of each class where their shares moved.
    """

    scores: FloatArray
    weights: tuple[FloatArray, ...]
    by_class: tuple[FloatArray | None, ...]
    alpha: float

    @classmethod
    def of(cls, scores: FloatArray, readings: Sequence[Weighted], alpha: float) -> Calibration:
        """Weigh the rows whose scores these are."""
        return cls(
            scores,
            tuple(w.weights for w in readings),
            tuple(w.reading.by_class for w in readings),
            alpha,
        )

    def thresholds(self, target_weights: FloatArray) -> FloatArray:
        """Return the thresholds of rows that weigh so much, (n,), or (n, K) where classes have their own.

        The largest of the readings' thresholds holds whichever of them is true.
        """
        each = []
        for weights, by_class, own in zip(self.weights, self.by_class, target_weights.T):
            of_class = own if by_class is None else own[:, None] * by_class
            each.append(
                conformal_thresholds(
                    self.scores, alpha=self.alpha, sample_weight=weights, target_weight=of_class
                )
            )
        if len({limits.ndim for limits in each}) > 1:
            each = [limits.reshape(len(target_weights), -1) for limits in each]
        return reduce(np.maximum, each)


@dataclass(frozen=True)
class ExpectedCoverage:
    """The coverage to expect of predictions on LIVE, with its interval, and that without weights."""

    alpha: float
    value: float
    low: float
    high: float
    unweighted: float


@dataclass(frozen=True)
class Calibrated:
    """Predictions, those of LIVE's sampled rows, and the coverage to expect."""

    predictions: Predictions
    sampled: Predicted
    coverage: ExpectedCoverage


def calibrate(
    sample: Sample, readings: Sequence[Weighted], *, alpha: float, n_live: int, seed: int
) -> Calibrated:
    """Compute weighted conformal intervals or sets on LIVE, and the coverage to expect of them.

    ``n_live`` is the number of all of LIVE's rows.
    """
    tables = sample.tables
    rng = as_generator(seed)
    predictions: Intervals | Sets
    if tables.classes is None:
        fold_live, predictions = _intervals(sample, readings, alpha, rng)
    else:
        predictions = _sets(sample, readings, alpha, rng)
        fold_live = np.zeros(len(tables.X_live), dtype=np.int64)
    rows = ToPredict(
        tables.X_live,
        sample.model.live,
        readings[0].reading.correct(sample.expected.target),
        np.exp(np.column_stack([w.target for w in readings])),
        fold_live,
        rng.uniform(size=len(tables.X_live)),
    )
    calibration = predictions.calibration
    first = expected_coverage(
        calibration.scores, alpha=alpha, sample_weight=readings[0].weights, random_state=draw_seed(rng)
    )
    value, low, high = _on_these_rows(first.weighted, n_live)
    if len(readings) > 1:
        value, low, high = _under_all(calibration, n_live)
    coverage = ExpectedCoverage(alpha, value, low, high, first.unweighted.value)
    return Calibrated(predictions, predictions(rows), coverage)


def _on_these_rows(coverage: Coverage, n_live: int) -> tuple[float, float, float]:
    """Widen the interval by the noise of which of LIVE's rows happen to be covered."""
    z = float(norm.ppf(0.975))
    noise = z**2 * coverage.value * (1 - coverage.value) / n_live
    low = coverage.value - np.sqrt((coverage.value - coverage.low) ** 2 + noise)
    high = coverage.value + np.sqrt((coverage.high - coverage.value) ** 2 + noise)
    return coverage.value, max(float(low), 0.0), min(float(high), 1.0)


def _under_all(calibration: Calibration, n_live: int) -> tuple[float, float, float]:
    """Return the coverage of the largest threshold: the leading reading's value, all readings' intervals."""
    scores = calibration.scores
    limits = [
        conformal_thresholds(scores, alpha=calibration.alpha, sample_weight=w, target_weight=w)
        for w in calibration.weights
    ]
    hits = (scores <= reduce(np.maximum, limits)).astype(np.float64)
    z = float(norm.ppf(0.975))
    values, lows, highs = [], [], []
    for w in calibration.weights:
        share = w / w.sum()
        value = float(share @ hits)
        reach = z * float(np.sqrt(share**2 @ (hits - value) ** 2 + value * (1 - value) / n_live))
        values.append(value)
        lows.append(max(value - reach, 0.0))
        highs.append(min(value + reach, 1.0))
    return values[0], min(lows), max(highs)


@dataclass(frozen=True)
class Intervals:
    """Conformalised cross-fitted quantiles of the residual, added to the model's prediction."""

    calibration: Calibration
    models: tuple[Callable[[FloatArray], FloatArray], ...]
    kind: Kind = "interval"

    def __call__(self, rows: ToPredict) -> Predicted:
        """Return the rows' intervals."""
        value = predicted_numbers(rows.outputs)
        quantiles = by_fold(self.models, rows.fold % len(self.models), np.column_stack([rows.X, value]))
        thresholds = self.calibration.thresholds(rows.weights)
        ends = cqr_interval(value + quantiles[:, 0], value + quantiles[:, 1], thresholds)
        width = ends[:, 1] - ends[:, 0]
        return Predicted(
            {"prediction": value, "low": ends[:, 0], "high": ends[:, 1]},
            width,
            np.isinf(width).astype(np.float64),
        )


def _intervals(
    sample: Sample, readings: Sequence[Weighted], alpha: float, rng: np.random.Generator
) -> tuple[IntArray, Intervals]:
    tables, value = sample.tables, predicted_numbers(sample.model.train)
    n_folds = 5 if len(value) >= 500 else 2
    fold, fold_live = deal_folds(len(value), n_folds, rng), deal_folds(len(tables.X_live), n_folds, rng)
    rows = np.column_stack([tables.X, value])
    models = _residual_quantiles(
        rows, tables.y - value, fold, np.append(tables.categorical, False), alpha, rng
    )
    quantiles = by_fold(models, fold, rows)
    scores = cqr_scores(tables.y, value + quantiles[:, 0], value + quantiles[:, 1])
    return fold_live, Intervals(Calibration.of(scores, readings, alpha), models)


def _residual_quantiles(
    rows: FloatArray,
    residual: FloatArray,
    fold: IntArray,
    categorical: npt.NDArray[np.bool_],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[Callable[[FloatArray], FloatArray], ...]:
    """Fit two quantiles for each fold; each LIVE row is put to one fold's models, as each TRAIN row is."""
    made = []
    for k in range(int(fold.max()) + 1):
        train = np.flatnonzero(fold != k)
        if len(train) > MAX_FIT_ROWS:
            train = rng.choice(train, size=MAX_FIT_ROWS, replace=False)
        pair: list[Any] = []
        for level in (alpha / 2, 1 - alpha / 2):
            model = BoostedRegressor(
                loss="quantile",
                quantile=level,
                categorical_features=categorical if categorical.any() else None,
                max_iter=80,
                max_leaf_nodes=15,
                min_samples_leaf=max(20, int(5 / alpha)) if len(train) > 1000 else 20,
                random_state=draw_seed(rng),
            )
            pair.append(model.fit(rows[train], residual[train]))
        made.append(partial(_both_quantiles, (pair[0], pair[1])))
    return tuple(made)


def _both_quantiles(pair: tuple[Any, Any], rows: FloatArray) -> FloatArray:
    return np.sort(np.column_stack([model.predict(rows) for model in pair]), axis=1)


def _adaptive(proba: FloatArray, uniforms: FloatArray) -> FloatArray:
    """Return adaptive scores, the likeliest class below all others.

    No set is then empty, and since the calibration rows are scored alike, the
    class that is always in is part of what is calibrated.
    """
    scores = aps_scores(proba, uniforms=uniforms)
    scores[np.arange(len(proba)), proba.argmax(axis=1)] = -1.0
    return scores


@dataclass(frozen=True)
class Sets:
    """Conformalised adaptive sets, from the model's probabilities or, lacking them, the expected classes."""

    calibration: Calibration
    classes: tuple[Any, ...]
    kind: Kind = "set"

    def __call__(self, rows: ToPredict) -> Predicted:
        """Return the rows' sets."""
        outputs = rows.outputs.labelled()
        proba = rows.expected if outputs.proba is None else outputs.proba
        thresholds = self.calibration.thresholds(rows.weights)
        sets = sets_from_scores(_adaptive(proba, rows.uniforms), thresholds)
        names = [str(c) for c in self.classes]
        columns: dict[str, npt.NDArray[Any]] = {"prediction": np.asarray(self.classes)[outputs.label]}
        if outputs.proba is not None:
            columns |= {f"proba_{name}": proba[:, k] for k, name in enumerate(names)}
        columns |= {f"in_set_{name}": sets[:, k] for k, name in enumerate(names)}
        return Predicted(
            columns,
            sets.sum(axis=1).astype(np.float64),
            np.isinf(thresholds).reshape(len(sets), -1).mean(axis=1),
        )


def _sets(sample: Sample, readings: Sequence[Weighted], alpha: float, rng: np.random.Generator) -> Sets:
    proba = sample.model.train.proba
    if proba is None:
        proba = readings[0].reading.correct(sample.expected.source)
    uniforms = rng.uniform(size=len(proba))
    scores = label_scores(_adaptive(proba, uniforms), sample.tables.y.astype(np.int64))
    return Sets(Calibration.of(scores, readings, alpha), sample.tables.classes or ())
