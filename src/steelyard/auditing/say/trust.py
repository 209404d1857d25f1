"""Whether the weights can be trusted, and why, by the limits at which the audit declines or warns."""

from __future__ import annotations

from steelyard.auditing.limits import (
    MAX_OUTSIDE,
    MAX_PARETO_K,
    MIN_ESS,
    NOTED_OUTSIDE,
    SHAKY_PARETO_K,
    SMOOTH_PARETO_K,
)
from steelyard.auditing.result import Trust
from steelyard.reporting.numbers import percent


def trust_of(*, method_used: bool, ess: float, pareto_k: float | None, outside: float) -> tuple[Trust, str]:
    """Say whether weights of these figures can carry estimates.

    Parameters
    ----------
    method_used : bool
        Whether rows were weighted at all.
    ess : float
        Effective sample size, in rows of TRAIN.
    pareto_k : float or None
        Tail index of the weights; None where they take too few values.
    outside : float
        Share of LIVE's rows where TRAIN has next to none.

    Returns
    -------
    trust : str
        ``"not used"``, ``"yes"``, ``"with care"`` or ``"no"``.
    reason : str
        The figure that decides it, in a sentence.

    Examples
    --------
    >>> trust_of(method_used=True, ess=31.0, pareto_k=0.2, outside=0.0)
    ('no', 'The weighted TRAIN is worth 31 rows; an estimate needs 50.')
    """
    if outside > MAX_OUTSIDE:
        return (
            "no",
            f"{percent(outside)} of LIVE lies where TRAIN has next to no rows, "
            "and weights cannot stand in for rows that are not there.",
        )
    if not method_used and ess >= MIN_ESS:
        return "not used", "Every row of TRAIN counts once."
    if ess < MIN_ESS:
        return "no", f"The weighted TRAIN is worth {ess:.0f} rows; an estimate needs {MIN_ESS:.0f}."
    if pareto_k is not None and pareto_k > SHAKY_PARETO_K:
        trust: Trust = "no" if pareto_k > MAX_PARETO_K else "with care"
        return (
            trust,
            f"Pareto k is {pareto_k:.2f}; above 0.7 a handful of rows decides every weighted figure.",
        )
    if pareto_k is not None and pareto_k > SMOOTH_PARETO_K:
        return (
            "with care",
            f"Pareto k is {pareto_k:.2f}; between 0.5 and 0.7 a few rows carry much of the weight.",
        )
    if outside >= NOTED_OUTSIDE:
        return "with care", f"{percent(outside)} of LIVE lies where TRAIN has next to no rows."
    if pareto_k is None:
        return "yes", "The weights take few values, so they have no heavy tail."
    return "yes", f"Pareto k is {pareto_k:.2f}; below 0.5 weighted averages behave as averages should."
