"""What the page shows: the content of ``audit.json``, rounded, sorted, cut and drawn, section by section.

Nothing here grows with the data: lists are cut, and say how much was left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from steelyard.reporting import figures, numbers
from steelyard.reporting.figures import Mark, Scale
from steelyard.reporting.numbers import (
    change_digits,
    decimals,
    interval,
    percent,
    percent_interval,
    row_digits,
)
from steelyard.reporting.verdict import primary, reasons, verdict, worst_first
from steelyard.reporting.words import KINDS, TRUST, higher_is_better, metric_name, short, title

# What one list of the page shows at most. The rest is in audit.json.
TOP = 15
MOST_POINTS = 240
MOST_WINDOWS = 40
MOST_FINDINGS = 40


def view(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the template of the page needs, from the content of ``audit.json``."""
    return {
        "audit": audit,
        "verdict": verdict(audit),
        "reasons": reasons(audit),
        "tiles": _tiles(audit),
        "shift": _shift(audit["shift"]),
        "balance": _balance(audit["weights"]),
        "weighed": _weighed(audit),
        "trust": audit["weights"] and TRUST[audit["weights"]["trust"]],
        "performance": _performance(audit["performance"]),
        "windows": _windows(audit["windows"]),
        "relation": _relation(audit["relation"], primary(audit)),
        "attribution": _attribution(audit["attribution"], audit["performance"]),
        "prediction": _prediction(audit["prediction"]),
        "notes": _cut([n for n in audit["data"] if n["issues"]], TOP),
        "findings": _cut(worst_first(audit["findings"]), MOST_FINDINGS),
        "assumptions": _assumptions(audit),
        "features": sum(1 for n in audit["data"] if n["role"] == "feature"),
        "target": next((n["name"] for n in audit["data"] if n["role"] == "target"), None),
        "total_seconds": sum(audit["seconds"].values()),
    }


def number(value: float | None, digits: int | None = None, *, sign: bool = False) -> str:
    """Write a number as in the terminal, with a true minus sign."""
    return numbers.number(value, digits, sign=sign).replace("-", "−")


def _said(name: str, value: str) -> str:
    return f"{short(name)}: {value}"


def _or_none(value: float | None, digits: int) -> str | None:
    return None if value is None else number(value, digits)


def name(text: str) -> Markup:
    """Return a column's name, cut, that may break after each underscore."""
    return Markup(escape(short(text)).replace("_", Markup("_<wbr>")))


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return interval(low, high, digits).replace("-", "−")


def _cut(rows: Sequence[Any], most: int) -> dict[str, Any]:
    return {"rows": list(rows[:most]), "more": max(len(rows) - most, 0)}


def _tiles(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the big numbers, each with lines below; one without a value reads as inconclusive."""
    auc, weights, prediction = audit["shift"]["auc"], audit["weights"], audit["prediction"]
    digits = decimals([auc["value"]], auc["low"], auc["high"])
    lines = [_interval(auc["low"], auc["high"], digits), "0.5 is not at all, 1 is always"]
    if auc["value"] is None:
        lines = ["It was not measured."]
    tiles = [_tile("Can LIVE be told from TRAIN?", _or_none(auc["value"], digits), lines, unit="AUC")]
    row = primary(audit)
    if row is not None:
        digits = row_digits(row)
        lines = [_interval(row["low"], row["high"], digits)]
        if row["drift_low"] is not None:
            lines[0] += " if the relation holds"
            lines.append(f"{_interval(row['drift_low'], row['drift_high'], digits)} if it moves")
        if row["live_estimate"] is None:
            lines = ["No estimate can be supported."]
        for key, words in (("live_actual", "measured"), ("naive", "in training")):
            if row[key] is not None:
                lines.append(f"{number(row[key], digits)} {words}")
        name = title(metric_name(row["metric"]))
        tiles.append(_tile(f"{name} on LIVE, estimated", _or_none(row["live_estimate"], digits), lines))
    if weights is not None:
        lines = [
            f"{percent(weights['ess_fraction'])} of {_weighed(audit):,} rows",
            "as an effective sample size",
        ]
        tiles.append(_tile("TRAIN rows that still count", _or_none(weights["ess"], 0), lines))
    if prediction is not None:
        value: str | None = percent(prediction["expected_coverage"], 1)
        aim = f"aiming at {percent(1 - prediction['alpha'])}"
        lines = [percent_interval(prediction["low"], prediction["high"]), aim]
        if prediction["expected_coverage"] is None:
            value, lines = None, ["No coverage can be stated.", aim]
        tiles.append(_tile(f"Coverage of prediction {prediction['kind']}s there", value, lines))
    return tiles


def _weighed(audit: Mapping[str, Any]) -> int:
    """Return how many rows of TRAIN were weighed: of a profile that holds a sample, those of the sample."""
    weights = audit["weights"]
    every: int = audit["rows"]["train"]
    known = weights is not None and weights["ess"] and weights["ess_fraction"]
    return round(weights["ess"] / weights["ess_fraction"]) if known else every


def _tile(label: str, value: str | None, below: Sequence[str], *, unit: str = "") -> dict[str, Any]:
    return {"label": label, "value": value, "unit": unit, "below": [line for line in below if line]}


def _shift(shift: Mapping[str, Any]) -> dict[str, Any]:
    features = sorted(shift["features"], key=lambda f: -(f["effect"] or 0.0))
    cut = _cut(features, TOP)
    scale = Scale(0.0, max([0.1, *(1.08 * (f["effect"] or 0.0) for f in features)]))
    rows = [
        {
            **f,
            "figure": figures.bar(scale, f["effect"] or 0.0, _said(f["name"], number(f["effect"], 2))),
        }
        for f in cut["rows"]
    ]
    found = sum(1 for f in features if f["p_adjusted"] is not None and f["p_adjusted"] < 0.05)
    return {"rows": rows, "more": cut["more"], "scale": scale, "found": found, "count": len(features)}


def _balance(weights: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if weights is None or not weights["balance"]:
        return None
    ordered = sorted(weights["balance"], key=lambda b: -abs(b["before"] or 0.0))
    cut = _cut(ordered, TOP)
    widest = max([0.2, *(1.08 * abs(b[k] or 0.0) for b in cut["rows"] for k in ("before", "after"))])
    scale = Scale(-widest, widest)
    rows = []
    for b in cut["rows"]:
        words = f"{short(b['name'])}: {number(b['before'], 2)} before, {number(b['after'], 2)} after"
        marks = [Mark(b["before"], "hollow"), Mark(b["after"])]
        rows.append({**b, "figure": figures.dots(scale, marks, words, reference=(-0.1, 0.1))})
    off = sum(1 for b in ordered if b["after"] is not None and abs(b["after"]) > 0.1)
    return {"rows": rows, "more": cut["more"], "scale": scale, "off": off, "count": len(ordered)}


_COLUMNS = (("naive", "training"), ("live_estimate", "estimate on LIVE"), ("live_actual", "measured"))


def _performance(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    out = []
    methods: dict[str, list[str]] = {}
    for row in rows[:TOP]:
        name, digits = metric_name(row["metric"]), row_digits(row)
        figures_of = {key: _or_none(row[key], digits) for key, _ in _COLUMNS}
        said = [f"{words} {figures_of[key]}" for key, words in _COLUMNS if figures_of[key]]
        marks = [
            Mark(row["naive"], "hollow"),
            Mark(
                row["live_estimate"], "solid", row["low"], row["high"], (row["drift_low"], row["drift_high"])
            ),
            Mark(row["live_actual"], "diamond"),
        ]
        keys = ("naive", "live_estimate", "low", "high", "drift_low", "drift_high", "live_actual")
        ends = [row[key] for key in keys]
        scale = Scale.around(ends, pad=0.12)
        better = higher_is_better(row["metric"])
        out.append(
            {
                **figures_of,
                "metric": row["metric"],
                "hint": {True: "higher is better", False: "lower is better", None: ""}[better],
                "limits": _interval(row["low"], row["high"], digits),
                "drift": _interval(row["drift_low"], row["drift_high"], digits),
                "worth": row["worth_labels"],
                "figure": figures.dots(scale, marks, f"{name}: {', '.join(said)}", grid=False),
            }
        )
        if row["live_estimate"] is not None:
            methods.setdefault(row["method"], []).append(name)
    return {
        "rows": out,
        "more": max(len(rows) - TOP, 0),
        "methods": methods,
        "measured": (measured := any(r["live_actual"] is not None for r in rows)),
        "drawn": bool(methods) or measured,  # a training figure alone has nothing to stand beside
    }


def _windows(windows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a chart for each of the first metrics, and a table of the latest windows."""
    if not windows:
        return None
    step = -(-len(windows) // MOST_POINTS)
    shown = windows[::step]
    charts = []
    for metric in [p["metric"] for p in windows[0]["performance"]][:3]:
        records = [next((p for p in w["performance"] if p["metric"] == metric), None) for w in shown]
        charts.append({"metric": metric, "figure": _window_chart(metric, records, shown)})
    metric = charts[0]["metric"] if charts else None
    latest = []
    for w in windows[-MOST_WINDOWS:]:
        row = next((p for p in w["performance"] if p["metric"] == metric), None)
        digits = row_digits(row) if row else 0
        known = row is not None and row["live_estimate"] is not None
        latest.append(
            {
                "start": w["start"],
                "end": w["end"],
                "rows": w["rows"],
                "estimate": number(row["live_estimate"], digits) if known and row else None,
                "limits": _interval(row["low"], row["high"], digits) if row else "",
                "actual": number(row["live_actual"], digits)
                if row and row["live_actual"] is not None
                else None,
            }
        )
    return {
        "charts": charts,
        "metric": metric,
        "step": step,
        "count": len(windows),
        "first": shown[0]["start"],
        "last": shown[-1]["end"],
        "latest": latest,
        "earlier": max(len(windows) - MOST_WINDOWS, 0),
        "measured": any(row["actual"] for row in latest),
    }


def _window_chart(metric: str, records: Sequence[Mapping[str, Any] | None], windows: Sequence[Any]) -> Markup:
    marks = [Mark(r["live_estimate"], "solid", r["low"], r["high"]) if r else Mark(None) for r in records]
    actual = [r["live_actual"] if r else None for r in records]
    naive = next((r["naive"] for r in records if r and r["naive"] is not None), None)
    known = [m.value for m in marks if m.value is not None]
    digits = decimals(known)
    first, last = short(windows[0]["start"], 20), short(windows[-1]["end"], 20)
    words = f"{metric_name(metric)} in {len(windows)} windows, {first} to {last}: "
    if known:
        words += f"between {number(min(known), digits)} and {number(max(known), digits)}"
    else:
        words += "no estimate"
    return figures.line(marks, words, reference=naive, actual=actual)


def _relation(relation: Mapping[str, Any] | None, row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what the wider intervals rest on: of the leading metric, each part of TRAIN that was tested."""
    if relation is None or row is None:
        return None
    metric = row["metric"]
    tested = [b for b in relation["backtest"] if b["metric"] == metric]
    ends = [b[key] for b in tested for key in ("estimate", "low", "high", "actual", "naive")]
    scale = Scale.around([e for e in ends if e is not None], pad=0.1) if tested else None
    digits = row_digits(row)
    rows = []
    for b in tested:
        words = f"{short(b['environment'])}: estimated {number(b['estimate'], digits)}, "
        words += f"actual {number(b['actual'], digits)}"
        marks = [
            Mark(b["naive"], "hollow"),
            Mark(b["estimate"], "solid", b["low"], b["high"]),
            Mark(b["actual"], "diamond"),
        ]
        rows.append(
            {
                **b,
                "estimate": _or_none(b["estimate"], digits),
                "limits": _interval(b["low"], b["high"], digits),
                "actual": _or_none(b["actual"], digits),
                "figure": figures.dots(scale, marks, words) if scale is not None else "",
            }
        )
    inside = sum(
        1
        for b in tested
        if b["low"] is not None and b["actual"] is not None and b["low"] <= b["actual"] <= b["high"]
    )
    return {
        **_cut(rows, TOP),
        "metric": metric,
        "source": relation["source"],
        "column": relation["column"],
        "spread": number(relation["spread"].get(metric), digits),
        "scale": scale,
        "count": len(tested),
        "estimated": sum(1 for b in tested if b["estimate"] is not None),
        "inside": inside,
        "worth": row["worth_labels"],
        "known": row["drift_low"] is not None,
    }


def _attribution(
    attribution: Mapping[str, Any] | None, performance: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    if attribution is None or not attribution["parts"]:
        return None
    parts = sorted(attribution["parts"], key=lambda p: -abs(p["change"]))
    cut = _cut(parts, TOP)
    rest = parts[TOP:]
    ends = [v for p in cut["rows"] for v in (p["change"], p["low"], p["high"])]
    left_over = sum(p["change"] for p in rest)
    scale = Scale.around([0.0, *ends, attribution["unexplained"], left_over])
    digits = change_digits(attribution, performance)
    rows = []
    for p in cut["rows"]:
        words = f"{short(p['name'])}: {number(p['change'], digits, sign=True)}"
        figure = figures.bar(scale, p["change"], words, low=p["low"], high=p["high"])
        rows.append(
            {
                "name": p["name"],
                "change": number(p["change"], digits, sign=True),
                "limits": _interval(p["low"], p["high"], digits),
                "figure": figure,
            }
        )
    extra = []
    if rest:
        extra.append((f"{len(rest)} further parts together", left_over))
    if attribution["unexplained"] is not None:
        extra.append(("Not explained by these columns", attribution["unexplained"]))
    return {
        "metric": attribution["metric"],
        "rows": rows,
        "extra": [
            {"name": n, "change": number(v, digits, sign=True), "figure": figures.bar(scale, v, n)}
            for n, v in extra
        ],
        "total": number(attribution["total"], digits, sign=True)
        if attribution["total"] is not None
        else None,
        "scale": scale,
    }


def _prediction(prediction: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if prediction is None:
        return None
    p, aim = prediction, 1 - prediction["alpha"]
    rows = [
        (
            "Weighted for LIVE",
            Mark(p["expected_coverage"], "solid", p["low"], p["high"]),
        ),
        ("Without weights", Mark(p["unweighted_expected_coverage"], "hollow")),
        ("Measured on live labels", Mark(p["live_actual_coverage"], "diamond")),
    ]
    known = [(name, mark) for name, mark in rows if mark.value is not None]
    ends = [v for _, m in known for v in (m.value, m.low, m.high)]
    scale = Scale.around([aim, *ends], pad=0.1)
    return {
        **prediction,
        "aim": aim,
        "scale": scale,
        "size": numbers.number(p["mean_size"], 2 if p["kind"] == "set" else None)
        if p["mean_size"] is not None
        else None,
        "rows": [
            {
                "name": name,
                "value": percent(m.value, 1),
                "limits": percent_interval(m.low, m.high),
                "figure": figures.dots(scale, [m], f"{name}: {percent(m.value, 1)}", reference=(aim,)),
            }
            for name, m in known
        ],
    }


def _assumptions(audit: Mapping[str, Any]) -> list[str]:
    kind, weights = audit["shift"]["kind"], audit["weights"]
    out = [KINDS[kind].assumption]
    if weights is not None:
        outside = percent(weights["outside_support"])
        out.append(
            "Every kind of LIVE row also occurs in TRAIN. "
            f"This fails for {outside} of LIVE; no figure here speaks for those rows."
        )
    out.append("Rows are independent of one another, within each table and between them.")
    if any(row["live_estimate"] is not None for row in audit["performance"]):
        out.append(
            "Intervals of performance are 95% intervals and cover what chance does, not a broken assumption."
        )
    if any(row["live_actual"] is not None for row in audit["performance"]):
        out.append(
            "The live labels that arrived are those of all LIVE rows, "
            "or of rows that do not differ from the rest."
        )
    return out
