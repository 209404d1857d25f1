"""What to do, each with its reason and number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.alternatives import Alternatives
from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.limits import NOTED_OUTSIDE
from steelyard.auditing.result import Advice, AdviceKind, Finding, Performance, Shift
from steelyard.auditing.say.columns import moved_by
from steelyard.auditing.say.figures import Figures
from steelyard.evaluation import METRICS
from steelyard.evaluation.specification import WeightingGain, weighting_gain
from steelyard.reporting.numbers import decimals, interval, number
from steelyard.reporting.words import metric_name, title

FloatArray = npt.NDArray[np.float64]

# More faults than these are mended one after another: the first may well bring the others along.
MENDS = 3
# A gain below this share of the loss is not worth a new model, however certain.
WORTHWHILE = 0.01


def needs_alternatives(figures: Figures) -> bool:
    """Whether what could replace the model has a say in what to do."""
    answered = figures.weights.trusted and figures.shift.kind not in ("concept", "none")
    return answered and _missed(figures.performance) is None and figures.weights.trust != "not used"


def advise(sampled: Sampled, figures: Figures, replacements: Alternatives | None) -> tuple[Advice, ...]:
    """Say what to do: most useful first, and before all to mend what is wrong with the data."""
    faults = [f for f in figures.findings if f.explains]
    mends = tuple(_mend(f) for f in faults[:MENDS])
    advice = _of_model(sampled, figures, replacements)
    if any(moved_by(f) for f in faults):
        # Rows that a fault sets apart need no labels, and weights that even it out serve no model.
        advice = tuple(a for a in advice if a.kind in ("wait", "use labels"))
    elif faults:
        advice = tuple(a for a in advice if a.kind not in ("nothing", "keep"))
    return (*mends, *advice)


def _mend(fault: Finding) -> Advice:
    """Say what to do about a fault of the data: the finding tells the fault itself."""
    if moved_by(fault):
        why = "Until then the tables do not mean the same, and no figure here speaks for LIVE."
    else:
        why = "Until then the model looks better than it will be where the outcome is not known yet."
    return Advice(f"{fault.mend}, then audit again", why, "mend data")


def _of_model(sampled: Sampled, figures: Figures, replacements: Alternatives | None) -> tuple[Advice, ...]:
    """Say what to do with the model if the data are as they should be."""
    rows = figures.performance
    if not figures.weights.trusted:
        if figures.labelled:
            why = f"{_measured(rows)}TRAIN could not have told: {figures.declined}"
            return (Advice("Judge and train by LIVE's labels", why, "use labels"),)
        why = "The data cannot tell how good the model is there: " + figures.declined
        return (
            _label_next(sampled),
            Advice("Do not rely on any figure for LIVE yet", why, "wait"),
        )
    if figures.shift.kind == "concept":
        why = (
            f"{_measured(rows)}Weights on TRAIN cannot mend it, since the relation of "
            f"target and columns changed. {sampled.shift.why}"
        )
        return (Advice("Retrain with LIVE's labels", why, "use labels"),)
    missed = _missed(rows)
    if missed is not None:
        why = (
            f"{_measured((missed,))}That is outside the estimate's 95% interval: chance does so once in "
            "twenty audits, a change that the columns do not show does so every time. "
            "Compare again on further labels, and train with these."
        )
        return (Advice("Believe LIVE's labels, not the estimate", why, "use labels"),)
    if replacements is None:
        return (_unmoved(figures.shift, labelled=figures.labelled),)
    worse = _worse(rows)
    advice = _replacements(replacements)
    if not any(a.kind in ("retrain", "retrain weighted", "recalibrate") for a in advice):
        advice.insert(0, _kept(worse, rows, labelled=figures.labelled))
    noted = figures.weights.outside_support >= NOTED_OUTSIDE or worse is not None
    if noted and not figures.labelled:
        advice.append(_label_next(sampled))
    return tuple(advice)


def _kept(worse: Performance | None, rows: tuple[Performance, ...], *, labelled: bool) -> Advice:
    """Say that nothing better is in sight; without labels that is no word on the relation itself."""
    kind: AdviceKind = "nothing" if worse is None else "keep"
    standing = _standing(worse, rows)
    if labelled:
        action = "Nothing to do" if worse is None else "Keep the model, and expect the estimate above"
        return Advice(action, standing, kind)
    worth = next((r.worth_labels for r in rows if r.worth_labels), None)
    labels = f"{2 * max(worth, 50):,} labels" if worth else "a hundred labels"
    why = (
        f"Whether the relation of target and columns moved, no column shows: {labels} drawn at random from "
        f"LIVE would say more than this estimate. {standing}"
    )
    return Advice("Label some of LIVE before you rely on this; nothing else is called for", why, kind)


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


def _unmoved(shift: Shift, *, labelled: bool) -> Advice:
    if shift.kind != "none":
        return Advice(
            "Weigh TRAIN's rows",
            "LIVE differs from TRAIN, but no weights were asked for: what is said of LIVE rests on the model "
            "of the outcome alone, and no retraining was compared.",
            "wait",
        )
    detectable = shift.detectable_auc
    limit = f" A shift with an AUC of {detectable:.2f} or more would have been seen." if detectable else ""
    blind = "" if labelled else " Whether the target still follows from the columns, only labels can show."
    action = "Nothing to do" if labelled else "Nothing to do that the columns show"
    return Advice(action, f"No difference between TRAIN and LIVE was found.{limit}{blind}", "nothing")


def _worse(rows: tuple[Performance, ...]) -> Performance | None:
    """Return the first metric whose whole interval is worse than on TRAIN."""
    for row in rows:
        if row.naive is None or row.low is None or row.high is None:
            continue
        if row.high < row.naive if METRICS[row.metric].greater_is_better else row.low > row.naive:
            return row
    return None


def _replacements(losses: Alternatives) -> list[Advice]:
    """Compare the model with its recalibration and with new models, weighted and not."""
    advice = []
    weights, name = losses.weights, losses.loss
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
                why = f"On LIVE that is expected to lower the {name} {_by(gain, base)}."
                action = "Recalibrate the model's probabilities on weighted TRAIN rows"
                advice.append(Advice(action, why, "recalibrate"))
        # A model that was made here is no one's: that other settings suit it better is no news.
        if _matters(retraining, base) and not advice and not losses.made_here:
            why = f"On LIVE that is expected to lower the {name} {_by(retraining, base)}."
            if useful:
                return [Advice("Retrain with these weights", why, "retrain weighted")]
            why = f"{why} {_pointless(weighting, base_plain, name)}"
            return [Advice("Retrain on TRAIN, without weights", why, "retrain")]
    if useful:
        why = (
            f"Against unweighted training that is expected to lower the {name} on LIVE "
            f"{_by(weighting, base_plain)}."
        )
        advice.append(Advice("Retrain with these weights", why, "retrain weighted"))
    else:
        why = _pointless(weighting, base_plain, name)
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


def _label_next(sampled: Sampled) -> Advice:
    """Name the rows of LIVE whose labels would tell most: uncovered first, then uncertain ones."""
    sample = sampled.sample
    expected = sampled.expected[0].target
    if sample.tables.classes is None:
        doubt = np.sqrt(np.maximum(expected[:, 2], 0))
        why = "whose errors are expected to be largest"
    else:
        doubt = 1 - expected.max(axis=1)
        why = "of which the expected label is least certain"
    weight = np.exp(sampled.readings[0].target)
    order = np.argsort(-(doubt * weight / (weight + 1)), kind="stable")
    first = ", ".join(str(int(i)) for i in sample.live_rows[order[:8]])
    regions = sampled.cover.regions
    where = f" Start where {regions[0]}." if regions else ""
    return Advice(
        "Label rows of LIVE next",
        f"Those least like TRAIN {why}: rows {first}, and on.{where} A hundred labels drawn at random would "
        "test the estimate itself.",
        "label",
    )
