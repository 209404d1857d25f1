"""Confidence-based estimation recalibrated for the shift, against four estimators (catalogue 417).

Claim: recalibrating a deployed classifier's scores with density-ratio weights and
reading metrics off the expected confusion is the most accurate way to estimate
its performance without labels under covariate shift.

Check: error of the estimated accuracy, F1 and AUC on the target,

- on generated covariate shifts of random strength (0.5 to 1.5; weights from a
  boosted domain classifier), held against the exact expected metric, and
- on scikit-learn's breast cancer data: a logistic regression on four weak
  columns, the live part resampled along a random direction of these columns
  (weights from a logistic domain classifier), held against its labels.

Baselines: the same without weights (CBPE), importance weighting with the same
weights, and for accuracy alone, which is what they estimate, average thresholded
confidence (ATC) and difference of confidences (DoC).

Smaller than the paper's: two families of data in place of some 600 pairs of
census data set and model; isotonic recalibration in place of boosting.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from claims import Comparison
from steelyard.datasets import make_shift
from steelyard.evaluation import Outputs, confidence_based, get_metric, importance_weighted, outcome_columns
from steelyard.weighting import ClassifierRatio

METRICS = ("accuracy", "f1", "auc")


def as_outputs(p):
    """A binary classifier's output from its probability of the positive class."""
    return Outputs(np.column_stack([1 - p, p]), (p > 0.5).astype(np.int64))


def atc(source, y, target):
    """Share of target rows as confident as the source's correct share (Garg et al. 2022)."""
    confidence = source.proba.max(axis=1)
    threshold = np.quantile(confidence, 1 - np.mean(source.label == y))
    return np.mean(target.proba.max(axis=1) > threshold)


def doc(source, y, target):
    """Source accuracy plus the difference of mean confidences (Guillory et al. 2021)."""
    change = target.proba.max(axis=1).mean() - source.proba.max(axis=1).mean()
    return np.mean(source.label == y) + change


def errors(source, y, target, truth, weights):
    """Absolute errors of every estimator on every metric; ``truth`` are (expected) outcome columns."""
    out = {}
    outcome = outcome_columns(y, source, n_classes=2)
    for name in METRICS:
        metric = get_metric(name)
        actual = metric(target, truth)
        shared = {"outputs": source, "y": y, "outputs_target": target}
        estimates = {
            "m-cbpe": confidence_based(metric, weights=weights, **shared).value,
            "cbpe": confidence_based(metric, **shared).value,
            "weighted": importance_weighted(metric, source, outcome, weights=weights).value,
        }
        if name == "accuracy":
            estimates |= {"atc": atc(source, y, target), "doc": doc(source, y, target)}
        out |= {f"{estimator}, {name}": abs(value - actual) for estimator, value in estimates.items()}
    return out


def generated(seed):
    """One generated covariate shift, with its exact posterior as the truth."""
    strength = np.random.default_rng([seed, 417]).uniform(0.5, 1.5)
    s = make_shift("covariate", n_source=2000, n_target=2000, strength=strength, random_state=seed)
    learner = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15)
    weights = ClassifierRatio(learner, random_state=seed).fit(s.X, X_target=s.X_target).weights()
    truth = np.column_stack([1 - s.posterior, s.posterior])
    return errors(as_outputs(s.scores), s.y, as_outputs(s.scores_target), truth, weights)


@cache
def cancer():
    """Four weak columns (texture, smoothness, symmetry and fractal dimension of the mean) and the label."""
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, [1, 4, 8, 9]]
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def resampled(seed):
    """One split of the breast cancer data, its last part resampled along a random direction."""
    X, y = cancer()
    rng = np.random.default_rng([seed, 418])
    fit, source, pool = np.array_split(rng.permutation(len(y)), 3)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[fit], y[fit])
    direction = rng.standard_normal(X.shape[1])
    tilt = np.exp(X[pool] @ direction / np.linalg.norm(direction))
    live = rng.choice(pool, size=400, p=tilt / tilt.sum())
    p, p_live = (model.predict_proba(X[rows])[:, 1] for rows in (source, live))
    weights = ClassifierRatio(random_state=seed).fit(X[source], X_target=X[live]).weights()
    return errors(as_outputs(p), y[source], as_outputs(p_live), np.eye(2)[y[live]], weights)


DATA = {"generated shift": (generated, range(80)), "breast cancer": (resampled, range(240))}

claims = [
    Comparison(
        paper=417,
        question=f"{data}, {metric}: nearer the truth than {baseline.upper()}?",
        metric=f"absolute error of the estimated {metric}",
        run=run,
        method=f"m-cbpe, {metric}",
        baseline=f"{baseline}, {metric}",
        seeds=seeds,
        note="Two families of data in place of about 600 census pairs.",
    )
    for data, (run, seeds) in DATA.items()
    for metric in METRICS
    for baseline in ("cbpe", "weighted", *(("atc", "doc") if metric == "accuracy" else ()))
]
