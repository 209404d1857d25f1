"""Numbers that were scaled or logged in one table alone, as when a step of preparation was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from steelyard.auditing.data_faults.look import Look, chance_distance, distance, known
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray

_LEVEL = 1e-5
# Nearer tables are drift, and a scaling that nearly changes nothing does no harm.
_APART = 0.5
_LIKE = 0.05
_DISTINCT = 10


def rescaled_numbers(look: Look) -> list[Finding]:
    """Tell of numbers that lie far apart and are alike once one table's are scaled or logged.

    Scaled to mean 0 and deviation 1, to the range 0 to 1, or by a logarithm (natural, of 1 + x, to base 10);
    constant factors are told from all rows elsewhere.

    Notes
    -----
    Time O(n d log n).
    """
    found = []
    for j in look.numbers:
        train, live = known(look.X[:, j]), known(look.X_live[:, j])
        if min(len(train), len(live)) < 50 or look.levels[j] is not None:
            continue
        chance = chance_distance(len(train), len(live), _LEVEL / len(look.numbers))
        if distance(train, live) < max(_APART, chance):
            continue
        for side, other, raw, made in (("LIVE", "TRAIN", train, live), ("TRAIN", "LIVE", live, train)):
            how = _how(raw, made)
            if how is None:
                continue
            name = look.names[j]
            text = f"Column '{name}' looks {how} in {side} and as it is in {other}: one shape on two scales."
            mend = f"Bring '{name}' to one scale in both tables"
            found.append(
                Finding("rescaled-column", "warning", text, explains=True, mend=mend, columns=(name,))
            )
            break
    return found


def _how(raw: FloatArray, made: FloatArray) -> str | None:
    """Say by what one table's values became the other's, None where nothing known makes them alike."""
    if min(len(np.unique(raw)), len(np.unique(made))) < _DISTINCT:
        return None
    limit = max(_LIKE, chance_distance(len(raw), len(made), 1e-3))
    # What follows the made values closely enough to be told from them is another law.
    for words, transform in _transforms(raw, made):
        if distance(np.sort(transform(raw)), made) <= limit:
            return words
    return None


def _transforms(
    raw: FloatArray, made: FloatArray
) -> Iterator[tuple[str, Callable[[FloatArray], FloatArray]]]:
    """Yield what may have been done, where the outcome has the marks of it."""
    spread = float(raw.std())
    if abs(float(made.mean())) < 0.1 and abs(float(made.std()) - 1) < 0.1 and spread > 0:
        yield "standardised", lambda x: (x - raw.mean()) / spread
    if -1e-9 <= made[0] <= 0.05 and 0.95 <= made[-1] <= 1 + 1e-9 and raw[-1] > raw[0]:
        yield "scaled to the range 0 to 1", lambda x: (x - raw[0]) / (raw[-1] - raw[0])
    if raw[0] > 0:
        yield "logged", np.log
        yield "logged (to base 10)", np.log10
    if raw[0] > -1:
        yield "logged (1 + x)", np.log1p
