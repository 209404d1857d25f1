"""A scale on which a metric's errors are alike over its range: log odds, logs, or the value itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steelyard.evaluation.estimates import metric_limits
from steelyard.evaluation.metrics import Metric

# How near a limit a value is taken to lie at most: its log odds and logs stay finite.
_NEAREST = 1e-6


@dataclass(frozen=True)
class Link:
    """A metric's scale: log odds between two limits, the log of the distance from one.

    Examples
    --------
    >>> from steelyard.evaluation import get_metric
    >>> link = Link.of(get_metric("accuracy"))
    >>> low, high = link.around(0.95, 0.06)
    >>> round(low, 3), round(high, 3)
    (0.843, 0.985)
    """

    floor: float
    ceiling: float

    @classmethod
    def of(cls, metric: Metric) -> Link:
        """Return the metric's scale."""
        return cls(*metric_limits(metric))

    def around(self, value: float, half_width: float) -> tuple[float, float]:
        """Return the ends of an interval that has this half-width to first order, and keeps to the limits."""
        floor, ceiling = self.floor, self.ceiling
        if np.isfinite(floor) and np.isfinite(ceiling):
            width = ceiling - floor
            p = float(np.clip((value - floor) / width, _NEAREST, 1 - _NEAREST))
            reach = half_width / width / (p * (1 - p))
            odds = np.log(p / (1 - p))
            low, high = (1 / (1 + np.exp(-np.clip(odds + s * reach, -700, 700))) for s in (-1, 1))
            return floor + width * float(low), floor + width * float(high)
        if np.isfinite(floor) or np.isfinite(ceiling):
            distance = max(value - floor if np.isfinite(floor) else ceiling - value, _NEAREST)
            reach = half_width / distance
            # Beyond the distance itself an exponential would say nothing any more: on along its tangent.
            factor = float(np.exp(reach) if reach <= 1 else np.e * reach)
            if np.isfinite(floor):
                return floor + distance / factor, floor + distance * factor
            return ceiling - distance * factor, ceiling - distance / factor
        return value - half_width, value + half_width
