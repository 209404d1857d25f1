"""Why did a metric change: the parts of the change, and what they leave."""

from __future__ import annotations

from collections.abc import Sequence

from steelyard.auditing.result import Attribution, Part, Performance


def attribution_record(row: Performance, parts: Sequence[Part]) -> Attribution:
    """Return how a metric's change divides.

    The change is what the estimate, or LIVE's labels where they have come, differ by
    from TRAIN; what the parts leave of it is ``unexplained``.
    """
    value = row.live_actual if row.live_actual is not None else row.live_estimate
    if row.naive is None or row.live_estimate is None or value is None:
        return Attribution(row.metric, None, (), None)
    total = value - row.naive
    return Attribution(row.metric, total, tuple(parts), total - sum(p.change for p in parts))
