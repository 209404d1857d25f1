"""The answer on a terminal: one screen of 80 columns and 24 lines, readable without colour."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from steelyard.reporting.numbers import (
    change_digits,
    interval,
    number,
    percent,
    percent_interval,
    row_digits,
)
from steelyard.reporting.verdict import Verdict, faults, verdict, worst_first
from steelyard.reporting.words import SEVERITIES, metric_name, short, title

# Lines: verdict 5, metrics 2 + 5, weights 1, why 2, coverage 1, advice 3, findings 2, two empty: 23,
# which leaves one for where the report is. A fault of the data takes two more for the verdict, and those
# that would say why: until it is mended, that is why.
_METRICS = 5
_MANY_UNBOUNDED = 0.01
_SENTENCE = re.compile(r"[.](?=\s)")

# No text is ever so long, unless somebody has made it so.
_LONGEST = 4000
_VERDICT, _VERDICT_OF_FAULT = 5, 6


def summary(audit: Mapping[str, Any]) -> RenderableType:
    """Return the answer as something that a rich console prints.

    Parameters
    ----------
    audit : mapping
        The content of ``audit.json``.

    Returns
    -------
    RenderableType
        On a terminal at most 24 lines at 80 columns: verdict, metrics, weights, the
        parts of the change, coverage, advice and the worst findings. Colour repeats
        what the words say. Elsewhere nothing is cut: texts take the lines they need.

    Examples
    --------
    >>> from rich.console import Console
    >>> from steelyard.reporting import summary
    >>> audit = {
    ...     "schema_version": "2", "steelyard_version": "0.1", "seed": 0, "rows": {"train": 900, "live": 400},
    ...     "data": [], "weights": None, "windows": [], "relation": None, "attribution": None,
    ...     "prediction": None,
    ...     "advice": [], "findings": [], "seconds": {}, "performance": [],
    ...     "shift": {"kind": "none", "auc": {"value": 0.503, "low": 0.491, "high": 0.515}, "p_value": 0.41,
    ...               "detectable_auc": 0.54, "features": [], "readings": []},
    ... }
    >>> Console(width=80).print(summary(audit))  # doctest: +NORMALIZE_WHITESPACE
    No difference between TRAIN and LIVE was found (AUC 0.503 [0.491, 0.515]; an AUC
    of 0.54 or more would have been seen).
    """
    said = verdict(audit)
    first = {"inconclusive": "Inconclusive. ", "partial": "In part inconclusive. ", "answered": ""}[
        said.state
    ]
    parts: list[RenderableType] = [
        _Clamped(_verdict(said, first), _VERDICT_OF_FAULT if said.faulty else _VERDICT),
        Text(),
    ]
    if audit["performance"]:
        parts.append(_metrics(audit["performance"]))
    parts += [Text(), _Facts(tuple(_facts(audit)))]
    return Group(*parts)


def _verdict(said: Verdict, state: str) -> Text:
    """Write the verdict: a fault of the data first of all, then whether there is an answer."""
    opening, rest = (said.sentences[:1], said.sentences[1:]) if said.faulty else ((), said.sentences)
    parts = [Text(short(text, 1000) + " ", "bold") for text in opening]
    return Text.assemble(*parts, (state, "bold italic"), _plain(" ".join(rest)))


@dataclass(frozen=True)
class _Facts:
    """Labels and texts: in two columns on a terminal, else one after the other, whole."""

    rows: tuple[tuple[str, int, str], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        wide = max((len(label) for label, _, _ in self.rows), default=0)
        for label, lines, text in self.rows:
            if console.is_terminal:
                grid.add_row(label, _Clamped(_plain(text), lines))
            else:
                yield Text(f"{label:<{wide}}  ") + _plain(text)
        if console.is_terminal and self.rows:
            yield grid


@dataclass(frozen=True)
class _Clamped:
    """Text that wraps, and on a terminal is cut after so many lines: behind a sentence, if one fits."""

    text: Text
    lines: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wrapped = self.text.wrap(console, options.max_width)
        if not console.is_terminal:
            yield from wrapped
            return
        if len(wrapped) > self.lines:
            whole = self._sentences(console, options)
            if whole is not None:
                yield from whole
                return
            last = wrapped[self.lines - 1]
            last.rstrip()
            last.truncate(options.max_width - 1)
            last.append("…")
        yield from wrapped[: self.lines]

    def _sentences(self, console: Console, options: ConsoleOptions) -> list[Text] | None:
        """Return the lines of as many whole sentences as fit; None if not even the first does."""
        ends = [match.end() for match in _SENTENCE.finditer(self.text.plain)]
        for end in reversed(ends):
            lines = list((self.text[:end] + Text(" …")).wrap(console, options.max_width))
            if len(lines) <= self.lines:
                return lines
        return None


def _plain(text: str) -> Text:
    """Return the text as it is: markup in a column name stays text, and cannot reach the terminal."""
    return Text(short(text, _LONGEST))


def _metrics(rows: list[Mapping[str, Any]]) -> Table:
    measured = any(row["live_actual"] is not None for row in rows)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    shown = rows[:_METRICS] if len(rows) <= _METRICS else rows[: _METRICS - 1]
    table.add_column("Metric", no_wrap=True, overflow="ellipsis")
    moves = any(row.get("drift_low") is not None for row in rows)
    # All five fit into 80 columns if the estimate's heading is short.
    names = ["TRAIN", "estimated" if measured else "LIVE, estimated"]
    names.append("if relation holds" if moves else "95% interval")
    names += [name for name, there in (("if it moves", moves), ("measured", measured)) if there]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown:
        digits = row_digits(row)
        known = row["live_estimate"] is not None
        estimate = number(row["live_estimate"], digits) if known else "inconclusive"
        cells = [
            _plain(short(title(metric_name(row["metric"])), 24)),
            Text(number(row["naive"], digits)),
            Text(estimate, "bold" if known else "italic"),
            Text(interval(row["low"], row["high"], digits)),
        ]
        if moves:
            cells.append(Text(interval(row.get("drift_low"), row.get("drift_high"), digits)))
        if measured:
            cells.append(Text(number(row["live_actual"], digits)))
        table.add_row(*cells)
    if len(rows) > len(shown):
        table.add_row(Text(f"and {len(rows) - len(shown)} more", "dim"))
    return table


def _facts(audit: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield the lines below the metrics: label, most lines, text."""
    weights, attribution, prediction = audit["weights"], audit["attribution"], audit["prediction"]
    if weights is not None:
        yield "Weights", 1, _weights(weights)
    if attribution is not None and attribution["parts"] and not faults(audit):
        yield "Why", 2, _why(attribution, audit["performance"])
    if prediction is not None:
        yield "Coverage", 1, _coverage(prediction)
    for i, advice in enumerate(audit["advice"][:2]):
        yield "" if i else "Do", 1 if i else 2, f"{advice['action']}: {advice['why']}"
    findings = worst_first(audit["findings"])
    if findings:
        counts = [
            f"{n} {name.lower()}{'s' if n > 1 else ''}"
            for key, name in SEVERITIES.items()
            if (n := sum(f["severity"] == key for f in findings))
        ]
        first = findings[0]
        yield "Findings", 2, f"{', '.join(counts)}; {SEVERITIES[first['severity']]}: {first['text']}"


def _weights(weights: Mapping[str, Any]) -> str:
    k = weights["pareto_k"]
    share = percent(weights["ess_fraction"])
    text = f"worth {number(weights['ess'], 0)} rows ({share} of TRAIN)"
    text += f", Pareto k {k:.2f}" if k is not None else ", Pareto k not measured"
    return f"{text}, {percent(weights['outside_support'])} of LIVE uncovered"


def _why(attribution: Mapping[str, Any], performance: list[Mapping[str, Any]]) -> str:
    parts = sorted(attribution["parts"], key=lambda p: -abs(p["change"]))
    digits = change_digits(attribution, performance)
    named = [f"{short(p['name'], 40)} {number(p['change'], digits, sign=True)}" for p in parts[:3]]
    rest = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    total = number(attribution["total"], digits, sign=True)
    return f"{metric_name(attribution['metric'])} {total}: {'; '.join(named)}{rest}"


def _coverage(prediction: Mapping[str, Any]) -> str:
    aim = percent(1 - prediction["alpha"])
    if prediction["expected_coverage"] is None:
        return f"inconclusive: no coverage can be stated (aim {aim})"
    text = f"{percent(prediction['expected_coverage'], 1)} "
    text += f"{percent_interval(prediction['low'], prediction['high'])} (aim {aim})"
    if prediction["unbounded"] >= _MANY_UNBOUNDED:
        whole = "sets hold every class" if prediction["kind"] == "set" else "intervals are unbounded"
        text += f", but {percent(prediction['unbounded'])} of the {whole}"
    if prediction["live_actual_coverage"] is not None:
        return f"{text}, measured {percent(prediction['live_actual_coverage'], 1)}"
    if prediction["unweighted_expected_coverage"] is not None:
        return f"{text}, without weights {percent(prediction['unweighted_expected_coverage'], 1)}"
    return text
