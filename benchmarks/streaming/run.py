"""An audit as LIVE grows from one to ten million rows, and what follows for a billion."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn

import steelyard
from benchmarks.document import write_section
from benchmarks.environments import cache_directory
from benchmarks.measure import Competitor, Machine, Result, compete, tell
from benchmarks.tables import setting
from steelyard.datasets import load_census

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
FULL, QUICK = (1_000_000, 10_000_000), (300_000, 600_000)
SAMPLE, QUICK_SAMPLE = 250_000, 50_000
FILES = 8
BILLION = 1_000_000_000


def main(arguments: Sequence[str]) -> int:
    """Run all sizes; a full run writes its results and the document, a quick one only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks streaming", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables; prints, writes nothing")
    parser.add_argument("--table", action="store_true", help="only write the tables from results.json")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each size (default 1)")
    options = parser.parse_args(arguments)
    if options.table:
        print(write_section("streaming", render(json.loads(RESULTS.read_text(encoding="utf-8")))))
        return 0
    stored = measure(options.quick, options.repeats)
    if options.quick:
        print(render(stored))
        return 0
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    tell(f"wrote {write_section('streaming', render(stored))}")
    return 0


def measure(quick: bool, repeats: int) -> dict[str, Any]:
    """Return all results as plain data."""
    sizes = QUICK if quick else FULL
    machine = Machine.look()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as folder:
        place = Path(folder)
        for engine, rows in (*(("local", n) for n in sizes), ("dask", sizes[0])):
            train, live = tables(rows)
            job = {
                "train": str(train),
                "live": live,
                "engine": engine,
                "sample": QUICK_SAMPLE if quick else SAMPLE,
                "out": str(place / "report"),
            }
            competitor = Competitor(_name(engine, rows), HERE / "audit_script.py", job)
            results += compete([competitor], repeats=repeats, title=f"{rows:,} rows")
    ours = {"steelyard": steelyard.__version__, "scikit-learn": sklearn.__version__}
    ours |= {"numpy": np.__version__, "polars": pl.__version__}
    return {
        "machine": asdict(machine),
        "versions": {"here": ours},
        "repeats": repeats,
        "sample": QUICK_SAMPLE if quick else SAMPLE,
        "results": [asdict(r) for r in results],
        "rows": [*sizes, sizes[0]],
    }


def _name(engine: str, rows: int) -> str:
    where = "threads" if engine == "local" else "Dask, a cluster on this machine"
    return f"{rows:,} rows, {where}"


def tables(rows: int) -> tuple[Path, str]:
    """Return the paths of TRAIN and of LIVE's files: census rows drawn anew, 16 columns beside the score."""
    folder = cache_directory() / "data" / "streaming"
    folder.mkdir(parents=True, exist_ok=True)
    census = load_census()
    train = folder / "train.parquet"
    census.train.write_parquet(train)
    live = census.live.with_columns(census.live_labels["employed"])
    rng = np.random.default_rng(0)
    where = folder / str(rows)
    where.mkdir(exist_ok=True)
    for k in range(FILES):
        file = where / f"live-{k}.parquet"
        if not file.exists():
            drawn = live[rng.integers(0, live.height, rows // FILES)]
            drawn.write_parquet(file)
    return train, str(where / "*.parquet")


def render(stored: dict[str, Any]) -> str:
    """Return the section of the document."""
    results = [Result(**r) for r in stored["results"]]
    machine = Machine(**stored["machine"])
    lines = [
        "## streaming",
        "",
        "`steelyard.audit` of Parquet files that are read in parts, and its report saved: the census extract "
        f"as TRAIN, rows drawn from its live part as LIVE ({FILES} files, 16 columns and the model's score), "
        f"models fitted on a sample of at most {stored['sample']:,} rows a side, every row scored. Two "
        "threads score parts; each model uses one.",
        "",
        "| | seconds | reading and fitting | scoring | peak memory, MB | million rows scored a minute |",
        "|---|---|---|---|---|---|",
    ]
    for rows, result in zip(stored["rows"], results):
        if result.failure or result.seconds is None or result.peak is None:
            lines.append(f"| {result.name} | no answer: {result.failure} | | | | |")
            continue
        scoring = result.answer["steps"]["score"]
        lines.append(
            f"| {result.name} | {result.seconds:.0f} | {result.seconds - scoring:.0f} | {scoring:.0f} | "
            f"{result.peak / 1e6:.0f} | {rows / scoring * 60 / 1e6:.1f} |"
        )
    small, large = results[0], results[1]
    if small.seconds and large.seconds and small.peak and large.peak:
        times = stored["rows"][1] / stored["rows"][0]
        lines += [
            "",
            f"{times:g} times the rows took {large.seconds / small.seconds:.1f} times the seconds and "
            f"{large.peak / small.peak:.2f} times the memory.",
            "",
            "| | estimate | 95% interval | measured on LIVE's labels |",
            "|---|---|---|---|",
        ]
        for result in (small, large):
            for metric in ("accuracy", "auc"):
                value, low, high, actual = result.answer[metric]
                lines.append(
                    f"| {result.name}, {metric} | {value:.4f} | {low:.4f} to {high:.4f} | {actual:.4f} |"
                )
        rate = stored["rows"][1] / large.answer["steps"]["score"] / machine.cores
        hours = BILLION / rate / 3600
        lines += [
            "",
            f"A billion rows at this rate ({rate:,.0f} rows a second and core) are {hours:.1f} core hours of "
            f"scoring: {hours / machine.cores:.1f} hours on this machine, {hours / 16 * 60:.0f} minutes on "
            "16 cores. Beyond that the one process that takes in the parts' sums and rows sets the pace "
            "([what a billion rows would cost](cluster.md)).",
        ]
    lines += ["", setting(machine, versions=stored["versions"], repeats=stored["repeats"], results=results)]
    return "\n".join(lines)
