"""NannyML's answers to the same shifts, from its own environment, all in one process at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.label_free.nannyml_side import NANNYML
from benchmarks.real_shifts.audits import Audited, metrics_of, with_output
from benchmarks.real_shifts.shifts import Shift

SCRIPT = Path(__file__).with_name("nannyml_script.py")


class Cases:
    """Tables that are kept in a folder until the peer is asked about them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cases: list[dict[str, Any]] = []

    def add(self, shift: Shift, found: Audited) -> None:
        """Keep both sides as the peer gets them: with the model's output, LIVE without labels."""
        paths = {}
        sides = {"reference": (shift.train, found.train_output), "analysis": (shift.live, found.live_output)}
        for side, (frame, output) in sides.items():
            paths[side] = str(self._folder / f"{len(self._cases)}_{side}.parquet")
            with_output(frame, output).write_parquet(paths[side])
        facts = {"name": shift.name, "classes": shift.table.classes, "metrics": metrics_of(shift)}
        self._cases.append({**facts, **paths})

    def answers(self) -> dict[str, Any]:
        """Return ``answers`` by shift and metric (value, low, high), and ``failures`` by shift."""
        job, out = self._folder / "job.json", self._folder / "answers.json"
        job.write_text(json.dumps({"cases": self._cases, "out": str(out)}), encoding="utf-8")
        NANNYML.run(SCRIPT, [job])
        return dict(json.loads(out.read_text(encoding="utf-8")))
