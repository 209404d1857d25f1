"""From repeated numbers to an effect, an interval and a verdict.

The interval is Student's t over seeds. Seeds are independent by construction.
If method and baseline were alike, their paired difference would be symmetric
about zero, and there the t interval keeps its level even for heavy tails,
while the percentile bootstrap of 20-30 values is too short (it excludes zero
in 6-7% of null cases instead of 5%). Rates (every value 0 or 1) in a bound get
the exact binomial interval.

A row with several declarations holds if all of them do, which needs no
correction. It is contradicted if any of them is, and the more there are, the
likelier one is by chance: so a declaration counts as contradicted only if the
interval at level ``1 - 0.05 / k`` says so, k being the declarations of the row
(Bonferroni). The interval that is shown is the 95% one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from claims.registry import Bound, Comparison, Declaration, Identity

Verdict = Literal["holds", "not shown", "contradicted"]
WORST_FIRST: tuple[Verdict, ...] = ("contradicted", "not shown", "holds")
LEVEL = 0.95
Numbers = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Outcome:
    """What one declaration came to.

    For a comparison ``effect`` is the mean paired advantage of the method,
    positive in the claimed direction, and ``ratio`` is mean(method) /
    mean(baseline). For an identity it is the largest deviation, for a bound the
    number that is held against it.
    """

    kind: Literal["comparison", "identity", "bound"]
    question: str
    metric: str
    setting: str
    repetitions: int
    effect: float
    low: float | None
    high: float | None
    ratio: float | None
    verdict: Verdict
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain fields, numbers rounded to six significant digits."""
        return {k: _short(v) if isinstance(v, float) else v for k, v in asdict(self).items()}


def t_interval(values: npt.ArrayLike, *, level: float = LEVEL) -> tuple[float, float, float]:
    """Return the mean and Student's t interval of independent values."""
    v = np.asarray(values, dtype=float)
    centre = float(v.mean())
    if v.size < 2:
        return centre, -math.inf, math.inf
    half = float(stats.t.ppf(0.5 + level / 2, v.size - 1) * v.std(ddof=1) / math.sqrt(v.size))
    return centre, centre - half, centre + half


def judge(declaration: Declaration, numbers: Numbers, *, declared: int = 1) -> Outcome:
    """Turn the repetitions of one declaration, one of ``declared`` in its row, into its outcome."""
    for number in numbers:
        bad = [k for k in _names(declaration) if not math.isfinite(float(number[k]))]
        if bad:
            raise ValueError(f"{declaration.question!r}: {', '.join(bad)} is not finite.")
    if isinstance(declaration, Comparison):
        return _judge_comparison(declaration, numbers, declared)
    if isinstance(declaration, Identity):
        return _judge_identity(declaration, numbers)
    return _judge_bound(declaration, numbers, declared)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of several verdicts."""
    return min(verdicts, key=WORST_FIRST.index)


def _names(declaration: Declaration) -> tuple[str, ...]:
    if isinstance(declaration, Comparison):
        return declaration.method, declaration.baseline
    if isinstance(declaration, Identity):
        return declaration.value, declaration.expected
    return (declaration.value,)


def _judge_comparison(c: Comparison, numbers: Numbers, declared: int) -> Outcome:
    method = np.array([float(n[c.method]) for n in numbers])
    baseline = np.array([float(n[c.baseline]) for n in numbers])
    advantage = (baseline - method) if c.smaller_is_better else (method - baseline)
    effect, low, high = t_interval(advantage)
    against = t_interval(advantage, level=1 - (1 - LEVEL) / declared)[2] < 0
    verdict: Verdict = "holds" if low > 0 else "contradicted" if against else "not shown"
    divisor = float(baseline.mean())
    direction = "smaller" if c.smaller_is_better else "larger"
    return Outcome(
        "comparison",
        c.question,
        c.metric,
        f"{c.method} against {c.baseline}; {direction} is better",
        len(numbers),
        effect,
        low,
        high,
        float(method.mean()) / divisor if divisor else None,
        verdict,
        c.note,
    )


def _judge_identity(c: Identity, numbers: Numbers) -> Outcome:
    gap = max(abs(float(n[c.value]) - float(n[c.expected])) for n in numbers)
    setting = f"{c.value} equals {c.expected} to {c.tolerance:g} ({c.origin})"
    verdict: Verdict = "holds" if gap <= c.tolerance else "contradicted"
    return Outcome(
        "identity", c.question, c.metric, setting, len(numbers), gap, None, None, None, verdict, c.note
    )


def _judge_bound(c: Bound, numbers: Numbers, declared: int) -> Outcome:
    values = np.array([float(n[c.value]) for n in numbers])
    floor = -math.inf if c.low is None else c.low - c.tolerance
    ceiling = math.inf if c.high is None else c.high + c.tolerance
    if c.at_every_seed:
        beyond = np.maximum(values - ceiling, floor - values)
        effect, low, high = float(values[np.argmax(beyond)]), None, None
        verdict: Verdict = "holds" if beyond.max() <= 0 else "contradicted"
    else:
        effect, low, high = _mean_interval(values, LEVEL)
        _, wide_low, wide_high = _mean_interval(values, 1 - (1 - LEVEL) / declared)
        against = wide_low > ceiling or wide_high < floor
        verdict = "holds" if floor <= effect <= ceiling else "contradicted" if against else "not shown"
    limits = [f"at least {c.low:g}"] if c.low is not None else []
    limits += [f"at most {c.high:g}"] if c.high is not None else []
    slack = f", tolerance {c.tolerance:.3g}" if c.tolerance else ""
    setting = f"{c.value} {' and '.join(limits)}{slack} ({c.origin})"
    return Outcome(
        "bound", c.question, c.metric, setting, len(numbers), effect, low, high, None, verdict, c.note
    )


def _mean_interval(values: npt.NDArray[np.float64], level: float) -> tuple[float, float, float]:
    if set(np.unique(values)) <= {0.0, 1.0}:
        exact = stats.binomtest(int(values.sum()), values.size).proportion_ci(level, "exact")
        return float(values.mean()), float(exact.low), float(exact.high)
    return t_interval(values, level=level)


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
