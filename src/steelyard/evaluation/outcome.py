"""What outcome to expect of a row: a cross-fitted model of the outcome columns given row and output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from steelyard.evaluation.metrics import Outputs, outcome_columns
from steelyard.numerics.design import additive_design
from steelyard.numerics.random import as_generator, by_fold, deal_folds, draw_seed

FloatArray = npt.NDArray[np.float64]

# Past this many rows the boosted model has won every comparison, and the
# additive one, which is the better below, would cost more than it tells.
_ADDITIVE_ROWS = 20_000
_PROBE = 250_000


@dataclass(frozen=True)
class ExpectedOutcome:
    """Expected outcome columns of the source rows (out of fold) and of the target rows.

    ``by_fold``, (n_folds, n_probe, k), is what each fold's models say of the
    target rows ``probe``: how far they disagree tells how far they can be off.
    ``models`` say it of rows that come later.
    """

    source: FloatArray
    target: FloatArray
    probe: npt.NDArray[np.int64]
    by_fold: FloatArray
    models: OutcomeModels


@dataclass(frozen=True)
class OutcomeModels:
    """The models of every fold, and how they are stacked."""

    by_learner: Mapping[str, tuple[Callable[[FloatArray], FloatArray], ...]]
    stack: Callable[[Mapping[str, FloatArray]], FloatArray]

    @property
    def learners(self) -> str:
        """The learners by name, joined by plus signs."""
        return " + ".join(self.by_learner)

    def __call__(self, X: FloatArray, outputs: Outputs, fold: npt.NDArray[np.int64]) -> FloatArray:
        """Return what outcome columns to expect of rows, (n, k), each by the models of its fold.

        Parameters
        ----------
        X : array of shape (n, d)
        outputs : Outputs
            The evaluated model's, of the same rows.
        fold : array of shape (n,)
            Counted modulo their number; n is at least 1. A row that the models were not fitted
            on may be dealt to any.
        """
        rows = np.hstack([X, _output_columns(outputs)])
        dealt = {name: fold % len(models) for name, models in self.by_learner.items()}
        return self.stack({n: by_fold(models, dealt[n], rows) for n, models in self.by_learner.items()})


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
    max_rows: int = 100_000,
    random_state: Any = None,
) -> ExpectedOutcome:
    """Return what outcome each row is expected to have, given its columns and the model's output.

    Gradient boosting, and up to 20,000 rows an additive model too, are
    cross-fitted on the source rows and stacked: a logistic regression on their
    held-out log odds, or non-negative least squares on their held-out
    predictions, which also recalibrates them.

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
    used = np.ones(len(y), dtype=bool)
    if len(y) > max_rows:
        used[:] = False
        used[rng.choice(len(y), size=max_rows, replace=False)] = True
    fold = deal_folds(len(y), n_folds, rng, strata=None if n_classes is None else y)
    outcome = outcome_columns(y, outputs, n_classes=n_classes)
    # A learner that knows the output alone would have the smaller loss at times, but it is wrong on
    # average in every group that the output gets wrong, and such groups are what a shift brings.
    names = ["boosted"] + (["additive"] if used.sum() <= _ADDITIVE_ROWS else [])
    models = {}
    for name in names:
        models[name] = tuple(
            _fit(name, rows[train], y[train], outcome[train], mask, n_classes, draw_seed(rng))
            for train in (used & (fold != k) for k in range(n_folds))
        )
    # What is drawn for the target comes last, so that the models do not hang on its size. A target row
    # is put to one fold's models, as a source row is: an average of all folds would be sharper than
    # what the stacking coefficients were fitted to, and so come out under-confident.
    fold_target = deal_folds(len(rows_target), n_folds, rng)
    probe = np.sort(rng.choice(len(rows_target), size=min(_PROBE, len(rows_target)), replace=False))
    source = {name: by_fold(kept, fold, rows) for name, kept in models.items()}
    target = {name: by_fold(kept, fold_target, rows_target) for name, kept in models.items()}
    probed = {name: [predict(rows_target[probe]) for predict in kept] for name, kept in models.items()}
    combine = _stack(source, outcome, n_classes)
    return ExpectedOutcome(
        source=combine(source),
        target=combine(target),
        probe=probe,
        by_fold=np.stack([combine({n: probed[n][k] for n in names}) for k in range(n_folds)]),
        models=OutcomeModels(models, combine),
    )


def _stack(
    held_out: Mapping[str, FloatArray], outcome: FloatArray, n_classes: int | None
) -> Callable[[Mapping[str, FloatArray]], FloatArray]:
    """Fit coefficients of the learners to their held-out predictions; return how they combine."""
    if n_classes is not None:
        inputs = np.hstack([_log_odds(p) for p in held_out.values()])
        model = LogisticRegression(C=1.0, max_iter=500).fit(inputs, outcome.argmax(axis=1))

        def classes(parts: Mapping[str, FloatArray]) -> FloatArray:
            inputs = np.hstack([_log_odds(p) for p in parts.values()])
            out = np.zeros((len(inputs), n_classes))
            out[:, model.classes_] = model.predict_proba(inputs)
            return out

        return classes
    floor = np.array([0.0, -np.inf, 0.0])
    blends = [
        LinearRegression(positive=True).fit(
            np.column_stack([p[:, j] for p in held_out.values()]), outcome[:, j]
        )
        for j in range(outcome.shape[1])
    ]

    def numbers(parts: Mapping[str, FloatArray]) -> FloatArray:
        columns = [
            blend.predict(np.column_stack([p[:, j] for p in parts.values()]))
            for j, blend in enumerate(blends)
        ]
        return np.asarray(np.maximum(np.column_stack(columns), floor))

    return numbers


def _log_odds(proba: FloatArray) -> FloatArray:
    log_p = np.log(np.clip(proba, 1e-6, 1.0))
    return np.asarray(log_p[:, 1:] - log_p[:, :1])


def _output_columns(outputs: Outputs) -> FloatArray:
    """Return the output as columns a learner can use: log odds, labels or values."""
    if outputs.proba is not None:
        return _log_odds(outputs.proba)
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
    # Early stopping sets rows aside by class, which needs two of each.
    rarest = X.shape[0] if n_classes is None else np.unique(y, return_counts=True)[1].min()
    boosting = {
        "categorical_features": categorical if categorical.any() else None,
        "early_stopping": bool(X.shape[0] >= 200 and rarest >= 2),
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
