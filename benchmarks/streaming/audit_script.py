"""One audit of tables in files: ``JOB ANSWER``, see benchmarks/measure.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import steelyard


def main() -> None:
    """Audit, save the report, and tell what it said and how long each step took."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.perf_counter()
    result = steelyard.audit(
        job["train"],
        job["live"],
        target="employed",
        proba="score",
        labels="employed",
        metrics=["accuracy", "auc"],
        sample=job["sample"],
        engine=job["engine"],
    )
    result.save(job["out"])
    seconds = time.perf_counter() - started
    said: dict[str, Any] = {
        p.metric: [p.live_estimate, p.low, p.high, p.live_actual] for p in result.performance
    }
    answer = {"seconds": seconds, "steps": dict(result.seconds), "rows": dict(result.rows), **said}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
