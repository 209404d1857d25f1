"""Can these weights be trusted: one call that says how many rows they are worth and what they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.montecarlo import pareto_k
from steelyard.numerics import as_rows, as_weights, effective_sample_size
from steelyard.weighting.diagnostics import ColumnBalance, Region, standardised_differences, uncovered_regions
from steelyard.weighting.limits import (
    MAX_OUTSIDE,
    MAX_PARETO_K,
    MIN_ESS,
    NOTED_OUTSIDE,
    SHAKY_PARETO_K,
    SMALL_DIFFERENCE,
    UNCOVERED_RATIO,
)
from steelyard.weighting.love_plot import love_plot
from steelyard.weighting.tables import code_tables

FloatArray = npt.NDArray[np.float64]

_LEAST_TARGET = 40


@dataclass(frozen=True)
class Concern:
    """Something that the weights' figures forbid (an error) or warn of; ``id`` is stable."""

    id: str
    severity: Literal["error", "warning"]
    text: str


@dataclass(frozen=True)
class WeightCheck:
    """What a set of weights is worth.

    Attributes
    ----------
    rows : int
    ess : float
        Kish's effective sample size; ``ess_fraction`` is its share of the rows.
    design_effect : float
        By how much the weights inflate the variance of a mean: rows / ess.
    pareto_k : float or None
        Shape of the weights' tail; None where it has too few distinct values.
    max_share : float
        The largest weight's share of all weight.
    zero_rows : int
        Rows that do not count at all.
    outside : float or None
        Share of the target where the source has (almost) no rows; None if fewer
        than 40 target rows were given.
    balance : tuple of ColumnBalance
    regions : tuple of Region
        The uncovered part as short rules, the largest first.
    concerns : tuple of Concern
    """

    rows: int
    ess: float
    ess_fraction: float
    design_effect: float
    pareto_k: float | None
    max_share: float
    zero_rows: int
    outside: float | None = None
    balance: tuple[ColumnBalance, ...] = ()
    regions: tuple[Region, ...] = ()
    concerns: tuple[Concern, ...] = field(default=())

    @property
    def trusted(self) -> bool:
        """Whether no figure forbids an estimate with these weights."""
        return not any(concern.severity == "error" for concern in self.concerns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain fields."""
        return {**asdict(self), "trusted": self.trusted}

    def love_plot(self, ax: Any = None, *, most: int = 30) -> Any:
        """Draw the columns' differences before and after; see :func:`love_plot`."""
        return love_plot(self.balance, ax, most=most)

    def _facts(self) -> list[tuple[str, str]]:
        tail = "too few distinct weights" if self.pareto_k is None else f"{self.pareto_k:.2f}"
        facts = [
            ("effective rows", f"{self.ess:.0f} of {self.rows} (design effect {self.design_effect:.2f})"),
            ("tail (Pareto k)", tail),
            ("largest weight", f"{self.max_share:.2%} of all"),
        ]
        if self.zero_rows:
            facts.append(("rows of weight zero", str(self.zero_rows)))
        if self.outside is not None:
            facts.append(("target not covered", f"{self.outside:.1%}"))
        if self.balance:
            worst = max(self.balance, key=lambda column: abs(column.after))
            facts.append(
                (
                    "least balanced column",
                    f"{worst.name}: {worst.before:+.2f} before, {worst.after:+.2f} after",
                )
            )
        return facts

    def __str__(self) -> str:
        head = "These weights can be used." if self.trusted else "These weights cannot carry an estimate."
        lines = [head, *(f"  {name}: {value}" for name, value in self._facts())]
        return "\n".join([*lines, *(f"  {c.severity}: {c.text}" for c in self.concerns)])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in self._facts())
        notes = "".join(f"<li>{escape(c.severity)}: {escape(c.text)}</li>" for c in self.concerns)
        return f"<p>{escape(str(self).splitlines()[0])}</p><table>{rows}</table><ul>{notes}</ul>"


def check_weights(
    weights: Any,
    X: Any = None,
    X_target: Any = None,
    *,
    names: Sequence[str] | None = None,
    categorical: Any = None,
    sample_weight: Any = None,
    max_ratio: float = UNCOVERED_RATIO,
    random_state: int = 0,
) -> WeightCheck:
    """Say what weights are worth: effective rows, tail, balance, and the target they leave uncovered.

    Parameters
    ----------
    weights : array of shape (n,)
        Of the source rows, on any scale.
    X, X_target : arrays or data frames of shape (n, d) and (m, d), optional
        Source and target rows, NaN where missing: for balance and cover.
    names : sequence of str, optional
        Of the columns; those of a data frame by default, else ``x0``, ``x1``, ...
    categorical : boolean array of shape (d,), optional
        Which columns of an array hold codes of categories; in a data frame, text does.
    sample_weight : array of shape (n,), optional
        Design weights of the source before it was weighed: the check is of
        ``weights * sample_weight``, and "before" is with ``sample_weight``.
    max_ratio : float
        Density ratio from which a place counts as uncovered.
    random_state : int

    Returns
    -------
    WeightCheck
        Print it, or ask ``trusted``, ``concerns``, ``love_plot()``.

    Raises
    ------
    InputError
        Only one of ``X`` and ``X_target``; other numbers of rows or columns.

    Notes
    -----
    An effective size below 50 rows, a tail shape above 1 or more than 10% of
    the target uncovered forbid an estimate; a shape above 0.7, 1% uncovered, or
    a column that is less balanced than before are warned of. Time O(n log n + (n + m) d).

    Examples
    --------
    >>> import numpy as np
    >>> from steelyard.datasets import make_gaussian_shift
    >>> s = make_gaussian_shift(n_source=500, n_target=500, shift=0.5, n_features=4, random_state=0)
    >>> check = check_weights(np.exp(s.log_ratio), s.X, s.X_target)
    >>> check.trusted, check.rows
    (True, 500)
    """
    w = as_weights(weights, len(np.asarray(weights)), name="weights")
    base = as_weights(sample_weight, len(w))
    w = as_weights(w * base, len(w), name="weights times sample_weight")
    w = w / w.mean()
    ess = effective_sample_size(w)
    outside: float | None = None
    balance: tuple[ColumnBalance, ...] = ()
    regions: tuple[Region, ...] = ()
    if (X is None) != (X_target is None):
        raise InputError("balance and cover need both X and X_target; pass both or neither.")
    if X is not None:
        coded = code_tables(X, X_target)
        source, target = as_rows(coded.X), as_rows(coded.X_target, name="X_target")
        if source.shape[1] != target.shape[1] or source.shape[0] != len(w):
            raise InputError(
                f"X is {source.shape[0]} x {source.shape[1]} and X_target {target.shape[0]} x "
                f"{target.shape[1]}, for {len(w)} weights; pass one weight a row of X, and the same columns."
            )
        codes = coded.categorical if categorical is None else np.asarray(categorical, dtype=bool)
        called = coded.names if names is None else tuple(map(str, names))
        if len(called) != source.shape[1] or codes.shape != (source.shape[1],):
            raise InputError(
                f"names has {len(called)} entries and categorical {codes.size} for {source.shape[1]} "
                "columns; pass one a column."
            )
        before = standardised_differences(source, target, weights=base, categorical=codes)
        after = standardised_differences(source, target, weights=w, categorical=codes)
        balance = tuple(ColumnBalance(n, float(a), float(b)) for n, a, b in zip(called, before, after))
        regions = uncovered_regions(
            source[base > 0],
            target,
            names=called,
            # Codes of an array are their own names.
            categories=[texts or (range(2**31) if c else None) for texts, c in zip(coded.levels, codes)],
            max_ratio=max_ratio,
            random_state=random_state,
        )
        # Fewer target rows cannot show a hole, whatever they are.
        if len(target) >= _LEAST_TARGET:
            outside = float(min(1.0, sum(region.target_share for region in regions)))
    with np.errstate(divide="ignore"):
        k = pareto_k(np.log(w))
    concerns = judge_weights(rows=len(w), ess=ess, k=k, outside=outside, regions=regions)
    return WeightCheck(
        rows=len(w),
        ess=ess,
        ess_fraction=ess / len(w),
        design_effect=len(w) / ess,
        pareto_k=k,
        max_share=float(w.max() / w.sum()),
        zero_rows=int(np.sum(w == 0)),
        outside=outside,
        balance=balance,
        regions=regions,
        concerns=concerns + _worsened(balance),
    )


def _worsened(balance: tuple[ColumnBalance, ...]) -> tuple[Concern, ...]:
    worse = [c for c in balance if abs(c.after) > max(SMALL_DIFFERENCE, abs(c.before))]
    if not worse:
        return ()
    named = ", ".join(f"{c.name} ({c.before:+.2f} to {c.after:+.2f})" for c in worse[:3])
    more = f" and {len(worse) - 3} more" if len(worse) > 3 else ""
    return (
        Concern(
            "less-balanced", "warning", f"Weighting moved these columns away from the target: {named}{more}."
        ),
    )


def judge_weights(
    *,
    rows: int,
    ess: float,
    k: float | None,
    outside: float | None,
    regions: Sequence[Region] = (),
    source: str = "the source",
    target: str = "the target",
    remedy: str | None = None,
) -> tuple[Concern, ...]:
    """Say what the figures of weights forbid, and what they warn of.

    Parameters
    ----------
    rows : int
        Source rows.
    ess : float
    k : float or None
        The tail's Pareto shape.
    outside : float or None
        Share of the target that is not covered.
    regions : sequence of Region
        Where that is.
    source, target : str
        What the two samples are called in the sentences.
    remedy : str, optional
        What to do, in a sentence, where that is known to be something else than labelling.

    Examples
    --------
    >>> [c.id for c in judge_weights(rows=1000, ess=12.0, k=0.8, outside=0.0)]
    ['inconclusive-few-rows', 'heavy-tail']
    """
    concerns = []
    begin = _begin(source)
    if outside is not None and outside > MAX_OUTSIDE:
        rule = "; or ".join(f"{r} ({r.target_share:.0%} of {target})" for r in regions[:3])
        region = f" {begin} does not cover: {rule}." if rule else ""
        there = (
            "Collect labels there."
            if rule
            else f"Label some of {target}: no rule of a few columns names those rows."
        )
        what = remedy or there
        concerns.append(
            Concern(
                "inconclusive-overlap",
                "error",
                f"{outside:.0%} of {target} lies where {source} has almost no rows, above the "
                f"{MAX_OUTSIDE:.0%} up to which estimates are given.{region} {what}",
            )
        )
    elif outside is not None and outside >= NOTED_OUTSIDE:
        where = f" where {regions[0]}" if regions else ""
        concerns.append(
            Concern(
                "partly-uncovered",
                "warning",
                f"{begin} has almost no rows for {outside:.1%} of {target}{where}; "
                "there the estimates extrapolate.",
            )
        )
    if ess < MIN_ESS:
        concerns.append(
            Concern(
                "inconclusive-few-rows",
                "error",
                f"The weighted {source.removeprefix('the ')} is worth only {ess:.0f} of its {rows} rows, "
                f"below the {MIN_ESS:.0f} that an estimate needs. {_begin(target)} is too far from {source}"
                f"{f'. {remedy}' if remedy else '; label some of it.'}",
            )
        )
    if k is not None and k > MAX_PARETO_K:
        concerns.append(
            Concern(
                "inconclusive-heavy-tail",
                "error",
                f"The weights' tail is so heavy (Pareto k {k:.2f} > 1) that their mean may not exist; "
                "no weighted estimate can be trusted.",
            )
        )
    elif k is not None and k > SHAKY_PARETO_K:
        concerns.append(
            Concern(
                "heavy-tail",
                "warning",
                f"A few rows carry much of the weight (Pareto k {k:.2f} > {SHAKY_PARETO_K}); intervals may "
                "be too narrow.",
            )
        )
    return tuple(concerns)


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]
