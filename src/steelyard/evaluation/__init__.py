"""What is the error where there are no labels; why did it change; how far can a metric be trusted."""

from steelyard.evaluation.additive_shift import (
    AdditiveExcess,
    AdditiveFit,
    additive_excess_risk,
    chi_square_tilt,
    fit_additive,
)
from steelyard.evaluation.attribution import (
    ChangeAttribution,
    ChangePart,
    Mechanism,
    attribute_change,
)
from steelyard.evaluation.confidence import confidence_based, confidence_based_windows, recalibrate
from steelyard.evaluation.estimates import (
    Estimate,
    doubly_robust,
    importance_weighted,
    outcome_model_variance,
    plug_in,
    unseen_noise,
    unseen_variance,
)
from steelyard.evaluation.few_labels import (
    LabelledEstimate,
    combine_with_labels,
    label_plan,
    prediction_powered,
)
from steelyard.evaluation.goodness_of_fit import GoodnessOfFit, nplm_statistic, nplm_test
from steelyard.evaluation.grouping import group_features
from steelyard.evaluation.metrics import METRICS, Metric, Outputs, get_metric, outcome_columns
from steelyard.evaluation.moves import MoveSpread, move_spread
from steelyard.evaluation.outcome import ExpectedOutcome, OutcomeModels, expected_outcome
from steelyard.evaluation.responsive import TransferBounds, strategic_response, transfer_bounds
from steelyard.evaluation.specification import (
    SpecificationTest,
    WeightingGain,
    maximum_likelihood,
    specification_test,
    weighting_gain,
)
from steelyard.evaluation.sums import MetricSums, window_sums

__all__ = [
    "METRICS",
    "AdditiveExcess",
    "AdditiveFit",
    "ChangeAttribution",
    "ChangePart",
    "Estimate",
    "ExpectedOutcome",
    "GoodnessOfFit",
    "LabelledEstimate",
    "Mechanism",
    "Metric",
    "MetricSums",
    "MoveSpread",
    "OutcomeModels",
    "Outputs",
    "SpecificationTest",
    "TransferBounds",
    "WeightingGain",
    "additive_excess_risk",
    "attribute_change",
    "chi_square_tilt",
    "combine_with_labels",
    "confidence_based",
    "confidence_based_windows",
    "doubly_robust",
    "expected_outcome",
    "fit_additive",
    "get_metric",
    "group_features",
    "importance_weighted",
    "label_plan",
    "maximum_likelihood",
    "move_spread",
    "nplm_statistic",
    "nplm_test",
    "outcome_columns",
    "outcome_model_variance",
    "plug_in",
    "prediction_powered",
    "recalibrate",
    "specification_test",
    "strategic_response",
    "transfer_bounds",
    "unseen_noise",
    "unseen_variance",
    "weighting_gain",
    "window_sums",
]
