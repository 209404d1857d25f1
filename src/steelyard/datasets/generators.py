"""Samples with a shift of a known kind and the truth beside them.

Two ways of making data, because a shift is defined by what stays fixed. Where
P(y | x) stays (``covariate``) or changes on purpose (``concept``), x is drawn
first and y given x; where P(x | y) stays (``label``, ``both``), y is drawn first.
All densities are closed forms, so density ratios and posteriors are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from steelyard.datasets._laws import draw_y, label_first, log_normal, moved_law, without_overlap
from steelyard.datasets.sample import FloatArray, ShiftedSample, Task, regression_sample
from steelyard.errors import InputError

Kind = Literal["none", "covariate", "label", "both", "concept", "no_overlap"]
RandomState = int | np.random.Generator | np.random.RandomState | None

_MIN_FEATURES = 4


def make_shift(
    kind: Kind,
    *,
    n_source: int = 2000,
    n_target: int = 2000,
    strength: float = 1.0,
    task: Task = "binary",
    n_features: int = 5,
    random_state: RandomState = None,
) -> ShiftedSample:
    """Draw a source and a target sample that differ in a stated way.

    - ``none``: both alike.
    - ``covariate``: the first two features of the target move and the third
      contracts; P(y | x), which is not linear in x, stays. The effective sample
      size of the exact weights is about 85, 50 and 23 per cent at strengths 0.5, 1
      and 1.5.
    - ``label``: the classes (or the law of a numerical y) change; P(x | y) stays.
    - ``both``: as ``label``, and one feature, independent of y, moves too.
    - ``concept``: P(x) stays; P(y | x) changes where the first feature is above 0.5.
    - ``no_overlap``: as ``covariate`` but milder, and a share ``0.3 * strength`` of
      the target lies where the source has no mass.

    Parameters
    ----------
    kind : {"none", "covariate", "label", "both", "concept", "no_overlap"}
        What changes.
    n_source, n_target : int
        Rows.
    strength : float
        0 is no shift; 0.5 mild, 1 plain, 1.5 and more strong.
    task : {"binary", "multiclass", "regression"}
        Kind of y; multiclass has three classes.
    n_features : int
        At least 4; those after the fourth are noise (but the last is the one that
        moves under ``both``).
    random_state : int, Generator, RandomState or None
        Source of randomness.

    Returns
    -------
    ShiftedSample

    Raises
    ------
    InputError
        If an argument is out of range.

    Notes
    -----
    Time and memory O((n_source + n_target) d).

    Examples
    --------
    >>> s = make_shift("covariate", n_source=500, n_target=400, random_state=0)
    >>> s.X.shape, s.X_target.shape, s.scores_target.shape
    ((500, 5), (400, 5), (400,))
    >>> import numpy as np
    >>> bool(abs(np.exp(s.log_ratio).mean() - 1) < 0.2)
    True
    """
    _check(kind, task, n_source, n_target, strength, n_features)
    rng = _generator(random_state)
    if kind in ("label", "both"):
        return label_first(kind, n_source, n_target, strength, task, n_features, rng)
    X = rng.standard_normal((n_source, n_features))
    X_target = rng.standard_normal((n_target, n_features))
    extra: dict[str, Any] = {}
    if kind == "covariate":
        mean, sd = moved_law(n_features, strength)
        X_target = mean + sd * X_target
        ratio = [log_normal(Z, mean, sd) - log_normal(Z, 0.0, 1.0) for Z in (X, X_target)]
    elif kind == "no_overlap":
        X, X_target, ratio, extra = without_overlap(X, X_target, strength, rng)
    else:
        ratio = [np.zeros(n_source), np.zeros(n_target)]
    bend = strength if kind == "concept" else 0.0
    if kind == "concept":
        extra["region"] = X_target[:, 0] > 0.5
    return draw_y(X, X_target, ratio, kind, task, bend, extra, rng)


def make_gaussian_shift(
    *,
    n_source: int = 2000,
    n_target: int = 2000,
    shift: float | Sequence[float] = (0.5, 0.5, 0.5),
    n_features: int = 10,
    task: Task = "binary",
    random_state: RandomState = None,
) -> ShiftedSample:
    """Standard normal source; the target's first coordinates have mean ``shift``.

    The log ratio is linear, so a logistic regression of target against source is
    well specified. ``E[w^2] = exp(|shift|^2)``: 2.12 for the default.

    Parameters
    ----------
    n_source, n_target : int
        Rows.
    shift : float or sequence of float
        Mean of the target in the first coordinates; zero in the others.
    n_features : int
        Columns, at least 4 and the length of ``shift``.
    task : {"binary", "multiclass", "regression"}
        Kind of y.
    random_state : int, Generator, RandomState or None
        Source of randomness.

    Returns
    -------
    ShiftedSample

    Examples
    --------
    >>> s = make_gaussian_shift(n_source=100, n_target=50, random_state=0)
    >>> s.X_target.shape
    (50, 10)
    """
    mean = np.zeros(max(n_features, 0))
    head = np.atleast_1d(np.asarray(shift, dtype=float))
    _check("covariate", task, n_source, n_target, 1.0, n_features)
    if head.size > n_features:
        raise InputError(f"shift has {head.size} values for {n_features} features; give at most one each.")
    mean[: head.size] = head
    rng = _generator(random_state)
    X = rng.standard_normal((n_source, n_features))
    X_target = mean + rng.standard_normal((n_target, n_features))
    ratio = [Z @ mean - 0.5 * mean @ mean for Z in (X, X_target)]
    return draw_y(X, X_target, ratio, "covariate", task, 0.0, {}, rng)


def make_mixture_shift(
    *,
    n_source: int = 2000,
    n_target: int = 2000,
    n_features: int = 10,
    task: Task = "binary",
    random_state: RandomState = None,
) -> ShiftedSample:
    """Standard normal source; the target is two tighter clumps with the same overall mean.

    Target ``0.5 N(a, S) + 0.5 N(-a, S)``, ``a = (1.2, 0.8, 0, ...)``,
    ``S = diag(.49, .49, .64, .64, 1, ...)``: a linear classifier sees no difference.
    ``E[w^2]`` is 3.09.

    Parameters
    ----------
    n_source, n_target : int
        Rows.
    n_features : int
        Columns, at least 4.
    task : {"binary", "multiclass", "regression"}
        Kind of y.
    random_state : int, Generator, RandomState or None
        Source of randomness.

    Returns
    -------
    ShiftedSample

    Examples
    --------
    >>> s = make_mixture_shift(n_source=100, n_target=50, random_state=0)
    >>> s.log_ratio.shape
    (100,)
    """
    _check("covariate", task, n_source, n_target, 1.0, n_features)
    rng = _generator(random_state)
    a = np.zeros(n_features)
    a[:2] = 1.2, 0.8
    sd = np.ones(n_features)
    sd[:4] = 0.7, 0.7, 0.8, 0.8
    X = rng.standard_normal((n_source, n_features))
    sign = rng.choice([-1.0, 1.0], size=(n_target, 1))
    X_target = sign * a + sd * rng.standard_normal((n_target, n_features))
    ratio = [
        np.logaddexp(log_normal(Z, a, sd), log_normal(Z, -a, sd)) - np.log(2) - log_normal(Z, 0.0, 1.0)
        for Z in (X, X_target)
    ]
    return draw_y(X, X_target, ratio, "covariate", task, 0.0, {}, rng)


def make_tilted_uniform(
    *,
    n_source: int = 2000,
    n_target: int = 2000,
    tilt: Sequence[float] = (-1.0, 0.0, 0.0, 0.0, 1.0),
    half_width: float = 1.7,
    random_state: RandomState = None,
) -> ShiftedSample:
    """Regression on uniform features whose target density is tilted by ``exp(tilt @ x)``.

    The weights are bounded, and the noise is larger where the target lies
    (sd ``0.5 exp(0.4 (x_last - x_first))``): unweighted conformal intervals
    undercover there.

    Parameters
    ----------
    n_source, n_target : int
        Rows.
    tilt : sequence of float
        One exponent a feature, at least two features.
    half_width : float
        Features lie in ``[-half_width, half_width]``.
    random_state : int, Generator, RandomState or None
        Source of randomness.

    Returns
    -------
    ShiftedSample

    Examples
    --------
    >>> s = make_tilted_uniform(n_source=100, n_target=50, random_state=0)
    >>> bool(abs(s.X).max() <= 1.7), s.task
    (True, 'regression')
    """
    beta = np.asarray(tilt, dtype=float)
    if beta.size < 2 or half_width <= 0:
        raise InputError("make_tilted_uniform needs at least two tilts and a positive half_width.")
    _check("covariate", "regression", n_source, n_target, 1.0, _MIN_FEATURES)
    rng = _generator(random_state)
    c = half_width
    X = rng.uniform(-c, c, size=(n_source, beta.size))
    U = rng.uniform(size=(n_target, beta.size))
    # Inverse distribution function of a density proportional to exp(b x) on [-c, c].
    safe = np.where(beta == 0, 1.0, beta)
    tilted = c + np.log(U + (1 - U) * np.exp(-2 * np.abs(safe) * c)) / np.abs(safe)
    X_target = np.where(beta == 0, c * (2 * U - 1), np.sign(safe) * tilted)
    log_norm = float(np.sum(np.where(beta == 0, 0.0, np.log(np.sinh(safe * c) / (safe * c)))))
    ratio = [Z @ beta - log_norm for Z in (X, X_target)]

    def law(Z: FloatArray) -> tuple[FloatArray, FloatArray]:
        return Z[:, 0] + np.sin(2.0 * Z[:, 1]) + Z[:, -1] ** 2, 0.5 * np.exp(0.4 * (Z[:, -1] - Z[:, 0]))

    laws = [law(Z) for Z in (X, X_target)]
    y = [m + s * rng.standard_normal(m.size) for m, s in laws]
    return regression_sample(X, X_target, y, laws, ratio, "covariate", {})


def _generator(random_state: RandomState) -> np.random.Generator:
    """Return a Generator for anything that scikit-learn calls a random state."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31 - 1, size=4))
    return np.random.default_rng(random_state)


def _check(kind: str, task: str, n: int, m: int, strength: float, d: int) -> None:
    faults = []
    if kind not in get_args(Kind):
        faults.append(f"Unknown kind of shift {kind!r}; choose one of {', '.join(get_args(Kind))}.")
    if task not in get_args(Task):
        faults.append(f"Unknown task {task!r}; choose one of {', '.join(get_args(Task))}.")
    if n < 1 or m < 1:
        faults.append(f"n_source={n} and n_target={m} must both be at least 1.")
    if not (np.isfinite(strength) and strength >= 0):
        faults.append(f"strength={strength} must be a finite number, 0 or more.")
    if d < _MIN_FEATURES:
        faults.append(f"n_features={d} must be at least {_MIN_FEATURES}.")
    if faults:
        raise InputError(faults)
