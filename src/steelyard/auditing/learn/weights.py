"""How much does each TRAIN row count for LIVE, under each reading of the shift; and what TRAIN covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.learners import additive_classifier
from steelyard.auditing.learn.readings import Reading
from steelyard.auditing.learn.shift import Detected
from steelyard.auditing.limits import SMOOTH_PARETO_K, UNCOVERED_RATIO
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError
from steelyard.montecarlo import follow_tail, pareto_k, pareto_smooth, smoothed_tail
from steelyard.numerics import as_generator, by_fold, draw_seed, mean_one
from steelyard.numerics.design import additive_design
from steelyard.weighting import ClassifierRatio, Region, RuLSIF, ratio_score, uncovered_regions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METHODS = ("auto", "none", "linear", "boosted", "blend", "rulsif", "label_shift")


@dataclass(frozen=True)
class RowWeights:
    """Log weights of rows that come later, on the scale of those that were fitted.

    ``ratio`` is the part that follows from the columns and ``by_class``, (K,),
    that which follows from the class; either may be absent. ``tail`` holds raw
    and smoothed log weights, ascending: beyond the first of them the smoothed
    ones count.
    """

    ratio: Callable[[FloatArray, IntArray], FloatArray] | None = None
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

    def target(self, X: FloatArray, fold: IntArray) -> FloatArray:
        """Return log weights of LIVE rows, (n,), but for the ratio of their class, which is not known."""
        return self._of_columns(X, fold) - self.offset

    def _of_columns(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return np.zeros(len(X)) if self.ratio is None else self.ratio(X, fold)


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
    """Where LIVE has rows and TRAIN has almost none: as rules, and by the flexible density ratio.

    ``outside`` are LIVE's sampled rows, ``ratio`` tells it of more; None where
    nothing is weighed, and so nothing asked of TRAIN's cover.
    """

    regions: tuple[Region, ...]
    outside: npt.NDArray[np.bool_]
    ratio: Callable[[FloatArray, IntArray], FloatArray] | None = None


def weigh(
    tables: Tables, shift: Detected, *, weighting: Any = "auto", seed: int
) -> tuple[tuple[Weighted, ...], Cover]:
    """Return the weights under each reading of the shift, the leading one first, and what TRAIN covers."""
    if weighting not in METHODS:
        raise InputError(f"there is no weighting {weighting!r}; choose from {', '.join(METHODS)}.")
    rng = as_generator(seed)
    of_first, of_cover, of_second = (draw_seed(rng) for _ in range(3))
    first, *others = _readings(shift, weighting)
    weighted = [_finished(_weighted(tables, shift, first, weighting, seed=of_first))]
    cover = Cover((), np.zeros(len(tables.X_live), dtype=bool))
    if first.name != "none":
        cover = _cover(tables, shift, seed=of_cover)
    weighted += [_finished(_weighted(tables, shift, other, "auto", seed=of_second)) for other in others]
    return tuple(weighted), cover


def _readings(shift: Detected, weighting: Any) -> tuple[Reading, ...]:
    """Return the readings that the weights are to stand on: the shift's own, or what was asked for."""
    if weighting == "auto":
        return shift.readings
    if weighting == "none":
        first = Reading("none")
    elif weighting == "label_shift":
        if shift.class_ratio is None:
            raise InputError(
                "weighting 'label_shift' needs classes, and a shift that their shares can explain."
            )
        first = Reading("classes", shift.class_ratio)
    else:
        first = Reading("columns")
    return (first, *shift.readings[1:])


def _weighted(tables: Tables, shift: Detected, reading: Reading, weighting: Any, *, seed: int) -> Weighted:
    n, m = len(tables.X), len(tables.X_live)
    by_class = reading.by_class
    if reading.name == "none":
        return Weighted(reading, "none", np.zeros(n), np.zeros(n), np.zeros(m), RowWeights())
    if by_class is None:
        return _by_columns(tables, shift, reading, weighting, seed=seed)
    of_class = np.log(by_class)[tables.y.astype(np.int64)]
    if not reading.moved:
        rows = RowWeights(by_class=np.log(by_class))
        return Weighted(reading, "label_shift", of_class, of_class, np.zeros(m), rows)
    moved = list(reading.moved)
    ratio = ClassifierRatio(
        additive_classifier(tables.categorical[moved]), max_rows=25_000, random_state=seed
    ).fit(tables.X[:, moved], X_target=tables.X_live[:, moved], sample_weight=np.exp(of_class))
    source = of_class + ratio.log_ratio_
    rows = RowWeights(_OfColumns(ratio, reading.moved), np.log(by_class))
    return Weighted(reading, "label_shift and additive ratio", source, source, ratio.log_ratio_target_, rows)


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


def _cover(tables: Tables, shift: Detected, *, seed: int) -> Cover:
    regions = uncovered_regions(
        tables.X,
        tables.X_live,
        names=[f.name for f in tables.features],
        categories=[f.categories for f in tables.features],
        max_ratio=UNCOVERED_RATIO,
        random_state=seed,
    )
    # A row is uncovered by the boosted ratio, whatever weights were chosen: it sees corners
    # that additive models and kernels smooth over.
    outside = shift.boosted.log_ratio_target_ > np.log(UNCOVERED_RATIO)
    return Cover(regions, outside, shift.boosted.log_ratio_by_fold)


Ratio = Callable[[FloatArray, IntArray], FloatArray]


def _by_columns(tables: Tables, shift: Detected, reading: Reading, method: Any, *, seed: int) -> Weighted:
    linear, boosted = shift.linear, shift.boosted
    candidates: dict[str, tuple[FloatArray, FloatArray, Ratio]] = {
        "linear": (linear.log_ratio_, linear.log_ratio_target_, linear.log_ratio_by_fold),
        "boosted": (boosted.log_ratio_, boosted.log_ratio_target_, boosted.log_ratio_by_fold),
        "blend": _blend(shift),
    }
    if method in ("rulsif", "auto"):
        candidates["rulsif"] = _rulsif(tables, seed)
    if method == "auto":
        method = max(candidates, key=lambda name: _score(*candidates[name][:2]))
    source, target, ratio = candidates[method]
    return Weighted(reading, method, source, source, target, RowWeights(ratio))


def _score(source: FloatArray, target: FloatArray) -> float:
    scale = float(source[0] - mean_one(source)[0])
    return ratio_score(source - scale, target - scale)


@dataclass(frozen=True)
class _Blend:
    """The geometric mean of two ratios: errors that differ average out."""

    linear: ClassifierRatio
    boosted: ClassifierRatio

    def __call__(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return 0.5 * (self.linear.log_ratio_by_fold(X, fold) + self.boosted.log_ratio_by_fold(X, fold))


def _blend(shift: Detected) -> tuple[FloatArray, FloatArray, Ratio]:
    """Return the geometric mean of both ratios."""
    linear, boosted = shift.linear, shift.boosted
    source = 0.5 * (linear.log_ratio_ + boosted.log_ratio_)
    return source, 0.5 * (linear.log_ratio_target_ + boosted.log_ratio_target_), _Blend(linear, boosted)


@dataclass(frozen=True)
class _Halves:
    """RuLSIF on either half of the rows."""

    models: tuple[RuLSIF, RuLSIF]
    design: Any

    def __call__(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return by_fold([model.log_ratio for model in self.models], fold % 2, self.design.transform(X))


def _rulsif(tables: Tables, seed: int) -> tuple[FloatArray, FloatArray, Ratio]:
    """Fit RuLSIF on each half of the rows and score the other, so that its score is a held-out one."""
    rng = as_generator(seed)
    design = additive_design(tables.categorical, n_knots=0, sparse=False, max_categories=10)
    design.fit(np.vstack([tables.X, tables.X_live]))
    half_s, half_t = rng.random(len(tables.X)) < 0.5, rng.random(len(tables.X_live)) < 0.5
    rows, rows_live = design.transform(tables.X), design.transform(tables.X_live)
    models = [
        RuLSIF(n_kernels=100, max_rows=5_000, random_state=draw_seed(rng)).fit(
            rows[half_s == side], X_target=rows_live[half_t == side]
        )
        for side in (True, False)
    ]
    halves = _Halves((models[0], models[1]), design)
    scores = [model.log_ratio for model in models]
    # The first model was fitted on the first half, and so judges the other.
    source = by_fold(scores, half_s.astype(np.int64), rows)
    target = by_fold(scores, half_t.astype(np.int64), rows_live)
    return source, target, halves


@dataclass(frozen=True)
class _OfColumns:
    """A ratio that knows some of the columns only."""

    ratio: ClassifierRatio
    columns: tuple[int, ...]

    def __call__(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return self.ratio.log_ratio_by_fold(X[:, self.columns], fold)
