"""The section of docs/BENCHMARKS.md: costs, accuracy, what was answered, false alarms, losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.measure import OURS, Machine, Result
from benchmarks.tables import Column, answered, answers, losing, losses, setting, table

_INTRO = """## whole_audit: the whole job, and the parts that compare one to one

Two tables, a reference with labels and live rows without, and what each package makes of them by itself:

- **steelyard**: `steelyard.audit(reference, live, target=..., proba=...)`, its report saved.
- **NannyML**: univariate drift, reconstruction error, domain classifier and CBPE at their defaults (ten
  chunks), each one's chart saved as a page: the nearest that it has to a report.
- **Evidently**: `Report([DataDriftPreset()])` saved as a page; a second row adds `ClassificationPreset()`,
  which needs live labels and is given them.

They do not do the same work, as the table of answers shows, so the seconds of whole audits say what a user
waits for and not who computes faster. The parts further down are the same work by different packages."""

_ERROR = answered("error of the estimated accuracy", "error")
_REPORT = Column(
    "report, MB", lambda r: r.answer["report"] / 1e6 if "report" in r.answer else None, "none", "{:.2f}"
)
_DISTANCE = answered("largest error of a distance", "error", show="{:.5f}")
_METRICS = tuple(
    answered(f"error of {n}", k) for k, n in (("accuracy", "accuracy"), ("auc", "AUC"), ("f1", "F1"))
)
_FIGURES = {"audit": (_ERROR, _REPORT), "columns": (_DISTANCE,), "estimate": _METRICS}
_TITLES = {
    "audit": (
        "Whole audits",
        "Not the same work. The error is that of the accuracy estimated for all live rows.",
    ),
    "columns": (
        "Column by column",
        "Kolmogorov-Smirnov for numbers, chi-squared for categories, all live rows at once, no report. "
        "Tables are read and categories encoded before the clock starts. The error is that of a number's "
        "distance, against SciPy; Evidently reports p-values alone.",
    ),
    "estimate": (
        "Performance without labels, window by window",
        "Accuracy, AUC and F1 of windows of 5,000 live rows from recalibrated confidence, with intervals: "
        "`confidence_based_windows` beside CBPE. The errors are means over the windows.",
    ),
}


def render(stored: Mapping[str, Any]) -> str:
    """Return the section as Markdown; depends on nothing but the results."""
    parts = [{**p, "results": [Result(**r) for r in p["results"]]} for p in stored["parts"]]
    everyone = [r for p in parts for r in p["results"]]
    where = setting(
        Machine(**stored["machine"]),
        versions=stored["versions"],
        repeats=stored["repeats"],
        results=everyone,
    )
    text, lost = [_INTRO, where], []
    for kind in ("audit", "columns", "estimate"):
        title, note = _TITLES[kind]
        text += [f"### {title}", note]
        for part in (p for p in parts if p["kind"] == kind):
            rows = " and ".join(f"{n:,}" for n in part["rows"])
            head = f"{part['title']}: {rows} rows, {part['columns']} columns"
            text.append(table(part["results"], figures=_FIGURES[kind], head=head))
            lost += losses(f"{title}, {part['title']}", part["results"], figures=_FIGURES[kind])
            if kind == "audit":
                text.append(_steps(part["results"]))
        if kind == "audit":
            text += ["What each one's run on the first of them answered:", _answers(parts)]
    text += ["### False alarms, and real ones", _alarms(stored), losing([*lost, *_alarm_losses(stored)])]
    return "\n\n".join(t.strip() for t in text if t.strip()) + "\n"


def _steps(results: list[Result]) -> str:
    own = next((r for r in results if r.name == OURS), None)
    if own is None or "steps" not in own.answer:
        return ""
    steps = sorted(own.answer["steps"].items(), key=lambda kv: -kv[1])
    return (
        "steelyard's seconds by step, in its first run: " + ", ".join(f"{k} {v:.1f}" for k, v in steps) + "."
    )


def _answers(parts: list[dict[str, Any]]) -> str:
    first = next(p for p in parts if p["kind"] == "audit")
    found = {r.name: r.answer["answered"] for r in first["results"] if "answered" in r.answer}
    questions = list(dict.fromkeys(q for said in found.values() for q in said))
    return answers(questions, list(found), found)


def _alarms(stored: Mapping[str, Any]) -> str:
    reference, live = stored["pairs"]["rows"]
    lines = [
        f"{stored['pairs']['count']} pairs of {reference:,} reference and {live:,} live rows for each line, "
        "eight numbers and two categories, independent. Where something moves, it is two numbers, by so many "
        "standard deviations, and one category, by half that share of its rows. Every package at its "
        "defaults; NannyML's chunks have the size of the live table, which is one of them.",
        "",
        "| moved by | | columns flagged that stayed | columns flagged that moved "
        "| tables with a flagged column | tables flagged as a whole |",
        "|---|---|---|---|---|---|",
    ]
    for row in stored["alarms"]:
        move = "nothing" if row["move"] == 0 else f"{row['move']:g}"
        for name, r in row["results"].items():
            if r.get("failure"):
                lines.append(f"| {move} | {name} | no answer: {r['failure']} | | | |")
                continue
            found = "" if r["found"] is None else f"{r['found']:.0%}"
            joint = "; ".join(f"{k} {v:.0%}" for k, v in r["joint"].items())
            lines.append(f"| {move} | {name} | {r['false']:.1%} | {found} | {r['any']:.0%} | {joint} |")
    return "\n".join(lines)


def _alarm_losses(stored: Mapping[str, Any]) -> list[str]:
    said = []
    for row in stored["alarms"]:
        own = row["results"][OURS]
        if own.get("failure"):
            said.append(f"Alarms at {row['move']:g}: no answer.")
            continue
        for name, other in row["results"].items():
            if name == OURS or other.get("failure"):
                continue
            if other["false"] < own["false"]:
                said.append(
                    f"False alarms when the move is {row['move']:g}: {own['false']:.1%} of the columns that "
                    f"stayed against {other['false']:.1%} ({name})."
                )
            if own["found"] is not None and other["found"] > own["found"]:
                said.append(
                    f"Columns found that moved by {row['move']:g}: {own['found']:.0%} against "
                    f"{other['found']:.0%} ({name}, which flags {other['false']:.0%} of those that stayed)."
                )
    return said
