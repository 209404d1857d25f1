"""What a pass over all rows adds up: mergeable sums of either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from steelyard.auditing.reading.copies import RowCopies
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.errors import InputError
from steelyard.evaluation.sums import MetricSums
from steelyard.numerics import CategoryCounts, Moments, TopWeights, WeightSums, merge_keyed

Reader = Callable[[Any], Any]
FloatArray = npt.NDArray[np.float64]

SCORE_BINS = 2_000
"""Bins of the probabilities, within which the AUC takes scores as tied.

With 2,000 of equal mass one pair in 2,000 counts half, and nearly as many of those are in one order
as in the other.
"""


def score_edges(proba: FloatArray | None, *, most: int = SCORE_BINS) -> FloatArray | None:
    """Return the bins that all rows' probabilities are counted in, taken at those of a sample.

    Parameters
    ----------
    proba : array of shape (n, K), optional
        The sample's probabilities of each class.
    most : int
        How many edges at most: then the bins are of equal mass. Fewer values get one each.

    Returns
    -------
    array or None
        Ascending; None without probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> score_edges(np.array([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5]]))
    array([0.25, 0.5 ])
    """
    if proba is None:
        return None
    scores = np.ravel(proba[:, 1:] if proba.shape[1] == 2 else proba)
    values = np.unique(scores)
    return values if len(values) <= most else np.unique(np.quantile(scores, np.linspace(0, 1, most)))


class Totals:
    """Base of records whose fields are counts, mergeable summaries, or mappings of such; None stays None.

    ``READERS`` holds, for each field, what reads its plain value back.
    """

    READERS: ClassVar[Mapping[str, Reader]]

    def merge(self, other: Self, /) -> Self:
        """Return the sums over both sets of rows, this one's first."""
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return type(self)(**{name: _joined(getattr(self, name), getattr(other, name)) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as plain values that JSON can hold without loss."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the sums that ``to_dict`` wrote; anything else raises an InputError."""
        if not isinstance(plain, Mapping) or set(plain) != set(cls.READERS):
            raise InputError(f"these are no {cls.__name__}: they lack parts of them, or have others.")
        return cls(**{name: read(plain[name]) for name, read in cls.READERS.items()})


def _joined(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    if isinstance(a, (int, float)):
        return a + b
    if not isinstance(a, Mapping):
        return a.merge(b)
    if all(isinstance(part, int) for part in (*a.values(), *b.values())):
        return {key: a.get(key, 0) + b.get(key, 0) for key in {**a, **b}}
    return merge_keyed(a, b)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [[key, _plain(part)] for key, part in value.items()]
    return value if value is None or isinstance(value, (int, float)) else value.to_dict()


def _maybe(read: Reader) -> Reader:
    return lambda plain: None if plain is None else read(plain)


def _keyed(read: Reader) -> Reader:
    return lambda plain: {key: read(part) for key, part in plain}


def _count(plain: Any) -> int:
    if isinstance(plain, bool) or not isinstance(plain, int) or plain < 0:
        raise InputError(f"{plain!r} is no count of rows.")
    return plain


@dataclass(frozen=True)
class RowCounts(Totals):
    """Rows of TRAIN: those that count, those without a target, and those of a class no sampled row has."""

    labelled: int
    unlabelled: int
    unknown: int

    READERS: ClassVar[Mapping[str, Reader]] = dict.fromkeys(("labelled", "unlabelled", "unknown"), _count)

    @property
    def every(self) -> int:
        """All rows."""
        return self.labelled + self.unlabelled + self.unknown


@dataclass(frozen=True)
class ExpectedSums(Totals):
    """LIVE's rows under one reading of the shift.

    Attributes
    ----------
    expected : MetricSums
        Of the outcomes that are expected.
    noise : Moments or None
        Each metric's label noise by row (`label_noises`); None for a regression.
    """

    expected: MetricSums
    noise: Moments | None

    READERS: ClassVar[Mapping[str, Reader]] = {
        "expected": MetricSums.from_dict,
        "noise": _maybe(Moments.from_dict),
    }


@dataclass(frozen=True)
class WindowSums(Totals):
    """LIVE's rows, or those of one window.

    Attributes
    ----------
    rows : int
    readings : mapping of str to ExpectedSums
        By the reading's name.
    actual : MetricSums or None
        Of the labels, where they are known.
    """

    rows: int
    readings: Mapping[str, ExpectedSums]
    actual: MetricSums | None

    READERS: ClassVar[Mapping[str, Reader]] = {
        "rows": _count,
        "readings": _keyed(ExpectedSums.from_dict),
        "actual": _maybe(MetricSums.from_dict),
    }


@dataclass(frozen=True)
class LiveSums(Totals):
    """All that the audit says of LIVE's rows together.

    Attributes
    ----------
    profiles : mapping of str to ColumnProfile
    copies : RowCopies
    numbers : Moments
        Of the columns that hold numbers.
    codes : CategoryCounts
        Of those that hold categories.
    whole : WindowSums
    windows : mapping of int to WindowSums
    unread : mapping of str to int
        Rows whose text is not of the kind that its column has in the sample: taken as missing.
    outside : int
        Rows where TRAIN has almost none.
    sizes : Moments
        Of the intervals' widths or the sets' numbers of classes, infinite ones left out.
    unbounded : float
        Rows whose interval or set says nothing.
    covered : int or None
        Rows whose interval or set holds their label.
    """

    profiles: Mapping[str, ColumnProfile]
    copies: RowCopies
    numbers: Moments
    codes: CategoryCounts
    whole: WindowSums
    windows: Mapping[int, WindowSums]
    unread: Mapping[str, int]
    outside: int
    sizes: Moments
    unbounded: float
    covered: int | None

    READERS: ClassVar[Mapping[str, Reader]] = {
        "profiles": _keyed(ColumnProfile.from_dict),
        "copies": RowCopies.from_dict,
        "numbers": Moments.from_dict,
        "codes": CategoryCounts.from_dict,
        "whole": WindowSums.from_dict,
        "windows": _keyed(WindowSums.from_dict),
        "unread": _keyed(_count),
        "outside": _count,
        "sizes": Moments.from_dict,
        "unbounded": float,
        "covered": _maybe(_count),
    }

    @property
    def rows(self) -> int:
        """Rows of LIVE."""
        return self.whole.rows


@dataclass(frozen=True)
class ResidualSums(Totals):
    """TRAIN's rows under one reading of the shift.

    Attributes
    ----------
    weighted : Moments
        Of each metric's residual effect, weighted.
    squared : Moments
        The same, weighted by the weights' squares.
    """

    weighted: Moments
    squared: Moments

    READERS: ClassVar[Mapping[str, Reader]] = dict.fromkeys(("weighted", "squared"), Moments.from_dict)

    def correction(self, metric: int) -> tuple[float, float]:
        """Return the weighted mean of a metric's residual effect, and that mean's variance."""
        mean = float(self.weighted.means[metric])
        total = float(self.weighted.weight[metric])
        squared = self.squared
        # Squares about the weighted mean, from those about the mean that squared weights give.
        spread = float(squared.m2[metric] + squared.weight[metric] * (squared.means[metric] - mean) ** 2)
        return mean, spread / total**2

    def effective_rows(self, metric: int) -> float:
        """Return how many rows the weights are worth."""
        return float(self.weighted.weight[metric] ** 2 / self.squared.weight[metric])

    def mean_square(self, metric: int) -> float:
        """Return the weighted mean of a metric's squared residual effect."""
        return float(self.weighted.variances[metric] + self.weighted.means[metric] ** 2)


@dataclass(frozen=True)
class TrainSums(Totals):
    """All that the audit says of TRAIN's rows together.

    Attributes
    ----------
    counts : RowCounts
    unread : mapping of str to int
        Rows whose text is not of the kind that its column has in the sample: taken as missing.
    held : int
        Rows whose weight was held at the largest that is believed.
    profiles : mapping of str to ColumnProfile
    copies, labelled_copies : RowCopies
        Without the target, and with it.
    numbers, weighted_numbers : Moments
    codes, weighted_codes : CategoryCounts
    naive : MetricSums
        Of the observed outcomes.
    readings : mapping of str to ResidualSums
        By the reading's name.
    weights : WeightSums
        Of the leading reading, as are ``weighted_numbers``, ``weighted_codes`` and ``top``.
    top : TopWeights
    """

    counts: RowCounts
    unread: Mapping[str, int]
    held: int
    profiles: Mapping[str, ColumnProfile]
    copies: RowCopies
    labelled_copies: RowCopies
    numbers: Moments
    weighted_numbers: Moments
    codes: CategoryCounts
    weighted_codes: CategoryCounts
    naive: MetricSums
    readings: Mapping[str, ResidualSums]
    weights: WeightSums
    top: TopWeights

    READERS: ClassVar[Mapping[str, Reader]] = {
        "counts": RowCounts.from_dict,
        "unread": _keyed(_count),
        "held": _count,
        "profiles": _keyed(ColumnProfile.from_dict),
        "copies": RowCopies.from_dict,
        "labelled_copies": RowCopies.from_dict,
        "numbers": Moments.from_dict,
        "weighted_numbers": Moments.from_dict,
        "codes": CategoryCounts.from_dict,
        "weighted_codes": CategoryCounts.from_dict,
        "naive": MetricSums.from_dict,
        "readings": _keyed(ResidualSums.from_dict),
        "weights": WeightSums.from_dict,
        "top": TopWeights.from_dict,
    }

    @property
    def rows(self) -> int:
        """Rows that were weighed: of a profile those that it holds."""
        return self.weights.rows
