"""Faults of the data: ``python -m benchmarks data_faults [--quick] [--splits S] [--plants P]``.

``--choose`` runs on the half of the tables that thresholds were chosen on, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import beta

from benchmarks.data_faults.plant import FAULTS, Fault
from benchmarks.data_faults.tables import Table, possible_targets, split, tables
from benchmarks.document import write_section
from benchmarks.measure import tell
from steelyard.auditing.data_faults import CHECKS, told_by
from steelyard.auditing.data_faults.explained import explained
from steelyard.auditing.data_faults.leaks import target_leaks
from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.reading.copies import RowCopies, shared_found
from steelyard.auditing.reading.read import read_tables
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError

RESULTS = Path(__file__).with_name("results.json")
IDS = {
    "exchanged-columns": "two columns exchanged",
    "exchanged-values": "two values exchanged",
    "reversed-column": "a number runs the other way",
    "rescaled-column": "scaled or logged in one table",
    "mixed-units": "two units in one column",
    "broken-relation": "a bond of columns is broken",
    "filled-in": "a value for missing ones",
    "shared-rows": "rows of TRAIN in LIVE",
    "unit-change": "another unit",
    "sign-flip": "the sign flipped",
    "recoded-category": "other categories",
    "category-spelling": "another spelling",
    "constant-in-live": "constant in LIVE",
    "missing-jump": "missing more often",
}


def findings(train: pl.DataFrame, live: pl.DataFrame, target: str, *, leaks: bool = True) -> list[Finding]:
    """Return what the audit would say of a pair of tables before it looks at any model."""
    return told_of(read_tables(train, live, target=target), leaks=leaks)


def told_of(read: Tables, *, leaks: bool) -> list[Finding]:
    """Return the same of tables that were read.

    ``leaks`` are told by TRAIN alone and change nothing of the rest: a split needs no look for them.
    """
    checks = [check for check in CHECKS if leaks or check is not target_leaks]
    found = list(told_by(checks, Look.at(read, seed=0)))
    of_columns = {name: read.column_findings.get(name, ()) for name in sorted(read.used)}
    for told in explained(of_columns, *read.profiles).values():
        found += told
    return [*found, *shared_found(RowCopies.of(read.X), RowCopies.of(read.X_live))]


def clean(table: Table, splits: Iterable[int]) -> tuple[int, Counter[str]]:
    """Return how many random splits could be read, and in how many each finding came."""
    counts: Counter[str] = Counter()
    read = 0
    for seed in splits:
        train, live = split(table, seed)
        try:
            found = findings(train, live, table.target, leaks=False)
        except InputError:
            continue
        read += 1
        counts.update({f.id for f in found} & set(IDS))
    return read, counts


def leaks(table: Table) -> tuple[int, list[tuple[str, str]]]:
    """Return how many columns can be the target, and which column is said to give which away."""
    told = []
    targets = possible_targets(table.frame)
    for target in targets:
        train, live = split(Table(table.name, table.frame, target), 0)
        try:
            found = findings(train, live, target)
        except InputError:
            continue
        told += [(target, f.columns[0]) for f in found if f.id == "target-leak"]
    return len(targets), told


def planted(table: Table, fault: Fault, repeats: int) -> list[bool]:
    """Return for each repeat whether the fault was found; nothing where the table cannot carry it."""
    out = []
    for seed in range(repeats):
        rng = np.random.default_rng([seed, zlib.crc32((fault.name + fault.strength).encode())])
        train, live = split(table, 10_000 + seed)
        put = fault.put(train, live, table.target, rng)
        if put is None:
            return []
        (train, live), columns = put
        if table.target not in train.columns:
            continue
        try:
            read = read_tables(train, live, target=table.target)
        except InputError:
            continue
        # What is left out as naming rows or constant is in no model: nothing is to be found there.
        if columns and not set(columns) <= {table.target} | read.used:
            continue
        found = told_of(read, leaks="target-leak" in fault.found_by)
        told = [f for f in found if f.id in fault.found_by]
        out.append(any(not columns or set(f.columns) & set(columns) for f in told))
    return out


def measure(chosen: Sequence[Table], splits: int, repeats: int) -> dict[str, Any]:
    """Run all of it."""
    read, counts, by_table = 0, Counter[str](), {}
    targets, told = 0, []
    found: dict[tuple[str, str], list[list[bool]]] = defaultdict(list)
    for table in chosen:
        n, false = clean(table, range(splits))
        read, counts = read + n, counts + false
        by_table[table.name] = dict(false)
        asked, given_away = leaks(table)
        targets += asked
        told += [(table.name, *pair) for pair in given_away]
        for fault in FAULTS:
            hits = planted(table, fault, repeats)
            if hits:
                found[fault.name, fault.strength].append(hits)
        tell(f"{table.name} {table.frame.shape}: {n} splits, {dict(false)}, leaks {given_away}")
    return {
        "tables": len(chosen),
        "rows": [int(t.frame.height) for t in chosen],
        "splits": read,
        "false": {key: counts[key] for key in IDS},
        "any": sum(bool(v) for v in by_table.values()),
        "by_table": {name: v for name, v in by_table.items() if v},
        "targets": targets,
        "leaks": told,
        "found": [[*key, len(hits), sum(map(len, hits)), sum(map(sum, hits))] for key, hits in found.items()],
    }


def interval(k: int, n: int) -> tuple[float, float]:
    """Return the 95% Clopper-Pearson interval of a share."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    return low, float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0


def section(results: dict[str, Any]) -> str:
    """Return the section of docs/BENCHMARKS.md."""
    lines = [
        "## data_faults: found where there are none, and found where they were planted",
        "",
        f"{results['tables']} real tables of R packages (drawn by a rule that was written first; 300 to "
        "200,000 rows), on none of which a threshold was chosen: that was done on as many others. "
        f"Each is dealt at random into TRAIN and LIVE, {results['splits']:,} splits in all: whatever is "
        "found there is false. In brackets 95% Clopper-Pearson intervals that take splits as independent; "
        "those of one table are not quite.",
        "",
        "| finding | false, of splits | share |",
        "|---|---|---|",
    ]
    n = results["splits"]
    for key, words in IDS.items():
        k = results["false"][key]
        low, high = interval(k, n)
        lines.append(f"| `{key}`: {words} | {k} | {k / n:.2%} [{low:.2%}, {high:.2%}] |")
    lines += ["", *_leak_lines(results), ""]
    lines += [
        "Faults planted in the same tables, in those that have a column for it:",
        "",
        "| fault | strength | tables | found |",
        "|---|---|---|---|",
    ]
    for name, strength, carriers, tries, hits in results["found"]:
        low, high = interval(hits, tries)
        lines.append(f"| {name} | {strength} | {carriers} | {hits / tries:.0%} [{low:.0%}, {high:.0%}] |")
    return "\n".join(lines)


def _leak_lines(results: dict[str, Any]) -> list[str]:
    """Say which columns are said to give a target away; a reader judges them by their names."""
    told = results["leaks"]
    pairs: dict[str, list[str]] = defaultdict(list)
    for table, target, column in told:
        pairs[table].append(f"{column} → {target}")
    with_any = len({(table, target) for table, target, _ in told})
    low, high = interval(with_any, results["targets"])
    text = (
        f"Every column that can be a target was one in turn: of {results['targets']} targets {with_any} "
        f"({with_any / results['targets']:.1%} [{low:.1%}, {high:.1%}]) have a column that is said to give "
        "them away (`target-leak`). A split cannot tell whether that is false, a reader can: "
    )
    return [text + "; ".join(f"{table}: {', '.join(p)}" for table, p in pairs.items()) + "."]


def main(arguments: list[str]) -> int:
    """Run, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks data_faults")
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--plants", type=int, default=1)
    parser.add_argument(
        "--choose", action="store_true", help="the half that thresholds are chosen on; writes nothing"
    )
    parser.add_argument("--quick", action="store_true", help="two tables, two splits; prints, writes nothing")
    options = parser.parse_args(arguments)
    chosen = list(tables("choose" if options.choose else "report"))
    if options.quick:
        chosen, options.splits, options.plants = chosen[:2], 2, 1
    results = measure(chosen, options.splits, options.plants)
    if options.quick or options.choose:
        print(section(results))
        print(json.dumps(results["by_table"], indent=1))
        return 0
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_section("data_faults", section(results))
    return 0
