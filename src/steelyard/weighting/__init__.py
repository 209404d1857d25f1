"""How much does each row count: density ratios, label shift, and diagnostics of weights."""

from steelyard.weighting.auto import AutoRatio
from steelyard.weighting.balancing.cells import Cell
from steelyard.weighting.balancing.dual import Tilt, entropy_weights
from steelyard.weighting.balancing.effect import EffectOnTreated, effect_on_treated
from steelyard.weighting.balancing.entropy import EntropyBalancing
from steelyard.weighting.balancing.ipm import IPMBalancing, Sigmoids, worst_sigmoids
from steelyard.weighting.balancing.margins import balance_margins
from steelyard.weighting.balancing.propensity import CBPS, InversePropensity
from steelyard.weighting.balancing.raking import Raking
from steelyard.weighting.balancing.small_areas import (
    DirectEstimates,
    DomainEstimates,
    composite_proportions,
    fay_herriot,
    hajek_proportions,
    smoothed_variances,
    synthetic_proportions,
)
from steelyard.weighting.balancing.spectrum import balanced_variance, dependence_spectrum
from steelyard.weighting.balancing.strata import PostStratification
from steelyard.weighting.base import RatioEstimator
from steelyard.weighting.diagnostics import ColumnBalance, Region, standardised_differences, uncovered_regions
from steelyard.weighting.flattening import FlatteningChoice, choose_flattening
from steelyard.weighting.labels.class_ratio import ClassRatio
from steelyard.weighting.labels.confusion import (
    BBSE,
    RLLS,
    bbse_class_ratio,
    confusion_error,
    confusion_matrix,
    confusion_ratio,
    rlls_class_ratio,
)
from steelyard.weighting.labels.continuous import ContinuousRatio, ReTaSA, continuous_target_ratio
from steelyard.weighting.labels.em import LabelShiftEM, em_class_ratio, label_shift_ratio, shift_posterior
from steelyard.weighting.love_plot import love_plot
from steelyard.weighting.mixture import (
    MixtureProportion,
    elkan_noto_proportion,
    mixture_proportion,
    proportion_from_scores,
    regrouped_proportion,
    thinned_proportion,
)
from steelyard.weighting.named import as_weighting, estimator_names
from steelyard.weighting.ratios.classifier import ClassifierRatio
from steelyard.weighting.ratios.double import DoubleWeights, double_weights
from steelyard.weighting.ratios.kernel_logistic import KernelLogisticRatio
from steelyard.weighting.ratios.kliep import KLIEP
from steelyard.weighting.ratios.least_squares import RuLSIF, uLSIF
from steelyard.weighting.ratios.mean_matching import KernelMeanMatching
from steelyard.weighting.ratios.minimax import DoubleWeightingClassifier, minimax_rule
from steelyard.weighting.ratios.nearest import NearestNeighbourRatio
from steelyard.weighting.regularised import RegularisedRatio, flattened, truncation_limit
from steelyard.weighting.reweighted import Reweighted
from steelyard.weighting.select import best_cap, ratio_score
from steelyard.weighting.study import ChosenRatio, CrossFitted, DomainStudy
from steelyard.weighting.tables import weights
from steelyard.weighting.transport import TransportAdapter, TransportPlan, class_transport
from steelyard.weighting.trust import Concern, WeightCheck, check_weights, judge_weights

__all__ = [
    "BBSE",
    "CBPS",
    "KLIEP",
    "RLLS",
    "AutoRatio",
    "Cell",
    "ChosenRatio",
    "ClassRatio",
    "ClassifierRatio",
    "ColumnBalance",
    "Concern",
    "ContinuousRatio",
    "CrossFitted",
    "DirectEstimates",
    "DomainEstimates",
    "DomainStudy",
    "DoubleWeightingClassifier",
    "DoubleWeights",
    "EffectOnTreated",
    "EntropyBalancing",
    "FlatteningChoice",
    "IPMBalancing",
    "InversePropensity",
    "KernelLogisticRatio",
    "KernelMeanMatching",
    "LabelShiftEM",
    "MixtureProportion",
    "NearestNeighbourRatio",
    "PostStratification",
    "Raking",
    "RatioEstimator",
    "ReTaSA",
    "Region",
    "RegularisedRatio",
    "Reweighted",
    "RuLSIF",
    "Sigmoids",
    "Tilt",
    "TransportAdapter",
    "TransportPlan",
    "WeightCheck",
    "as_weighting",
    "balance_margins",
    "balanced_variance",
    "bbse_class_ratio",
    "best_cap",
    "check_weights",
    "choose_flattening",
    "class_transport",
    "composite_proportions",
    "confusion_error",
    "confusion_matrix",
    "confusion_ratio",
    "continuous_target_ratio",
    "dependence_spectrum",
    "double_weights",
    "effect_on_treated",
    "elkan_noto_proportion",
    "em_class_ratio",
    "entropy_weights",
    "estimator_names",
    "fay_herriot",
    "flattened",
    "hajek_proportions",
    "judge_weights",
    "label_shift_ratio",
    "love_plot",
    "minimax_rule",
    "mixture_proportion",
    "proportion_from_scores",
    "ratio_score",
    "regrouped_proportion",
    "rlls_class_ratio",
    "shift_posterior",
    "smoothed_variances",
    "standardised_differences",
    "synthetic_proportions",
    "thinned_proportion",
    "truncation_limit",
    "uLSIF",
    "uncovered_regions",
    "weights",
    "worst_sigmoids",
]
