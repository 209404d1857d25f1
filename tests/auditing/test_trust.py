"""The word on the weights: one for each stretch between the limits, the gravest reason first."""

from __future__ import annotations

import pytest

from steelyard.auditing.say.trust import trust_of


@pytest.mark.parametrize(
    ("used", "ess", "k", "outside", "trust", "reason"),
    [
        (False, 50.0, None, 0.0, "not used", "Every row of TRAIN counts once"),
        (False, 49.0, None, 0.0, "no", "worth 49 rows; an estimate needs 50"),
        (True, 10.0, 2.0, 0.101, "no", "10% of LIVE lies where"),
        (True, 10.0, 2.0, 0.1, "no", "worth 10 rows"),
        (True, 50.0, 1.01, 0.1, "no", "Pareto k is 1.01; above 0.7"),
        (True, 50.0, 1.0, 0.1, "with care", "Pareto k is 1.00; above 0.7"),
        (True, 50.0, 0.7, 0.1, "with care", "between 0.5 and 0.7"),
        (True, 50.0, 0.5, 0.01, "with care", "1.0% of LIVE lies where"),
        (True, 50.0, None, 0.0099, "yes", "take few values"),
        (True, 50.0, 0.5, 0.0099, "yes", "below 0.5"),
    ],
)
def test_the_gravest_figure_decides(
    used: bool, ess: float, k: float | None, outside: float, trust: str, reason: str
) -> None:
    said, why = trust_of(method_used=used, ess=ess, pareto_k=k, outside=outside)
    assert said == trust
    assert reason in why
