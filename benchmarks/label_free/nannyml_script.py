"""Runs inside NannyML's environment, never in ours: writes its data sets, or answers cases.

``nannyml_script.py data DIRECTORY`` writes the shipped data sets as Parquet.
``nannyml_script.py answer JOB.json`` reads the cases, writes the estimates to
the path that the job names.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import nannyml as nml
import pandas as pd

METRIC_NAMES = {"accuracy": "accuracy", "auc": "roc_auc", "f1": "f1", "mae": "mae", "rmse": "rmse"}


def write_data(directory: Path) -> None:
    """Write each shipped data set as reference and analysis, labels joined on."""
    directory.mkdir(parents=True, exist_ok=True)
    reference, analysis, labels = nml.load_us_census_ma_employment_data()
    _write(reference, directory / "census_reference.parquet")
    _write(_joined(analysis, labels), directory / "census_analysis.parquet")
    reference, analysis, labels = nml.load_modified_california_housing_dataset()
    _write(reference, directory / "california_reference.parquet")
    _write(_joined(analysis, labels), directory / "california_analysis.parquet")


def _joined(analysis: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    new = [c for c in labels.columns if c == "id" or c not in analysis.columns]
    return analysis.merge(labels[new], on="id", how="left", validate="one_to_one")


def _write(frame: pd.DataFrame, path: Path) -> None:
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype(str)
    frame.to_parquet(path, index=False)


def answer(case: dict) -> list[dict[str, float]]:
    """Estimate each window of one case with CBPE or DLE, at their default settings."""
    reference, analysis = pd.read_parquet(case["reference"]), pd.read_parquet(case["analysis"])
    names = {METRIC_NAMES[m]: m for m in case["metrics"]}
    if case["kind"] == "classification":
        for frame in (reference, analysis):
            frame["said"] = (frame[case["output"]] >= 0.5).astype(int)
        estimator = nml.CBPE(
            problem_type="classification_binary",
            y_true=case["target"],
            y_pred="said",
            y_pred_proba=case["output"],
            metrics=list(names),
            chunk_size=case["every"],
        )
    else:
        estimator = nml.DLE(
            feature_column_names=case["features"],
            y_true=case["target"],
            y_pred=case["output"],
            metrics=list(names),
            chunk_size=case["every"],
        )
    table = estimator.fit(reference).estimate(analysis).filter(period="analysis").to_df()
    return [
        {ours: float(table[(theirs, "value")].iloc[k]) for theirs, ours in names.items()}
        for k in range(len(table))
    ]


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    warnings.filterwarnings("ignore")
    if arguments[0] == "data":
        write_data(Path(arguments[1]))
        return
    job = json.loads(Path(arguments[1]).read_text())
    answers, failures = {}, {}
    for case in job["cases"]:
        try:
            answers[case["name"]] = answer(case)
        except Exception as error:  # a case that the peer cannot answer is a result, and is shown
            failures[case["name"]] = f"{type(error).__name__}: {error}"
    Path(job["out"]).write_text(json.dumps({"answers": answers, "failures": failures}))


if __name__ == "__main__":
    main(sys.argv[1:])
