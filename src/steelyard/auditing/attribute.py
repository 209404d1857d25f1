"""Step 5: which shifts changed the performance, and by how much each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from steelyard.auditing.estimate import Estimated, as_outputs
from steelyard.auditing.result import Attribution, Part, Performance
from steelyard.auditing.shift import Detected
from steelyard.auditing.tables import Tables
from steelyard.auditing.weigh import Weighed
from steelyard.evaluation import attribute_change, get_metric, group_features, outcome_columns
from steelyard.explain import shapley_coefficients

FloatArray = npt.NDArray[np.float64]

MAX_GROUPS = 4
MAX_ROWS = 10_000


def attribute(
    tables: Tables, found: Detected, weighed: Weighed, estimated: Estimated, *, seed: int
) -> Attribution | None:
    """Divide the change of the first metric among groups of columns, or among classes and columns.

    The change is what the estimate, or LIVE's labels where they have come,
    differ by from TRAIN. A metric that is no mean is followed to first order,
    by its influence values; what that leaves is in ``unexplained``.
    """
    row = estimated.performance[0]
    if not weighed.trusted or row.naive is None or row.live_estimate is None:
        return Attribution(row.metric, None, (), None)
    total = (row.live_actual if row.live_actual is not None else row.live_estimate) - row.naive
    if weighed.report.method == "none":
        return Attribution(row.metric, total, (), total)
    values = _row_values(tables, row)
    if weighed.class_ratio is not None:
        parts = _classes_and_columns(tables, found, weighed, values)
    else:
        groups = _groups(tables, found)
        result = attribute_change(
            values,
            tables.X,
            tables.X_live,
            groups=groups,
            categorical=tables.categorical,
            max_rows=MAX_ROWS,
            random_state=seed,
        )
        parts = tuple(Part(p.name, p.change, p.low, p.high) for p in result.parts)
    parts = tuple(sorted(parts, key=lambda p: -abs(p.change)))
    return Attribution(row.metric, total, parts, total - sum(p.change for p in parts))


def _row_values(tables: Tables, row: Performance) -> FloatArray:
    """Return each TRAIN row's contribution to the metric: its loss, or its influence value."""
    assert tables.output is not None
    outputs = as_outputs(tables.output)
    n_classes = None if tables.classes is None else len(tables.classes)
    outcome = outcome_columns(tables.y, outputs, n_classes=n_classes)
    evaluated = get_metric(row.metric).evaluate(outputs, outcome, np.ones(len(outputs)))
    return evaluated.influence(outputs, outcome)


def _groups(tables: Tables, found: Detected) -> dict[str, tuple[int, ...]]:
    """Group the columns that moved by how they go together; the others form one group."""
    place = {f.name: j for j, f in enumerate(tables.features)}
    moved = [place[r.name] for r in found.shift.features if r.p_adjusted < 0.05]
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


def _classes_and_columns(
    tables: Tables, found: Detected, weighed: Weighed, values: FloatArray
) -> tuple[Part, ...]:
    """Divide the change between the classes' shares and the columns that moved besides."""
    assert weighed.class_ratio is not None
    by_class = weighed.class_ratio[tables.y.astype(np.int64)]
    columns = weighed.weights / by_class
    names = ["shares of the classes"]
    players = [by_class]
    others = [f.name for j, f in enumerate(tables.features) if j not in found.class_features]
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
