"""The rows that log ratios are learnt from, measured once for all folds and learners."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.numerics.binning import Bins
from steelyard.numerics.design import affordable_knots
from steelyard.weighting.ratios._design import Design, reach

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Measured:
    """Rows with their bins and features, each computed when first asked for and then kept.

    Knots, scales and bins come from all rows: neither the side of a row nor its fold enters
    them but by the ends of the columns, which no single row moves, so that held-out rows
    tell the models nothing of themselves.

    Parameters
    ----------
    X : array of shape (n, d)
    domain : array of shape (n,)
        0 for source, 1 for target.
    weight : array of shape (n,)
    categorical : boolean array of shape (d,)
    """

    def __init__(self, X: FloatArray, domain: IntArray, weight: FloatArray, categorical: BoolArray) -> None:
        self.X, self.domain, self.weight, self.categorical = X, domain, weight, categorical
        self._kept: dict[Any, Any] = {}

    def bins(self) -> tuple[Bins, FloatArray]:
        """Return the bins of the columns and the rows' codes."""
        if "bins" not in self._kept:
            bins = Bins.of(self.X, self.categorical)
            self._kept["bins"] = bins, bins(self.X)
        found: tuple[Bins, FloatArray] = self._kept["bins"]
        return found

    def design(self, *, degree: int = 1, n_knots: int = 0) -> tuple[Design, FloatArray]:
        """Return a design and the rows' features."""
        n_knots = affordable_knots(int((~self.categorical).sum()), n_knots)
        key = degree, n_knots
        if key not in self._kept:
            self._kept[key] = Design.measured(
                self.X, self.weight, self.categorical, limits=self._limits(), degree=degree, n_knots=n_knots
            )
        found: tuple[Design, FloatArray] = self._kept[key]
        return found

    def has_products(self) -> bool:
        """Say whether features of degree two are more than the columns themselves."""
        linear = self.design()[0]
        return linear.n_numbers > 0 and linear.has_room()

    def _limits(self) -> FloatArray:
        if "limits" not in self._kept:
            sides = self.X[self.domain == 0], self.X[self.domain == 1]
            self._kept["limits"] = reach(*sides, self.categorical)
        found: FloatArray = self._kept["limits"]
        return found

    def forget(self) -> None:
        """Let go of what can be computed again."""
        self._kept.clear()


@dataclass(frozen=True, eq=False)
class Sample:
    """Measured rows with how much each counts and the fold in which it is held out."""

    rows: Measured
    weight: FloatArray
    fold: IntArray
    n_folds: int
    domain: IntArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", self.rows.domain)

    def mass(self, k: int) -> tuple[float, float]:
        """Return the weight of source and of target rows outside fold k."""
        counted = self.weight * (self.fold != k)
        return float(counted[self.domain == 0].sum()), float(counted[self.domain == 1].sum())

    def size(self) -> float:
        """Return the number of rows that a fit's two samples of equal size would need to know as much."""
        source, target = self.mass(0)
        return max(4.0 / (1.0 / source + 1.0 / target), 2.0)
