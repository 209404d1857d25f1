"""Run the tasks: every method on the same cases, then the tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn

import steelyard
from benchmarks.document import write_section
from benchmarks.environments import cache_directory
from benchmarks.label_free import baselines, nannyml_side
from benchmarks.label_free.case import OUTPUT, Case
from benchmarks.label_free.measure import measured, noise_floor
from benchmarks.label_free.score import OURS, Record, rows_of
from benchmarks.label_free.steelyard_side import Audited, audited
from benchmarks.label_free.table import render
from benchmarks.label_free.tasks import FULL, QUICK, TASKS, Size

RESULTS = Path(__file__).with_name("results.json")
WEIGHTING = "importance weighting"


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; a full run writes its results and the document, a quick one only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks label_free", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few windows and seeds; prints, writes nothing")
    parser.add_argument("--task", action="append", choices=list(TASKS), help="only this one; repeatable")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)")
    parser.add_argument("--seeds", type=int, help=f"seeds of each generator (default {FULL.seeds})")
    parser.add_argument(
        "--reuse-peers", action="store_true", help="take the others' estimates from the last run (to develop)"
    )
    parser.add_argument("--table", action="store_true", help="only write the tables from results.json")
    options = parser.parse_args(arguments)
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"tasks": {}}
    if options.table:
        print(write_section("label_free", render(stored)))
        return 0
    size = QUICK if options.quick else FULL
    if options.seeds:
        size = Size(**{**vars(size), "seeds": options.seeds})
    peers = nannyml_side.NANNYML.ensure()
    if options.quick:
        stored = {"tasks": {}}
    stored["setup"] = _setup(options.jobs, peers)
    for name in options.task or TASKS:
        started = time.perf_counter()
        stored["tasks"][name] = run_task(name, size, options.jobs, reuse=options.reuse_peers)
        _tell(f"{name}: {time.perf_counter() - started:.0f} s")
        if not options.quick:  # after each task, so that a long run that is stopped keeps what it has
            stored["tasks"] = {key: stored["tasks"][key] for key in TASKS if key in stored["tasks"]}
            RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
            write_section("label_free", render(stored))
    if options.quick:
        print(render(stored))
    return 0


def run_task(name: str, size: Size, jobs: int, *, reuse: bool = False) -> dict[str, Any]:
    """Put every case of a task to every method; return its rows of the table and the remarks."""
    task = TASKS[name]
    cases = list(task.cases(size))
    asked = [case.unlabelled() for case in cases]
    kept = _Kept.load(name) if reuse else _Kept({}, {})
    missing = [case for case in asked if case.name not in kept.estimates]
    notes: dict[str, dict[str, Any]] = {}
    records: list[Record] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        audits = [pool.submit(audited, case) for case in asked]
        peer = pool.submit(nannyml_side.answers, missing)
        weights = {case.name: pool.submit(baselines.importance_weighting, case) for case in missing}
        for case, audit in zip(cases, audits):
            answer = audit.result()
            _note(notes.setdefault(case.row, {}), case, answer)
            records += _records(case, answer)
            _tell(f"  {case.name}: {answer.shift}")
        theirs, failures = peer.result()
        for case in missing:
            label = "CBPE" if case.kind == "classification" else "DLE"
            kept.estimates[case.name] = {label: theirs.get(case.name), WEIGHTING: weights[case.name].result()}
    kept.failures.update(failures)
    if size is not QUICK:
        kept.store(name)
    for record in records:
        for method, windows in kept.estimates[record.case].items():
            record.estimates[method] = windows[record.window][record.metric] if windows else None
    rows = rows_of(records, pooled=task.pooled)
    return {"rows": rows, "notes": notes, "failures": kept.failures}


@dataclass(frozen=True)
class _Kept:
    """The peers' estimates by case and method, as the last run left them in the cache."""

    estimates: dict[str, dict[str, Any]]
    failures: dict[str, str]

    @classmethod
    def load(cls, task: str) -> _Kept:
        path = cache_directory() / "label_free" / f"{task}.json"
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls({}, {})

    def store(self, task: str) -> None:
        path = cache_directory() / "label_free" / f"{task}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


def _records(case: Case, answer: Audited) -> list[Record]:
    output = case.live[OUTPUT].to_numpy().astype(np.float64)
    naive = baselines.carry_over(case)
    rng = np.random.default_rng(0)
    out = []
    for k, window in enumerate(case.windows):
        for metric in case.metrics:
            ours = answer.windows[k][metric]
            out.append(
                Record(
                    case=case.name,
                    row=case.row,
                    window=k,
                    metric=metric,
                    actual=float(measured(metric, case.truth[None, window], output[window])[0]),
                    noise=noise_floor(case, window, metric, rng),
                    low=ours.low,
                    high=ours.high,
                    estimates={OURS: ours.value, "carried over": naive[k][metric]},
                )
            )
    return out


def _note(notes: dict[str, Any], case: Case, answer: Audited) -> None:
    for key, said in (("shift", answer.shift), ("weights", answer.method)):
        counts = notes.setdefault(key, {})
        counts[said] = counts.get(said, 0) + 1
    if answer.inconclusive:
        notes.setdefault("inconclusive", {})[case.name] = answer.inconclusive


def _setup(jobs: int, peers: dict[str, str]) -> dict[str, Any]:
    ours = {"steelyard": steelyard.__version__, "scikit-learn": sklearn.__version__}
    ours |= {"numpy": np.__version__, "polars": pl.__version__}
    return {"python": platform.python_version(), "processes": jobs, "ours": ours, "peers": peers}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
