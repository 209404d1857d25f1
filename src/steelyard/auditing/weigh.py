"""Step 3: how much does each TRAIN row count for LIVE, and can that be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learners import additive_classifier
from steelyard.auditing.limits import (
    LEVEL,
    MAX_OUTSIDE,
    SMOOTH_PARETO_K,
    UNCOVERED_RATIO,
)
from steelyard.auditing.result import Balance, Finding, WeightReport
from steelyard.auditing.say.trust import trust_of
from steelyard.auditing.shift import Detected
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError
from steelyard.montecarlo import follow_tail, pareto_k, pareto_smooth, smoothed_tail
from steelyard.numerics import as_generator, by_fold, draw_seed, effective_sample_size, mean_one
from steelyard.numerics.design import additive_design
from steelyard.weighting import (
    ClassifierRatio,
    ClassRatio,
    Region,
    RuLSIF,
    judge_weights,
    ratio_score,
    standardised_differences,
    uncovered_regions,
)

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
class ClassReading:
    """Weights if the classes' shares changed: the classes' ratios (K,), and what remains for LIVE rows."""

    weights: FloatArray
    weights_live: FloatArray
    class_ratio: ClassRatio
    rows: RowWeights


@dataclass(frozen=True)
class Weighed:
    """Weights of TRAIN rows (mean one) and of LIVE rows on the same scale, with their report.

    Where the classes' shares changed, a LIVE row weighs ``weights_live`` times
    the ratio of its class, which is not known: ``class_ratio`` then holds the
    ratios, (K,). ``other`` is the second reading where the kind of shift cannot
    be told. ``rows`` weighs further rows, and ``raw`` are TRAIN's log weights
    before their tail was smoothed, on the same scale.
    """

    weights: FloatArray
    weights_live: FloatArray
    class_ratio: FloatArray | None
    report: WeightReport
    regions: tuple[Region, ...]
    trusted: bool
    findings: tuple[Finding, ...]
    rows: RowWeights
    raw: FloatArray
    other: ClassReading | None = None


def weigh(tables: Tables, found: Detected, *, method: str = "auto", seed: int) -> Weighed:
    """Choose and compute the weights, and say what they rest on."""
    if method not in METHODS:
        raise InputError(f"there is no weighting {method!r}; choose from {', '.join(METHODS)}.")
    rng = as_generator(seed)
    log_w, log_w_live, name, rows = _log_weights(tables, found, method, seed=draw_seed(rng))
    k = pareto_k(log_w)
    raw = log_w
    if k is not None and k > SMOOTH_PARETO_K:
        log_w, _ = pareto_smooth(raw)
        rows = replace(rows, tail=smoothed_tail(raw, log_w))
        name += ", tail smoothed"
    shift = float(np.max(log_w) - np.max(mean_one(log_w)))
    rows = replace(rows, offset=rows.offset + shift)
    weights, weights_live = np.exp(mean_one(log_w)), np.exp(log_w_live - shift)

    kept = [f.categories for f in tables.features]
    regions: tuple[Region, ...] = ()
    outside = 0.0
    if name != "none":
        regions = uncovered_regions(
            tables.X,
            tables.X_live,
            names=[f.name for f in tables.features],
            categories=kept,
            max_ratio=UNCOVERED_RATIO,
            random_state=draw_seed(rng),
        )
        # A row is uncovered by the boosted ratio, whatever weights were chosen: it sees corners
        # that additive models and kernels smooth over.
        rowwise = float(np.mean(found.boosted.log_ratio_target_ > np.log(UNCOVERED_RATIO)))
        outside = max(sum(r.target_share for r in regions), rowwise)
    before = standardised_differences(tables.X, tables.X_live, categorical=tables.categorical)
    after = standardised_differences(tables.X, tables.X_live, weights=weights, categorical=tables.categorical)
    ess = effective_sample_size(weights)
    balance = tuple(Balance(f.name, float(a), float(b)) for f, a, b in zip(tables.features, before, after))
    report = with_trust(
        WeightReport(
            method=name,
            ess=ess,
            ess_fraction=ess / len(weights),
            pareto_k=k,
            max_share=float(weights.max() / weights.sum()),
            outside_support=float(min(outside, 1.0)),
            balance=balance,
        )
    )
    findings = judge(report, regions, len(weights))
    trusted = is_trusted(findings)
    by_class = None
    if found.class_ratio is not None and name.startswith("label_shift"):
        by_class = np.maximum(found.class_ratio.ratio, 1e-6)
    other = None
    if found.shift.kind == "cannot tell" and found.class_ratio is not None:
        other = _class_reading(tables, found, seed=draw_seed(rng))
    return Weighed(
        weights, weights_live, by_class, report, regions, trusted, findings, rows, raw - shift, other
    )


def reconsider(found: Detected, weighed: Weighed) -> Detected:
    """Withdraw the name of the shift where TRAIN does not reach LIVE.

    Every kind is told from the others by comparing like rows, and there are none.
    Where there are a few, it is only the claim that the relation changed which
    they cannot carry.
    """
    refuted = found.shift.kind == "concept" and not weighed.trusted
    if weighed.report.outside_support <= MAX_OUTSIDE and not refuted:
        return found
    shift = replace(found.shift, kind="cannot tell")
    unnamed = tuple(f for f in found.findings if f.id not in ("shift-kind", "concept-shift"))
    return replace(found, shift=shift, findings=unnamed)


def _log_weights(
    tables: Tables, found: Detected, method: str, *, seed: int
) -> tuple[FloatArray, FloatArray, str, RowWeights]:
    nothing = np.zeros(len(tables.X)), np.zeros(len(tables.X_live)), "none", RowWeights()
    kind = found.shift.kind
    if method == "none" or (method == "auto" and (kind == "none" or not _moved(found))):
        return nothing
    if method == "label_shift" and found.class_ratio is None:
        raise InputError("weighting 'label_shift' needs classes, and a shift that their shares can explain.")
    if found.class_ratio is not None and (
        method == "label_shift" or (method == "auto" and kind in ("label", "both"))
    ):
        codes = tables.y.astype(np.int64)
        log_ratio = np.log(np.maximum(found.class_ratio.ratio, 1e-6))
        if kind == "label" or method == "label_shift":
            nothing_live = np.zeros(len(tables.X_live))
            return log_ratio[codes], nothing_live, "label_shift", RowWeights(by_class=log_ratio)
        reading = _class_reading(tables, found, seed=seed)
        name = "label_shift and additive ratio"
        return np.log(reading.weights), np.log(reading.weights_live), name, reading.rows
    linear, boosted = found.linear, found.boosted
    candidates: dict[str, tuple[FloatArray, FloatArray, RowWeights]] = {
        "linear": (linear.log_ratio_, linear.log_ratio_target_, RowWeights(linear.log_ratio_by_fold)),
        "boosted": (boosted.log_ratio_, boosted.log_ratio_target_, RowWeights(boosted.log_ratio_by_fold)),
    }
    candidates["blend"] = _blend(found)
    if method in ("rulsif", "auto"):
        candidates["rulsif"] = _rulsif(tables, seed)
    if method == "auto":
        method = max(candidates, key=lambda name: ratio_score(*candidates[name][:2]))
    log_w, log_w_live, rows = candidates[method]
    return log_w, log_w_live, method, rows


def _moved(found: Detected) -> bool:
    return found.shift.p_value is not None and found.shift.p_value < LEVEL


@dataclass(frozen=True)
class _Blend:
    """The geometric mean of two ratios: errors that differ average out."""

    linear: ClassifierRatio
    boosted: ClassifierRatio

    def __call__(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return 0.5 * (self.linear.log_ratio_by_fold(X, fold) + self.boosted.log_ratio_by_fold(X, fold))


def _blend(found: Detected) -> tuple[FloatArray, FloatArray, RowWeights]:
    """Return the geometric mean of both ratios, scaled to mean one."""
    linear, boosted = found.linear, found.boosted
    source = 0.5 * (linear.log_ratio_ + boosted.log_ratio_)
    target = 0.5 * (linear.log_ratio_target_ + boosted.log_ratio_target_)
    return _centred(source, target, RowWeights(_Blend(linear, boosted)))


def _centred(
    source: FloatArray, target: FloatArray, rows: RowWeights
) -> tuple[FloatArray, FloatArray, RowWeights]:
    offset = float(source[0] - mean_one(source)[0])
    return source - offset, target - offset, replace(rows, offset=offset)


@dataclass(frozen=True)
class _Halves:
    """RuLSIF on either half of the rows."""

    models: tuple[RuLSIF, RuLSIF]
    design: Any

    def __call__(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return by_fold([model.log_ratio for model in self.models], fold % 2, self.design.transform(X))


def _rulsif(tables: Tables, seed: int) -> tuple[FloatArray, FloatArray, RowWeights]:
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
    return _centred(source, target, RowWeights(halves))


def _class_reading(tables: Tables, found: Detected, *, seed: int) -> ClassReading:
    """Return the classes' ratio, times the ratio of the columns that moved besides."""
    assert found.class_ratio is not None
    by_row = np.maximum(found.class_ratio.ratio, 1e-6)[tables.y.astype(np.int64)]
    moved = [j for j in range(tables.X.shape[1]) if j not in found.class_features]
    ratio = ClassifierRatio(
        additive_classifier(tables.categorical[moved]), max_rows=25_000, random_state=seed
    ).fit(
        tables.X[:, moved],
        X_target=tables.X_live[:, moved],
        sample_weight=by_row,
    )
    weights = by_row * ratio.weights()
    scale = weights.mean()
    rows = RowWeights(
        _OfColumns(ratio, tuple(moved)),
        np.log(np.maximum(found.class_ratio.ratio, 1e-6)),
        offset=float(np.log(scale)),
    )
    return ClassReading(weights / scale, np.exp(ratio.log_ratio_target_) / scale, found.class_ratio, rows)


@dataclass(frozen=True)
class _OfColumns:
    """A ratio that knows some of the columns only."""

    ratio: ClassifierRatio
    columns: tuple[int, ...]

    def __call__(self, X: FloatArray, fold: IntArray) -> FloatArray:
        return self.ratio.log_ratio_by_fold(X[:, self.columns], fold)


def is_trusted(findings: tuple[Finding, ...]) -> bool:
    """Whether the weights can carry estimates."""
    return not any(f.declines for f in findings)


def judge(report: WeightReport, regions: tuple[Region, ...], n: int) -> tuple[Finding, ...]:
    """Say what the figures of the weights forbid, and what they warn of; ``n`` rows of TRAIN."""
    concerns = judge_weights(
        rows=n,
        ess=report.ess,
        k=report.pareto_k,
        outside=report.outside_support,
        regions=regions,
        source="TRAIN",
        target="LIVE",
    )
    return tuple(Finding(c.id, c.severity, c.text, "weigh", c.severity == "error") for c in concerns)


def with_trust(report: WeightReport) -> WeightReport:
    """Return the report with what its figures say of trusting the weights."""
    trust, reason = trust_of(
        method_used=report.method != "none",
        ess=report.ess,
        pareto_k=report.pareto_k,
        outside=report.outside_support,
    )
    return replace(report, trust=trust, trust_reason=reason)
