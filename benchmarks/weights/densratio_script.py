"""densratio's weights: ``JOB ANSWER``, run in densratio's own environment."""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
from densratio import densratio

warnings.filterwarnings("ignore")


def main(job):
    with np.load(job["table"]) as z:
        X, X_target = z["X"], z["X_target"]
    started = time.perf_counter()
    # It estimates the density of its first sample over that of its second.
    ratio = densratio(X_target, X, method=job["method"], verbose=False, **job["options"])
    weights = ratio.compute_density_ratio(X)
    seconds = time.perf_counter() - started
    np.save(job["out"], np.asarray(weights, dtype=float).ravel())
    return {"seconds": seconds}


if __name__ == "__main__":
    np.random.seed(0)  # noqa: NPY002  (densratio draws its centres from the global state)
    with open(sys.argv[1], encoding="utf-8") as job_file:
        answer = main(json.load(job_file))
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(answer, answer_file)
