"""The command line: ``python -m benchmarks [NAME ...] [--quick]`` runs benchmarks, writes their sections."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

# Several processes share the cores: OpenMP teams that wait for one another cost far more than they give.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_variable, "1")

# A benchmark is a module with ``main(arguments) -> exit code``; it is imported only when it is asked for.
BENCHMARKS = {
    "whole_audit": "benchmarks.whole_audit.run",
    "label_free": "benchmarks.label_free.run",
    "weights": "benchmarks.weights.run",
    "lalonde": "benchmarks.lalonde.run",
    "conformal": "benchmarks.conformal.run",
    "predictive": "benchmarks.predictive.run",
    "calibration": "benchmarks.calibration.run",
    "streaming": "benchmarks.streaming.run",
    "audit_truth": "benchmarks.audit_truth",
    "data_faults": "benchmarks.data_faults.run",
    "real_shifts": "benchmarks.real_shifts.run",
}

USAGE = f"""usage: python -m benchmarks [NAME ...] [--quick] [options of the benchmark]

NAME is one of: {", ".join(BENCHMARKS)}; without any, all of them one after another.
--quick runs small sizes, prints the section and writes nothing; else docs/BENCHMARKS.md gets it.
`python -m benchmarks NAME --help` tells a benchmark's own options.
"""


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the names that come first, and the options after them."""
    count = next((k for k, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    return arguments[:count], arguments[count:]


def main(arguments: list[str]) -> int:
    """Run what is named; a benchmark that breaks does not take those after it along."""
    names, options = split(arguments)
    if [n for n in names if n not in BENCHMARKS] or (not names and {"-h", "--help"} & set(options)):
        print(USAGE)
        return 0 if not names else 2
    code = 0
    for name in names or BENCHMARKS:
        try:
            code = max(code, int(importlib.import_module(BENCHMARKS[name]).main(options)))
        except Exception:
            traceback.print_exc()
            print(f"benchmark {name} broke; see above", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
