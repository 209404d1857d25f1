"""What outcome to expect of a row: a cross-fitted model of the outcome columns given row and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.evaluation._outcome_learners import CrossFitted, Learners
from steelyard.evaluation._outcome_stack import log_odds, stack_classes, stack_means, stack_numbers
from steelyard.evaluation.metrics import Outputs, outcome_columns
from steelyard.numerics.random import as_generator, deal_folds, draw_seed

FloatArray = npt.NDArray[np.float64]

# Target rows that the models of all folds are put to. Of 60,000 rows so many told the variance of a whole
# table's value to 6%, and put that of a fortieth's value, small beside its label noise, up by 4 to 16%.
_PROBE = 20_000


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

    by_learner: Mapping[str, CrossFitted]
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
        return self.stack({name: one(one.prepare(rows), fold) for name, one in self.by_learner.items()})

    def each(self, X: FloatArray, outputs: Outputs) -> FloatArray:
        """Return what the models of every fold expect of rows, (n_folds, n, k)."""
        rows = np.hstack([X, _output_columns(outputs)])
        prepared = {name: one.prepare(rows) for name, one in self.by_learner.items()}
        n_folds = min(len(one.models) for one in self.by_learner.values())
        return np.stack(
            [
                self.stack({n: one.models[k](prepared[n]) for n, one in self.by_learner.items()})
                for k in range(n_folds)
            ]
        )


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
    cross-fitted on the source rows and stacked: classes by a logistic regression
    on their held-out log odds, numbers by non-negative least squares on their
    held-out predictions, which also recalibrates them. Of a number they learn the
    residual's mean and then the spread about it; its size and square follow.

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
    and target, so no weights enter here. Time: ``n_folds`` fits of each learner,
    twice as many for numbers; the first tells how many trees the rest need, from
    2,000 rows on. At most 20,000 target rows are put to the models of every fold.
    """
    rng = as_generator(random_state)
    if categorical is None:
        categorical = np.zeros(X.shape[1], dtype=bool)
    output = _output_columns(outputs)
    used = np.ones(len(y), dtype=bool)
    if len(y) > max_rows:
        used[:] = False
        used[rng.choice(len(y), size=max_rows, replace=False)] = True
    fold = deal_folds(len(y), n_folds, rng, strata=None if n_classes is None else y)
    # A learner that knows the output alone would have the smaller loss at times, but it is wrong on
    # average in every group that the output gets wrong, and such groups are what a shift brings.
    learners = Learners(
        rows=np.hstack([X, output]),
        categorical=np.concatenate([categorical, np.zeros(output.shape[1], dtype=bool)]),
        used=used,
        fold=fold,
        seeds=tuple(draw_seed(rng) for _ in range(n_folds)),
    )
    outcome = outcome_columns(y, outputs, n_classes=n_classes)
    models, source = _numbers(learners, outcome) if n_classes is None else _classes(learners, y, n_classes)
    # What is drawn for the target comes last, so that the models do not hang on its size. A target row
    # is put to one fold's models, as a source row is: an average of all folds would be sharper than
    # what the stacking coefficients were fitted to, and so come out under-confident.
    m = len(X_target)
    fold_target = deal_folds(m, n_folds, rng)
    probe = np.sort(rng.choice(m, size=min(_PROBE, m), replace=False))
    by_fold = models.each(X_target[probe], outputs_target.take(probe))
    target = np.empty((m, source.shape[1]))
    target[probe] = by_fold[fold_target[probe], np.arange(len(probe))]
    rest = np.ones(m, dtype=bool)
    rest[probe] = False
    if rest.any():
        target[rest] = models(X_target[rest], outputs_target.take(rest), fold_target[rest])
    return ExpectedOutcome(source=source, target=target, probe=probe, by_fold=by_fold, models=models)


def _classes(learners: Learners, y: FloatArray, n_classes: int) -> tuple[OutcomeModels, FloatArray]:
    """Fit class probabilities; return the models and what they say of the source rows, held out."""
    models, held_out = {}, {}
    for name in learners.names():
        models[name], prepared = learners.classes(name, y, n_classes)
        held_out[name] = models[name](prepared, learners.fold)
    stack = stack_classes(held_out, y, n_classes)
    return OutcomeModels(models, stack), stack(held_out)


def _numbers(learners: Learners, outcome: FloatArray) -> tuple[OutcomeModels, FloatArray]:
    """Fit the residual's mean and then the spread about it; return as `_classes` does.

    The residual's size follows from the two. Fitted on its own it is a third and
    a fourth target, of which squares are the noisiest, and it would contradict
    the mean: its square would be expected to lie below the mean's square.
    """
    names = learners.names()
    prepare = {name: learners.prepare(name) for name in names}
    prepared = {name: prepare[name](learners.rows) for name in names}

    def cross_fit(columns: FloatArray) -> dict[str, CrossFitted]:
        return {name: learners.numbers(name, columns, prepare[name], prepared[name]) for name in names}

    def held_out(models: Mapping[str, CrossFitted]) -> dict[str, FloatArray]:
        return {name: one(prepared[name], learners.fold) for name, one in models.items()}

    means = cross_fit(outcome[:, [1, 0]])
    said = held_out(means)
    mean = stack_means(said, outcome[:, 1])
    rest = outcome[:, 1] - mean(said)
    spreads = cross_fit(np.column_stack([np.abs(rest), rest**2]))
    said_rest = held_out(spreads)
    both = {name: np.hstack([said[name], said_rest[name]]) for name in names}
    stack = stack_numbers(mean, both, outcome)
    return OutcomeModels({n: means[n].beside(spreads[n]) for n in names}, stack), stack(both)


def _output_columns(outputs: Outputs) -> FloatArray:
    """Return the output as columns a learner can use: log odds, labels or values."""
    if outputs.proba is not None:
        return log_odds(outputs.proba)
    if outputs.value is not None:
        return outputs.value[:, None]
    assert outputs.label is not None
    return outputs.label[:, None].astype(np.float64)
