"""Estimators of expectations from weighted samples, and how far to trust them."""

from steelyard.montecarlo.pareto import (
    fit_generalised_pareto,
    pareto_k,
    pareto_k_of_top,
    pareto_smooth,
)

__all__ = ["fit_generalised_pareto", "pareto_k", "pareto_k_of_top", "pareto_smooth"]
