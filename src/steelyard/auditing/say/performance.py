"""How good is the model on LIVE, and in each window of it, without LIVE's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.anchors import Anchor
from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.parts.windows import Cutter
from steelyard.auditing.result import Finding, Performance, Window
from steelyard.auditing.say.relation import Moves, drifted
from steelyard.auditing.sums import LiveSums, TrainSums, WindowSums
from steelyard.evaluation import Estimate, outcome_model_variance, unseen_variance
from steelyard.evaluation.estimates import corrected_estimate, make_estimate
from steelyard.reporting.words import KINDS

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Estimates:
    """One metric on LIVE: under each reading of the shift, and what is reported of them."""

    metric: str
    each: tuple[Estimate, ...]

    @property
    def reported(self) -> Estimate:
        """The leading reading's value, with an interval that covers all readings."""
        return reduce(_spanning, self.each)


def estimates(sampled: Sampled, train: TrainSums, live: LiveSums) -> tuple[Estimates, ...]:
    """Estimate every metric on all of LIVE under each reading of the shift."""
    return tuple(
        Estimates(
            anchors[0].metric.name,
            tuple(_whole(sampled, r, j, train, live.whole) for r in range(len(sampled.readings))),
        )
        for j, anchors in enumerate(zip(*sampled.anchors))
    )


def _whole(sampled: Sampled, r: int, j: int, train: TrainSums, live: WindowSums) -> Estimate:
    """Estimate metric ``j`` under reading ``r``: expected outcomes, corrected by weighted residuals."""
    name, anchor = sampled.readings[r].reading.name, sampled.anchors[r][j]
    correction, variance = train.readings[name].correction(j)
    rows = train.readings[name].effective_rows(j)
    noise = _noise(name, j, train, live) / live.rows
    estimate = corrected_estimate(
        live.readings[name].expected.value(anchor.metric.name),
        correction,
        variance,
        metric=anchor.metric,
        noise=noise + unseen_variance(anchor.unseen, rows) * (1 / rows + 1 / live.rows),
        outcome_variance=anchor.own,
        n_classes=sampled.sample.tables.n_classes,
    )
    if anchor.ratio == 0:
        return estimate
    return make_estimate(
        estimate.value,
        estimate.standard_error**2 + anchor.ratio,
        metric=anchor.metric,
        method=estimate.method,
        level=estimate.level,
        n_classes=sampled.sample.tables.n_classes,
    )


def _noise(reading: str, j: int, train: TrainSums, live: WindowSums) -> float:
    """Return the mean variance of a row's label effect; of a number's, TRAIN's weighted residuals tell it."""
    noise = live.readings[reading].noise
    return train.readings[reading].mean_square(j) if noise is None else float(noise.means[j])


def _spanning(first: Estimate, second: Estimate) -> Estimate:
    """Return the first estimate with an interval that covers both."""
    return replace(first, low=min(first.low, second.low), high=max(first.high, second.high))


def _basis(sampled: Sampled, kind: str) -> str:
    """Say what the estimates assume: what the kind of shift comes to, unless other weights were asked for."""
    asked = sampled.readings[0].reading.class_ratio is not None and kind in ("none", "covariate")
    return KINDS["label" if asked else kind].basis


def performance_rows(
    sampled: Sampled,
    found: Sequence[Estimates],
    kind: str,
    trusted: bool,
    train: TrainSums,
    live: LiveSums,
    moved: Moves,
    units: Mapping[str, float],
) -> tuple[Performance, ...]:
    """Return the table of metrics; without trust in the weights no estimate is given."""
    basis = _basis(sampled, kind)
    rows = (
        Performance(
            metric=e.metric,
            naive=train.naive.value(e.metric),
            live_estimate=e.reported.value if trusted else None,
            low=e.reported.low if trusted else None,
            high=e.reported.high if trusted else None,
            method=f"{e.reported.method}; {basis}" if trusted else "inconclusive",
            live_actual=None if live.whole.actual is None else live.whole.actual.value(e.metric),
        )
        for e in found
    )
    return tuple(drifted(r, e.reported.standard_error, units[e.metric], moved) for r, e in zip(rows, found))


def residual_units(sampled: Sampled, train: TrainSums) -> dict[str, float]:
    """Return by metric the standard deviation of a row's residual effect under the leading reading."""
    residuals = train.readings[sampled.readings[0].reading.name]
    return {
        a.metric.name: float(
            np.sqrt(residuals.mean_square(j) + unseen_variance(a.unseen, residuals.effective_rows(j)))
        )
        for j, a in enumerate(sampled.anchors[0])
    }


def withheld_finding(trusted: bool) -> tuple[Finding, ...]:
    """Tell that no estimate is given, where that is so."""
    if trusted:
        return ()
    text = "No performance is given for LIVE: the weights cannot be trusted, and a number would be a guess."
    return (Finding("estimates-withheld", "warning", text, step="estimate"),)


def window_rows(
    sampled: Sampled,
    found: Sequence[Estimates],
    rows: Sequence[Performance],
    trusted: bool,
    train: TrainSums,
    live: LiveSums,
    cutter: Cutter | None,
    moved: Moves,
    units: Mapping[str, float],
) -> tuple[Window, ...]:
    """Estimate each window: expected outcomes there, moved by LIVE's overall correction.

    A correction of each window's own would add more noise than it removes: the
    outcome model already sees the window's rows.
    """
    if cutter is None:
        return ()
    sample = sampled.sample
    keys = cutter(sample.tables.frame_live, sample.live_rows)
    out = []
    for key in sorted(live.windows):
        sums = live.windows[key]
        # The window's rows in the sample tell how far the outcome model can be off there.
        known = np.isin(sample.expected.probe, np.flatnonzero(keys == key))
        performance = []
        for j, row in enumerate(rows):
            each = (
                _local(sampled, r, j, found[j], train, live, sums, known)
                for r in range(len(sampled.readings))
            )
            local = reduce(_spanning, each)
            shown = trusted and bool(np.isfinite(local.value))
            there = replace(
                row,
                live_estimate=local.value if shown else None,
                low=local.low if shown else None,
                high=local.high if shown else None,
                live_actual=None if sums.actual is None else sums.actual.value(row.metric),
                drift_low=None,
                drift_high=None,
                worth_labels=None,
            )
            performance.append(drifted(there, local.standard_error, units[row.metric], moved))
        out.append(Window(*cutter.name(key), sums.rows, tuple(performance)))
    return tuple(out)


def _local(
    sampled: Sampled,
    r: int,
    j: int,
    found: Estimates,
    train: TrainSums,
    live: LiveSums,
    window: WindowSums,
    known: BoolArray,
) -> Estimate:
    """Estimate metric ``j`` of a window under reading ``r``; ``known`` marks its rows among those probed."""
    name, anchor, whole = sampled.readings[r].reading.name, sampled.anchors[r][j], found.each[r]
    metric = anchor.metric
    moved = window.readings[name].expected.value(metric.name) - live.whole.readings[name].expected.value(
        metric.name
    )
    # The window's own noise comes on top of the error of all of LIVE.
    rows = train.readings[name].effective_rows(j)
    noise = _noise(name, j, train, window) + unseen_variance(anchor.unseen, rows)
    variance = noise / window.rows + _own(sampled, r, anchor, known)
    return make_estimate(
        whole.value + moved,
        whole.standard_error**2 + variance,
        metric=metric,
        method=whole.method,
        level=whole.level,
        n_classes=sampled.sample.tables.n_classes,
    )


def _own(sampled: Sampled, r: int, anchor: Anchor, known: BoolArray) -> float:
    """Return the outcome model's error in a window, which LIVE's correction cannot mend.

    Where no row of the window was probed, the error on LIVE stands for it.
    """
    if not known.any():
        return anchor.own
    expected = sampled.expected[r]
    rows = expected.probe[known]
    return outcome_model_variance(
        anchor.metric,
        outputs_target=sampled.sample.model.live.take(rows),
        by_fold=expected.by_fold[:, known],
        expected_target=expected.target[rows],
    )
