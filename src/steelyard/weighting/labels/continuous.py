"""Weights where a numerical target has moved: a regularised integral equation between kernel smoothers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from steelyard.errors import InputError
from steelyard.numerics.boosting import BoostedRegressor
from steelyard.numerics.checks import as_rows, as_vector, as_weights
from steelyard.numerics.fitting import check_takes_weights, fit_weighted
from steelyard.numerics.kernels import kernel_blocks
from steelyard.numerics.random import as_generator, by_fold, deal_folds
from steelyard.weighting.base import RatioEstimator
from steelyard.weighting.ratios.kernel_logistic import KernelLogisticRatio

FloatArray = npt.NDArray[np.float64]

_FLOOR = 1e-6  # the solution may dip below zero; logarithms need this much
_GRID = 10.0 ** np.linspace(0.0, 2.0, 7)  # times one over the root of the rows
_CHOICE_ROWS = 500  # a side, that the penalty is chosen on
_FEW_COLUMNS = 2  # kernel smoothers of a few thousand rows see little in more


@dataclass(frozen=True)
class ContinuousRatio:
    """Target / source density ratio of y at the rows that were solved for, and the regularisation used."""

    ratio: FloatArray
    penalty: float
    residual: FloatArray

    def at(self, y: FloatArray, rows: FloatArray, *, width: float, sample_weight: FloatArray) -> FloatArray:
        """Return the ratio at other values of y: the equation ``ratio - 1 = smooth(residual) / penalty``."""
        smoothed = smooth(y[:, None], rows[:, None], self.residual, width=width, sample_weight=sample_weight)
        return np.asarray(1.0 + smoothed / self.penalty)


def smooth(
    at: FloatArray, rows: FloatArray, values: FloatArray, *, width: float, sample_weight: FloatArray
) -> FloatArray:
    """Return the Nadaraya-Watson mean of ``values`` at other places, in blocks: O(n m d) time.

    ``values`` may have several columns. Where no row is within reach of the
    kernel, the nearest one stands.

    Examples
    --------
    >>> import numpy as np
    >>> rows, one = np.array([[0.0], [1.0]]), np.ones(2)
    >>> smooth(np.array([[0.5], [99.0]]), rows, np.array([1.0, 3.0]), width=0.3, sample_weight=one).tolist()
    [2.0, 3.0]
    """
    counted = np.flatnonzero(sample_weight)
    rows, values, sample_weight = rows[counted], values[counted], sample_weight[counted]
    out = np.empty((len(at), *values.shape[1:]))
    for part, kernel in kernel_blocks(at, rows, width=width):
        mass = kernel * sample_weight
        total = mass.sum(axis=1)
        far = total < 1e-290
        mass /= np.where(far, 1.0, total)[:, None]
        out[part] = mass @ values
        for i in np.flatnonzero(far):
            gap = ((rows - at[part][i]) ** 2).sum(axis=1)
            out[part.start + i] = values[int(np.argmin(gap))]
    return out


def continuous_target_ratio(
    X: Any,
    y: Any,
    feature_ratio: Any,
    *,
    width: float | None = None,
    width_y: float | None = None,
    penalty: float = 0.1,
    sample_weight: Any = None,
) -> ContinuousRatio:
    """Solve ``E[w(Y) | X = x] = q(x) / p(x)`` over the source for the weights w of a moved target.

    Parameters
    ----------
    X : array of shape (n, d)
        Source features on a common scale, d small; n at most a few thousand.
    y : array of shape (n,)
        Source targets, numerical.
    feature_ratio : array of shape (n,)
        Target / source density ratio of the features at the source rows.
    width, width_y : float, optional
        Of the Gaussian smoothers over X and over y; by default Silverman's rule.
    penalty : float
        Tikhonov's; above 0. The normal operator's largest eigenvalue is 1, that
        of the constants. `ReTaSA` chooses it from the data.
    sample_weight : array of shape (n,), optional
        How often each row counts; integers equal repeated rows.

    Returns
    -------
    ContinuousRatio
        ``ratio`` may be below zero where the data say little.

    Notes
    -----
    Assumes that P(x | y) is the same in source and target, and that different
    laws of y give different laws of x. With T the smoother from y to x and T'
    that from x to y, the solution is ``1 + (penalty + T' T)^-1 T' (q/p - 1)``.
    Time O(n^3), memory O(n^2).

    Source: ReTaSA: A Nonparametric Functional Estimation Approach for Addressing
    Continuous Target Shift (catalogue 23).

    Examples
    --------
    >>> import numpy as np
    >>> y = np.random.default_rng(0).normal(size=400)
    >>> found = continuous_target_ratio(y[:, None], y, np.exp(0.5 * y - 0.125))  # x tells y exactly
    >>> bool(np.corrcoef(found.ratio, np.exp(0.5 * y))[0, 1] > 0.98)
    True
    """
    rows = as_rows(X, allow_nan=False)
    n = len(rows)
    target = as_vector(y, n=n, name="y")
    eta = as_vector(feature_ratio, n=n, name="feature_ratio") - 1.0
    weight = as_weights(sample_weight, n)
    width = width or silverman_width(rows, weight)
    width_y = width_y or silverman_width(target[:, None], weight)
    if penalty <= 0:
        raise InputError(f"penalty is {penalty}; it must be above 0.")
    from_y, (rho,) = _solutions(rows, target, eta, (penalty,), width, width_y, weight)
    return ContinuousRatio(1.0 + rho, penalty, eta - from_y @ rho)


def _solutions(
    rows: FloatArray,
    y: FloatArray,
    eta: FloatArray,
    penalties: Iterable[float],
    width: float,
    width_y: float,
    weight: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the smoother from y to x, and a row of solutions, less one, for each penalty."""
    from_y, from_x = _smoother(rows, width, weight), _smoother(y[:, None], width_y, weight)
    normal, right = from_x @ from_y, from_x @ eta
    return from_y, np.array([np.linalg.solve(normal + a * np.eye(len(y)), right) for a in penalties])


def silverman_width(rows: FloatArray, weight: FloatArray) -> float:
    """Return Silverman's kernel width for rows on a common scale: ``sd (4 / ((d + 2) n))^(1 / (d + 4))``."""
    d = rows.shape[1]
    mean = np.average(rows, axis=0, weights=weight)
    spread = float(np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight).mean()))
    if spread == 0:
        raise InputError(
            "the values are all alike, so that a kernel has no width; there is nothing to smooth."
        )
    return spread * float((4.0 / ((d + 2) * weight.sum())) ** (1.0 / (d + 4)))


class ReTaSA(RatioEstimator):
    """Weights for a numerical target whose law has changed while P(x | y) has not.

    Assumes target shift: what an x looks like, given y, is the same on both
    sides. The source's y are needed, the target's are not.

    Parameters
    ----------
    feature_ratio : RatioEstimator, optional
        Estimates q(x) / p(x); kernel logistic regression by default.
    summary : regressor, "auto" or None
        With many columns kernel smoothers see little, so the columns are
        replaced by cross-fitted predictions of y, which target shift allows.
        "auto" does so with gradient boosting above two columns; None never.
    penalty : float, optional
        Tikhonov's; by default the largest whose implied density ratio of the
        features has a least-squares risk, on held-out rows of both samples, within
        two standard errors of the lowest; never below one over the root of the rows.
    max_rows : int
        Source rows, drawn at random, on which the equation is solved; the
        solution is then extended to all by its own equation.
    n_folds : int
        For the summary.
    random_state : int, Generator or None

    Attributes
    ----------
    penalty_ : float
    solution_ : ContinuousRatio

    Notes
    -----
    ``weights()`` are w(y) at the source rows, cut off below at a millionth;
    ``weights(X)`` of rows without y are the density ratio of the features that
    they imply, ``E[w(Y) | x]``. Kernel widths follow Silverman's rule. Time
    O(max_rows^3 + n max_rows), memory O(max_rows^2).

    Source: ReTaSA: A Nonparametric Functional Estimation Approach for Addressing
    Continuous Target Shift (catalogue 23).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = rng.normal(0, 1.4, 400), rng.normal(0.5, 0.7, 400)
    >>> X, X_target = ((v + np.tanh(v) + 0.5 * rng.normal(size=400))[:, None] for v in (y, y_target))
    >>> w = ReTaSA(random_state=0).fit(X, y, X_target=X_target).weights()
    >>> bool(abs(np.average(y, weights=w) - 0.5) < 0.15)
    True
    """

    def __init__(
        self,
        feature_ratio: Any = None,
        *,
        summary: Any = "auto",
        penalty: float | None = None,
        max_rows: int = 1000,
        n_folds: int = 5,
        random_state: Any = None,
    ) -> None:
        self.feature_ratio = feature_ratio
        self.summary = summary
        self.penalty = penalty
        self.max_rows = max_rows
        self.n_folds = n_folds
        self.random_state = random_state

    def _fit(
        self, X: FloatArray, y: Any, X_target: FloatArray, sample_weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        if y is None:
            raise InputError(
                "ReTaSA requires y to be passed, but the target y is None; "
                "target-shift weights need the source's y: fit(X, y, X_target=...)."
            )
        try:
            values = as_vector(y, n=len(X), name="y")
        except (TypeError, ValueError) as fault:
            raise InputError(
                f"ReTaSA takes a numerical y; for classes there is LabelShiftEM. {fault}"
            ) from None
        X, X_target = as_rows(X, allow_nan=False), as_rows(X_target, name="X_target", allow_nan=False)
        rng = as_generator(self.random_state)
        counted = np.flatnonzero(sample_weight)
        if len(counted) < self.n_folds or np.ptp(values[counted]) == 0:
            raise InputError(
                f"X has {len(counted)} sample(s) that count, with {len(np.unique(values[counted]))} value(s) "
                f"of y; at least {self.n_folds} samples and two values are needed."
            )
        seen, seen_target = self._summarise(X, values, X_target, sample_weight, rng)
        self.centre_ = np.average(seen, axis=0, weights=sample_weight)
        spread = np.sqrt(np.average((seen - self.centre_) ** 2, axis=0, weights=sample_weight))
        self.scale_ = np.where(spread > 0, spread, 1.0)
        seen, seen_target = (seen - self.centre_) / self.scale_, (seen_target - self.centre_) / self.scale_
        base = (
            KernelLogisticRatio(random_state=rng) if self.feature_ratio is None else clone(self.feature_ratio)
        )
        base.fit(seen, values, X_target=seen_target, sample_weight=sample_weight)
        chosen = counted
        if len(counted) > self.max_rows:
            chosen = np.sort(rng.choice(counted, size=self.max_rows, replace=False))
        self.rows_, self.y_, self.row_weight_ = seen[chosen], values[chosen], sample_weight[chosen]
        self.width_ = silverman_width(self.rows_, self.row_weight_)
        self.width_y_ = silverman_width(self.y_[:, None], self.row_weight_)
        ratio_x = np.exp(base.log_ratio_[chosen])
        penalty = self.penalty
        if penalty is None:
            penalty = self._choose_penalty(ratio_x, seen_target, rng)
        self.solution_ = continuous_target_ratio(
            self.rows_,
            self.y_,
            ratio_x,
            width=self.width_,
            width_y=self.width_y_,
            penalty=penalty,
            sample_weight=self.row_weight_,
        )
        self.penalty_ = self.solution_.penalty
        ratio = self.solution_.at(values, self.y_, width=self.width_y_, sample_weight=self.row_weight_)
        return np.log(np.maximum(ratio, _FLOOR)), self._implied(seen_target)

    def _choose_penalty(
        self, ratio_x: FloatArray, seen_target: FloatArray, rng: np.random.Generator
    ) -> float:
        """Return the largest penalty that held-out rows do not tell from the best.

        None is below one over the root of the rows: the smoothers' own error has that
        size, and less would invert it.
        """
        s = rng.permutation(len(self.y_))[:_CHOICE_ROWS]
        t = rng.permutation(len(seen_target))[:_CHOICE_ROWS]
        rows, y, eta, weight = self.rows_[s], self.y_[s], ratio_x[s] - 1.0, self.row_weight_[s]
        fold, fold_target = deal_folds(len(s), self.n_folds, rng), deal_folds(len(t), self.n_folds, rng)
        grid = _GRID / np.sqrt(len(self.y_))
        implied, implied_target = np.empty((len(s), len(_GRID))), np.empty((len(t), len(_GRID)))
        for k in range(self.n_folds):
            kept = fold != k
            given = rows[kept], y[kept], eta[kept]
            _, rho = _solutions(*given, grid, self.width_, self.width_y_, weight[kept])
            for at, out, held in (
                (rows, implied, ~kept),
                (seen_target[t], implied_target, fold_target == k),
            ):
                out[held] = 1 + smooth(
                    at[held], rows[kept], rho.T, width=self.width_, sample_weight=weight[kept]
                )
        # The least-squares risk of a density ratio r is E_p[r^2] / 2 - E_q[r].
        square = 0.5 * implied**2
        best = int(np.argmin(np.average(square, axis=0, weights=weight) - implied_target.mean(axis=0)))
        more, less = square - square[:, [best]], implied_target - implied_target[:, [best]]
        gap = np.average(more, axis=0, weights=weight) - less.mean(axis=0)
        error = np.sqrt(
            np.average((more - np.average(more, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
            / len(s)
            + less.var(axis=0) / len(t)
        )
        return float(grid[np.flatnonzero(gap <= 2 * error)[-1]])

    def _summarise(
        self,
        X: FloatArray,
        y: FloatArray,
        X_target: FloatArray,
        weight: FloatArray,
        rng: np.random.Generator,
    ) -> tuple[FloatArray, FloatArray]:
        """Return what is smoothed over: the columns, or what models that have not seen the row predict."""
        self.models_: list[Any] = []
        base = self.summary
        if isinstance(base, str):
            if base != "auto":
                raise InputError(f'summary is {base!r}; pass a regressor, "auto" or None.')
            base = BoostedRegressor(random_state=0) if X.shape[1] > _FEW_COLUMNS else None
        if base is None:
            return X, X_target
        check_takes_weights(base, weight)
        fold = deal_folds(len(X), self.n_folds, rng, strata=weight > 0)
        fold_target = deal_folds(len(X_target), self.n_folds, rng)
        self.models_ = [
            fit_weighted(clone(base), X[train], y[train], weight[train])
            for train in ((fold != k) & (weight > 0) for k in range(self.n_folds))
        ]
        predict = [model.predict for model in self.models_]
        return by_fold(predict, fold, X)[:, None], by_fold(predict, fold_target, X_target)[:, None]

    def _implied(self, seen: FloatArray) -> FloatArray:
        positive = np.maximum(self.solution_.ratio, _FLOOR)
        return np.asarray(
            np.log(smooth(seen, self.rows_, positive, width=self.width_, sample_weight=self.row_weight_))
        )

    def _log_ratio(self, X: FloatArray) -> FloatArray:
        rows = as_rows(X, allow_nan=False)
        if self.models_:
            rows = np.mean([model.predict(rows) for model in self.models_], axis=0)[:, None]
        return self._implied((rows - self.centre_) / self.scale_)


def _smoother(rows: FloatArray, width: float, weight: FloatArray) -> FloatArray:
    """Return the matrix of Nadaraya-Watson means at the rows themselves."""
    ((_, kernel),) = kernel_blocks(rows, rows, width=width, block=len(rows))
    mass = kernel * weight
    total = mass.sum(axis=1, keepdims=True)
    # A row that does not count itself may lie out of all the others' reach; it is not weighed either.
    return np.asarray(mass / np.where(total > 0, total, 1.0))
