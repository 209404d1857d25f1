"""Metrics on labels, by scikit-learn, and the interval of a figure that is carried over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn import metrics as sk

FloatArray = npt.NDArray[np.float64]

CLASSES, NUMBERS = ("accuracy", "auc", "log_loss"), ("mae", "rmse")
Z = 1.959963984540054


def measured(metric: str, y: FloatArray, output: FloatArray) -> float:
    """Return a metric of probabilities of class 1, or of predicted numbers."""
    if metric == "accuracy":
        return float(np.mean((output >= 0.5) == (y == 1)))
    if metric == "auc":
        return float(sk.roc_auc_score(y, output))
    if metric == "log_loss":
        return float(sk.log_loss(y, output))
    if metric == "mae":
        return float(sk.mean_absolute_error(y, output))
    return float(sk.root_mean_squared_error(y, output))


def influence(metric: str, y: FloatArray, output: FloatArray) -> FloatArray:
    """Return each row's effect on a metric; its standard deviation by root n is the metric's error."""
    value = measured(metric, y, output)
    if metric == "accuracy":
        return ((output >= 0.5) == (y == 1)) - value
    if metric == "log_loss":
        p = np.clip(np.where(y == 1, output, 1 - output), 1e-15, None)
        return -np.log(p) - value
    if metric == "mae":
        return np.abs(y - output) - value
    if metric == "rmse":
        return ((y - output) ** 2 - value**2) / (2 * value)
    positive = y == 1
    share = positive.mean()
    ranks, among = rankdata(output), np.empty(len(y))
    for side in (positive, ~positive):
        among[side] = ranks[side] - rankdata(output[side])
    # Of a positive the share of negatives below it, of a negative that of positives above it.
    above = np.where(positive, among / (~positive).sum(), 1 - among / positive.sum())
    return (above - value) / np.where(positive, share, 1 - share)


def carried_over(metric: str, y: FloatArray, output: FloatArray, live_rows: int) -> tuple[float, float]:
    """Return the interval of TRAIN's figure taken for LIVE's, if nothing but chance set them apart."""
    half = Z * float(np.std(influence(metric, y, output))) * np.sqrt(1 / len(y) + 1 / live_rows)
    value = measured(metric, y, output)
    return value - half, value + half
