"""Conditions on an audit that make a build fail, such as ``auc<0.80``."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steelyard.auditing.result import AuditResult
from steelyard.errors import InputError
from steelyard.evaluation.metrics import METRICS
from steelyard.losses.metric_facts import MetricKind
from steelyard.reporting.words import FINDINGS

_SHAPE = re.compile(r"^\s*([A-Za-z0-9_.-]+)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")
_FINDING = re.compile(r"^\s*finding:\s*([A-Za-z0-9_-]+)\s*$")
_PARTS = {
    "estimate": "live_estimate",
    "measured": "live_actual",
    **{name: name for name in ("low", "high", "drift_low", "drift_high")},
}
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
    """One comparison of a figure of the audit with a number, or a finding that is not to be there.

    ``name`` is a metric or one of ``shift.auc``, ``shift.p_value``,
    ``weights.ess_fraction``, ``weights.pareto_k``, ``weights.outside_support``,
    ``prediction.expected_coverage``. Of a metric ``part`` says which figure on LIVE
    is meant: its ``estimate``, an end of an interval (``low``, ``high`` if the relation
    holds, ``drift_low``, ``drift_high`` if it moved) or what labels ``measured``;
    without one it is what was measured where labels are there, and else the
    estimate. A ``finding`` is named by its id.

    Examples
    --------
    >>> for text in ("auc < 0.80", "mae.high>2", "finding:unit-change"):
    ...     print(Condition.parse(text))
    auc<0.8
    mae.high>2
    finding:unit-change
    """

    name: str
    comparison: str = ""
    bound: float = math.nan
    part: str = ""

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition; raise InputError if it is malformed or names no known figure."""
        found = _FINDING.match(text)
        if found is not None:
            return cls._of_finding(text, found[1].lower())
        match = _SHAPE.match(text)
        if match is None:
            raise InputError(
                f"condition '{text}' is not of the form NAME<NUMBER (or <=, >, >=), such as 'auc<0.80', "
                "or finding:ID"
            )
        name = match[1].lower().replace("-", "_")
        metric, _, part = name.partition(".")
        if name in _FIGURES:
            metric, part = name, ""
        elif metric not in METRICS:
            known = ", ".join([*METRICS, *_FIGURES])
            raise InputError(f"condition '{text}' names no figure of the audit; choose from {known}")
        elif part not in ("", *_PARTS):
            raise InputError(
                f"condition '{text}': a metric has no '.{part}'; choose from "
                + ", ".join(f"{metric}.{known}" for known in _PARTS)
            )
        return cls(metric, match[2], float(match[3]), part)

    @classmethod
    def _of_finding(cls, text: str, id: str) -> Condition:
        if id not in FINDINGS:
            close = " or ".join(difflib.get_close_matches(id, FINDINGS, n=3, cutoff=0.5))
            meant = f"did you mean {close}?" if close else "docs/audit-json.md lists them"
            raise InputError(f"condition '{text}' names no finding; {meant}")
        return cls(f"finding:{id}")

    @property
    def is_metric(self) -> bool:
        """Whether the figure is a performance metric."""
        return self.name in METRICS

    @property
    def figure(self) -> str:
        """The figure's name as it is asked for."""
        return f"{self.name}.{self.part}" if self.part else self.name

    def __str__(self) -> str:
        return f"{self.figure}{self.comparison}{self.bound:g}" if self.comparison else self.name

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
                part = self.part or ("estimate" if row.live_actual is None else "measured")
                value: float | None = getattr(row, _PARTS[part])
                return value
        measured = [row.metric for row in result.performance]
        if measured and METRICS[self.name].kind != METRICS[measured[0]].kind:
            raise InputError(_other_kind(self, measured))
        return None

    def met(self, result: AuditResult) -> bool | None:
        """Whether the condition holds; None if the figure was not measured."""
        if not self.comparison:
            return any(f"finding:{finding.id}" == self.name for finding in result.findings)
        value = self.value(result)
        return None if value is None or math.isnan(value) else _COMPARE[self.comparison](value, self.bound)

    def told(self, result: AuditResult) -> str:
        """Say that it is met, with the figure."""
        if not self.comparison:
            texts = [f.text for f in result.findings if f"finding:{f.id}" == self.name]
            return f"{self} is met: {texts[0]}"
        return f"{self} is met ({self.figure} = {self.value(result):.4g})"


def _other_kind(condition: Condition, metrics: Sequence[str]) -> str:
    return (
        f"condition '{condition}' is on a metric that this target does not have; it has {', '.join(metrics)}"
    )


def check_conditions(conditions: Sequence[Condition], *, kind: MetricKind, labelled: bool) -> None:
    """See that the conditions can apply, before the work.

    Parameters
    ----------
    conditions : sequence of Condition
    kind : {"classification", "regression"}
        What the target is.
    labelled : bool
        Whether LIVE's labels were given.

    Raises
    ------
    InputError
        With each that cannot.
    """
    here = [name for name, metric in METRICS.items() if metric.kind == kind]
    faults = [_other_kind(c, here) for c in conditions if c.is_metric and c.name not in here]
    faults += [
        f"condition '{c}' is on what labels measure, and no labels of LIVE are named; add --labels, or "
        f"judge the estimate ({c.name}.estimate)"
        for c in conditions
        if c.part == "measured" and not labelled
    ]
    if faults:
        raise InputError(faults)


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
        met = [c.told(result) for c, verdict in verdicts if verdict]
        if met:
            return cls(1, tuple(met))
        open_ = [
            f"inconclusive: {c.figure} was not measured, so {c} cannot be judged"
            for c, v in verdicts
            if v is None
        ]
        if result.inconclusive is not None:
            open_.append(f"inconclusive: {result.inconclusive}")
        return cls(3, tuple(open_)) if open_ else cls(0, ())
