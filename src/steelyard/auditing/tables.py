"""The two tables as the later steps see them: arrays, with the columns described beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.written import AS_IS, Written
from steelyard.auditing.result import ColumnNote, Finding
from steelyard.evaluation import ExpectedOutcome, Outputs, outcome_columns

Task = Literal["binary", "multiclass", "regression"]
Profiles = Mapping[str, ColumnProfile]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Feature:
    """A column that the steps use.

    ``categories`` lists the text of each code of a categorical column, and is
    None for a number. Codes count from 0: the categories of TRAIN, most frequent
    first, then those that only LIVE has; past 250 those with the fewest rows in
    both tables share the last code, ``"(other)"``. ``kind`` and ``written`` say how
    further rows of the column are read.
    """

    name: str
    categories: tuple[str, ...] | None = None
    kind: Literal["number", "category", "date", "absent"] = "number"
    written: Written = AS_IS


class Deployed(Protocol):
    """Where the deployed model's output on rows comes from: their columns, the model, or models made here."""

    def __call__(self, frame: pl.DataFrame, X: FloatArray, fold: IntArray, side: str) -> Outputs:
        """Return the output on rows, given as read and encoded.

        ``fold`` deals them to models made here; ``side`` is the table's name in a message.
        """
        ...


@dataclass(frozen=True)
class GivenOutput:
    """The deployed model's output that stands in columns of both tables, and what reads it of more rows."""

    train: Outputs
    live: Outputs
    deployed: Deployed


@dataclass(frozen=True)
class Tables:
    """TRAIN and LIVE, or the rows of either that models are fitted on, encoded.

    ``X`` and ``X_live`` are float64, (n, d): numbers as they are, codes for
    categories, NaN where missing. ``y`` holds class codes as float64 (an index
    into ``classes``; for a binary task 1 is the positive class), or the numbers
    of a regression. ``kept`` are the places of ``X``'s rows in TRAIN as read: rows
    without a target are left out. ``frame`` and ``frame_live`` are the tables as
    read, for a model that wants the columns themselves. ``findings`` are those of
    the reading itself; what there is to say of a feature's values is said once all
    rows have been looked at. ``profiles`` sum up the features of either side.
    ``target_written`` says how further rows of the target are read.
    """

    X: FloatArray
    X_live: FloatArray
    features: tuple[Feature, ...]
    y: FloatArray
    task: Task
    classes: tuple[Any, ...] | None
    target: str
    frame: pl.DataFrame = field(repr=False)
    frame_live: pl.DataFrame = field(repr=False)
    kept: IntArray = field(repr=False)
    y_live: FloatArray | None = None
    given: GivenOutput | None = field(default=None, repr=False)
    excluded: tuple[str, ...] = ()
    notes: tuple[ColumnNote, ...] = ()
    findings: tuple[Finding, ...] = ()
    column_findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict, repr=False)
    profiles: tuple[Profiles, Profiles] = field(default=({}, {}), repr=False)
    target_written: Written = field(default=AS_IS, repr=False)

    @property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which columns of ``X`` hold category codes, (d,)."""
        return np.array([f.categories is not None for f in self.features], dtype=bool)

    def with_findings(self, found: Iterable[Finding]) -> Tables:
        """Return the tables with further findings."""
        return replace(self, findings=(*self.findings, *found))

    @property
    def used(self) -> frozenset[str]:
        """Names of the features."""
        return frozenset(f.name for f in self.features)

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None for a regression."""
        return None if self.classes is None else len(self.classes)


@dataclass(frozen=True)
class ModelOutput:
    """What the model says of every sampled row, where it says it of more, and whether it was made here."""

    train: Outputs
    live: Outputs
    deployed: Deployed
    made_here: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The sampled rows of both sides with the model's output on them and the outcome to expect.

    ``live_rows`` are the numbers of ``tables.X_live``'s rows in LIVE.
    """

    tables: Tables
    model: ModelOutput
    expected: ExpectedOutcome
    live_rows: IntArray

    @cached_property
    def outcome(self) -> FloatArray:
        """The outcome columns of TRAIN's rows."""
        return outcome_columns(self.tables.y, self.model.train, n_classes=self.tables.n_classes)


def predicted_numbers(outputs: Outputs) -> FloatArray:
    """Return the numbers that a regression's model predicts."""
    if outputs.value is None:
        raise TypeError("a regression's output is numbers")
    return outputs.value
