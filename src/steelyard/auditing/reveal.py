"""Estimates that were made without labels, held against the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from steelyard.auditing.result import Performance
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError
from steelyard.evaluation.metrics import get_metric, outcome_columns


@dataclass(frozen=True)
class Revealed:
    """One metric: estimated without labels, and measured with them."""

    metric: str
    naive: float | None
    estimate: float | None
    low: float | None
    high: float | None
    actual: float
    inside: bool | None


def reveal(performance: Sequence[Performance], tables: Tables) -> tuple[Revealed, ...]:
    """Measure on LIVE's labels what was estimated without them.

    Parameters
    ----------
    performance : sequence of Performance
        The estimates of an audit.
    tables : Tables
        The same tables read with their labels: labels and the deployed model's output are needed.

    Returns
    -------
    tuple of Revealed
        One a metric; ``inside`` is None where no interval was given.

    Raises
    ------
    InputError
        If the tables hold no labels or no output.

    Notes
    -----
    O(n log n) in the rows of LIVE.
    """
    if tables.y_live is None or tables.given is None:
        raise InputError("labels and outputs of LIVE are needed to score estimates")
    outputs = tables.given.live
    outcome = outcome_columns(tables.y_live, outputs, n_classes=tables.n_classes)
    rows = []
    for row in performance:
        actual = get_metric(row.metric)(outputs, outcome, sample_weight=np.ones(len(outputs)))
        inside = None if row.low is None or row.high is None else bool(row.low <= actual <= row.high)
        rows.append(Revealed(row.metric, row.naive, row.live_estimate, row.low, row.high, actual, inside))
    return tuple(rows)
