"""From records to figures: every table counts once, and intervals of shares are over tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Record = Mapping[str, Any]
FloatArray = npt.NDArray[np.float64]

ALPHA = 0.05
_DRAWS = 4_000


@dataclass(frozen=True)
class Method:
    """Who says what: the record's keys of a value and of the ends of its 95% interval."""

    name: str
    value: str
    low: str
    high: str

    def answered(self, record: Record) -> bool:
        """Whether it gave an interval."""
        return record[self.low] is not None and record[self.high] is not None


CARRIED = Method("carried over", "naive", "naive_low", "naive_high")
COVARIATE = Method("audit, if the relation holds", "estimate", "low", "high")
USUAL = Method("audit, by the record", "estimate", "record_low", "record_high")
DRIFT = Method("audit, by TRAIN's environments", "estimate", "drift_low", "drift_high")
PEER = Method("CBPE / DLE", "peer", "peer_low", "peer_high")


@dataclass(frozen=True)
class Summary:
    """Of some records by one method, in standard deviations of a row's residual effect where it is a length.

    ``held_low`` and ``held_high`` are the 95% interval of ``held`` over resampled tables; ``score`` is
    Winkler's: the interval's width, and 2 / 0.05 times how far the value lies outside.
    """

    tables: int
    records: int
    held: float
    held_low: float
    held_high: float
    half_width: float
    score: float
    error: float


def summary(records: Sequence[Record], method: Method) -> Summary | None:
    """Return how a method did on the records that it answered; None if there are none."""
    known = [r for r in records if method.answered(r)]
    if not known:
        return None
    held = by_table(known, lambda r: float(r[method.low] <= r["actual"] <= r[method.high]))
    low, high = clustered(held)
    return Summary(
        tables=len(held),
        records=len(known),
        held=float(held.mean()),
        held_low=low,
        held_high=high,
        half_width=_mean(known, lambda r: (r[method.high] - r[method.low]) / 2 / r["unit"]),
        score=_mean(known, lambda r: winkler(r["actual"], r[method.low], r[method.high]) / r["unit"]),
        error=_mean(known, lambda r: abs(r["actual"] - r[method.value]) / r["unit"]),
    )


def winkler(actual: float, low: float, high: float, *, alpha: float = ALPHA) -> float:
    """Return the interval score: smaller is better, and the right quantiles have the smallest."""
    return (high - low) + 2 / alpha * (max(low - actual, 0.0) + max(actual - high, 0.0))


def by_table(records: Sequence[Record], value: Callable[[Record], float]) -> FloatArray:
    """Return each table's mean of a value."""
    groups: dict[str, list[float]] = defaultdict(list)
    for record in records:
        groups[record["table"]].append(value(record))
    return np.array([np.mean(members) for members in groups.values()])


def clustered(means: FloatArray) -> tuple[float, float]:
    """Return the 95% interval of a mean over tables, the tables drawn anew."""
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(0, len(means), (_DRAWS, len(means)))].mean(axis=1)
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def _mean(records: Sequence[Record], value: Callable[[Record], float]) -> float:
    return float(by_table(records, value).mean())


def kinds(records: Sequence[Record]) -> Counter[str]:
    """Return how often each kind of shift was named, each shift once."""
    return Counter({(r["table"], r["live"]): r["shift"] for r in records}.values())


def weights_of(records: Sequence[Record]) -> FloatArray:
    """Return weights that sum to one, and to the same within every table."""
    counts = Counter(r["table"] for r in records)
    return np.array([1 / counts[r["table"]] for r in records]) / len(counts)


def moves(records: Sequence[Record]) -> FloatArray:
    """Return how far the value lies from the estimate, in units."""
    return np.array([(r["actual"] - r["estimate"]) / r["unit"] for r in records])


def quantiles(records: Sequence[Record], levels: Sequence[float]) -> list[float]:
    """Return quantiles of the moves' sizes, every table weighing the same."""
    sizes, weights = np.abs(moves(records)), weights_of(records)
    order = np.argsort(sizes)
    reached = np.cumsum(weights[order])
    return [float(sizes[order][min(np.searchsorted(reached, q - 1e-12), len(sizes) - 1)]) for q in levels]
