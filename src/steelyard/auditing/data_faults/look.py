"""The rows of both tables that the checks look at: at most 20,000 a side, drawn by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from steelyard.auditing.tables import Feature, FloatArray, IntArray, Tables

MOST_ROWS = 20_000
"""Rows of a side that are looked at: a share is then known to 1.4 points in 99.99% of draws."""
MOST_COLUMNS = 200
"""Columns of the design of relations: its products of d x d then take a second at most."""
_LEVELS = 8


@dataclass(frozen=True)
class Look:
    """What the checks see: encoded rows, and the features they belong to.

    ``y`` and ``n_classes`` are those of `Tables`, for TRAIN's rows that were drawn.
    """

    X: FloatArray
    X_live: FloatArray
    features: tuple[Feature, ...]
    y: FloatArray
    n_classes: int | None
    seed: int = 0

    @classmethod
    def at(cls, tables: Tables, *, seed: int) -> Look:
        """Draw the rows."""
        rows, live = (_drawn(len(X), seed + k) for k, X in enumerate((tables.X, tables.X_live)))
        return cls(
            tables.X[rows], tables.X_live[live], tables.features, tables.y[rows], tables.n_classes, seed
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(f.name for f in self.features)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Which features hold numbers or dates."""
        return tuple(j for j, f in enumerate(self.features) if f.categories is None and f.kind != "absent")

    @cached_property
    def levels(self) -> tuple[FloatArray | None, ...]:
        """Each feature's values over both sides where they are few (20 at most), else None."""
        return tuple(_levels(self.X[:, j], self.X_live[:, j]) for j in range(len(self.features)))

    @cached_property
    def moved(self) -> npt.NDArray[np.bool_]:
        """Which features lie further apart than chance explains once in a thousand tables."""
        level = 1e-3 / max(len(self.features), 1)
        out = np.zeros(len(self.features), dtype=bool)
        for j in range(len(self.features)):
            # Codes are ranked by TRAIN's frequency, so that their distance bounds the categories' from below.
            a, b = known(self.X[:, j]), known(self.X_live[:, j])
            out[j] = distance(a, b) > chance_distance(len(a), len(b), level)
        return out

    def stands_alone(self, j: int) -> bool:
        """Whether hardly another feature has moved, so that drift is no explanation."""
        others = np.delete(self.moved, j)
        return bool(others.sum() <= 0.1 * len(others))

    @cached_property
    def design(self) -> Design:
        """Both sides' columns on one scale."""
        return make_design(self)

    def value(self, j: int, code: float) -> str:
        """Write a value of a feature as the table has it."""
        categories = self.features[j].categories
        return f"{code:g}" if categories is None else f"'{categories[int(code)]}'"


def _drawn(n: int, seed: int) -> IntArray:
    if n <= MOST_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MOST_ROWS, replace=False))


def _levels(x: FloatArray, x_live: FloatArray, most: int = 20) -> FloatArray | None:
    seen: list[FloatArray] = []
    for side in (x, x_live):
        values = np.unique(side[~np.isnan(side)])
        if len(values) > most:
            return None
        seen.append(values)
    both = np.unique(np.concatenate(seen))
    return both if 2 <= len(both) <= most else None


@dataclass(frozen=True)
class Design:
    """Columns that relations are measured with: mean 0 and variance 1 in either side, missing is 0.

    Numbers stand by their ranks, and categories by an indicator for each of the most frequent ones.
    ``owner`` is the feature that each column is made of.
    """

    Z: FloatArray
    Z_live: FloatArray
    owner: IntArray

    def of(self, j: int) -> IntArray:
        """Return the columns that are made of a feature."""
        return np.flatnonzero(self.owner == j)

    def others(self, features: Sequence[int]) -> IntArray:
        """Return the columns that are made of no one of these features."""
        return np.flatnonzero(~np.isin(self.owner, features))

    @cached_property
    def correlations(self) -> tuple[FloatArray, FloatArray]:
        """The columns' correlations in TRAIN and in LIVE."""
        return self.Z.T @ self.Z / len(self.Z), self.Z_live.T @ self.Z_live / len(self.Z_live)


def make_design(look: Look) -> Design:
    """Return the design of the first columns, 200 at most.

    Notes
    -----
    Time O(n d log n).
    """
    columns: list[FloatArray] = []
    live: list[FloatArray] = []
    owner: list[int] = []
    for j, feature in enumerate(look.features):
        x, x_live = look.X[:, j], look.X_live[:, j]
        if feature.categories is None:
            pairs = [(_ranks(x), _ranks(x_live))]
        else:
            n_levels = min(len(feature.categories), _LEVELS)
            # Of two categories one indicator says all.
            codes = [1] if n_levels == 2 else range(n_levels)
            pairs = [(_indicator(x, k), _indicator(x_live, k)) for k in codes]
        if len(owner) + len(pairs) > MOST_COLUMNS:
            break
        for z, z_live in pairs:
            columns.append(_standard(z))
            live.append(_standard(z_live))
            owner.append(j)
    if not columns:
        return Design(
            np.zeros((len(look.X), 0)), np.zeros((len(look.X_live), 0)), np.zeros(0, dtype=np.int64)
        )
    return Design(np.column_stack(columns), np.column_stack(live), np.array(owner, dtype=np.int64))


def _ranks(x: FloatArray) -> FloatArray:
    out = np.full(len(x), np.nan)
    known = ~np.isnan(x)
    out[known] = rankdata(x[known])
    return out


def _indicator(x: FloatArray, code: int) -> FloatArray:
    return np.where(np.isnan(x), np.nan, (x == code).astype(np.float64))


def _standard(z: FloatArray) -> FloatArray:
    known = ~np.isnan(z)
    if not known.any():
        return np.zeros(len(z))
    centred = np.where(known, z - z[known].mean(), 0.0)
    spread = float(np.sqrt(np.mean(centred**2)))
    return centred / spread if spread > 1e-9 else np.zeros(len(z))


def known(x: FloatArray) -> FloatArray:
    """Return the values that are not missing, sorted."""
    return np.asarray(np.sort(x[~np.isnan(x)]))


def distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the Kolmogorov-Smirnov distance of two sorted samples; 0 where one is empty."""
    if not len(a) or not len(b):
        return 0.0
    at = np.concatenate([a, b])
    F = np.searchsorted(a, at, side="right") / len(a)
    G = np.searchsorted(b, at, side="right") / len(b)
    return float(np.max(np.abs(F - G)))


def chance_distance(n: int, m: int, level: float) -> float:
    """Return what the distance of two samples of one law exceeds with probability ``level`` at most.

    The inequality of Dvoretzky, Kiefer, Wolfowitz and Massart in its two-sample form.
    """
    if not n or not m:
        return 1.0
    return float(np.sqrt(-np.log(level / 2) / 2 * (1 / n + 1 / m)))
