"""How an audit is put into words and figures: rounding, names, and the verdict in plain sentences.

Works on the content of ``audit.json`` alone, so that the page and the terminal
say the same thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["answered", "partial", "inconclusive"]

# Name in a sentence, and whether more is better.
_METRICS: Mapping[str, tuple[str, bool]] = {
    "accuracy": ("accuracy", True),
    "auc": ("AUC", True),
    "f1": ("F1", True),
    "log_loss": ("log loss", False),
    "brier": ("Brier score", False),
    "mae": ("mean absolute error", False),
    "rmse": ("root mean squared error", False),
    "r2": ("R²", True),
}

KINDS: Mapping[str, str] = {
    "none": "No shift found",
    "covariate": "Covariate shift",
    "label": "Label shift",
    "both": "Covariate and label shift",
    "concept": "Concept shift",
    "cannot tell": "Cannot tell",
}

_KIND_MEANING: Mapping[str, str] = {
    "covariate": "the mix of inputs has moved (covariate shift)",
    "label": "the mix of outcomes has moved (label shift)",
    "both": "the mix of inputs and the mix of outcomes have both moved",
    "concept": "the relation between the inputs and the outcome has changed (concept shift)",
    "cannot tell": "the data cannot tell which kind of shift it is",
}

SEVERITIES: Mapping[str, str] = {"error": "Error", "warning": "Warning", "info": "Note"}


@dataclass(frozen=True)
class Verdict:
    """The answer in words: a state, a short label and the sentences of one paragraph."""

    state: State
    label: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences as one paragraph."""
        return " ".join(self.sentences)


def short(text: object, length: int = 60) -> str:
    """Make any text safe to show in one line: no control characters, at most ``length`` long.

    Column names and categories come from files, and may hold terminal escapes,
    direction overrides or a whole page of text.

    Examples
    --------
    >>> short("a very long name", 10)
    'a very lo…'
    """
    clean = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in str(text))
    return clean if len(clean) <= length else clean[: length - 1].rstrip() + "…"


def metric_name(key: str) -> str:
    """Return a metric's name as it stands inside a sentence."""
    return _METRICS[key][0] if key in _METRICS else short(key.replace("_", " "), 40)


def title(text: str) -> str:
    """Return the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def higher_is_better(key: str) -> bool | None:
    """Return whether more of this metric is better, or None where that is not known."""
    return _METRICS[key][1] if key in _METRICS else None


def decimals(values: Iterable[float | None], low: float | None = None, high: float | None = None) -> int:
    """Return how many decimals a reader can use for numbers that belong together.

    Two figures of the interval's half-width where there is one, otherwise three
    figures of the largest value; never more than three figures after the point
    for numbers of ordinary size. Negative means rounding to tens, hundreds, and
    so on.

    Examples
    --------
    >>> decimals([0.79123], 0.77712, 0.80534)
    3
    >>> decimals([48213.7], 47011.2, 49400.9)
    -2
    """
    largest = max((abs(v) for v in values if v is not None), default=0.0)
    by_size = 2 - math.floor(math.log10(largest)) if largest > 0 else 2
    most = max(3, by_size) if largest < 0.1 else 3
    if low is not None and high is not None and high > low:
        return min(1 - math.floor(math.log10((high - low) / 2)), most)
    return min(by_size, most)


def number(value: float | None, digits: int | None = None, *, sign: bool = False) -> str:
    """Write a number to be read: rounded, with thousands separators; a dash where there is none.

    Examples
    --------
    >>> number(0.791234), number(48213.7, -2), number(-0.0001, 3), number(None)
    ('0.791', '48,200', '0.000', '–')
    """
    if value is None:
        return "–"
    digits = decimals([value]) if digits is None else digits
    if digits > 5 or abs(value) >= 1e9:
        return f"{value:+.2e}" if sign else f"{value:.2e}"
    rounded = round(value, digits) + 0.0
    text = f"{abs(rounded):,.{max(digits, 0)}f}"
    return ("-" if rounded < 0 else "+" if sign and rounded > 0 else "") + text


def percent(value: float | None, digits: int | None = None) -> str:
    """Write a share as a percentage.

    Examples
    --------
    >>> percent(0.3412), percent(0.0231), percent(0.0002), percent(0.9031, 1)
    ('34%', '2.3%', '<0.1%', '90.3%')
    """
    if value is None:
        return "–"
    if digits is None:
        if 0 < value < 0.001:
            return "<0.1%"
        digits = 1 if 0 < value < 0.0995 else 0
    return f"{100 * value:.{digits}f}%"


def interval(low: float | None, high: float | None, digits: int) -> str:
    """Write an interval in brackets, or nothing where it is not known."""
    if low is None or high is None:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def percent_interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares in brackets, or nothing where it is not known."""
    if low is None or high is None:
        return ""
    return f"[{percent(low, 1)}, {percent(high, 1)}]"


def p_value(value: float | None) -> str:
    """Write a p-value.

    Examples
    --------
    >>> p_value(0.00002), p_value(0.0314)
    ('p < 0.001', 'p = 0.031')
    """
    if value is None:
        return "no p-value"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def sentence(text: str) -> str:
    """Return the text ended by a full stop, unless it ends in one already."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def reasons(audit: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why steps declined to answer, one text each; empty where all answered."""
    return tuple(f["text"] for f in audit["findings"] if f["declines"])


def worst_first(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the findings sorted: first what could not be answered, then by severity."""
    order = list(SEVERITIES)
    return sorted(findings, key=lambda f: (not f["declines"], order.index(f["severity"])))


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


def row_digits(row: Mapping[str, Any]) -> int:
    """Return the decimals for one metric's numbers."""
    values = [row["naive"], row["live_estimate"], row["live_actual"]]
    return decimals(values, row["low"], row["high"])


def change_digits(attribution: Mapping[str, Any], performance: Sequence[Mapping[str, Any]]) -> int:
    """Return the decimals for the parts of a change.

    As fine as the interval of the largest part allows, but never finer than the
    metric itself is shown, or than three decimals.
    """
    largest = max(attribution["parts"], key=lambda p: abs(p["change"]))
    digits = decimals([attribution["total"], largest["change"]], largest["low"], largest["high"])
    own = [row_digits(row) for row in performance if row["metric"] == attribution["metric"]]
    return min(digits, max([3, *own]))


def verdict(audit: Mapping[str, Any]) -> Verdict:
    """Put the answer into one paragraph.

    Parameters
    ----------
    audit : mapping
        The content of ``audit.json``.

    Returns
    -------
    Verdict
        Says first whether and how the tables differ, then how good the model is
        on LIVE, then what was declined and why.
    """
    declined = reasons(audit)
    row = primary(audit)
    answered = row is not None and row["live_estimate"] is not None
    state: State = "answered" if not declined else "partial" if answered else "inconclusive"
    sentences = [_shift_sentence(audit["shift"])]
    if row is not None:
        sentences += _performance_sentences(row)
    sentences += [sentence(short(text, 400)) for text in declined[:2]]
    label = KINDS[audit["shift"]["kind"]]
    return Verdict(state, "Inconclusive" if state == "inconclusive" else label, tuple(sentences))


def _shift_sentence(shift: Mapping[str, Any]) -> str:
    auc = shift["auc"]
    apart = ""
    if auc["value"] is not None:
        digits = decimals([auc["value"]], auc["low"], auc["high"])
        limits = interval(auc["low"], auc["high"], digits)
        apart = f"AUC {number(auc['value'], digits)} {limits}".strip()
    if shift["kind"] == "none":
        seen = shift["detectable_auc"]
        limit = f"; an AUC of {number(seen, 2)} or more would have been seen" if seen is not None else ""
        inside = f" ({apart}{limit})" if apart else ""
        return f"No difference between TRAIN and LIVE was found{inside}."
    meaning = _KIND_MEANING[shift["kind"]]
    differs = shift["p_value"] is not None and shift["p_value"] < 0.05
    if shift["kind"] == "cannot tell" and not differs:
        return f"The data cannot tell whether LIVE differs from TRAIN{f' ({apart})' if apart else ''}."
    joint = ", but " if shift["kind"] == "cannot tell" else ": "
    return f"LIVE differs from TRAIN{f' ({apart})' if apart else ''}{joint}{meaning}."


def _performance_sentences(row: Mapping[str, Any]) -> list[str]:
    name, digits = metric_name(row["metric"]), row_digits(row)
    out = []
    if row["live_estimate"] is None:
        out.append(f"The model's {name} on LIVE could not be estimated.")
    else:
        limits = interval(row["low"], row["high"], digits)
        value = f"{number(row['live_estimate'], digits)} {limits}".strip()
        out.append(f"The model's {name} there is estimated at {value}{_against_naive(row, digits)}.")
    if row["live_actual"] is not None:
        where = ""
        if row["low"] is not None and row["high"] is not None:
            inside = row["low"] <= row["live_actual"] <= row["high"]
            where = ", inside the interval" if inside else ", outside the interval"
        out.append(f"The live labels that have arrived give {number(row['live_actual'], digits)}{where}.")
    return out


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
