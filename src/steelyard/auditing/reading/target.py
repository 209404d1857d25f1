"""The target: which task it is, and the columns of outcomes as codes and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.classes import (
    NO,
    YES,
    class_codes,
    class_keys,
    class_values,
    find_class,
    merged_spellings,
    missing_in_classes,
)
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.missing import is_missing_word, words_found
from steelyard.auditing.reading.numbers import NumberForm, number_form, read_numbers
from steelyard.auditing.reading.texts import as_text, is_text
from steelyard.auditing.reading.triage import LARGEST
from steelyard.auditing.reading.written import AS_IS, Written
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import Task

MOST_CLASSES = 50
MOST_NUMERIC_CLASSES = 20
FEW_ROWS = 30
_FEW_FRACTIONS = 3
_TOO_LARGE = f"beyond {LARGEST:g}, more than the models hold"


@dataclass(frozen=True)
class Target:
    """What is to be predicted: the task, its classes, and the values of one table.

    ``written`` holds the words for a missing value, and how numbers are written in texts.
    """

    task: Task
    classes: tuple[Any, ...] | None
    y: npt.NDArray[np.float64]
    findings: tuple[Finding, ...] = ()
    written: Written = AS_IS

    @property
    def missing(self) -> frozenset[str]:
        """Words for a missing value, in lower case."""
        return self.written.missing

    def without_values(self) -> Target:
        """Return what is needed to read further rows alike."""
        return replace(self, y=np.zeros(0))


@dataclass(frozen=True)
class Meant:
    """What the caller's options say of the target.

    ``positive`` is the positive one of two classes; ``amounts`` that the deployed model predicts
    numbers with fractions, so that a target of numbers is no class; ``shares`` that it gives
    probabilities of classes.
    """

    positive: Any = None
    amounts: bool = False
    shares: bool = False
    dialect: Dialect = PLAIN


def known_rows(column: pl.Series, missing: frozenset[str]) -> pl.Series:
    """Return which rows of a target, of labels or of predictions have a value."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if not is_text(column.dtype) or column.dtype == pl.Boolean:
        return column.is_not_null()
    return column.is_not_null() & ~is_missing_word(as_text(column), missing)


def missing_words(column: pl.Series, dialect: Dialect) -> frozenset[str]:
    """Return the words for a missing value of a target."""
    if dialect.task == "regression":
        return dialect.missing_words
    return missing_in_classes(column, dialect.missing_words, dialect.null)


def read_target(column: pl.Series, meant: Meant, faults: list[str]) -> Target | None:
    """Decide the task and encode the target of TRAIN.

    Parameters
    ----------
    column : Series
        The target; rows without a value are left out.
    meant : Meant
        What the caller says of it.
    faults : list of str
        What is wrong is appended.

    Returns
    -------
    Target or None
        None if a fault was found; ``y`` has a value for each row that has one.

    Notes
    -----
    A target of numbers is a regression if the caller says so, if it has more than 20 different values,
    more than three and fractions among them, or if fractions are predicted; any other is a classification.
    """
    name = column.name
    if not column.dtype.is_numeric() and not is_text(column.dtype):
        faults.append(f"target '{name}' in TRAIN is of type {column.dtype}; give classes or numbers")
        return None
    missing = missing_words(column, meant.dialect)
    read_as_missing = words_found(as_text(column), missing) if column.dtype != pl.Boolean else ()
    column = column.filter(known_rows(column, missing))
    numbers, form = _numbers_of(column, meant)
    if numbers is not None and not (numbers.abs() <= LARGEST).all():
        what = "infinite values" if numbers.is_infinite().any() else f"numbers {_TOO_LARGE}"
        faults.append(f"target '{name}' holds {what} in TRAIN; replace or remove those rows")
        return None
    distinct = (class_keys(column) if numbers is None else numbers).n_unique()
    if distinct < 2:
        faults.append(
            f"target '{name}' has the single value {_shown(column)} in TRAIN; there is nothing to predict: "
            "give rows with other values too"
        )
        return None
    why = _regression(name, column, numbers, distinct, meant, faults)
    if why is None:
        return None
    target = _of_numbers(name, numbers, distinct, why) if why else _classes(column, meant, faults)
    if target is None:
        return None
    findings = target.findings
    if read_as_missing:
        shown = ", ".join(f"'{word}'" for word in read_as_missing)
        text = f"{findings[0].text} Read as missing: {shown}."
        findings = (replace(findings[0], text=text), *findings[1:])
    return replace(target, findings=findings, written=Written(missing, form))


def _shown(column: pl.Series) -> str:
    value = column[0]
    return repr(value.strip() if isinstance(value, str) else value)


def _numbers_of(column: pl.Series, meant: Meant) -> tuple[pl.Series | None, NumberForm]:
    """Return the target's values as numbers, if they are some and not names of classes."""
    regression = meant.dialect.task == "regression"
    if column.dtype.is_numeric() or (column.dtype == pl.Boolean and regression):
        return column.cast(pl.Float64), NumberForm()
    if column.dtype == pl.Boolean:
        return None, NumberForm()
    texts = as_text(column)
    form = number_form(texts, (), meant.dialect.decimal)
    codes = texts.str.contains(r"^\s*0\d").any() and not regression
    if form is None or codes:
        return None, NumberForm()
    return read_numbers(texts, (), form), form


def _regression(
    name: str, column: pl.Series, numbers: pl.Series | None, distinct: int, meant: Meant, faults: list[str]
) -> str | None:
    """Return why the target is a regression, empty if it is a classification; None if a fault was found."""
    task, positive = meant.dialect.task, meant.positive
    if task == "regression" and numbers is None:
        odd = column.filter(column.cast(pl.Float64, strict=False).is_null())
        faults.append(
            f"--task regression: target '{name}' in TRAIN holds texts such as {_shown(odd)}, which are no "
            "numbers; correct them, name a word that means missing (--null), or leave --task out"
        )
        return None
    why = _reason(numbers, distinct, meant)
    if why and positive is not None:
        faults.append(
            f"a positive class was named, but target '{name}' holds {distinct} different numbers: "
            "a regression; leave --positive out, or say --task classification"
        )
        return None
    if not why and distinct > MOST_CLASSES:
        said = "--task classification: " if task == "classification" else ""
        number = "say --task regression" if numbers is not None else "give numbers for a regression"
        faults.append(
            f"{said}target '{name}' has {distinct} classes; at most {MOST_CLASSES} are supported: group the "
            f"rare ones, or {number}"
        )
        return None
    return why


def _reason(numbers: pl.Series | None, distinct: int, meant: Meant) -> str:
    """Return what makes numbers a regression; empty if nothing does."""
    task = meant.dialect.task
    if numbers is None or task == "classification":
        return ""
    if task == "regression":
        return "as named"
    if distinct > MOST_NUMERIC_CLASSES:
        return f"more than {MOST_NUMERIC_CLASSES}"
    if meant.positive is not None or meant.shares:
        return ""
    if meant.amounts:
        return "and the model predicts fractions of them"
    # Halves or tenths measure something; a few values may be names all the same.
    fractions = distinct > _FEW_FRACTIONS and bool((numbers != numbers.round()).any())
    return "with fractions among them" if fractions else ""


def _of_numbers(name: str, numbers: pl.Series | None, distinct: int, why: str) -> Target:
    assert numbers is not None
    remedy = "" if why == "as named" else " If they are classes, say so (--task classification)."
    text = f"Target '{name}' holds {distinct} different numbers ({why}): a regression.{remedy}"
    return Target("regression", None, numbers.to_numpy(), (Finding("task", "info", text),))


def _classes(column: pl.Series, meant: Meant, faults: list[str]) -> Target | None:
    known = class_values(column)
    values = sorted(known.values())
    positive = meant.positive
    named = None if positive is None else find_class(positive, values)
    if positive is not None and (len(values) != 2 or named is None):
        shown = ", ".join(repr(value) for value in values[:6])
        reason = "is not one of them" if len(values) == 2 else "needs exactly two"
        faults.append(
            f"positive class {positive!r}: target '{column.name}' has the classes {shown}, and it {reason}"
        )
        return None
    order = values
    if len(values) == 2:
        chosen = values[named] if named is not None else _yes(values)
        order = [value for value in values if value is not chosen] + [chosen]
        how = "as named" if positive is not None else "change it with --positive"
        text = f"Target '{column.name}' has two classes; {chosen!r} is the positive one ({how})."
    else:
        text = f"Target '{column.name}' has {len(values)} classes."
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        text += _if_amounts(len(values), meant)
    y = class_codes(column, tuple(order))
    task: Task = "binary" if len(values) == 2 else "multiclass"
    found = (Finding("task", "info", text), *_spellings(column), *_rare(column.name, y, order))
    return Target(task, tuple(order), y, found)


def _if_amounts(count: int, meant: Meant) -> str:
    """Say how numbers that were taken for classes become a regression."""
    if count == 2 or meant.dialect.task == "classification":
        return ""
    return (
        " So few different numbers are taken for classes; if they are amounts or scores, say so "
        "(--task regression)."
    )


def _spellings(column: pl.Series) -> list[Finding]:
    """Tell which classes are written in several ways, and which names differ in case alone."""
    found = []
    merged = merged_spellings(column)
    if merged:
        shown = "; ".join(", ".join(f"'{way}'" for way in ways) for ways in list(merged.values())[:3])
        text = f"Target '{column.name}' has a class written in several ways ({shown}): read as one each."
        found.append(Finding("class-spelling", "info", text))
    keys = sorted(set(class_keys(column).to_list()))
    alike: dict[str, list[str]] = {}
    for key in keys:
        alike.setdefault(key.lower(), []).append(key)
    apart = [names for names in alike.values() if len(names) > 1]
    if apart:
        shown = "; ".join(" and ".join(f"'{name}'" for name in names) for names in apart[:3])
        text = (
            f"Target '{column.name}' has classes that differ in case alone ({shown}): kept apart. If they "
            "are one, write them alike."
        )
        found.append(Finding("class-spelling", "warning", text))
    return found


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


def _yes(values: Sequence[Any]) -> Any:
    words = [str(value).strip().lower() for value in values]
    if words[0] in YES and words[1] in NO:
        return values[0]
    return values[1]


def encode_target(column: pl.Series, target: Target) -> tuple[npt.NDArray[np.float64], int]:
    """Encode further rows of TRAIN's target.

    Returns
    -------
    y : ndarray of shape (n,)
        Class codes or numbers; NaN where the value is missing or of no known class.
    missing : int
        Rows without a value.
    """
    missing = column.len() - int(known_rows(column, target.missing).sum())
    if target.classes is not None:
        return class_codes(column, target.classes, target.missing), missing
    y = np.array(_as_numbers(column, target).to_numpy(), dtype=np.float64)
    y[~(np.abs(y) <= LARGEST)] = np.nan
    return y, missing


def _as_numbers(column: pl.Series, target: Target) -> pl.Series:
    if is_text(column.dtype) and column.dtype != pl.Boolean:
        return read_numbers(as_text(column), target.missing, target.written.numbers)
    return column.cast(pl.Float64)


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
    # A column without any value is of no type.
    empty = column.len() if column.dtype == pl.Null else int((~known_rows(column, target.missing)).sum())
    if empty:
        faults.append(f"{what}: {empty} of {column.len()} values are missing; give one for every row")
        return None
    if not (column.dtype.is_numeric() or is_text(column.dtype)):
        faults.append(
            f"{what}: values of type {column.dtype} are neither classes nor numbers; give one of these"
        )
        return None
    if target.classes is None:
        return _numbers(column, target, what, faults)
    y = class_codes(column, target.classes, any_case=True)
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


def _numbers(
    column: pl.Series, target: Target, what: str, faults: list[str]
) -> npt.NDArray[np.float64] | None:
    read = _as_numbers(column, target)
    if read.null_count():
        # Labels may be written in another way than the target.
        form = number_form(as_text(column), (), target.written.numbers.decimal)
        if form is None:
            odd = as_text(column.filter(read.is_null()))[0]
            faults.append(
                f"{what}: not all values are numbers (such as '{odd}'), though the target is; give numbers"
            )
            return None
        read = read_numbers(as_text(column), (), form)
    values = np.asarray(read.to_numpy(), dtype=np.float64)
    for bad, how in ((~np.isfinite(values), "infinite"), (np.abs(values) > LARGEST, _TOO_LARGE)):
        if bad.any():
            faults.append(f"{what}: {int(bad.sum())} values are {how}; correct them")
            return None
    return values
