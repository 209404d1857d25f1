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
    (0.847, 0.985)
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
            odds, factor = p / (1 - p), _factor(half_width / width / (p * (1 - p)))
            low, high = odds / factor, odds * factor
            return floor + width * low / (1 + low), floor + width * high / (1 + high)
        if np.isfinite(floor):
            distance = max(value - floor, _NEAREST)
            factor = _factor(half_width / distance)
            return floor + distance / factor, floor + distance * factor
        if np.isfinite(ceiling):
            distance = max(ceiling - value, _NEAREST)
            factor = _factor(half_width / distance)
            return ceiling - distance * factor, ceiling - distance / factor
        return value - half_width, value + half_width


def _factor(reach: float) -> float:
    """Return what odds or a distance are multiplied by: an exponential, beyond one on along its tangent.

    A value that is next to a limit is not sure to the same number of digits.
    """
    return float(np.exp(reach) if reach <= 1 else np.e * reach)
