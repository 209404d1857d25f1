"""Confidence-based performance estimation with shift-aware recalibration (catalogue 417)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from steelyard.errors import InputError
from steelyard.evaluation.estimates import Estimate, make_estimate
from steelyard.evaluation.metrics import Metric, Outputs, outcome_columns
from steelyard.numerics.checks import as_weights

FloatArray = npt.NDArray[np.float64]


def recalibrate(
    proba: FloatArray, y: Any, proba_target: FloatArray, *, sample_weight: Any = None
) -> FloatArray:
    """Return the target rows' probabilities, recalibrated on weighted source rows.

    Parameters
    ----------
    proba : array of shape (n, K)
        The model's probabilities on source rows it was not fitted on.
    y : array of shape (n,)
        Class codes of those rows.
    proba_target : array of shape (m, K)
    sample_weight : array of shape (n,), optional
        Density ratios: with them, the probabilities mean what they say among
        target rows.

    Returns
    -------
    array of shape (m, K)
        Rows sum to one.

    Notes
    -----
    Weighted isotonic regression of each class's indicator on its probability;
    for more than two classes the rows are normalised afterwards. Time
    O(K (n log n + m log n)).
    """
    w = as_weights(sample_weight, proba.shape[0])
    n_classes = proba.shape[1]
    codes = np.asarray(y, dtype=np.int64)
    classes = [1] if n_classes == 2 else list(range(n_classes))
    columns = []
    used = w > 0
    for c in classes:
        iso = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        iso.fit(proba[used, c], (codes[used] == c).astype(np.float64), sample_weight=w[used])
        columns.append(iso.predict(proba_target[:, c]))
    if n_classes == 2:
        return np.column_stack([1 - columns[0], columns[0]])
    raw = np.column_stack(columns) + 1e-12
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def confidence_based(
    metric: Metric,
    *,
    outputs: Outputs,
    y: Any,
    outputs_target: Outputs,
    weights: Any = None,
    level: float = 0.95,
) -> Estimate:
    """Estimate a classifier's metric on unlabelled target rows from its recalibrated confidence.

    The probabilities are recalibrated on source rows weighted by the density
    ratio, and the metric is computed with the resulting expected labels. With
    ``weights=None`` this is plain confidence-based estimation, which assumes
    that the calibration found on the source carries over.

    Parameters
    ----------
    metric : Metric
        A classification metric; the model's features are not needed.
    outputs : Outputs
        Probabilities (n, K) of source rows the model was not fitted on.
    y : array of shape (n,)
        Their class codes.
    outputs_target : Outputs
        Probabilities (m, K) of the target rows.
    weights : array of shape (n,), optional
        Target / source density ratios of the source rows.
    level : float
        Of the interval.

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        If the outputs have no probabilities.

    Notes
    -----
    Assumes covariate shift, and that a row's probability is enough to know its
    label's law among target rows. The standard error joins the weighted source
    residuals and the noise of the target's labels. Time O(K (n log n + m log n)).

    Source: "We don't need no labels: Estimating post-deployment model
    performance under covariate shift without ground truth" (catalogue 417).

    Examples
    --------
    >>> import numpy as np
    >>> from steelyard.evaluation import Outputs, confidence_based, get_metric
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=2000)
    >>> y = (rng.uniform(size=2000) < p).astype(int)
    >>> source = Outputs(np.column_stack([1 - p, p]), (p > 0.5).astype(int))
    >>> sure = np.clip(p, 0.9, None)  # the target has only confident rows
    >>> target = Outputs(np.column_stack([1 - sure, sure]), np.ones(2000, dtype=int))
    >>> estimate = confidence_based(get_metric("accuracy"), outputs=source, y=y, outputs_target=target)
    >>> round(estimate.value, 1)
    0.9
    """
    if outputs.proba is None or outputs_target.proba is None:
        raise InputError("confidence-based estimation needs the model's probabilities, not labels alone.")
    n = len(outputs)
    w = as_weights(weights, n, name="weights")
    w = w / w.sum()
    expected_target = recalibrate(outputs.proba, y, outputs_target.proba, sample_weight=w)
    expected = recalibrate(outputs.proba, y, outputs.proba, sample_weight=w)
    m = len(outputs_target)
    evaluated = metric.evaluate(outputs_target, expected_target, np.ones(m))
    outcome = outcome_columns(y, outputs, n_classes=outputs.proba.shape[1])
    residual = np.sum(evaluated.slope(outputs) * (outcome - expected), axis=1)
    variance = float(w**2 @ residual**2) + float(w @ residual**2) / m
    name = "confidence-based" if weights is None else "confidence-based, recalibrated for the shift"
    return make_estimate(evaluated.value, variance, metric=metric, method=name, level=level)
