"""Each metric's derivative at the sample, from which the figures of all rows follow to first order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.readings import Reading
from steelyard.auditing.tables import ModelOutput, Sample, Tables
from steelyard.errors import InputError
from steelyard.evaluation import (
    METRICS,
    ExpectedOutcome,
    Metric,
    Outputs,
    get_metric,
    outcome_model_variance,
    plug_in,
    unseen_noise,
)
from steelyard.weighting import shift_posterior

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Anchor:
    """One metric under one reading of the shift.

    ``slope`` turns outputs into the metric's derivative in the outcome columns;
    ``own`` is the variance from fitting the outcome model, ``ratio`` that from the
    classes' ratio, which is estimated too, and ``unseen`` a row's squared effect of
    outcomes that the rows at hand need not have shown.
    """

    metric: Metric
    slope: Callable[[Outputs], FloatArray]
    own: float
    ratio: float
    unseen: float


def chosen_metrics(tables: Tables, model: ModelOutput, names: Sequence[str]) -> tuple[Metric, ...]:
    """Return the metrics asked for, or all that suit the task and the output."""
    kind = "regression" if tables.classes is None else "classification"
    if not names:
        return tuple(m for m in METRICS.values() if m.kind == kind and m.available(model.train))
    chosen = [get_metric(name.lower().replace("-", "_")) for name in names]
    faults = [
        f"metric {m.name!r} is for {m.kind}; {tables.target!r} makes this {kind}."
        for m in chosen
        if m.kind != kind
    ]
    faults += [
        f"metric {m.name!r} needs the model's probabilities; pass --proba, or leave the metric out."
        for m in chosen
        if m.kind == kind and not m.available(model.train)
    ]
    if faults:
        raise InputError(faults)
    return tuple(chosen)


def anchored(
    sample: Sample, reading: Reading, expected: ExpectedOutcome, metrics: Sequence[Metric]
) -> tuple[Anchor, ...]:
    """Return the metrics' derivatives under a reading, and the variances that only the sample can tell.

    ``expected`` is what outcomes the reading expects.
    """
    live = sample.model.live
    probed, probe = live.take(expected.probe), expected.target[expected.probe]
    slopes = [metric.evaluate(live, expected.target, np.ones(len(live))).slope for metric in metrics]
    return tuple(
        Anchor(
            metric,
            slope,
            outcome_model_variance(
                metric, outputs_target=probed, by_fold=expected.by_fold, expected_target=probe
            ),
            _ratio_variance(metric, live, expected, reading),
            unseen_noise(slope(live), expected.target),
        )
        for metric, slope in zip(metrics, slopes)
    )


def _ratio_variance(metric: Metric, live: Outputs, expected: ExpectedOutcome, reading: Reading) -> float:
    """Return the variance from the error of the class ratio, through the plug-in value's derivative."""
    if reading.class_ratio is None:
        return 0.0
    ratio = reading.by_class
    values, vectors = np.linalg.eigh(np.nan_to_num(reading.class_ratio.covariance))
    variance = 0.0
    for value, vector in zip(values, vectors.T):
        if value <= 1e-12:
            continue
        step = np.sqrt(value) * vector
        # ``expected`` already holds the ratio, so a factor moves it to a neighbouring one.
        ends = [
            plug_in(
                metric,
                live,
                shift_posterior(expected.target, np.maximum(1 + sign * step / ratio, 1e-3)),
            )
            for sign in (-1.0, 1.0)
        ]
        variance += (0.5 * (ends[1] - ends[0])) ** 2
    return variance
