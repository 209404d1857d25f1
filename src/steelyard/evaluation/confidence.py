"""Confidence-based performance estimation with shift-aware recalibration (catalogue 417)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    return _calibrated(_calibration(proba, y, sample_weight), proba_target)


def _calibration(proba: FloatArray, y: Any, sample_weight: Any) -> list[IsotonicRegression]:
    """Return the fitted curve of each class, of two classes that of the second."""
    w = as_weights(sample_weight, proba.shape[0])
    n_classes = proba.shape[1]
    codes = np.asarray(y, dtype=np.int64)
    used = w > 0
    curves = []
    for c in [1] if n_classes == 2 else range(n_classes):
        iso = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        iso.fit(proba[used, c], (codes[used] == c).astype(np.float64), sample_weight=w[used])
        curves.append(iso)
    return curves


def _calibrated(curves: Sequence[IsotonicRegression], proba: FloatArray) -> FloatArray:
    if len(curves) == 1:
        positive = curves[0].predict(proba[:, 1])
        return np.column_stack([1 - positive, positive])
    raw = np.column_stack([iso.predict(proba[:, c]) for c, iso in enumerate(curves)]) + 1e-12
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
    windows = confidence_based_windows(
        [metric],
        outputs=outputs,
        y=y,
        outputs_target=outputs_target,
        windows=[slice(None)],
        weights=weights,
        level=level,
    )
    return windows[0][0]


def confidence_based_windows(
    metrics: Sequence[Metric],
    *,
    outputs: Outputs,
    y: Any,
    outputs_target: Outputs,
    windows: Iterable[Any],
    weights: Any = None,
    level: float = 0.95,
) -> list[list[Estimate]]:
    """Estimate several metrics on each window of the target, as :func:`confidence_based` would one by one.

    The recalibration does not depend on the window, so it is fitted once.

    Parameters
    ----------
    metrics : sequence of Metric
        Classification metrics.
    outputs, y, outputs_target, weights, level
        As in :func:`confidence_based`.
    windows : iterable of slice or array of int
        Which rows of the target each window has.

    Returns
    -------
    list of list of Estimate
        A list a window, in it an estimate a metric.

    Raises
    ------
    InputError
        If the outputs have no probabilities.

    Notes
    -----
    Time O(K (n + m) log(n + m)) once, and O(K n + K m_w log m_w) a window of m_w
    rows for each metric.

    Source: "We don't need no labels: Estimating post-deployment model
    performance under covariate shift without ground truth" (catalogue 417).

    Examples
    --------
    >>> import numpy as np
    >>> from steelyard.evaluation import Outputs, confidence_based_windows, get_metric
    >>> rng = np.random.default_rng(0)
    >>> p = np.concatenate([rng.uniform(0.8, 1.0, 1000), rng.uniform(0.6, 0.8, 1000)])
    >>> y = (rng.uniform(size=2000) < p).astype(int)
    >>> outputs = Outputs(np.column_stack([1 - p, p]), (p > 0.5).astype(int))
    >>> days = [slice(0, 1000), slice(1000, 2000)]
    >>> accuracy = get_metric("accuracy")
    >>> estimates = confidence_based_windows(
    ...     [accuracy], outputs=outputs, y=y, outputs_target=outputs, windows=days
    ... )
    >>> [round(of_day[0].value, 1) for of_day in estimates]
    [0.9, 0.7]
    """
    if outputs.proba is None or outputs_target.proba is None:
        raise InputError("confidence-based estimation needs the model's probabilities, not labels alone.")
    w = as_weights(weights, len(outputs), name="weights")
    w = w / w.sum()
    curves = _calibration(outputs.proba, y, w)
    expected_target = _calibrated(curves, outputs_target.proba)
    # The source's rows only enter sums, and a ranking looks ordered scores up several times faster.
    order = np.argsort(outputs.proba[:, -1])
    source, w = outputs.take(order), w[order]
    assert source.proba is not None
    outcome = outcome_columns(np.asarray(y)[order], source, n_classes=source.proba.shape[1])
    surprise = outcome - _calibrated(curves, source.proba)
    name = "confidence-based" if weights is None else "confidence-based, recalibrated for the shift"

    def estimate(metric: Metric, seen: Outputs, expected: FloatArray) -> Estimate:
        evaluated = metric.evaluate(seen, expected, np.ones(len(seen)))
        squares = np.einsum("ij,ij->i", evaluated.slope(source), surprise) ** 2
        variance = float(w**2 @ squares) + float(w @ squares) / len(seen)
        return make_estimate(
            evaluated.value,
            variance,
            metric=metric,
            method=name,
            level=level,
            n_classes=source.proba.shape[1],  # type: ignore[union-attr]
        )

    rows = ((outputs_target.take(window), expected_target[window]) for window in windows)
    return [[estimate(metric, seen, expected) for metric in metrics] for seen, expected in rows]
