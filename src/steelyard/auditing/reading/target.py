"""The target and the model's output: which task it is, and the columns as codes and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.columns import as_text, is_text, parse_numbers
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.triage import LARGEST
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import Task
from steelyard.errors import InputError
from steelyard.evaluation import Outputs

MOST_CLASSES = 50
MOST_NUMERIC_CLASSES = 20
FEW_ROWS = 30
_TOO_LARGE = f"beyond {LARGEST:g}, more than the models hold"
_YES = {"yes", "y", "true", "t", "1", "positive", "pos"}
_NO = {"no", "n", "false", "f", "0", "negative", "neg"}


@dataclass(frozen=True)
class Target:
    """What is to be predicted: the task, its classes, and the values of one table."""

    task: Task
    classes: tuple[Any, ...] | None
    y: npt.NDArray[np.float64]
    findings: tuple[Finding, ...] = ()

    def without_values(self) -> Target:
        """Return what is needed to read further rows alike."""
        return replace(self, y=np.zeros(0))


def read_target(
    column: pl.Series, *, positive: Any = None, amounts: bool = False, faults: list[str]
) -> Target | None:
    """Decide the task and encode the target of TRAIN.

    Parameters
    ----------
    column : Series
        The target, without missing values.
    positive : object, optional
        The positive one of two classes; by default the one that reads as "yes", else the larger.
    amounts : bool, default False
        The deployed model predicts numbers with fractions, so that a target of numbers is no class.
    faults : list of str
        What is wrong is appended.

    Returns
    -------
    Target or None
        None if a fault was found.

    Notes
    -----
    A target of numbers with more than 20 different values, or predicted with fractions, is a regression,
    any other a classification.
    """
    name = column.name
    numeric = column if column.dtype.is_numeric() else None
    if numeric is None and not is_text(column.dtype):
        faults.append(f"target '{name}' in TRAIN is of type {column.dtype}; give classes or numbers")
        return None
    distinct = column.n_unique()
    if numeric is None and column.dtype == pl.String and distinct > MOST_NUMERIC_CLASSES:
        parsed = parse_numbers(column)
        numeric = parsed[0] if parsed is not None and parsed[0].null_count() == 0 else None
    if numeric is not None and not (numeric.cast(pl.Float64).abs() <= LARGEST).all():
        what = "infinite values" if numeric.cast(pl.Float64).is_infinite().any() else f"numbers {_TOO_LARGE}"
        faults.append(f"target '{name}' holds {what} in TRAIN; replace or remove those rows")
        return None
    if distinct < 2:
        faults.append(
            f"target '{name}' has the single value {column[0]!r} in TRAIN; there is nothing to predict"
        )
        return None
    if numeric is not None and (distinct > MOST_NUMERIC_CLASSES or (amounts and positive is None)):
        if positive is not None:
            faults.append(
                f"a positive class was named, but target '{name}' holds {distinct} different numbers: "
                "a regression"
            )
            return None
        why = (
            f"more than {MOST_NUMERIC_CLASSES}"
            if distinct > MOST_NUMERIC_CLASSES
            else "and the model predicts fractions of them"
        )
        text = f"Target '{name}' holds {distinct} different numbers ({why}): a regression."
        y = numeric.cast(pl.Float64).to_numpy()
        return Target("regression", None, y, (Finding("task", "info", text),))
    if distinct > MOST_CLASSES:
        faults.append(
            f"target '{name}' has {distinct} classes; at most {MOST_CLASSES} are supported: group the "
            "rare ones, "
            "or give numbers for a regression"
        )
        return None
    return _classes(column, positive, faults)


def _classes(column: pl.Series, positive: Any, faults: list[str]) -> Target | None:
    if column.dtype == pl.Float32:
        # The decimals that were meant: 0.1 is 0.10000000149011612 in the wider type.
        column = column.cast(pl.String).cast(pl.Float64)
    values = sorted(_plain(value) for value in column.unique().to_list())
    if positive is not None and (len(values) != 2 or not any(_same(positive, value) for value in values)):
        shown = ", ".join(repr(value) for value in values[:6])
        reason = "is not one of them" if len(values) == 2 else "needs exactly two"
        faults.append(
            f"positive class {positive!r}: target '{column.name}' has the classes {shown}, and it {reason}"
        )
        return None
    order = values
    if len(values) == 2:
        chosen = next(v for v in values if _same(positive, v)) if positive is not None else _yes(values)
        order = [value for value in values if value != chosen] + [chosen]
        how = "as named" if positive is not None else "change it with --positive"
        text = f"Target '{column.name}' has two classes; {chosen!r} is the positive one ({how})."
    else:
        text = f"Target '{column.name}' has {len(values)} classes."
        if column.dtype.is_numeric():
            text += (
                f" (Numbers with more than {MOST_NUMERIC_CLASSES} different values would be a regression.)"
            )
    y = encode_classes(column, tuple(order))
    task: Task = "binary" if len(values) == 2 else "multiclass"
    return Target(task, tuple(order), y, (Finding("task", "info", text), *_rare(column.name, y, order)))


def _rare(name: str, y: npt.NDArray[np.float64], classes: Sequence[Any]) -> list[Finding]:
    """Tell of classes with so few rows that nothing firm can be said of them."""
    counts = np.bincount(y.astype(np.int64), minlength=len(classes))
    few = [f"{value!r}: {n}" for value, n in zip(classes, counts) if n < FEW_ROWS]
    if not few:
        return []
    shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
    text = (
        f"Target '{name}' has classes with fewer than {FEW_ROWS} rows in TRAIN ({shown}). What is said of "
        "them, and of metrics that hang on them (AUC, F1), rests on those rows; get more of them."
    )
    return [Finding("rare-class", "warning", text)]


def _plain(value: Any) -> Any:
    """Return the value in its simplest type, so that 1 and 1.0 are one class."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _yes(values: Sequence[Any]) -> Any:
    words = [str(value).strip().lower() for value in values]
    if words[0] in _YES and words[1] in _NO:
        return values[0]
    return values[1]


def _same(given: Any, value: Any) -> bool:
    return bool(given == value) or _key(given) == _key(value)


def _key(value: Any) -> str:
    """Return the text by which values of different types are compared: 1, 1.0 and '1' are the same."""
    if isinstance(value, float):
        # As columns are written: Python writes 1e-05 where Polars has 0.00001.
        return str(as_text(pl.Series([value]))[0])
    return str(value).strip()


def encode_classes(column: pl.Series, classes: tuple[Any, ...]) -> npt.NDArray[np.float64]:
    """Return each value's index in ``classes``; NaN where it is missing or not one of them."""
    codes = {_key(value): float(code) for code, value in enumerate(classes)}
    texts = as_text(column).str.strip_chars()
    # A flag may be 1 on one side and True on the other.
    if set(codes) == {"False", "True"} and not set(texts.drop_nulls().unique()) & set(codes):
        codes = {str(int(key == "True")): code for key, code in codes.items()}
    elif column.dtype == pl.Boolean and set(codes) == {"0", "1"}:
        codes = {str(key == "1"): code for key, code in codes.items()}
    encoded = texts.replace_strict(codes, default=None, return_dtype=pl.Float64)
    return np.asarray(encoded.to_numpy(), dtype=np.float64)


def encode_target(column: pl.Series, target: Target) -> tuple[npt.NDArray[np.float64], int]:
    """Encode further rows of TRAIN's target.

    Returns
    -------
    y : ndarray of shape (n,)
        Class codes or numbers; NaN where the value is missing or of no known class.
    missing : int
        Rows without a value.
    """
    if column.dtype.is_float():
        column = column.fill_nan(None)
    missing = column.null_count()
    if target.classes is not None:
        return encode_classes(column, target.classes), missing
    if not column.dtype.is_numeric():
        column = as_text(column).str.strip_chars().cast(pl.Float64, strict=False)
    y = np.asarray(column.cast(pl.Float64).to_numpy(), dtype=np.float64).copy()
    y[~(np.abs(y) <= LARGEST)] = np.nan
    return y, missing


def read_labels(
    column: pl.Series, target: Target, what: str, faults: list[str]
) -> npt.NDArray[np.float64] | None:
    """Encode labels or class predictions like the target.

    Parameters
    ----------
    column : Series
        One value a row.
    target : Target
        Says the task and the classes.
    what : str
        The column in words, such as ``"labels"``.
    faults : list of str
        Missing, infinite, non-numeric (regression) or unknown (classification) values are appended.

    Returns
    -------
    ndarray of shape (n,) or None
        None if a fault was found.
    """
    empty = column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)
    if empty:
        faults.append(f"{what}: {empty} of {column.len()} values are missing; give one for every row")
        return None
    if not (column.dtype.is_numeric() or is_text(column.dtype)):
        faults.append(
            f"{what}: values of type {column.dtype} are neither classes nor numbers; give one of these"
        )
        return None
    if target.classes is None:
        return _numbers(column, what, faults)
    y = encode_classes(column, target.classes)
    unknown = np.isnan(y)
    if unknown.any():
        odd = sorted({str(value) for value in column.filter(pl.Series(unknown)).unique().to_list()})[:5]
        known = ", ".join(repr(value) for value in target.classes[:6])
        faults.append(
            f"{what}: {int(unknown.sum())} values are no class of TRAIN's target "
            f"({', '.join(map(repr, odd))}; "
            f"TRAIN has {known}); correct them or add such rows to TRAIN"
        )
        return None
    return y


def _numbers(column: pl.Series, what: str, faults: list[str]) -> npt.NDArray[np.float64] | None:
    if not column.dtype.is_numeric():
        parsed = parse_numbers(as_text(column)) if is_text(column.dtype) else None
        if parsed is None or parsed[0].null_count():
            faults.append(f"{what}: not all values are numbers, though the target is; give numbers")
            return None
        column = parsed[0]
    values = np.asarray(column.cast(pl.Float64).to_numpy(), dtype=np.float64)
    for bad, how in ((~np.isfinite(values), "infinite"), (np.abs(values) > LARGEST, _TOO_LARGE)):
        if bad.any():
            faults.append(f"{what}: {int(bad.sum())} values are {how}; correct them")
            return None
    return values


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
        classes, unless every name ends with ``_`` and its class.
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
        _probability(series_of(frame, name), f"probability column '{name}' in {side}", faults)
        for name in names
    ]
    if any(column is None for column in columns):
        return None
    p = np.column_stack([column for column in columns if column is not None])
    if p.shape[1] == 1:
        return np.column_stack([1 - p[:, 0], p[:, 0]])
    p = p[:, _class_positions(names, classes)]
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


def _probability(column: pl.Series, what: str, faults: list[str]) -> npt.NDArray[np.float64] | None:
    if not column.dtype.is_numeric():
        parsed = parse_numbers(as_text(column)) if is_text(column.dtype) else None
        if parsed is None:
            faults.append(f"{what} does not hold numbers; give probabilities in [0, 1]")
            return None
        column = parsed[0]
    p = np.asarray(column.cast(pl.Float64).to_numpy(), dtype=np.float64)
    empty = np.isnan(p)
    if empty.any():
        faults.append(f"{what}: {int(empty.sum())} values are missing; every row needs a probability")
        return None
    outside = (p < 0) | (p > 1)
    if outside.any():
        row = int(np.argmax(outside))
        hint = "divide by 100" if p.min() >= 0 and 2 < p.max() <= 100 else "give probabilities, not scores"
        faults.append(
            f"{what}: {int(outside.sum())} values lie outside [0, 1] (first row {row}: {p[row]:g}); {hint}"
        )
        return None
    return p


def _class_positions(names: Sequence[str], classes: tuple[Any, ...]) -> list[int]:
    """Return, for each class, which of the columns is its."""
    suffixes = [f"_{_key(value)}" for value in classes]
    matches = [[j for j, name in enumerate(names) if name.endswith(suffix)] for suffix in suffixes]
    if all(len(match) == 1 for match in matches) and len({match[0] for match in matches}) == len(names):
        return [match[0] for match in matches]
    ordered = sorted(classes)
    return [ordered.index(value) for value in classes]
