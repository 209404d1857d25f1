"""Which constants of the record fit the moves that were seen, and what its intervals would then be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.real_shifts.score import FloatArray, Method, Record, Summary, moves, summary, weights_of
from steelyard.evaluation import METRICS, move_spread
from steelyard.evaluation.links import Link

CONFIDENCES = (1.0, 2.0, 3.0, 4.0, 8.0, 30.0)
_Z = 1.959963984540054
_MOVES = np.geomspace(0.005, 0.6, 60)
_AGAIN = Method("the record with other constants", "estimate", "again_low", "again_high")


@dataclass(frozen=True)
class Fit:
    """A usual move and its confidence; how likely they make what was seen, and their intervals.

    ``density`` is the mean log density of a table's moves; ``low`` and ``high`` are the move's 95% interval
    over resampled tables.
    """

    move: float
    low: float
    high: float
    confidence: float
    density: float
    intervals: Summary


def fitted(records: Sequence[Record], confidence: float) -> Fit:
    """Fit the law of moves that the audit assumes: Student's t with given degrees of freedom, by its scale.

    Parameters
    ----------
    records : sequence of mappings
        With an estimate and its interval; tables weigh the same.
    confidence : float

    Notes
    -----
    Maximum likelihood on a grid; chance is a normal of the estimate's own standard error.
    """
    tables, table = np.unique([r["table"] for r in records], return_inverse=True)
    weights = weights_of(records)
    # (move, table)
    grid = np.array(
        [np.bincount(table, weights=weights * _logs(records, move, confidence)) for move in _MOVES]
    )
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(tables), (400, len(tables)))
    again = _MOVES[[int(grid[:, rows].sum(axis=1).argmax()) for rows in drawn]]
    low, high = np.quantile(again, [0.025, 0.975])
    best = float(_MOVES[int(grid.sum(axis=1).argmax())])
    return Fit(best, float(low), float(high), confidence, *_said(records, best, confidence))


def stated(records: Sequence[Record], move: float, confidence: float) -> Fit:
    """Return the same of constants that are given."""
    return Fit(move, move, move, confidence, *_said(records, move, confidence))


def _said(records: Sequence[Record], move: float, confidence: float) -> tuple[float, Summary]:
    density = float(weights_of(records) @ _logs(records, move, confidence))
    found = summary([_with_interval(r, move, confidence) for r in records], _AGAIN)
    assert found is not None
    return density, found


def _logs(records: Sequence[Record], move: float, confidence: float) -> FloatArray:
    """Return the log density of each record's move."""
    law = move_spread(usual=move, confidence=confidence)
    e, error = moves(records), np.array([_standard_error(r) for r in records])
    scale = np.sqrt(error[:, None] ** 2 + law.spreads**2)
    density = np.exp(-0.5 * (e[:, None] / scale) ** 2) / scale @ law.weights / np.sqrt(2 * np.pi)
    return np.log(np.maximum(density, 1e-300))


def _standard_error(record: Record) -> float:
    """Return the estimate's standard error if nothing moved, in units, from its 95% interval."""
    return float((record["high"] - record["low"]) / (2 * _Z * record["unit"]))


def _with_interval(record: Record, move: float, confidence: float) -> Record:
    """Return a record with the interval that the audit would state by these constants."""
    law = move_spread(usual=move, confidence=confidence)
    half = record["unit"] * law.half_width(_standard_error(record))
    low, high = Link.of(METRICS[record["metric"]]).around(record["estimate"], half)
    return {
        **record,
        "again_low": min(low, record["low"]),
        "again_high": max(high, record["high"]),
    }
