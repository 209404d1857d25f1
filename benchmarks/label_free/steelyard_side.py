"""steelyard's answers, through its public interface alone."""

from __future__ import annotations

from dataclasses import dataclass

import steelyard
from benchmarks.label_free.case import OUTPUT, Case


@dataclass(frozen=True)
class Answer:
    """One estimate with its interval; ``value`` is None where the audit declined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Audited:
    """The estimates of each window, and what the audit said of the whole."""

    windows: list[dict[str, Answer]]
    shift: str
    inconclusive: str | None
    method: str


def audited(case: Case) -> Audited:
    """Audit a case once; its windows come from the same audit."""
    output = {"proba": OUTPUT} if case.kind == "classification" else {"prediction": OUTPUT}
    count = len(case.windows)
    result = steelyard.audit(
        case.train,
        case.live,
        target=case.target,
        metrics=list(case.metrics),
        every=case.every if count > 1 else None,
        **output,
    )
    tables = [w.performance for w in result.windows] if count > 1 else [result.performance]
    if len(tables) != count:
        raise RuntimeError(f"{case.name}: the audit cut {len(tables)} windows where {count} were meant")
    windows = [{row.metric: Answer(row.live_estimate, row.low, row.high) for row in rows} for rows in tables]
    weights = result.weights.method if result.weights else "none"
    return Audited(windows, result.shift.kind, result.inconclusive, weights)
