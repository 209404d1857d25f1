"""How much does each row count: density ratios, label shift, and diagnostics of weights."""

from steelyard.weighting.base import RatioEstimator

__all__ = ["RatioEstimator"]
