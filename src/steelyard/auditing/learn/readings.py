"""Readings of a shift: what may have moved, and so what makes TRAIN's rows stand for LIVE's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from steelyard.evaluation import ExpectedOutcome
from steelyard.weighting import ClassRatio, shift_posterior

FloatArray = npt.NDArray[np.float64]
ReadingName = Literal["none", "columns", "classes", "classes and columns", "target"]

# No class is taken to have left altogether: its rows would count nothing, and tell nothing any more.
_LEAST_RATIO = 1e-6


@dataclass(frozen=True)
class Reading:
    """One explanation of how LIVE came to differ.

    "none": nothing moved. "columns": the law of the columns did, that of the
    target given them did not. "classes": the shares of the classes did, that of
    the columns in each class did not. "classes and columns": the shares did, and
    the columns ``moved`` besides. "target": the law of a number did, that of the
    columns given it did not. Two readings stand side by side where the tables
    fit both.
    """

    name: ReadingName
    class_ratio: ClassRatio | None = None
    moved: tuple[int, ...] = ()

    @property
    def by_class(self) -> FloatArray | None:
        """How many times its share in TRAIN each class has in LIVE, (K,); None where shares did not move."""
        return None if self.class_ratio is None else np.maximum(self.class_ratio.ratio, _LEAST_RATIO)

    def correct(self, expected: FloatArray) -> FloatArray:
        """Return expected outcome columns as they hold in LIVE: Bayes' rule for the classes' new shares."""
        ratio = self.by_class
        return expected if ratio is None else shift_posterior(expected, ratio)

    def corrected(self, expected: ExpectedOutcome) -> ExpectedOutcome:
        """Return all expectations as they hold in LIVE."""
        if self.class_ratio is None:
            return expected
        return replace(
            expected,
            source=self.correct(expected.source),
            target=self.correct(expected.target),
            by_fold=np.stack([self.correct(part) for part in expected.by_fold]),
        )
