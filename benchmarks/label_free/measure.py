"""The realised metrics, written here and not taken from any of the packages compared; and their noise.

AUC is measured on the raw output: a monotone recalibration would leave it
alone, but one with steps would tie rows and change it.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from benchmarks.label_free.case import OUTPUT, Case, FloatArray

DRAWS = 300


def measured(metric: str, labels: FloatArray, output: FloatArray) -> FloatArray:
    """Return a metric for each row of labels.

    Parameters
    ----------
    metric : {"accuracy", "auc", "f1", "mae", "rmse"}
        The positive class is predicted where the output is at least one half.
    labels : ndarray of shape (draws, n)
        Zeros and ones, or numbers.
    output : ndarray of shape (n,)
        Probabilities of the positive class, or predictions.

    Returns
    -------
    ndarray of shape (draws,)
    """
    n = output.size
    if metric == "mae":
        return np.abs(labels - output).mean(axis=1)
    if metric == "rmse":
        return np.sqrt(((labels - output) ** 2).mean(axis=1))
    said = (output >= 0.5).astype(np.float64)
    positives, hits = labels.sum(axis=1), labels @ said
    if metric == "accuracy":
        return 1 - (positives + said.sum() - 2 * hits) / n
    if metric == "f1":
        return 2 * hits / (positives + said.sum())
    if metric == "auc":
        ranks = rankdata(output)
        return (labels @ ranks - positives * (positives + 1) / 2) / (positives * (n - positives))
    raise ValueError(f"no metric {metric!r}")


def noise_floor(case: Case, window: slice, metric: str, rng: np.random.Generator) -> float:
    """Return the expected absolute error of an oracle that knows the law of every row's label.

    Labels are drawn anew from that law; where it is not at hand, rows are drawn
    with replacement, which also varies the rows and so overstates the floor.
    """
    output = case.live[window][OUTPUT].to_numpy().astype(np.float64)
    if case.draw is None:
        values = np.empty(DRAWS)
        truth = case.truth[window]
        for b in range(DRAWS):
            rows = rng.integers(0, output.size, output.size)
            values[b] = measured(metric, truth[None, rows], output[rows])[0]
    else:
        values = measured(metric, case.draw(DRAWS, window, rng), output)
    return float(np.sqrt(2 / np.pi) * np.std(values, ddof=1))
