"""The first step: two tables in any common form become the arrays that the later steps share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.profiles.reference import ReferenceColumn
from steelyard.auditing.reading.classes import other_case
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.features import Columns, Roles
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.notes import some_columns, with_withheld
from steelyard.auditing.reading.outputs import OutputColumns, order_finding, read_output
from steelyard.auditing.reading.sources import load
from steelyard.auditing.reading.target import (
    Meant,
    Target,
    known_rows,
    missing_words,
    read_labels,
    read_target,
)
from steelyard.auditing.reading.texts import is_text
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import GivenOutput, Tables
from steelyard.errors import InputError

MIN_ROWS = 50


def read_tables(
    train: Any,
    live: Any,
    *,
    target: str,
    proba: str | Sequence[str] = (),
    prediction: str | None = None,
    labels: Any = None,
    time: str | None = None,
    exclude: str | Sequence[str] = (),
    positive: Any = None,
    columns: Sequence[ReferenceColumn] = (),
    dialect: Dialect = PLAIN,
    faults: Sequence[str] = (),
) -> Tables:
    """Read both tables, look them over, and encode what the steps use.

    Parameters
    ----------
    train, live : path, or pandas, Polars or Arrow table
        CSV, Parquet, Arrow/Feather or NDJSON, one file or a glob.
    target : str
        The column of TRAIN to predict. In LIVE it is ignored unless ``labels`` names it.
    proba, prediction : str or sequence of str, optional
        Columns of both tables that hold the deployed model's output.
    labels : str, Path or array, optional
        The labels of LIVE: one of its columns, a file of one column (or with a column named
        like the target), or the values themselves, one a row.
    time : str, optional
        The column of LIVE that holds the time, which is no feature.
    exclude : str or sequence of str
        Columns to leave out.
    positive : object, optional
        The positive one of two classes.
    columns : sequence of ReferenceColumn
        Where TRAIN is the sample of a profile: all columns that TRAIN had. Those of which the profile
        keeps no values are left out of LIVE as well.
    dialect : Dialect
        How the caller says that values are to be read.
    faults : sequence of str
        What is known to be wrong already.

    Returns
    -------
    Tables

    Raises
    ------
    InputError
        With every fault that was found.

    Notes
    -----
    Time and memory O((n + n_live) d).

    Examples
    --------
    >>> import polars as pl
    >>> train = pl.DataFrame({"x": [0.1, 0.7, 0.4, 0.9] * 25, "y": [0, 1, 0, 1] * 25})
    >>> tables = read_tables(train, train.select("x"), target="y")
    >>> tables.X.shape, tables.task, tables.classes
    ((100, 1), 'binary', (0, 1))
    """
    proba = (proba,) if isinstance(proba, str) else tuple(proba)
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    told = list(faults)
    frame, frame_live = load(train, "TRAIN", told, dialect), load(live, "LIVE", told, dialect)
    if frame is None or frame_live is None:
        raise InputError(told)
    withheld = tuple(column for column in columns if column.name not in frame.columns)
    # TRAIN had these columns: in LIVE they are left out like there, and are nothing new.
    meant = {time, labels if isinstance(labels, str) else None}
    hidden = [c.name for c in withheld if c.name in frame_live.columns and c.name not in meant]
    reading = _Reading(frame, frame_live, target, proba, prediction, time, (*exclude, *hidden), told, dialect)
    reading.checksome_columns(labels)
    decided = reading.read_target(positive)
    y_live = reading.read_live_labels(labels, decided)
    given = reading.read_outputs(decided)
    judging = reading.columns
    X, X_live, features = judging.encode()
    reading.check_rows()
    if told or decided is None:
        raise InputError(told)
    notes, of_withheld = with_withheld(judging.notes, columns, frame_live, dialect)
    return Tables(
        X=X,
        X_live=X_live,
        features=features,
        y=decided.y,
        task=decided.task,
        classes=decided.classes,
        target=target,
        frame=reading.frame,
        frame_live=reading.frame_live,
        kept=reading.train_rows,
        y_live=y_live,
        given=given,
        excluded=(*exclude, *hidden),
        notes=notes,
        findings=(*decided.findings, *reading.findings, *of_withheld),
        column_findings=judging.judged,
        profiles=judging.profiles,
        target_written=decided.written,
    )


def label_series(labels: Any, target: str, faults: list[str], dialect: Dialect = PLAIN) -> pl.Series | None:
    """Read labels that are no column of LIVE: a file or table of one column, or the values themselves."""
    if not isinstance(labels, (str, Path)):
        if hasattr(labels, "columns") or hasattr(labels, "collect_schema"):
            frame = load(labels, "labels", faults, dialect)
            return None if frame is None else _only_column(frame, target, faults)
        return pl.Series("labels", np.asarray(labels).tolist(), strict=False)
    if not Path(labels).suffix and not Path(labels).exists():
        faults.append(f"labels '{labels}' are neither a column of LIVE nor a file; check the name")
        return None
    frame = load(labels, "labels", faults, dialect)
    return None if frame is None else _only_column(frame, target, faults)


def _only_column(frame: pl.DataFrame, target: str, faults: list[str]) -> pl.Series | None:
    if target in frame.columns:
        return series_of(frame, target)
    if frame.width == 1:
        return series_of(frame, frame.columns[0])
    faults.append(
        f"labels: {frame.width} columns ({some_columns(frame.columns)}) and none is named "
        f"'{target}'; give one column"
    )
    return None


@dataclass
class _Reading:
    """The tables while they are being read, and what has been found so far."""

    frame: pl.DataFrame
    frame_live: pl.DataFrame
    target: str
    proba: tuple[str, ...]
    prediction: str | None
    time: str | None
    exclude: tuple[str, ...]
    faults: list[str]
    dialect: Dialect = PLAIN
    label_column: str | None = None
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.train_rows: npt.NDArray[np.int64] = np.arange(self.frame.height)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.proba if self.prediction is None else (*self.proba, self.prediction)

    def checksome_columns(self, labels: Any) -> None:
        """See that the columns named by the caller are there, and mean one thing each."""
        here, there = self.frame.columns, self.frame_live.columns
        if self.target not in here:
            self.faults.append(
                f"target '{self.target}' is not a column of TRAIN ({some_columns(here)}); check the name"
            )
        for name in self.outputs:
            lacking = [side for side, names in (("TRAIN", here), ("LIVE", there)) if name not in names]
            if lacking:
                self.faults.append(
                    f"output column '{name}' is missing in {' and '.join(lacking)}; the model's "
                    "output is needed in both"
                )
        if self.time is not None and self.time not in there:
            self.faults.append(
                f"time column '{self.time}' is not a column of LIVE ({some_columns(there)}); check the name"
            )
        for name in self.exclude:
            if name not in here and name not in there:
                self.faults.append(f"excluded column '{name}' is in neither table; check the name")
        self._check_categorical()
        if self.target in (*self.outputs, self.time):
            self.faults.append(
                f"column '{self.target}' is the target and cannot be the model's output or the time as well"
            )
        if isinstance(labels, str) and labels in there:
            self.label_column = labels

    def _check_categorical(self) -> None:
        """See that the columns whose numbers are names are features."""
        for name in self.dialect.categorical:
            role = (
                "the target" if name == self.target else "the model's output" if name in self.outputs else ""
            )
            role = "the time" if name == self.time else role
            if role:
                remedy = "; say --task classification" if name == self.target else "; leave it out there"
                self.faults.append(f"--categorical '{name}' is {role}, no feature{remedy}")
            elif name not in self.frame.columns and name not in self.frame_live.columns:
                self.faults.append(f"--categorical '{name}' is in neither table; check the name")

    def read_target(self, positive: Any) -> Target | None:
        """Encode the target and leave out the rows of TRAIN that lack it."""
        if self.target not in self.frame.columns:
            return None
        column = series_of(self.frame, self.target)
        known = known_rows(column, missing_words(column, self.dialect))
        if not known.any():
            self.faults.append(
                f"target '{self.target}' is missing in every row of TRAIN; give a labelled table"
            )
            return None
        if not known.all():
            self.train_rows = np.flatnonzero(known.to_numpy())
            self.frame = self.frame.filter(known)
        meant = Meant(positive, self._predicts_amounts(), len(self.proba) > 0, self.dialect)
        return read_target(column, meant, self.faults)

    def _predicts_amounts(self) -> bool:
        """Whether the deployed model's predictions are numbers with fractions, as no class would be."""
        if self.prediction is None or self.prediction not in self.frame.columns:
            return False
        column = series_of(self.frame, self.prediction)
        if not column.dtype.is_float():
            return False
        known = series_of(self.frame, self.target).cast(pl.Float64, strict=False)
        values = column.fill_nan(None).drop_nulls()
        fractions = bool((values != values.round()).any()) and known.null_count() == 0
        return fractions and not set(values.to_list()) <= set(known.to_list())

    def read_live_labels(self, labels: Any, decided: Target | None) -> npt.NDArray[np.float64] | None:
        """Read the labels of LIVE, wherever they are."""
        if labels is None:
            if (
                self.target in self.frame_live.columns
                and series_of(self.frame_live, self.target).null_count() < self.frame_live.height
            ):
                text = (
                    f"LIVE has the target column '{self.target}' too; it was not looked at. "
                    f"Name it as the labels to have the estimates scored."
                )
                self.findings.append(Finding("labels-unused", "info", text))
            return None
        column = self._label_series(labels)
        if column is None:
            return None
        if column.len() != self.frame_live.height:
            self.faults.append(
                f"labels: {column.len()} values for {self.frame_live.height} rows of LIVE; give one a "
                "row, in the same order"
            )
            return None
        if decided is None:
            return None
        self._tell_other_case(column, decided, "labels")
        return read_labels(column, decided, "labels", self.faults)

    def _tell_other_case(self, column: pl.Series, decided: Target, what: str) -> None:
        """Tell of labels or predictions that are a class but for their case."""
        if decided.classes is None or not is_text(column.dtype):
            return
        pairs = other_case(column, decided.classes, decided.missing)
        if pairs:
            shown = ", ".join(f"'{said}' for '{value}'" for said, value in pairs[:3])
            text = f"The {what} differ from TRAIN's classes in case alone ({shown}): read as those."
            self.findings.append(Finding("class-spelling", "info", text))

    def _label_series(self, labels: Any) -> pl.Series | None:
        if self.label_column is not None:
            return series_of(self.frame_live, self.label_column)
        return label_series(labels, self.target, self.faults, self.dialect)

    def read_outputs(self, decided: Target | None) -> GivenOutput | None:
        """Read the deployed model's output on both sides."""
        sides = ((self.frame, "TRAIN"), (self.frame_live, "LIVE"))
        present = all(name in frame.columns for name in self.outputs for frame, _ in sides)
        if decided is None or not self.outputs or not present:
            return None
        read = [
            read_output(
                frame, side, decided, proba=self.proba, prediction=self.prediction, faults=self.faults
            )
            for frame, side in sides
        ]
        if read[0] is None or read[1] is None:
            return None
        self.findings += order_finding(self.proba, decided)
        if self.prediction is not None:
            for frame, side in sides:
                self._tell_other_case(series_of(frame, self.prediction), decided, f"predictions in {side}")
        deployed = OutputColumns(decided.without_values(), self.proba, self.prediction)
        return GivenOutput(read[0].labelled(), read[1].labelled(), deployed)

    @property
    def columns(self) -> Columns:
        """The columns, to be judged and encoded; what is found is told where the rest is."""
        roles = Roles(self.target, self.outputs, self.time, self.exclude, self.label_column)
        return Columns(self.frame, self.frame_live, roles, self.dialect, self.faults, self.findings)

    def check_rows(self) -> None:
        """See that there are rows enough to say anything."""
        for side, rows in (("TRAIN", self.frame.height), ("LIVE", self.frame_live.height)):
            if rows < MIN_ROWS:
                self.faults.append(
                    f"{side} has {rows} usable rows; at least {MIN_ROWS} are needed to say anything"
                )
