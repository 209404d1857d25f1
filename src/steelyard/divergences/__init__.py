"""Distances between distributions, and tests of whether they are zero."""

from steelyard.divergences.two_sample import TwoSampleTest, auc_interval, prequential_test
from steelyard.divergences.univariate import (
    benjamini_hochberg,
    column_shift,
    kolmogorov_smirnov,
    total_variation,
)

__all__ = [
    "TwoSampleTest",
    "auc_interval",
    "benjamini_hochberg",
    "column_shift",
    "kolmogorov_smirnov",
    "prequential_test",
    "total_variation",
]
