"""Which moved columns, or classes, changed a metric, and by how much each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from steelyard.auditing.learn.learnt import Sampled
from steelyard.auditing.learn.weights import Weighted
from steelyard.auditing.result import FeatureShift, Part
from steelyard.auditing.tables import Sample, Tables
from steelyard.evaluation import attribute_change, get_metric, group_features
from steelyard.explain import shapley_coefficients

FloatArray = npt.NDArray[np.float64]

MAX_GROUPS = 4
MAX_ROWS = 20_000


def change_parts(sampled: Sampled, metric: str, *, seed: int) -> tuple[Part, ...]:
    """Divide the change of a metric among groups of columns, or among classes and columns.

    The change is that of the weighted rows of TRAIN. A metric that is no mean is
    followed to first order, by its influence values.
    """
    sample, leading = sampled.sample, sampled.readings[0]
    tables = sample.tables
    if leading.reading.name == "none":
        return ()
    values = _row_values(sample, metric)
    if leading.reading.class_ratio is not None:
        parts = _classes_and_columns(tables, leading, values)
    else:
        result = attribute_change(
            values,
            tables.X,
            tables.X_live,
            groups=_groups(tables, sampled.shift.features),
            categorical=tables.categorical,
            max_rows=MAX_ROWS,
            random_state=seed,
        )
        parts = tuple(Part(p.name, p.change, p.low, p.high) for p in result.parts)
    return tuple(sorted(parts, key=lambda p: -abs(p.change)))


def _row_values(sample: Sample, metric: str) -> FloatArray:
    """Return each TRAIN row's contribution to the metric: its loss, or its influence value."""
    outputs = sample.model.train
    evaluated = get_metric(metric).evaluate(outputs, sample.outcome, np.ones(len(outputs)))
    return evaluated.influence(outputs, sample.outcome)


def _groups(tables: Tables, features: tuple[FeatureShift, ...]) -> dict[str, tuple[int, ...]]:
    """Group the columns that moved by how they go together; the others are left out."""
    place = {f.name: j for j, f in enumerate(tables.features)}
    moved = [place[r.name] for r in features if r.p_adjusted < 0.05]
    if not moved:
        moved = list(range(len(place)))
    moved = sorted(moved)
    joint = group_features(
        tables.X[:, moved],
        categorical=tables.categorical[moved],
        max_groups=MAX_GROUPS,
    )
    groups = {}
    for columns in joint:
        members = tuple(moved[j] for j in columns)
        groups[_joined([tables.features[j].name for j in members])] = members
    return groups


def _joined(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _classes_and_columns(tables: Tables, leading: Weighted, values: FloatArray) -> tuple[Part, ...]:
    """Divide the change between the classes' shares and the columns that moved besides."""
    ratio, moved = leading.reading.by_class, leading.reading.moved
    by_class = np.ones(len(values)) if ratio is None else ratio[tables.y.astype(np.int64)]
    columns = leading.weights / by_class
    names = ["shares of the classes"]
    players = [by_class]
    others = [tables.features[j].name for j in moved]
    if others:
        names.append(_joined(others))
        players.append(columns)
    influence, worth = [], []
    for coalition in range(2 ** len(players)):
        w = np.ones(len(values))
        for i, player in enumerate(players):
            if coalition >> i & 1:
                w = w * player
        w = w / w.sum()
        mean = float(w @ values)
        worth.append(mean)
        influence.append(w * (values - mean))
    coefficients = shapley_coefficients(len(players))
    z = float(norm.ppf(0.975))
    parts = []
    for i, name in enumerate(names):
        change = float(coefficients[i] @ np.array(worth))
        error = float(np.linalg.norm(coefficients[i] @ np.array(influence)))
        parts.append(Part(name, change, change - z * error, change + z * error))
    return tuple(parts)
