"""One design for every set of columns: features that know which columns they are made of.

A linear model of a set of columns uses the features that need no other column, so
models of all sets share one matrix and its sums of squares and products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import SplineTransformer

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

# A number of no more values than this is treated as a category: a spline could not be told from indicators.
_FEW_VALUES = 8
_MOST_LEVELS = 30
_LEAST_ROWS = 5
_MOST_INDICATORS = 1_000
# Beyond so many features from numbers, splines would cost more than they add; see numerics.design.
_MOST_FEATURES = 400


@dataclass(frozen=True)
class _Number:
    """A number's spline (none where there are too many numbers), and a mark where values are missing."""

    column: int
    fill: float
    centre: float
    spread: float
    low: float
    high: float
    spline: SplineTransformer | None
    cuts: FloatArray
    marks_missing: bool

    def features(self, x: FloatArray) -> FloatArray:
        missing = np.isnan(x)
        z = (np.where(missing, self.fill, x) - self.centre) / self.spread
        main: FloatArray = z[:, None]
        if self.spline is not None:
            main = self.spline.transform(main)
        return np.asarray(np.column_stack([main, missing]) if self.marks_missing else main)

    def scores(self, x: FloatArray) -> FloatArray:
        z = (np.where(np.isnan(x), self.fill, x) - self.centre) / self.spread
        # A product beyond the values that were seen would be a guess squared.
        return np.column_stack([np.clip(z, self.low, self.high), z[:, None] > self.cuts])


@dataclass(frozen=True)
class _Levels:
    """Indicators of a category's levels, most frequent first; the rare ones together have none."""

    column: int
    levels: FloatArray
    n_scores: int
    marks_missing: bool

    def features(self, x: FloatArray) -> FloatArray:
        hit = x[:, None] == self.levels
        marks = [np.isnan(x)] if self.marks_missing else []
        return np.column_stack([hit, *marks]).astype(np.float64)

    def scores(self, x: FloatArray) -> FloatArray:
        return np.asarray(x[:, None] == self.levels[: self.n_scores], dtype=np.float64)


class BlockDesign:
    """Additive features of all columns at once, and products of pairs that :meth:`add_products` chose.

    Attributes
    ----------
    needs : boolean array of shape (p, d)
        Which columns each feature is made of; the first feature is constant and needs none.
    """

    def __init__(self, X: FloatArray, categorical: BoolArray, *, n_knots: int) -> None:
        d = X.shape[1]
        few = categorical | np.array([np.unique(x[~np.isnan(x)]).size <= _FEW_VALUES for x in X.T])
        affordable = _MOST_FEATURES // max(int((~few).sum()), 1) - 2
        # With many columns a score each is what can be afforded of products.
        rich = d <= 60
        most_levels = int(np.clip(_MOST_INDICATORS // max(int(few.sum()), 1), 2, _MOST_LEVELS))
        self._parts = [
            _levels(j, X[:, j], most_levels, 5 if rich else 1)
            if few[j]
            else _number(j, X[:, j], min(n_knots, affordable) if affordable >= 3 else 0, rich)
            for j in range(d)
        ]
        self._pairs: IntArray = np.empty((0, 2), dtype=np.int64)
        first = X[:1]
        widths = [part.features(first[:, part.column]).shape[1] for part in self._parts]
        owner = np.repeat(np.arange(d), widths)
        self.needs = np.zeros((1 + owner.size, d), dtype=bool)
        self.needs[np.arange(1, 1 + owner.size), owner] = True
        scores = [part.scores(first[:, part.column]).shape[1] for part in self._parts]
        self.score_owner = np.repeat(np.arange(d), scores)
        self._centre = self._raw_scores(X).mean(axis=0)

    def additive(self, X: FloatArray) -> FloatArray:
        """Return the constant and the additive features."""
        blocks = [part.features(X[:, part.column]) for part in self._parts]
        return np.hstack([np.ones((X.shape[0], 1)), *blocks])

    def scores(self, X: FloatArray) -> FloatArray:
        """Return the few centred values a column of which products are made."""
        return np.asarray(self._raw_scores(X) - self._centre)

    def add_products(self, pairs: IntArray) -> None:
        """Take up products of pairs of scores."""
        self._pairs = pairs
        needs = np.zeros((len(pairs), self.needs.shape[1]), dtype=bool)
        for side in range(2):
            needs[np.arange(len(pairs)), self.score_owner[pairs[:, side]]] = True
        self.needs = np.vstack([self.needs, needs])

    def products(self, scores: FloatArray) -> FloatArray:
        """Return the chosen products."""
        return np.asarray(scores[:, self._pairs[:, 0]] * scores[:, self._pairs[:, 1]])

    def usable(self, columns: tuple[int, ...]) -> BoolArray:
        """Return which features a model of these columns may use."""
        other = np.ones(self.needs.shape[1], dtype=bool)
        other[list(columns)] = False
        return np.logical_not(self.needs[:, other].any(axis=1))

    def _raw_scores(self, X: FloatArray) -> FloatArray:
        return np.hstack([part.scores(X[:, part.column]) for part in self._parts])


def choose_products(
    scores: FloatArray, owner: IntArray, residual: FloatArray, *, most_pairs: int = 6, most_each: int = 6
) -> list[tuple[int, int]]:
    """Return the pairs of scores whose products go with what an additive model has left.

    Pairs of columns are ranked by their strongest product; a column goes with
    itself too, which is a curve that the additive features may not have had.
    """
    squares = residual**2
    sums = (scores * residual[:, None]).T @ scores
    noise = np.sqrt((scores**2 * squares[:, None]).T @ scores**2)
    t = np.abs(sums) / np.maximum(noise, 1e-12)
    i, j = np.nonzero(np.triu(t > 3.0))
    order = np.argsort(-t[i, j], kind="stable")
    taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for a, b in zip(i[order].tolist(), j[order].tolist()):
        pair = (int(owner[a]), int(owner[b]))
        if pair in taken:
            if len(taken[pair]) < most_each:
                taken[pair].append((a, b))
        elif len(taken) < most_pairs:
            taken[pair] = [(a, b)]
    return [product for products in taken.values() for product in products]


def _number(column: int, x: FloatArray, n_knots: int, rich: bool) -> _Number:
    present = x[~np.isnan(x)]
    fill, centre = float(np.median(present)), float(present.mean())
    spread = float(present.std()) or 1.0
    z = (present - centre) / spread
    spline = None
    if n_knots:
        knots = np.unique(np.quantile(z, np.linspace(0, 1, n_knots)))
        spline = SplineTransformer(degree=3, knots=knots[:, None], extrapolation="linear").fit(z[:2, None])
    cuts = np.unique(np.quantile(z, [0.25, 0.5, 0.75])) if rich else np.empty(0)
    marks = present.size < x.size
    return _Number(column, fill, centre, spread, float(z.min()), float(z.max()), spline, cuts, marks)


def _levels(column: int, x: FloatArray, most_levels: int, n_scores: int) -> _Levels:
    present = x[~np.isnan(x)]
    values, count = np.unique(present, return_counts=True)
    order = np.argsort(-count, kind="stable")[:most_levels]
    levels = values[order[count[order] >= _LEAST_ROWS]]
    return _Levels(column, levels, n_scores, present.size < x.size)
