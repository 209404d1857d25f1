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


def reversed_numbers(look: Look) -> list[Finding]:
    """Tell of numbers that the other columns foretell in TRAIN, and upside down in LIVE.

    Notes
    -----
    Time O(n d^2 + d^4) for at most 200 columns of the design.
    """
    design, found = look.design, []
    train, live = design.correlations
    columns = [j for j in look.numbers if look.levels[j] is None and len(design.of(j)) == 1]
    for j in columns:
        at, rest = int(design.of(j)[0]), design.others((j,))
        if not len(rest):
            continue
        gram = train[np.ix_(rest, rest)] + _RIDGE * np.eye(len(rest))
        beta = np.linalg.solve(gram, train[rest, at])
        told = [
            float(beta @ side[rest, at]) / max(float(np.sqrt(beta @ side[np.ix_(rest, rest)] @ beta)), 1e-12)
            for side in (train, live)
        ]
        each = design.Z_live[:, at] * (design.Z_live[:, rest] @ beta)
        error = float(each.std()) / np.sqrt(len(each))
        certain = error > 1e-12 and each.mean() / error < -norm.isf(_LEVEL / len(columns))
        if certain and told[0] > _WEAK and told[1] < -0.5 * told[0]:
            name = look.names[j]
            text = (
                f"Column '{name}' runs the other way in LIVE: what the other columns say of it correlates "
                f"{told[0]:+.2f} with it in TRAIN and {told[1]:+.2f} in LIVE."
            )
            mend = f"Turn '{name}' of LIVE round, or find out why it runs the other way"
            found.append(
                Finding("reversed-column", "warning", text, explains=True, mend=mend, columns=(name,))
            )
    return found
