"""steelyard's side: a whole audit with its report, or one part of it, through public functions."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import steelyard
from steelyard.divergences import benjamini_hochberg, column_shift
from steelyard.evaluation import Outputs, confidence_based_windows, get_metric

METRICS = ("accuracy", "auc", "f1")


def audit(job: dict[str, Any]) -> dict[str, Any]:
    """Audit, and save the report with everything in it."""
    train, live = pl.read_parquet(job["reference"]), pl.read_parquet(job["live"])
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = steelyard.audit(train, live, target=job["target"], proba=job["output"])
        saved = result.save(Path(folder) / "report")
        seconds = time.perf_counter() - started
        size = (saved / "report.html").stat().st_size
    return {"seconds": seconds, "report": size, "steps": dict(result.seconds), **_said(result)}


def _said(result: Any) -> dict[str, Any]:
    found = result.to_dict()
    performance = {p["metric"]: p for p in found["performance"]}
    accuracy = performance["accuracy"]
    flagged = [f["name"] for f in found["shift"]["features"] if f["p_adjusted"] < 0.05]
    prediction, attribution = found["prediction"], found["attribution"]
    return {
        "accuracy": accuracy["live_estimate"],
        "answered": {
            "drift of each column": f"{len(flagged)} of {len(found['shift']['features'])}, adjusted p < 0.05",
            "drift of all together": f"AUC {found['shift']['auc']['value']:.3f}, p = "
            f"{found['shift']['p_value']:.2g}",
            "kind of shift": found["shift"]["kind"],
            "performance without labels": "inconclusive"
            if accuracy["live_estimate"] is None
            else f"accuracy {accuracy['live_estimate']:.4f}",
            "its interval": "none"
            if accuracy["low"] is None
            else f"{accuracy['low']:.4f} to {accuracy['high']:.4f}",
            "performance where labels came": "yes, where they are given",
            "why it changed": "no" if not attribution else f"{len(attribution['parts'])} groups of columns",
            "predictions that hold there": "no"
            if not prediction
            else f"sets, expected coverage {prediction['expected_coverage']:.3f}"
            if prediction["expected_coverage"] is not None
            else "inconclusive",
            "what to do next": f"{len(found['advice'])} pieces of advice",
            "trends over windows": "yes, where asked for (`every`)",
        },
    }


def columns(job: dict[str, Any]) -> dict[str, Any]:
    """Compare each column: Kolmogorov-Smirnov for numbers, chi-squared for categories."""
    train, live = pl.read_parquet(job["reference"]), pl.read_parquet(job["live"])
    started = time.perf_counter()
    found: dict[str, tuple[float, float]] = {}
    for name in job["numbers"]:
        found[name] = column_shift(train[name].to_numpy(), live[name].to_numpy(), categorical=False)
    for name in job["categories"]:
        codes = pl.concat([train[name], live[name]]).to_physical().to_numpy().astype(np.float64)
        a, b = np.split(codes, [len(train)])
        found[name] = column_shift(a, b, categorical=True)
    benjamini_hochberg([p for _, p in found.values()])
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "distance": {n: found[n][0] for n in job["numbers"]}}


def estimate(job: dict[str, Any]) -> dict[str, Any]:
    """Estimate three metrics of each window from recalibrated probabilities, with intervals."""
    train, live = pl.read_parquet(job["reference"]), pl.read_parquet(job["live"])
    started = time.perf_counter()
    source, target = (_outputs(t[job["output"]].to_numpy()) for t in (train, live))
    found = confidence_based_windows(
        [get_metric(name) for name in METRICS],
        outputs=source,
        y=train[job["target"]].to_numpy(),
        outputs_target=target,
        windows=[slice(s, s + job["every"]) for s in range(0, len(target) - job["every"] + 1, job["every"])],
    )
    values = [{e: estimate.value for e, estimate in zip(METRICS, window)} for window in found]
    return {"seconds": time.perf_counter() - started, "windows": values}


def _outputs(p: np.ndarray[Any, Any]) -> Outputs:
    return Outputs(np.column_stack([1 - p, p]), (p >= 0.5).astype(np.int64))


def alarms(job: dict[str, Any]) -> dict[str, Any]:
    """Audit many pairs, and say which columns are flagged, and whether the tables are."""
    started = time.perf_counter()
    out = []
    for reference, live in job["pairs"]:
        result = steelyard.audit(
            pl.read_parquet(reference),
            pl.read_parquet(live),
            target=job["target"],
            proba=job["output"],
            metrics=["accuracy"],
        )
        flagged = [f.name for f in result.shift.features if f.p_adjusted < 0.05]
        joint = result.shift.p_value is not None and result.shift.p_value < 0.05
        out.append({"columns": [n for n in flagged if n != job["output"]], "joint": {"the audit": joint}})
    return {"seconds": time.perf_counter() - started, "pairs": out}


def main(job: str, answer: str) -> None:
    """Do the part that the job names."""
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    part = {"audit": audit, "columns": columns, "estimate": estimate, "alarms": alarms}[asked["part"]]
    Path(answer).write_text(json.dumps(part(asked)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
