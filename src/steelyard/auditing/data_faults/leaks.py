"""A column that gives the target away: written after the outcome, or another name for it."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray, IntArray

# What one column must explain, and how much less of the rest it may leave than all others do.
# Chosen on tables that are not among those of the benchmark data_faults.
CLASSES = 0.80
NUMBERS = 0.995
LEFT = 0.25
NEAR_ALL = 0.97
_MOST = 5_000


def target_leaks(look: Look) -> list[Finding]:
    """Tell of columns that alone explain nearly all of the target, where the others together do not.

    What a column explains is one minus the ratio of the target's variance (for classes: of the
    indicators, summed) among rows that are neighbours in it to that among all rows; half the squared
    difference of neighbours estimates the variance without a model (Rice 1984), held out by
    nature. What the others explain is told by boosting on half of the rows and held against the rest,
    twice, and only where a column comes into question. An honest strong column is one of
    several that say the same; one that leaves a quarter of what all others leave is another matter.

    Notes
    -----
    Time O(n d log n), and boosting on at most 5,000 rows where a column comes into question.
    """
    least = NUMBERS if look.n_classes is None else CLASSES
    Y = _outcome(look)
    alone = np.array([_explained(look.X[:, j], Y, look.seed) for j in range(len(look.features))])
    suspects = [int(j) for j in np.argsort(-alone, kind="stable") if alone[j] >= least]
    found: list[Finding] = []
    for j in suspects[:5]:
        # Several columns may give it away at once: each is then held against those that do not.
        rest = [k for k in range(len(alone)) if k != j and alone[k] < max(NEAR_ALL, least)]
        others = _others(look, rest, Y)
        if 1 - alone[j] > LEFT * (1 - others):
            continue
        name = look.names[j]
        text = (
            f"Column '{name}' gives the target away: alone it explains {alone[j]:.1%} of it in TRAIN, all "
            f"other columns together {max(others, 0.0):.0%}. If it is only known with the outcome, "
            "every figure below is too good."
        )
        mend = f"Leave '{name}' out (--exclude {_quoted(name)}) unless it is known before the outcome"
        found.append(
            Finding("target-leak", "warning", text, "model", explains=True, mend=mend, columns=(name,))
        )
    return found


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f"'{name}'"


def _outcome(look: Look) -> FloatArray:
    """Return the target as columns: indicators of classes, or the ranks of numbers."""
    if look.n_classes is not None:
        return np.eye(look.n_classes)[look.y.astype(np.int64)]
    return np.asarray(look.y, dtype=np.float64)[:, None]


def _explained(x: FloatArray, Y: FloatArray, seed: int) -> float:
    """Return the share of the target's variance that one column explains."""
    total = float(np.sum(Y.var(axis=0)))
    if total <= 0 or len(Y) < 50:
        return 0.0
    rng = np.random.default_rng(seed)
    # Missing is a value like another, behind all others; ties fall in random order.
    order = np.lexsort((rng.random(len(x)), np.where(np.isnan(x), np.inf, x)))
    steps = np.diff(Y[order], axis=0)
    # The step from one value to the next shows a jump between groups, not what varies within one.
    at = x[order]
    within = (at[1:] == at[:-1]) | (np.isnan(at[1:]) & np.isnan(at[:-1]))
    kept = within if within.mean() > 0.9 else np.ones(len(steps), dtype=bool)
    left = 0.5 * float(np.mean(np.sum(steps[kept] ** 2, axis=1)))
    return 1 - left / total


def _others(look: Look, columns: list[int], Y: FloatArray) -> float:
    """Return the share of the target that some columns explain together, on rows not learnt from."""
    if not columns:
        return 0.0
    rng = np.random.default_rng(look.seed)
    rows = rng.permutation(len(Y))[:_MOST]
    halves = (rows[::2], rows[1::2])
    left = 0.0
    for fit, held in (halves, halves[::-1]):
        left += float(np.sum((Y[held] - _predicted(look, columns, fit, held)) ** 2))
    return 1 - left / (len(rows) * float(np.sum(Y[rows].var(axis=0))))


def _predicted(look: Look, columns: list[int], fit: IntArray, held: IntArray) -> FloatArray:
    """Return the expected target of held-out rows, in the columns of the outcome."""
    X, y = look.X[:, columns], look.y
    categorical = np.array([look.features[j].categories is not None for j in columns])
    options = {
        "categorical_features": categorical if categorical.any() else None,
        "learning_rate": 0.2,
        "max_iter": 30,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 10,
        "random_state": look.seed,
        "early_stopping": False,
    }
    if look.n_classes is None:
        model = HistGradientBoostingRegressor(**options).fit(X[fit], y[fit])
        return np.asarray(model.predict(X[held]))[:, None]
    codes = y.astype(np.int64)
    if len(np.unique(codes[fit])) < 2:
        return np.tile(np.bincount(codes[fit], minlength=look.n_classes) / len(fit), (len(held), 1))
    classifier = HistGradientBoostingClassifier(**options).fit(X[fit], codes[fit])
    out = np.zeros((len(held), look.n_classes))
    out[:, classifier.classes_] = classifier.predict_proba(X[held])
    return out
