"""Which intervals and sets hold, and where: conformal prediction with weights."""

from steelyard.conformal.classifier import SplitConformalClassifier
from steelyard.conformal.coverage import Coverage, CoverageEstimate, expected_coverage
from steelyard.conformal.label_shift import label_shift_sets, label_shift_thresholds
from steelyard.conformal.regressor import SplitConformalRegressor
from steelyard.conformal.scores import (
    absolute_interval,
    absolute_scores,
    aps_scores,
    cqr_interval,
    cqr_scores,
    label_scores,
    lac_scores,
    raps_scores,
    sets_from_scores,
)
from steelyard.conformal.weighted import conformal_thresholds

__all__ = [
    "Coverage",
    "CoverageEstimate",
    "SplitConformalClassifier",
    "SplitConformalRegressor",
    "absolute_interval",
    "absolute_scores",
    "aps_scores",
    "conformal_thresholds",
    "cqr_interval",
    "cqr_scores",
    "expected_coverage",
    "label_scores",
    "label_shift_sets",
    "label_shift_thresholds",
    "lac_scores",
    "raps_scores",
    "sets_from_scores",
]
