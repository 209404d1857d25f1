"""The deployed model's output, read from columns of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.class_names import class_positions
from steelyard.auditing.reading.dialect import PLAIN
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.numbers import number_form, read_numbers
from steelyard.auditing.reading.target import Target, known_rows, read_labels
from steelyard.auditing.reading.texts import as_text, is_text
from steelyard.auditing.result import Finding
from steelyard.errors import InputError
from steelyard.evaluation import Outputs

ROUNDING = 1e-6
"""How far beyond 0 or 1 a probability may lie by rounding."""


def read_output(
    frame: pl.DataFrame,
    side: str,
    target: Target,
    *,
    proba: Sequence[str],
    prediction: str | None,
    faults: list[str],
) -> Outputs | None:
    """Read the deployed model's output from the named columns of one table.

    Parameters
    ----------
    frame : DataFrame
        Holds the columns.
    side : str
        ``"TRAIN"`` or ``"LIVE"``, for the messages.
    target : Target
        Says the task and the classes.
    proba : sequence of str
        One column for two classes (the positive one's), or one a class: in the order of the sorted
        classes, unless the names end with the classes.
    prediction : str, optional
        The predicted class or number.
    faults : list of str
        What is wrong is appended.

    Returns
    -------
    Outputs or None
        None if nothing was named or a fault was found.
    """
    before = len(faults)
    label: npt.NDArray[np.int64] | None = None
    value: npt.NDArray[np.float64] | None = None
    probabilities = _read_proba(frame, side, target, proba, faults) if proba else None
    if prediction is not None:
        what = f"prediction column '{prediction}' in {side}"
        read = read_labels(series_of(frame, prediction), target, what, faults)
        if read is not None and target.classes is None:
            value = read
        elif read is not None:
            label = read.astype(np.int64)
    if len(faults) > before or (probabilities is None and prediction is None):
        return None
    return Outputs(proba=probabilities, label=label, value=value)


@dataclass(frozen=True)
class OutputColumns:
    """The deployed model's output, read from columns of the rows."""

    target: Target
    proba: tuple[str, ...]
    prediction: str | None

    def __call__(
        self, frame: pl.DataFrame, X: npt.NDArray[np.float64], fold: npt.NDArray[np.int64], side: str
    ) -> Outputs:
        """Return the output on rows; a value that cannot be used raises InputError."""
        del X, fold
        faults: list[str] = []
        read = read_output(
            frame, side, self.target, proba=self.proba, prediction=self.prediction, faults=faults
        )
        if read is None:
            raise InputError(faults)
        return read.labelled()


def _read_proba(
    frame: pl.DataFrame, side: str, target: Target, names: Sequence[str], faults: list[str]
) -> npt.NDArray[np.float64] | None:
    if target.classes is None:
        if side == "TRAIN":
            faults.append(
                f"probabilities ({', '.join(names)}) were given, but the target is a number; name a "
                "prediction"
            )
        return None
    classes = target.classes
    if len(names) != len(classes) and not (len(names) == 1 and len(classes) == 2):
        if side == "TRAIN":
            faults.append(
                f"{len(names)} probability columns were given for {len(classes)} classes; name one a class"
            )
        return None
    columns = [
        _probability(series_of(frame, name), target, f"probability column '{name}' in {side}", faults)
        for name in names
    ]
    if any(column is None for column in columns):
        return None
    p = np.column_stack([column for column in columns if column is not None])
    if p.shape[1] == 1:
        return np.column_stack([1 - p[:, 0], p[:, 0]])
    positions = class_positions(names, classes)
    if isinstance(positions, str):
        if side == "TRAIN":
            faults.append(f"probability columns {positions}")
        return None
    p = p[:, _sorted_positions(classes) if positions is None else positions]
    total = p.sum(axis=1)
    off = np.abs(total - 1) > 1e-3
    if off.any():
        row = int(np.argmax(off))
        faults.append(
            f"probabilities in {side}: {int(off.sum())} rows do not sum to one (first row {row}: "
            f"{total[row]:.4g}); "
            "give the probability of every class"
        )
        return None
    return np.asarray(p / total[:, None], dtype=np.float64)


def order_finding(names: Sequence[str], target: Target) -> tuple[Finding, ...]:
    """Tell if probability columns are taken in the order of the classes, as no name ends with one."""
    if target.classes is None or len(names) < 2 or class_positions(names, target.classes) is not None:
        return ()
    ordered = ", ".join(repr(target.classes[i]) for i in np.argsort(_sorted_positions(target.classes)))
    text = (
        f"The names of the probability columns ({', '.join(names)}) end with no class: taken in the order of "
        f"the sorted classes ({ordered}). Name them like 'p_CLASS' to be sure."
    )
    return (Finding("output-order", "info", text),)


def _sorted_positions(classes: Sequence[object]) -> list[int]:
    ordered = sorted(classes)  # type: ignore[type-var]
    return [ordered.index(value) for value in classes]


def _probability(
    column: pl.Series, target: Target, what: str, faults: list[str]
) -> npt.NDArray[np.float64] | None:
    words = target.missing | PLAIN.missing_words
    empty = column.len() if column.dtype == pl.Null else int((~known_rows(column, words)).sum())
    if empty:
        faults.append(f"{what}: {empty} values are missing; every row needs a probability")
        return None
    if not column.dtype.is_numeric():
        texts = as_text(column)
        form = number_form(texts, (), target.written.numbers.decimal) if is_text(column.dtype) else None
        if form is None:
            faults.append(f"{what} does not hold numbers; give probabilities in [0, 1]")
            return None
        column = read_numbers(texts, (), form)
    p = np.asarray(column.cast(pl.Float64).to_numpy(), dtype=np.float64)
    outside = ~((p >= -ROUNDING) & (p <= 1 + ROUNDING))
    if outside.any():
        row = int(np.argmax(outside))
        hint = "divide by 100" if p.min() >= 0 and 2 < p.max() <= 100 else "give probabilities, not scores"
        faults.append(
            f"{what}: {int(outside.sum())} values lie outside [0, 1] (first row {row}: {p[row]:g}); {hint}"
        )
        return None
    return np.clip(p, 0.0, 1.0)
