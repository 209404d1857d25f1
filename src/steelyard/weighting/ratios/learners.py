"""The learners among which ``weighting="auto"`` chooses: each turns two samples into log ratios, one a fold.

A learner takes the rows that are fitted and fits, fold by fold, the rows outside
the fold; it says what each model makes of the rows that it has not seen, and
hands over the models of all folds. Columns may hold category codes and missing values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steelyard.numerics.binning import Bins
from steelyard.numerics.boosting import BoostedClassifier, split_by_code
from steelyard.numerics.random import draw_seed
from steelyard.weighting.ratios._basis import KernelBasis, Scale, median_width
from steelyard.weighting.ratios._folded import FoldedLogistic, balanced
from steelyard.weighting.ratios._models import BoostedModels, KernelModels, LinearModels, Models, Tree
from steelyard.weighting.ratios._sample import Sample
from steelyard.weighting.ratios._sparse import refit, sparse_features
from steelyard.weighting.ratios.kernel_logistic import free_constant, held_out_losses

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_STRONGEST = 5
_TUNING_ROWS = 1_500
_CENTRES = 200
_RIDGE = 3.0
_MOST_COLUMNS = 64
_LEAST_ROWS = 100
# Small steps find a little more and take as many more trees: worth it where trees cost little.
_SMALL_STEP_ROWS = 8_000
_PATIENCE = 15
# Of small steps, and of larger ones where there are more rows. Where rows are copies of each other early
# stopping never stops, and every row that is scored pays for every tree.
_MOST_TREES = (600, 100)


class Learner(Protocol):
    """Fits the folds of a sample, each once."""

    def fit(self, k: int) -> FloatArray:
        """Fit the rows outside fold k; return the log ratios of the fitted sample's rows in it."""
        ...

    def models(self) -> Models:
        """Return the models, once all folds are fitted."""
        ...

    @property
    def fits(self) -> int:
        """How many folds have been fitted."""
        ...

    def rest(self) -> None:
        """Let go of what can be computed again."""
        ...


class LinearLearner:
    """Log ratios that are linear in the features of a design, the few that matter or all with a ridge."""

    def __init__(self, sample: Sample, *, degree: int = 1, n_knots: int = 0, sparse: bool = True) -> None:
        self.sample, self.degree, self.n_knots, self.sparse = sample, degree, n_knots, sparse
        self.coef: dict[int, FloatArray] = {}
        self.folded: FoldedLogistic | None = None

    def features(self) -> FloatArray:
        """Return the features of the sample's rows."""
        return self.sample.rows.design(degree=self.degree, n_knots=self.n_knots)[1]

    def fit(self, k: int) -> FloatArray:
        """Fit the rows outside fold k."""
        Z, sample = self.features(), self.sample
        if k not in self.coef:
            size = sample.size()
            if self.folded is None:
                penalty = free_constant(Z.shape[1], (1.0 if self.sparse else _RIDGE) / size)
                self.folded = FoldedLogistic(Z, sample.domain, sample.weight, sample.fold, penalty)
            coef, information = self.folded.without(k)
            if self.sparse:
                kept = sparse_features(coef, information, size)
                counted = balanced(sample.weight * (sample.fold != k), sample.domain)
                coef = refit(Z, sample.domain, counted, kept, coef, information, size)
            self.coef[k] = coef
        return np.asarray(Z[sample.fold == k] @ self.coef[k])

    def strongest(self, k: int) -> IntArray:
        """Return the features with fold k's largest coefficients, at most five."""
        size = np.abs(self.coef[k][1:])
        strong = np.argsort(-size, kind="stable")[:_STRONGEST] + 1
        return np.asarray(strong[size[strong - 1] > 0])

    def models(self) -> LinearModels:
        """Return the models of all folds."""
        self.folded = None
        coef = np.column_stack([self.coef[k] for k in range(self.sample.n_folds)])
        return LinearModels(self.sample.rows.design(degree=self.degree, n_knots=self.n_knots)[0], coef)

    @property
    def fits(self) -> int:
        """How many folds have been fitted."""
        return len(self.coef)

    def rest(self) -> None:
        """Let go of what can be computed again."""
        self.folded = None


class KernelLearner:
    """Log ratios in a Gaussian kernel's space; a part of the first fit's rows chooses width and penalty."""

    def __init__(self, sample: Sample, rng: np.random.Generator) -> None:
        self.sample, self.rng = sample, rng
        self.basis: KernelBasis | None = None
        self.penalty = 0.0
        self.coef: dict[int, FloatArray] = {}
        self.folded: FoldedLogistic | None = None

    def fit(self, k: int) -> FloatArray:
        """Fit the rows outside fold k."""
        if self.folded is None:
            Z = self._features(k)
            penalty = free_constant(Z.shape[1], self.penalty)
            self.folded = FoldedLogistic(Z, self.sample.domain, self.sample.weight, self.sample.fold, penalty)
        if k not in self.coef:
            self.coef[k] = self.folded.without(k)[0]
        return np.asarray(self.folded.Z[self.sample.fold == k] @ self.coef[k])

    def models(self) -> KernelModels:
        """Return the models of all folds."""
        assert self.basis is not None
        self.folded = None
        coef = np.column_stack([self.coef[k] for k in range(self.sample.n_folds)])
        return KernelModels(self.sample.rows.design()[0], self.basis, coef)

    @property
    def fits(self) -> int:
        """How many folds have been fitted."""
        return len(self.coef)

    def rest(self) -> None:
        """Let go of what can be computed again."""
        self.folded = None

    def _features(self, k: int) -> FloatArray:
        rows = self.sample.rows.design()[1][:, 1:]
        if self.basis is None:
            self._tune(rows, k)
        assert self.basis is not None
        return self.basis.standardised(rows)

    def _tune(self, rows: FloatArray, k: int) -> None:
        sample, rng = self.sample, self.rng
        counted = balanced(sample.weight * (sample.fold != k), sample.domain)
        few = np.concatenate(
            [
                rng.permutation(np.flatnonzero((sample.domain == side) & (counted > 0)))[:_TUNING_ROWS]
                for side in (0, 1)
            ]
        )
        unit = median_width(rows[rng.permutation(few)[:1000]], rng)
        losses = held_out_losses(
            rows[few],
            sample.domain[few].astype(np.float64),
            counted[few],
            [float(unit * f) for f in (0.5, 1.0, 2.0, 4.0)],
            [1e-1, 1e-2, 1e-3, 1e-4, 1e-5],
            rng,
            splits=1,  # its fit is judged once more beside the others'
        )
        width, self.penalty = min(losses, key=lambda key: losses[key])
        nothing = Scale(np.zeros(rows.shape[1]), np.ones(rows.shape[1]))
        self.basis = KernelBasis(nothing, rows[rng.permutation(few)[:_CENTRES]], width)


class BoostedLearner:
    """Boosted trees on columns, and, over a linear learner, on its log ratio and its strongest terms.

    Held-out rows of the first fit say how many trees; the other folds get as many. In a
    wide table each fold's trees get the 64 columns of which the ranks differ most.
    """

    def __init__(self, sample: Sample, rng: np.random.Generator, base: LinearLearner | None = None) -> None:
        self.sample, self.rng, self.base = sample, rng, base
        self.n_trees: int | None = None
        self.trees: dict[int, Tree] = {}
        self.said: dict[int, FloatArray] = {}

    def fit(self, k: int) -> FloatArray:
        """Fit the rows outside fold k."""
        if k not in self.trees:
            self._fit(k)
        return self.said[k]

    def _fit(self, k: int) -> None:
        sample, categorical = self.sample, self.sample.rows.categorical
        codes = sample.rows.bins()[1]
        train, held = np.flatnonzero((sample.fold != k) & (sample.weight > 0)), sample.fold == k
        columns = _telling(codes[train], sample.domain[train], categorical)
        rows = codes[:, columns]
        mask = split_by_code(rows, categorical[columns])
        terms: IntArray | None = None
        term_bins: Bins | None = None
        if self.base is not None:
            self.base.fit(k)
            terms = self.base.strongest(k)
            Z = self.base.features()
            more = np.column_stack([Z @ self.base.coef[k], Z[:, terms]])
            term_bins = Bins.of(more, np.zeros(more.shape[1], dtype=bool))
            rows = np.hstack([rows, term_bins(more)])
            mask = np.append(mask, np.zeros(more.shape[1], dtype=bool))
        model = _boosting(len(train), mask, self.n_trees, draw_seed(self.rng))
        weight = sample.weight[train]
        same = bool(np.all(weight == weight[0]))
        model.fit(rows[train], sample.domain[train], sample_weight=None if same else weight)
        if self.n_trees is None:
            late = _PATIENCE if len(train) >= _LEAST_ROWS and model.n_iter_ < model.max_iter else 0
            self.n_trees = max(model.n_iter_ - late, 1)
        mass = sample.mass(k)
        self.trees[k] = Tree(model, float(np.log(mass[0]) - np.log(mass[1])), columns, terms, term_bins)
        self.said[k] = model.decision_function(rows[held]) + self.trees[k].offset

    def models(self) -> BoostedModels:
        """Return the models of all folds."""
        trees = tuple(self.trees[k] for k in range(self.sample.n_folds))
        base = None if self.base is None else self.base.models()
        return BoostedModels(self.sample.rows.bins()[0], trees, base)

    @property
    def fits(self) -> int:
        """How many folds have been fitted."""
        return len(self.trees)

    def rest(self) -> None:
        """Keep everything: trees cost time to fit and no room."""


def _boosting(n: int, categorical: npt.NDArray[np.bool_], n_trees: int | None, seed: int) -> Any:
    """Return boosting that has so many trees, or finds out on a seventh of the rows."""
    stop, small = n_trees is None and n >= _LEAST_ROWS, n <= _SMALL_STEP_ROWS
    return BoostedClassifier(
        categorical_features=categorical if categorical.any() else None,
        learning_rate=0.05 if small else 0.1,
        max_iter=n_trees or (_MOST_TREES[0 if small else 1] if stop else 15),
        max_leaf_nodes=8,
        min_samples_leaf=20,
        early_stopping=stop,
        validation_fraction=0.15,
        n_iter_no_change=_PATIENCE,
        random_state=seed,
    )


def _telling(codes: FloatArray, domain: IntArray, categorical: npt.NDArray[np.bool_]) -> IntArray:
    """Return the columns that boosting gets: all, or in a wide table those that tell the sides apart best."""
    d = codes.shape[1]
    if d <= _MOST_COLUMNS:
        return np.arange(d)
    found = np.array([_apart(codes[:, j], domain, bool(categorical[j])) for j in range(d)])
    return np.sort(np.argsort(-found, kind="stable")[:_MOST_COLUMNS])


def _apart(code: FloatArray, domain: IntArray, category: bool) -> float:
    """Return the chi-squared distance of the sides' shares of at most 16 parts of a column."""
    top = float(np.nanmax(code, initial=0.0))
    part = np.nan_to_num(code, nan=-1.0).astype(np.int64) + 1
    if not category and top >= 16:
        part = np.where(part == 0, 0, 1 + (part - 1) * 15 // int(top + 1))
    counts = np.stack([np.bincount(part[domain == side], minlength=part.max() + 1) for side in (0, 1)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    both = shares.sum(axis=0)
    seen = both > 0
    return float(np.sum((shares[1] - shares[0])[seen] ** 2 / both[seen]))


def _quadratic(sample: Sample, other: Callable[[str], Any]) -> Any:
    """Return the linear learner itself where a table is too wide for squares."""
    return LinearLearner(sample, degree=2) if sample.rows.has_products() else other("linear")


Make = Callable[[Sample, np.random.Generator, Callable[[str], Any]], Learner]

# From the simplest to the most flexible; the last argument finds another learner of the same rows.
LEARNERS: dict[str, Make] = {
    "linear": lambda sample, rng, other: LinearLearner(sample),
    "quadratic": lambda sample, rng, other: _quadratic(sample, other),
    "additive": lambda sample, rng, other: LinearLearner(sample, n_knots=5, sparse=False),
    "kernel": lambda sample, rng, other: KernelLearner(sample, rng),
    "boosted": lambda sample, rng, other: BoostedLearner(sample, rng),
    "boosted quadratic": lambda sample, rng, other: BoostedLearner(sample, rng, other("quadratic")),
}
