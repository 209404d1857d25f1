"""The two tables as the later steps see them: arrays, with the columns described beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.result import ColumnNote, Finding

Task = Literal["binary", "multiclass", "regression"]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Feature:
    """A column that the steps use.

    ``categories`` lists the text of each code of a categorical column, and is
    None for a number. Codes count from 0: the categories of TRAIN, most frequent
    first, then those that only LIVE has; past 250 those with the fewest rows in
    both tables share the last code, ``"(other)"``. ``kind`` and ``flags`` say how
    further rows of the column are read.
    """

    name: str
    categories: tuple[str, ...] | None = None
    kind: Literal["number", "category", "date", "absent"] = "number"
    flags: bool = False


@dataclass(frozen=True)
class Output:
    """The deployed model's output on some rows.

    ``proba`` is (n, n_classes), rows summing to one, columns in the order of
    ``Tables.classes``; ``label`` holds class codes (the arg max where there are
    probabilities); ``value`` holds a regression's predictions.
    """

    proba: FloatArray | None = None
    label: IntArray | None = None
    value: FloatArray | None = None

    def labelled(self) -> Output:
        """Return the output with labels: of two classes the positive one from a probability of one half."""
        if self.label is not None or self.proba is None:
            return self
        p = self.proba
        label = p[:, 1] >= 0.5 if p.shape[1] == 2 else p.argmax(axis=1)
        return replace(self, label=label.astype(np.int64))

    def take(self, rows: npt.NDArray[Any]) -> Output:
        """Return the output on some of the rows, by index or mask."""
        parts = (None if part is None else part[rows] for part in (self.proba, self.label, self.value))
        return Output(*parts)


class Deployed(Protocol):
    """Where the deployed model's output on rows comes from: their columns, the model, or models made here."""

    def __call__(self, frame: pl.DataFrame, X: FloatArray, fold: IntArray, side: str) -> Output:
        """Return the output on rows, given as read and encoded.

        ``fold`` deals them to models made here; ``side`` is the table's name in a message.
        """
        ...


@dataclass(frozen=True)
class Tables:
    """TRAIN and LIVE, encoded.

    ``X`` and ``X_live`` are float64, (n, d): numbers as they are, codes for
    categories, NaN where missing. ``y`` holds class codes as float64 (an index
    into ``classes``; for a binary task 1 is the positive class), or the numbers
    of a regression. ``window`` gives each LIVE row its index into
    ``window_names``. ``frame`` and ``frame_live`` are the tables as read, for a
    model that wants the columns themselves. ``deployed`` gives the output on
    further rows, ``live_rows`` the numbers of ``X_live``'s rows in LIVE where
    they are a sample of it, and ``column_findings`` are those of ``findings`` that compare
    the two sides of a column, by its name.
    """

    X: FloatArray
    X_live: FloatArray
    features: tuple[Feature, ...]
    y: FloatArray
    task: Task
    classes: tuple[Any, ...] | None
    target: str
    y_live: FloatArray | None = None
    output: Output | None = None
    output_live: Output | None = None
    window: IntArray | None = None
    live_rows: IntArray | None = None
    window_names: tuple[tuple[str, str], ...] = ()
    notes: tuple[ColumnNote, ...] = ()
    findings: tuple[Finding, ...] = ()
    column_findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict, repr=False)
    frame: pl.DataFrame | None = field(default=None, repr=False)
    frame_live: pl.DataFrame | None = field(default=None, repr=False)
    deployed: Deployed | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which columns of ``X`` hold category codes, (d,)."""
        return np.array([f.categories is not None for f in self.features], dtype=bool)
