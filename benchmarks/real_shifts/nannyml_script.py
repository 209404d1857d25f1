"""Runs inside NannyML's environment: ``nannyml_script.py JOB.json`` answers each case as one chunk.

CBPE or DLE at their defaults; their bands of three sampling errors are drawn anew at 1.96.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import nannyml as nml
import pandas as pd

NAMES = {"accuracy": "accuracy", "auc": "roc_auc", "mae": "mae", "rmse": "rmse"}
Z = 1.959963984540054


def answer(case):
    """Return value and 95% band of each metric on LIVE."""
    reference, analysis = (pd.read_parquet(case[side]) for side in ("reference", "analysis"))
    names = {NAMES[m]: m for m in case["metrics"] if m in NAMES}
    common = {"y_true": "target", "metrics": list(names), "chunk_number": 1}
    if case["classes"]:
        for frame in (reference, analysis):
            frame["said"] = (frame["output"] >= 0.5).astype(int)
        estimator = nml.CBPE(
            problem_type="classification_binary", y_pred="said", y_pred_proba="output", **common
        )
    else:
        features = [c for c in analysis.columns if c != "output"]
        for name in features:
            if not pd.api.types.is_numeric_dtype(reference[name]):
                for frame in (reference, analysis):
                    frame[name] = frame[name].astype(object).astype("category")
        estimator = nml.DLE(feature_column_names=features, y_pred="output", **common)
    table = estimator.fit(reference).estimate(analysis).filter(period="analysis").to_df()
    out = {}
    for theirs, ours in names.items():
        value, error = (float(table[(theirs, key)].iloc[0]) for key in ("value", "sampling_error"))
        out[ours] = [value, value - Z * error, value + Z * error]
    return out


def main(path):
    warnings.filterwarnings("ignore")
    # DLE cannot take the columns of text that newer versions of pandas read.
    pd.set_option("future.infer_string", False)
    job = json.loads(Path(path).read_text())
    answers, failures = {}, {}
    for case in job["cases"]:
        try:
            answers[case["name"]] = answer(case)
        except Exception as error:  # a case that the peer cannot answer is a result, and is shown
            failures[case["name"]] = f"{type(error).__name__}: {error}"
    Path(job["out"]).write_text(json.dumps({"answers": answers, "failures": failures}))


if __name__ == "__main__":
    main(sys.argv[1])
