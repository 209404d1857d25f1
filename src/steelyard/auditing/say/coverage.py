"""What the prediction intervals or sets on LIVE can be trusted for."""

from __future__ import annotations

from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.result import Finding, Prediction
from steelyard.auditing.sums import LiveSums
from steelyard.reporting.numbers import percent


def prediction_record(sampled: Sampled, trusted: bool, live: LiveSums) -> Prediction:
    """Return the coverage to expect, and what all rows of LIVE got."""
    expected = sampled.calibrated.coverage
    finite = live.sizes.count[0] == live.rows
    return Prediction(
        alpha=expected.alpha,
        kind=sampled.calibrated.predictions.kind,
        expected_coverage=expected.value if trusted else None,
        low=expected.low if trusted else None,
        high=expected.high if trusted else None,
        unweighted_expected_coverage=expected.unweighted if trusted else None,
        mean_size=float(live.sizes.means[0]) if finite else None,
        live_actual_coverage=None if live.covered is None else live.covered / live.rows,
        unbounded=live.unbounded / live.rows,
    )


def unbounded_finding(alpha: float, live: LiveSums) -> tuple[Finding, ...]:
    """Tell of LIVE's rows whose interval or set says nothing, if there are any."""
    share = live.unbounded / live.rows
    if share == 0:
        return ()
    text = (
        f"{percent(share)} of LIVE's rows get an unbounded interval or every class: TRAIN has "
        f"too few rows like them for coverage of {1 - alpha:.0%}."
    )
    return (Finding("unbounded-predictions", "warning", text, step="certify"),)
