"""Columns of which one names the other in every row of TRAIN (a code and its name), and not in LIVE."""

from __future__ import annotations

import numpy as np

from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.data_faults.relations import LEVEL, needed
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import IntArray

# Columns that are held against one another, and values of one: 40 x 39 tables of 250 x 250 at most.
_COLUMNS, _VALUES = 40, 250
# Rows that a value needs to show that it always goes with the same.
_SUPPORT = 20


def broken_dependencies(look: Look) -> list[Finding]:
    """Tell of pairs of coded columns where a value of the one went with one value of the other alone.

    Only values with 20 rows of TRAIN count. A dependence is broken by as many rows of LIVE as
    would all have fallen there by chance less than once in 10,000 tables.

    Notes
    -----
    Time O(n d^2) for at most 40 columns.
    """
    coded = _coded(look)
    level = LEVEL / max(len(coded) * (len(coded) - 1), 1)
    found, told = [], set()
    for a, (train_a, live_a, n_a) in coded.items():
        for b, (train_b, live_b, n_b) in coded.items():
            if a == b or frozenset((a, b)) in told:
                continue
            counts = _crossed(train_a, train_b, n_a, n_b)
            rows = counts.sum(axis=1)
            supported = rows >= _SUPPORT
            if not (counts.max(axis=1) == rows)[supported].all() or rows[supported].sum() < 0.9 * rows.sum():
                continue
            name_of = counts.argmax(axis=1)
            # What nearly always has one value tells nothing of a bond.
            if len(np.unique(name_of[supported])) < 2:
                continue
            inside = (live_a >= 0) & (live_b >= 0) & supported[live_a]
            broken = inside & (live_b != name_of[live_a])
            enough = max(needed(int(rows.sum()), int(inside.sum()), level), 0.01 * inside.sum())
            if inside.any() and broken.sum() >= enough:
                told.add(frozenset((a, b)))
                found.append(_finding(look, a, b, int(broken.sum()), int(inside.sum()), int(rows.sum())))
    return found


def _finding(look: Look, a: int, b: int, broken: int, rows: int, n: int) -> Finding:
    code, name = look.names[a], look.names[b]
    text = (
        f"'{code}' settles '{name}' in all {n:,} rows of TRAIN that tell, but in LIVE "
        f"{broken:,} of {rows:,} rows ({broken / rows:.0%}) have another '{name}' than that '{code}' had."
    )
    mend = f"Correct whichever of '{code}' and '{name}' is coded in another way in LIVE"
    return Finding("broken-relation", "warning", text, explains=True, mend=mend, columns=(code, name))


def _coded(look: Look) -> dict[int, tuple[IntArray, IntArray, int]]:
    """Return the codes of both sides and their number, for columns with few values; -1 where missing."""
    out: dict[int, tuple[IntArray, IntArray, int]] = {}
    for j, feature in enumerate(look.features):
        if len(out) == _COLUMNS:
            break
        x, x_live = look.X[:, j], look.X_live[:, j]
        if feature.categories is None:
            # Numbers with few values are codes as well; a look at the first rows spares the sorting.
            values = np.unique(np.concatenate([x[~np.isnan(x)][:500], x_live[~np.isnan(x_live)][:500]]))
            if len(values) > _VALUES // 2:
                continue
            values = np.unique(np.concatenate([x[~np.isnan(x)], x_live[~np.isnan(x_live)]]))
        else:
            values = np.arange(len(feature.categories), dtype=np.float64)
        if 2 <= len(values) <= _VALUES:
            sides = [np.where(np.isnan(s), -1, np.searchsorted(values, s)).astype(int) for s in (x, x_live)]
            out[j] = (sides[0], sides[1], len(values))
    return out


def _crossed(a: IntArray, b: IntArray, n_a: int, n_b: int) -> IntArray:
    both = (a >= 0) & (b >= 0)
    return np.bincount(a[both] * n_b + b[both], minlength=n_a * n_b).reshape(n_a, n_b)
