"""Weights that the user asked for: a word of old, the name of a weight estimator, or an estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.utils import get_tags

from steelyard.auditing.learn.readings import Reading
from steelyard.auditing.learn.shift import Detected
from steelyard.auditing.tables import Feature, Tables
from steelyard.errors import InputError
from steelyard.weighting import ReTaSA, RuLSIF
from steelyard.weighting.named import as_weighting
from steelyard.weighting.study import DomainStudy, Said
from steelyard.weighting.tables import TableWeighting, fit_to_tables

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A row of no weight at all stands so far below the others that it counts nothing in any sum.
_LEAST_WEIGHT = 1e-12


class Ratio(Protocol):
    """A log ratio: of the study's rows, and of more."""

    @property
    def source(self) -> FloatArray:
        """Of TRAIN's rows."""
        ...

    @property
    def target(self) -> FloatArray:
        """Of LIVE's rows."""
        ...

    def by_fold(self, X: Any, fold: IntArray, *, known: Said | None = None) -> FloatArray:
        """Return those of further rows, each by the models of its fold.

        Ratios that are asked for the same rows share what is ``known`` of them.
        """
        ...


@dataclass(frozen=True)
class Asked:
    """The reading that the weights stand on, what they are called, and what finds them."""

    reading: Reading
    name: str
    ratio: Callable[[DomainStudy], Ratio] | None = None


def as_asked(weighting: Any, tables: Tables, shift: Detected, *, seed: int) -> Asked | None:
    """Return what was asked for; None where the audit is to choose.

    Raises
    ------
    InputError
        There is no such weighting, or these tables do not fit it.
    """
    columns, called = Reading("columns"), None
    if isinstance(weighting, str):
        word = weighting.lower()
        if word == "auto":
            return None
        if word == "none":
            return Asked(Reading("none"), "none")
        if word == "label_shift":
            if shift.class_ratio is None:
                raise InputError(
                    "weighting 'label_shift' needs classes, and a shift that their shares can explain; take "
                    "'auto' here."
                )
            return Asked(Reading("classes", shift.class_ratio), "label_shift")
        if word in _OF_STUDY:
            return Asked(columns, word, _OF_STUDY[word])
        if word == "rulsif":
            called, weighting = word, RuLSIF(n_kernels=100, max_rows=5_000, random_state=seed)
    estimator = as_weighting(weighting, random_state=seed)
    decode = _Decoder.of(tables, gaps=takes_gaps(estimator))
    name = called or type(estimator).__name__
    if isinstance(estimator, ReTaSA):
        if tables.classes is not None:
            raise InputError("weighting 'ReTaSA' is for a target that is a number; take 'LabelShiftEM' here.")
        columns = Reading("target")
    fitted = _fitted(estimator, decode, tables)
    if hasattr(fitted.estimator, "class_ratio_"):
        if shift.kind != "none" and shift.class_ratio is None:
            raise InputError(
                f"weighting {name!r} takes it that the shares of the classes moved and nothing else; these "
                "tables refute that (the columns moved beyond it); take 'auto' here."
            )
        return Asked(Reading("classes", fitted.estimator.class_ratio_), name)
    return Asked(columns, name, lambda study: _Fitted.of(fitted, decode, tables))


def check_weighting(weighting: Any) -> None:
    """Raise an InputError where there is no such weighting."""
    words = ("auto", "none", "label_shift", "rulsif", *_OF_STUDY)
    if isinstance(weighting, str) and weighting.lower() in words:
        return
    if weighting is None:
        raise InputError("weighting is None; write 'none' for rows that all count alike, or 'auto'.")
    try:
        as_weighting(weighting)
    except InputError as error:
        raise InputError(f"{error} An audit knows {', '.join(map(repr, words))} as well.") from None


@dataclass(frozen=True)
class _Blend:
    """The geometric mean of two ratios: errors that differ average out."""

    first: Ratio
    second: Ratio

    @property
    def source(self) -> FloatArray:
        return 0.5 * (self.first.source + self.second.source)

    @property
    def target(self) -> FloatArray:
        return 0.5 * (self.first.target + self.second.target)

    def by_fold(self, X: Any, fold: IntArray, *, known: Said | None = None) -> FloatArray:
        return 0.5 * (self.first.by_fold(X, fold, known=known) + self.second.by_fold(X, fold, known=known))


_OF_STUDY: dict[str, Callable[[DomainStudy], Ratio]] = {
    "linear": lambda study: study.learn("additive"),
    "boosted": lambda study: study.learn("boosted"),
    "blend": lambda study: _Blend(study.learn("additive"), study.learn("boosted")),
}


@dataclass(frozen=True)
class _Fitted:
    """The log weights of an estimator that was fitted to both tables, as a ratio."""

    source: FloatArray
    target: FloatArray
    fitted: TableWeighting
    decode: _Decoder

    @classmethod
    def of(cls, fitted: TableWeighting, decode: _Decoder, tables: Tables) -> _Fitted:
        made = cls(_log(fitted.weights()), np.zeros(0), fitted, decode)
        return replace(made, target=made.by_fold(tables.X_live, np.zeros(0, dtype=np.int64)))

    def by_fold(self, X: Any, fold: IntArray, *, known: Said | None = None) -> FloatArray:
        del fold, known
        # A row far from all others may weigh more than a number holds.
        with np.errstate(over="ignore"):
            weights = self.fitted.weights(self.decode(X))
        return _log(np.minimum(weights, np.finfo(np.float64).max))


def _fitted(estimator: Any, decode: _Decoder, tables: Tables) -> TableWeighting:
    """Fit an estimator to the columns as a user would name them: numbers, and texts for categories."""
    return fit_to_tables(
        estimator,
        decode(tables.X),
        decode(tables.X_live),
        # Codes, so that what an estimator says of the classes stands in their order here.
        y=tables.y if tables.classes is None else tables.y.astype(np.int64),
    )


def takes_gaps(estimator: Any) -> bool:
    """Whether an estimator says that it takes missing values."""
    return bool(get_tags(estimator).input_tags.allow_nan)


@dataclass(frozen=True)
class _Decoder:
    """Turns encoded rows into a frame of named columns, with the categories' texts.

    ``fills`` are the columns' medians, for estimators that take no missing numbers:
    those stand in the gaps, and a column beside tells where these were. None leaves gaps.
    """

    features: tuple[Feature, ...]
    fills: tuple[float | None, ...] | None

    @classmethod
    def of(cls, tables: Tables, *, gaps: bool) -> _Decoder:
        if gaps:
            return cls(tables.features, None)
        both = np.vstack([tables.X, tables.X_live])
        holes = np.isnan(both).any(axis=0) & ~tables.categorical
        fills = [float(np.nanmedian(both[:, j])) if hole else None for j, hole in enumerate(holes)]
        return cls(tables.features, tuple(fills))

    def __call__(self, X: FloatArray) -> pl.DataFrame:
        columns = {}
        for j, (feature, x) in enumerate(zip(self.features, X.T)):
            fill = None if self.fills is None else self.fills[j]
            if feature.categories is not None:
                texts = pl.Series([*feature.categories, None], dtype=pl.String)
                columns[feature.name] = texts[
                    np.where(np.isnan(x), len(feature.categories), x).astype(np.int64)
                ]
            elif fill is None:
                columns[feature.name] = pl.Series(x, nan_to_null=True)
            else:
                columns[feature.name] = pl.Series(np.where(np.isnan(x), fill, x))
                columns[f"{feature.name} is missing"] = pl.Series(np.isnan(x).astype(np.float64))
        return pl.DataFrame(columns)


def _log(weights: FloatArray) -> FloatArray:
    return np.log(np.maximum(weights, _LEAST_WEIGHT))
