"""Conditions on an audit that make a build fail, such as ``auc<0.80``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steelyard.auditing.result import AuditResult
from steelyard.errors import InputError
from steelyard.evaluation.metrics import METRICS

_SHAPE = re.compile(r"^\s*([A-Za-z0-9_.-]+)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FIGURES: dict[str, Callable[[AuditResult], float | None]] = {
    "shift.auc": lambda r: r.shift.auc.value,
    "shift.p_value": lambda r: r.shift.p_value,
    "weights.ess_fraction": lambda r: r.weights.ess_fraction if r.weights else None,
    "weights.pareto_k": lambda r: r.weights.pareto_k if r.weights else None,
    "weights.outside_support": lambda r: r.weights.outside_support if r.weights else None,
    "prediction.expected_coverage": lambda r: r.prediction.expected_coverage if r.prediction else None,
}


@dataclass(frozen=True)
class Condition:
    """One comparison of a figure of the audit with a number.

    ``name`` is a metric (its estimate on LIVE is meant) or one of ``shift.auc``,
    ``shift.p_value``, ``weights.ess_fraction``, ``weights.pareto_k``,
    ``weights.outside_support``, ``prediction.expected_coverage``.

    Examples
    --------
    >>> Condition.parse("auc < 0.80")
    Condition(name='auc', comparison='<', bound=0.8)
    """

    name: str
    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition; raise InputError if it is malformed or names no known figure."""
        match = _SHAPE.match(text)
        if match is None:
            raise InputError(
                f"condition '{text}' is not of the form NAME<NUMBER (or <=, >, >=), such as 'auc<0.80'"
            )
        name = match[1].lower().replace("-", "_")
        if name not in METRICS and name not in _FIGURES:
            known = ", ".join([*METRICS, *_FIGURES])
            raise InputError(f"condition '{text}' names no figure of the audit; choose from {known}")
        return cls(name, match[2], float(match[3]))

    @property
    def is_metric(self) -> bool:
        """Whether the figure is a performance metric."""
        return self.name in METRICS

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.bound:g}"

    def value(self, result: AuditResult) -> float | None:
        """Return the figure in an audit, None if it was not measured.

        Raises
        ------
        InputError
            If it is a metric of another kind of target.
        """
        if not self.is_metric:
            return _FIGURES[self.name](result)
        for row in result.performance:
            if row.metric == self.name:
                return row.live_estimate
        measured = [row.metric for row in result.performance]
        if measured and METRICS[self.name].kind != METRICS[measured[0]].kind:
            raise InputError(
                f"condition '{self}' is on a metric that this target does not have; it has "
                f"{', '.join(measured)}"
            )
        return None

    def met(self, result: AuditResult) -> bool | None:
        """Whether the condition holds; None if the figure was not measured."""
        value = self.value(result)
        return None if value is None or math.isnan(value) else _COMPARE[self.comparison](value, self.bound)


@dataclass(frozen=True)
class Gate:
    """What the conditions say of an audit, and the exit code that follows.

    A condition that is met fails the build (1), whatever else could not be
    measured; a condition on a figure that was not measured, or an audit that
    could not answer, is inconclusive (3); anything else is fine (0).
    """

    exit_code: int
    reasons: tuple[str, ...]

    @classmethod
    def judge(cls, conditions: Sequence[Condition], result: AuditResult) -> Gate:
        """Apply the conditions to an audit."""
        verdicts = [(condition, condition.met(result)) for condition in conditions]
        met = [f"{c} is met ({c.name} = {c.value(result):.4g})" for c, verdict in verdicts if verdict]
        if met:
            return cls(1, tuple(met))
        open_ = [
            f"inconclusive: {c.name} was not measured, so {c} cannot be judged"
            for c, v in verdicts
            if v is None
        ]
        if result.inconclusive is not None:
            open_.append(f"inconclusive: {result.inconclusive}")
        return cls(3, tuple(open_)) if open_ else cls(0, ())
