"""A part of LIVE's rows in another unit: dollars among thousands of dollars."""

from __future__ import annotations

import numpy as np

from steelyard.auditing.data_faults.look import Look, distance, known
from steelyard.auditing.data_faults.relations import LEVEL, needed
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray

_FACTORS = (1000.0, 100.0, 10.0, 1e6, 0.001, 0.01, 0.1, 1e-6)
_DISTINCT = 10
# A part of fewer values shows no shape.
_ROWS = 15
_LIKE = 0.15


def mixed_units(look: Look) -> list[Finding]:
    """Tell of positive numbers of which a part lies beyond TRAIN's range in LIVE, and inside when converted.

    Factors below 10 are left to drift. The part's converted values must be distributed as TRAIN's.

    Notes
    -----
    Time O(n d log n).
    """
    found = []
    for j in look.numbers:
        train, live = known(look.X[:, j]), known(look.X_live[:, j])
        if len(train) < 50 or len(live) < 50 or look.levels[j] is not None:
            continue
        train, live = train[train > 0], live[live > 0]
        if len(train) < 50 or len(np.unique(train)) < _DISTINCT or len(live) < 50:
            continue
        told = _part(train, live, LEVEL / len(look.numbers))
        if told is None:
            continue
        factor, rows = told
        name = look.names[j]
        text = (
            f"Column '{name}' looks {factor:,g} times TRAIN's in {rows:,} of {len(live):,} rows of LIVE "
            f"({rows / len(live):.0%}) and in TRAIN's unit in the rest: two units in one column."
        )
        mend = f"Bring all of '{name}' in LIVE to TRAIN's unit"
        found.append(Finding("mixed-units", "warning", text, explains=True, mend=mend, columns=(name,)))
    return found


def _part(train: FloatArray, live: FloatArray, level: float) -> tuple[float, int] | None:
    """Return the factor and the rows of a part in another unit."""
    low, high = float(train[0]), float(train[-1])
    for factor in _FACTORS:
        outside = live[live > high] if factor > 1 else live[live < low]
        rest = live[live <= high] if factor > 1 else live[live >= low]
        enough = max(needed(len(train), len(live), level), _ROWS, 0.01 * len(live))
        if len(outside) < enough or len(outside) > 0.95 * len(live):
            continue
        noise = 1.36 * np.sqrt(1 / len(outside) + 1 / len(train))
        # The values of a part that overlap TRAIN's range stay with the rest.
        like = train[train * factor > high] if factor > 1 else train[train * factor < low]
        if len(like) < 0.5 * len(train) or len(rest) < _ROWS:
            continue
        if distance(np.sort(outside / factor), like) <= max(_LIKE, float(noise)):
            return factor, len(outside)
    return None
