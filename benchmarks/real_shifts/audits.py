"""The two audits of a shift, through the public interface, and what they said beside what was."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

import steelyard
from benchmarks.real_shifts.measure import CLASSES, NUMBERS, FloatArray, carried_over, measured
from benchmarks.real_shifts.shifts import Shift, half_of
from benchmarks.real_shifts.tables import ENVIRONMENT, TARGET
from steelyard.auditing.learn.model import model_output
from steelyard.auditing.question import Question
from steelyard.auditing.reading.read import read_tables
from steelyard.auditing.record import USUAL_CONFIDENCE, USUAL_MOVE
from steelyard.errors import InputError
from steelyard.evaluation import move_spread

Record = dict[str, Any]

SEED = 0


@dataclass(frozen=True)
class Audited:
    """One record a metric, and the model's output on both sides for the peers."""

    records: list[Record]
    train_output: FloatArray
    live_output: FloatArray


def metrics_of(shift: Shift) -> tuple[str, ...]:
    """Return the metrics that are judged."""
    return CLASSES if shift.table.classes else NUMBERS


def audited(shift: Shift) -> Audited:
    """Audit a shift with its environments and without, then uncover the labels.

    The unit of a metric is the audit's own: the standard deviation of a row's residual effect, as it is
    said without LIVE's labels. The record's usual move is so many of it, and is told in the metric's
    units where no environments are named.
    """
    metrics = metrics_of(shift)
    started = time.perf_counter()
    without = _audit(shift, exclude=ENVIRONMENT)
    between = time.perf_counter()
    named, refused = _with_environments(shift)
    ended = time.perf_counter()
    named = without if named is None else named
    live_output = _output(without.row_predictions, shift.table.classes)
    train_y, train_output = shift.train[TARGET].to_numpy().astype(np.float64), _train_output(shift)
    typical = move_spread(usual=USUAL_MOVE, confidence=USUAL_CONFIDENCE).typical
    truth = shift.truth.astype(np.float64)
    records = []
    for metric, plain, moved in zip(metrics, without.performance, named.performance, strict=True):
        low, high = carried_over(metric, train_y, train_output, len(truth))
        records.append(
            {
                "table": shift.table.name,
                "half": half_of(shift.table),
                "kind": shift.table.kind,
                "live": shift.live_name,
                "train_rows": shift.train.height,
                "live_rows": len(truth),
                "metric": metric,
                "unit": without.relation.spread[metric] / typical,
                "actual": measured(metric, truth, live_output),
                "naive": plain.naive,
                "naive_low": low,
                "naive_high": high,
                "estimate": plain.live_estimate,
                "low": plain.low,
                "high": plain.high,
                "record_low": plain.drift_low,
                "record_high": plain.drift_high,
                "drift_low": moved.drift_low,
                "drift_high": moved.drift_high,
                "source": named.relation.source,
                "environments": len(named.relation.environments),
                "backtest": [
                    [b.rows, b.naive, b.estimate, b.low, b.high, b.actual]
                    for b in named.relation.backtest
                    if b.metric == metric
                ],
                "not_backtested": refused,
                "shift": without.shift.kind,
                "trusted": without.weights.trusted,
                "why_not": None if without.weights.trusted else without.weights.trust_reason,
                "findings": sorted({f.id for f in named.findings if f.severity != "info"}),
                "seconds": round(ended - between, 2),
                "seconds_without": round(between - started, 2),
            }
        )
    return Audited(records, train_output, live_output)


def _with_environments(shift: Shift) -> tuple[Any, str | None]:
    """Audit with time or environments, as far as TRAIN has enough of either; and why not, if not.

    A time of which TRAIN has too few stretches may still have environments enough, as the refusal of the
    former says in effect; with too few of either the record's interval is all there is.
    """
    values = shift.train[ENVIRONMENT].n_unique()
    tries = [
        option
        for option, least in (("time", 5), ("environment", 3))
        if values >= least and (option == "environment" or shift.table.kind == "time")
    ]
    reasons = [] if tries else [f"TRAIN has {values} environments"]
    for option in tries:
        try:
            return _audit(shift, **{option: ENVIRONMENT}), "; ".join(reasons) or None
        except InputError as error:
            reasons.append(str(error))
    return None, "; ".join(reasons)


def _audit(shift: Shift, **options: Any) -> Any:
    return steelyard.audit(
        shift.train,
        shift.live,
        target=TARGET,
        task="classification" if shift.table.classes else "regression",
        metrics=metrics_of(shift),
        seed=SEED,
        **options,
    )


def _output(columns: Any, classes: bool) -> FloatArray:
    return np.asarray(columns["proba_1" if classes else "prediction"], dtype=np.float64)


def _train_output(shift: Shift) -> FloatArray:
    """Return the output on TRAIN of the model that the audit made: the same seed makes the same one."""
    live = shift.live.drop(ENVIRONMENT)
    tables = read_tables(shift.train.drop(ENVIRONMENT), live, target=TARGET, positive=None)
    made = model_output(tables, random_state=Question(target=TARGET, seed=SEED).seeds.model).train
    return np.asarray(made.proba[:, 1] if shift.table.classes else made.value, dtype=np.float64)


def with_output(frame: pl.DataFrame, output: FloatArray) -> pl.DataFrame:
    """Return a side as the peers get it: features, the model's output, and TRAIN's labels."""
    return frame.drop(ENVIRONMENT).with_columns(pl.Series("output", output))
