"""What is true of each metric of a model, for whoever computes it or writes about it; stated here alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["classification", "regression"]


@dataclass(frozen=True)
class MetricFacts:
    """The facts of one metric.

    Attributes
    ----------
    name : str
        As it is asked for.
    title : str
        As it stands inside a sentence.
    kind : {"classification", "regression"}
        The targets that it is for.
    greater_is_better : bool
    floor, ceiling : float
        The smallest and the largest value that it can take.
    """

    name: str
    title: str
    kind: MetricKind
    greater_is_better: bool
    floor: float
    ceiling: float


METRIC_FACTS: Mapping[str, MetricFacts] = {
    facts.name: facts
    for facts in (
        MetricFacts("accuracy", "accuracy", "classification", True, 0.0, 1.0),
        MetricFacts("auc", "AUC", "classification", True, 0.0, 1.0),
        MetricFacts("f1", "F1", "classification", True, 0.0, 1.0),
        MetricFacts("log_loss", "log loss", "classification", False, 0.0, math.inf),
        MetricFacts("brier", "Brier score", "classification", False, 0.0, math.inf),
        MetricFacts("mae", "mean absolute error", "regression", False, 0.0, math.inf),
        MetricFacts("rmse", "root mean squared error", "regression", False, 0.0, math.inf),
        MetricFacts("r2", "R²", "regression", True, -math.inf, 1.0),
    )
}
