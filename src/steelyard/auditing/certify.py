"""Step 6: predictions on LIVE that hold there, and the coverage to expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

from steelyard.auditing.result import Finding, Prediction
from steelyard.auditing.tables import Tables
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
from steelyard.numerics import as_generator, deal_folds, draw_seed

FloatArray = npt.NDArray[np.float64]

MAX_FIT_ROWS = 30_000


@dataclass(frozen=True)
class Certified:
    """The coverage report and the columns of ``predictions.parquet``."""

    prediction: Prediction
    columns: dict[str, npt.NDArray[Any]]
    findings: tuple[Finding, ...]


def certify(
    tables: Tables, weighed: Weighed, expected: ExpectedOutcome, *, alpha: float, seed: int
) -> Certified:
    """Compute weighted conformal intervals or sets on LIVE, and the coverage to expect of them."""
    rng = as_generator(seed)
    if tables.task == "regression":
        scores, found = _intervals(tables, weighed, alpha, rng)
        kind, size, share_infinite, covered, columns = found
    else:
        scores, found = _sets(tables, weighed, expected, alpha, rng)
        kind, size, share_infinite, covered, columns = found
    coverage = expected_coverage(
        scores, alpha=alpha, sample_weight=weighed.weights, random_state=draw_seed(rng)
    )
    trusted = weighed.trusted
    value, low, high = _on_these_rows(coverage.weighted, len(tables.X_live))
    if weighed.other is not None:
        value, low, high = _under_both(scores, weighed.weights, weighed.other, alpha, len(tables.X_live))
    findings = []
    if share_infinite > 0:
        findings.append(
            Finding(
                "unbounded-predictions",
                "warning",
                f"{share_infinite:.1%} of LIVE's rows get an unbounded interval or every class: TRAIN has "
                f"too few rows like them for coverage of {1 - alpha:.0%}.",
            )
        )
    prediction = Prediction(
        alpha=alpha,
        kind=kind,
        expected_coverage=value if trusted else None,
        low=low if trusted else None,
        high=high if trusted else None,
        unweighted_expected_coverage=coverage.unweighted.value if trusted else None,
        mean_size=size if np.isfinite(size) else None,
        live_actual_coverage=covered,
    )
    return Certified(prediction, columns, tuple(findings))


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


def _intervals(
    tables: Tables, weighed: Weighed, alpha: float, rng: np.random.Generator
) -> tuple[FloatArray, Any]:
    """Conformalise cross-fitted quantiles of the residual, added to the model's prediction."""
    assert tables.output is not None and tables.output_live is not None
    assert tables.output.value is not None and tables.output_live.value is not None
    value, value_live = tables.output.value, tables.output_live.value
    rows = np.column_stack([tables.X, value])
    rows_live = np.column_stack([tables.X_live, value_live])
    residual = tables.y - value
    quantiles, quantiles_live = _residual_quantiles(
        rows, residual, rows_live, np.append(tables.categorical, False), alpha, rng
    )
    scores = cqr_scores(tables.y, value + quantiles[:, 0], value + quantiles[:, 1])
    thresholds = conformal_thresholds(
        scores, alpha=alpha, sample_weight=weighed.weights, target_weight=weighed.weights_live
    )
    ends = cqr_interval(value_live + quantiles_live[:, 0], value_live + quantiles_live[:, 1], thresholds)
    width = ends[:, 1] - ends[:, 0]
    covered = None
    if tables.y_live is not None:
        covered = float(np.mean((ends[:, 0] <= tables.y_live) & (tables.y_live <= ends[:, 1])))
    columns = {"prediction": value_live, "low": ends[:, 0], "high": ends[:, 1]}
    return scores, ("interval", float(width.mean()), float(np.mean(np.isinf(width))), covered, columns)


def _residual_quantiles(
    rows: FloatArray,
    residual: FloatArray,
    rows_live: FloatArray,
    categorical: npt.NDArray[np.bool_],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Cross-fit two quantiles; each LIVE row is put to one fold's models, as each TRAIN row is."""
    n_folds = 5 if len(rows) >= 500 else 2
    fold, fold_live = deal_folds(len(rows), n_folds, rng), deal_folds(len(rows_live), n_folds, rng)
    out, out_live = np.empty((len(rows), 2)), np.empty((len(rows_live), 2))
    for k in range(n_folds):
        train = np.flatnonzero(fold != k)
        if len(train) > MAX_FIT_ROWS:
            train = rng.choice(train, size=MAX_FIT_ROWS, replace=False)
        for side, level in enumerate((alpha / 2, 1 - alpha / 2)):
            model = HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                categorical_features=categorical if categorical.any() else None,
                max_iter=80,
                max_leaf_nodes=15,
                min_samples_leaf=max(20, int(5 / alpha)) if len(train) > 1000 else 20,
                random_state=draw_seed(rng),
            ).fit(rows[train], residual[train])
            out[fold == k, side] = model.predict(rows[fold == k])
            if (fold_live == k).any():
                out_live[fold_live == k, side] = model.predict(rows_live[fold_live == k])
    return np.sort(out, axis=1), np.sort(out_live, axis=1)


def _adaptive(proba: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return adaptive scores, the likeliest class below all others.

    No set is then empty, and since the calibration rows are scored alike, the
    class that is always in is part of what is calibrated.
    """
    scores = aps_scores(proba, uniforms=rng.uniform(size=len(proba)))
    scores[np.arange(len(proba)), proba.argmax(axis=1)] = -1.0
    return scores


def _sets(
    tables: Tables, weighed: Weighed, expected: ExpectedOutcome, alpha: float, rng: np.random.Generator
) -> tuple[FloatArray, Any]:
    """Conformalise adaptive sets, from the model's probabilities or, lacking them, the expected classes."""
    assert tables.output is not None and tables.output_live is not None and tables.classes is not None
    proba, proba_live = tables.output.proba, tables.output_live.proba
    if proba is None or proba_live is None:
        proba, proba_live = expected.source, expected.target
    every, every_live = _adaptive(proba, rng), _adaptive(proba_live, rng)
    scores = label_scores(every, tables.y.astype(np.int64))
    own: FloatArray = weighed.weights_live
    if weighed.class_ratio is not None:
        own = own[:, None] * weighed.class_ratio
    thresholds = conformal_thresholds(scores, alpha=alpha, sample_weight=weighed.weights, target_weight=own)
    if weighed.other is not None:
        # The larger threshold holds whichever reading of the shift is true.
        by_class = weighed.other.weights_live[:, None] * weighed.other.class_ratio.ratio
        second = conformal_thresholds(
            scores, alpha=alpha, sample_weight=weighed.other.weights, target_weight=by_class
        )
        thresholds = np.maximum(thresholds[:, None], second)
    sets = sets_from_scores(every_live, thresholds)
    covered = None
    if tables.y_live is not None:
        covered = float(np.mean(sets[np.arange(len(sets)), tables.y_live.astype(np.int64)]))
    assert tables.output_live.label is not None
    names = [str(c) for c in tables.classes]
    columns: dict[str, npt.NDArray[Any]] = {
        "prediction": np.asarray(tables.classes)[tables.output_live.label]
    }
    if tables.output_live.proba is not None:
        columns |= {f"proba_{name}": proba_live[:, k] for k, name in enumerate(names)}
    columns |= {f"in_set_{name}": sets[:, k] for k, name in enumerate(names)}
    endless = float(np.mean(np.isinf(thresholds)))
    return scores, ("set", float(sets.sum(axis=1).mean()), endless, covered, columns)
