"""The laws behind the generators: what is drawn first and how, and every density in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logsumexp, softmax
from scipy.stats import norm

from steelyard.datasets.sample import FloatArray, ShiftedSample, Task, class_sample, regression_sample

_EDGE = 1.0  # no_overlap: the source lies at or below this value of the first feature
_GAP = 1.5  # ... and the part of the target that it lacks lies between here and _FAR
_FAR = 3.0


def log_normal(X: FloatArray, mean: FloatArray | float, sd: FloatArray | float) -> FloatArray:
    """Log density of independent normals, up to the constant that every ratio cancels."""
    z = (X - mean) / sd
    log_sd = np.broadcast_to(np.log(sd), X.shape[1:])
    return np.asarray(-0.5 * np.einsum("ij,ij->i", z, z) - float(log_sd.sum()))


# --- x first, then y given x ---------------------------------------------------------------


def moved_law(d: int, strength: float) -> tuple[FloatArray, FloatArray]:
    """Mean and sd of the target of ``covariate``."""
    mean, sd = np.zeros(d), np.ones(d)
    mean[:2] = 0.65 * strength, -0.45 * strength
    sd[2] = np.exp(-0.2 * strength)
    return mean, sd


def without_overlap(
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


def draw_y(
    X: FloatArray,
    X_target: FloatArray,
    ratio: list[FloatArray],
    kind: str,
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
        return regression_sample(X, X_target, y, laws, ratio, kind, extra)
    if task == "binary":
        p = [np.asarray(expit(f)) for f in signal]
        codes = [(rng.uniform(size=q.size) < q).astype(np.int64) for q in p]
    else:
        p = [np.asarray(softmax(_class_logits(Z, f), axis=1)) for f, Z in zip(signal, (X, X_target))]
        codes = [_draw_class(q, rng) for q in p]
    return class_sample(X, X_target, codes, p, ratio, kind, task, extra)


def _draw_class(p: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    above = rng.uniform(size=(len(p), 1)) > np.cumsum(p, axis=1)[:, :-1]
    return np.asarray(above.sum(axis=1), dtype=np.int64)


# --- y first, then x given y ---------------------------------------------------------------


def label_first(
    kind: str, n: int, m: int, strength: float, task: Task, d: int, rng: np.random.Generator
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
        by_class = [log_normal(Z, mu + by, sd) for mu, sd in zip(means, sds)]
        return np.column_stack(by_class) + np.log(shares)

    source = [joint(Z, prior, np.zeros(d)) for Z in rows]
    target = [joint(Z, prior_t, moved) for Z in rows]
    ratio = [np.asarray(logsumexp(t, axis=1) - logsumexp(s, axis=1)) for s, t in zip(source, target)]
    p = [np.asarray(softmax(source[0], axis=1)), np.asarray(softmax(target[1], axis=1))]
    if task == "binary":
        p = [q[:, 1] for q in p]
    return class_sample(rows[0], rows[1], codes, p, ratio, kind, task, extra)


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
    kind: str,
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
    return regression_sample(rows[0], rows[1], y, laws, ratio, kind, extra)
