"""A few labels of the target: which rows to ask for, and what they and the unlabelled rows say together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student

from steelyard.errors import InputError
from steelyard.evaluation.moves import MoveSpread
from steelyard.numerics.checks import as_vector, check_level
from steelyard.numerics.random import as_generator

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_GRID = 4001
# The expected spread of residuals counts like so many labels, so that five equal ones are not taken for all.
_EXPECTED_COUNTS = 4.0


@dataclass(frozen=True)
class LabelledEstimate:
    """A value with its interval, and what the labels alone showed.

    Attributes
    ----------
    value, low, high : float
    standard_error : float
        Half of the interval's width over the normal quantile of its level.
    move, move_error : float
        How far the labels put the value from the estimate without them, and that difference's standard error.
    p_value : float
        Of the hypothesis that the relation did not move, two-sided.
    detectable : float
        The smallest move that so many labels would show in four of five cases, at 5%.
    """

    value: float
    low: float
    high: float
    standard_error: float
    move: float
    move_error: float
    p_value: float
    detectable: float


def prediction_powered(
    values: Any,
    predicted: Any,
    predicted_all: Any,
    *,
    probability: Any = None,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Estimate the mean of all rows from few labelled ones and predictions for all: value and interval.

    Parameters
    ----------
    values : array of shape (n,)
        Of the labelled rows.
    predicted : array of shape (n,)
        What was predicted of them.
    predicted_all : array of shape (N,)
        What was predicted of all rows, the labelled ones among them.
    probability : array of shape (n,), optional
        With what probability each labelled row was chosen; alike by default.
    level : float

    Returns
    -------
    value, low, high : float

    Notes
    -----
    The mean of the labelled values plus ``c`` times what the predictions' mean over
    all rows lies above that over the labelled ones. ``c`` is the slope that makes the
    variance least, and 0 where the correlation is within chance, ``1 / sqrt(n - 2)``:
    then predictions would only add noise. The interval is Student's, for the mean that all rows'
    labels would give. Source: PPI++: Efficient
    Prediction-Powered Inference. Time O(n + N).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> predicted = rng.normal(size=5000)
    >>> truth = predicted + 0.3 * rng.normal(size=5000)
    >>> rows = rng.choice(5000, size=50, replace=False)
    >>> value, low, high = prediction_powered(truth[rows], predicted[rows], predicted)
    >>> bool(low < truth.mean() < high), high - low < 0.3
    (True, True)
    """
    y, f, every = as_vector(values), as_vector(predicted, name="predicted"), as_vector(predicted_all)
    w = _design_weights(probability, len(y), len(every))
    n = len(y)
    if n != len(f) or n < 2:
        raise InputError(
            f"values has {n} rows and predicted {len(f)}; give both of the same rows, two or more."
        )
    slope = 0.0
    if n > 3 and np.ptp(f) > 0 and np.ptp(y) > 0:
        fc, yc = f - np.average(f, weights=w), y - np.average(y, weights=w)
        covariance = float(np.sum(w**2 * fc * yc))
        correlation = covariance / float(np.sqrt(np.sum(w**2 * fc**2) * np.sum(w**2 * yc**2)))
        if abs(correlation) > 1 / np.sqrt(n - 2):
            slope = covariance / float(np.sum(w**2 * fc**2))
    rest = y - slope * f
    mean, variance = _weighted_mean(rest, w, len(every))
    value = mean + slope * float(every.mean())
    reach = float(student.ppf(0.5 + check_level(level) / 2, n - 1 - (slope != 0))) * np.sqrt(variance)
    return value, value - float(reach), value + float(reach)


def label_plan(
    spread: Any, budget: int, *, mixed: float = 0.3, random_state: Any = None
) -> tuple[IntArray, FloatArray]:
    """Choose the rows to label: more often where a residual is expected to be large.

    Parameters
    ----------
    spread : array of shape (N,)
        Standard deviation that is expected of each row's residual, not negative.
    budget : int
        How many labels there can be.
    mixed : float
        Share of the choice that goes by nothing, in case the expectation is wrong.
    random_state : int, Generator or None

    Returns
    -------
    rows : array of shape (n,)
        The chosen rows, ascending.
    probability : array of shape (n,)
        With which each was chosen, to be handed to `prediction_powered` or `combine_with_labels`.

    Notes
    -----
    Inclusion probabilities in proportion to a mixture of the spread and of a constant
    (Neyman's allocation, row by row), at most one; the rows are drawn systematically in random
    order, so that exactly as many come as were asked for. Time O(N log N).

    Examples
    --------
    >>> rows, probability = label_plan([0.1, 0.1, 0.1, 0.5], 2, random_state=0)
    >>> len(rows), bool((probability <= 1).all())
    (2, True)
    """
    size = as_vector(spread, name="spread")
    if not np.all(np.isfinite(size) & (size >= 0)):
        raise InputError("spread holds negative or missing values; give a standard deviation a row.")
    if budget < 1:
        raise InputError(f"budget is {budget}; give the number of labels that there can be, at least 1.")
    if not 0 < mixed <= 1:
        raise InputError(f"mixed is {mixed}; choose a share above 0, so that every row can be chosen.")
    n = len(size)
    if budget >= n:
        return np.arange(n), np.ones(n)
    mean = size.mean()
    wanted = np.full(n, mixed) + (1 - mixed) * (size / mean if mean > 0 else 1.0)
    probability = _capped(wanted, budget)
    rng = as_generator(random_state)
    order = rng.permutation(n)
    steps = np.cumsum(probability[order])
    # Systematic sampling: one tick a whole number, from a random start.
    ticks = rng.uniform() + np.arange(budget)
    at = np.minimum(np.searchsorted(steps, ticks, side="right"), n - 1)
    rows = np.unique(order[at])
    return rows, probability[rows]


def combine_with_labels(
    plug_in: float,
    correction: float,
    standard_error: float,
    residuals: Any,
    *,
    spread: MoveSpread,
    rows: int,
    probability: Any = None,
    expected_variance: float | None = None,
    level: float = 0.95,
    share: float = 1.0,
) -> LabelledEstimate:
    """Put few labels of the target together with the estimate that needs none.

    Parameters
    ----------
    plug_in : float
        The mean of what is expected of all rows of the target.
    correction, standard_error : float
        What the source's residuals add to it, and the standard error of the estimate
        ``plug_in + correction`` if the relation did not move.
    residuals : array of shape (n,)
        Of the labelled rows: what was seen less what was expected.
    spread : MoveSpread
        How far the relation may have moved.
    rows : int
        Rows of the target.
    probability : array of shape (n,), optional
        With what probability each labelled row was chosen; alike by default.
    expected_variance : float, optional
        What variance of the residuals the model of the outcome expects: it counts as four labels.
    level : float
    share : float
        See `MoveSpread.half_width`.

    Notes
    -----
    Both estimates stand on the same predictions, so they are not averaged: the mean residual of
    the target is what is not known. Before the labels it is ``correction``, give or take chance and
    a move; the labels' mean residual measures it, with Student's law for the error. The posterior is
    computed on a grid. Labels that contradict the estimate win, since large moves have heavy tails.
    Time O(n) and a grid of 4,000 points.

    Examples
    --------
    >>> from steelyard.evaluation import move_spread
    >>> rng = np.random.default_rng(0)
    >>> seen = 0.05 + 0.4 * rng.normal(size=100)  # the errors became larger by 0.05
    >>> found = combine_with_labels(0.20, 0.0, 0.005, seen, spread=move_spread(usual=0.04), rows=10_000)
    >>> 0.2 < found.value < 0.29, found.high - found.low < 4 * 0.4 / 10
    (True, True)
    """
    r = as_vector(residuals, name="residuals")
    if len(r) < 2:
        raise InputError(f"residuals has {len(r)} rows; two labels at least are needed.")
    w = _design_weights(probability, len(r), rows)
    mean, variance = _weighted_mean(r, w, rows)
    df = float(len(r) - 1)
    if expected_variance is not None:
        # Variance of the mean if residuals were as the model expects, under the same design.
        expected = expected_variance * float(np.sum(w**2)) * max(1 - len(r) / rows, 0.0)
        variance = (df * variance + _EXPECTED_COUNTS * expected) / (df + _EXPECTED_COUNTS)
        df += _EXPECTED_COUNTS
    error = float(np.sqrt(variance))
    move_error = float(np.hypot(error, standard_error))
    z = float(norm.ppf(0.5 + check_level(level) / 2))
    p_value = 2 * float(student.sf(abs(mean - correction) / move_error, df)) if move_error > 0 else 1.0
    detectable = (float(student.ppf(0.975, df)) + float(student.ppf(0.8, df))) * move_error
    at, mass = _posterior(mean, error, df, correction, standard_error, spread, share)
    total = np.cumsum(mass)
    low, middle, high = np.interp([0.5 - level / 2, 0.5, 0.5 + level / 2], total, at)
    return LabelledEstimate(
        plug_in + float(middle),
        plug_in + float(low),
        plug_in + float(high),
        float(high - low) / (2 * z),
        mean - correction,
        move_error,
        p_value,
        detectable,
    )


def _posterior(
    mean: float,
    error: float,
    df: float,
    prior: float,
    standard_error: float,
    spread: MoveSpread,
    share: float,
) -> tuple[FloatArray, FloatArray]:
    """Return a grid of the target's mean residual and how likely each of its points is."""
    if error == 0:
        return np.array([mean, mean]), np.array([0.5, 0.5])
    reach = np.sinh(np.linspace(-7.0, 7.0, _GRID)) / np.sinh(7.0)
    far = 60.0 * error + abs(mean - prior)
    at = np.unique(np.concatenate([mean + far * reach, prior + far * reach]))
    log_density = student.logpdf((at - mean) / error, df) + np.log(
        np.maximum(spread.density(at - prior, standard_error, share=share), 1e-300)
    )
    density = np.exp(log_density - log_density.max())
    # Mass between neighbouring points, as the trapezium has it.
    step = np.diff(at, prepend=at[0]) / 2
    step[:-1] += np.diff(at) / 2
    mass = density * step
    return at, mass / mass.sum()


def _design_weights(probability: Any, n: int, rows: int) -> FloatArray:
    """Return weights of labelled rows that sum to one: one over the probability of being chosen."""
    if probability is None:
        return np.full(n, 1.0 / n)
    p = as_vector(probability, name="probability")
    if len(p) != n:
        raise InputError(f"probability has {len(p)} values for {n} labelled rows; give one a row.")
    if not np.all((p > 0) & (p <= 1)):
        raise InputError(
            "probability must lie above 0 and not above 1; leave out rows that cannot be chosen."
        )
    return np.asarray(1 / p / np.sum(1 / p))


def _weighted_mean(values: FloatArray, weights: FloatArray, rows: int) -> tuple[float, float]:
    """Return the weighted mean and its variance, less what is known for having been seen."""
    mean = float(weights @ values)
    n = len(values)
    variance = float(np.sum((weights * (values - mean)) ** 2)) * n / (n - 1)
    return mean, variance * max(1 - n / rows, 0.0)


def _capped(wanted: FloatArray, budget: int) -> FloatArray:
    """Return probabilities in proportion to what is wanted, at most one, that sum to the budget."""
    probability = wanted * (budget / wanted.sum())
    for _ in range(len(wanted)):
        sure = probability >= 1
        if not np.any(probability > 1):
            break
        rest = budget - int(sure.sum())
        probability[sure] = 1.0
        probability[~sure] = wanted[~sure] * (rest / wanted[~sure].sum())
    return np.asarray(np.minimum(probability, 1.0))
