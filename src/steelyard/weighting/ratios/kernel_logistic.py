"""The log density ratio by kernel logistic regression on Nystrom centres (catalogue 500)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from steelyard.errors import InputError
from steelyard.numerics.checks import as_vector, as_weights
from steelyard.numerics.random import as_generator, deal_folds
from steelyard.weighting.base import RatioEstimator
from steelyard.weighting.ratios._basis import (
    KernelBasis,
    Scale,
    check_complete,
    check_rows,
    draw,
    median_width,
)
from steelyard.weighting.select import best_cap

FloatArray = npt.NDArray[np.float64]

_WIDTHS = (0.5, 1.0, 2.0, 4.0)
_PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_TUNING_ROWS = 2_000
_PARTS = 4
_BLOCK = 2_048


def ridge_logistic(
    Z: FloatArray,
    label: Any,
    *,
    sample_weight: Any = None,
    penalty: float | FloatArray = 1e-6,
    start: FloatArray | None = None,
    tolerance: float = 1e-13,
    single: bool = False,
) -> FloatArray:
    """Return the coefficients of an L2-penalised logistic regression without intercept.

    Minimises ``mean(weight * logloss) + penalty * |coef|^2 / 2``, the mean taken
    over the weight.

    Parameters
    ----------
    Z : array of shape (n, m)
    label : array of shape (n,)
        0 or 1.
    sample_weight : array of shape (n,), optional
    penalty : float or array of shape (m,)
        Above 0.
    start : array of shape (m,), optional
    tolerance : float
        Stops when a step promises to lower the objective by less than this share of it.
    single : bool
        Whether second derivatives are computed in single precision: twice as fast, and
        the steps, whose direction they set, still end at the same coefficients. For penalties
        well above 1e-7 times the largest eigenvalue.

    Returns
    -------
    array of shape (m,)

    Notes
    -----
    Newton's method with step halving; time O(n m^2 + m^3) a step, about ten steps.

    Examples
    --------
    >>> import numpy as np
    >>> ridge_logistic(np.array([[1.0], [-1.0]]), [1, 0], penalty=1.0).round(4).tolist()
    [0.4011]
    """
    y = as_vector(label, n=Z.shape[0], name="label")
    w = as_weights(sample_weight, Z.shape[0])
    w = w / w.sum()
    coef = np.zeros(Z.shape[1]) if start is None else start.astype(np.float64, copy=True)
    f = Z @ coef

    def objective(f: FloatArray, coef: FloatArray) -> float:
        return float(w @ (np.logaddexp(0.0, f) - y * f)) + 0.5 * float((penalty * coef) @ coef)

    value = objective(f, coef)
    for _ in range(100):
        p = expit(f)
        gradient = Z.T @ (w * (p - y)) + penalty * coef
        hessian = information(Z, w * p * (1 - p), single=single)
        hessian.flat[:: Z.shape[1] + 1] += penalty
        step = -cho_solve(cho_factor(hessian, lower=True), gradient)
        decrement = -float(gradient @ step)
        if decrement < tolerance * max(value, 1e-12):
            break
        move = Z @ step
        rate = 1.0
        while rate > 1e-8:
            new = objective(f + rate * move, coef + rate * step)
            if new <= value - 1e-4 * rate * decrement:
                break
            rate *= 0.5
        else:
            break  # no decrease in reach of rounding
        coef, f, value = coef + rate * step, f + rate * move, new
    return coef


def information(Z: FloatArray, curvature: FloatArray, *, single: bool = False) -> FloatArray:
    """Return ``Z.T @ diag(curvature) @ Z``, (m, m), in blocks of rows that fit a processor's cache.

    Examples
    --------
    >>> import numpy as np
    >>> information(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([1.0, 4.0])).tolist()
    [[1.0, 2.0], [2.0, 8.0]]
    """
    out = np.zeros((Z.shape[1], Z.shape[1]))
    root = np.sqrt(curvature)[:, None]
    for start in range(0, len(Z), _BLOCK):
        part = slice(start, start + _BLOCK)
        half = Z[part] * root[part]
        if single:
            half = half.astype(np.float32)
        out += half.T @ half  # of a matrix with itself: half the work of any other product
    return out


def free_constant(k: int, penalty: float) -> FloatArray:
    """Return penalties of k coefficients, of which the first, the constant's, is all but free."""
    return np.concatenate([[1e-9], np.full(k - 1, penalty)])


class KernelLogisticRatio(RatioEstimator):
    """Log density ratio by Gaussian-kernel logistic regression on Nystrom centres.

    Target rows (1) are told from source rows (0), the two classes weighted
    alike, so that the fitted function is the log density ratio itself. Columns
    are put on the pooled scale first. Assumes that the log ratio is a smooth
    function, and that the target has no mass where the source has none.

    Parameters
    ----------
    n_centres : int, optional
        Rows that serve as centres; by default ``max(100, sqrt(n_source + n_target))``
        at most 300, and never more than there are rows.
    width, penalty : float, optional
        Of the kernel, in standardised columns, and on the squared norm of the
        function. What is not given has the highest likelihood of held-out rows, out
        of a small grid.
    max_rows : int, optional
        Rows a side that are fitted; all rows are scored.
    random_state : int, Generator, RandomState or None
        Chooses centres and held-out rows.

    Attributes
    ----------
    basis_ : KernelBasis
    coef_ : array of shape (m + 1,)
        The constant's first.
    width_, penalty_ : float
    cap_ : float
        Log ratios are cut here, where the squared score of the fitted rows gains by it: a
        log ratio that is smooth may be huge where there are few rows. Else infinite.
    scores_ : dict of (width, penalty) to float
        Held-out mean log loss, lower is better; empty where both were given.

    Notes
    -----
    ``weights()`` are in-sample: with a small penalty they follow the source
    sample. Time O(n m (d + m)) a Newton step, about ten steps, memory O(max_rows m);
    nothing is n by n. Rows with missing values are refused.

    Source: Fast kernel methods for Data Quality Monitoring as a
    goodness-of-fit test (catalogue 500).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 1)), rng.normal(0.5, size=(500, 1))
    >>> w = KernelLogisticRatio(random_state=0).fit(X, X_target=X_target).weights()
    >>> bool(np.corrcoef(w, np.exp(0.5 * X[:, 0]))[0, 1] > 0.95)
    True
    """

    def __init__(
        self,
        *,
        n_centres: int | None = None,
        width: float | None = None,
        penalty: float | None = None,
        max_rows: int | None = 50_000,
        random_state: Any = None,
    ) -> None:
        self.n_centres = n_centres
        self.width = width
        self.penalty = penalty
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(
        self, X: FloatArray, y: Any, X_target: FloatArray, sample_weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        for name, value in (("penalty", self.penalty), ("width", self.width)):
            if value is not None and value <= 0:
                raise InputError(f"{name} is {value}; it must be above 0.")
        check_complete("KernelLogisticRatio", X, X_target)
        rng = as_generator(self.random_state)
        scale = Scale.of(X, X_target, sample_weight)
        s, t = draw(len(X), self.max_rows, rng, sample_weight), draw(len(X_target), self.max_rows, rng)
        rows = np.vstack([scale(X[s]), scale(X_target[t])])
        label = np.repeat([0.0, 1.0], [len(s), len(t)])
        balance = np.concatenate([sample_weight[s] / sample_weight[s].sum(), np.full(len(t), 1.0 / len(t))])
        wanted = _n_centres(self.n_centres, len(rows))
        from_target = min(len(t), max((wanted + 1) // 2, wanted - len(s)))
        # Both are in random order already.
        centres = np.vstack([rows[len(s) :][:from_target], rows[: wanted - from_target]])
        self.width_, self.penalty_, self.scores_ = self._options(rows, label, balance, rng)
        self.basis_ = KernelBasis(scale, centres, self.width_)
        self.coef_ = ridge_logistic(
            self.basis_.standardised(rows),
            label,
            sample_weight=balance,
            penalty=free_constant(len(centres) + 1, self.penalty_),
        )
        self.cap_ = np.inf
        log_s, log_t = self._log_ratio(X), self._log_ratio(X_target)
        self.cap_ = best_cap(log_s, log_t, sample_weight=sample_weight)
        return np.minimum(log_s, self.cap_), np.minimum(log_t, self.cap_)

    def _options(
        self, rows: FloatArray, label: FloatArray, balance: FloatArray, rng: np.random.Generator
    ) -> tuple[float, float, dict[tuple[float, float], float]]:
        if self.width is not None and self.penalty is not None:
            return self.width, self.penalty, {}
        sizes = [int((label == side).sum()) for side in (0, 1)]
        check_rows("KernelLogisticRatio", np.ones(sizes[0]), sizes[1])
        few = np.concatenate([np.flatnonzero(label == side)[:_TUNING_ROWS] for side in (0, 1)])
        unit = median_width(rows[rng.permutation(few)[:1000]], rng)
        widths = [float(unit * f) for f in _WIDTHS] if self.width is None else [self.width]
        penalties = list(_PENALTIES) if self.penalty is None else [self.penalty]
        scores = held_out_losses(rows[few], label[few], balance[few], widths, penalties, rng)
        return *min(scores, key=lambda key: scores[key]), scores

    def _log_ratio(self, X: FloatArray) -> FloatArray:
        check_complete("KernelLogisticRatio", X, X)
        return np.minimum(self.basis_.values(X, self.coef_), self.cap_)


def held_out_losses(
    rows: FloatArray,
    label: FloatArray,
    balance: FloatArray,
    widths: list[float],
    penalties: list[float],
    rng: np.random.Generator,
    *,
    splits: int = _PARTS,
) -> dict[tuple[float, float], float]:
    """Return the mean log loss of quarters of the rows, by width and penalty, fitted to the others.

    Parameters
    ----------
    rows : array of shape (n, d)
        On a common scale.
    label, balance : arrays of shape (n,)
        0 or 1, and how much each row counts.
    widths, penalties : lists of float
    rng : Generator
    splits : int
        How many of the four quarters are held out in turn.
    """
    part = deal_folds(len(rows), _PARTS, rng, strata=label.astype(np.int64))
    plain = Scale(np.zeros(rows.shape[1]), np.ones(rows.shape[1]))
    losses = {(width, penalty): 0.0 for width in widths for penalty in penalties}
    for split in range(splits):
        out = part == split
        centres = rows[rng.permutation(np.flatnonzero(~out))[:100]]
        for width in widths:
            Z = KernelBasis(plain, centres, width).standardised(rows)
            coef = None
            for penalty in sorted(penalties, reverse=True):
                coef = ridge_logistic(
                    Z[~out],
                    label[~out],
                    sample_weight=balance[~out],
                    penalty=free_constant(Z.shape[1], penalty),
                    start=coef,
                    tolerance=1e-6,
                )
                f = Z[out] @ coef
                loss = np.average(np.logaddexp(0.0, f) - label[out] * f, weights=balance[out])
                losses[width, penalty] += float(loss) / splits
    return losses


def _n_centres(asked: int | None, rows: int) -> int:
    if asked is not None and asked < 1:
        raise InputError(f"n_centres is {asked}; at least one is needed.")
    wanted = min(300, max(100, int(np.sqrt(rows)))) if asked is None else asked
    return min(wanted, rows)
