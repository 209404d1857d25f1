"""Whether and how the tables differ, as far as TRAIN's rows can tell."""

from __future__ import annotations

from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.limits import MAX_OUTSIDE
from steelyard.auditing.result import Finding, ReadingSaid, Shift, WeightReport
from steelyard.reporting.words import READINGS


def shift_record(sampled: Sampled, weights: WeightReport) -> tuple[Shift, tuple[Finding, ...]]:
    """Return the shift, and why it is so named.

    The name is withdrawn where TRAIN does not reach LIVE: every kind is told from
    the others by comparing like rows, and there are none. Where there are a few, it
    is only the claim that the relation changed which they cannot carry.
    """
    found = sampled.shift
    refuted = found.kind == "concept" and not weights.trusted
    unnamed = weights.outside_support > MAX_OUTSIDE or refuted
    shift = Shift(
        "cannot tell" if unnamed else found.kind,
        found.auc,
        found.p_value,
        found.detectable_auc,
        found.features,
        tuple(ReadingSaid(w.reading.name, READINGS[w.reading.name]) for w in sampled.readings),
    )
    return shift, () if unnamed else found.findings()
