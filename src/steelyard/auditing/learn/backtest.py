"""How far was the audit's estimate off in parts of TRAIN, each estimated from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from steelyard.auditing.learn.environments import Environments, Test
from steelyard.auditing.learn.model import model_output
from steelyard.auditing.limits import MAX_PARETO_K, MIN_ESS, SMOOTH_PARETO_K
from steelyard.auditing.tables import ModelOutput, Tables
from steelyard.errors import InputError
from steelyard.evaluation import (
    Metric,
    Outputs,
    doubly_robust,
    expected_outcome,
    outcome_model_variance,
    unseen_noise,
    unseen_variance,
)
from steelyard.evaluation import outcome_columns as outcomes
from steelyard.montecarlo import pareto_k, pareto_smooth
from steelyard.numerics import as_generator, draw_seed, effective_sample_size, mean_one
from steelyard.weighting.study import DomainStudy

FloatArray = npt.NDArray[np.float64]

_MOST_ROWS = 20_000
_FOLDS = 3


@dataclass(frozen=True)
class Tested:
    """One metric in one environment: carried over from the others, estimated from them, and as it was.

    ``spread`` is the standard deviation of a row's residual effect on the metric there,
    the unit in which moves are compared. There is no estimate where the weights could not be trusted.
    """

    environment: str
    metric: str
    rows: int
    naive: float
    estimate: float | None
    low: float | None
    high: float | None
    standard_error: float
    actual: float
    spread: float
    gap: float | None

    @property
    def move(self) -> float | None:
        """How far the estimate was off, in units of the spread."""
        return None if self.estimate is None else (self.actual - self.estimate) / self.spread


def backtest(
    tables: Tables,
    output: ModelOutput,
    environments: Environments,
    metrics: Sequence[Metric],
    *,
    learner: str,
    seed: int,
    done: Callable[[float], None],
) -> tuple[Tested, ...]:
    """Audit every environment from the others, with the learners that the audit chose.

    Parameters
    ----------
    tables, output : Tables, ModelOutput
        TRAIN's rows and what the model says of them. A model that was made here is made
        anew without the environment; a deployed one may have been fitted on its rows.
    environments : Environments
    metrics : sequence of Metric
    learner : str
        The ratio of a `DomainStudy`.
    seed : int
    done : callable
        Told the share of the environments that are through.

    Notes
    -----
    Time: for each environment three fits of the ratio and of each learner of the outcome, on at most
    20,000 rows of the others.
    """
    rng = as_generator(seed)
    out: list[Tested] = []
    for k, test in enumerate(environments.tests):
        out += _one(tables, output, test, metrics, learner=learner, rng=rng)
        done((k + 1) / len(environments.tests))
    return tuple(out)


def _one(
    tables: Tables,
    output: ModelOutput,
    test: Test,
    metrics: Sequence[Metric],
    *,
    learner: str,
    rng: np.random.Generator,
) -> list[Tested]:
    others = test.others
    if len(others) > _MOST_ROWS:
        others = np.sort(rng.choice(others, size=_MOST_ROWS, replace=False))
    X, y, X_there, y_there = tables.X[others], tables.y[others], tables.X[test.rows], tables.y[test.rows]
    here, there = _outputs(tables, output, test, others, seed=draw_seed(rng))
    expected = expected_outcome(
        X,
        y,
        here,
        X_there,
        there,
        n_classes=tables.n_classes,
        categorical=tables.categorical,
        n_folds=_FOLDS,
        random_state=draw_seed(rng),
    )
    weights = _weights(tables, X, X_there, learner, seed=draw_seed(rng))
    outcome = outcomes(y, here, n_classes=tables.n_classes)
    actual = outcomes(y_there, there, n_classes=tables.n_classes)
    rows = len(test.rows)
    found = []
    for metric in metrics:
        naive, seen = metric(here, outcome), metric(there, actual)
        estimate = doubly_robust(
            metric,
            outputs=here,
            outcome=outcome,
            expected=expected.source,
            outputs_target=there,
            expected_target=expected.target,
            weights=np.ones(len(y)) if weights is None else weights,
            outcome_variance=outcome_model_variance(
                metric,
                outputs_target=there.take(expected.probe),
                by_fold=expected.by_fold,
                expected_target=expected.target[expected.probe],
            ),
        )
        slope = metric.evaluate(there, expected.target, np.ones(rows)).slope(there)
        # As the audit has it: outcomes that the others' rows need not have shown leave no residual.
        worth = float(len(y)) if weights is None else effective_sample_size(weights)
        unseen = unseen_variance(unseen_noise(slope, expected.target), worth)
        residual = np.sum(slope * (actual - expected.target), axis=1)
        spread = float(np.sqrt(residual.var() + unseen))
        error = float(np.sqrt(estimate.standard_error**2 + unseen * (1 / worth + 1 / rows)))
        known = weights is not None and np.isfinite(estimate.value) and np.isfinite(seen) and spread > 0
        found.append(
            Tested(
                environment=test.name,
                metric=metric.name,
                rows=rows,
                naive=naive,
                estimate=estimate.value if known else None,
                low=estimate.low if known else None,
                high=estimate.high if known else None,
                standard_error=error,
                actual=seen,
                spread=spread,
                gap=test.gap,
            )
        )
    return found


def _outputs(
    tables: Tables, output: ModelOutput, test: Test, others: npt.NDArray[np.int64], *, seed: int
) -> tuple[Outputs, Outputs]:
    """Return the model's output on the others' rows and on the environment's."""
    if not output.made_here:
        return output.train.take(others), output.train.take(test.rows)
    without = replace(tables, X=tables.X[others], y=tables.y[others], X_live=tables.X[test.rows], given=None)
    made = model_output(without, folds=_FOLDS, random_state=seed)
    return made.train, made.live


def _weights(
    tables: Tables, X: FloatArray, X_there: FloatArray, learner: str, *, seed: int
) -> FloatArray | None:
    """Return weights of the others' rows; None if the audit would not trust them."""
    try:
        study = DomainStudy(
            X,
            X_there,
            categorical=tables.categorical,
            n_folds=_FOLDS,
            max_rows=_MOST_ROWS,
            random_state=seed,
        )
        log_w = study.learn(learner).source
    except InputError:
        # An environment of few rows, or one that leaves a class out: as good as not covered.
        return None
    k = pareto_k(log_w)
    if k is not None and k > SMOOTH_PARETO_K:
        log_w, _ = pareto_smooth(log_w)
    weights = np.exp(mean_one(log_w))
    trusted = effective_sample_size(weights) >= MIN_ESS and (k is None or k <= MAX_PARETO_K)
    return weights if trusted else None
