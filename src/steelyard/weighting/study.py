"""One study of two samples: folds dealt once, and the log ratios that were learnt of them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics.checks import as_rows, as_weights
from steelyard.numerics.random import as_generator, deal_folds, draw_seed
from steelyard.numerics.weighted import log_mean_exp
from steelyard.weighting._choose import HeldOut, choose, race
from steelyard.weighting.ratios._basis import draw
from steelyard.weighting.ratios._models import Models
from steelyard.weighting.ratios._sample import Measured, Sample
from steelyard.weighting.ratios.learners import LEARNERS, Learner
from steelyard.weighting.select import most_shown

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# With fewer rows a side than these, splines, kernels and trees have nothing to go by.
_FEW_ROWS = 40
_FOR_FEW = ("linear", "quadratic")
# In a table of categories a Gaussian kernel counts in how many of them two rows differ, and there are
# hardly any products of numbers: additive models and trees say the same for a fraction of the time.
_OF_NUMBERS = ("kernel", "boosted quadratic")
_LEAST_NUMBERS = 0.25
# Of so many rows a side two kinds of trees, pooled, have half the squared error of the better one.
_MANY_ROWS = 20_000
# Trees cost the most, and those over the quadratic ratio differ little from the others.
_FAMILY = {"boosted quadratic": "boosted"}


Said = dict[int, FloatArray]
"""What models have said of the rows at hand already: several log ratios may rest on the same ones."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One learner's models, the columns that they read, where they are cut, and their share."""

    models: Models
    columns: IntArray | None
    cap: float
    share: float

    def each(self, X: FloatArray) -> FloatArray:
        return np.minimum(self.models.each(self._read(X)), self.cap)

    def own(self, X: FloatArray, fold: IntArray, known: Said | None = None) -> FloatArray:
        known = {} if known is None else known
        if id(self.models) not in known:
            known[id(self.models)] = self.models.own(self._read(X), fold)
        return np.minimum(known[id(self.models)], self.cap)

    def _read(self, X: FloatArray) -> FloatArray:
        return X if self.columns is None else X[:, self.columns]


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """The log ratios that one learner found, each row's by models that have not seen it.

    Attributes
    ----------
    source : array of shape (n,)
        Log ratios of the source rows; their (weighted) mean ratio is one.
    target : array of shape (m,)
        The same of the target rows.
    n_folds : int
    log_mass : float
        Log of the source's mean ratio before it was scaled to one.
    """

    source: FloatArray
    target: FloatArray
    n_folds: int
    log_mass: float
    part: _Part

    def by_fold(self, X: Any, fold: IntArray, *, known: Said | None = None) -> FloatArray:
        """Return log ratios of new rows, each by one fold's model (counted modulo their number).

        Ratios of one study that are asked for the same rows and folds share what is ``known``.
        """
        return self.part.own(as_rows(X), np.asarray(fold) % self.n_folds, known) - self.log_mass

    def mean(self, X: Any) -> FloatArray:
        """Return log ratios of new rows by the mean of all folds' models."""
        return np.asarray(self.part.each(as_rows(X)).mean(axis=1) - self.log_mass)


@dataclass(frozen=True, eq=False)
class ChosenRatio:
    """The log ratio that held-out rows find best.

    Attributes
    ----------
    source, target : arrays of shape (n,) and (m,)
        Log ratios, out of fold; the source's (weighted) mean ratio is one.
    chosen : str
        A candidate, ``"combined"`` or ``"constant"``.
    scores : dict of str to float
        `ratio_score` of each on rows that it has not seen. A candidate that was given up after
        the first fold has that of the best one, less what it lacked of it there.
    shares : dict of str to float
        The candidates' shares in the log ratio.
    caps : dict of str to float
        Where each was cut.
    constant : float
        What is added to the pool.
    log_mass : float
        Log of the source's mean ratio before it was scaled to one.
    n_folds : int
    """

    source: FloatArray
    target: FloatArray
    chosen: str
    scores: dict[str, float]
    shares: dict[str, float]
    caps: dict[str, float]
    constant: float
    log_mass: float
    n_folds: int
    parts: tuple[_Part, ...]
    bound: float

    def by_fold(self, X: Any, fold: IntArray, *, known: Said | None = None) -> FloatArray:
        """Return log ratios of new rows, each by one fold's models (counted modulo their number).

        Ratios of one study that are asked for the same rows and folds share what is ``known``.
        """
        rows, which = as_rows(X), np.asarray(fold) % self.n_folds
        return self._mixed([part.own(rows, which, known) for part in self.parts], len(rows))

    def mean(self, X: Any) -> FloatArray:
        """Return log ratios of new rows by the mean of all folds' models."""
        rows = as_rows(X)
        return self._mixed([part.each(rows).mean(axis=1) for part in self.parts], len(rows))

    def _mixed(self, said: list[FloatArray], n: int) -> FloatArray:
        out = np.full(n, self.constant)
        for f, part in zip(said, self.parts):
            out += part.share * f
        return np.asarray(np.minimum(out, self.bound) - self.log_mass)


class DomainStudy:
    """Two samples, dealt to folds once for both sides, and the cross-fitted log ratios learnt of them.

    Parameters
    ----------
    X : array of shape (n, d)
        Source rows; categories as codes 0 to 254, missing values as NaN.
    X_target : array of shape (m, d)
    categorical : boolean array of shape (d,), optional
        Which columns hold category codes; none by default.
    sample_weight : array of shape (n,), optional
        How often each source row counts.
    n_folds : int
        At most as many as a side has rows that count.
    max_rows : int, optional
        Rows a side that are fitted; all rows are scored.
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    fold, fold_target : arrays of shape (n,) and (m,)
        In which fold each row is held out.
    n_folds : int
    fits : int
        How many models have been fitted so far.

    Raises
    ------
    InputError
        A side has fewer than two rows that count.

    Notes
    -----
    What is learnt is kept: asking again costs nothing, and what one question needs of
    another (boosting over the quadratic log ratio, of this) is fitted once. Memory O((n + m) d)
    and, while it learns, O(max_rows k) for a few hundred features k.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> study = DomainStudy(rng.normal(size=(500, 2)), rng.normal(0.5, size=(400, 2)), random_state=0)
    >>> study.auto().chosen
    'linear'
    >>> fits = study.fits
    >>> study.learn("linear").target.shape, study.fits == fits
    ((400,), True)
    """

    def __init__(
        self,
        X: Any,
        X_target: Any,
        *,
        categorical: Any = None,
        sample_weight: Any = None,
        n_folds: int = 5,
        max_rows: int | None = 50_000,
        random_state: Any = None,
    ) -> None:
        self.X, self.X_target = as_rows(X), as_rows(X_target, name="X_target")
        n, m = len(self.X), len(self.X_target)
        self.sample_weight = as_weights(sample_weight, n)
        self.categorical = _mask(categorical, self.X.shape[1])
        self._counted = int(np.count_nonzero(self.sample_weight))
        self.n_folds = min(n_folds, self._counted, m)
        if self.n_folds < 2:
            raise InputError(
                f"X has {self._counted} sample(s) that count and X_target {m}: too few to hold rows out; "
                "at least 2 a side are needed."
            )
        rng = as_generator(random_state)
        # Rows that do not count are dealt apart, so that every fold has some that do.
        self.fold = deal_folds(n, self.n_folds, rng, strata=self.sample_weight > 0)
        self.fold_target = deal_folds(m, self.n_folds, rng)
        # Folds are numbered as the rows were dealt, so that any part of the rows has some of each.
        self._used = np.sort(draw(n, max_rows, rng, self.sample_weight))
        self._used_target = np.sort(draw(m, max_rows, rng))
        self._seed = draw_seed(rng)
        self._measured: dict[Any, Measured] = {}
        self._samples: dict[Any, Sample] = {}
        self._learners: dict[Any, Learner] = {}
        self._learnt: dict[Any, CrossFitted] = {}
        self._chosen: dict[Any, ChosenRatio] = {}

    @property
    def fits(self) -> int:
        """How many models have been fitted so far."""
        # Two names may stand for one learner.
        return sum(learner.fits for learner in {id(one): one for one in self._learners.values()}.values())

    def learn(self, name: str, *, columns: Sequence[int] | None = None, weights: Any = None) -> CrossFitted:
        """Return a candidate's log ratios, fitted to all folds.

        Parameters
        ----------
        name : str
            "linear", "quadratic", "additive", "kernel", "boosted" or "boosted quadratic".
        columns : sequence of int, optional
            Columns that are read; all by default.
        weights : array of shape (n,), optional
            Further weights of the source rows, times the study's own.

        Raises
        ------
        InputError
            The name is unknown, or the weights leave a fold without source rows.
        """
        _check_names([name])
        key = self._key(name, columns, weights)
        found = self._learn(key, weights)
        self._rest()
        return found

    def auto(self, candidates: Sequence[str] | None = None) -> ChosenRatio:
        """Return the log ratio that held-out rows find best; see `AutoRatio`.

        All candidates are fitted to one fold; those that its rows find best, or that add to
        these, at most three, to the others.

        Parameters
        ----------
        candidates : sequence of str, optional
            All by default; without kernels and trees over products where fewer than a quarter of
            the columns are numbers.
        """
        names = self._names(candidates)
        key = tuple(names)
        if key not in self._chosen:
            self._chosen[key] = self._choose(names)
            self._rest()
        return self._chosen[key]

    def leading(self) -> str:
        """Return the candidate that has the largest share in the best log ratio, if that was asked for."""
        chosen = next(iter(self._chosen.values()), None)
        if chosen is None or not chosen.shares:
            return "additive"
        return max(chosen.shares, key=lambda name: chosen.shares[name])

    def _names(self, candidates: Sequence[str] | None) -> list[str]:
        if candidates is None:
            few = min(self._counted, len(self.X_target)) < _FEW_ROWS
            names = list(_FOR_FEW if few else LEARNERS)
            numbers = int((~self.categorical).sum())
            if not few and numbers < _LEAST_NUMBERS * len(self.categorical):
                names = [name for name in names if name not in _OF_NUMBERS]
        else:
            _check_names(candidates)
            names = [name for name in LEARNERS if name in candidates]
        return names

    def _choose(self, names: list[str]) -> ChosenRatio:
        keys = [self._key(name, None, None) for name in names]
        first = self._first(keys)
        many = min(len(self._used), len(self._used_target)) >= _MANY_ROWS
        kept = race(first, names if many else [_FAMILY.get(name, name) for name in names])
        cut, early_caps = first.capped()
        scores, caps = dict(zip(names, cut.scores().tolist())), dict(zip(names, early_caps.tolist()))

        kept_names = [names[j] for j in kept]
        learnt = [self._learn(keys[j], None) for j in kept]
        said = HeldOut(
            np.column_stack([f.source + f.log_mass for f in learnt]),
            np.column_stack([f.target + f.log_mass for f in learnt]),
            self.sample_weight,
        )
        cut, found = said.capped()
        choice = choose(kept_names, cut, self.fold, self.fold_target)
        caps |= dict(zip(kept_names, found.tolist())) | {"combined": choice.cap}
        bound = choice.cap if choice.chosen == "combined" else np.inf
        mixed = cut.mixed(choice.shares)
        source, target = np.minimum(mixed.source[:, 0], bound), np.minimum(mixed.target[:, 0], bound)
        mass = log_mean_exp(source, sample_weight=self.sample_weight)
        used = [j for j in range(len(kept)) if choice.shares[j] > 0]
        return ChosenRatio(
            source - mass,
            target - mass,
            choice.chosen,
            _all_scores(names, scores, choice.scores),
            {kept_names[j]: float(choice.shares[j]) for j in used},
            caps,
            float(choice.shares[-1]),
            mass,
            self.n_folds,
            tuple(_Part(learnt[j].part.models, None, float(found[j]), float(choice.shares[j])) for j in used),
            float(bound),
        )

    def _first(self, keys: list[Any]) -> HeldOut:
        """Return what all candidates say of the first fold's rows, of those that are fitted."""
        said = [self._learner(key, None).fit(0) for key in keys]
        sample = self._sample(keys[0], None)
        held = np.flatnonzero(sample.fold == 0)
        source = sample.domain[held] == 0
        rows = np.column_stack(said)
        return HeldOut(rows[source], rows[~source], sample.weight[held][source])

    def _learn(self, key: Any, weights: Any) -> CrossFitted:
        if key not in self._learnt:
            self._learnt[key] = self._cross_fit(key, weights)
        return self._learnt[key]

    def _cross_fit(self, key: Any, weights: Any) -> CrossFitted:
        learner, sample = self._learner(key, weights), self._sample(key, weights)
        used = np.empty(len(sample.fold))
        for k in range(self.n_folds):
            used[sample.fold == k] = learner.fit(k)
        models = learner.models()
        columns = None if key[1] is None else np.asarray(key[1], dtype=np.int64)
        part = _Part(models, columns, np.inf, 1.0)
        n_used = len(self._used)
        source = _filled(used[:n_used], self._used, part, self.X, self.fold)
        target = _filled(used[n_used:], self._used_target, part, self.X_target, self.fold_target)
        weight = self.sample_weight if weights is None else self.sample_weight * weights
        cap = most_shown(source, target, sample_weight=weight)
        source, target = np.minimum(source, cap), np.minimum(target, cap)
        mass = log_mean_exp(source, sample_weight=weight)
        return CrossFitted(source - mass, target - mass, self.n_folds, mass, _Part(models, columns, cap, 1.0))

    def _learner(self, key: Any, weights: Any) -> Learner:
        if key not in self._learners:
            name, columns, digest = key
            # Of the name and the columns, so that what is learnt does not depend on what was asked before.
            rng = np.random.default_rng([self._seed, zlib.crc32(repr((name, columns)).encode())])
            self._learners[key] = LEARNERS[name](
                self._sample(key, weights),
                rng,
                lambda other: self._learner((other, columns, digest), weights),
            )
        return self._learners[key]

    def _sample(self, key: Any, weights: Any) -> Sample:
        _, columns, digest = key
        if (columns, digest) not in self._samples:
            rows = self._rows(columns)
            weight = self.sample_weight[self._used]
            if weights is not None:
                weight = weight * weights[self._used]
            fold = np.concatenate([self.fold[self._used], self.fold_target[self._used_target]])
            self._samples[columns, digest] = Sample(
                rows, np.concatenate([weight, np.ones(len(self._used_target))]), fold, self.n_folds
            )
        return self._samples[columns, digest]

    def _rows(self, columns: tuple[int, ...] | None) -> Measured:
        if columns not in self._measured:
            which = slice(None) if columns is None else list(columns)
            X = np.vstack([self.X[self._used], self.X_target[self._used_target]])[:, which]
            domain = np.repeat([0, 1], [len(self._used), len(self._used_target)])
            weight = np.concatenate([self.sample_weight[self._used], np.ones(len(self._used_target))])
            self._measured[columns] = Measured(X, domain, weight, self.categorical[which])
        return self._measured[columns]

    def _key(self, name: str, columns: Sequence[int] | None, weights: Any) -> tuple[Any, ...]:
        digest = None
        if weights is not None:
            checked = as_weights(weights, len(self.X)) * self.sample_weight
            if any(not checked[self.fold != k].any() for k in range(self.n_folds)):
                raise InputError("weights leave some fold's model without source rows that count.")
            digest = hashlib.sha256(checked.tobytes()).hexdigest()
        return name, None if columns is None else tuple(int(j) for j in columns), digest

    def _rest(self) -> None:
        """Let go of features and second derivatives, which can be computed again."""
        for learner in self._learners.values():
            learner.rest()
        for rows in self._measured.values():
            rows.forget()


def _filled(said: FloatArray, used: IntArray, part: _Part, X: FloatArray, fold: IntArray) -> FloatArray:
    """Return log ratios of all rows: those of the rows that were fitted are known, the others are scored."""
    out = np.empty(len(X))
    out[used] = said
    others = np.ones(len(X), dtype=bool)
    others[used] = False
    if others.any():
        out[others] = part.own(X[others], fold[others])
    return out


def _all_scores(names: Sequence[str], first: dict[str, float], final: dict[str, float]) -> dict[str, float]:
    """Return every candidate's score; of those given up, the best one's less what they lacked at first."""
    kept = max((name for name in names if name in final), key=lambda name: first[name])
    lacking = {name: final[kept] - (first[kept] - first[name]) for name in names}
    together = {name: final[name] for name in ("combined",) if name in final}
    return {"constant": final["constant"]} | {n: final.get(n, lacking[n]) for n in names} | together


def _check_names(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in LEARNERS]
    if unknown or not names:
        raise InputError(f"candidates are {list(names)}; choose some of {', '.join(LEARNERS)}.")


def _mask(categorical: Any, d: int) -> BoolArray:
    if categorical is None:
        return np.zeros(d, dtype=bool)
    mask = np.asarray(categorical)
    if mask.dtype != bool or mask.shape != (d,):
        raise InputError(
            f"categorical_features has dtype {mask.dtype} and shape {mask.shape}; "
            f"pass {d} booleans, one a column."
        )
    return mask
