"""Where the audit stops guessing: every threshold that turns an answer into "inconclusive" or a warning."""

from __future__ import annotations

LEVEL = 0.05
"""Level of the test for a shift."""

MIN_ESS = 50.0
"""Effective TRAIN rows below which no estimate is given."""

MAX_OUTSIDE = 0.10
"""Share of LIVE without TRAIN rows near it above which no estimate is given."""

NOTED_OUTSIDE = 0.01
"""Share of LIVE without TRAIN rows near it from which a warning is given."""

UNCOVERED_RATIO = 50.0
"""Density ratio LIVE / TRAIN from which a place counts as not covered."""

MAX_PARETO_K = 1.0
"""Tail shape of the weights above which no estimate is given: their mean may not exist."""

SHAKY_PARETO_K = 0.7
"""Tail shape above which a warning is given: convergence is too slow to see."""

SMOOTH_PARETO_K = 0.5
"""Tail shape above which the tail is smoothed: the variance may not exist."""
