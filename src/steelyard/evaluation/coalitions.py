"""Linear models of many sets of columns from one design: log odds of two samples, and means given columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from steelyard.evaluation.block_design import BlockDesign, Product, choose_products
from steelyard.evaluation.grouping import Columns

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_RICH_ROWS = 4_000
_PENALTY = 1.0
_FREE = 1e-6
_MOST_STEPS = 60
# Far below one unit of log likelihood, which is what the noise of one coefficient is worth.
_TOLERANCE = 0.05
_AT_A_TIME = 64


class SharedModels:
    """Penalised linear models, of any set of columns, of which sample a row is from and of what it is worth.

    One design, and its sums of products within each fold, serve all models: a
    set of columns takes the features that need no other column, and the sums of
    all folds but one are those of all less those of the one. The products of columns
    in it are chosen once from all rows, by what models without them leave.
    What a model says of a row comes from the folds that the row is not in.

    Time O(n p^2 + n_folds n p K) for K sets and p features; memory O(n p).
    """

    def __init__(
        self,
        X: FloatArray,
        X_target: FloatArray,
        loss: FloatArray,
        weight: FloatArray,
        categorical: BoolArray,
        *,
        fold: IntArray,
        fold_target: IntArray,
    ) -> None:
        n, m = X.shape[0], X_target.shape[0]
        both = np.vstack([X, X_target])
        self._fold, self._fold_target, self._n = fold, fold_target, n
        self._weight = weight
        self._design = BlockDesign(both, categorical, n_knots=6 if min(n, m) >= _RICH_ROWS else 4)
        n_folds = int(fold.max()) + 1
        self._phi = np.empty((n + m, 0))
        self._grams, self._gram_target = [np.empty((0, 0))] * n_folds, np.empty((0, 0))
        self._take_up(self._design.additive(both))
        self._add_products(self._design.scores(both), loss)

    def log_odds(self, parts: Sequence[Columns]) -> FloatArray:
        """Return the log odds of target against source given each set of columns, (n, K), at source rows."""
        usable = [np.flatnonzero(self._design.usable(part)) for part in parts]
        out = np.empty((self._n, len(parts)))
        for start in range(0, len(parts), _AT_A_TIME):
            some = slice(start, start + _AT_A_TIME)
            self._fill_log_odds(usable[some], out[:, some])
        return out

    def means(self, parts: Sequence[Columns], outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the mean of each outcome given each set of columns, (n, K) and (m, K), at all rows.

        The outcomes, (n, K), belong to source rows; ``parts`` may repeat a set.
        """
        source, target = self._phi[: self._n], self._phi[self._n :]
        usable = [np.flatnonzero(self._design.usable(part)) for part in parts]
        at_source, at_target = np.empty_like(outcomes), np.empty((len(target), len(parts)))
        for k, gram in enumerate(self._grams):
            weight = np.where(self._fold != k, self._weight, 0.0)
            sums = source.T @ (weight[:, None] * outcomes)
            left = self._gram - gram
            coefficients = np.zeros_like(sums)
            for j, chosen in enumerate(usable):
                coefficients[chosen, j] = _ridge(left[np.ix_(chosen, chosen)], sums[chosen, j])
            at_source[self._fold == k] = source[self._fold == k] @ coefficients
            at_target[self._fold_target == k] = target[self._fold_target == k] @ coefficients
        return at_source, at_target

    def _take_up(self, features: FloatArray) -> None:
        """Add features, and their sums of products over each fold's source rows and over target rows."""
        n = self._n
        for k in range(len(self._grams)):
            here = np.flatnonzero(self._fold == k)
            weight = self._weight[here]
            self._grams[k] = _bordered(self._grams[k], self._phi[here], features[here], weight)
        self._gram = np.sum(self._grams, axis=0)
        ones = np.ones(len(features) - n)
        self._gram_target = _bordered(self._gram_target, self._phi[n:], features[n:], ones)
        self._phi = np.hstack([self._phi, features])

    def _add_products(self, scores: FloatArray, loss: FloatArray) -> None:
        """Take up the pairs of columns that additive models miss, and what third columns add to those."""
        n, owner = self._n, self._design.score_owner
        factors: FloatArray = scores
        products: list[Product] = [(j,) for j in range(scores.shape[1])]
        few = min(n, len(self._phi) - n)
        # More triples than pairs pass by chance, so fewer are taken; small samples can afford few of either.
        for least, most in ((3.0, min(6, 1 + few // 400)), (4.0, min(4, few // 500))):
            left, left_loss = self._left(loss)
            chosen = {
                *choose_products(factors, products, scores, owner, left, least=least, most=most),
                *choose_products(factors[:n], products, scores[:n], owner, left_loss, least=least, most=most),
            }
            if not chosen:
                return
            products = sorted(chosen)
            factors = self._design.add_products(scores, products)
            self._take_up(factors)

    def _left(self, loss: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weighted residuals of least squares: of which sample a row is from, and of the loss."""
        n, phi = self._n, self._phi
        weight = np.concatenate([self._weight, np.ones(len(phi) - n)])
        is_target = np.arange(len(phi)) >= n
        line = _ridge(self._gram + self._gram_target, phi.T @ (weight * is_target))
        line_loss = _ridge(self._gram, phi[:n].T @ (self._weight * loss))
        return weight * (is_target - phi @ line), self._weight * (loss - phi[:n] @ line_loss)

    def _fill_log_odds(self, usable: Sequence[IntArray], out: FloatArray) -> None:
        n, phi = self._n, self._phi
        fold = np.concatenate([self._fold, self._fold_target])
        weight = np.concatenate([self._weight, np.ones(len(phi) - n)])
        is_target = np.arange(len(phi)) >= n
        solver = _Logistic(self._gram + self._gram_target, usable)
        share = float(np.average(is_target, weights=weight))
        start = np.zeros((phi.shape[1], len(usable)))
        start[0] = np.log(share / (1 - share))
        for k in range(len(self._grams)):
            # Folds differ little, so the last one's coefficients are a good start.
            start = solver.solve(phi, is_target, np.where(fold != k, weight, 0.0), start)
            out[self._fold == k] = phi[:n][self._fold == k] @ start


class _Logistic:
    """Penalised logistic regressions that share their rows, a set of features each.

    A quarter of the sums of products of all rows is never less than the Hessian
    (Boehning and Lindsay, 1988), so a step that solves with it cannot overshoot;
    Nesterov's momentum, dropped where it points uphill, makes up for its caution.
    All regressions take a step together, which costs two matrix products.
    """

    def __init__(self, gram: FloatArray, usable: Sequence[IntArray]) -> None:
        self._usable = usable
        bound = 0.25 * gram
        self._solvers = [cho_factor(_penalised(bound[np.ix_(c, c)]), check_finite=False) for c in usable]
        self._penalty = np.full((gram.shape[0], 1), _PENALTY)
        self._penalty[0] = _FREE * bound[0, 0]

    def solve(self, phi: FloatArray, y: BoolArray, weight: FloatArray, start: FloatArray) -> FloatArray:
        """Return coefficients, (p, K), from a start of that shape."""
        now, ahead = start.copy(), start.copy()
        age, going = np.ones(len(self._usable)), np.ones(len(self._usable), dtype=bool)
        for _ in range(_MOST_STEPS):
            some = np.flatnonzero(going)
            beta = ahead[:, some]
            slope = phi.T @ (weight[:, None] * (expit(phi @ beta) - y[:, None])) + self._penalty * beta
            for j, down in zip(some.tolist(), slope.T):
                chosen = self._usable[j]
                step = cho_solve(self._solvers[j], down[chosen], check_finite=False)
                after = ahead[chosen, j] - step
                moved = after - now[chosen, j]
                if down[chosen] @ moved > 0:
                    age[j] = 1.0
                older = (1 + np.sqrt(1 + 4 * age[j] ** 2)) / 2
                now[chosen, j] = after
                ahead[chosen, j] = after + (age[j] - 1) / older * moved
                age[j] = older
                going[j] = down[chosen] @ step > _TOLERANCE
            if not going.any():
                break
        return now


def _bordered(gram: FloatArray, old: FloatArray, new: FloatArray, weight: FloatArray) -> FloatArray:
    """Return sums of products of old and new features, those of the old ones being known."""
    weighted = weight[:, None] * new
    cross = old.T @ weighted
    return np.block([[gram, cross], [cross.T, new.T @ weighted]])


def _penalised(gram: FloatArray) -> FloatArray:
    """Add the penalty; the constant, which comes first, is as good as free."""
    out = gram.copy()
    out[np.diag_indices_from(out)] += _PENALTY
    out[0, 0] += _FREE * gram[0, 0] - _PENALTY
    return out


def _ridge(gram: FloatArray, sums: FloatArray) -> FloatArray:
    return np.asarray(cho_solve(cho_factor(_penalised(gram), check_finite=False), sums, check_finite=False))
