"""skada's weights: ``JOB ANSWER``, run in skada's own environment."""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
from skada import (
    DensityReweightAdapter,
    DiscriminatorReweightAdapter,
    GaussianReweightAdapter,
    KLIEPReweightAdapter,
    KMMReweightAdapter,
    NearestNeighborReweightAdapter,
)

warnings.filterwarnings("ignore")
METHODS = {
    "density": DensityReweightAdapter,
    "gaussian": GaussianReweightAdapter,
    "discriminator": DiscriminatorReweightAdapter,
    "kliep": KLIEPReweightAdapter,
    "kmm": KMMReweightAdapter,
    "neighbours": NearestNeighborReweightAdapter,
}


def main(job):
    with np.load(job["table"]) as z:
        X, X_target = z["X"], z["X_target"]
    adapter = METHODS[job["method"]](**job["options"])
    started = time.perf_counter()
    rows = np.vstack([X, X_target])
    domain = np.repeat([1, -2], [len(X), len(X_target)])  # a target's label is negative
    weights = adapter.fit(rows, sample_domain=domain).compute_weights(rows, sample_domain=domain)[: len(X)]
    seconds = time.perf_counter() - started
    np.save(job["out"], np.asarray(weights, dtype=float))
    return {"seconds": seconds}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as job_file:
        answer = main(json.load(job_file))
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(answer, answer_file)
