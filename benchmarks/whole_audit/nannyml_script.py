"""Runs inside NannyML's environment, never in ours: a whole audit, or one part of it."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nannyml as nml
import numpy as np
import pandas as pd

METRICS = {"accuracy": "accuracy", "auc": "roc_auc", "f1": "f1"}


def read(job, reference=None, live=None):
    """Return both tables, categories as such, with the class that the output stands for."""
    frames = [pd.read_parquet(reference or job["reference"]), pd.read_parquet(live or job["live"])]
    for frame in frames:
        for name in job["categories"]:
            frame[name] = frame[name].astype("category")
        frame["said"] = (frame[job["output"]] >= 0.5).astype(int)
    return frames


def estimator(job, **chunks):
    """Return CBPE at its defaults."""
    return nml.CBPE(
        problem_type="classification_binary",
        y_true=job["target"],
        y_pred="said",
        y_pred_proba=job["output"],
        metrics=list(METRICS.values()),
        **chunks,
    )


def calculators(job, **chunks):
    """Return the three drift calculators at their defaults."""
    features = job["numbers"] + job["categories"]
    return {
        "univariate": nml.UnivariateDriftCalculator(column_names=features, **chunks),
        "reconstruction": nml.DataReconstructionDriftCalculator(column_names=features, **chunks),
        "domain": nml.DomainClassifierCalculator(feature_column_names=features, **chunks),
    }


def drifts(job, reference, live, **chunks):
    """Run the three drift calculators."""
    return {name: c.fit(reference).calculate(live) for name, c in calculators(job, **chunks).items()}


def audit(job):
    """Run the drift calculators and CBPE, and write each one's chart as a page."""
    reference, live = read(job)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        results = drifts(job, reference, live)
        results["performance"] = estimator(job).fit(reference).estimate(live)
        size = 0
        for name, result in results.items():
            page = Path(folder) / f"{name}.html"
            result.plot().write_html(page)
            size += page.stat().st_size
        seconds = time.perf_counter() - started
    table = results["performance"].filter(period="analysis").to_df()
    rows = (table[("chunk", "end_index")] - table[("chunk", "start_index")] + 1).to_numpy()
    accuracy = float(np.average(table[("accuracy", "value")], weights=rows))
    flagged = alerted(results["univariate"], job)
    domain = results["domain"].filter(period="analysis").to_df()
    auc = float(domain[("domain_classifier_auroc", "value")].mean())
    kinds = {
        "drift of each column": f"{len(flagged)} of {len(job['numbers'] + job['categories'])}, "
        f"alert in any of {len(table)} chunks",
        "drift of all together": f"AUC {auc:.3f} (mean of the chunks); reconstruction error",
        "kind of shift": "no",
        "performance without labels": f"accuracy {accuracy:.4f} (mean of the chunks)",
        "its interval": f"a band of sampling error, on average ± "
        f"{3 * float(table[('accuracy', 'sampling_error')].mean()):.4f} a chunk",
        "performance where labels came": "by another calculator",
        "why it changed": "no (a ranking of columns by their alerts)",
        "predictions that hold there": "no",
        "what to do next": "no",
        "trends over windows": "yes",
    }
    return {"seconds": seconds, "report": size, "accuracy": accuracy, "answered": kinds}


def alerted(result, job):
    """Return the columns with an alert in any chunk of the live rows."""
    table = result.filter(period="analysis").to_df()
    out = []
    for name in job["numbers"] + job["categories"]:
        method = "jensen_shannon"
        if bool(table[(name, method, "alert")].any()):
            out.append(name)
    return out


def columns(job):
    """Compare each column in one chunk: Kolmogorov-Smirnov for numbers, chi-squared for categories."""
    reference, live = read(job)
    started = time.perf_counter()
    calculator = nml.UnivariateDriftCalculator(
        column_names=job["numbers"] + job["categories"],
        continuous_methods=["kolmogorov_smirnov"],
        categorical_methods=["chi2"],
        chunk_number=1,
    )
    result = calculator.fit(reference).calculate(live)
    seconds = time.perf_counter() - started
    table = result.filter(period="analysis").to_df()
    distance = {n: float(table[(n, "kolmogorov_smirnov", "value")].iloc[0]) for n in job["numbers"]}
    return {"seconds": seconds, "distance": distance}


def estimate(job):
    """Estimate three metrics of each window."""
    reference, live = read(job)
    live = live.head(len(live) // job["every"] * job["every"])
    started = time.perf_counter()
    result = estimator(job, chunk_size=job["every"]).fit(reference).estimate(live)
    table = result.filter(period="analysis").to_df()
    values = [
        {ours: float(table[(theirs, "value")].iloc[k]) for ours, theirs in METRICS.items()}
        for k in range(len(table))
    ]
    return {"seconds": time.perf_counter() - started, "windows": values}


def alarms(job):
    """Run the drift calculators on many pairs; the live rows are one chunk, the reference several."""
    started = time.perf_counter()
    out = []
    for paths in job["pairs"]:
        results = drifts(job, *read(job, *paths), chunk_size=job["every"])
        joint = {}
        for title, key, column in (
            ("domain classifier", "domain", "domain_classifier_auroc"),
            ("reconstruction", "reconstruction", "reconstruction_error"),
        ):
            table = results[key].filter(period="analysis").to_df()
            joint[title] = bool(table[(column, "alert")].any())
        out.append({"columns": alerted(results["univariate"], job), "joint": joint})
    return {"seconds": time.perf_counter() - started, "pairs": out}


def main(job, answer):
    """Do the part that the job names."""
    warnings.filterwarnings("ignore")
    asked = json.loads(Path(job).read_text(encoding="utf-8"))
    part = {"audit": audit, "columns": columns, "estimate": estimate, "alarms": alarms}[asked["part"]]
    Path(answer).write_text(json.dumps(part(asked)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
