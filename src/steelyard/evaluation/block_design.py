"""One design for every set of columns: features that know which columns they are made of.

A linear model of a set of columns uses the features that need no other column, so
models of all sets share one matrix and its sums of squares and products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import SplineTransformer

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Product = tuple[int, ...]
"""Numbers of the scores that are multiplied."""

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
        # A product grows with the square of what few rows have: without a bound those rows take all weight.
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
    """Additive features of all columns at once, and the products that :meth:`add_products` took up.

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

    def add_products(self, scores: FloatArray, products: Sequence[Product]) -> FloatArray:
        """Take up products of scores, and return them, a column each."""
        needs = np.zeros((len(products), self.needs.shape[1]), dtype=bool)
        for needed, product in zip(needs, products):
            needed[self.score_owner[list(product)]] = True
        self.needs = np.vstack([self.needs, needs])
        return np.column_stack([scores[:, list(product)].prod(axis=1) for product in products])

    def usable(self, columns: tuple[int, ...]) -> BoolArray:
        """Return which features a model of these columns may use."""
        other = np.ones(self.needs.shape[1], dtype=bool)
        other[list(columns)] = False
        return np.logical_not(self.needs[:, other].any(axis=1))

    def _raw_scores(self, X: FloatArray) -> FloatArray:
        return np.hstack([part.scores(X[:, part.column]) for part in self._parts])


def choose_products(
    factors: FloatArray,
    products: Sequence[Product],
    scores: FloatArray,
    owner: IntArray,
    residual: FloatArray,
    *,
    least: float = 3.0,
    most: int = 6,
) -> list[Product]:
    """Return products of a factor and a score that go with what a model has left.

    Factors are scores or ``products`` of them. Sets of columns are ranked by
    their strongest product's t statistic, and ``most`` of them get at most as many
    products each; a column may go with itself, which is a
    curve that the additive features did not have.
    """
    left = (factors * residual[:, None]).T
    t = np.abs(left @ scores) / np.maximum(np.sqrt(left**2 @ scores**2), 1e-12)
    i, j = np.nonzero(t > least)
    order = np.argsort(-t[i, j], kind="stable")
    taken: dict[frozenset[int], list[Product]] = {}
    for a, b in zip(i[order].tolist(), j[order].tolist()):
        product = tuple(sorted((*products[a], b)))
        columns = frozenset(owner[list(product)].tolist())
        if columns not in taken and len(taken) < most:
            taken[columns] = []
        chosen = taken.get(columns)
        if chosen is not None and len(chosen) < most and product not in chosen:
            chosen.append(product)
    return [product for chosen in taken.values() for product in chosen]


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
    low, high = np.quantile(z, [0.01, 0.99]).tolist()
    return _Number(column, fill, centre, spread, low, high, spline, cuts, present.size < x.size)


def _levels(column: int, x: FloatArray, most_levels: int, n_scores: int) -> _Levels:
    present = x[~np.isnan(x)]
    values, count = np.unique(present, return_counts=True)
    order = np.argsort(-count, kind="stable")[:most_levels]
    levels = values[order[count[order] >= _LEAST_ROWS]]
    return _Levels(column, levels, n_scores, present.size < x.size)
