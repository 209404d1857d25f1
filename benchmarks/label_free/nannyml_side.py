"""NannyML's answers and data, fetched from its own environment through files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.environments import Environment, PeerError, cache_directory
from benchmarks.label_free.case import OUTPUT, Case

# statsmodels is used by nannyml and not declared by it.
NANNYML = Environment("nannyml", ("nannyml", "statsmodels", "scikit-learn", "lightgbm"))
SCRIPT = Path(__file__).with_name("nannyml_script.py")
TABLES = ("census_reference", "census_analysis", "california_reference", "california_analysis")

Answers = dict[str, list[dict[str, float]]]


def table(name: str) -> pl.DataFrame:
    """Return one of the data sets that ship with NannyML, written once by its own environment."""
    directory = cache_directory() / "data"
    if not all((directory / f"{t}.parquet").exists() for t in TABLES):
        NANNYML.ensure()
        NANNYML.run(SCRIPT, ["data", directory])
    return pl.read_parquet(directory / f"{name}.parquet")


def answers(cases: Sequence[Case]) -> tuple[Answers, dict[str, str]]:
    """Return the estimates of every window of every case, and why a case has none."""
    NANNYML.ensure()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        job = {"cases": [_written(case, place, k) for k, case in enumerate(cases)]}
        out = place / "answers.json"
        (place / "job.json").write_text(json.dumps({**job, "out": str(out)}))
        NANNYML.run(SCRIPT, ["answer", place / "job.json"])
        said = json.loads(out.read_text())
    for case in cases:
        got = said["answers"].get(case.name)
        if got is not None and len(got) != len(case.windows):
            raise PeerError(f"NannyML cut {case.name} into {len(got)} windows, not {len(case.windows)}")
    return said["answers"], said["failures"]


def _written(case: Case, place: Path, number: int) -> dict[str, object]:
    reference, analysis = place / f"{number}_reference.parquet", place / f"{number}_analysis.parquet"
    case.train.write_parquet(reference)
    case.live.write_parquet(analysis)
    return {
        "name": case.name,
        "kind": case.kind,
        "reference": str(reference),
        "analysis": str(analysis),
        "target": case.target,
        "output": OUTPUT,
        "features": list(case.features),
        "metrics": list(case.metrics),
        "every": case.every,
    }
