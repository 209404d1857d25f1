"""Step 7: what to do, each with its reason and number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from steelyard.auditing.estimate import Estimated
from steelyard.auditing.limits import NOTED_OUTSIDE
from steelyard.auditing.result import Advice, Performance
from steelyard.auditing.shift import Detected
from steelyard.auditing.tables import Tables
from steelyard.auditing.weigh import Weighed
from steelyard.evaluation import METRICS, recalibrate
from steelyard.evaluation.specification import WeightingGain, weighting_gain
from steelyard.numerics import as_generator, deal_folds, draw_seed
from steelyard.reporting.numbers import decimals, interval, number
from steelyard.reporting.words import metric_name, title

FloatArray = npt.NDArray[np.float64]

MAX_ROWS = 20_000
# A gain below this share of the loss is not worth a new model, however certain.
WORTHWHILE = 0.01
# Kinds of advice that put something in the place of the model as it is.
_REPLACEMENTS = ("retrain", "retrain weighted", "recalibrate")


@dataclass(frozen=True)
class _Losses:
    """Each TRAIN row's held-out loss under the model as it is and under what could replace it."""

    rows: npt.NDArray[np.int64]
    deployed: FloatArray | None
    plain: FloatArray
    weighted: FloatArray
    recalibrated: FloatArray | None
    name: str
    made_here: bool


def advise(
    tables: Tables, found: Detected, weighed: Weighed, estimated: Estimated, *, seed: int
) -> tuple[Advice, ...]:
    """Say what to do: most useful first."""
    if not weighed.trusted:
        if tables.y_live is not None:
            return (
                Advice(
                    "Judge and train by LIVE's labels",
                    f"{_measured(estimated.performance)}TRAIN could not have told: "
                    f"{weighed.findings[0].text}",
                    "use labels",
                ),
            )
        return (
            _label_next(tables, weighed, estimated),
            Advice(
                "Do not rely on any figure for LIVE yet",
                "The data cannot tell how good the model is there: " + weighed.findings[0].text,
                "wait",
            ),
        )
    kind = found.shift.kind
    if kind == "concept":
        return (
            Advice(
                "Retrain with LIVE's labels",
                f"{_measured(estimated.performance)}Weights on TRAIN cannot mend it, since the relation of "
                "target and columns changed. "
                + next(f.text for f in found.findings if f.id == "concept-shift"),
                "use labels",
            ),
        )
    missed = _missed(estimated.performance)
    if missed is not None:
        return (
            Advice(
                "Believe LIVE's labels, not the estimate",
                f"{_measured((missed,))}That is outside the estimate's 95% interval: chance does so once in "
                "twenty audits, a change that the columns do not show does so every time. "
                "Compare again on further labels, and train with these.",
                "use labels",
            ),
        )
    worse = _worse(estimated.performance)
    advice: list[Advice] = []
    if weighed.report.method == "none":
        advice.append(_unmoved(found, labelled=tables.y_live is not None))
        return tuple(advice)
    losses = _losses(tables, weighed, seed)
    weights = weighed.weights[losses.rows]
    advice += _replacements(losses, weights)
    if not any(a.kind in _REPLACEMENTS for a in advice):
        why = _standing(worse, estimated.performance)
        keep = Advice("Keep the model, and expect the estimate above", why, "keep")
        advice.insert(0, keep if worse else Advice("Nothing to do", why, "nothing"))
    noted = weighed.report.outside_support >= NOTED_OUTSIDE or worse is not None
    if noted and tables.y_live is None:
        advice.append(_label_next(tables, weighed, estimated))
    return tuple(advice)


def _standing(worse: Performance | None, rows: tuple[Performance, ...]) -> str:
    """Say how LIVE's estimate stands to TRAIN's figure, and no more than its interval allows."""
    row = worse or next((r for r in rows if r.live_estimate is not None and r.naive is not None), None)
    if row is None:
        return "LIVE differs, but nothing shows that the model does worse there."
    name, digits = title(metric_name(row.metric)), decimals([row.naive], row.low, row.high)
    value, naive = number(row.live_estimate, digits), number(row.naive, digits)
    limits = interval(row.low, row.high, digits)
    if worse is not None:
        return (
            f"{name} is estimated at {value} {limits} on LIVE against {naive} on TRAIN, but that is what "
            "LIVE's rows are like: no retraining on TRAIN's rows would clearly do better."
        )
    return (
        f"LIVE differs, but nothing shows that the model does worse there: {metric_name(row.metric)} is "
        f"estimated at {value} {limits} against {naive} on TRAIN."
    )


def _missed(rows: tuple[Performance, ...]) -> Performance | None:
    """Return the first metric if LIVE's labels put it on the bad side of its interval."""
    row = rows[0]
    if row.live_actual is None or row.low is None or row.high is None:
        return None
    bad = row.live_actual < row.low if METRICS[row.metric].greater_is_better else row.live_actual > row.high
    return row if bad else None


def _measured(rows: tuple[Performance, ...]) -> str:
    row = rows[0]
    if row.live_actual is None or row.naive is None:
        return ""
    digits = decimals([row.naive, row.live_actual])
    return (
        f"{title(metric_name(row.metric))} is measured at {number(row.live_actual, digits)} on LIVE against "
        f"{number(row.naive, digits)} on TRAIN. "
    )


def _unmoved(found: Detected, *, labelled: bool) -> Advice:
    if found.shift.kind != "none":
        return Advice(
            "Weigh TRAIN's rows",
            "LIVE differs from TRAIN, but no weights were asked for: what is said of LIVE rests on the model "
            "of the outcome alone, and no retraining was compared.",
            "wait",
        )
    detectable = found.shift.detectable_auc
    limit = f" A shift with an AUC of {detectable:.2f} or more would have been seen." if detectable else ""
    blind = "" if labelled else " Whether the target still follows from the columns, only labels can show."
    why = f"No difference between TRAIN and LIVE was found.{limit}{blind}"
    return Advice("Nothing to do", why, "nothing")


def _worse(rows: tuple[Performance, ...]) -> Performance | None:
    """Return the first metric whose whole interval is worse than on TRAIN."""
    for row in rows:
        if row.naive is None or row.low is None or row.high is None:
            continue
        if row.high < row.naive if METRICS[row.metric].greater_is_better else row.low > row.naive:
            return row
    return None


def _replacements(losses: _Losses, weights: FloatArray) -> list[Advice]:
    """Compare the model with its recalibration and with new models, weighted and not."""
    advice = []
    weighting = weighting_gain(losses.plain, losses.weighted, weights=weights)
    base_plain = float(np.average(losses.plain, weights=weights))
    useful = weighting.helps is True and _matters(weighting, base_plain)
    if losses.deployed is not None:
        base = float(np.average(losses.deployed, weights=weights))
        new = losses.weighted if useful else losses.plain
        retraining = weighting_gain(losses.deployed, new, weights=weights)
        if losses.recalibrated is not None:
            gain = weighting_gain(losses.deployed, losses.recalibrated, weights=weights)
            if _matters(gain, base) and (losses.made_here or gain.gain > 0.5 * retraining.gain):
                advice.append(
                    Advice(
                        "Recalibrate the model's probabilities on weighted TRAIN rows",
                        f"On LIVE that is expected to lower the {losses.name} {_by(gain, base)}.",
                        "recalibrate",
                    )
                )
        # A model that was made here is no one's: that other settings suit it better is no news.
        if _matters(retraining, base) and not advice and not losses.made_here:
            why = f"On LIVE that is expected to lower the {losses.name} {_by(retraining, base)}."
            if useful:
                return [Advice("Retrain with these weights", why, "retrain weighted")]
            return [
                Advice(
                    "Retrain on TRAIN, without weights",
                    f"{why} {_pointless(weighting, base_plain, losses.name)}",
                    "retrain",
                )
            ]
    if useful:
        advice.append(
            Advice(
                "Retrain with these weights",
                f"Against unweighted training that is expected to lower the {losses.name} on LIVE "
                f"{_by(weighting, base_plain)}.",
                "retrain weighted",
            )
        )
    else:
        why = _pointless(weighting, base_plain, losses.name)
        advice.append(Advice("Do not weight the training", why, "no weighting"))
    return advice


def _matters(gain: WeightingGain, base: float) -> bool:
    return gain.low > 0 and gain.gain > WORTHWHILE * base


def _by(gain: WeightingGain, base: float) -> str:
    # No loss falls by more than all of it, though a symmetric interval may say so.
    return f"by {gain.gain / base:.1%} (95% {gain.low / base:.1%} to {min(gain.high / base, 1.0):.1%})"


def _pointless(weighting: WeightingGain, base: float, name: str) -> str:
    def against(gain: float) -> str:
        share = -gain / base if base > 0 else 0.0
        return f"{abs(share):.1%} {'higher' if share > 0 else 'lower'}"

    numbers = (
        f"with weights the {name} on LIVE would be {against(weighting.gain)} than without (95% "
        f"{against(weighting.high)} to {against(weighting.low)})"
    )
    if weighting.high < 0:
        return f"Weighting TRAIN's rows only adds noise: {numbers}."
    return f"No clear gain is to be had from weighting TRAIN's rows: {numbers}."


def _losses(tables: Tables, weighed: Weighed, seed: int) -> _Losses:
    """Cross-fit a boosted model with and without weights, and recalibrate the deployed one."""
    rng = as_generator(seed)
    n = len(tables.y)
    rows = np.sort(rng.choice(n, size=min(n, MAX_ROWS), replace=False))
    X, y, w = _binned(tables.X[rows], tables.categorical), tables.y[rows], weighed.weights[rows]
    classes = tables.classes
    n_folds = 3
    fold = deal_folds(len(rows), n_folds, rng, strata=None if classes is None else y)
    plain, weighted = np.empty(len(rows)), np.empty(len(rows))
    recalibrated = None
    proba = None if tables.output is None else tables.output.proba
    if proba is not None:
        recalibrated = np.empty(len(rows))
    for k in range(n_folds):
        train, test = fold != k, fold == k
        settings = {
            "categorical_features": tables.categorical if tables.categorical.any() else None,
            # Early stopping sets rows aside by class, which needs a few of each.
            "early_stopping": train.sum() >= 500 and (classes is None or _rarest(y[train]) >= 20),
            "max_leaf_nodes": 15 if train.sum() < 5_000 else 31,
            "max_iter": 150 if train.sum() >= 500 else 40,
            "random_state": draw_seed(rng),
        }
        for out, weight in ((plain, None), (weighted, w[train])):
            if classes is None:
                model = HistGradientBoostingRegressor(**settings).fit(
                    X[train], y[train], sample_weight=weight
                )
                out[test] = (model.predict(X[test]) - y[test]) ** 2
            else:
                model = HistGradientBoostingClassifier(**settings)
                model.fit(X[train], y[train].astype(int), sample_weight=weight)
                likely = np.zeros((int(test.sum()), len(classes)))
                likely[:, model.classes_] = model.predict_proba(X[test])
                out[test] = _squared(likely, y[test])
        if recalibrated is not None and proba is not None:
            part = proba[rows]
            again = recalibrate(part[train], y[train], part[test], sample_weight=w[train])
            recalibrated[test] = _squared(again, y[test])
    deployed = None
    if proba is not None:
        deployed = _squared(proba[rows], y)
    elif tables.output is not None and tables.output.value is not None:
        deployed = (tables.output.value[rows] - y) ** 2
    name = "squared error" if classes is None else "Brier score"
    made_here = any(f.id == "model-made-here" for f in tables.findings)
    return _Losses(rows, deployed, plain, weighted, recalibrated, name, made_here)


def _binned(X: FloatArray, categorical: npt.NDArray[np.bool_]) -> FloatArray:
    """Put numbers into 255 bins, as boosting would: given weights, it does so itself ten times as slowly."""
    out = X.copy()
    for j in np.flatnonzero(~categorical):
        known = ~np.isnan(X[:, j])
        values = X[known, j]
        if np.unique(values).size > 255:
            edges = np.unique(np.quantile(values, np.linspace(0, 1, 256)[1:-1]))
            out[known, j] = np.searchsorted(edges, values, side="right")
    return out


def _rarest(y: FloatArray) -> int:
    return int(np.unique(y, return_counts=True)[1].min())


def _squared(proba: FloatArray, y: FloatArray) -> FloatArray:
    """Return each row's Brier score."""
    if proba.shape[1] == 2:
        return np.asarray((proba[:, 1] - y) ** 2)
    return np.asarray(np.sum((proba - np.eye(proba.shape[1])[y.astype(int)]) ** 2, axis=1))


def _label_next(tables: Tables, weighed: Weighed, estimated: Estimated) -> Advice:
    """Name the rows of LIVE whose labels would tell most: uncovered first, then uncertain ones."""
    expected = estimated.expected.target
    if tables.task == "regression":
        doubt = np.sqrt(np.maximum(expected[:, 2], 0))
        why = "whose errors are expected to be largest"
    else:
        doubt = 1 - expected.max(axis=1)
        why = "of which the expected label is least certain"
    rarity = weighed.weights_live / (weighed.weights_live + 1)
    order = np.argsort(-(doubt * rarity), kind="stable")
    rows = np.arange(len(tables.X_live)) if tables.live_rows is None else tables.live_rows
    first = ", ".join(str(int(i)) for i in rows[order[:8]])
    where = f" Start where {weighed.regions[0]}." if weighed.regions else ""
    return Advice(
        "Label rows of LIVE next",
        f"Those least like TRAIN {why}: rows {first}, and on.{where} A hundred labels drawn at random would "
        "test the estimate itself.",
        "label",
    )
