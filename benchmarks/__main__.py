"""The command line: ``python -m benchmarks NAME [options]`` runs one benchmark and writes its section."""

from __future__ import annotations

import importlib
import os
import sys

# Several processes share the cores: OpenMP teams that wait for one another cost far more than they give.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_variable, "1")

# A benchmark is a module with ``main(arguments) -> exit code``; it is imported only when it is asked for.
BENCHMARKS = {"audit_truth": "benchmarks.audit_truth", "label_free": "benchmarks.label_free.run"}


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named first."""
    if not arguments or arguments[0] not in BENCHMARKS:
        print(f"usage: python -m benchmarks NAME [--help]; NAME is one of: {', '.join(BENCHMARKS)}")
        return 2
    return int(importlib.import_module(BENCHMARKS[arguments[0]]).main(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
