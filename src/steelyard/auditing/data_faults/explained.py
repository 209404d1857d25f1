"""Which oddities of single columns explain how the tables differ, and what to do about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from steelyard.auditing.result import Finding

_MENDS: Mapping[str, Callable[[str], str]] = {
    "unit-change": lambda name: f"Convert '{name}' in LIVE to TRAIN's unit",
    "sign-flip": lambda name: f"Turn the sign of '{name}' in LIVE round",
    "recoded-category": lambda name: f"Give the values of '{name}' in LIVE the names that they have in TRAIN",
    "category-spelling": lambda name: f"Spell the values of '{name}' in LIVE as in TRAIN",
    "constant-in-live": lambda name: f"Find out why '{name}' has one value in LIVE, and collect it again",
    "sentinel-value": lambda name: f"Turn the code for missing in '{name}' into a missing value",
    "missing-jump": lambda name: f"Find out why '{name}' is missing at another rate in LIVE",
}
# A jump of the missing rate is a fault of the data where it is large; a few points more are a trait
# of LIVE's rows as often.
_EXPLAIN = frozenset(_MENDS) - {"missing-jump"}


def explained(findings: Iterable[Finding], name: str) -> tuple[Finding, ...]:
    """Return a column's findings; those that explain how the tables differ say so, with what to do.

    What is only new, lies apart or is typed differently may be LIVE as it is: it explains nothing by
    itself.
    """
    return tuple(
        replace(
            f,
            explains=f.explains or f.id in _EXPLAIN,
            mend=f.mend or (_MENDS[f.id](name) if f.id in _MENDS else ""),
            columns=f.columns or (name,),
        )
        for f in findings
    )
