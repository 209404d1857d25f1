"""From a name to a weight estimator, so that ``weighting=`` takes either."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from steelyard.errors import InputError
from steelyard.weighting.base import RatioEstimator


def estimator_names() -> dict[str, type[RatioEstimator]]:
    """Return the public weight estimators that need no arguments, by the name of their class.

    Examples
    --------
    >>> "ClassifierRatio" in estimator_names()
    True
    """
    import steelyard.weighting as room

    public = (getattr(room, name) for name in room.__all__)
    return {
        found.__name__: found
        for found in public
        if isinstance(found, type) and issubclass(found, RatioEstimator) and found is not RatioEstimator
    }


def as_weighting(weighting: Any, *, random_state: Any = None) -> Any:
    """Return a fresh, unfitted weight estimator.

    Parameters
    ----------
    weighting : str or weight estimator
        ``"auto"``, the name of a public class of :mod:`steelyard.weighting` in
        any case, or an estimator, which is cloned.
    random_state : int, Generator or None
        For an estimator made from its name; one that is given keeps its own.

    Raises
    ------
    InputError
        There is no such name, or the object is no weight estimator.

    Examples
    --------
    >>> as_weighting("KernelLogisticRatio", random_state=0)
    KernelLogisticRatio(random_state=0)
    """
    if isinstance(weighting, str):
        known = estimator_names()
        by_name = {name.lower(): name for name in known} | {"auto": "AutoRatio"}
        name = by_name.get(weighting.lower(), weighting)
        if name not in known:
            raise InputError(
                f"there is no weighting {weighting!r}; choose 'auto' or one of {', '.join(sorted(known))}."
            )
        made = known[name]()
        return made.set_params(random_state=random_state) if "random_state" in made.get_params() else made
    if isinstance(weighting, type) or not (hasattr(weighting, "fit") and hasattr(weighting, "weights")):
        raise InputError(
            f"{weighting!r} is no weight estimator; pass 'auto', a name such as 'ClassifierRatio', or an "
            "object with fit(X, y, X_target=...) and weights()."
        )
    return clone(weighting)
