"""Which oddities of single columns explain how the tables differ, and what to do about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from steelyard.auditing.data_faults.look import chance_distance, distance
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import Profiles

_MENDS: Mapping[str, Callable[[str], str]] = {
    "unit-change": lambda name: f"Convert '{name}' in LIVE to TRAIN's unit",
    "sign-flip": lambda name: f"Turn the sign of '{name}' in LIVE round",
    "recoded-category": lambda name: f"Give the values of '{name}' in LIVE the names that they have in TRAIN",
    "category-spelling": lambda name: f"Spell the values of '{name}' in LIVE as in TRAIN",
    "constant-in-live": lambda name: f"Find out why '{name}' has one value in LIVE, and collect it again",
    "sentinel-value": lambda name: f"Turn the code for missing in '{name}' into a missing value",
    "missing-jump": lambda name: f"Find out why '{name}' is missing at another rate in LIVE",
}
_SMALL = 10.0
# A jump of the missing rate is a fault of the data where it is large; a few points more are a trait
# of LIVE's rows as often.
_EXPLAIN = frozenset(_MENDS) - {"missing-jump"}


def explained(
    findings: Mapping[str, Sequence[Finding]], train: Profiles, live: Profiles
) -> dict[str, tuple[Finding, ...]]:
    """Return the findings of each column; those that explain how the tables differ say so, with what to do.

    What is only new, lies apart or is typed differently may be LIVE as it is: it explains nothing by
    itself. A unit of less than ten times another explains only where hardly another number has moved:
    where columns grow, one of them looks like inches for centimetres soon.
    """
    moved: list[str] | None = None
    out = {}
    for name, told in findings.items():
        each = []
        for f in told:
            explains = f.id in _EXPLAIN
            if f.id == "unit-change" and not _far(train[name], live[name]):
                moved = _moved(train, live) if moved is None else moved
                explains = len([other for other in moved if other != name]) <= 0.1 * len(train)
            mend = f.mend or (_MENDS[f.id](name) if f.id in _MENDS else "")
            columns = f.columns or (name,)
            each.append(replace(f, explains=f.explains or explains, mend=mend, columns=columns))
        out[name] = tuple(each)
    return out


def _far(train: ColumnProfile, live: ColumnProfile) -> bool:
    middle, middle_live = (abs(float(p.quantiles(0.5))) for p in (train, live))
    return not middle / _SMALL < middle_live < middle * _SMALL


def _moved(train: Profiles, live: Profiles) -> list[str]:
    """Return the numbers that lie further apart than chance explains once in a thousand tables."""
    out = []
    for name in train:
        a, b = np.sort(train[name].sketch.values), np.sort(live[name].sketch.values)
        if len(a) and len(b) and distance(a, b) > chance_distance(len(a), len(b), 1e-3 / len(train)):
            out.append(name)
    return out
