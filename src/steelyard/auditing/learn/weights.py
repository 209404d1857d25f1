"""How much does each TRAIN row count for LIVE, under each reading of the shift; and what TRAIN covers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.asked import Ratio, as_asked
from steelyard.auditing.learn.readings import Reading
from steelyard.auditing.learn.shift import Detected
from steelyard.auditing.limits import SMOOTH_PARETO_K, UNCOVERED_RATIO
from steelyard.auditing.tables import Tables
from steelyard.montecarlo import follow_tail, pareto_k, pareto_smooth, smoothed_tail
from steelyard.numerics import as_generator, draw_seed, mean_one
from steelyard.weighting import Region, uncovered_regions
from steelyard.weighting.ratios.calibrated import CalibratedRatio
from steelyard.weighting.study import DomainStudy, Said

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowWeights:
    """Log weights of rows that come later, on the scale of those that were fitted.

    ``ratio`` is the part that follows from the columns and ``by_class``, (K,),
    that which follows from the class; either may be absent. ``tail`` holds raw
    and smoothed log weights, ascending: beyond the first of them the smoothed
    ones count.
    """

    ratio: Ratio | None = None
    by_class: FloatArray | None = None
    tail: tuple[FloatArray, FloatArray] | None = None
    offset: float = 0.0

    def source(self, X: FloatArray, y: FloatArray, fold: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return log weights of TRAIN rows, (n,), and those before the tail was smoothed."""
        raw = self._of_columns(X, fold)
        if self.by_class is not None:
            raw = raw + self.by_class[y.astype(np.int64)]
        log_w = follow_tail(raw, self.tail)
        return log_w - self.offset, raw - self.offset

    def target(self, X: FloatArray, fold: IntArray, known: Said | None = None) -> FloatArray:
        """Return log weights of LIVE rows, (n,), but for the ratio of their class, which is not known."""
        return self._of_columns(X, fold, known) - self.offset

    def _of_columns(self, X: FloatArray, fold: IntArray, known: Said | None = None) -> FloatArray:
        return np.zeros(len(X)) if self.ratio is None else self.ratio.by_fold(X, fold, known=known)


@dataclass(frozen=True)
class Weighted:
    """A reading of the shift with its weights, as logs: TRAIN's of mean one, LIVE's on the same scale.

    Where the classes' shares moved, a LIVE row weighs that times the ratio of its
    class, which is not known. ``raw`` are TRAIN's before their tail was smoothed,
    ``method`` says how they were found, and ``rows`` weighs further rows.
    """

    reading: Reading
    method: str
    source: FloatArray
    raw: FloatArray
    target: FloatArray
    rows: RowWeights

    @property
    def weights(self) -> FloatArray:
        """TRAIN's weights, of mean one."""
        return np.exp(self.source)


@dataclass(frozen=True)
class Cover:
    """Where LIVE has rows and TRAIN has almost none: as rules, and by the largest of some density ratios.

    ``outside`` are LIVE's sampled rows, ``ratio`` tells it of more.
    """

    regions: tuple[Region, ...]
    outside: npt.NDArray[np.bool_]
    ratio: Ratio


def weigh(
    tables: Tables, shift: Detected, *, weighting: Any = "auto", seed: int
) -> tuple[tuple[Weighted, ...], Cover]:
    """Return the weights under each reading of the shift, the leading one first, and what TRAIN covers."""
    rng = as_generator(seed)
    of_first, of_cover = (draw_seed(rng) for _ in range(2))
    asked = as_asked(weighting, tables, shift, seed=of_first)
    leading = shift.readings[0] if asked is None else asked.reading
    if asked is not None and asked.ratio is not None:
        first = _by_ratio(leading, asked.name, asked.ratio(shift.study))
    else:
        first = _weighted(tables, shift.study, leading)
    others = (_weighted(tables, shift.study, reading) for reading in shift.readings[1:])
    weighted = tuple(_finished(w) for w in (first, *others))
    # Asked of all, also of rows that are to count alike: what is not measured is not zero.
    return weighted, _cover(tables, shift.study, weighted[0].rows.ratio, seed=of_cover)


def _weighted(tables: Tables, study: DomainStudy, reading: Reading) -> Weighted:
    """Return a reading's weights: by the best ratio of the columns, by the classes' ratio, or by both."""
    n, m = len(tables.X), len(tables.X_live)
    by_class = reading.by_class
    if reading.name == "none":
        return Weighted(reading, "none", np.zeros(n), np.zeros(n), np.zeros(m), RowWeights())
    if by_class is None:
        chosen = study.auto()
        return _by_ratio(reading, chosen.chosen, chosen)
    of_class = np.log(by_class)[tables.y.astype(np.int64)]
    if not reading.moved:
        rows = RowWeights(by_class=np.log(by_class))
        return Weighted(reading, "label_shift", of_class, of_class, np.zeros(m), rows)
    ratio = study.learn("additive", columns=reading.moved, weights=np.exp(of_class))
    source = of_class + ratio.source
    rows = RowWeights(ratio, np.log(by_class))
    return Weighted(reading, "label_shift and additive ratio", source, source, ratio.target, rows)


def _by_ratio(reading: Reading, name: str, ratio: Ratio) -> Weighted:
    return Weighted(reading, name, ratio.source, ratio.source, ratio.target, RowWeights(ratio))


def _finished(weighted: Weighted) -> Weighted:
    """Return the weights with a heavy tail smoothed, on the scale of mean one."""
    raw = log_w = weighted.source
    rows, method = weighted.rows, weighted.method
    k = pareto_k(raw)
    if k is not None and k > SMOOTH_PARETO_K:
        log_w, _ = pareto_smooth(raw)
        rows = replace(rows, tail=smoothed_tail(raw, log_w))
        method += ", tail smoothed"
    source = mean_one(log_w)
    shift = float(np.max(log_w) - np.max(source))
    rows = replace(rows, offset=rows.offset + shift)
    return Weighted(weighted.reading, method, source, raw - shift, weighted.target - shift, rows)


def _cover(tables: Tables, study: DomainStudy, used: Ratio | None, *, seed: int) -> Cover:
    regions = uncovered_regions(
        tables.X,
        tables.X_live,
        names=[f.name for f in tables.features],
        categories=[f.categories for f in tables.features],
        max_ratio=UNCOVERED_RATIO,
        random_state=seed,
    )
    each: list[Any] = [study.learn(name) for name in ("additive", "boosted")]
    if used is not None:
        each.append(used)
    ratio = _Largest(tuple(map(CalibratedRatio.of, each)))
    return Cover(regions, ratio.target > np.log(UNCOVERED_RATIO), ratio)


@dataclass(frozen=True)
class _Largest:
    """The largest of some ratios: whether a row is covered is not left to the weights in use alone.

    Trees see corners that additive models smooth over, and a few hundred rows are too few for
    trees to tell how empty a place is.
    """

    each: tuple[CalibratedRatio, ...]

    @property
    def source(self) -> FloatArray:
        return self._largest(ratio.source for ratio in self.each)

    @property
    def target(self) -> FloatArray:
        return self._largest(ratio.target for ratio in self.each)

    def by_fold(self, X: Any, fold: IntArray, *, known: Said | None = None) -> FloatArray:
        return self._largest(ratio.by_fold(X, fold, known=known) for ratio in self.each)

    @staticmethod
    def _largest(values: Iterable[FloatArray]) -> FloatArray:
        return np.asarray(reduce(np.maximum, values))
