"""The learners behind the expected outcome: boosted trees and an additive model, fitted fold by fold."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from steelyard.numerics.boosting import BoostedClassifier, BoostedRegressor, split_by_code
from steelyard.numerics.design import additive_design
from steelyard.numerics.random import by_fold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Past this many rows the boosted model has won every comparison, and the
# additive one, which is the better below, would cost more than it tells.
_ADDITIVE_ROWS = 20_000
_LARGE = 10_000
# From here on one fold's early stopping is sure enough to serve all.
_ONE_SIZE = 5_000
_PATIENCE = 10
_LEAF = 20
# What a fold's model says of rows in its learner's form.
FoldModel = Callable[[Any], FloatArray]


@dataclass(frozen=True)
class CrossFitted:
    """One learner: how it takes rows, and the model of every fold.

    ``prepare`` knows the columns' values but no outcome, so that the folds share
    it: the rows go through it once and not once a fold.
    """

    prepare: Callable[[FloatArray], Any]
    models: tuple[FoldModel, ...]

    def __call__(self, prepared: Any, fold: IntArray) -> FloatArray:
        """Return what the model of each prepared row's fold says of it."""
        return by_fold(self.models, fold % len(self.models), prepared)

    def beside(self, other: CrossFitted) -> CrossFitted:
        """Return both as one, whose columns are those of this one and then the other's."""
        return CrossFitted(self.prepare, tuple(map(_Beside, self.models, other.models)))


@dataclass(frozen=True)
class _Beside:
    first: FoldModel
    second: FoldModel

    def __call__(self, prepared: Any) -> FloatArray:
        return np.hstack([self.first(prepared), self.second(prepared)])


@dataclass(frozen=True)
class _Probabilities:
    """A classifier's probabilities, with a column for classes that it has not met."""

    model: Any
    n_classes: int

    @property
    def n_trees(self) -> int | None:
        """How many trees were found to be enough."""
        return _enough(self.model)

    def __call__(self, prepared: Any) -> FloatArray:
        out = np.zeros((prepared.shape[0], self.n_classes))
        out[:, np.asarray(self.model.classes_, dtype=np.int64)] = self.model.predict_proba(prepared)
        return out


@dataclass(frozen=True)
class _Values:
    """A regression's values, always as columns."""

    model: Any

    @property
    def n_trees(self) -> int | None:
        """How many trees were found to be enough."""
        return _enough(self.model)

    def __call__(self, prepared: Any) -> FloatArray:
        return np.asarray(self.model.predict(prepared)).reshape(prepared.shape[0], -1)


def _enough(model: Any) -> int | None:
    """Return how many trees a model had when it was best; None if it did not look for that."""
    if not getattr(model, "do_early_stopping_", False):
        return None
    return max(int(model.n_iter_) - _PATIENCE, 1)


@dataclass(frozen=True)
class Learners:
    """What is needed to cross-fit a learner to any outcome of the same rows.

    ``used`` are the rows that may be fitted on, ``fold`` says which of them each
    model leaves out, and ``seeds`` holds one seed a fold.
    """

    rows: FloatArray
    categorical: BoolArray
    used: BoolArray
    fold: IntArray
    seeds: tuple[int, ...]

    def names(self) -> tuple[str, ...]:
        """Return the learners that so many rows are worth."""
        return ("boosted", "additive") if self.used.sum() <= _ADDITIVE_ROWS else ("boosted",)

    def prepare(self, name: str) -> Callable[[FloatArray], Any]:
        """Return how a learner takes rows."""
        if name == "boosted":
            return _Coded.of(self.rows[self.used], split_by_code(self.rows, self.categorical), self._n_bins())
        design = additive_design(self.categorical, n_knots=5)
        return _Design(design.fit(self.rows[self.used]))

    def classes(self, name: str, y: FloatArray, n_classes: int) -> tuple[CrossFitted, Any]:
        """Cross-fit class probabilities; return them and the prepared rows."""
        codes = y.astype(np.int64)

        def fit(rows: Any, train: BoolArray, seed: int, trees: int | None) -> FoldModel:
            if name == "boosted":
                # Early stopping sets rows aside by class, which needs two of each.
                rarest = np.unique(codes[train], return_counts=True)[1].min()
                model: Any = BoostedClassifier(**self._boosting(train, seed, rarest >= 2, trees))
            else:
                model = LogisticRegression(C=1.0, max_iter=200, tol=1e-3)
            with warnings.catch_warnings():
                # An unconverged nuisance fit only costs precision, which the held-out loss then shows.
                warnings.simplefilter("ignore", ConvergenceWarning)
                return _Probabilities(model.fit(rows[train], codes[train]), n_classes)

        prepare = self.prepare(name)
        prepared = prepare(self.rows)
        return CrossFitted(prepare, self._each_fold(fit, prepared)), prepared

    def numbers(
        self, name: str, columns: FloatArray, prepare: Callable[[FloatArray], Any], prepared: Any
    ) -> CrossFitted:
        """Cross-fit the expectation of columns: of the first alone by boosting, which fits one at a time."""

        def fit(rows: Any, train: BoolArray, seed: int, trees: int | None) -> FoldModel:
            if name == "boosted":
                model: Any = BoostedRegressor(**self._boosting(train, seed, True, trees))
                return _Values(model.fit(rows[train], columns[train, 0]))
            return _Values(Ridge(alpha=1.0).fit(rows[train], columns[train]))

        return CrossFitted(prepare, self._each_fold(fit, prepared))

    def _each_fold(self, fit: Callable[..., FoldModel], prepared: Any) -> tuple[FoldModel, ...]:
        """Fit the model of each fold; where rows are many, the first one's size serves all.

        The others then need set no rows aside to stop by, and are fitted on all of theirs.
        """
        models: list[Any] = []
        for k, seed in enumerate(self.seeds):
            trees = models[0].n_trees if models and self.used.sum() >= _ONE_SIZE else None
            models.append(fit(prepared, self.used & (self.fold != k), seed, trees))
        return tuple(models)

    def _boosting(self, train: BoolArray, seed: int, may_stop: bool, trees: int | None) -> dict[str, Any]:
        n, by_code = int(train.sum()), split_by_code(self.rows, self.categorical)
        return {
            "categorical_features": by_code if by_code.any() else None,
            "early_stopping": bool(n >= 200 and may_stop and trees is None),
            "n_iter_no_change": _PATIENCE,
            "max_iter": trees or (300 if n >= 200 else 30),
            "max_bins": min(max(self._n_bins(), *self._n_codes(by_code)), 255),
            "learning_rate": 0.1 if n < _LARGE // 2 else 0.15,
            "min_samples_leaf": _LEAF,
            "max_leaf_nodes": 15 if n < _LARGE else 31,
            "random_state": seed,
        }

    def _n_codes(self, by_code: BoolArray) -> list[int]:
        return [2, *(len(np.unique(self.rows[:, j])) for j in np.flatnonzero(by_code))]

    def _n_bins(self) -> int:
        return 64 if self.used.sum() < _LARGE else 128


@dataclass(frozen=True)
class _Coded:
    """Numbers as the number of their quantile bin, which trees would otherwise find anew for every fold.

    ``rare`` columns have fewer values than a leaf must hold. They become
    constant: a fold might miss all of the values, which boosting does not take.
    """

    edges: tuple[FloatArray | None, ...]
    rare: BoolArray

    @classmethod
    def of(cls, rows: FloatArray, by_code: BoolArray, n_bins: int) -> _Coded:
        """Take the bins from rows; columns that are split by category stay as they are."""
        edges = tuple(None if c else _edges(column, n_bins) for column, c in zip(rows.T, by_code))
        return cls(edges, (np.sum(~np.isnan(rows), axis=0) < _LEAF) & ~by_code)

    def __call__(self, rows: FloatArray) -> FloatArray:
        out = np.array(rows, order="F")
        for j, edges in enumerate(self.edges):
            if edges is not None:
                known = ~np.isnan(rows[:, j])
                out[known, j] = np.searchsorted(edges, rows[known, j])
        out[:, self.rare] = 0.0
        return out


def _edges(column: FloatArray, n_bins: int) -> FloatArray:
    """Return what parts the bins: the middles between values, or quantiles where those are many."""
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) <= n_bins:
        return np.asarray((values[1:] + values[:-1]) / 2)
    return np.asarray(np.unique(np.quantile(known, np.arange(1, n_bins) / n_bins)))


@dataclass(frozen=True)
class _Design:
    """A fitted design, as something that can be pickled."""

    design: Any

    def __call__(self, rows: FloatArray) -> Any:
        return self.design.transform(rows)
