"""Metrics from sums over batches: collect, merge, finish, for a whole table or for each window of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.evaluation.metrics import Outputs, _brier, _log_loss
from steelyard.numerics import Moments, ScoreTable

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MetricSums:
    """All that the metrics of a model rest on, summed over rows; any part is None that the outputs lack.

    Attributes
    ----------
    tables : tuple of ScoreTable
        By class: of the second for two classes, of each for more.
    called : tuple of Moments
        By class code, of the columns "is that class" (observed or expected),
        "and was called it", "was called it".
    losses : Moments or None
        Of the rows' log loss and Brier loss.
    residuals : Moments or None
        Of the columns ``|r|``, ``r^2``, ``prediction + r`` and the variance of
        ``r`` left open by an expected outcome.

    Notes
    -----
    ``merge`` is associative and commutative to rounding. Without ``edges`` the
    AUC is exact and memory grows with the number of distinct probabilities;
    with them it takes the scores of a bin as tied (`ScoreTable`), and every
    other metric stays exact. Time O(n K) a batch, and O(n log n) for the AUC.

    Examples
    --------
    >>> import numpy as np
    >>> from steelyard.evaluation import Outputs, outcome_columns
    >>> outputs, y = Outputs(value=np.array([1.0, 2.0, 4.0])), np.array([1.0, 3.0, 4.0])
    >>> z = outcome_columns(y, outputs)
    >>> parts = [MetricSums.of(outputs.take(rows), z[rows]) for rows in ([0, 1], [2])]
    >>> round(parts[0].merge(parts[1]).value("mae"), 4)
    0.3333
    """

    tables: tuple[ScoreTable, ...] = ()
    called: tuple[Moments, ...] = ()
    losses: Moments | None = None
    residuals: Moments | None = None

    @classmethod
    def of(
        cls, outputs: Outputs, outcome: FloatArray, sample_weight: Any = None, *, edges: Any = None
    ) -> MetricSums:
        """Return the sums of a batch.

        Parameters
        ----------
        outputs : Outputs
            Of n rows.
        outcome : array of shape (n, K), or (n, 3) for a regression
            Observed or expected, as `outcome_columns` lays it out.
        sample_weight : array of shape (n,), optional
        edges : array, optional
            Bins of the probabilities, for memory that does not grow.
        """
        if np.isnan(outcome).any():
            raise InputError(
                "outcome has missing values (NaN); sum the rows whose outcome is known or expected."
            )
        if outputs.value is not None:
            r, square = outcome[:, 1], outcome[:, 2]
            columns = np.column_stack([outcome[:, 0], square, outputs.value + r, square - r**2])
            return cls(residuals=Moments.of(columns, sample_weight))
        k = outcome.shape[1]
        tables: tuple[ScoreTable, ...] = ()
        called: tuple[Moments, ...] = ()
        losses = None
        if outputs.proba is not None:
            p = outputs.proba
            tables = tuple(
                ScoreTable.of(p[:, c], outcome[:, c], sample_weight, edges=edges)
                for c in ([1] if k == 2 else range(k))
            )
            each = [np.sum(loss(outputs) * outcome, axis=1) for loss in (_log_loss, _brier)]
            losses = Moments.of(np.column_stack(each), sample_weight)
        if outputs.label is not None:
            hit = np.eye(k)[outputs.label]
            called = tuple(
                Moments.of(
                    np.column_stack([outcome[:, c], outcome[:, c] * hit[:, c], hit[:, c]]), sample_weight
                )
                for c in range(k)
            )
        return cls(tables, called, losses)

    def merge(self, other: MetricSums, /) -> MetricSums:
        """Return the sums over both sets of rows; they must hold the same parts."""
        if self._parts() != other._parts():
            raise InputError("cannot merge sums of different kinds of outputs or numbers of classes.")
        return MetricSums(
            tuple(a.merge(b) for a, b in zip(self.tables, other.tables)),
            tuple(a.merge(b) for a, b in zip(self.called, other.called)),
            None if self.losses is None or other.losses is None else self.losses.merge(other.losses),
            None
            if self.residuals is None or other.residuals is None
            else self.residuals.merge(other.residuals),
        )

    def _parts(self) -> tuple[object, ...]:
        return len(self.tables), len(self.called), self.losses is None, self.residuals is None

    def value(self, name: str) -> float:
        """Return the metric of that name, as `get_metric` would on all the rows; NaN where undefined.

        Raises
        ------
        InputError
            If the sums lack what it needs, or there is no such metric.
        """
        if name in ("log_loss", "brier") and self.losses is not None:
            return float(self.losses.means[0 if name == "log_loss" else 1])
        if name == "auc" and self.tables:
            each = np.array([table.auc() for table in self.tables])
            defined = each[np.isfinite(each)]
            return float(defined.mean()) if len(defined) else math.nan
        if name == "accuracy" and self.called:
            return float(sum(part.means[1] for part in self.called))
        if name == "f1" and self.called:
            classes = self.called[1:] if len(self.called) == 2 else self.called
            return float(np.mean([_f1(part) for part in classes]))
        if name in ("mae", "rmse", "r2") and self.residuals is not None:
            absolute, square, _, left_open = self.residuals.means
            if name == "mae":
                return float(absolute)
            if name == "rmse":
                return float(np.sqrt(np.maximum(square, 0.0)))
            variance = float(self.residuals.variances[2] + left_open)
            return 1 - float(square) / variance if variance > 0 else math.nan
        raise InputError(f"there are no sums for a metric {name!r}: it is unknown, or needs other outputs.")

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as plain values."""
        return {
            "tables": [table.to_dict() for table in self.tables],
            "called": [part.to_dict() for part in self.called],
            "losses": None if self.losses is None else self.losses.to_dict(),
            "residuals": None if self.residuals is None else self.residuals.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> MetricSums:
        """Return the sums that ``to_dict`` wrote; anything else raises an InputError."""
        names = {"tables", "called", "losses", "residuals"}
        if not isinstance(plain, Mapping) or set(plain) != names:
            raise InputError(f"these are no metric sums: they need {', '.join(sorted(names))}.")
        if not isinstance(plain["tables"], list) or not isinstance(plain["called"], list):
            raise InputError("these metric sums are damaged: tables and called must be lists.")
        losses, residuals = plain["losses"], plain["residuals"]
        return cls(
            tuple(ScoreTable.from_dict(table) for table in plain["tables"]),
            tuple(Moments.from_dict(part) for part in plain["called"]),
            None if losses is None else Moments.from_dict(losses),
            None if residuals is None else Moments.from_dict(residuals),
        )


def _f1(part: Moments) -> float:
    positive, hits, claims = part.means
    if math.isnan(positive):
        return math.nan
    return float(2 * hits / (positive + claims)) if positive + claims > 0 else 0.0


def window_sums(
    windows: Any, outputs: Outputs, outcome: FloatArray, sample_weight: Any = None, *, edges: Any = None
) -> dict[Any, MetricSums]:
    """Return a batch's sums for each window; those of batches join with ``numerics.merge_keyed``.

    Parameters
    ----------
    windows : array of shape (n,)
        The window of each row: a date, a name, a number.
    outputs, outcome, sample_weight, edges
        As in `MetricSums.of`.

    Examples
    --------
    >>> import numpy as np
    >>> from steelyard.evaluation import Outputs, outcome_columns
    >>> outputs, y = Outputs(label=np.array([0, 1, 1])), np.array([0, 1, 0])
    >>> z = outcome_columns(y, outputs, n_classes=2)
    >>> {day: sums.value("accuracy") for day, sums in window_sums(["mon", "tue", "tue"], outputs, z).items()}
    {'mon': 1.0, 'tue': 0.5}
    """
    names, row = np.unique(np.asarray(windows), return_inverse=True)
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    out = {}
    for i, name in enumerate(names.tolist()):
        chosen = np.flatnonzero(row == i)
        weight = None if weights is None else weights[chosen]
        out[name] = MetricSums.of(outputs.take(chosen), outcome[chosen], weight, edges=edges)
    return out
