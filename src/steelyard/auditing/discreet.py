"""The answer without values of the tables: for those who may see its figures, but not the rows'.

What may be said is listed, not what may not: a text that is new is left out
until somebody has seen that it quotes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from steelyard.auditing.result import Advice, AuditResult, ColumnNote, Finding
from steelyard.reporting.words import ADVICE, title

# These texts hold names of columns, counts and figures, and no value.
_QUOTE_NOTHING = {
    *("duplicate-rows", "empty-column", "estimates-withheld", "extra-column", "free-text", "heavy-tail"),
    *("identifier", "inconclusive-few-rows", "inconclusive-heavy-tail", "labels-unused", "less-balanced"),
    *("backtest-may-know-train", "backtest-inconclusive", "time-beyond", "time-order"),
    *("missing-jump", "missing-target", "model-made-here", "model-may-know-train", "profile"),
    *("rare-class-left-out", "sampled", "shared-rows", "unbounded-predictions", "unread-values"),
    *("weights-held",),
}
_REASONS_IN_FIGURES = {"retrain", "retrain weighted", "recalibrate", "keep", "nothing", "no weighting"}
_ROWS = re.compile(r"\brows \d+(?:, \d+)*, and on\b")
_LEFT_OUT = "Values of the tables are left out (--no-values)."


def without_values(result: AuditResult) -> AuditResult:
    """Return the same answer with every text that may quote a value of the tables said in general words.

    Parameters
    ----------
    result : AuditResult

    Returns
    -------
    AuditResult
        Names of columns, counts, figures and the windows' bounds stay, as do the rows' own tables.
    """
    return replace(
        result,
        findings=tuple(_finding(found, result.data) for found in result.findings),
        advice=tuple(map(_advice, result.advice)),
    )


def _finding(found: Finding, columns: Sequence[ColumnNote]) -> Finding:
    if found.id in _QUOTE_NOTHING:
        return found
    named = found.columns or tuple(
        note.name for note in columns if found.text.lower().startswith(f"column '{note.name}' ".lower())
    )
    about = f" in {', '.join(repr(name) for name in named)}" if named else ""
    text = f"{title(found.id.replace('-', ' '))}{about}. {_LEFT_OUT}"
    return replace(found, text=text, mend="", columns=named)


def _advice(advice: Advice) -> Advice:
    if advice.kind in _REASONS_IN_FIGURES:
        return advice
    rows = _ROWS.search(advice.why)
    first = f"{title(rows[0])}. " if rows and advice.kind == "label" else ""
    return replace(advice, action=title(ADVICE.get(advice.kind, advice.kind)), why=first + _LEFT_OUT)
