"""How much do TRAIN's rows count, and can that be trusted: said once, from the sums of all rows."""

from __future__ import annotations

import numpy as np

from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.result import Balance, Finding, WeightReport
from steelyard.auditing.say.trust import trust_of
from steelyard.auditing.sums import LiveSums, TrainSums
from steelyard.montecarlo import pareto_k_of_top
from steelyard.weighting import judge_weights


def weight_report(sampled: Sampled, train: TrainSums, live: LiveSums) -> WeightReport:
    """Return the weights in numbers, and whether they can carry estimates."""
    leading, regions = sampled.readings[0], sampled.cover.regions
    ess = train.weights.effective_rows or 0.0
    k = pareto_k_of_top(train.top)
    # A leaf's share of LIVE is an estimate, and so are the rows that the flexible ratio marks.
    in_regions = sum(r.target_share for r in regions)
    outside = min(max(in_regions, live.outside / live.rows), 1.0)
    trust, reason = trust_of(method_used=leading.reading.name != "none", ess=ess, pareto_k=k, outside=outside)
    return WeightReport(
        method=leading.method,
        ess=ess,
        ess_fraction=ess / train.rows,
        pareto_k=k,
        max_share=train.weights.largest_share or 0.0,
        outside_support=outside,
        balance=_balance(sampled, train, live),
        trust=trust,
        trust_reason=reason,
    )


def _balance(sampled: Sampled, train: TrainSums, live: LiveSums) -> tuple[Balance, ...]:
    tables = sampled.sample.tables
    codes = tables.categorical
    before, after = np.zeros(len(codes)), np.zeros(len(codes))
    before[~codes] = train.numbers.standardised_difference(live.numbers)
    after[~codes] = train.numbers.standardised_difference(live.numbers, weighted=train.weighted_numbers)
    before[codes] = train.codes.standardised_difference(live.codes)
    after[codes] = train.codes.standardised_difference(live.codes, weighted=train.weighted_codes)
    return tuple(Balance(f.name, float(a), float(b)) for f, a, b in zip(tables.features, before, after))


def weight_findings(
    report: WeightReport, sampled: Sampled, train: TrainSums, *, faulty: bool = False
) -> tuple[Finding, ...]:
    """Say what the figures of the weights forbid, and what they warn of.

    Where LIVE is ``faulty``, what is far from TRAIN is so by that fault: labels would not mend it.
    """
    concerns = judge_weights(
        rows=train.rows,
        ess=report.ess,
        k=report.pareto_k,
        outside=report.outside_support,
        regions=sampled.cover.regions,
        source="TRAIN",
        target="LIVE",
        remedy="Mend the fault of the data first." if faulty else None,
    )
    return tuple(
        Finding(c.id, c.severity, c.text, step="weigh", declines=c.severity == "error") for c in concerns
    )
