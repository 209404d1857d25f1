"""What is left of an estimate if the relation moved: its wider interval, and its worth in labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from steelyard.auditing.learn.backtest import Tested
from steelyard.auditing.learn.environments import LEAST_TESTED, Environments
from steelyard.auditing.record import USUAL_CONFIDENCE, USUAL_MOVE
from steelyard.auditing.result import Backtest, Finding, Performance, Relation
from steelyard.evaluation import METRICS, MoveSpread, move_spread
from steelyard.evaluation.links import Link

_Z = 1.959963984540054


@dataclass(frozen=True)
class Moves:
    """How far the relation may have moved: by metric, in standard deviations of a row's residual effect."""

    environments: Environments | None
    tested: tuple[Tested, ...]
    spreads: Mapping[str, MoveSpread]

    @property
    def share(self) -> float:
        """Share of a move's variance that LIVE is due."""
        return 1.0 if self.environments is None else self.environments.share

    def spread(self, metric: str) -> MoveSpread:
        """Return what is known of a metric's moves."""
        return self.spreads.get(metric, _RECORD)

    @property
    def rests_on_train(self) -> bool:
        """Whether TRAIN's own parts say how far relations move."""
        return bool(self.spreads)


_RECORD = move_spread(usual=USUAL_MOVE, confidence=USUAL_CONFIDENCE)


def moves(environments: Environments | None, tested: Sequence[Tested]) -> Moves:
    """Learn from the errors in TRAIN's environments how far the relation moves, each metric by itself."""
    spreads = {}
    for metric in dict.fromkeys(t.metric for t in tested):
        known = [t for t in tested if t.metric == metric and t.move is not None]
        if len(known) < LEAST_TESTED:
            continue
        gaps = [t.gap for t in known if t.gap is not None]
        spreads[metric] = move_spread(
            [t.move for t in known],
            [t.standard_error / t.spread for t in known],
            usual=USUAL_MOVE,
            confidence=USUAL_CONFIDENCE,
            gaps=gaps if len(gaps) == len(known) and sum(gaps) > 0 else None,
            gap=None if environments is None else environments.gap,
        )
    return Moves(environments, tuple(tested), spreads)


def drifted(row: Performance, standard_error: float, unit: float, found: Moves) -> Performance:
    """Return a metric's row with the interval that allows for a move, and its worth in labels.

    ``standard_error`` is the estimate's if nothing moved, ``unit`` the standard deviation of a row's
    residual effect on the metric.
    """
    if row.live_estimate is None or row.low is None or row.high is None or not unit > 0:
        return row
    half = unit * found.spread(row.metric).half_width(standard_error / unit, share=found.share)
    low, high = Link.of(METRICS[row.metric]).around(row.live_estimate, half)
    return replace(
        row,
        drift_low=min(low, row.low),
        drift_high=max(high, row.high),
        worth_labels=int((_Z * unit / half) ** 2) if half > 0 else None,
    )


def relation_record(found: Moves, units: Mapping[str, float]) -> Relation:
    """Return what the drift intervals rest on; ``units`` are the metrics' on LIVE."""
    environments = found.environments if found.rests_on_train else None
    return Relation(
        source="record" if environments is None else environments.source,
        column=None if environments is None else environments.column,
        spread={
            name: float(found.spread(name).typical * unit * np.sqrt(found.share))
            for name, unit in units.items()
        },
        environments=tuple(dict.fromkeys(t.environment for t in found.tested)),
        backtest=tuple(
            Backtest(
                t.environment, t.metric, "doubly robust", t.rows, t.naive, t.estimate, t.low, t.high, t.actual
            )
            for t in found.tested
        ),
    )


def relation_findings(found: Moves, *, deployed: bool) -> tuple[Finding, ...]:
    """Tell what is odd about the environments, and what the backtest cannot see."""
    if found.environments is None:
        return ()
    told = list(found.environments.findings)
    if deployed and found.tested:
        text = (
            "The backtest uses the deployed output on TRAIN's environments. If the model was fitted on those "
            "rows, the relation looks steadier than it is; give an output that has not seen them."
        )
        told.append(Finding("backtest-may-know-train", "info", text, step="estimate"))
    if not found.rests_on_train and found.environments.tests:
        text = (
            f"In fewer than {LEAST_TESTED} environments by '{found.environments.column}' could the others' "
            "weights be trusted, so the drift intervals rest on how relations moved elsewhere."
        )
        told.append(Finding("backtest-inconclusive", "warning", text, step="estimate"))
    return tuple(told)
