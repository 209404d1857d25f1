"""What outcome to expect of a row: a cross-fitted model of the outcome columns given row and output."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from steelyard.evaluation.metrics import Outputs, outcome_columns
from steelyard.numerics.design import additive_design
from steelyard.numerics.random import as_generator, deal_folds, draw_seed

FloatArray = npt.NDArray[np.float64]

# Past this many rows the boosted model has won every comparison, and the
# additive one, which is the better below, would cost more than it tells.
_ADDITIVE_ROWS = 20_000


@dataclass(frozen=True)
class ExpectedOutcome:
    """Expected outcome columns of the source rows (out of fold) and of the target rows."""

    source: FloatArray
    target: FloatArray
    chosen: str


def expected_outcome(
    X: FloatArray,
    y: FloatArray,
    outputs: Outputs,
    X_target: FloatArray,
    outputs_target: Outputs,
    *,
    n_classes: int | None,
    categorical: npt.NDArray[np.bool_] | None = None,
    n_folds: int = 5,
    max_rows: int = 50_000,
    random_state: Any = None,
) -> ExpectedOutcome:
    """Return what outcome each row is expected to have, given its columns and the model's output.

    Several learners are cross-fitted on the source rows (the output alone, an
    additive model, gradient boosting), and the one with the smallest held-out
    loss (log loss for classes, squared error for numbers) is kept, for each
    outcome column of a regression by itself.

    Parameters
    ----------
    X, X_target : arrays of shape (n, d) and (m, d)
        Numbers and category codes; NaN where missing.
    y : array of shape (n,)
        Class codes, or numbers.
    outputs, outputs_target : Outputs
        The evaluated model's outputs.
    n_classes : int or None
        None for a regression.
    categorical : boolean array of shape (d,), optional
    n_folds, max_rows : int
        Folds, and the most rows that the models are fitted on.
    random_state : int, Generator or None

    Notes
    -----
    Under covariate shift the expectation given the row is the same in source
    and target, so no weights enter here. Time: ``n_folds`` fits of each learner.
    """
    rng = as_generator(random_state)
    if categorical is None:
        categorical = np.zeros(X.shape[1], dtype=bool)
    output, output_target = _output_columns(outputs), _output_columns(outputs_target)
    rows, rows_target = np.hstack([X, output]), np.hstack([X_target, output_target])
    mask = np.concatenate([categorical, np.zeros(output.shape[1], dtype=bool)])
    only_output = np.concatenate([np.zeros(X.shape[1], dtype=bool), np.ones(output.shape[1], dtype=bool)])
    used = np.ones(len(y), dtype=bool)
    if len(y) > max_rows:
        used[:] = False
        used[rng.choice(len(y), size=max_rows, replace=False)] = True
    fold = deal_folds(len(y), n_folds, rng, strata=None if n_classes is None else y)
    outcome = outcome_columns(y, outputs, n_classes=n_classes)
    names = ["output", "boosted"] + (["additive"] if used.sum() <= _ADDITIVE_ROWS else [])

    fits: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name in names:
        columns = only_output if name == "output" else np.ones(rows.shape[1], dtype=bool)
        source, target = np.zeros_like(outcome), np.zeros((len(rows_target), outcome.shape[1]))
        for k in range(n_folds):
            predict = _fit(
                name,
                rows[used & (fold != k)][:, columns],
                y[used & (fold != k)],
                outcome[used & (fold != k)],
                mask[columns],
                n_classes,
                draw_seed(rng),
            )
            source[fold == k] = predict(rows[fold == k][:, columns])
            target += predict(rows_target[:, columns]) / n_folds
        fits[name] = source, target
    return _choose(fits, outcome, n_classes)


def _choose(
    fits: dict[str, tuple[FloatArray, FloatArray]], outcome: FloatArray, n_classes: int | None
) -> ExpectedOutcome:
    if n_classes is not None:
        loss = {
            name: -float(np.mean(np.log(np.clip(np.sum(source * outcome, axis=1), 1e-12, 1))))
            for name, (source, _) in fits.items()
        }
        best = min(loss, key=loss.__getitem__)
        return ExpectedOutcome(*fits[best], chosen=best)
    picks = []
    for j in range(outcome.shape[1]):
        error = {name: float(np.mean((s[:, j] - outcome[:, j]) ** 2)) for name, (s, _) in fits.items()}
        picks.append(min(error, key=error.__getitem__))
    source = np.column_stack([fits[name][0][:, j] for j, name in enumerate(picks)])
    target = np.column_stack([fits[name][1][:, j] for j, name in enumerate(picks)])
    return ExpectedOutcome(source, target, chosen=" / ".join(picks))


def _output_columns(outputs: Outputs) -> FloatArray:
    """Return the output as columns a learner can use: log odds, labels or values."""
    if outputs.proba is not None:
        log_p = np.log(np.clip(outputs.proba, 1e-6, 1.0))
        return np.asarray(log_p[:, 1:] - log_p[:, :1])
    if outputs.value is not None:
        return outputs.value[:, None]
    assert outputs.label is not None
    return outputs.label[:, None].astype(np.float64)


def _fit(
    name: str,
    X: FloatArray,
    y: FloatArray,
    outcome: FloatArray,
    categorical: npt.NDArray[np.bool_],
    n_classes: int | None,
    seed: int,
) -> Any:
    boosting = {
        "categorical_features": categorical if categorical.any() else None,
        "early_stopping": X.shape[0] >= 200,
        "max_iter": 300 if X.shape[0] >= 200 else 30,
        "learning_rate": 0.1 if X.shape[0] < 10_000 else 0.08,
        "max_leaf_nodes": 15 if X.shape[0] < 10_000 else 31,
        "random_state": seed,
    }
    if n_classes is not None:
        if name == "boosted":
            model: Any = HistGradientBoostingClassifier(**boosting)
        else:
            design = additive_design(categorical, n_knots=5)
            model = make_pipeline(design, LogisticRegression(C=1.0, max_iter=200, tol=1e-3))
        with warnings.catch_warnings():
            # An unconverged nuisance fit only costs precision, which the held-out loss then shows.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y.astype(np.int64))
        columns = np.asarray(model.classes_, dtype=np.int64)

        def classes(rows: FloatArray) -> FloatArray:
            out = np.zeros((len(rows), n_classes))
            out[:, columns] = model.predict_proba(rows)
            return out

        return classes

    models = []
    for j in range(outcome.shape[1]):
        if name == "boosted":
            regressor: Any = HistGradientBoostingRegressor(**boosting)
        else:
            regressor = make_pipeline(additive_design(categorical, n_knots=5), Ridge(alpha=1.0))
        models.append(regressor.fit(X, outcome[:, j]))
    floor = np.array([0.0, -np.inf, 0.0])
    return lambda rows: np.maximum(np.column_stack([m.predict(rows) for m in models]), floor)
