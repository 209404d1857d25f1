"""Numbers that stand for "missing": one value that many rows of one side have, and few of the other."""

from __future__ import annotations

import numpy as np
from scipy.stats import fisher_exact

from steelyard.auditing.data_faults.look import Look, chance_distance, distance, known
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray

_LEVEL = 1e-6
# Fewer rows are a matter of single values.
_SHARE = 0.02
_DISTINCT = 20
_NINES = frozenset(s * (10.0**k - 1) for k in range(2, 10) for s in (1, -1))
_ONES = frozenset((-1.0, 0.0))
# Values that code lists give to "does not apply", "refused" and the like.
_CODES = frozenset((-9.0, -8.0, -7.0, 77.0, 88.0, 777.0, 888.0, 7777.0, 8888.0, -77.0, -88.0, -777.0, -888.0))


def filled_in(look: Look) -> list[Finding]:
    """Tell of single values that stand for missing ones, in one side alone or in both.

    In one side alone: the value's share there is above the other side's beyond chance (Fisher's
    exact test, one in a million over the columns), it is 2% or more, ten times the
    other's, and the value is a usual filler: -999 and its like, -1, 0, or the mean, median, least or
    largest of the rest; or any value if the share is 5% or more and 20 times the other's. Other than for
    -999 and its like outside the range, the rest of the column must be as in the other side. In both
    sides: -999 and its like, far outside all other values.

    Notes
    -----
    Time O(n d log n).
    """
    found = []
    for j in look.numbers:
        if look.features[j].kind != "number":
            continue
        train, live = known(look.X[:, j]), known(look.X_live[:, j])
        if min(len(train), len(live)) < 50:
            continue
        finding = _one_sided(look, j, train, live) or _two_sided(look, j, train, live)
        if finding is not None:
            found.append(finding)
    return found


def _one_sided(look: Look, j: int, train: FloatArray, live: FloatArray) -> Finding | None:
    for side, here, there in (("LIVE", live, train), ("TRAIN", train, live)):
        value, rows = _grown(here, there)
        usual = int(np.sum(there == value))
        share, share_there = rows / len(here), usual / len(there)
        # A column that is constant in one side is another finding.
        if share < _SHARE or share < 10 * share_there or rows == len(here):
            continue
        if fisher_exact([[rows, len(here) - rows], [usual, len(there) - usual]])[1] > _LEVEL / len(
            look.numbers
        ):
            continue
        striking = share >= 0.05 and share >= 20 * share_there
        if not _is_filler(value, here[here != value], there[there != value], any_value=striking):
            continue
        name = look.names[j]
        other = "TRAIN" if side == "LIVE" else "LIVE"
        text = (
            f"Column '{name}' is {value:g} in {rows:,} rows of {side} ({share:.1%}) and in "
            f"{share_there:.1%} of {other}'s: it looks like a value filled in for missing ones."
        )
        mend = f"Turn {value:g} in '{name}' of {side} into a missing value, or treat {other} in the same way"
        return Finding("filled-in", "warning", text, explains=True, mend=mend, columns=(name,))
    return None


def _grown(here: FloatArray, there: FloatArray) -> tuple[float, int]:
    """Return the value whose share grew most, and its rows."""
    values, counts = np.unique(here, return_counts=True)
    before = np.searchsorted(there, values, side="right") - np.searchsorted(there, values)
    k = int(np.argmax(counts / len(here) - before / len(there)))
    return float(values[k]), int(counts[k])


def _is_filler(value: float, rest: FloatArray, there: FloatArray, *, any_value: bool) -> bool:
    """Whether a value is one that is put for missing ones, and leaves a column as in the other side."""
    if len(rest) < 20 or len(np.unique(there)) < _DISTINCT:
        return False
    if _far(value, there) and _far(value, rest) and (value in _NINES or value in _CODES or value in _ONES):
        return True
    usual = [float(np.mean(there)), float(np.median(there)), float(np.mean(rest)), float(np.median(rest))]
    near = 1e-3 * float(np.std(there))
    ends = (float(there[0]), float(there[-1]))
    known_word = any_value or value in _NINES or value in _CODES or value in _ONES or value in ends
    if not known_word and min(abs(value - u) for u in usual) > near:
        return False
    return distance(rest, there) <= max(0.1, chance_distance(len(rest), len(there), 0.01))


def _far(value: float, others: FloatArray) -> bool:
    """Whether a value lies outside all others, by a tenth of their range or more."""
    if not len(others):
        return False
    low, high = float(others[0]), float(others[-1])
    return max(low - value, value - high) > 0.1 * (high - low) and high > low


def _two_sided(look: Look, j: int, train: FloatArray, live: FloatArray) -> Finding | None:
    both = np.concatenate([train, live])
    for value in (float(both.max()), float(both.min())):
        rows, rows_live = int(np.sum(train == value)), int(np.sum(live == value))
        rest = np.sort(both[both != value])
        coded = value in _NINES and abs(value) >= 99 and _very_far(value, rest)
        if not coded or min(rows / len(train), rows_live / len(live)) < 0.01:
            continue
        name = look.names[j]
        text = (
            f"Column '{name}' is {value:g} in {rows:,} rows of TRAIN ({rows / len(train):.1%}) and "
            f"{rows_live:,} of LIVE ({rows_live / len(live):.1%}), far from every other value: it looks "
            "like a code for missing. Turn it into a missing value in both."
        )
        mend = f"Turn {value:g} in '{name}' into a missing value in both tables"
        return Finding("sentinel-value", "info", text, mend=mend, columns=(name,))
    return None


def _very_far(value: float, others: FloatArray) -> bool:
    """Whether a value lies outside of the others by more than half of their range."""
    if len(others) < 20:
        return False
    low, high = float(others[0]), float(others[-1])
    return high > low and max(low - value, value - high) > 0.5 * (high - low)
