"""What is true of each metric of a model, for whoever computes it or writes about it; stated here alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SMALLEST_PROBABILITY = sys.float_info.epsilon
"""What a probability is taken to be at least, where its logarithm is."""
LARGEST_LOG_LOSS = -math.log(SMALLEST_PROBABILITY)

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
        The smallest and the largest value that it can take: of the Brier score that of more than two
        classes, of the log loss that of probabilities that are held away from 0 by rounding.
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
        MetricFacts("log_loss", "log loss", "classification", False, 0.0, LARGEST_LOG_LOSS),
        MetricFacts("brier", "Brier score", "classification", False, 0.0, 2.0),
        MetricFacts("mae", "mean absolute error", "regression", False, 0.0, math.inf),
        MetricFacts("rmse", "root mean squared error", "regression", False, 0.0, math.inf),
        MetricFacts("r2", "R²", "regression", True, -math.inf, 1.0),
    )
}
