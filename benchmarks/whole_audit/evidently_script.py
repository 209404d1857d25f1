"""Runs inside Evidently's environment, never in ours: a whole report, or one part of it."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.presets import ClassificationPreset, DataDriftPreset


def read(job, reference=None, live=None):
    """Return both tables, with the class that the output stands for."""
    path = job["labelled"] if job.get("labels") else job.get("live")
    frames = [pd.read_parquet(reference or job["reference"]), pd.read_parquet(live or path)]
    for frame in frames:
        frame["said"] = (frame[job["output"]] >= 0.5).astype(int)
    return frames


def datasets(job, frames):
    """Declare the columns; the output is watched as the features are."""
    tasks = None
    if job.get("labels"):
        tasks = [
            BinaryClassification(
                target=job["target"], prediction_labels="said", prediction_probas=job["output"]
            )
        ]
    definition = DataDefinition(
        numerical_columns=job["numbers"],
        categorical_columns=job["categories"],
        classification=tasks,
    )
    return [Dataset.from_pandas(frame, data_definition=definition) for frame in frames]


def metrics_of(snapshot):
    """Return the metrics of a snapshot as (parameters, value)."""
    return [(m["config"], m["value"]) for m in json.loads(snapshot.json())["metrics"]]


def drifted(snapshot, job):
    """Return the flagged columns, by each method's own threshold and direction, and the share of them."""
    names, share = [], 0.0
    for config, value in metrics_of(snapshot):
        if config["type"].endswith("DriftedColumnsCount"):
            share = value["share"]
        if config["type"].endswith("ValueDrift") and config["column"] in job["numbers"] + job["categories"]:
            below = "p_value" in config["method"]
            if (value < config["threshold"]) if below else (value >= config["threshold"]):
                names.append(config["column"])
    return names, share


def audit(job):
    """Run the drift preset, and with labels the classification preset; save the page."""
    frames = read(job)
    watched = job["numbers"] + job["categories"]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        reference, live = datasets(job, frames)
        presets = [DataDriftPreset(columns=watched)]
        if job.get("labels"):
            presets.append(ClassificationPreset())
        snapshot = Report(presets).run(live, reference)
        page = Path(folder) / "report.html"
        snapshot.save_html(str(page))
        seconds = time.perf_counter() - started
        size = page.stat().st_size
    names, share = drifted(snapshot, job)
    labelled = bool(job.get("labels"))
    kinds = {
        "drift of each column": f"{len(names)} of {len(watched)}, distance over a fixed threshold",
        "drift of all together": f"no (share of drifted columns {share:.2f})",
        "kind of shift": "no",
        "performance without labels": "no",
        "its interval": "no",
        "performance where labels came": "yes" if labelled else "by another preset",
        "why it changed": "no",
        "predictions that hold there": "no",
        "what to do next": "no",
        "trends over windows": "by repeated runs",
    }
    return {"seconds": seconds, "report": size, "answered": kinds}


def columns(job):
    """Compare each column: Kolmogorov-Smirnov for numbers, chi-squared for categories; no page is made."""
    frames = read(job)
    watched = job["numbers"] + job["categories"]
    started = time.perf_counter()
    reference, live = datasets(job, frames)
    report = Report([DataDriftPreset(columns=watched, num_method="ks", cat_method="chisquare")])
    snapshot = report.run(live, reference)
    seconds = time.perf_counter() - started
    drifted(snapshot, job)
    return {"seconds": seconds}


def alarms(job):
    """Run the drift preset at its defaults on many pairs."""
    started = time.perf_counter()
    out = []
    watched = job["numbers"] + job["categories"]
    for paths in job["pairs"]:
        reference, live = datasets(job, read(job, *paths))
        names, share = drifted(Report([DataDriftPreset(columns=watched)]).run(live, reference), job)
        out.append({"columns": names, "joint": {"half of the columns": share >= 0.5}})
    return {"seconds": time.perf_counter() - started, "pairs": out}


def main(job, answer):
    """Do the part that the job names."""
    warnings.filterwarnings("ignore")
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    part = {"audit": audit, "columns": columns, "alarms": alarms}[asked["part"]]
    Path(answer).write_text(json.dumps(part(asked)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
