"""Distances between distributions, and tests of whether they are zero."""

from steelyard.divergences.two_sample import TwoSampleTest, auc_interval, prequential_test
from steelyard.divergences.univariate import (
    benjamini_hochberg,
    category_shift,
    column_shift,
    kolmogorov_smirnov,
    number_shift,
    total_variation,
)

__all__ = [
    "TwoSampleTest",
    "auc_interval",
    "benjamini_hochberg",
    "category_shift",
    "column_shift",
    "kolmogorov_smirnov",
    "number_shift",
    "prequential_test",
    "total_variation",
]
