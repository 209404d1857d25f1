"""A metric's value on the target, estimated three ways, each with its standard error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from steelyard.errors import InputError
from steelyard.evaluation.metrics import Metric, Outputs
from steelyard.losses.metric_facts import METRIC_FACTS
from steelyard.numerics.checks import as_weights

FloatArray = npt.NDArray[np.float64]

# The jackknife sees the variance of the outcome model, not its bias. Boosting and penalties are tuned
# so that the two are about alike; factors of 1 to 8 gave nearly the same errors on generated shifts.
_BIAS_FACTOR = 2.0
# Agresti and Coull's: two of each of two outcomes.
_ADDED_ROWS = 4.0


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, and the interval at ``level``; ``method`` says how it was got."""

    value: float
    standard_error: float
    low: float
    high: float
    level: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dict."""
        return asdict(self)


def make_estimate(
    value: float,
    variance: float,
    *,
    metric: Metric,
    method: str,
    level: float = 0.95,
    n_classes: int | None = None,
) -> Estimate:
    """Return an estimate with a normal interval that keeps to the metric's own limits.

    A loss gets its interval on the log scale (R2 on that of 1 - R2): it is a mean
    of skewed values, and a sample that happens to lack large ones has too small a
    mean and too small an error at once. Where the error is as large as the loss itself the
    log scale tells nothing, and the upper end is held at three times the normal one's distance.
    ``n_classes`` narrows the limits of a metric that depends on it.
    """
    se = float(np.sqrt(max(variance, 0.0)))
    half = float(norm.ppf(0.5 + level / 2)) * se
    floor, ceiling = metric_limits(metric, n_classes)
    value = float(np.clip(value, floor, ceiling))
    low, high = value - half, value + half
    if np.isinf(floor) and value < 1:
        best, worst = _skewed(1.0 - value, half)
        low, high = 1 - worst, 1 - best
    elif not metric.greater_is_better and value > 0:
        low, high = _skewed(value, half)
    return Estimate(value, se, max(low, floor), min(high, ceiling), level, method)


def _skewed(loss: float, half: float) -> tuple[float, float]:
    """Return the ends of a loss's interval on the log scale, from the half width of the normal one."""
    factor = float(np.exp(min(half / loss, 700.0)))
    return loss / factor, min(loss * factor, loss + 3 * half)


def metric_limits(metric: Metric, n_classes: int | None = None) -> tuple[float, float]:
    """Return the smallest and the largest value that the metric can take."""
    facts = METRIC_FACTS.get(metric.name)
    if facts is None:
        # One that a user has made is taken for a loss.
        return 0.0, np.inf
    # Of two classes the Brier score is that of the positive one alone.
    return facts.floor, 1.0 if facts.name == "brier" and n_classes == 2 else facts.ceiling


def _n_classes(outputs: Outputs) -> int | None:
    return None if outputs.proba is None else outputs.proba.shape[1]


def importance_weighted(
    metric: Metric,
    outputs: Outputs,
    outcome: FloatArray,
    *,
    weights: Any,
    n_target: int | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the metric on the source rows, weighted to look like the target.

    Parameters
    ----------
    metric : Metric
    outputs : Outputs
        Of the n source rows.
    outcome : array of shape (n, k)
        Observed outcome columns (:func:`outcome_columns`).
    weights : array of shape (n,)
        Target / source density ratios, on any scale.
    n_target : int, optional
        Rows in the target. The interval is then for the value that their labels
        would give; without it, for the value in the population.
    level : float

    Notes
    -----
    The standard error is that of the self-normalised weighted mean of the
    metric's influence values, the weights taken as given. Time O(n log n).
    """
    w = as_weights(weights, len(outputs), name="weights")
    w = w / w.sum()
    evaluated = metric.evaluate(outputs, outcome, w)
    influence = evaluated.influence(outputs, outcome)
    influence -= w @ influence
    variance = float(w**2 @ influence**2)
    if n_target is not None:
        variance += float(w @ influence**2) / n_target
    return make_estimate(
        evaluated.value,
        variance,
        metric=metric,
        method="importance weighted",
        level=level,
        n_classes=_n_classes(outputs),
    )


def plug_in(metric: Metric, outputs: Outputs, expected: FloatArray, *, sample_weight: Any = None) -> float:
    """Return the metric where each row's outcome is replaced by its expectation."""
    return metric(outputs, expected, sample_weight=sample_weight)


def doubly_robust(
    metric: Metric,
    *,
    outputs: Outputs,
    outcome: FloatArray,
    expected: FloatArray,
    outputs_target: Outputs,
    expected_target: FloatArray,
    weights: Any,
    outcome_variance: float | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the metric on the target: expected outcomes there, corrected by weighted residuals.

    Parameters
    ----------
    metric : Metric
    outputs, outcome, expected
        Of the n source rows: the model's output, the observed outcome columns
        (n, k), and their expectation by an outcome model that did not see the
        row.
    outputs_target, expected_target
        Of the m target rows.
    weights : array of shape (n,)
        Target / source density ratios of the source rows, on any scale.
    outcome_variance : float, optional
        Variance of the plug-in value that comes from fitting the outcome model
        (:func:`outcome_model_variance`). With it the correction counts by the
        share ``2 v / (2 v + variance of the correction)``: little where the
        outcome model is sure and the weights are few, wholly where it is not.
        The interval stays that of the whole correction, widened by what the
        outcome model's error leaves in. Metrics of numbers get the whole
        correction, and the variance ``v`` on top of its own.
    level : float

    Returns
    -------
    Estimate
        The interval is for the value that the target rows' labels would give:
        it holds the noise of those labels as well as the estimation error.

    Notes
    -----
    The metric is a smooth functional of the joint law of output and outcome, so
    its one-step estimator is the plug-in value plus the weighted mean of
    ``slope . (outcome - expected)``. It is right to first order if either the
    weights or the outcome model are. Time O((n + m) log m).
    """
    w = as_weights(weights, len(outputs), name="weights")
    w = w / w.sum()
    if expected.shape != outcome.shape:
        raise InputError(f"expected has shape {expected.shape}, outcome {outcome.shape}; they must agree.")
    m = len(outputs_target)
    evaluated = metric.evaluate(outputs_target, expected_target, np.ones(m))
    residual = np.sum(evaluated.slope(outputs) * (outcome - expected), axis=1)
    correction = float(w @ residual)
    variance = float(w**2 @ (residual - correction) ** 2)
    noise = label_noise(evaluated.slope(outputs_target), expected_target, fallback=float(w @ residual**2))
    return corrected_estimate(
        evaluated.value,
        correction,
        variance,
        metric=metric,
        noise=noise / m,
        outcome_variance=outcome_variance,
        level=level,
        n_classes=_n_classes(outputs),
    )


def corrected_estimate(
    plug_in_value: float,
    correction: float,
    variance: float,
    *,
    metric: Metric,
    noise: float,
    outcome_variance: float | None = None,
    level: float = 0.95,
    n_classes: int | None = None,
) -> Estimate:
    """Return what `doubly_robust` does, from its parts.

    Parameters
    ----------
    plug_in_value : float
        The metric of the expected outcomes.
    correction, variance : float
        Weighted mean of the residuals' effect on it, and that mean's variance.
    metric : Metric
    noise : float
        Variance from the labels that the target rows happen to have.
    outcome_variance : float, optional
        Variance of the plug-in value from fitting the outcome model.
    level : float
    n_classes : int, optional
        Of a classification.
    """
    if outcome_variance is not None and metric.kind == "regression":
        # A residual has no bound, and what model there is of it falls short where the source is thin: on
        # generated shifts by one to two standard errors, which sharing would keep. Exact weights would
        # undo the model's error to first order; estimated ones are too even where residuals are largest,
        # and leave much of it in.
        variance += outcome_variance
    elif outcome_variance is not None and variance > 0:
        own = _BIAS_FACTOR * outcome_variance
        share = own / (own + variance)
        correction *= share
        variance += (1 - share) ** 2 * own
    return make_estimate(
        plug_in_value + correction,
        variance + noise,
        metric=metric,
        method="doubly robust",
        level=level,
        n_classes=n_classes,
    )


def outcome_model_variance(
    metric: Metric, *, outputs_target: Outputs, by_fold: FloatArray, expected_target: FloatArray
) -> float:
    """Return the variance of the plug-in value that the fit of the outcome model causes.

    The delete-a-group jackknife over the folds: ``(K - 1) / K`` times the sum of
    the squared deviations of the K folds' values, to first order.

    Parameters
    ----------
    metric : Metric
    outputs_target : Outputs
        Of m target rows.
    by_fold : array of shape (K, m, k)
        What the models of each fold expect of these rows.
    expected_target : array of shape (m, k)
        What they are taken to be.
    """
    slope = metric.evaluate(outputs_target, expected_target, np.ones(len(outputs_target))).slope(
        outputs_target
    )
    values = np.mean(np.sum(slope * by_fold, axis=2), axis=1)
    k = len(values)
    return float((k - 1) / k * np.sum((values - values.mean()) ** 2))


def unseen_noise(slope: FloatArray, expected: FloatArray) -> float:
    """Return the mean square of ``slope . (outcome - expected)`` if any class were as likely as any other.

    Expected outcomes of 0 and 1 leave labels no noise, and residuals that are all
    zero leave the correction none, though n rows without an error only show that
    errors are rarer than about 3 in n. Agresti and Coull's way of saying so is to
    add a few rows of every outcome: the variance per row then grows by their share
    times this. Zero for outcomes that are no class indicators.

    Examples
    --------
    >>> slope, certain = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]])
    >>> unseen_noise(slope, certain)
    0.5
    """
    each = label_noises(slope, expected)
    if each is None:
        return 0.0
    mean = np.sum(slope * expected, axis=1, keepdims=True)
    return float(np.mean(np.maximum(np.mean((slope - mean) ** 2, axis=1) - each, 0.0)))


def unseen_variance(unseen: float, rows: float) -> float:
    """Return what `unseen_noise` adds to a row's variance where the source is worth so many rows."""
    return _ADDED_ROWS / (rows + _ADDED_ROWS) * unseen


def label_noise(slope: FloatArray, expected: FloatArray, *, fallback: float) -> float:
    """Return the mean variance of ``slope . outcome`` given the row.

    Class indicators have the covariance that their probabilities give; other
    outcome columns use ``fallback``, the mean squared residual of like rows.
    """
    each = label_noises(slope, expected)
    return fallback if each is None else float(np.mean(each))


def label_noises(slope: FloatArray, expected: FloatArray) -> FloatArray | None:
    """Return each row's variance of ``slope . outcome``; None for outcomes that are no class indicators."""
    is_probability = bool(np.all(np.abs(expected.sum(axis=1) - 1) < 1e-6) and np.all(expected >= 0))
    if not is_probability:
        return None
    mean = np.sum(slope * expected, axis=1)
    return np.asarray(np.sum(slope**2 * expected, axis=1) - mean**2)
