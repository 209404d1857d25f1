"""Split conformal intervals and sets beside mapie's and puncc's: ``python -m benchmarks conformal``."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

import steelyard
from benchmarks.conformal.data import ALPHA, Models, Size, prepare
from benchmarks.conformal.score import judged
from benchmarks.conformal.table import render
from benchmarks.document import write_section
from benchmarks.environments import Environment
from benchmarks.measure import Competitor, Machine, Result, compete, tell

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
MAPIE = Environment("mapie", ("mapie",))
PUNCC = Environment("puncc", ("puncc",))
SEED = 7
TIMEOUT = 120.0

FULL = (Size(1_000, 10_000, 20, 1), Size(10_000, 100_000, 5, 1), Size(100_000, 1_000_000, 1, 3))
QUICK = (Size(1_000, 10_000, 2, 1),)

# Name of the table, its data, score, and who takes part: package and which weights it is given.
PLAIN = (("steelyard", "none"), ("mapie", "none"), ("puncc", "none"))
WEIGHTED = (
    *PLAIN,
    ("steelyard", "exact"),
    ("puncc", "exact"),
    ("steelyard", "estimated"),
    ("puncc", "estimated"),
)
# puncc's classifiers take no weights.
OURS_WEIGHTED = (*PLAIN, ("steelyard", "exact"), ("steelyard", "estimated"))
SETTINGS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("regression", "absolute", PLAIN),
    ("regression", "cqr", PLAIN),
    ("classes", "lac", PLAIN),
    ("classes", "aps", PLAIN),
    ("classes", "raps", PLAIN),
    ("regression_shifted", "absolute", WEIGHTED),
    ("regression_shifted", "cqr", WEIGHTED),
    ("classes_shifted", "lac", OURS_WEIGHTED),
    ("classes_shifted", "aps", OURS_WEIGHTED),
)


def main(arguments: Sequence[str]) -> int:
    """Run all settings; a full run writes its results and the document, a quick one only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks conformal", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest size; prints, writes nothing")
    parser.add_argument("--table", action="store_true", help="only write the tables from results.json")
    options = parser.parse_args(arguments)
    if options.table:
        print(write_section("conformal", render(json.loads(RESULTS.read_text(encoding="utf-8")))))
        return 0
    versions = {
        "steelyard": {
            "steelyard": steelyard.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "mapie": MAPIE.ensure(),
        "puncc": PUNCC.ensure(),
    }
    stored: dict[str, Any] = {"machine": asdict(Machine.look()), "versions": versions, "sizes": []}
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as folder:
        for size in QUICK if options.quick else FULL:
            stored["sizes"].append({"size": asdict(size), "tables": measure(size, Path(folder))})
            if not options.quick:  # after each size, so that a long run that is stopped keeps what it has
                RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
                write_section("conformal", render(stored))
    if options.quick:
        print(render(stored))
    return 0


def measure(size: Size, folder: Path) -> list[dict[str, Any]]:
    """Put the draws of one size to every setting; the files are removed again."""
    tell(f"{size.calibration:,} calibration rows, {size.test:,} test rows: preparing {size.draws} draw(s)")
    models = Models(SEED)
    draws = [prepare(models, size, SEED + 1 + k, folder) for k in range(size.draws)]
    out = []
    for kind, method, who in SETTINGS:
        tables = [getattr(draw, kind) for draw in draws]
        title = f"{kind} {method} {size.calibration:,}"
        competitors = [_competitor(kind, method, tables, folder, *one) for one in who]
        results = compete(competitors, repeats=size.repeats, title=title)
        scored = [_scored(r, c, tables) for r, c in zip(results, competitors)]
        out.append({"kind": kind, "method": method, "results": [asdict(r) for r in scored]})
    for draw in draws:
        for path in vars(draw).values():
            path.unlink()
    return out


def name_of(package: str, weights: str) -> str:
    """Return the name of a row: the package, and whose weights it has been given."""
    return package if weights == "none" else f"{package}, {weights} weights"


def _competitor(
    kind: str, method: str, tables: Sequence[Path], folder: Path, package: str, weights: str
) -> Competitor:
    stem = f"{package}_{weights}"
    job = {
        "task": "regression" if kind.startswith("regression") else "classification",
        "method": method,
        "weights": weights,
        "alpha": ALPHA,
        "tables": [str(t) for t in tables],
        "out": [str(folder / f"{stem}_{k}.npy") for k in range(len(tables))],
    }
    environment = {"steelyard": None, "mapie": MAPIE, "puncc": PUNCC}[package]
    script = HERE / f"{package}_script.py"
    return Competitor(name_of(package, weights), script, job, environment, TIMEOUT)


def _scored(result: Result, competitor: Competitor, tables: Sequence[Path]) -> Result:
    """Judge what a competitor wrote (in its last run; all runs write the same up to random tie-breaking)."""
    if result.failure:
        return result
    answers = [np.load(out) for out in competitor.job["out"]]
    truths = []
    for table in tables:
        with np.load(table) as z:
            truths.append(z["y_test"])
    for out in competitor.job["out"]:
        Path(out).unlink()
    return replace(result, answer=judged(answers, truths))
