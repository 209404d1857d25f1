"""All figures of the answer but the reasons and the advice, which rest on them."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.result import (
    ColumnNote,
    Finding,
    Performance,
    Prediction,
    Relation,
    Shift,
    WeightReport,
    Window,
)
from steelyard.auditing.say.columns import described, moved_by
from steelyard.auditing.say.coverage import prediction_record, unbounded_finding
from steelyard.auditing.say.performance import (
    estimates,
    performance_rows,
    residual_units,
    window_rows,
    withheld_finding,
)
from steelyard.auditing.say.relation import Moves, relation_findings, relation_record
from steelyard.auditing.say.shift import shift_record
from steelyard.auditing.say.weights import weight_findings, weight_report
from steelyard.auditing.sides import Sides
from steelyard.auditing.sums import LiveSums, TrainSums


@dataclass(frozen=True)
class Figures:
    """What is known of the two sides."""

    rows: dict[str, int]
    notes: tuple[ColumnNote, ...]
    weights: WeightReport
    shift: Shift
    performance: tuple[Performance, ...]
    windows: tuple[Window, ...]
    relation: Relation
    prediction: Prediction
    findings: tuple[Finding, ...]

    @property
    def labelled(self) -> bool:
        """Whether LIVE's labels have arrived."""
        return self.performance[0].live_actual is not None

    @property
    def declined(self) -> str:
        """Why the weights cannot be trusted, the first reason."""
        return next((f.text for f in self.findings if f.declines), "")


def figures(sampled: Sampled, train: TrainSums, live: LiveSums, sides: Sides, moved: Moves) -> Figures:
    """Say what the sums show; whether the weights can be trusted is decided first, and once."""
    notes, of_columns = described(sampled.sample.tables, train, live, sides)
    weights = weight_report(sampled, train, live)
    trusted = weights.trusted
    shift, of_shift = shift_record(sampled, weights)
    found = estimates(sampled, train, live)
    units = residual_units(sampled, train)
    performance = performance_rows(sampled, found, shift.kind, trusted, train, live, moved, units)
    return Figures(
        rows={"train": train.counts.labelled, "live": live.rows},
        notes=notes,
        weights=weights,
        shift=shift,
        performance=performance,
        windows=window_rows(sampled, found, performance, trusted, train, live, sides.cutter, moved, units),
        relation=relation_record(moved, units),
        prediction=prediction_record(sampled, trusted, live),
        findings=(
            *of_columns,
            *sampled.sample.model.findings,
            *sides.findings(),
            *of_shift,
            *weight_findings(weights, sampled, train, faulty=any(moved_by(f) for f in of_columns)),
            *withheld_finding(trusted),
            *relation_findings(moved, deployed=not sampled.sample.model.made_here),
            *unbounded_finding(sampled.calibrated.coverage.alpha, live),
        ),
    )
