"""balance's weights: ``JOB ANSWER``, run in balance's own environment."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

import numpy as np
import pandas as pd
from balance import Sample

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)


def sample(X):
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    frame.insert(0, "id", np.arange(len(X)).astype(str))
    return Sample.from_frame(frame, id_column="id")


def binned(X, X_target, bins):
    """Cut the columns at quantiles of both samples together, into strings."""
    cuts = np.quantile(np.vstack([X, X_target]), np.arange(1, bins) / bins, axis=0)
    names = np.array([f"bin{k}" for k in range(bins)], dtype=object)
    return [
        np.column_stack([names[np.searchsorted(cuts[:, j], Z[:, j])] for j in range(Z.shape[1])])
        for Z in (X, X_target)
    ]


def main(job):
    with np.load(job["table"]) as z:
        X, X_target = z["X"], z["X_target"]
    options = dict(job["options"])
    started = time.perf_counter()
    if "bins" in options:
        X, X_target = binned(X, X_target, options.pop("bins"))
    adjusted = sample(X).set_target(sample(X_target)).adjust(method=job["method"], **options)
    weights = np.asarray(adjusted.weight_series, dtype=float)
    seconds = time.perf_counter() - started
    np.save(job["out"], weights)
    return {"seconds": seconds}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as job_file:
        answer = main(json.load(job_file))
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(answer, answer_file)
