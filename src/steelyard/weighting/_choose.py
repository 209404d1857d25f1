"""Choosing among cross-fitted log ratios, and pooling them, by rows that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from steelyard.weighting.select import best_cap, ratio_score, score_difference, weights_score

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_MOST_KEPT = 3
_CLOSE = 2.0
# In log likelihoods: half of what a share that is worth nothing gains by chance once in six times.
_WORTH = 1.0
_NOTHING = 0.5


def pool(log_ratios: FloatArray, log_ratios_target: FloatArray, *, sample_weight: Any = None) -> FloatArray:
    """Return the shares of several log ratios in the one that explains held-out rows best.

    Parameters
    ----------
    log_ratios : array of shape (n, k)
        Of source rows that the ratios were not fitted to.
    log_ratios_target : array of shape (m, k)
    sample_weight : array of shape (n,), optional

    Returns
    -------
    array of shape (k + 1,)
        Shares, none of them negative, and a constant to add.

    Notes
    -----
    A logistic regression with source and target weighted alike; time O((n + m) k)
    a step.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, x_target = rng.normal(size=4000), rng.normal(1.0, size=4000)
    >>> useful = np.stack([x, 0 * x], axis=1), np.stack([x_target, 0 * x_target], axis=1)
    >>> bool(abs(pool(*useful)[0] - 1.0) < 0.1)
    True
    """
    n, m, k = len(log_ratios), len(log_ratios_target), log_ratios.shape[1]
    w = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    weight = 0.5 * np.concatenate([w / w.sum(), np.full(m, 1.0 / m)])
    rows, domain = np.vstack([log_ratios, log_ratios_target]), np.repeat([0.0, 1.0], [n, m])

    def loss(shares: FloatArray) -> tuple[float, FloatArray]:
        f = rows @ shares[:-1] + shares[-1]
        off = weight * (expit(f) - domain)
        return float(weight @ (np.logaddexp(0.0, f) - domain * f)), np.append(rows.T @ off, off.sum())

    start = np.append(np.full(k, 1.0 / k), 0.0)
    bounds = [(0.0, None)] * k + [(None, None)]
    return np.asarray(minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Log ratios of held-out rows by k candidates, the source's (n, k) and the target's (m, k)."""

    source: FloatArray
    target: FloatArray
    weight: FloatArray

    def capped(self) -> tuple[HeldOut, FloatArray]:
        """Return these cut where larger ones only add error, and where each was cut."""
        caps = np.array(
            [best_cap(s, t, sample_weight=self.weight) for s, t in zip(self.source.T, self.target.T)]
        )
        cut = HeldOut(np.minimum(self.source, caps), np.minimum(self.target, caps), self.weight)
        return cut, caps

    def of(self, which: list[int]) -> HeldOut:
        """Return those of some candidates."""
        return HeldOut(self.source[:, which], self.target[:, which], self.weight)

    def rows(self, source: BoolArray, target: BoolArray) -> HeldOut:
        """Return those of some rows."""
        return HeldOut(self.source[source], self.target[target], self.weight[source])

    def scores(self) -> FloatArray:
        """Return each candidate's score, (k,)."""
        return np.array(
            [ratio_score(s, t, sample_weight=self.weight) for s, t in zip(self.source.T, self.target.T)]
        )

    def behind(self, j: int, i: int) -> float:
        """Return by how many standard errors candidate i's score is below candidate j's.

        Two fits of one model differ by rounding, and always in one direction: a standard error is
        taken to be at least a half in the rows' log likelihood.
        """
        gap, error = score_difference(
            self.source[:, j],
            self.target[:, j],
            self.source[:, i],
            self.target[:, i],
            sample_weight=self.weight,
        )
        return gap / max(error, _NOTHING / self.size())

    def size(self) -> float:
        """Return the number of rows that two samples of equal size would need to know as much."""
        return float(4.0 / (1.0 / self.weight.sum() + 1.0 / len(self.target)))

    def pooled(self) -> FloatArray:
        """Return the shares of the candidates, the constant last."""
        return pool(self.source, self.target, sample_weight=self.weight)

    def mixed(self, shares: FloatArray) -> HeldOut:
        """Return the single log ratio that has these shares."""
        s, t = (f @ shares[:-1] + shares[-1] for f in (self.source, self.target))
        return HeldOut(s[:, None], t[:, None], self.weight)


def race(first: HeldOut, families: Sequence[str]) -> list[int]:
    """Return the candidates, at most three, that are worth fitting to the other folds.

    They are the best by the first fold's rows, the simplest that is within two standard
    errors of it (one fold says less than all, which choose by one), and those that a pool with
    them gains by, but for the second of a family.

    Parameters
    ----------
    first : HeldOut
        Log ratios of the first fold's rows, from the simplest candidate to the most flexible.
    families : sequence of str
        Candidates of one family are much alike.
    """
    cut, _ = first.capped()
    scores = cut.scores()
    best = int(np.argmax(scores))
    simple = next(j for j in range(len(scores)) if j == best or cut.behind(best, j) <= _CLOSE)
    kept = [simple] if simple == best else [simple, best]
    rows = cut.size()
    reached = _pooled_score(cut, kept)
    while len(kept) < min(_MOST_KEPT, len(scores)):
        taken = {families[j] for j in kept}
        others = [j for j in range(len(scores)) if families[j] not in taken]
        more = {j: _pooled_score(cut, [*kept, j]) for j in others}
        if not more:
            break
        j = max(more, key=lambda j: more[j])
        if (more[j] - reached) * rows < _WORTH:
            break
        kept, reached = [*kept, j], more[j]
    return sorted(kept)


def _pooled_score(cut: HeldOut, which: list[int]) -> float:
    part = cut.of(which)
    return float(part.mixed(part.pooled()).scores()[0])


@dataclass(frozen=True, eq=False)
class Choice:
    """What held-out rows chose: a name, the candidates' shares with the constant last, and the pool's cap."""

    chosen: str
    scores: dict[str, float]
    shares: FloatArray
    cap: float


def choose(names: list[str], said: HeldOut, fold: IntArray, fold_target: IntArray) -> Choice:
    """Return the simplest of what is within a standard error of the best, constant weights included.

    What does not lower the weights' squared error below that of constant weights does not stand for
    choice, whatever it tells of the rows' sides: a few far too large weights cost it nothing.

    Parameters
    ----------
    names : list of str
        From the simplest.
    said : HeldOut
        Capped log ratios by each.
    fold, fold_target : arrays of shape (n,) and (m,)
    """
    n, m, k = len(said.source), len(said.target), len(names)
    zero = HeldOut(np.zeros((n, 1)), np.zeros((m, 1)), said.weight)
    options: dict[str, HeldOut] = {"constant": zero} | {name: said.of([j]) for j, name in enumerate(names)}
    cap = np.inf
    if k > 1:
        together = HeldOut(np.empty((n, 1)), np.empty((m, 1)), said.weight)
        for held in np.unique(fold):
            out, out_target = fold == held, fold_target == held
            mixed = said.mixed(said.rows(~out, ~out_target).pooled())
            together.source[out], together.target[out_target] = mixed.source[out], mixed.target[out_target]
        options["combined"], caps = together.capped()
        cap = float(caps[0])
    scores = {name: float(option.scores()[0]) for name, option in options.items()}
    standing = [name for name, option in options.items() if name == "constant" or _lowers_error(option)]
    best = max(standing, key=lambda name: scores[name])
    chosen = next(name for name in standing if name == best or _behind(options[best], options[name]) <= 1.0)
    if chosen == "constant":
        shares = np.zeros(k + 1)
    elif chosen == "combined":
        shares = said.pooled()
    else:
        shares = np.append(np.eye(k)[names.index(chosen)], 0.0)
    return Choice(chosen, scores, shares, cap)


def _lowers_error(option: HeldOut) -> bool:
    return weights_score(option.source[:, 0], option.target[:, 0], sample_weight=option.weight) > 0


def _behind(best: HeldOut, other: HeldOut) -> float:
    both = HeldOut(
        np.hstack([best.source, other.source]), np.hstack([best.target, other.target]), best.weight
    )
    return both.behind(0, 1)
