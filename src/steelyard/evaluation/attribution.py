"""Why did a metric change: the share of each shifted mechanism (catalogue 160).

A coalition of mechanisms has the value that the mean loss takes when those
mechanisms alone move from source to target, estimated on source rows with
density-ratio weights. Shapley values divide the whole change among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from steelyard.errors import InputError
from steelyard.evaluation.grouping import Columns, group_features
from steelyard.explain.shapley import shapley_coefficients
from steelyard.numerics.checks import as_rows, as_vector, as_weights, check_level
from steelyard.numerics.design import additive_design
from steelyard.numerics.random import as_generator, deal_folds, draw_seed
from steelyard.numerics.weighted import effective_sample_size

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_MOST_PLAYERS = 10
_BOOSTED_ROWS = 2_000


class Ratio(Protocol):
    """What a density-ratio estimator has to offer here; every ``RatioEstimator`` does."""

    def fit(self, X: Any, y: Any = None, *, X_target: Any, sample_weight: Any = None) -> Any: ...  # noqa: D102

    def log_ratio(self, X: Any) -> FloatArray: ...  # noqa: D102


RatioFactory = Callable[[BoolArray, int], Ratio]
"""Takes which columns are categorical, and a seed; returns an unfitted estimator."""


@dataclass(frozen=True)
class Mechanism:
    """The law of some columns given others, as one thing that may change between source and target.

    ``columns`` and ``given`` are column numbers; nothing given is a marginal law.
    The label is a column like any other.
    """

    name: str
    columns: Columns
    given: Columns = ()


@dataclass(frozen=True)
class ChangePart:
    """One mechanism's share of the change, with its interval."""

    name: str
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class ChangeAttribution:
    """A change of the mean loss, divided among mechanisms.

    ``source`` is the mean loss of the source, ``moved`` what it becomes when all
    mechanisms move; the parts add up to ``moved - source``, and ``unexplained``
    is what ``total`` has beyond them (None where no total is known).
    ``effective_rows`` is the smallest effective sample size of any coalition's
    weights.
    """

    source: float
    moved: float
    total: float | None
    parts: tuple[ChangePart, ...]
    unexplained: float | None
    effective_rows: float
    alpha: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain lists, dicts and numbers."""
        out = asdict(self)
        out["parts"] = [asdict(part) for part in self.parts]
        return out


def attribute_change(
    loss: Any,
    X: Any,
    X_target: Any,
    *,
    mechanisms: Sequence[Mechanism] | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    total: float | None = None,
    categorical: Any = None,
    sample_weight: Any = None,
    ratio: RatioFactory | None = None,
    max_rows: int = 20_000,
    repeats: int = 2,
    alpha: float = 0.05,
    random_state: Any = None,
) -> ChangeAttribution:
    """Divide the change of a mean loss between source and target among shifted mechanisms.

    Parameters
    ----------
    loss : array of shape (n,)
        Loss of each source row, or any quantity whose mean is the metric; for a
        metric that is not a mean, its influence value for each row.
    X, X_target : arrays of shape (n, d) and (m, d)
        The variables: features, and the label as a further column if its
        mechanism is a player. NaN where missing.
    mechanisms : sequence of Mechanism, optional
        The mechanisms of a causal graph that may have changed. A coalition's
        weight is the product of their ratios, each p(D | columns, given) over
        p(D | given) as odds.
    groups : mapping of name to column numbers, optional
        Without a graph: groups of columns. A coalition's weight is the ratio of
        the joint law of its columns. By default :func:`group_features` of ``X``
        forms up to four, named by their column numbers.
    total : float, optional
        The whole change where it is known or estimated by other means; what the
        parts leave of it is ``unexplained``: changes of the label given the
        columns, and bias of the weights.
    categorical : boolean array of shape (d,), optional
        Which columns hold category codes.
    sample_weight : array of shape (n,), optional
    ratio : callable, optional
        ``ratio(categorical, seed)`` returns an unfitted ratio estimator for the
        columns that ``categorical`` describes. By default the log odds of a
        boosted classifier, or of an additive logistic one below 2,000 rows.
    max_rows : int
        Each model is fitted on at most half as many rows a side, and twice as many
        are weighed; more are sampled.
    repeats : int
        Independent deals into two halves, averaged.
    alpha : float
        One minus the level of the intervals.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    ChangeAttribution

    Raises
    ------
    InputError
        If names, columns or shapes do not fit, or there are more than ten players.

    Notes
    -----
    Rows are dealt into two halves; each half is weighed by classifiers that were
    fitted on the other. A coalition's self-normalised weighted mean is corrected
    for the first-order error of its ratios by a model of the loss given their
    columns (for groups this is the doubly robust estimate), which the paper does
    not do. Intervals come from the influence of source and target rows on the
    corrected means, combined linearly over coalitions by the Shapley
    coefficients, and from the spread over repeats. Without the correction the
    intervals of mechanisms that did not move would be far too short.

    Cost, ``2 * repeats`` times: a classifier for each set of columns that
    occurs, at most 2^G - 1 for G groups and two for each mechanism, and a
    regression for each ratio in each coalition.

    Source: "Why did the Model Fail?": Attributing Model Performance Changes to
    Distribution Shifts (catalogue 160). The paper takes mechanisms from a causal
    graph; groups of columns are the case in which nothing is known of one.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2)) + [1.0, 0.0]
    >>> result = attribute_change(X.sum(axis=1), X, X_target, groups={"a": [0], "b": [1]}, random_state=0)
    >>> [(part.name, abs(round(part.change))) for part in result.parts]
    [('a', 1), ('b', 0)]
    """
    check_level(alpha)
    rows, target = as_rows(X), as_rows(X_target, name="X_target")
    n, d = rows.shape
    if target.shape[1] != d:
        raise InputError(f"X has {d} columns and X_target {target.shape[1]}; both need the same columns.")
    values = as_vector(loss, n=n, name="loss")
    weight = as_weights(sample_weight, n)
    mask = np.zeros(d, dtype=bool) if categorical is None else np.asarray(categorical, dtype=bool)
    if mask.shape != (d,):
        raise InputError(f"categorical has shape {mask.shape}; pass one truth value for each of {d} columns.")
    if repeats < 1:
        raise InputError(f"repeats is {repeats}; at least one is needed.")
    if min(n, target.shape[0]) < 4:
        raise InputError(f"{n} source and {target.shape[0]} target rows are too few; at least 4 each.")
    if mechanisms is not None and groups is not None:
        raise InputError("both mechanisms and groups are given; pass one of them.")
    if mechanisms is None and groups is None:
        found = group_features(rows, categorical=mask, max_groups=4)
        groups = {", ".join(map(str, columns)): columns for columns in found}
    names, coalitions = _players(mechanisms, groups, d)

    rng = as_generator(random_state)
    kept, kept_target = _sample(n, 2 * max_rows, rng), _sample(target.shape[0], 2 * max_rows, rng)
    game = _Game(
        coalitions,
        mask,
        ratio or _ClassifierOdds,
        rows[kept],
        values[kept],
        weight[kept],
        target[kept_target],
    )
    coefficients = shapley_coefficients(len(names))
    source = float(np.average(values[kept], weights=weight[kept]))
    estimates, effective = [], np.inf
    influence, influence_target = np.zeros((len(names), len(kept))), np.zeros((len(names), len(kept_target)))
    for _ in range(repeats):
        fold, fold_target = deal_folds(len(kept), 2, rng), deal_folds(len(kept_target), 2, rng)
        change = np.zeros(len(names))
        for half in range(2):
            here, here_target = np.flatnonzero(fold == half), np.flatnonzero(fold_target == half)
            there, there_target = np.flatnonzero(fold != half), np.flatnonzero(fold_target != half)
            train = there[_sample(len(there), max_rows // 2, rng)]
            train_target = there_target[_sample(len(there_target), max_rows // 2, rng)]
            value, moves, moves_target, rows_left = game.values(train, train_target, here, here_target, rng)
            change += coefficients @ value / 2
            # Halves and repeats are averaged, and so is what a row adds to them.
            influence[:, here] += coefficients @ moves / (2 * repeats)
            influence_target[:, here_target] += coefficients @ moves_target / (2 * repeats)
            effective = min(effective, rows_left)
        estimates.append(change)
    change = np.mean(estimates, axis=0)
    counted = game.weight > 0
    variance = np.sum(influence[:, counted] ** 2 / game.weight[counted], axis=1)
    variance += np.sum(influence_target**2, axis=1)
    if repeats > 1:
        variance += np.var(estimates, axis=0, ddof=1) / repeats
    reach = float(norm.ppf(1 - alpha / 2)) * np.sqrt(variance)
    parts = tuple(
        ChangePart(name, float(c), float(c - r), float(c + r)) for name, c, r in zip(names, change, reach)
    )
    return ChangeAttribution(
        source,
        source + float(change.sum()),
        None if total is None else float(total),
        parts,
        None if total is None else float(total - change.sum()),
        float(effective),
        alpha,
    )


class _ClassifierOdds:
    """Log odds of target against source from one classifier, as a log ratio up to a constant."""

    def __init__(self, categorical: BoolArray, seed: int) -> None:
        self.categorical = categorical
        self.seed = seed

    def fit(self, X: Any, y: Any = None, *, X_target: Any, sample_weight: Any = None) -> _ClassifierOdds:
        n, m = X.shape[0], X_target.shape[0]
        # Unequal sizes shift the log odds by a constant, which self-normalised weights do not feel.
        weight = None
        if sample_weight is not None and _vary(sample_weight):
            weight = np.concatenate([sample_weight / sample_weight.mean(), np.ones(m)])
        self.model: Any
        if min(n, m) < _BOOSTED_ROWS:
            self.model = make_pipeline(
                additive_design(self.categorical, n_knots=4), LogisticRegression(max_iter=300)
            )
            options: dict[str, Any] = {"logisticregression__sample_weight": weight}
        else:
            self.model = HistGradientBoostingClassifier(**_boosting(self.categorical, self.seed))
            options = {"sample_weight": weight}
        self.model.fit(np.vstack([X, X_target]), np.repeat([0, 1], [n, m]), **options)
        return self

    def log_ratio(self, X: Any) -> FloatArray:
        return np.asarray(self.model.decision_function(X), dtype=np.float64)


Coalition = Mapping[Columns, int]
"""The sets of columns whose joint log ratios make up a coalition's log weight, with their signs."""


def _players(
    mechanisms: Sequence[Mechanism] | None, groups: Mapping[str, Sequence[int]] | None, d: int
) -> tuple[list[str], list[Coalition]]:
    """Return the players' names, and for each coalition by bitmask what its log weight is made of."""
    if mechanisms is not None:
        players = [(m.name, tuple(m.columns), tuple(m.given)) for m in mechanisms]
    else:
        players = [(name, tuple(columns), ()) for name, columns in (groups or {}).items()]
    names = [name for name, _, _ in players]
    faults = []
    if not 1 <= len(players) <= _MOST_PLAYERS:
        faults.append(
            f"there are {len(players)} players; pass 1 to {_MOST_PLAYERS}, merging some if need be."
        )
    if len(set(names)) < len(names):
        faults.append("two players share a name; names must differ.")
    moved = [c for _, columns, _ in players for c in columns]
    for name, columns, given in players:
        if not columns or not all(0 <= c < d for c in (*columns, *given)):
            faults.append(f"{name!r} has columns {columns} given {given}; use numbers from 0 to {d - 1}.")
        if set(columns) & set(given):
            faults.append(f"{name!r} has a column among both its columns and what is given.")
    if len(set(moved)) < len(moved):
        faults.append("a column belongs to two players; each column moves with one of them.")
    if faults:
        raise InputError(faults)
    coalitions: list[Coalition] = []
    for mask in range(2 ** len(players)):
        members = [player for g, player in enumerate(players) if mask >> g & 1]
        terms: dict[Columns, int] = {}
        if mechanisms is None:
            joint = tuple(sorted(c for _, columns, _ in members for c in columns))
            terms[joint] = 1
        else:
            for _, columns, given in members:
                for part, sign in ((tuple(sorted((*columns, *given))), 1), (tuple(sorted(given)), -1)):
                    terms[part] = terms.get(part, 0) + sign
        coalitions.append({part: sign for part, sign in terms.items() if part and sign})
    return names, coalitions


@dataclass(frozen=True)
class _Game:
    """The values of all coalitions on one half of the rows, the other half having trained the models."""

    coalitions: Sequence[Coalition]
    categorical: BoolArray
    factory: RatioFactory
    X: FloatArray
    loss: FloatArray
    weight: FloatArray
    X_target: FloatArray

    def values(
        self,
        train: IntArray,
        train_target: IntArray,
        here: IntArray,
        here_target: IntArray,
        rng: np.random.Generator,
    ) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Return changes of the mean loss, the influence of source and target rows, fewest effective rows.

        The weighted mean is moved by the error of each log ratio in it. To
        first order that error is what target rows and weighted source rows
        disagree on about ``h``, the conditional mean of the weighted, centred
        loss given the ratio's columns; so the disagreement is added back, and
        the influence of the rows includes it.
        """
        log_train: dict[Columns, FloatArray] = {}
        log_here: dict[Columns, FloatArray] = {}
        products = any(len(terms) > 1 for terms in self.coalitions)
        # In a fixed order, so that a seed means the same whichever coalitions share a set.
        for part in sorted({part for terms in self.coalitions for part in terms}):
            columns = list(part)
            model = self.factory(self.categorical[columns], draw_seed(rng))
            model.fit(
                self.X[train[:, None], columns],
                X_target=self.X_target[train_target[:, None], columns],
                sample_weight=self.weight[train],
            )
            if products:
                log_train[part] = model.log_ratio(self.X[train[:, None], columns])
            log_here[part] = model.log_ratio(self.X[here[:, None], columns])
        loss, base = self.loss[here], self.weight[here]
        value = np.empty(len(self.coalitions))
        moves = np.empty((len(self.coalitions), len(here)))
        moves_target = np.zeros((len(self.coalitions), len(here_target)))
        fewest = np.inf
        for k, terms in enumerate(self.coalitions):
            w = _share(
                base, sum((sign * log_here[part] for part, sign in terms.items()), np.zeros(len(here)))
            )
            fewest = min(fewest, effective_sample_size(w))
            value[k] = w @ loss
            moves[k] = w * (loss - value[k])
            for part, sign in terms.items():
                predict = self._conditional_mean(part, terms, log_train, train, draw_seed(rng))
                columns = list(part)
                h = predict(self.X[here[:, None], columns])
                h_target = predict(self.X_target[here_target[:, None], columns])
                w_part = _share(base, log_here[part])
                value[k] += sign * (h_target.mean() - w_part @ h)
                moves[k] -= sign * w_part * (h - w_part @ h)
                moves_target[k] += sign * (h_target - h_target.mean()) / len(here_target)
        return value - value[0], moves - moves[0], moves_target, fewest

    def _conditional_mean(
        self,
        part: Columns,
        terms: Coalition,
        log_train: Mapping[Columns, FloatArray],
        train: IntArray,
        seed: int,
    ) -> Callable[[FloatArray], FloatArray]:
        """Return a model, given the columns of ``part``, of the loss as the coalition weighs it further."""
        loss, base = self.loss[train], self.weight[train]
        outcome = loss - np.average(loss, weights=base)
        if set(terms) != {part}:
            zero = np.zeros(len(train))
            w = _share(base, sum((sign * log_train[p] for p, sign in terms.items()), zero))
            w_part = _share(base, log_train[part])
            with np.errstate(divide="ignore", invalid="ignore"):
                beyond = np.where(base > 0, w / w_part, 0.0)
            outcome = beyond * (loss - w @ loss)
        columns = list(part)
        model: Any
        if len(train) < _BOOSTED_ROWS:
            model = make_pipeline(additive_design(self.categorical[columns], n_knots=4), Ridge(alpha=1.0))
            options: dict[str, Any] = {"ridge__sample_weight": base}
        else:
            model = HistGradientBoostingRegressor(**_boosting(self.categorical[columns], seed))
            options = {"sample_weight": base if _vary(base) else None}
        model.fit(self.X[train[:, None], columns], outcome, **options)
        return lambda rows: np.asarray(model.predict(rows), dtype=np.float64)


def _boosting(categorical: BoolArray, seed: int) -> dict[str, Any]:
    return {
        "max_iter": 25,
        "learning_rate": 0.2,
        "max_leaf_nodes": 12,
        "min_samples_leaf": 40,
        "early_stopping": False,
        "categorical_features": categorical if categorical.any() else None,
        "random_state": seed,
    }


def _vary(weight: FloatArray) -> bool:
    """Whether weights differ: boosting bins its columns far more slowly if it is given any."""
    return bool(np.any(weight != weight[0]))


def _share(weight: FloatArray, log_ratio: FloatArray) -> FloatArray:
    """Return weights times ratios, summing to one."""
    w = weight * np.exp(log_ratio - log_ratio.max())
    return np.asarray(w / w.sum())


def _sample(n: int, most: int, rng: np.random.Generator) -> IntArray:
    """Return the numbers of at most ``most`` of ``n`` rows, sorted."""
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, size=most, replace=False))
