"""A number that runs the other way in LIVE: a sign, a scale from best to worst, a share and its rest."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.result import Finding

_LEVEL = 1e-5
_RIDGE = 0.05
# Columns that the others tell less of than this (a correlation) may turn by drift.
_WEAK = 0.3
# A table of which more columns are turned is another table.
_MOST = 5


def reversed_numbers(look: Look) -> list[Finding]:
    """Tell of numbers that the other columns foretell in TRAIN, and upside down in LIVE.

    The clearest first, which then foretells no other: it would drag along what hangs on it.

    Notes
    -----
    Time O(n d^2 + d^4) for at most 200 columns of the design.
    """
    columns = [j for j in look.numbers if look.levels[j] is None and len(look.design.of(j)) == 1]
    turned: list[int] = []
    found = []
    while len(turned) < _MOST:
        told = [
            (pair[1] / pair[0], j, pair)
            for j in columns
            if j not in turned and (pair := _turned(look, j, turned, _LEVEL / len(columns))) is not None
        ]
        if not told:
            break
        _, j, (in_train, in_live) = min(told)
        turned.append(j)
        name = look.names[j]
        text = (
            f"Column '{name}' runs the other way in LIVE: what the other columns say of it correlates "
            f"{in_train:+.2f} with it in TRAIN and {in_live:+.2f} in LIVE."
        )
        mend = f"Turn '{name}' of LIVE round"
        found.append(Finding("reversed-column", "warning", text, explains=True, mend=mend, columns=(name,)))
    return found


def _turned(look: Look, j: int, without: list[int], level: float) -> tuple[float, float] | None:
    """Return the correlations in TRAIN and LIVE of a number with what others say of it, if it is turned."""
    design = look.design
    train, live = design.correlations
    at, rest = int(design.of(j)[0]), design.others((j, *without))
    if not len(rest):
        return None
    beta = np.linalg.solve(train[np.ix_(rest, rest)] + _RIDGE * np.eye(len(rest)), train[rest, at])
    in_train, in_live = (
        float(beta @ side[rest, at]) / max(float(np.sqrt(beta @ side[np.ix_(rest, rest)] @ beta)), 1e-12)
        for side in (train, live)
    )
    if in_train < _WEAK or in_live > -0.5 * in_train:
        return None
    each = design.Z_live[:, at] * (design.Z_live[:, rest] @ beta)
    error = float(each.std()) / np.sqrt(len(each))
    certain = error > 1e-12 and each.mean() / error < -norm.isf(level)
    return (in_train, in_live) if certain else None
