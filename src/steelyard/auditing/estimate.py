"""Step 4: how good is the model on LIVE, without LIVE's labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from steelyard.auditing.result import Finding, Performance, Window
from steelyard.auditing.shift import Detected
from steelyard.auditing.tables import Output, Tables
from steelyard.auditing.weigh import ClassReading, Weighed
from steelyard.errors import InputError
from steelyard.evaluation import (
    METRICS,
    Estimate,
    ExpectedOutcome,
    Metric,
    Outputs,
    confidence_based,
    doubly_robust,
    get_metric,
    importance_weighted,
    outcome_columns,
    outcome_model_variance,
    plug_in,
)
from steelyard.evaluation.estimates import label_noise, make_estimate
from steelyard.reporting.words import KINDS
from steelyard.weighting import ClassRatio, shift_posterior

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimated:
    """The performance table, the windows, and the estimates behind them by method."""

    performance: tuple[Performance, ...]
    windows: tuple[Window, ...]
    by_method: dict[str, dict[str, Estimate]]
    expected: ExpectedOutcome
    findings: tuple[Finding, ...]


def as_outputs(output: Output) -> Outputs:
    """Return the model's output in the form that the evaluation room takes."""
    return Outputs(output.proba, output.label, output.value)


def chosen_metrics(tables: Tables, names: Sequence[str] | None) -> list[Metric]:
    """Return the metrics asked for, or all that suit the task and the output."""
    assert tables.output is not None
    kind = "regression" if tables.task == "regression" else "classification"
    outputs = as_outputs(tables.output)
    if not names:
        return [m for m in METRICS.values() if m.kind == kind and m.available(outputs)]
    chosen = [get_metric(name.lower().replace("-", "_")) for name in names]
    faults = [
        f"metric {m.name!r} is for {m.kind}; {tables.target!r} makes this {kind}."
        for m in chosen
        if m.kind != kind
    ]
    faults += [
        f"metric {m.name!r} needs the model's probabilities; pass --proba, or leave the metric out."
        for m in chosen
        if m.kind == kind and not m.available(outputs)
    ]
    if faults:
        raise InputError(faults)
    return chosen


def estimate(
    tables: Tables,
    expected: ExpectedOutcome,
    found: Detected,
    weighed: Weighed,
    *,
    metrics: Sequence[str] | None = None,
) -> Estimated:
    """Estimate every metric on LIVE and in each window, and say which estimate is reported and why."""
    assert tables.output is not None and tables.output_live is not None
    n_classes = None if tables.classes is None else len(tables.classes)
    outputs, live = as_outputs(tables.output), as_outputs(tables.output_live)
    outcome = outcome_columns(tables.y, outputs, n_classes=n_classes)
    actual = None
    if tables.y_live is not None:
        actual = outcome_columns(tables.y_live, live, n_classes=n_classes)
    by_class = found.class_ratio if weighed.report.method.startswith("label_shift") else None
    corrected = corrected_outcome(expected, by_class)

    rows, by_method = [], {}
    corrections: dict[str, Estimate] = {}
    for metric in chosen_metrics(tables, metrics):
        methods = _methods(metric, tables, outputs, outcome, live, corrected, weighed, by_class)
        reported = methods["doubly robust"]
        if weighed.other is not None:
            second = _second_reading(metric, outputs, outcome, live, expected, weighed.other)
            methods["doubly robust, classes changed"] = second
            reported = spanning(reported, second)
        by_method[metric.name] = methods
        corrections[metric.name] = reported
        rows.append(
            Performance(
                metric=metric.name,
                naive=metric(outputs, outcome),
                live_estimate=reported.value if weighed.trusted else None,
                low=reported.low if weighed.trusted else None,
                high=reported.high if weighed.trusted else None,
                method=how(reported, found) if weighed.trusted else "inconclusive",
                live_actual=None if actual is None else metric(live, actual),
            )
        )
    spreads = {
        name: _residual_spread(METRICS[name], outputs, outcome, live, corrected, weighed.weights)
        for name in (() if tables.window is None else corrections)
    }
    windows = _windows(tables, live, corrected, corrections, spreads, actual, weighed, rows)
    findings = () if weighed.trusted else (_declined(),)
    return Estimated(tuple(rows), windows, by_method, corrected, findings)


def corrected_outcome(expected: ExpectedOutcome, by_class: ClassRatio | None) -> ExpectedOutcome:
    """Return expectations that hold in LIVE: Bayes' rule for the classes' new shares, or unchanged."""
    if by_class is None:
        return expected
    ratio = np.maximum(by_class.ratio, 1e-6)
    return replace(
        expected,
        source=shift_posterior(expected.source, ratio),
        target=shift_posterior(expected.target, ratio),
        by_fold=np.stack([shift_posterior(part, ratio) for part in expected.by_fold]),
    )


def _methods(
    metric: Metric,
    tables: Tables,
    outputs: Outputs,
    outcome: FloatArray,
    live: Outputs,
    expected: ExpectedOutcome,
    weighed: Weighed,
    by_class: ClassRatio | None,
) -> dict[str, Estimate]:
    common = {
        "outputs": outputs,
        "outcome": outcome,
        "expected": expected.source,
        "outputs_target": live,
        "expected_target": expected.target,
    }
    own = outcome_model_variance(
        metric,
        outputs_target=live.take(expected.probe),
        by_fold=expected.by_fold,
        expected_target=expected.target[expected.probe],
    )
    robust = doubly_robust(metric, weights=weighed.weights, outcome_variance=own, **common)  # type: ignore[arg-type]
    if by_class is not None:
        robust = _with_ratio_error(robust, metric, live, expected, by_class)
    out = {
        "doubly robust": robust,
        "importance weighted": importance_weighted(
            metric, outputs, outcome, weights=weighed.weights, n_target=len(live)
        ),
    }
    if outputs.proba is not None:
        out["confidence-based"] = confidence_based(
            metric, outputs=outputs, y=tables.y, outputs_target=live, weights=weighed.weights
        )
    return out


def _with_ratio_error(
    estimate: Estimate, metric: Metric, live: Outputs, expected: ExpectedOutcome, ratio: ClassRatio
) -> Estimate:
    """Widen an interval by the error of the class ratio, through the plug-in value's derivative."""
    values, vectors = np.linalg.eigh(np.nan_to_num(ratio.covariance))
    extra = 0.0
    for value, vector in zip(values, vectors.T):
        if value <= 1e-12:
            continue
        step = np.sqrt(value) * vector
        # ``expected`` already holds the ratio, so a factor moves it to a neighbouring one.
        ends = [
            plug_in(
                metric,
                live,
                shift_posterior(expected.target, np.maximum(1 + sign * step / ratio.ratio, 1e-3)),
            )
            for sign in (-1.0, 1.0)
        ]
        extra += (0.5 * (ends[1] - ends[0])) ** 2
    return make_estimate(
        estimate.value,
        estimate.standard_error**2 + extra,
        metric=metric,
        method=estimate.method,
        level=estimate.level,
    )


def _second_reading(
    metric: Metric,
    outputs: Outputs,
    outcome: FloatArray,
    live: Outputs,
    expected: ExpectedOutcome,
    reading: ClassReading,
) -> Estimate:
    corrected = corrected_outcome(expected, reading.class_ratio)
    estimate = doubly_robust(
        metric,
        outputs=outputs,
        outcome=outcome,
        expected=corrected.source,
        outputs_target=live,
        expected_target=corrected.target,
        weights=reading.weights,
    )
    return _with_ratio_error(estimate, metric, live, corrected, reading.class_ratio)


def spanning(first: Estimate, second: Estimate) -> Estimate:
    """Return the first estimate with an interval that covers both."""
    return replace(first, low=min(first.low, second.low), high=max(first.high, second.high))


def how(estimate: Estimate, found: Detected) -> str:
    """Say how an estimate was got, and what it assumes."""
    return f"{estimate.method}; {KINDS[found.shift.kind].basis}"


def _windows(
    tables: Tables,
    live: Outputs,
    expected: ExpectedOutcome,
    overall: dict[str, Estimate],
    spreads: dict[str, float],
    actual: FloatArray | None,
    weighed: Weighed,
    rows: Sequence[Performance],
) -> tuple[Window, ...]:
    """Estimate each window: expected outcomes there, moved by LIVE's overall correction.

    A correction of each window's own would add more noise than it removes: the
    outcome model already sees the window's rows.
    """
    if tables.window is None:
        return ()
    plain = {name: plug_in(METRICS[name], live, expected.target) for name in overall}
    out = []
    for k, (start, end) in enumerate(tables.window_names):
        chosen = np.flatnonzero(tables.window == k)
        if len(chosen) == 0:
            continue
        part, likely = live.take(chosen), expected.target[chosen]
        performance = []
        for row in rows:
            metric, whole = METRICS[row.metric], overall[row.metric]
            evaluated = metric.evaluate(part, likely, np.ones(len(chosen)))
            noise = label_noise(evaluated.slope(part), likely, fallback=spreads[row.metric])
            local = window_estimate(
                metric,
                whole,
                value=evaluated.value + whole.value - plain[row.metric],
                variance=noise / len(chosen) + own_error(metric, part, chosen, expected),
                two_readings=weighed.other is not None,
            )
            performance.append(
                Performance(
                    metric=row.metric,
                    naive=row.naive,
                    live_estimate=local.value if weighed.trusted and np.isfinite(local.value) else None,
                    low=local.low if weighed.trusted else None,
                    high=local.high if weighed.trusted else None,
                    method=row.method,
                    live_actual=None if actual is None else metric(part, actual[chosen]),
                )
            )
        out.append(Window(start, end, len(chosen), tuple(performance)))
    return tuple(out)


def _residual_spread(
    metric: Metric,
    outputs: Outputs,
    outcome: FloatArray,
    live: Outputs,
    expected: ExpectedOutcome,
    weights: FloatArray,
) -> float:
    """Return the weighted mean square of what TRAIN's residuals do to a metric of LIVE."""
    slope = metric.evaluate(live, expected.target, np.ones(len(live))).slope(outputs)
    residual = np.sum(slope * (outcome - expected.source), axis=1)
    return float(np.average(residual**2, weights=weights))


def window_estimate(
    metric: Metric, whole: Estimate, *, value: float, variance: float, two_readings: bool
) -> Estimate:
    """Return a window's estimate, whose variance comes on top of that of all of LIVE."""
    local = make_estimate(
        value, whole.standard_error**2 + variance, metric=metric, method=whole.method, level=whole.level
    )
    if not two_readings:
        return local
    # LIVE's two readings differ by as much as its interval is wider than its error.
    half = 1.96 * whole.standard_error
    return replace(
        local,
        low=local.low - max(whole.value - half - whole.low, 0.0),
        high=local.high + max(whole.high - whole.value - half, 0.0),
    )


def own_error(metric: Metric, part: Outputs, chosen: IntArray, expected: ExpectedOutcome) -> float:
    """Return the variance of a window's value from the outcome model, which LIVE's correction cannot mend."""
    known = np.isin(expected.probe, chosen)
    rows = np.isin(chosen, expected.probe)
    if not known.any():
        return 0.0
    return outcome_model_variance(
        metric,
        outputs_target=part.take(rows),
        by_fold=expected.by_fold[:, known],
        expected_target=expected.target[chosen[rows]],
    )


def _declined() -> Finding:
    return Finding(
        "estimates-withheld",
        "warning",
        "No performance is given for LIVE: the weights cannot be trusted, and a number would be a guess.",
        "estimate",
    )
