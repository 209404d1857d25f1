"""The verdict in plain sentences, from the content of ``audit.json`` alone.

The page and the terminal both take it from here, and so say the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from steelyard.reporting.numbers import decimals, interval, number, row_digits
from steelyard.reporting.words import (
    KINDS,
    RELATION,
    SEVERITIES,
    higher_is_better,
    metric_name,
    sentence,
    short,
    title,
)

State = Literal["answered", "partial", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """The answer in words: a state, a short label and the sentences of one paragraph.

    Where the data are ``faulty``, the fault is the first sentence.
    """

    state: State
    label: str
    sentences: tuple[str, ...]
    faulty: bool = False

    @property
    def text(self) -> str:
        """The sentences as one paragraph."""
        return " ".join(self.sentences)


def reasons(audit: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why steps declined to answer, one text each; empty where all answered."""
    return tuple(f["text"] for f in audit["findings"] if f["declines"])


def worst_first(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the findings sorted: faults of the data, then what could not be answered, then by severity."""
    order = list(SEVERITIES)
    return sorted(
        findings, key=lambda f: (not f.get("explains"), not f["declines"], order.index(f["severity"]))
    )


def faults(audit: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the faults of the data that explain how the tables differ, or why a model looks so good."""
    return tuple(f["text"] for f in audit["findings"] if f.get("explains"))


def primary(audit: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the record of the metric that the answer speaks about.

    The one that the change was attributed for, else the first that has an
    estimate, else the first.
    """
    rows: Sequence[Mapping[str, Any]] = audit["performance"]
    wanted = (audit["attribution"] or {}).get("metric")
    for row in rows:
        if row["metric"] == wanted:
            return row
    return next((r for r in rows if r["live_estimate"] is not None), rows[0] if rows else None)


def verdict(audit: Mapping[str, Any]) -> Verdict:
    """Put the answer into one paragraph.

    Parameters
    ----------
    audit : mapping
        The content of ``audit.json``.

    Returns
    -------
    Verdict
        Says first what is wrong with the data, if anything, then whether and how the
        tables differ, how good the model is on LIVE, and what was declined and why.
    """
    declined = reasons(audit)
    row = primary(audit)
    answered = row is not None and row["live_estimate"] is not None
    state: State = "answered" if not declined else "partial" if answered else "inconclusive"
    wrong = faults(audit)
    sentences = [*_fault_sentences(wrong), _shift_sentence(audit["shift"])]
    if row is not None:
        sentences += _performance_sentences(row, audit.get("relation"))
    sentences += [sentence(short(text, 400)) for text in declined[:2]]
    label = KINDS[audit["shift"]["kind"]].label
    label = "Inconclusive" if state == "inconclusive" else label
    return Verdict(state, label, tuple(sentences), bool(wrong))


def _fault_sentences(wrong: Sequence[str]) -> list[str]:
    """Say what is wrong with the data, which is the answer until it is mended."""
    if not wrong:
        return []
    rest = len(wrong) - 1
    more = f"{rest} more such fault{'s are' if rest > 1 else ' is'} among the findings."
    return [sentence(short(wrong[0], 400)), *([more] if rest else [])]


def _shift_sentence(shift: Mapping[str, Any]) -> str:
    auc = shift["auc"]
    apart = ""
    if auc["value"] is not None:
        digits = decimals([auc["value"]], auc["low"], auc["high"])
        limits = interval(auc["low"], auc["high"], digits)
        apart = f"AUC {number(auc['value'], digits)} {limits}".strip()
    meaning = KINDS[shift["kind"]].meaning
    if shift["kind"] == "none":
        seen = shift["detectable_auc"]
        limit = f"; an AUC of {number(seen, 2)} or more would have been seen" if seen is not None else ""
        inside = f" ({apart}{limit})" if apart else ""
        return f"{title(meaning)}{inside}."
    differs = shift["p_value"] is not None and shift["p_value"] < 0.05
    if shift["kind"] == "cannot tell" and not differs:
        return f"The data cannot tell whether LIVE differs from TRAIN{f' ({apart})' if apart else ''}."
    joint = ", but " if shift["kind"] == "cannot tell" else ": "
    return f"LIVE differs from TRAIN{f' ({apart})' if apart else ''}{joint}{meaning}."


def _performance_sentences(row: Mapping[str, Any], relation: Mapping[str, Any] | None) -> list[str]:
    name, digits = metric_name(row["metric"]), row_digits(row)
    out = []
    if row["live_estimate"] is None:
        out.append(f"The model's {name} on LIVE could not be estimated.")
    else:
        value = number(row["live_estimate"], digits)
        limits = _two_intervals(row, relation, digits)
        out.append(f"The model's {name} there is estimated at {value}{_against_naive(row, digits)}{limits}.")
    if row["live_actual"] is not None:
        where = ""
        if row["low"] is not None and row["high"] is not None:
            inside = row["low"] <= row["live_actual"] <= row["high"]
            where = ", inside the interval" if inside else ", outside the interval"
        out.append(f"The live labels that have arrived give {number(row['live_actual'], digits)}{where}.")
    return out


def _two_intervals(row: Mapping[str, Any], relation: Mapping[str, Any] | None, digits: int) -> str:
    """Say the interval if the relation of target and columns holds, and the one that allows for a move."""
    if row["low"] is None or row["high"] is None:
        return ""
    low, high = number(row["low"], digits), number(row["high"], digits)
    if relation is None or row.get("drift_low") is None or row.get("drift_high") is None:
        return f" (95% interval {low} to {high})"
    column = f"'{short(relation['column'] or '', 30)}'"
    moved = RELATION[relation["source"]].format(column=column)
    far_low, far_high = number(row["drift_low"], digits), number(row["drift_high"], digits)
    only = "" if row["live_actual"] is not None else ", which only labels can tell"
    return (
        f": {low} to {high} if the relation of target and columns holds{only}, {far_low} to {far_high} "
        f"if {moved}"
    )


def _against_naive(row: Mapping[str, Any], digits: int) -> str:
    naive, estimate = row["naive"], row["live_estimate"]
    if naive is None:
        return ""
    text = number(naive, digits)
    known = row["low"] is not None and row["high"] is not None
    if (known and row["low"] <= naive <= row["high"]) or text == number(estimate, digits):
        return f", not clearly different from {text} in training"
    better = higher_is_better(row["metric"])
    note = "" if better is not False else " (lower is better)"
    return f", {'down' if estimate < naive else 'up'} from {text} in training{note}"
