"""How large a part of a mixture is a component of which there is a sample of its own?

If the rest of the mixture does not contain the component (irreducibility), the
share is the infimum of the density ratio mixture / component. If it does, the
infimum is too large, and mixture rows are thinned first by a bound on their
probability of coming from the component.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from sklearn.base import clone

from steelyard.errors import InconclusiveError, InputError
from steelyard.numerics.boosting import BoostedClassifier
from steelyard.numerics.checks import as_rows, as_vector, as_weights, check_level
from steelyard.numerics.random import as_generator, draw_seed
from steelyard.weighting.ratios.classifier import ClassifierRatio

FloatArray = npt.NDArray[np.float64]
Base = Callable[..., "MixtureProportion | float"]


@dataclass(frozen=True)
class MixtureProportion:
    """The share of the component in the mixture.

    ``upper`` is a confidence bound at level ``1 - alpha``, valid whatever the
    rest of the mixture is (given the posterior bound, where one was used), or
    None where the base estimator gives none. There is no lower one: without
    assumptions on the rest nothing is known from below. ``accepted`` is the
    share of the mixture rows that thinning kept.
    """

    proportion: float
    upper: float | None
    accepted: float
    alpha: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dict."""
        return asdict(self)


def proportion_from_scores(
    component: Any,
    mixture: Any,
    *,
    alpha: float = 0.1,
    sample_weight: Any = None,
    sample_weight_mixture: Any = None,
) -> MixtureProportion:
    """Estimate the component's share from scores that are high where the component is likely.

    Over all thresholds, the share of mixture rows above it over that of component
    rows is an upper estimate; the threshold is the one at which its upper
    confidence limit is lowest.

    Parameters
    ----------
    component, mixture : arrays of shape (n,) and (m,)
        Scores of rows that the scorer has not seen.
    alpha : float
        One minus the joint confidence over all thresholds.
    sample_weight, sample_weight_mixture : arrays, optional
        How often each row counts; integers equal repeated rows.

    Notes
    -----
    Assumes that above some score (almost) only the component is left. The
    confidence is that of Dvoretzky, Kiefer and Wolfowitz. As in Garg, Wu, Smola,
    Balakrishnan and Lipton, "Mixture Proportion Estimation and PU Learning: A
    Modern Approach" (best bin), and Scott's slope of the ROC curve. Time
    O((n + m) log(n + m)).

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.linspace(0, 1, 2000)
    >>> mixture = np.concatenate([scores[::2], np.linspace(-1, 0.2, 1000)])  # half is the component
    >>> round(proportion_from_scores(scores, mixture).proportion, 2)
    0.5
    """
    check_level(alpha)
    first = as_vector(component, name="component")
    second = as_vector(mixture, name="mixture")
    weight = as_weights(sample_weight, len(first))
    other = as_weights(sample_weight_mixture, len(second), name="sample_weight_mixture")
    above, above_mixture = _tail(first, weight), _tail(second, other)
    thresholds = np.unique(first)
    p, q = above(thresholds), above_mixture(thresholds)
    slack_p, slack_q = (np.sqrt(np.log(4 / alpha) / (2 * w.sum())) for w in (weight, other))
    with np.errstate(divide="ignore"):
        # First-order limits to choose by, as the paper does; the exact ones for the bound.
        limit = (q + slack_q + slack_p) / p
        bound = np.where(p > slack_p, (q + slack_q) / np.maximum(p - slack_p, 1e-300), np.inf)
    best = int(np.argmin(limit))
    return MixtureProportion(
        float(min(q[best] / p[best], 1.0)), float(min(bound.min(), 1.0)), 1.0, alpha, "roc"
    )


def mixture_proportion(
    X_component: Any,
    X_mixture: Any,
    *,
    ratio: Any = None,
    alpha: float = 0.1,
    sample_weight: Any = None,
    random_state: Any = None,
) -> MixtureProportion:
    """Estimate the component's share of the mixture where the rest does not contain the component.

    Parameters
    ----------
    X_component : array of shape (n, d)
    X_mixture : array of shape (m, d)
    ratio : RatioEstimator, optional
        Estimates the density ratio mixture / component, by which rows are
        ordered; a cross-fitted boosted classifier by default.
    alpha : float
        One minus the confidence of ``upper``.
    sample_weight : array of shape (n,), optional
        Of the component's rows.
    random_state : int, Generator or None

    Notes
    -----
    Assumes irreducibility: somewhere the mixture is (almost) only the component.
    If it fails, the estimate is too high; see :func:`thinned_proportion`. Time:
    one fit of the ratio, and sorts.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> component = rng.normal(size=(1000, 1))
    >>> mixture = np.concatenate([rng.normal(size=(300, 1)), rng.normal(5, 1, size=(700, 1))])
    >>> abs(mixture_proportion(component, mixture, random_state=0).proportion - 0.3) < 0.05
    True
    """
    component, mixture = _pair(X_component, X_mixture)
    fitted = _ratio(ratio, random_state).fit(component, X_target=mixture, sample_weight=sample_weight)
    return proportion_from_scores(
        -fitted.log_ratio_, -fitted.log_ratio_target_, alpha=alpha, sample_weight=sample_weight
    )


def elkan_noto_proportion(
    X_component: Any,
    X_mixture: Any,
    *,
    ratio: Any = None,
    sample_weight: Any = None,
    random_state: Any = None,
) -> MixtureProportion:
    """Estimate the component's share from how sure a classifier is of component rows, on average.

    Parameters
    ----------
    X_component : array of shape (n, d)
    X_mixture : array of shape (m, d)
    ratio : RatioEstimator, optional
        Estimates the density ratio mixture / component; a cross-fitted boosted
        classifier by default.
    sample_weight : array of shape (n,), optional
        Of the component's rows.
    random_state : int, Generator or None

    Notes
    -----
    Assumes that component and rest do not overlap: otherwise it is too high, and
    more so than :func:`mixture_proportion`, but with less noise. Elkan and Noto,
    "Learning classifiers from only positive and unlabeled data".

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> component = rng.normal(size=(1000, 1))
    >>> mixture = np.concatenate([rng.normal(size=(300, 1)), rng.normal(7, 1, size=(700, 1))])
    >>> abs(elkan_noto_proportion(component, mixture, random_state=0).proportion - 0.3) < 0.05
    True
    """
    component, mixture = _pair(X_component, X_mixture)
    fitted = _ratio(ratio, random_state).fit(component, X_target=mixture, sample_weight=sample_weight)
    weight = as_weights(sample_weight, len(component))
    # The ratio as estimated: over the component alone its mean is not one but the mixture's mass there.
    ratio_there = np.exp(fitted.log_ratio_ + fitted.log_mass_)
    # With as many component as mixture rows the classifier says 1 / (1 + ratio).
    sure = np.average(1.0 / (1.0 + ratio_there), weights=weight)
    return MixtureProportion(float(min((1 - sure) / sure, 1.0)), None, 1.0, float("nan"), "elkan-noto")


def thinned_proportion(
    X_component: Any,
    X_mixture: Any,
    posterior_bound: Any,
    *,
    base: Base = mixture_proportion,
    alpha: float = 0.1,
    random_state: Any = None,
) -> MixtureProportion:
    """Estimate the component's share where the rest may contain it, by thinning the mixture first.

    Parameters
    ----------
    X_component : array of shape (n, d)
    X_mixture : array of shape (m, d)
    posterior_bound : array of shape (m,)
        In [0, 1]: an upper bound on the probability that a mixture row comes from
        the component; 1 where nothing is known. It should be tight somewhere
        that the component reaches.
    base : callable
        ``base(X_component, X_kept, random_state=...)``: any estimator that needs
        irreducibility; returns a number or a `MixtureProportion`. If it takes
        ``alpha``, it gets half of the one given here.
    alpha : float
        One minus the confidence of ``upper``, where the base has one.
    random_state : int, Generator or None

    Returns
    -------
    MixtureProportion
        The base's estimate on the rows kept, each with its bound as the
        probability, times the share that is kept in expectation.

    Raises
    ------
    InconclusiveError
        If no row is kept.

    Notes
    -----
    The thinned mixture still holds all of the component, so no bias is added;
    where the bound is tight, all of the rest is gone. Bounds of 1 give the base
    estimator. A bound below the true probability loses some of the component.

    Source: Mixture Proportion Estimation Beyond Irreducibility (catalogue 394).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> component, rest = rng.uniform(0, 1, (4000, 1)), rng.uniform(0, 2, (2800, 1))
    >>> mixture = np.concatenate([rng.uniform(0, 1, (1200, 1)), rest])  # the rest holds the component
    >>> bound = np.where(mixture[:, 0] < 0.5, 0.3 / (0.3 + 0.35), 1.0)  # known on a part
    >>> round(mixture_proportion(component, mixture, random_state=0).proportion, 1)
    0.6
    >>> round(thinned_proportion(component, mixture, bound, random_state=0).proportion, 1)
    0.3
    """
    component, mixture = _pair(X_component, X_mixture)
    bound = as_vector(posterior_bound, n=len(mixture), name="posterior_bound")
    outside = (bound < 0) | (bound > 1)
    if outside.any():
        raise InputError(
            f"posterior_bound lies outside [0, 1] (first at row {int(np.argmax(outside))}); "
            "pass probabilities, and 1 where nothing is known."
        )
    check_level(alpha)
    rng = as_generator(random_state)
    kept = rng.uniform(size=len(mixture)) < bound
    if not kept.any():
        raise InconclusiveError(
            f"none of the {len(mixture)} mixture rows is kept; the bounds are all but zero."
        )
    more = {"alpha": alpha / 2} if "alpha" in signature(base).parameters else {}
    found = _called(base, component, mixture[kept], rng, **more)
    # The mean bound is the chance of a row to be kept, without the noise of the draw.
    rate, upper = float(bound.mean()), found.upper
    if upper is not None:
        count = int(kept.sum())
        upper *= (
            float(beta.ppf(1 - alpha / 2, count + 1, len(mixture) - count)) if count < len(mixture) else 1.0
        )
    return MixtureProportion(min(found.proportion * rate, 1.0), upper, rate, alpha, f"thinned {found.method}")


def regrouped_proportion(
    X_component: Any,
    X_mixture: Any,
    *,
    share: float = 0.1,
    ratio: Any = None,
    base: Base = mixture_proportion,
    random_state: Any = None,
) -> MixtureProportion:
    """Estimate the component's share after the mixture rows most like it were copied to the component.

    Parameters
    ----------
    X_component : array of shape (n, d)
    X_mixture : array of shape (m, d)
    share : float
        Of the mixture rows, in (0, 1).
    ratio : RatioEstimator, optional
        Orders the mixture rows; a cross-fitted boosted classifier by default.
    base : callable
        As in :func:`thinned_proportion`.
    random_state : int, Generator or None

    Notes
    -----
    Yao and others, "Towards Mixture Proportion Estimation without
    Irreducibility". The copied rows stand for the part of the rest that lies
    where it is thinnest beside the component; with it gone, the rest no longer
    contains the component. That trades one bias for a smaller one of either sign:
    no posterior bound is needed, and no confidence bound holds, so ``upper`` is None.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> component = rng.normal(size=(1000, 1))
    >>> mixture = np.concatenate([rng.normal(size=(300, 1)), rng.normal(2, 2, size=(700, 1))])
    >>> regrouped_proportion(component, mixture, random_state=0).method
    'regrouped roc'
    """
    component, mixture = _pair(X_component, X_mixture)
    check_level(share, name="share")
    rng = as_generator(random_state)
    fitted = _ratio(ratio, rng).fit(component, X_target=mixture)
    alike = np.argsort(fitted.log_ratio_target_)[: max(1, round(share * len(mixture)))]
    found = _called(base, np.vstack([component, mixture[alike]]), mixture, rng)
    return MixtureProportion(found.proportion, None, 1.0, found.alpha, f"regrouped {found.method}")


def _pair(X_component: Any, X_mixture: Any) -> tuple[FloatArray, FloatArray]:
    component, mixture = as_rows(X_component, name="X_component"), as_rows(X_mixture, name="X_mixture")
    if component.shape[1] != mixture.shape[1]:
        raise InputError(
            f"X_component has {component.shape[1]} columns and X_mixture {mixture.shape[1]}; "
            "both need the same columns."
        )
    return component, mixture


def _ratio(ratio: Any, random_state: Any) -> Any:
    if ratio is not None:
        model = clone(ratio)
        if model.get_params().get("random_state", 0) is None:
            model.set_params(random_state=random_state)
        return model
    boosted = BoostedClassifier(max_leaf_nodes=4, early_stopping=True)
    return ClassifierRatio(boosted, random_state=random_state)


def _called(
    base: Base, component: FloatArray, mixture: FloatArray, rng: np.random.Generator, **more: Any
) -> MixtureProportion:
    found = base(component, mixture, random_state=draw_seed(rng), **more)
    if isinstance(found, MixtureProportion):
        return found
    name = getattr(base, "__name__", type(base).__name__)
    return MixtureProportion(float(found), None, 1.0, float("nan"), name)


def _tail(values: FloatArray, weight: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the function that gives the weighted share of the values at or above a threshold."""
    order = np.argsort(values)
    ranked, total = values[order], np.append(0.0, np.cumsum(weight[order]))

    def share(threshold: FloatArray) -> FloatArray:
        below = total[np.searchsorted(ranked, threshold, side="left")]
        return np.asarray((total[-1] - below) / total[-1])

    return share
