"""Step 6: predictions on LIVE that hold there, and the coverage to expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

from steelyard.auditing.result import Finding, Prediction
from steelyard.auditing.tables import Output, Tables
from steelyard.auditing.weigh import ClassReading, Weighed
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
from steelyard.evaluation import ExpectedOutcome
from steelyard.numerics import as_generator, by_fold, deal_folds, draw_seed

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_FIT_ROWS = 30_000


@dataclass(frozen=True)
class LiveRows:
    """What is known of some rows of LIVE when their predictions are made.

    ``weights`` are on the scale of TRAIN's; ``weights_other`` those of the second
    reading where there is one. ``uniforms`` break ties between classes.
    """

    X: FloatArray
    output: Output
    expected: FloatArray
    weights: FloatArray
    weights_other: FloatArray | None
    fold: IntArray
    uniforms: FloatArray


@dataclass(frozen=True)
class Predicted:
    """Predictions of some rows: their columns, each one's size, and the share of it that is unbounded."""

    columns: dict[str, npt.NDArray[Any]]
    sizes: FloatArray
    unbounded: FloatArray
    contains: Callable[[FloatArray], npt.NDArray[np.bool_]]


class Predictions(Protocol):
    """Calibrated predictions, for any rows of LIVE."""

    @property
    def scores(self) -> FloatArray:
        """The calibration rows' nonconformity."""
        ...

    @property
    def kind(self) -> Literal["interval", "set"]:
        """What a prediction is."""
        ...

    def __call__(self, rows: LiveRows) -> Predicted:
        """Return the rows' intervals or sets."""
        ...


@dataclass(frozen=True)
class Certified:
    """The coverage report, and what makes the columns of ``predictions.parquet``."""

    prediction: Prediction
    predicted: Predicted
    findings: tuple[Finding, ...]
    predictions: Predictions

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns of LIVE's rows."""
        return self.predicted.columns


def certify(
    tables: Tables,
    weighed: Weighed,
    expected: ExpectedOutcome,
    *,
    alpha: float,
    n_live: int | None = None,
    seed: int,
) -> Certified:
    """Compute weighted conformal intervals or sets on LIVE, and the coverage to expect of them.

    ``n_live`` is the number of LIVE's rows if ``tables`` holds a sample of them.
    """
    assert tables.output_live is not None
    n_live = n_live or len(tables.X_live)
    rng = as_generator(seed)
    predictions: Predictions
    if tables.task == "regression":
        fold_live, predictions = _intervals(tables, weighed, alpha, rng)
    else:
        predictions = _sets(tables, weighed, expected, alpha, rng)
        fold_live = np.zeros(len(tables.X_live), dtype=np.int64)
    live = LiveRows(
        tables.X_live,
        tables.output_live,
        expected.target,
        weighed.weights_live,
        None if weighed.other is None else weighed.other.weights_live,
        fold_live,
        rng.uniform(size=len(tables.X_live)),
    )
    predicted = predictions(live)
    coverage = expected_coverage(
        predictions.scores, alpha=alpha, sample_weight=weighed.weights, random_state=draw_seed(rng)
    )
    trusted = weighed.trusted
    value, low, high = _on_these_rows(coverage.weighted, n_live)
    if weighed.other is not None:
        value, low, high = _under_both(predictions.scores, weighed.weights, weighed.other, alpha, n_live)
    size = float(predicted.sizes.mean())
    prediction = Prediction(
        alpha=alpha,
        kind=predictions.kind,
        expected_coverage=value if trusted else None,
        low=low if trusted else None,
        high=high if trusted else None,
        unweighted_expected_coverage=coverage.unweighted.value if trusted else None,
        mean_size=size if np.isfinite(size) else None,
        live_actual_coverage=(
            None if tables.y_live is None else float(np.mean(predicted.contains(tables.y_live)))
        ),
    )
    findings = unbounded_finding(float(predicted.unbounded.mean()), alpha)
    return Certified(prediction, predicted, findings, predictions)


def unbounded_finding(share: float, alpha: float) -> tuple[Finding, ...]:
    """Tell of LIVE's rows whose interval or set says nothing, if there are any."""
    if share == 0:
        return ()
    text = (
        f"{share:.1%} of LIVE's rows get an unbounded interval or every class: TRAIN has "
        f"too few rows like them for coverage of {1 - alpha:.0%}."
    )
    return (Finding("unbounded-predictions", "warning", text, "certify"),)


def _on_these_rows(coverage: Coverage, n_live: int) -> tuple[float, float, float]:
    """Widen the interval by the noise of which of LIVE's rows happen to be covered."""
    z = float(norm.ppf(0.975))
    noise = z**2 * coverage.value * (1 - coverage.value) / n_live
    low = coverage.value - np.sqrt((coverage.value - coverage.low) ** 2 + noise)
    high = coverage.value + np.sqrt((coverage.high - coverage.value) ** 2 + noise)
    return coverage.value, max(float(low), 0.0), min(float(high), 1.0)


def _under_both(
    scores: FloatArray, weights: FloatArray, other: ClassReading, alpha: float, n_live: int
) -> tuple[float, float, float]:
    """Return the coverage of the larger of two thresholds: the first reading's value, both intervals."""
    thresholds = [
        conformal_thresholds(scores, alpha=alpha, sample_weight=w, target_weight=w)
        for w in (weights, other.weights)
    ]
    hits = (scores <= np.maximum(*thresholds)).astype(np.float64)
    z = float(norm.ppf(0.975))
    values, lows, highs = [], [], []
    for w in (weights, other.weights):
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

    scores: FloatArray
    weights: FloatArray
    alpha: float
    models: tuple[Callable[[FloatArray], FloatArray], ...]
    kind: Literal["interval", "set"] = "interval"

    def __call__(self, rows: LiveRows) -> Predicted:
        """Return the rows' intervals."""
        value = rows.output.value
        assert value is not None
        quantiles = by_fold(self.models, rows.fold % len(self.models), np.column_stack([rows.X, value]))
        thresholds = conformal_thresholds(
            self.scores, alpha=self.alpha, sample_weight=self.weights, target_weight=rows.weights
        )
        ends = cqr_interval(value + quantiles[:, 0], value + quantiles[:, 1], thresholds)
        width = ends[:, 1] - ends[:, 0]
        return Predicted(
            {"prediction": value, "low": ends[:, 0], "high": ends[:, 1]},
            width,
            np.isinf(width).astype(np.float64),
            lambda y: (ends[:, 0] <= y) & (y <= ends[:, 1]),
        )


def _intervals(
    tables: Tables, weighed: Weighed, alpha: float, rng: np.random.Generator
) -> tuple[IntArray, Intervals]:
    assert tables.output is not None and tables.output.value is not None
    value = tables.output.value
    n_folds = 5 if len(value) >= 500 else 2
    fold, fold_live = deal_folds(len(value), n_folds, rng), deal_folds(len(tables.X_live), n_folds, rng)
    rows = np.column_stack([tables.X, value])
    models = _residual_quantiles(
        rows, tables.y - value, fold, np.append(tables.categorical, False), alpha, rng
    )
    quantiles = by_fold(models, fold, rows)
    scores = cqr_scores(tables.y, value + quantiles[:, 0], value + quantiles[:, 1])
    return fold_live, Intervals(scores, weighed.weights, alpha, models)


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
        pair = []
        for level in (alpha / 2, 1 - alpha / 2):
            model = HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                categorical_features=categorical if categorical.any() else None,
                max_iter=80,
                max_leaf_nodes=15,
                min_samples_leaf=max(20, int(5 / alpha)) if len(train) > 1000 else 20,
                random_state=draw_seed(rng),
            )
            pair.append(model.fit(rows[train], residual[train]))
        made.append(partial(_both_quantiles, tuple(pair)))
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

    scores: FloatArray
    weights: FloatArray
    class_ratio: FloatArray | None
    other: ClassReading | None
    alpha: float
    classes: tuple[Any, ...]
    kind: Literal["interval", "set"] = "set"

    def __call__(self, rows: LiveRows) -> Predicted:
        """Return the rows' sets."""
        output = rows.output
        assert output.label is not None
        proba = rows.expected if output.proba is None else output.proba
        thresholds = self._thresholds(rows)
        sets = sets_from_scores(_adaptive(proba, rows.uniforms), thresholds)
        names = [str(c) for c in self.classes]
        columns: dict[str, npt.NDArray[Any]] = {"prediction": np.asarray(self.classes)[output.label]}
        if output.proba is not None:
            columns |= {f"proba_{name}": proba[:, k] for k, name in enumerate(names)}
        columns |= {f"in_set_{name}": sets[:, k] for k, name in enumerate(names)}
        return Predicted(
            columns,
            sets.sum(axis=1).astype(np.float64),
            np.isinf(thresholds).reshape(len(sets), -1).mean(axis=1),
            lambda y: sets[np.arange(len(sets)), y.astype(np.int64)],
        )

    def _thresholds(self, rows: LiveRows) -> FloatArray:
        own = rows.weights
        if self.class_ratio is not None:
            own = own[:, None] * self.class_ratio
        thresholds = conformal_thresholds(
            self.scores, alpha=self.alpha, sample_weight=self.weights, target_weight=own
        )
        if self.other is None or rows.weights_other is None:
            return thresholds
        # The larger threshold holds whichever reading of the shift is true.
        second = conformal_thresholds(
            self.scores,
            alpha=self.alpha,
            sample_weight=self.other.weights,
            target_weight=rows.weights_other[:, None] * self.other.class_ratio.ratio,
        )
        return np.maximum(thresholds.reshape(len(own), -1), second)


def _sets(
    tables: Tables, weighed: Weighed, expected: ExpectedOutcome, alpha: float, rng: np.random.Generator
) -> Sets:
    assert tables.output is not None and tables.classes is not None
    proba = expected.source if tables.output.proba is None else tables.output.proba
    scores = label_scores(_adaptive(proba, rng.uniform(size=len(proba))), tables.y.astype(np.int64))
    return Sets(scores, weighed.weights, weighed.class_ratio, weighed.other, alpha, tables.classes)
