"""The section of docs/BENCHMARKS.md: what was done, who won, and where steelyard loses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.label_free.tasks import TASKS

_INTRO = """## label_free

How good is a deployed model on live data whose labels have not come? Every method gets the same reference
(with labels), the same live rows (without) and the same output of the model, and estimates the metrics of
each window; then the labels are uncovered. The figures are mean absolute errors over windows.

- **steelyard**: `steelyard.audit(train, live, target=..., metrics=..., every=...)`, nothing else set.
- **CBPE**, **DLE**: NannyML's estimators for classification and regression, at their defaults, same
  windows.
- **weighting**: reference metrics weighted by the odds of a cross-fitted boosted classifier of window
  against reference.
- **carried over**: the metric on the reference.
- **noise floor**: the error to expect of an oracle that knows the law of every row's label, because a
  window's labels are a draw from it: sqrt(2/pi) times the standard deviation of the metric over 300 draws
  of labels.
- **difference**: steelyard's error minus that of the best other method (chosen with the labels in hand,
  which favours it), over the windows that steelyard answered, with the standard error over windows.
- **verdict**: better or worse if the difference is beyond its 95% interval (Student), else same. With one
  window: beyond the noise floor. Where steelyard declines to answer: inconclusive, with the others' errors.
- **held**: share of steelyard's 95% intervals that held the realised value.

The predicted class is 1 where the output is at least one half. AUC is measured on the raw output.
"""

_METHODS = ("steelyard", "peer", "importance weighting", "carried over")
_NAMES = {"accuracy": "accuracy", "auc": "AUC", "f1": "F1", "mae": "MAE", "rmse": "RMSE"}


def render(stored: Mapping[str, Any]) -> str:
    """Return the section as Markdown; depends on nothing but the results."""
    tasks = stored["tasks"]
    parts = [_INTRO, _setup(stored["setup"]), _counts(tasks)]
    for name, found in tasks.items():
        task = TASKS[name]
        parts += [f"### {task.title}", task.text, _table(found["rows"]), _remarks(found)]
    parts += ["### Where steelyard loses", _losses(tasks)]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


def _setup(setup: Mapping[str, Any]) -> str:
    ours, peers = (", ".join(f"{k} {v}" for k, v in setup[side].items()) for side in ("ours", "peers"))
    return (
        f"Measured with Python {setup['python']}, {setup['processes']} processes of one thread; here: "
        f"{ours}; in the peer's environment: {peers}."
    )


def _counts(tasks: Mapping[str, Any]) -> str:
    lines = ["| task | better | same | worse | inconclusive | held |", "|---|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for name, found in tasks.items():
        rows = [r for r in found["rows"] if r["row"] != TASKS[name].pooled]
        count = Counter(r["verdict"] for r in rows)
        total += count
        lines.append(f"| {TASKS[name].title} | {_four(count)} | {_held(rows)} |")
    everything = [r for n, f in tasks.items() for r in f["rows"] if r["row"] != TASKS[n].pooled]
    lines.append(f"| **all** | {_four(total)} | {_held(everything)} |")
    return "Rows of the tables below by verdict:\n\n" + "\n".join(lines)


def _four(count: Counter[str]) -> str:
    return " | ".join(str(count[v]) for v in ("better", "same", "worse", "inconclusive"))


def _held(rows: list[dict[str, Any]]) -> str:
    answered = [(r["held"], r["answered"]) for r in rows if r["held"] is not None]
    windows = sum(n for _, n in answered)
    return f"{sum(h * n for h, n in answered) / windows:.0%} of {windows}" if windows else ""


def _table(rows: list[dict[str, Any]]) -> str:
    peer = next(m for m in rows[0]["errors"] if m in ("CBPE", "DLE"))
    peers = {m for r in rows for m in r["errors"] if m in ("CBPE", "DLE")}
    title = "CBPE / DLE" if len(peers) > 1 else peer
    head = ["", "metric", "windows", "noise floor", "steelyard", title, "weighting", "carried over"]
    head += ["difference", "verdict", "held"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in rows:
        windows = str(r["windows"])
        if r["answered"] != r["windows"]:
            windows = f"{r['answered']} of {windows}"
        errors = [_peer(r) if m == "peer" else r["errors"][m] for m in _METHODS]
        known = [e for e in errors if e is not None]
        shown = ["" if e is None else (f"**{e:.4f}**" if e == min(known) else f"{e:.4f}") for e in errors]
        if r["difference"] is None:
            difference = ""
        else:
            spread = "" if r["se"] is None else f" ± {r['se']:.4f}"
            difference = f"{r['difference']:+.4f}{spread} ({_short(r['best'])})"
        held = "" if r["held"] is None else f"{r['held']:.0%}"
        cells = [
            r["row"],
            _NAMES[r["metric"]],
            windows,
            f"{r['noise']:.4f}",
            *shown,
            difference,
            r["verdict"],
            held,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _peer(row: Mapping[str, Any]) -> float | None:
    return next((e for m, e in row["errors"].items() if m in ("CBPE", "DLE")), None)


def _short(method: str) -> str:
    return {"importance weighting": "weighting"}.get(method, method)


def _remarks(found: Mapping[str, Any]) -> str:
    """Say what the audit called each shift, why it declined, and which cases the peer could not answer."""
    kinds: dict[str, list[str]] = {}
    for row, note in found["notes"].items():
        for kind, count in note["shift"].items():
            kinds.setdefault(kind, []).append(row if len(note["shift"]) == 1 else f"{row} ({count})")
    lines = [
        "Kind of shift that the audit named: "
        + "; ".join(f"{k}: {', '.join(v)}" for k, v in kinds.items())
        + "."
    ]
    for row, note in found["notes"].items():
        reasons = note.get("inconclusive", {})
        if reasons:
            first = next(iter(reasons.values()))
            audits = "1 audit" if len(reasons) == 1 else f"{len(reasons)} audits"
            lines.append(f"Inconclusive on {row} ({audits}): {first}")
    for case, why in found["failures"].items():
        lines.append(f"NannyML gave no answer on {case}: {why}")
    return "\n\n".join(lines)


def _losses(tasks: Mapping[str, Any]) -> str:
    lines = [
        f"- {TASKS[name].title}, {r['row']}, {_NAMES[r['metric']]}: {r['errors']['steelyard']:.4f} against "
        f"{r['errors']['steelyard'] - r['difference']:.4f} ({_short(r['best'])}); bias {r['bias']:+.4f}, "
        f"noise floor {r['noise']:.4f}."
        for name, found in tasks.items()
        for r in found["rows"]
        if r["verdict"] == "worse"
    ]
    return "\n".join(lines) or "In no row beyond noise."
