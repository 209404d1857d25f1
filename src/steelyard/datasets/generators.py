"""Samples with a shift of a known kind and the truth beside them.

Two ways of making data, because a shift is defined by what stays fixed. Where
P(y | x) stays (``covariate``) or changes on purpose (``concept``), x is drawn
first and y given x; where P(x | y) stays (``label``, ``both``), y is drawn first.
All densities are closed forms, so density ratios and posteriors are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logsumexp, softmax
from scipy.stats import norm

from steelyard.datasets._truth import risks
from steelyard.errors import InputError

Kind = Literal["none", "covariate", "label", "both", "concept", "no_overlap"]
Task = Literal["binary", "multiclass", "regression"]
RandomState = int | np.random.Generator | np.random.RandomState | None
FloatArray = npt.NDArray[np.float64]

_MIN_FEATURES = 4
_EDGE = 1.0  # no_overlap: the source lies at or below this value of the first feature
_GAP = 1.5  # ... and the part of the target that it lacks lies between here and _FAR
_FAR = 3.0


@dataclass(frozen=True)
class ShiftedSample:
    """A source and a target sample, and what is true of them.

    Attributes
    ----------
    X, X_target : ndarray of shape (n, d)
        Features, in the scale of a standard normal.
    y, y_target : ndarray of shape (n,)
        Class codes (int64) or numbers (float64).
    log_ratio, log_ratio_target : ndarray of shape (n,)
        Exact ``log(p_target(x) / p_source(x))`` at the source and the target rows;
        ``inf`` where the source has no mass.
    kind, task : str
        As asked for.
    posterior, posterior_source : ndarray or None
        P(y = 1 | x), (n,), or P(y = k | x), (n, k): under the target at the target
        rows, under the source at the source rows. None for a regression.
    mean, mean_source, sd, sd_source : ndarray of shape (n,) or None
        The same for a regression, in which y given x is normal.
    scores, scores_target : ndarray
        A deployed model's output, P(y = 1), P(y = k) or a prediction: a fixed
        function of the first two features, overconfident and off centre, the
        same in source and target.
    truth : mapping
        ``"source"`` and ``"target"``: the scorer's expected ``accuracy``,
        ``log_loss``, ``brier`` (or ``mae``, ``mse``) given the rows' features, so
        free of the noise of the labels; and what the kind adds:
        ``prior_source``/``prior_target``, ``shifted_feature``, ``mass_outside``
        or ``region`` (a boolean mask over the target rows).
    """

    X: FloatArray
    y: npt.NDArray[Any]
    X_target: FloatArray
    y_target: npt.NDArray[Any]
    log_ratio: FloatArray
    log_ratio_target: FloatArray
    kind: str
    task: Task
    scores: FloatArray
    scores_target: FloatArray
    posterior: FloatArray | None = None
    posterior_source: FloatArray | None = None
    mean: FloatArray | None = None
    mean_source: FloatArray | None = None
    sd: FloatArray | None = None
    sd_source: FloatArray | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)


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
    rng = as_generator(random_state)
    if kind in ("label", "both"):
        return _label_first(kind, n_source, n_target, strength, task, n_features, rng)
    X = rng.standard_normal((n_source, n_features))
    X_target = rng.standard_normal((n_target, n_features))
    extra: dict[str, Any] = {}
    if kind == "covariate":
        mean, sd = _moved(n_features, strength)
        X_target = mean + sd * X_target
        ratio = [_log_normal(Z, mean, sd) - _log_normal(Z, 0.0, 1.0) for Z in (X, X_target)]
    elif kind == "no_overlap":
        X, X_target, ratio, extra = _without_overlap(X, X_target, strength, rng)
    else:
        ratio = [np.zeros(n_source), np.zeros(n_target)]
    bend = strength if kind == "concept" else 0.0
    if kind == "concept":
        extra["region"] = X_target[:, 0] > 0.5
    return _draw_y(X, X_target, ratio, kind, task, bend, extra, rng)


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
    rng = as_generator(random_state)
    X = rng.standard_normal((n_source, n_features))
    X_target = mean + rng.standard_normal((n_target, n_features))
    ratio = [Z @ mean - 0.5 * mean @ mean for Z in (X, X_target)]
    return _draw_y(X, X_target, ratio, "covariate", task, 0.0, {}, rng)


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
    rng = as_generator(random_state)
    a = np.zeros(n_features)
    a[:2] = 1.2, 0.8
    sd = np.ones(n_features)
    sd[:4] = 0.7, 0.7, 0.8, 0.8
    X = rng.standard_normal((n_source, n_features))
    sign = rng.choice([-1.0, 1.0], size=(n_target, 1))
    X_target = sign * a + sd * rng.standard_normal((n_target, n_features))
    ratio = [
        np.logaddexp(_log_normal(Z, a, sd), _log_normal(Z, -a, sd)) - np.log(2) - _log_normal(Z, 0.0, 1.0)
        for Z in (X, X_target)
    ]
    return _draw_y(X, X_target, ratio, "covariate", task, 0.0, {}, rng)


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
    rng = as_generator(random_state)
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
    return _regression(X, X_target, y, laws, ratio, "covariate", {})


# --- x first, then y given x ---------------------------------------------------------------


def _moved(d: int, strength: float) -> tuple[FloatArray, FloatArray]:
    """Mean and sd of the target of ``covariate``."""
    mean, sd = np.zeros(d), np.ones(d)
    mean[:2] = 0.65 * strength, -0.45 * strength
    sd[2] = np.exp(-0.2 * strength)
    return mean, sd


def _without_overlap(
    X: FloatArray, X_target: FloatArray, strength: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, list[FloatArray], dict[str, Any]]:
    """Cut the source at ``_EDGE`` and put a share of the target beyond ``_GAP``."""
    share = min(0.3 * strength, 0.9)
    move = -0.5 * strength
    X, X_target = X.copy(), X_target.copy()
    X[:, 0] = _below_edge(rng.uniform(size=len(X)))
    out = rng.uniform(size=len(X_target)) < share
    X_target[:, 0] = np.where(
        out, rng.uniform(_GAP, _FAR, size=out.size), _below_edge(rng.uniform(size=out.size))
    )
    X_target[:, 1] += move

    def ratio(Z: FloatArray) -> FloatArray:
        inside = np.log1p(-share) + move * Z[:, 1] - 0.5 * move**2
        return np.where(Z[:, 0] <= _EDGE, inside, np.inf)

    extra = {"mass_outside": share, "region": out}
    return X, X_target, [ratio(X), ratio(X_target)], extra


def _below_edge(u: FloatArray) -> FloatArray:
    """Standard normal, given that it is at most ``_EDGE``."""
    return np.asarray(norm.ppf(u * norm.cdf(_EDGE)), dtype=np.float64)


def _signal(X: FloatArray) -> FloatArray:
    """Log-odds of class 1, and mean of a regression: curved, with an interaction."""
    a, b, c, d = X[:, 0], X[:, 1], X[:, 2], X[:, 3]
    return 0.2 + 1.2 * a - 0.8 * b + 0.7 * a * b + 0.8 * np.sin(2 * c) + 0.4 * (d**2 - 1)


def _class_logits(X: FloatArray, f: FloatArray) -> FloatArray:
    """Log-odds of the three classes of a multiclass task, before normalising."""
    return np.column_stack([np.zeros(len(X)), f, 0.3 - X[:, 0] + 0.9 * X[:, 1] ** 2 - 0.6 * X[:, 2]])


def _draw_y(
    X: FloatArray,
    X_target: FloatArray,
    ratio: list[FloatArray],
    kind: Kind,
    task: Task,
    bend: float,
    extra: dict[str, Any],
    rng: np.random.Generator,
) -> ShiftedSample:
    """Draw y given x; ``bend`` lowers the target's signal where the first feature is above 0.5."""
    signal = [_signal(X), _signal(X_target)]
    signal[1] = signal[1] - 2.0 * bend * (X_target[:, 0] > 0.5)
    if task == "regression":
        laws = [(f, 0.5 * np.exp(0.3 * Z[:, 0])) for f, Z in zip(signal, (X, X_target))]
        y = [m + s * rng.standard_normal(m.size) for m, s in laws]
        return _regression(X, X_target, y, laws, ratio, kind, extra)
    if task == "binary":
        p = [np.asarray(expit(f)) for f in signal]
        codes = [(rng.uniform(size=q.size) < q).astype(np.int64) for q in p]
    else:
        p = [np.asarray(softmax(_class_logits(Z, f), axis=1)) for f, Z in zip(signal, (X, X_target))]
        codes = [_draw_class(q, rng) for q in p]
    return _classes(X, X_target, codes, p, ratio, kind, task, extra)


def _draw_class(p: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    above = rng.uniform(size=(len(p), 1)) > np.cumsum(p, axis=1)[:, :-1]
    return np.asarray(above.sum(axis=1), dtype=np.int64)


# --- y first, then x given y ---------------------------------------------------------------


def _label_first(
    kind: Kind, n: int, m: int, strength: float, task: Task, d: int, rng: np.random.Generator
) -> ShiftedSample:
    moved = np.zeros(d)
    if kind == "both":
        moved[-1] = 0.7 * strength
    extra: dict[str, Any] = {"shifted_feature": d - 1} if kind == "both" else {}
    if task == "regression":
        return _label_regression(kind, n, m, strength, d, moved, extra, rng)
    means, sds, prior, prior_t = _class_laws(task, d, strength)
    extra.update(prior_source=prior, prior_target=prior_t)
    codes = [rng.choice(len(q), size=k, p=q).astype(np.int64) for q, k in ((prior, n), (prior_t, m))]
    rows = [means[k] + sds[k] * rng.standard_normal((k.size, d)) for k in codes]
    rows[1] = rows[1] + moved

    def joint(Z: FloatArray, shares: FloatArray, by: FloatArray) -> FloatArray:
        by_class = [_log_normal(Z, mu + by, sd) for mu, sd in zip(means, sds)]
        return np.column_stack(by_class) + np.log(shares)

    source = [joint(Z, prior, np.zeros(d)) for Z in rows]
    target = [joint(Z, prior_t, moved) for Z in rows]
    ratio = [np.asarray(logsumexp(t, axis=1) - logsumexp(s, axis=1)) for s, t in zip(source, target)]
    p = [np.asarray(softmax(source[0], axis=1)), np.asarray(softmax(target[1], axis=1))]
    if task == "binary":
        p = [q[:, 1] for q in p]
    return _classes(rows[0], rows[1], codes, p, ratio, kind, task, extra)


def _class_laws(task: Task, d: int, strength: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Means and sds of the features in each class, and the classes' shares in source and target."""
    k = 2 if task == "binary" else 3
    means, sds = np.zeros((k, d)), np.ones((k, d))
    means[1, :2] = 1.0, -0.7
    sds[1, 2] = 1.6  # unequal spread: the posterior is quadratic, so a logistic model is off
    if k == 3:
        means[2, :3] = -1.0, -0.5, 0.8
        sds[2, 3] = 0.7
    odds = np.array([0.0, 0.2, 0.0][:k])
    tilt = np.array([0.0, -1.2, 0.8][:k]) * strength
    return means, sds, np.asarray(softmax(odds)), np.asarray(softmax(odds + tilt))


def _label_regression(
    kind: Kind,
    n: int,
    m: int,
    strength: float,
    d: int,
    moved: FloatArray,
    extra: dict[str, Any],
    rng: np.random.Generator,
) -> ShiftedSample:
    """Normal y and x given y normal around ``y * load``, so that everything stays normal."""
    load = np.zeros(d)
    load[:3] = 1.0, -0.7, 0.5
    centre, spread = 0.8 * strength, float(np.exp(-0.1 * strength))
    laws_y = [(0.0, 1.0), (centre, spread)]
    y = [c + s * rng.standard_normal(k) for (c, s), k in zip(laws_y, (n, m))]
    rows = [v[:, None] * load + rng.standard_normal((v.size, d)) for v in y]
    rows[1] = rows[1] + moved
    power = float(load @ load)

    def log_density(Z: FloatArray, c: float, s: float, by: FloatArray) -> FloatArray:
        r = Z - by - c * load
        along = (r @ load) ** 2 * s**2 / (1 + s**2 * power)  # Sherman-Morrison
        return np.asarray(-0.5 * (np.einsum("ij,ij->i", r, r) - along) - 0.5 * np.log1p(s**2 * power))

    ratio = [log_density(Z, *laws_y[1], moved) - log_density(Z, *laws_y[0], np.zeros(d)) for Z in rows]
    laws = []
    for Z, (c, s), by in zip(rows, laws_y, (np.zeros(d), moved)):
        precision = 1 / s**2 + power
        laws.append(((c / s**2 + (Z - by) @ load) / precision, np.full(len(Z), precision**-0.5)))
    extra.update(prior_source=np.array(laws_y[0]), prior_target=np.array(laws_y[1]))
    return _regression(rows[0], rows[1], y, laws, ratio, kind, extra)


# --- putting the record together -----------------------------------------------------------


def _score(X: FloatArray, task: Task) -> FloatArray:
    """Return the deployed model: right in direction, too sure of itself, off centre, blind to all but two."""
    f = 1.2 * X[:, 0] - 0.8 * X[:, 1]
    if task == "regression":
        return 0.3 + 0.9 * f
    if task == "binary":
        return np.asarray(expit(0.3 + 1.5 * f))
    third = -1.0 * X[:, 0] - 0.4 * X[:, 1]
    return np.asarray(softmax(1.5 * np.column_stack([np.zeros(len(X)), f, 0.2 + third]), axis=1))


def _classes(
    X: FloatArray,
    X_target: FloatArray,
    y: list[npt.NDArray[np.int64]],
    p: list[FloatArray],
    ratio: list[FloatArray],
    kind: Kind,
    task: Task,
    extra: dict[str, Any],
) -> ShiftedSample:
    scores = [_score(Z, task) for Z in (X, X_target)]
    truth = {side: risks(s, posterior=q) for side, s, q in zip(("source", "target"), scores, p)}
    return ShiftedSample(
        X=X,
        y=y[0],
        X_target=X_target,
        y_target=y[1],
        log_ratio=ratio[0],
        log_ratio_target=ratio[1],
        kind=kind,
        task=task,
        scores=scores[0],
        scores_target=scores[1],
        posterior=p[1],
        posterior_source=p[0],
        truth={**truth, **extra},
    )


def _regression(
    X: FloatArray,
    X_target: FloatArray,
    y: list[FloatArray],
    laws: list[tuple[FloatArray, FloatArray]],
    ratio: list[FloatArray],
    kind: Kind,
    extra: dict[str, Any],
) -> ShiftedSample:
    scores = [_score(Z, "regression") for Z in (X, X_target)]
    truth = {side: risks(s, mean=mu, sd=sd) for side, s, (mu, sd) in zip(("source", "target"), scores, laws)}
    return ShiftedSample(
        X=X,
        y=y[0],
        X_target=X_target,
        y_target=y[1],
        log_ratio=ratio[0],
        log_ratio_target=ratio[1],
        kind=kind,
        task="regression",
        scores=scores[0],
        scores_target=scores[1],
        mean=laws[1][0],
        mean_source=laws[0][0],
        sd=laws[1][1],
        sd_source=laws[0][1],
        truth={**truth, **extra},
    )


def _log_normal(X: FloatArray, mean: FloatArray | float, sd: FloatArray | float) -> FloatArray:
    """Log density of independent normals, up to the constant that every ratio cancels."""
    z = (X - mean) / sd
    log_sd = np.broadcast_to(np.log(sd), X.shape[1:])
    return np.asarray(-0.5 * np.einsum("ij,ij->i", z, z) - float(log_sd.sum()))


def as_generator(random_state: RandomState) -> np.random.Generator:
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
