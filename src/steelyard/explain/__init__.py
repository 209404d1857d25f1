"""Which features, rows or mechanisms matter."""

from steelyard.explain.shapley import (
    ShapleyEstimate,
    exact_shapley,
    sampled_shapley,
    shapley_coefficients,
)

__all__ = ["ShapleyEstimate", "exact_shapley", "sampled_shapley", "shapley_coefficients"]
