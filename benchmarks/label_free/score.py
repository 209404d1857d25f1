"""From one record a window to one row of the table: errors, paired differences, verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.label_free.case import FloatArray

OURS = "steelyard"
LEVEL = 0.95


@dataclass(frozen=True)
class Record:
    """One metric of one window: what it was, and what each method said of it beforehand."""

    case: str
    row: str
    window: int
    metric: str
    actual: float
    noise: float
    low: float | None
    high: float | None
    estimates: dict[str, float | None]


def rows_of(records: Sequence[Record], *, pooled: str | None = None) -> list[dict[str, Any]]:
    """Summarise the records of each row and metric; ``pooled`` names a row that takes all of them."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.row, record.metric].append(record)
    if pooled:
        for record in records:
            groups[pooled, record.metric].append(record)
    return [
        {"row": row, "metric": metric, **summary(members, clustered=row == pooled)}
        for (row, metric), members in groups.items()
    ]


def summary(records: Sequence[Record], *, clustered: bool = False) -> dict[str, Any]:
    """Return the mean absolute error of each method and how ours compares with the best of the others.

    Parameters
    ----------
    records : sequence of Record
        Of one metric.
    clustered : bool
        Take the mean of each case first: every case counts once, and the standard
        error is over cases.

    Returns
    -------
    dict
        ``windows``, ``answered``, ``noise``, ``errors`` by method, ``best`` (the
        other method with the least error on the windows that ours answered),
        ``difference`` (ours minus best, of absolute errors), ``se``, ``verdict``,
        ``bias`` (ours), ``held`` (share of our intervals that held the realised
        value) and ``width`` (their mean).
    """
    answered = [r for r in records if r.estimates[OURS] is not None]
    methods = list(records[0].estimates)
    out: dict[str, Any] = {
        "windows": len(records),
        "answered": len(answered),
        "noise": float(np.mean([r.noise for r in records])),
        "errors": {m: _error(answered if m == OURS else records, m, clustered) for m in methods},
        "best": None,
        "difference": None,
        "se": None,
        "verdict": "inconclusive",
        "bias": None,
        "held": None,
        "width": None,
    }
    if not answered:
        return out
    others = {m: _error(answered, m, clustered) for m in methods if m != OURS}
    best = min((m for m in others if others[m] is not None), key=lambda m: others[m])
    gaps = _by_case(answered, [_gap(r, OURS) - _gap(r, best) for r in answered], clustered)
    difference = float(gaps.mean())
    se = float(gaps.std(ddof=1) / np.sqrt(gaps.size)) if gaps.size > 1 else None
    # One window has no standard error; the floor is how far chance alone can move one error.
    margin = out["noise"] if se is None else float(t.ppf(0.5 + LEVEL / 2, gaps.size - 1)) * se
    verdict = "same" if abs(difference) <= margin else ("better" if difference < 0 else "worse")
    ranged = [r for r in answered if r.low is not None and r.high is not None]
    out |= {
        "best": best,
        "difference": difference,
        "se": se,
        "verdict": verdict,
        "bias": float(np.mean([r.estimates[OURS] - r.actual for r in answered])),
    }
    if ranged:
        out["held"] = float(np.mean([r.low <= r.actual <= r.high for r in ranged]))
        out["width"] = float(np.mean([r.high - r.low for r in ranged]))
    return out


def _gap(record: Record, method: str) -> float:
    value = record.estimates[method]
    return float("nan") if value is None else abs(value - record.actual)


def _error(records: Sequence[Record], method: str, clustered: bool) -> float | None:
    """Return the mean absolute error, or None unless the method answered every window."""
    if not records or any(r.estimates[method] is None for r in records):
        return None
    return float(_by_case(records, [_gap(r, method) for r in records], clustered).mean())


def _by_case(records: Sequence[Record], values: Sequence[float], clustered: bool) -> FloatArray:
    """Return the values as they are, or the mean of each case."""
    array = np.asarray(values, dtype=np.float64)
    if not clustered:
        return array
    names = np.array([r.case for r in records])
    return np.array([array[names == name].mean() for name in dict.fromkeys(names)])
