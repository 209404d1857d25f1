"""Run checks, with progress, and keep what they came to in ``claims/results.json``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from claims.registry import RESULTS, CheckFile, Declaration, Run, catalogue, check_files
from claims.verdict import Outcome, judge, worst

QUICK_SEEDS = 2


@dataclass(frozen=True)
class RowResult:
    """What one check file came to."""

    id: int
    file: str
    fingerprint: str
    seconds: float
    outcomes: tuple[Outcome, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the row's entry in ``results.json``."""
        return {
            "id": self.id,
            "verdict": worst([o.verdict for o in self.outcomes]),
            "file": self.file,
            "fingerprint": self.fingerprint,
            "seconds": round(self.seconds, 1),
            "checks": [o.to_dict() for o in self.outcomes],
        }


def run_declarations(declarations: Sequence[Declaration], *, quick: bool = False) -> tuple[Outcome, ...]:
    """Run every declaration and judge it; those that share a ``run`` share its repetitions."""
    done: dict[tuple[Run, int], Mapping[str, float]] = {}
    outcomes = []
    for declaration in declarations:
        seeds = list(declaration.seeds)[:QUICK_SEEDS] if quick else list(declaration.seeds)
        numbers = []
        for seed in seeds:
            key = (declaration.run, seed)
            if key not in done:
                done[key] = declaration.run(seed)
            numbers.append(done[key])
        outcomes.append(judge(declaration, numbers, declared=len(declarations)))
    return tuple(outcomes)


def run_file(file: CheckFile, quick: bool = False) -> RowResult:
    """Run one check file."""
    start = time.perf_counter()
    outcomes = run_declarations(file.declarations(), quick=quick)
    return RowResult(file.id, file.name, file.fingerprint, time.perf_counter() - start, outcomes)


def select(*, family: str | None = None, ids: Sequence[int] = ()) -> tuple[CheckFile, ...]:
    """Return the check files of a family, of some catalogue numbers, or all."""
    families = {row.id: row.family for row in catalogue()}
    return tuple(
        file
        for file in check_files()
        if (family is None or families.get(file.id) == family) and (not ids or file.id in ids)
    )


def run_files(
    files: Sequence[CheckFile],
    *,
    jobs: int = 1,
    quick: bool = False,
    console: Console | None = None,
    finished: Callable[[RowResult], None] | None = None,
) -> tuple[list[RowResult], list[str]]:
    """Run check files, several at a time if ``jobs`` is above 1.

    Returns the results, and one line for each file that raised. ``finished``
    is called with each result as it comes, so that a long run that is stopped
    keeps what it has.
    """
    results: list[RowResult] = []
    failures: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        task = progress.add_task("checks", total=len(files))

        def take(file: CheckFile, compute: Callable[[], RowResult]) -> None:
            try:
                result = compute()
            except Exception as error:  # one broken check must not hide the others; it fails the run below
                failures.append(f"{file.name}: {type(error).__name__}: {error}")
            else:
                results.append(result)
                if finished is not None:
                    finished(result)
            progress.update(task, advance=1, description=file.path.stem)

        if jobs == 1:
            for file in files:
                progress.update(task, description=file.path.stem)
                take(file, lambda file=file: run_file(file, quick))  # type: ignore[misc]
        else:
            # Workers share the cores: one numerical thread each.
            os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                futures = {pool.submit(run_file, file, quick): file for file in files}
                for future in as_completed(futures):
                    take(futures[future], future.result)
    return results, failures


def load_results(path: Path = RESULTS) -> dict[int, dict[str, Any]]:
    """Return the stored results by catalogue number."""
    if not path.exists():
        return {}
    return {entry["id"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}


def merge_results(results: Sequence[RowResult], path: Path = RESULTS) -> None:
    """Put results into the stored file: others stay, the same numbers are replaced, sorted.

    A result that differs from the stored one in its seconds alone leaves the
    file as it is.
    """
    stored = load_results(path)
    for result in results:
        new, old = result.to_dict(), stored.get(result.id)
        if old is None or {**old, "seconds": 0.0} != {**new, "seconds": 0.0}:
            stored[result.id] = new
    text = json.dumps([stored[k] for k in sorted(stored)], indent=1, ensure_ascii=False) + "\n"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
