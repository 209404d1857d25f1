"""Plain against importance-weighted maximum likelihood on the target (catalogue 335).

Claim: where the model is right, plain maximum likelihood on the source cannot be
beaten on the target beyond constants, although the density ratio is unbounded;
where it is wrong, the weighted likelihood ends at a lower target risk.

Check: a standard normal source and a target shifted by 1 along the first of four
features, with the exact ratio as weights (unbounded). Excess target risk of
both estimators for linear regression, logistic regression and phase retrieval,
at two sample sizes. Then the same data with a term in the square of the first
feature that the model leaves out: the expectation is a reversal at the larger
size. (At small samples the noise of the weights may outweigh the bias; the
paper's statement is about rates, so only the larger size is asked.)

Smaller than the paper's: the paper proves minimax rates over all estimators;
here one estimator is set against one other, at fixed dimension and shift.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import expit

from claims import Comparison
from steelyard.evaluation.specification import maximum_likelihood

COEF = np.array([1.0, -0.5, 0.5, 0.25])
MEAN = np.array([1.0, 0.0, 0.0, 0.0])
SIZES = (300, 3000)
SEEDS = range(60)


@cache
def target_rows() -> np.ndarray:
    """Rows on which target risks are averaged: the same for every estimator and seed."""
    return MEAN + np.random.default_rng(335).standard_normal((40_000, COEF.size))


def index(X, curve):
    """The true predictor; ``curve`` scales the term that the model leaves out."""
    return X @ COEF + curve * X[:, 0] ** 2


def target_risk(model, coef, curve):
    """Expected target loss given the features, so free of label noise, less the noise's own."""
    X = target_rows()
    if model == "linear":
        return 0.5 * np.mean((index(X, curve) - X @ coef[1:] - coef[0]) ** 2)
    if model == "logistic":
        t, q = X @ coef[1:] + coef[0], index(X, curve)
        own = np.logaddexp(0.0, q) - expit(q) * q
        return np.mean(np.logaddexp(0.0, t) - expit(q) * t - own)
    return 0.5 * np.mean(((X @ COEF) ** 2 + curve * X[:, 0] - (X @ coef) ** 2) ** 2)


def repetition(model, n, curve):
    """Return the function that draws one source sample and fits both estimators."""

    def run(seed):
        rng = np.random.default_rng([seed, n])
        X = rng.standard_normal((n, COEF.size))
        weights = np.exp(X @ MEAN - 0.5 * MEAN @ MEAN)
        if model == "linear":
            y = index(X, curve) + rng.standard_normal(n)
        elif model == "logistic":
            y = (rng.uniform(size=n) < expit(index(X, curve))).astype(float)
        else:
            y = (X @ COEF) ** 2 + curve * X[:, 0] + rng.standard_normal(n)
        return {
            "plain": target_risk(model, maximum_likelihood(X, y, model=model), curve),
            "weighted": target_risk(model, maximum_likelihood(X, y, model=model, weights=weights), curve),
        }

    return run


NAMES = {"linear": "linear regression", "logistic": "logistic regression", "phase": "phase retrieval"}
OMITTED = {"linear": 0.5, "logistic": 0.5, "phase": 1.0}

claims = [
    Comparison(
        paper=335,
        question=f"Well-specified {name}, n={n}: is plain likelihood better on the target?",
        metric="excess target risk",
        run=repetition(model, n, 0.0),
        method="plain",
        baseline="weighted",
        seeds=SEEDS,
        note="One baseline estimator, one dimension, one shift.",
    )
    for model, name in NAMES.items()
    for n in SIZES
] + [
    Comparison(
        paper=335,
        question=f"Misspecified {name}, n={SIZES[-1]}: is weighted likelihood better on the target?",
        metric="excess target risk over the true law",
        run=repetition(model, SIZES[-1], OMITTED[model]),
        method="weighted",
        baseline="plain",
        seeds=SEEDS,
        note="A quadratic term is left out (in phase retrieval a linear one).",
    )
    for model, name in NAMES.items()
]
