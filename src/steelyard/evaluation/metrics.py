"""Metrics as smooth functionals of the joint law of a model's output and the outcome.

Every metric here depends on the outcome only through *outcome columns*: one
indicator a class in classification, and ``|r|, r, r^2`` of the residual
``r = y - prediction`` in regression. Given an output, it is therefore defined
for expected outcomes as well as for observed ones, and it has a slope: how its
value moves with the outcome columns of a row. One formula then gives the naive,
the weighted, the confidence-based and the doubly robust estimate, and their
standard errors, of every metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.losses.metric_facts import METRIC_FACTS, SMALLEST_PROBABILITY, MetricKind
from steelyard.numerics.checks import as_weights

FloatArray = npt.NDArray[np.float64]
Slope = Callable[["Outputs"], FloatArray]


@dataclass(frozen=True)
class Outputs:
    """What the model said of each row: probabilities (n, K) and class codes (n,), or values (n,)."""

    proba: FloatArray | None = None
    label: npt.NDArray[np.int64] | None = None
    value: FloatArray | None = None

    def __len__(self) -> int:
        for part in (self.label, self.value, self.proba):
            if part is not None:
                return int(part.shape[0])
        raise InputError("an output needs probabilities, labels or values.")

    def take(self, rows: Any) -> Outputs:
        """Return the outputs of some rows."""
        parts = (self.proba, self.label, self.value)
        return Outputs(*(None if part is None else part[rows] for part in parts))

    def labelled(self) -> Outputs:
        """Return the outputs with labels: of two classes the positive one from a probability of one half."""
        if self.label is not None or self.proba is None:
            return self
        p = self.proba
        label = p[:, 1] >= 0.5 if p.shape[1] == 2 else p.argmax(axis=1)
        return replace(self, label=label.astype(np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Outputs], order: Any = slice(None)) -> Outputs:
        """Return the rows of several outputs one behind the other, and then in the given order."""
        kinds = ([getattr(p, name) for p in parts] for name in ("proba", "label", "value"))
        return cls(*(None if any(x is None for x in k) else np.concatenate(k)[order] for k in kinds))


@dataclass(frozen=True)
class Evaluated:
    """A metric's value on a sample, and how it moves with the sample.

    ``slope`` is d value / d outcome column of a row, the outputs held fixed.
    ``base`` is what a row adds by its output alone, where that is not constant:
    the share of positive labels that a model gives moves its F1 whatever the
    outcomes. Both are for a mean of rows.
    """

    value: float
    slope: Slope
    base: Callable[[Outputs], FloatArray] | None = None

    def influence(self, outputs: Outputs, outcome: FloatArray) -> FloatArray:
        """Return each row's influence value, (n,), up to a constant: d value / d share of such rows."""
        own = np.sum(self.slope(outputs) * outcome, axis=1)
        return np.asarray(own if self.base is None else own + self.base(outputs))


@dataclass(frozen=True)
class Metric:
    """A named metric; ``evaluate(outputs, outcome, weight)`` takes observed or expected outcomes."""

    name: str
    kind: MetricKind
    needs: Literal["proba", "label", "value"]
    greater_is_better: bool
    evaluate: Callable[[Outputs, FloatArray, FloatArray], Evaluated]

    def __call__(self, outputs: Outputs, outcome: FloatArray, *, sample_weight: Any = None) -> float:
        """Return the metric's value on a (weighted) sample of outputs and outcome columns."""
        return self.evaluate(outputs, outcome, as_weights(sample_weight, len(outputs))).value

    def available(self, outputs: Outputs) -> bool:
        """Whether the outputs hold what the metric needs."""
        return getattr(outputs, self.needs) is not None


def outcome_columns(y: Any, outputs: Outputs, *, n_classes: int | None = None) -> FloatArray:
    """Return the outcome columns of observed targets.

    Parameters
    ----------
    y : array of shape (n,)
        Class codes from 0, or numbers.
    outputs : Outputs
    n_classes : int, optional
        Given for classification.

    Returns
    -------
    array of shape (n, n_classes), or (n, 3) for a regression
    """
    if n_classes is not None:
        return np.eye(n_classes)[np.asarray(y, dtype=np.int64)]
    assert outputs.value is not None
    residual = np.asarray(y, dtype=np.float64) - outputs.value
    return np.column_stack([np.abs(residual), residual, residual**2])


def _mean(values: FloatArray, weight: FloatArray) -> float:
    return float(np.average(values, weights=weight))


def _linear(loss: Callable[[Outputs], FloatArray]) -> Callable[..., Evaluated]:
    """Return the evaluation of a metric that is a mean of ``sum_k loss_k(output) z_k``."""

    def evaluate(outputs: Outputs, outcome: FloatArray, weight: FloatArray) -> Evaluated:
        return Evaluated(_mean(np.sum(loss(outputs) * outcome, axis=1), weight), loss)

    return evaluate


def _accuracy(outputs: Outputs, outcome: FloatArray, weight: FloatArray) -> Evaluated:
    k = outcome.shape[1]

    def hit(o: Outputs) -> FloatArray:
        return np.eye(k)[o.label]

    return _linear(hit)(outputs, outcome, weight)


def _log_loss(outputs: Outputs) -> FloatArray:
    assert outputs.proba is not None
    return -np.log(np.clip(outputs.proba, SMALLEST_PROBABILITY, 1.0))


def _brier(outputs: Outputs) -> FloatArray:
    """Squared error of the probabilities: of the positive class for two, summed over classes for more."""
    assert outputs.proba is not None
    p = outputs.proba
    if p.shape[1] == 2:
        return np.column_stack([p[:, 1] ** 2, (1 - p[:, 1]) ** 2])
    # sum_j (p_j - z_j)^2 = sum_j p_j^2 - 2 p_k + 1 for class k, and the z_k sum to one.
    return np.asarray((p**2).sum(axis=1, keepdims=True) - 2 * p + 1)


def _called(outputs: Outputs, code: int) -> FloatArray:
    assert outputs.label is not None
    return np.asarray(outputs.label == code, dtype=np.float64)


def _f1(outputs: Outputs, outcome: FloatArray, weight: FloatArray) -> Evaluated:
    """F1 of the positive class for two classes, the mean over classes for more."""
    k = outcome.shape[1]
    chosen = [1] if k == 2 else list(range(k))
    values, denominators = [], []
    for c in chosen:
        called = _called(outputs, c)
        denominator = _mean(called, weight) + _mean(outcome[:, c], weight)
        denominators.append(denominator)
        values.append(2 * _mean(called * outcome[:, c], weight) / denominator if denominator > 0 else 0.0)

    def slope(o: Outputs) -> FloatArray:
        out = np.zeros((len(o), k))
        for c, value, denominator in zip(chosen, values, denominators):
            if denominator > 0:
                called = _called(o, c)
                out[:, c] = (2 * called - value) / denominator / len(chosen)
        return out

    def base(o: Outputs) -> FloatArray:
        out = np.zeros(len(o))
        for c, value, denominator in zip(chosen, values, denominators):
            if denominator > 0:
                out -= value * _called(o, c) / denominator / len(chosen)
        return out

    return Evaluated(float(np.mean(values)), slope, base)


def _auc(outputs: Outputs, outcome: FloatArray, weight: FloatArray) -> Evaluated:
    """Area under the ROC curve; one class against the rest, averaged, for more than two."""
    assert outputs.proba is not None
    k = outcome.shape[1]
    chosen = [1] if k == 2 else list(range(k))
    parts = [_Ranking.of(outputs.proba[:, c], outcome[:, c], weight) for c in chosen]
    defined = [(c, part) for c, part in zip(chosen, parts) if np.isfinite(part.auc)]
    if not defined:
        return Evaluated(float("nan"), lambda o: np.full((len(o), k), np.nan))

    def slope(o: Outputs) -> FloatArray:
        assert o.proba is not None
        out = np.zeros((len(o), k))
        for c, part in defined:
            out[:, c] = part.slope(o.proba[:, c]) / len(defined)
        return out

    def base(o: Outputs) -> FloatArray:
        assert o.proba is not None
        return np.asarray(sum(part.base(o.proba[:, c]) for c, part in defined) / len(defined))

    return Evaluated(float(np.mean([part.auc for _, part in defined])), slope, base)


@dataclass(frozen=True)
class _Ranking:
    """The two score distributions behind one ROC curve."""

    auc: float
    positive_share: float
    scores: FloatArray
    negative_below: FloatArray
    positive_above: FloatArray

    @classmethod
    def of(cls, score: FloatArray, positive: FloatArray, weight: FloatArray) -> _Ranking:
        unique, group = np.unique(score, return_inverse=True)
        pos = np.bincount(group, weights=weight * positive)
        neg = np.bincount(group, weights=weight * (1 - positive))
        n_pos, n_neg = float(pos.sum()), float(neg.sum())
        share = n_pos / (n_pos + n_neg)
        if n_pos <= 1e-12 or n_neg <= 1e-12:
            return cls(float("nan"), share, unique, np.zeros(0), np.zeros(0))
        below = (np.cumsum(neg) - 0.5 * neg) / n_neg
        above = (n_pos - np.cumsum(pos) + 0.5 * pos) / n_pos
        return cls(float(pos @ below) / n_pos, share, unique, below, above)

    def slope(self, score: FloatArray) -> FloatArray:
        below = np.interp(score, self.scores, self.negative_below)
        return np.asarray((below - self.auc) / self.positive_share - self.base(score))

    def base(self, score: FloatArray) -> FloatArray:
        """Return the influence of a negative row."""
        above = np.interp(score, self.scores, self.positive_above)
        return np.asarray((above - self.auc) / (1 - self.positive_share))


def _mae(outputs: Outputs) -> FloatArray:
    return np.tile([1.0, 0.0, 0.0], (len(outputs), 1))


def _rmse(outputs: Outputs, outcome: FloatArray, weight: FloatArray) -> Evaluated:
    value = float(np.sqrt(max(_mean(outcome[:, 2], weight), 0.0)))
    scale = 0.5 / value if value > 0 else 0.0
    return Evaluated(value, lambda o: np.tile([0.0, 0.0, scale], (len(o), 1)))


def _r2(outputs: Outputs, outcome: FloatArray, weight: FloatArray) -> Evaluated:
    assert outputs.value is not None
    error = _mean(outcome[:, 2], weight)
    # Predictions are centred first: their level may be far larger than their spread.
    level = _mean(outputs.value, weight)
    f = outputs.value - level
    mean = _mean(f + outcome[:, 1], weight)
    variance = _mean(f**2 + 2 * f * outcome[:, 1] + outcome[:, 2], weight) - mean**2
    if variance <= 0:
        return Evaluated(float("nan"), lambda o: np.full((len(o), 3), np.nan))

    def slope(o: Outputs) -> FloatArray:
        assert o.value is not None
        ratio = error / variance**2
        centred = o.value - level - mean
        return np.column_stack([np.zeros(len(o)), 2 * centred * ratio, np.full(len(o), ratio - 1 / variance)])

    def base(o: Outputs) -> FloatArray:
        assert o.value is not None
        return np.asarray((o.value - level - mean) ** 2 * error / variance**2)

    return Evaluated(1 - error / variance, slope, base)


def _metric(
    name: str,
    needs: Literal["proba", "label", "value"],
    evaluate: Callable[[Outputs, FloatArray, FloatArray], Evaluated],
) -> Metric:
    facts = METRIC_FACTS[name]
    return Metric(name, facts.kind, needs, facts.greater_is_better, evaluate)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        _metric("accuracy", "label", _accuracy),
        _metric("auc", "proba", _auc),
        _metric("f1", "label", _f1),
        _metric("log_loss", "proba", _linear(_log_loss)),
        _metric("brier", "proba", _linear(_brier)),
        _metric("mae", "value", _linear(_mae)),
        _metric("rmse", "value", _rmse),
        _metric("r2", "value", _r2),
    )
}


def get_metric(name: str) -> Metric:
    """Return the metric of that name; an unknown name raises with the list of those there are."""
    if name not in METRICS:
        raise InputError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}.")
    return METRICS[name]
