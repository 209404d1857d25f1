"""Whole audits, and the parts of them that compare one to one: ``python -m benchmarks whole_audit``."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn
from scipy.stats import ks_2samp

import steelyard
from benchmarks.document import write_section
from benchmarks.environments import Environment
from benchmarks.label_free.measure import measured
from benchmarks.label_free.nannyml_side import NANNYML
from benchmarks.measure import Competitor, Machine, Result, compete, tell
from benchmarks.whole_audit.questions import MOVED, SPLIT_ROWS, Question, census, generated, splits
from benchmarks.whole_audit.table import render

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
# Evidently uses a name that pandas 3 no longer has, and does not say so.
EVIDENTLY = Environment("evidently", ("evidently", "pandas<3", "pyarrow", "scikit-learn"))
LABELLED = "Evidently, given labels"
SIDES: dict[str, tuple[str, Environment | None, dict[str, Any]]] = {
    "steelyard": ("steelyard_script.py", None, {}),
    "NannyML": ("nannyml_script.py", NANNYML, {}),
    "Evidently": ("evidently_script.py", EVIDENTLY, {}),
    LABELLED: ("evidently_script.py", EVIDENTLY, {"labels": True}),
}


@dataclass(frozen=True)
class Plan:
    """How much is run: repeats of the audits and of the parts, pairs of tables, tables that are audited."""

    quick: bool
    audits: int
    parts: int
    pairs: int
    rows: tuple[int, int]
    audited: int
    moves: tuple[float, ...]


FULL = Plan(False, audits=2, parts=5, pairs=12, rows=SPLIT_ROWS, audited=2, moves=(0.0, 0.1, 0.3))
QUICK = Plan(True, audits=1, parts=1, pairs=1, rows=(2000, 500), audited=1, moves=(0.3,))


def main(arguments: Sequence[str]) -> int:
    """Run all parts; a full run writes its results and the document, a quick one only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks whole_audit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables, once; prints, writes nothing")
    parser.add_argument("--table", action="store_true", help="only write the tables from results.json")
    options = parser.parse_args(arguments)
    if options.table:
        print(write_section("whole_audit", render(json.loads(RESULTS.read_text(encoding="utf-8")))))
        return 0
    plan = QUICK if options.quick else FULL
    stored = measure(plan)
    if plan.quick:
        print(render(stored))
        return 0
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    tell(f"wrote {write_section('whole_audit', render(stored))}")
    return 0


def measure(plan: Plan) -> dict[str, Any]:
    """Return all results as plain data."""
    ours = {
        "steelyard": steelyard.__version__,
        "numpy": np.__version__,
        "polars": pl.__version__,
        "scikit-learn": sklearn.__version__,
    }
    versions = {"steelyard": ours, "NannyML": NANNYML.ensure(), "Evidently": EVIDENTLY.ensure()}
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as name:
        folder = Path(name)
        tables = [census(folder, quick=plan.quick), generated(folder, rows=2_000 if plan.quick else 20_000)]
        large: list[Question] = []
        if not plan.quick:
            large.append(generated(folder, rows=200_000))
        machine = Machine.look()
        parts = [
            *(_columns(q, plan.parts) for q in (*tables, *large)),
            *(_estimates(q, plan.parts) for q in tables),
            *(_audits(q, plan.audits) for q in tables[: plan.audited]),
        ]
        alarms = [_alarms(folder, move, plan) for move in plan.moves]
    return {
        "machine": asdict(machine),
        "versions": versions,
        "repeats": [plan.audits, plan.parts],
        "parts": parts,
        "alarms": alarms,
        "pairs": {"count": plan.pairs, "rows": plan.rows},
    }


def _entrants(names: Sequence[str], job: dict[str, Any], *, timeout: float = 900.0) -> list[Competitor]:
    return [
        Competitor(name, HERE / script, {**job, **extra}, environment, timeout)
        for name, (script, environment, extra) in SIDES.items()
        if name in names
    ]


def _part(kind: str, question: Question, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "kind": kind,
        "title": question.title,
        "rows": question.rows,
        "columns": len(question.job["numbers"]) + len(question.job["categories"]),
        "results": [asdict(r) for r in results],
    }


def _audits(question: Question, repeats: int) -> dict[str, Any]:
    """Run whole audits; the error is that of the estimated accuracy of all live rows."""
    job = {**question.job, "part": "audit"}
    results = compete(_entrants(list(SIDES), job), repeats=repeats, title=f"audit, {question.title}")
    actual = float(measured("accuracy", question.truth[None, :], question.output)[0])

    def scored(result: Result) -> Result:
        said = result.answer.get("accuracy")
        error = None if said is None else abs(said - actual)
        return replace(result, answer={**result.answer, "error": error})

    return {**_part("audit", question, [scored(r) for r in results]), "actual": actual}


def _columns(question: Question, repeats: int) -> dict[str, Any]:
    """Compare column by column; the error is that of the distance, against SciPy's."""
    job = {**question.job, "part": "columns"}
    names = ["steelyard", "NannyML", "Evidently"]
    results = compete(_entrants(names, job), repeats=repeats, title=f"columns, {question.title}")
    a, b = (pl.read_parquet(job[side]) for side in ("reference", "live"))
    exact = {n: float(ks_2samp(a[n].to_numpy(), b[n].to_numpy()).statistic) for n in job["numbers"]}

    def scored(result: Result) -> Result:
        said = result.answer.get("distance")
        error = None if said is None else max(abs(said[n] - exact[n]) for n in exact)
        return replace(result, answer={"error": error})

    return _part("columns", question, [scored(r) for r in results])


def _estimates(question: Question, repeats: int) -> dict[str, Any]:
    """Estimate window by window; the errors are means over the windows."""
    job = {**question.job, "part": "estimate"}
    results = compete(
        _entrants(["steelyard", "NannyML"], job), repeats=repeats, title=f"estimates, {question.title}"
    )
    every = job["every"]
    windows = [slice(s, s + every) for s in range(0, len(question.truth) - every + 1, every)]

    def scored(result: Result) -> Result:
        said = result.answer.get("windows", [])
        if result.failure or len(said) != len(windows):
            why = result.failure or f"{len(said)} windows where {len(windows)} were meant"
            return replace(result, answer={}, failure=why)
        errors = {
            metric: float(np.mean([abs(w[metric] - actual[metric]) for w, actual in zip(said, truth)]))
            for metric in ("accuracy", "auc", "f1")
        }
        return replace(result, answer=errors)

    truth = [
        {
            m: float(measured(m, question.truth[None, w], question.output[w])[0])
            for m in ("accuracy", "auc", "f1")
        }
        for w in windows
    ]
    return {**_part("estimate", question, [scored(r) for r in results]), "windows": len(windows)}


def _alarms(folder: Path, move: float, plan: Plan) -> dict[str, Any]:
    """Count the columns and tables that are flagged where it is known which of them moved."""
    job = splits(folder, move=move, count=plan.pairs, rows=plan.rows)
    names = ["steelyard", "NannyML", "Evidently"]
    results = compete(_entrants(names, job, timeout=3600), repeats=1, title=f"alarms at {move}")
    watched = [*job["numbers"], *job["categories"]]
    moved = set(MOVED) if move else set()
    return {
        "move": move,
        "results": {
            r.name: {"failure": r.failure} if r.failure else counted(r.answer["pairs"], watched, moved)
            for r in results
        },
    }


def counted(pairs: Sequence[dict[str, Any]], watched: Sequence[str], moved: set[str]) -> dict[str, Any]:
    """Return the shares of flags: of columns that stayed, of columns that moved, of whole tables."""
    still = [name for name in watched if name not in moved]
    joint: dict[str, list[bool]] = {}
    for pair in pairs:
        for name, flag in pair["joint"].items():
            joint.setdefault(name, []).append(flag)
    return {
        "false": float(np.mean([name in pair["columns"] for pair in pairs for name in still])),
        "found": float(np.mean([name in pair["columns"] for pair in pairs for name in moved]))
        if moved
        else None,
        "any": float(np.mean([bool(pair["columns"]) for pair in pairs])),
        "joint": {name: float(np.mean(flags)) for name, flags in joint.items()},
    }
