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
from scipy.special import logsumexp
from scipy.stats import norm

from steelyard.errors import InputError
from steelyard.evaluation.coalitions import SharedModels
from steelyard.evaluation.grouping import Columns, group_features
from steelyard.explain.shapley import shapley_coefficients
from steelyard.numerics.checks import as_row_counts, as_rows, as_vector, check_level
from steelyard.numerics.random import as_generator, deal_folds, draw_seed
from steelyard.numerics.weighted import effective_sample_size

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_MOST_PLAYERS = 10


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
    max_rows: int = 40_000,
    n_folds: int = 5,
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
        Whole numbers are counts of rows; of others only the ratios matter.
    ratio : callable, optional
        ``ratio(categorical, seed)`` returns an unfitted ratio estimator for the
        columns that ``categorical`` describes. By default the log odds of logistic
        regressions that share one design; see Notes.
    max_rows : int
        The most rows of each sample that are used; of more, so many are drawn.
    n_folds : int
        Each row is judged by models of the other folds.
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
    Rows are dealt into folds; each is weighed by models that were fitted on the
    others. A coalition's self-normalised weighted mean is corrected for the
    first-order error of its ratios by a model of the loss given their columns (for
    groups this is the doubly robust estimate), which the paper does not do.
    Intervals come from the influence of source and target rows on the corrected
    means, combined linearly over coalitions by the Shapley coefficients. Without
    the correction the intervals of mechanisms that did not move would be far too
    short. They take ``loss`` as given: that influence values of a metric are
    themselves estimated from the source rows is not in them.

    All log odds and all models of the loss are penalised linear ones in one design:
    splines of numbers, indicators of categories and of missing values, and products
    for the pairs of columns that additive models of all columns miss most, and for
    what third columns add to those. A model of some columns takes the features that
    are made of them alone. What these features cannot say biases a part where both
    the ratio and the loss have it; a mechanism whose law given many others moves in
    small corners only is better served by a ``ratio`` of your own.

    Cost: O(n p^2) once for p features of n rows of both samples, and O(n p) steps
    for each fold and each set of columns that occurs, at most 2^G - 1 for G groups
    and two for each mechanism. With a ``ratio``, ``n_folds`` fits for each set.

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
    weight = as_row_counts(sample_weight, n)
    mask = np.zeros(d, dtype=bool) if categorical is None else np.asarray(categorical, dtype=bool)
    if mask.shape != (d,):
        raise InputError(f"categorical has shape {mask.shape}; pass one truth value for each of {d} columns.")
    if n_folds < 2:
        raise InputError(f"n_folds is {n_folds}; at least two are needed.")
    if min(np.count_nonzero(weight), target.shape[0]) < 4:
        raise InputError(
            f"{n} source and {target.shape[0]} target rows are too few; at least 4 each that count."
        )
    if mechanisms is not None and groups is not None:
        raise InputError("both mechanisms and groups are given; pass one of them.")
    counted = np.flatnonzero(weight > 0)
    rows, values, weight = rows[counted], values[counted], weight[counted]
    if mechanisms is None and groups is None:
        found = group_features(rows, categorical=mask, max_groups=4)
        groups = {", ".join(map(str, columns)): columns for columns in found}
    names, coalitions = _players(mechanisms, groups, d)

    rng = as_generator(random_state)
    kept = _sample(len(rows), max_rows, rng)
    rows, values, weight = rows[kept], values[kept], weight[kept]
    target = target[_sample(len(target), max_rows, rng)]
    n_folds = max(2, min(n_folds, len(rows) // 2, len(target) // 2))
    fold, fold_target = deal_folds(len(rows), n_folds, rng), deal_folds(len(target), n_folds, rng)
    models = SharedModels(rows, target, values, weight, mask, fold=fold, fold_target=fold_target)
    # In a fixed order, so that a seed means the same whichever coalitions share a set.
    parts = sorted({part for terms in coalitions for part in terms})
    if ratio is None:
        logs = models.log_odds(parts)
    else:
        logs = _log_ratios(ratio, parts, rows, target, weight, mask, fold, fold_target, rng)
    game = _Game(coalitions, dict(zip(parts, logs.T)), values, weight, models)
    coefficients = shapley_coefficients(len(names))
    change, influence, influence_target, effective = game.divide(coefficients)
    # A row that counts for three is three rows, each with a third of the influence; other weights count none.
    rows_each = weight if np.all(weight % 1 == 0) else np.ones(len(weight))
    variance = np.sum(influence**2 / rows_each, axis=1) + np.sum(influence_target**2, axis=1)
    reach = float(norm.ppf(1 - alpha / 2)) * np.sqrt(variance)
    source = float(np.average(values, weights=weight))
    return ChangeAttribution(
        source,
        source + float(change.sum()),
        None if total is None else float(total),
        tuple(
            ChangePart(name, float(c), float(c - r), float(c + r)) for name, c, r in zip(names, change, reach)
        ),
        None if total is None else float(total - change.sum()),
        effective,
        alpha,
    )


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
    """The values of all coalitions, each row judged by models that did not see it."""

    coalitions: Sequence[Coalition]
    log_ratios: Mapping[Columns, FloatArray]
    loss: FloatArray
    weight: FloatArray
    models: SharedModels

    def divide(self, coefficients: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Return parts of the change, the influence of source and target rows on them, fewest effective rows.

        The weighted mean is moved by the error of each log ratio in it. To
        first order that error is what target rows and weighted source rows
        disagree on about ``h``, the conditional mean of the weighted, centred
        loss given the ratio's columns; so the disagreement is added back, and
        the influence of the rows includes it.
        """
        shares = [self._share(terms) for terms in self.coalitions]
        terms = [(k, part, sign) for k, of in enumerate(self.coalitions) for part, sign in of.items()]
        outcomes = np.column_stack([self._outcome(part, k, shares[k]) for k, part, _ in terms])
        at_source, at_target = self.models.means([part for _, part, _ in terms], outcomes)
        change = np.zeros(len(coefficients))
        influence = np.zeros((len(coefficients), len(self.loss)))
        influence_target = np.zeros((len(coefficients), len(at_target)))
        for k, w in enumerate(shares):
            value = w @ self.loss
            change += coefficients[:, k] * value
            influence += np.outer(coefficients[:, k], w * (self.loss - value))
        for (k, part, sign), h, h_target in zip(terms, at_source.T, at_target.T):
            w, toward = self._share({part: 1}), sign * coefficients[:, k]
            here, there = w @ h, h_target.mean()
            change += toward * (there - here)
            influence -= np.outer(toward, w * (h - here))
            influence_target += np.outer(toward, (h_target - there) / len(h_target))
        return change, influence, influence_target, float(min(map(effective_sample_size, shares)))

    def _share(self, terms: Coalition) -> FloatArray:
        """Return the rows' weights with the ratios of a coalition, summing to one."""
        log_ratio = sum((sign * self.log_ratios[p] for p, sign in terms.items()), np.zeros(len(self.loss)))
        w = self.weight * np.exp(log_ratio - log_ratio.max())
        return np.asarray(w / w.sum())

    def _outcome(self, part: Columns, coalition: int, share: FloatArray) -> FloatArray:
        """Return the loss, centred, as a coalition weighs it beyond the ratio of ``part``."""
        if set(self.coalitions[coalition]) == {part}:
            return np.asarray(self.loss - np.average(self.loss, weights=self.weight))
        own = self._share({part: 1})
        beyond = np.divide(share, own, out=np.zeros_like(share), where=own > 0)
        return np.asarray(beyond * (self.loss - share @ self.loss))


def _log_ratios(
    factory: RatioFactory,
    parts: Sequence[Columns],
    X: FloatArray,
    X_target: FloatArray,
    weight: FloatArray,
    categorical: BoolArray,
    fold: IntArray,
    fold_target: IntArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Return each part's log ratio at source rows, (n, K), by estimators fitted on the other folds."""
    out = np.empty((len(X), len(parts)))
    for k in range(int(fold.max()) + 1):
        here, train, train_target = (np.flatnonzero(of) for of in (fold == k, fold != k, fold_target != k))
        for j, part in enumerate(parts):
            columns = list(part)
            model = factory(categorical[columns], draw_seed(rng))
            model.fit(
                X[train[:, None], columns],
                X_target=X_target[train_target[:, None], columns],
                sample_weight=weight[train],
            )
            log_ratio = model.log_ratio(X[here[:, None], columns])
            # A ratio may be known up to a constant; folds must have the same.
            out[here, j] = log_ratio - logsumexp(log_ratio, b=weight[here] / weight[here].sum())
    return out


def _sample(n: int, most: int, rng: np.random.Generator) -> IntArray:
    """Return the numbers of at most ``most`` of ``n`` rows, sorted."""
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, size=most, replace=False))
