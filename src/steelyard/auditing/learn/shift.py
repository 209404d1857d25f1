"""Do the tables differ, in which columns, and which kind of shift is it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from steelyard.auditing.learn.learners import boosted_classifier, domain_scorer
from steelyard.auditing.learn.readings import Reading
from steelyard.auditing.limits import LEVEL
from steelyard.auditing.result import FeatureShift, Finding, Interval, ShiftKind
from steelyard.auditing.tables import Sample, Tables, predicted_numbers
from steelyard.divergences import auc_interval, benjamini_hochberg, column_shift, prequential_test
from steelyard.evaluation import ExpectedOutcome
from steelyard.numerics import as_generator, draw_seed, effective_sample_size
from steelyard.weighting import (
    ClassRatio,
    LabelShiftEM,
    em_class_ratio,
    label_shift_ratio,
    ratio_score,
)
from steelyard.weighting.study import DomainStudy

FloatArray = npt.NDArray[np.float64]

# A class ratio counts as changed when it is this many standard errors from one.
_CLEAR = 2.5
# Rows a side from which the ratio of the classes is estimated by some of the columns.
_RATIO_ROWS = 20_000
# Far below what the error of the estimated ratio of the classes makes of columns that they explain.
_REFUTED = 1e-8


@dataclass(frozen=True)
class Named:
    """The kind of a shift, the readings of it that fit (the first leads), and why it is so named."""

    kind: ShiftKind
    readings: tuple[Reading, ...]
    why: str


@dataclass(frozen=True)
class Detected:
    """Whether and how the tables differ, and the study of that which later steps ask again."""

    kind: ShiftKind
    readings: tuple[Reading, ...]
    auc: Interval
    p_value: float
    detectable_auc: float
    features: tuple[FeatureShift, ...]
    study: DomainStudy
    why: str = ""
    class_ratio: ClassRatio | None = None

    def findings(self) -> tuple[Finding, ...]:
        """Tell why the shift is so named."""
        if not self.why:
            return ()
        if self.kind == "concept":
            return (Finding("concept-shift", "warning", self.why, step="shift"),)
        return (Finding("shift-kind", "info", self.why, step="shift"),)


_UNMOVED = Reading("none")
_COLUMNS = Reading("columns")


def detect(sample: Sample, *, seed: int) -> Detected:
    """Test for a shift, measure each column's, and name the kind."""
    rng = as_generator(seed)
    tables = sample.tables
    X, X_live, categorical = tables.X, tables.X_live, tables.categorical
    # Its level is exact because its models have seen no row that they score, so it has models of its own.
    test = prequential_test(X, X_live, scorer=domain_scorer(categorical), random_state=draw_seed(rng))
    study = DomainStudy(X, X_live, categorical=categorical, random_state=draw_seed(rng))
    shifted = test.p_value < LEVEL
    # Where nothing moved the best ratio is a constant, which would tell nobody how little can be seen.
    ratios = (study.auto() if shifted else study.learn("additive"), study.learn("boosted"))
    better = max(ratios, key=lambda ratio: ratio_score(ratio.source, ratio.target))
    auc, low, high = auc_interval(better.source, better.target)
    features = _features(tables)
    named = Named("none", (_UNMOVED,), "")
    if shifted:
        named = _name(sample, study, features, seed=draw_seed(rng))
    class_ratio = named.readings[-1].class_ratio
    if tables.y_live is not None and named.kind in ("none", "covariate", "both"):
        like_live = np.exp(better.source) if named.kind == "covariate" else None
        moved = _relation_moved(sample, tables.y_live, named.readings[0], like_live)
        if moved is not None:
            # What the classes' shares explained besides is not believed any more.
            readings = named.readings if named.kind == "none" else (_COLUMNS,)
            named = Named("concept", readings, moved)
    return Detected(
        named.kind,
        named.readings,
        Interval(auc, low, high),
        test.p_value,
        test.detectable_auc,
        features,
        study,
        named.why,
        class_ratio,
    )


def _features(tables: Tables, sample_weight: FloatArray | None = None) -> tuple[FeatureShift, ...]:
    measured = [
        column_shift(
            tables.X[:, j], tables.X_live[:, j], categorical=bool(is_code), sample_weight=sample_weight
        )
        for j, is_code in enumerate(tables.categorical)
    ]
    adjusted = benjamini_hochberg([p for _, p in measured])
    rows = [
        FeatureShift(f.name, effect, float(p))
        for f, (effect, _), p in zip(tables.features, measured, adjusted)
    ]
    return tuple(sorted(rows, key=lambda r: -r.effect))


def _name(sample: Sample, study: DomainStudy, features: tuple[FeatureShift, ...], *, seed: int) -> Named:
    """Name a shift that was found, by which restricted explanation leaves nothing unexplained.

    Label shift and label shift with a few moved columns make predictions that
    unlabelled data can refute; covariate shift does not, so it is what remains.
    """
    tables = sample.tables
    if tables.classes is None:
        return Named(
            "covariate",
            (_COLUMNS,),
            "Covariate shift is assumed: without labels, a change in the relation between a number "
            "and its features cannot be seen.",
        )
    codes = tables.y.astype(np.int64)
    known = _labelled_ratio(tables, codes)
    ratio = known or _fitted_ratio(sample.expected, codes, seed)
    everything = tuple(range(tables.X.shape[1]))
    beyond = _beyond_classes(tables, ratio)
    # A column that moved far beyond the classes' shares refutes them alone, at a fraction of the test's cost.
    refuted = min(beyond.values(), default=1.0) < _REFUTED
    if not refuted and _differs(ratio) and _explains(tables, ratio, everything, seed):
        return Named(
            "label",
            (Reading("classes", ratio),),
            "Once TRAIN's classes are reweighted to the shares that LIVE seems to have, a classifier "
            "cannot tell the tables apart: the shares of the classes changed, and nothing else shows.",
        )
    moved = tuple(j for j, p in beyond.items() if p < LEVEL)
    if 0 < len(moved) <= tables.X.shape[1] // 2:
        rest = tuple(j for j in everything if j not in moved)
        # What costs least is asked first.
        if not _columns_explain(tables, study, moved, rest, seed):
            partial = known or _partial_ratio(tables, rest, seed)
            if _differs(partial) and _explains(tables, partial, rest, seed):
                names = ", ".join(tables.features[j].name for j in moved)
                return _both_or_not(known is not None, Reading("classes and columns", partial, moved), names)
    return Named(
        "covariate",
        (_COLUMNS,),
        "A change in the classes' shares does not explain how LIVE differs; the relation between "
        "target and features is assumed to hold, which only labels could test.",
    )


def _labelled_ratio(tables: Tables, codes: npt.NDArray[np.int64]) -> ClassRatio | None:
    """Return the classes' ratio by LIVE's labels, where they are."""
    if tables.y_live is None:
        return None
    k = tables.n_classes or 0
    prior = np.bincount(codes, minlength=k) / len(codes)
    live = np.bincount(tables.y_live.astype(np.int64), minlength=k)
    share = live / live.sum()
    spread = np.diag(share * (1 - share)) / live.sum() / prior**2
    return ClassRatio(share / prior, spread, prior)


def _fitted_ratio(expected: ExpectedOutcome, codes: npt.NDArray[np.int64], seed: int) -> ClassRatio:
    """Estimate the class ratio; a jackknife over folds adds the error of the posteriors to its covariance."""
    ratio = label_shift_ratio(expected.source, codes, expected.target, random_state=seed)
    by_fold = np.array([em_class_ratio(part, ratio.prior) for part in expected.by_fold])
    deviation = by_fold - by_fold.mean(axis=0)
    k = len(by_fold)
    return replace(ratio, covariance=ratio.covariance + (k - 1) / k * deviation.T @ deviation)


def _both_or_not(has_labels: bool, reading: Reading, names: str) -> Named:
    """Say "both" only with labels: without them the same tables also arise from covariate shift."""
    if has_labels:
        text = f"The shares of the classes changed and, besides, {names}: neither alone explains LIVE."
        return Named("both", (reading,), text)
    text = (
        "Two readings fit: the relation of target and columns holds and several columns moved, or the "
        f"shares of the classes changed and, besides, {names}. Only labels can tell; intervals cover both "
        "readings, the value is that of the first."
    )
    return Named("cannot tell", (_COLUMNS, reading), text)


def _differs(ratio: ClassRatio) -> bool:
    error = np.sqrt(np.maximum(np.diag(ratio.covariance), 1e-12))
    return bool(np.max(np.abs(ratio.ratio - 1) / error) > _CLEAR)


def _explains(tables: Tables, ratio: ClassRatio, columns: tuple[int, ...], seed: int) -> bool:
    """Whether class-reweighted TRAIN and LIVE look alike in the columns."""
    chosen = list(columns)
    weight = ratio.ratio[tables.y.astype(np.int64)]
    test = prequential_test(
        tables.X[:, chosen],
        tables.X_live[:, chosen],
        scorer=domain_scorer(tables.categorical[chosen]),
        sample_weight=np.maximum(weight, 1e-6),
        random_state=seed,
    )
    return test.p_value >= LEVEL


def _beyond_classes(tables: Tables, ratio: ClassRatio) -> dict[int, float]:
    """Return the adjusted p-values of columns that moved more than the classes' shares account for."""
    weight = np.maximum(ratio.ratio[tables.y.astype(np.int64)], 1e-6)
    found = {r.name: r.p_adjusted for r in _features(tables, weight) if r.effect > 0.02}
    return {j: found[f.name] for j, f in enumerate(tables.features) if f.name in found}


def _partial_ratio(tables: Tables, columns: tuple[int, ...], seed: int) -> ClassRatio:
    """Estimate the class ratio by some of the columns, and from so many rows as tell it to a percent."""
    rng = as_generator(seed)
    here, there = (_thinned(len(rows), rng) for rows in (tables.X, tables.X_live))
    X, X_live = tables.X[here][:, columns], tables.X_live[there][:, columns]
    learner = boosted_classifier(X, tables.categorical[list(columns)], seed=seed)
    weigh = LabelShiftEM(learner, random_state=seed)
    return weigh.fit(X, tables.y[here], X_target=X_live).class_ratio_


def _thinned(n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.arange(n) if n <= _RATIO_ROWS else rng.choice(n, size=_RATIO_ROWS, replace=False)


def _columns_explain(
    tables: Tables, study: DomainStudy, moved: tuple[int, ...], rest: tuple[int, ...], seed: int
) -> bool:
    """Whether weights on the moved columns alone also balance the rest."""
    weight = np.exp(study.learn("additive", columns=moved).source)
    test = prequential_test(
        tables.X[:, list(rest)],
        tables.X_live[:, list(rest)],
        scorer=domain_scorer(tables.categorical[list(rest)]),
        sample_weight=weight,
        random_state=seed,
    )
    return test.p_value >= LEVEL


def _relation_moved(
    sample: Sample, y_live: FloatArray, reading: Reading, weights: FloatArray | None
) -> str | None:
    """Return a sentence if LIVE's labels depart from what TRAIN's relation predicts, else None.

    In cells (quarters of the expected outcome, quarters or categories of each
    column) the mean of outcome less expectation is compared between LIVE and
    TRAIN's held-out rows, weighted to be like LIVE's where ``weights`` are given:
    where the columns moved, a model that is a little wrong is wrong by another
    amount on other rows, though the relation is the same. Of more than two classes
    each is looked at. Bonferroni's correction over cells and classes.
    """
    tables = sample.tables
    w = np.ones(len(tables.y)) if weights is None else weights
    found = []
    for outcome in _outcomes(sample, y_live, reading):
        cells = list(_cells(outcome.level, outcome.level_live, "the expected outcome", None))
        for j, feature in enumerate(tables.features):
            cells += _cells(tables.X[:, j], tables.X_live[:, j], feature.name, feature.categories)
        for place, here, there in cells:
            a, b = outcome.residual[here], outcome.residual_live[there]
            if here.sum() < 30 or effective_sample_size(w[here]) < 30 or len(b) < 30:
                continue
            share = w[here] / w[here].sum()
            mean = float(share @ a)
            error = float(np.sqrt(share**2 @ (a - mean) ** 2 + b.var() / len(b)))
            if error > 0:
                gap = float(b.mean()) - mean
                found.append((2 * float(norm.sf(abs(gap) / error)), gap, place, outcome))
    if not found:
        return None
    p, gap, place, outcome = min(found, key=lambda each: each[0])
    # A model of the outcome that is slightly off shows in huge tables; a fiftieth of the outcome's
    # spread is no change of the relation.
    if p * len(found) >= LEVEL / 5 or abs(gap) < 0.02 * outcome.spread:
        return None
    return (
        f"LIVE's labels refute TRAIN's relation: where {place}, {outcome.name} is {abs(gap):.3g} "
        f"{'above' if gap > 0 else 'below'} what TRAIN's rows say for such rows "
        f"(p = {min(1.0, p * len(found)):.1g}, corrected for {len(found)} places looked at)."
    )


@dataclass(frozen=True)
class _Outcome:
    """A number, or whether a row is of a class: less its expectation, and that expectation, on both sides."""

    name: str
    residual: FloatArray
    level: FloatArray
    residual_live: FloatArray
    level_live: FloatArray
    spread: float


def _outcomes(sample: Sample, y_live: FloatArray, reading: Reading) -> list[_Outcome]:
    """Return the number, the second of two classes, or each of more."""
    tables, model = sample.tables, sample.model
    source, target = sample.expected.source, reading.correct(sample.expected.target)
    what = f"'{tables.target}'"
    if tables.classes is None:
        levels = [
            expected[:, 1] + predicted_numbers(outputs)
            for expected, outputs in ((source, model.train), (target, model.live))
        ]
        spread = float(np.std(tables.y))
        return [_Outcome(what, tables.y - levels[0], levels[0], y_live - levels[1], levels[1], spread)]
    codes = [1] if len(tables.classes) == 2 else range(len(tables.classes))
    return [
        _Outcome(
            f"the share of {what} = {tables.classes[k]}",
            (tables.y == k) - source[:, k],
            source[:, k],
            (y_live == k) - target[:, k],
            target[:, k],
            float(np.std(tables.y == k)),
        )
        for k in codes
    ]


def _cells(
    a: FloatArray, b: FloatArray, name: str, categories: tuple[str, ...] | None
) -> list[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    if categories is not None:
        return [(f"{name} is {text}", a == code, b == code) for code, text in enumerate(categories[:12])]
    edges = np.unique(np.nanquantile(a, [0.25, 0.5, 0.75])) if not np.isnan(a).all() else np.zeros(0)
    bounds = [-np.inf, *edges.tolist(), np.inf]
    return [
        (f"{name} is {_range(low, high)}", (a > low) & (a <= high), (b > low) & (b <= high))
        for low, high in pairwise(bounds)
    ]


def _range(low: float, high: float) -> str:
    if low == -np.inf:
        return f"at most {high:.3g}" if high < np.inf else "known"
    return f"above {low:.3g}" if high == np.inf else f"between {low:.3g} and {high:.3g}"
