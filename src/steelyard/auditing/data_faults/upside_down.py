"""A model's output that ranks TRAIN's rows the wrong way round: columns exchanged, or a score reversed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from steelyard.auditing.result import Finding
from steelyard.auditing.tables import ModelOutput, Tables, predicted_numbers
from steelyard.evaluation import Outputs

FloatArray = npt.NDArray[np.float64]

_UPPER_AUC = 0.45
_UPPER_CORRELATION = -0.1
_FEW = 10
_Z = 1.96


def upside_down(tables: Tables, output: ModelOutput) -> tuple[Finding, ...]:
    """Tell if the deployed model's output ranks TRAIN's rows clearly the wrong way round.

    Parameters
    ----------
    tables : Tables
    output : ModelOutput
        Models that were made here are not looked at.

    Notes
    -----
    Time O(n log n) a class. Clearly means that the upper end of the 95% interval lies below 0.45
    (the AUC of a class's probability, or of predicted classes) or -0.1 (the rank correlation of numbers).
    """
    if output.made_here:
        return ()
    if tables.classes is None:
        return _of_numbers(tables, predicted_numbers(output.train))
    if len(tables.classes) == 2:
        return _of_two(tables, output.train)
    return _of_classes(tables, output.train)


def _of_numbers(tables: Tables, predicted: FloatArray) -> tuple[Finding, ...]:
    r = _rank_correlation(predicted, tables.y)
    if r is None:
        return ()
    upper = math.tanh(
        math.atanh(float(np.clip(r, -1 + 1e-12, 1 - 1e-12))) + _Z / math.sqrt(len(tables.y) - 3)
    )
    if upper >= _UPPER_CORRELATION:
        return ()
    text = (
        f"The model's predictions fall where TRAIN's target '{tables.target}' rises (rank correlation "
        f"{r:.2f}): they look upside down."
    )
    mend = "Check the sign of the predictions, and that they are of this target"
    return (_finding(text, mend, _columns(tables)),)


def _rank_correlation(a: FloatArray, b: FloatArray) -> float | None:
    ranks = [rankdata(values) for values in (a, b)]
    if any(one.std() == 0 for one in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _of_two(tables: Tables, train: Outputs) -> tuple[Finding, ...]:
    auc = _auc(_scores(train, 2)[:, 1], tables.y == 1)
    if auc is None or auc[1] >= _UPPER_AUC:
        return ()
    assert tables.classes is not None
    negative, positive = tables.classes
    what = "probabilities" if train.proba is not None else "predictions"
    text = (
        f"The model's {what} rank TRAIN's rows upside down: taken for those of {positive!r}, their AUC is "
        f"{auc[0]:.2f}."
    )
    mend = (
        f"Name the positive class that they are of (--positive {negative}), or give the other column"
        if train.proba is not None
        else "Check which class the model's predictions name"
    )
    return (_finding(text, mend, _columns(tables)),)


def _of_classes(tables: Tables, train: Outputs) -> tuple[Finding, ...]:
    assert tables.classes is not None
    scores = _scores(train, len(tables.classes))
    wrong = []
    for code, value in enumerate(tables.classes):
        auc = _auc(scores[:, code], tables.y == code)
        if auc is not None and auc[1] < _UPPER_AUC:
            wrong.append(f"{value!r}: {auc[0]:.2f}")
    if not wrong:
        return ()
    shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
    text = (
        f"The model's output for some classes is higher for TRAIN's other rows than for theirs (AUC of "
        f"{shown}): classes look exchanged."
    )
    mend = (
        "Check which column is which class's, and name the columns like 'p_CLASS'"
        if train.proba is not None
        else "Check which class each of the model's predictions names"
    )
    return (_finding(text, mend, _columns(tables)),)


def _scores(outputs: Outputs, n_classes: int) -> FloatArray:
    if outputs.proba is not None:
        return outputs.proba
    assert outputs.label is not None
    return np.eye(n_classes)[outputs.label]


def _auc(score: FloatArray, positive: npt.NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return the AUC and the upper end of its 95% interval (DeLong); None with few rows of either kind."""
    n, m = int(positive.sum()), int((~positive).sum())
    if min(n, m) < _FEW:
        return None
    every = rankdata(score)
    above = (every[positive] - rankdata(score[positive])) / m
    below = (every[~positive] - rankdata(score[~positive])) / n
    auc = float(above.mean())
    error = math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
    return auc, auc + _Z * error


def _columns(tables: Tables) -> tuple[str, ...]:
    """Return the columns in which the output stands, if it stands in some."""
    outputs = {note.name for note in tables.notes if note.role == "output"}
    return tuple(name for name in tables.frame.columns if name in outputs)


def _finding(text: str, mend: str, columns: tuple[str, ...]) -> Finding:
    return Finding(
        "output-upside-down",
        "warning",
        f"{text} {mend}.",
        step="model",
        explains=True,
        mend=mend,
        columns=columns,
    )
