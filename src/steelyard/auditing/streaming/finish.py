"""What the steps said of the sample, said again of all rows from their sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from steelyard.auditing.certify import Certified, unbounded_finding
from steelyard.auditing.estimate import (
    Estimated,
    as_outputs,
    how,
    own_error,
    spanning,
    window_estimate,
)
from steelyard.auditing.read import rows_left_out
from steelyard.auditing.reading.again import judged_again
from steelyard.auditing.reading.copies import copies_found, has_continuous
from steelyard.auditing.result import Balance, Finding, Performance, Window
from steelyard.auditing.shift import Detected
from steelyard.auditing.streaming.totals import LiveTotals, TrainTotals, WindowTotals
from steelyard.auditing.streaming.windows import Cutter
from steelyard.auditing.tables import Tables
from steelyard.auditing.weigh import Weighed, is_trusted, judge, with_trust
from steelyard.evaluation import (
    METRICS,
    Estimate,
    ExpectedOutcome,
    Metric,
    Outputs,
    doubly_robust,
    outcome_columns,
    outcome_model_variance,
    plug_in,
)
from steelyard.evaluation.estimates import corrected_estimate, make_estimate
from steelyard.montecarlo import pareto_k_of_top

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Anchor:
    """One metric at the sample, from which the figures of all rows follow to first order.

    ``own`` is the variance from fitting the outcome model, ``extra`` that of the
    classes' ratio, ``plain`` the plug-in value on the sampled rows of LIVE, and
    ``second`` the estimate under the second reading of the shift.
    """

    metric: Metric
    plain: float
    own: float
    extra: float
    second: Estimate | None


@dataclass(frozen=True)
class Sampled:
    """The steps' results on the sample, and what is needed to say them of all rows."""

    tables: Tables
    found: Detected
    weighed: Weighed
    estimated: Estimated
    certified: Certified
    anchors: tuple[Anchor, ...]

    @classmethod
    def of(
        cls,
        tables: Tables,
        found: Detected,
        weighed: Weighed,
        estimated: Estimated,
        certified: Certified,
    ) -> Sampled:
        """Gather them."""
        assert tables.output is not None and tables.output_live is not None
        n_classes = None if tables.classes is None else len(tables.classes)
        outputs, live = as_outputs(tables.output), as_outputs(tables.output_live)
        outcome = outcome_columns(tables.y, outputs, n_classes=n_classes)
        expected = estimated.expected
        anchors = []
        for name, methods in estimated.by_method.items():
            metric = METRICS[name]
            own = outcome_model_variance(
                metric,
                outputs_target=live.take(expected.probe),
                by_fold=expected.by_fold,
                expected_target=expected.target[expected.probe],
            )
            bare = doubly_robust(
                metric,
                outputs=outputs,
                outcome=outcome,
                expected=expected.source,
                outputs_target=live,
                expected_target=expected.target,
                weights=weighed.weights,
                outcome_variance=own,
            )
            whole = methods["doubly robust"]
            extra = max(whole.standard_error**2 - bare.standard_error**2, 0.0)
            plain = plug_in(metric, live, expected.target)
            second = methods.get("doubly robust, classes changed")
            anchors.append(Anchor(metric, plain, own, extra, second))
        return cls(tables, found, weighed, estimated, certified, tuple(anchors))


def weigh_all(sampled: Sampled, train: TrainTotals, live: LiveTotals) -> Weighed:
    """Return the weights' report over all rows of TRAIN."""
    weighed, tables = sampled.weighed, sampled.tables
    report = weighed.report
    codes = tables.categorical
    before, after = np.zeros(len(codes)), np.zeros(len(codes))
    before[~codes] = train.numbers.standardised_difference(live.numbers)
    after[~codes] = train.numbers.standardised_difference(live.numbers, weighted=train.weighted_numbers)
    before[codes] = train.codes.standardised_difference(live.codes)
    after[codes] = train.codes.standardised_difference(live.codes, weighted=train.weighted_codes)
    ess = train.weights.effective_rows or 0.0
    in_regions = sum(r.target_share for r in weighed.regions)
    report = replace(
        report,
        ess=ess,
        ess_fraction=ess / train.rows,
        pareto_k=pareto_k_of_top(train.top),
        max_share=train.weights.largest_share or 0.0,
        outside_support=min(max(in_regions, live.outside / live.whole.rows), 1.0),
        balance=tuple(Balance(f.name, float(a), float(b)) for f, a, b in zip(tables.features, before, after)),
    )
    findings = judge(report, weighed.regions, train.rows)
    return replace(weighed, report=with_trust(report), findings=findings, trusted=is_trusted(findings))


def estimate_all(
    sampled: Sampled,
    weighed: Weighed,
    train: TrainTotals,
    live: LiveTotals,
    *,
    cutter: Cutter | None,
    rows: IntArray,
) -> Estimated:
    """Return the performance on all of LIVE and in its windows; ``rows`` are the sampled rows' numbers."""
    performance = []
    overall = {}
    for j, anchor in enumerate(sampled.anchors):
        name = anchor.metric.name
        estimate = _whole(anchor, j, train, live.whole)
        overall[name] = estimate
        performance.append(
            Performance(
                metric=name,
                naive=train.naive.value(name),
                live_estimate=estimate.value if weighed.trusted else None,
                low=estimate.low if weighed.trusted else None,
                high=estimate.high if weighed.trusted else None,
                method=how(estimate, sampled.found) if weighed.trusted else "inconclusive",
                live_actual=None if live.whole.actual is None else live.whole.actual.value(name),
            )
        )
    windows: tuple[Window, ...] = ()
    if cutter is not None:
        windows = _windows(sampled, weighed, performance, overall, train, live, cutter, rows)
    return replace(sampled.estimated, performance=tuple(performance), windows=windows)


def _whole(anchor: Anchor, j: int, train: TrainTotals, live: WindowTotals) -> Estimate:
    correction, variance = train.correction(j)
    plug = live.expected.value(anchor.metric.name)
    estimate = corrected_estimate(
        plug,
        correction,
        variance,
        metric=anchor.metric,
        noise=_noise(j, train, live) / live.rows,
        outcome_variance=anchor.own,
    )
    if anchor.extra > 0:
        estimate = make_estimate(
            estimate.value,
            estimate.standard_error**2 + anchor.extra,
            metric=anchor.metric,
            method=estimate.method,
            level=estimate.level,
        )
    if anchor.second is None:
        return estimate
    # The second reading was estimated on the sample: all rows move it as they move the first.
    moved = plug - anchor.plain
    second = replace(anchor.second, low=anchor.second.low + moved, high=anchor.second.high + moved)
    return spanning(estimate, second)


def _noise(j: int, train: TrainTotals, live: WindowTotals) -> float:
    """Return the mean variance of a row's label effect; of a number's, TRAIN's weighted residuals tell it."""
    if live.noise is not None:
        return float(live.noise.means[j])
    return float(train.residuals.variances[j] + train.residuals.means[j] ** 2)


def _windows(
    sampled: Sampled,
    weighed: Weighed,
    rows: list[Performance],
    overall: Mapping[str, Estimate],
    train: TrainTotals,
    live: LiveTotals,
    cutter: Cutter,
    sampled_rows: IntArray,
) -> tuple[Window, ...]:
    tables, expected = sampled.tables, sampled.estimated.expected
    assert tables.frame_live is not None and tables.output_live is not None
    outputs = as_outputs(tables.output_live)
    keys = cutter(tables.frame_live, sampled_rows)
    out = []
    for key in sorted(live.windows):
        totals = live.windows[key]
        chosen = np.flatnonzero(keys == key)
        performance = []
        for j, (anchor, row) in enumerate(zip(sampled.anchors, rows)):
            metric, whole = anchor.metric, overall[row.metric]
            local = window_estimate(
                metric,
                whole,
                value=totals.expected.value(row.metric) + whole.value - live.whole.expected.value(row.metric),
                variance=_noise(j, train, totals) / totals.rows + _own(anchor, outputs, chosen, expected),
                two_readings=weighed.other is not None,
            )
            shown = weighed.trusted and bool(np.isfinite(local.value))
            performance.append(
                Performance(
                    metric=row.metric,
                    naive=row.naive,
                    live_estimate=local.value if shown else None,
                    low=local.low if shown else None,
                    high=local.high if shown else None,
                    method=row.method,
                    live_actual=None if totals.actual is None else totals.actual.value(row.metric),
                )
            )
        out.append(Window(*cutter.name(key), totals.rows, tuple(performance)))
    return tuple(out)


def _own(anchor: Anchor, outputs: Outputs, chosen: IntArray, expected: ExpectedOutcome) -> float:
    """Return the outcome model's error in a window, from its sampled rows; LIVE's own where it has none."""
    if not np.isin(chosen, expected.probe).any():
        return anchor.own
    return own_error(anchor.metric, outputs.take(chosen), chosen, expected)


def certify_all(certified: Certified, weighed: Weighed, live: LiveTotals) -> Certified:
    """Return the report on predictions for all rows of LIVE."""
    rows = live.whole.rows
    finite = live.sizes.count[0] == rows
    prediction = replace(
        certified.prediction,
        expected_coverage=certified.prediction.expected_coverage if weighed.trusted else None,
        low=certified.prediction.low if weighed.trusted else None,
        high=certified.prediction.high if weighed.trusted else None,
        unweighted_expected_coverage=(
            certified.prediction.unweighted_expected_coverage if weighed.trusted else None
        ),
        mean_size=float(live.sizes.means[0]) if finite else None,
        live_actual_coverage=None if live.covered is None else live.covered / rows,
    )
    findings = unbounded_finding(live.unbounded / rows, prediction.alpha)
    return replace(certified, prediction=prediction, findings=findings)


def describe_all(tables: Tables, train: TrainTotals, live: LiveTotals, *, sampled: Sequence[str]) -> Tables:
    """Return the tables with notes and findings on their columns that rest on all rows.

    Of a column that no step uses only the sample is known; ``sampled`` names the
    tables of which that is a part.
    """
    used = {feature.name for feature in tables.features}
    notes = []
    for note in tables.notes:
        if note.name not in used:
            # How many values differ in a part does not tell how many do in the whole.
            note = note if "TRAIN" not in sampled else replace(note, distinct_train=None)
            note = note if "LIVE" not in sampled else replace(note, distinct_live=None)
        notes.append(note)
    again = ("missing-target", "duplicate-rows", "shared-rows")
    found = tuple(
        # How the sample's rows look, or else the column would be used.
        replace(f, text=f"{f.text} (Told from the sampled rows.)") if f.id in _OF_SAMPLE and sampled else f
        for f in tables.findings
        if f.id not in again
    )
    tables = judged_again(replace(tables, notes=tuple(notes), findings=found), train.profiles, live.profiles)
    every = train.rows + train.unlabelled + train.unknown
    more = rows_left_out(
        tables.target, every, train.unlabelled, train.unknown, remedy="Sample more rows (--sample)"
    )
    more += [*_unread("TRAIN", train), *_unread("LIVE", live)]
    if train.held:
        text = (
            f"{train.held:,} of TRAIN's rows lie so far from the sampled ones that their weights were held "
            "at the largest that is due with so many rows. Look for values that cannot be right."
        )
        more.append(Finding("weights-held", "warning", text, "score"))
    if has_continuous(tables.X):
        more += copies_found(train.labelled_copies, train.copies, live.copies)
    return replace(tables, findings=(*tables.findings, *more))


# Findings on columns that are left out, and so not looked at in the rest of the rows.
_OF_SAMPLE = ("constant-column", "empty-column", "free-text", "identifier", "period-marker")


def _unread(side: str, totals: TrainTotals | LiveTotals) -> list[Finding]:
    """Tell of values that only rows outside of the sample have, and that do not fit their column."""
    found = []
    for name, rows in totals.unread.items():
        if rows:
            text = (
                f"Column '{name}' holds numbers or dates in the sampled rows, and other texts in {rows:,} of "
                f"the rest of {side}: those were taken as missing. Correct them, or exclude the column."
            )
            found.append(Finding("unread-values", "warning", text))
    return found
