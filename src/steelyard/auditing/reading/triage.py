"""Oddities of the columns that are worth knowing before any statistic is made of them.

Every check is a pure function of two :class:`ColumnProfile` summaries, so it works
alike on tables in memory and on summaries that were collected batch by batch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.spelling import spelling, spellings
from steelyard.auditing.result import Finding

__all__ = ["ColumnProfile", "Verdict", "judge_column", "unusable"]

NEARLY_UNIQUE = 0.95
MIN_ROWS = 50
# Fewer rows than this no step can tell from the others.
_FEW_ROWS = 15
LARGEST = 1e38
"""Largest number in a column: trees hold single precision, and sums of squares stay finite."""
_ID_NAME = re.compile(
    r"(^|[_\W])(id|ids|uuid|guid|key|index|idx|row|rowid|row_?num(ber)?|serial)$"
    r"|[a-z]I[Dd]$|^Unnamed: \d+$|^$"
)
_PERIOD_NAME = re.compile(
    r"(^|[_\W])(year|yr|date|day|month|week|quarter|period|time|timestamp|epoch|batch|wave)($|[_\W])", re.I
)
_LEVELS = np.linspace(0.05, 0.95, 19)
_NOT_A_UNIT = 0.1
# LIVE = a * TRAIN + b, and what that would mean.
_UNITS: tuple[tuple[float, float, str], ...] = (
    *((10.0**k, 0.0, f"LIVE is TRAIN times {10.0**k:g}") for k in (-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)),
    (2.54, 0.0, "inches became centimetres"),
    (1 / 2.54, 0.0, "centimetres became inches"),
    (0.45359237, 0.0, "pounds became kilograms"),
    (1 / 0.45359237, 0.0, "kilograms became pounds"),
    (1.609344, 0.0, "miles became kilometres"),
    (1 / 1.609344, 0.0, "kilometres became miles"),
    (0.3048, 0.0, "feet became metres"),
    (1 / 0.3048, 0.0, "metres became feet"),
    (60.0, 0.0, "LIVE is TRAIN times 60, as when minutes become seconds"),
    (1 / 60.0, 0.0, "LIVE is TRAIN divided by 60, as when seconds become minutes"),
    (12.0, 0.0, "LIVE is TRAIN times 12, as when years become months"),
    (1 / 12.0, 0.0, "LIVE is TRAIN divided by 12, as when months become years"),
    (365.25, 0.0, "years became days"),
    (1 / 365.25, 0.0, "days became years"),
    (1.8, 32.0, "degrees Celsius became Fahrenheit"),
    (1 / 1.8, -32 / 1.8, "degrees Fahrenheit became Celsius"),
    (-1.0, 0.0, "the sign was flipped"),
)


@dataclass(frozen=True)
class Verdict:
    """What triage makes of a column: whether the steps leave it out, and what to tell."""

    kind: Literal["number", "category", "date", "text"]
    dropped: bool
    findings: tuple[Finding, ...] = ()
    issues: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Mark:
    """One oddity: its finding and a word for the column's row in the report."""

    issue: str
    finding: Finding


def judge_column(
    name: str,
    train: ColumnProfile,
    live: ColumnProfile,
    *,
    kind: Literal["number", "category", "date"],
) -> Verdict:
    """Compare a column's two summaries.

    Parameters
    ----------
    name : str
        The column.
    train, live : ColumnProfile
        Both of kind ``"category"`` if ``kind`` is, else both of kind ``"number"``.
    kind : {"number", "category", "date"}
        What the column holds; dates are summarised as epoch days.

    Returns
    -------
    Verdict
        A column is dropped if TRAIN has one value only, if it identifies rows, if it is free
        text, or if it marks the period (its ranges do not meet and it is a date or named like one).

    Examples
    --------
    >>> import polars as pl
    >>> train = ColumnProfile("category").update(pl.Series(["a", "b"] * 50))
    >>> live = ColumnProfile("category").update(pl.Series(["a", "b", "c", "c"] * 25))
    >>> judge_column("grade", train, live, kind="category").issues
    ('new categories',)
    """
    out = _reason_to_drop(name, train, live, kind)
    if out is not None:
        shown: Literal["number", "category", "date", "text"] = "text" if out.issue == "free text" else kind
        return Verdict(shown, True, (out.finding,), (out.issue,))
    marks = [
        one_value(name, train),
        missing_jump(name, train, live),
        constant_in_live(name, train, live),
    ]
    if kind == "category":
        marks.append(new_categories(name, train, live))
    elif kind == "number":
        unit = unit_change(name, train, live) or shifted_codes(name, train, live)
        marks += [unit or disjoint_range(name, train, live), *sentinels(name, train, live)]
    found = [mark for mark in marks if mark is not None]
    return Verdict(kind, False, tuple(m.finding for m in found), tuple(m.issue for m in found))


def unusable(name: str, side: str, profile: ColumnProfile, where: str = "") -> str | None:
    """Say why a column's numbers cannot be used; None if they can.

    Parameters
    ----------
    name, side : str
        The column and its table, for the message.
    profile : ColumnProfile
    where : str
        Which of the table's rows it is of, such as ``" in rows 0 to 9"``.
    """
    if profile.infinite:
        return (
            f"column '{name}' in {side} holds {profile.infinite} infinite values{where}; replace them by "
            "missing or finite ones"
        )
    ends = [float(end) for end in (profile.low, profile.high) if end is not None]
    huge = [end for end in ends if abs(end) > LARGEST]
    if huge:
        return (
            f"column '{name}' in {side} holds numbers as large as {huge[-1]:.3g}{where}, more than "
            "the models hold; replace them by missing or smaller ones"
        )
    return None


def _reason_to_drop(name: str, train: ColumnProfile, live: ColumnProfile, kind: str) -> _Mark | None:
    if train.count == 0:
        severity: Literal["info", "warning"] = "warning" if live.count else "info"
        text = f"Column '{name}' has no value in TRAIN: left out. Fill it in TRAIN or remove it."
        return _Mark("empty", Finding("empty-column", severity, text))
    if train.distinct == 1 and _says_nothing(train, live):
        return _constant(name, train, live)
    if _identifies(name, train, live, kind):
        text = (
            f"Column '{name}' identifies rows (nearly every value is unique): left out. A model "
            "should not use it."
        )
        return _Mark("identifier", Finding("identifier", "info", text))
    if kind == "category" and _nearly_unique(train):
        text = (
            f"Column '{name}' is free text ({train.distinct} different texts in {train.count} rows): "
            "left out. "
            "Turn it into numbers or categories if it matters."
        )
        return _Mark("free text", Finding("free-text", "info", text))
    if (
        kind != "category"
        and _apart(train, live)
        and (kind == "date" or (train.whole and _PERIOD_NAME.search(name)))
    ):
        text = (
            f"Column '{name}' marks the period ({_range(train, kind)} in TRAIN, {_range(live, kind)} "
            "in LIVE, "
            "nothing in common): left out, since it tells the tables apart and nothing else."
        )
        return _Mark("marks the period", Finding("period-marker", "info", text))
    return None


def _says_nothing(train: ColumnProfile, live: ColumnProfile) -> bool:
    """Whether a column of one value in TRAIN is of no use; where it is missing as well, that may be told."""
    if min(train.missing, train.count) < _FEW_ROWS:
        return True
    return live.count - live.values.get(next(iter(train.values)), 0) >= 0.01 * max(live.count, 1)


def _constant(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark:
    value = next(iter(train.values))
    shown = f"{value:g}" if isinstance(value, float) else f"'{value}'"
    changed = set(live.values) - {value}
    if train.missing:
        shown += f", and is missing in {train.missing / train.rows:.1%} of its rows,"
    if not changed:
        text = f"Column '{name}' has the single value {shown} in TRAIN: left out, it carries no information."
        return _Mark("constant", Finding("constant-column", "info", text))
    others = live.count - live.values.get(value, 0)
    share = others / max(live.count, 1)
    how_many = f"{share:.0%}" if share >= 0.01 else str(others)
    text = (
        f"Column '{name}' has the single value {shown} in TRAIN, and another in {how_many} of LIVE's "
        "rows: left out. "
        "TRAIN cannot tell what those rows do; check whether they belong to the same question."
    )
    return _Mark("constant", Finding("constant-column", "warning" if share >= 0.01 else "info", text))


def _nearly_unique(profile: ColumnProfile) -> bool:
    return profile.count >= MIN_ROWS and profile.distinct > NEARLY_UNIQUE * profile.count


def _identifies(name: str, train: ColumnProfile, live: ColumnProfile, kind: str) -> bool:
    if kind == "date" or not _nearly_unique(train) or not (kind == "category" or train.whole):
        return False
    in_order = (train.rising or train.falling) and (live.rising or live.falling)
    return in_order or bool(_ID_NAME.search(name))


def _apart(train: ColumnProfile, live: ColumnProfile) -> bool:
    if train.low is None or train.high is None or live.low is None or live.high is None:
        return False
    return train.high < live.low or live.high < train.low


def _range(profile: ColumnProfile, kind: str) -> str:
    low, high = profile.low or 0.0, profile.high or 0.0
    if kind == "date":
        days = [str(np.datetime64(math.floor(day), "D")) for day in (low, high)]
        return f"{days[0]} to {days[1]}"
    return f"{low:g} to {high:g}"


def one_value(name: str, train: ColumnProfile) -> _Mark | None:
    """Tell of a column that has one value in TRAIN or none."""
    if train.distinct != 1:
        return None
    value = next(iter(train.values))
    shown = f"{value:g}" if isinstance(value, float) else f"'{value}'"
    text = (
        f"Column '{name}' has the single value {shown} in TRAIN, and is missing in "
        f"{train.missing_rate:.1%} of its rows: whether it is missing is all that it tells."
    )
    return _Mark("one value", Finding("one-value", "info", text))


def missing_jump(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark | None:
    """Tell if missing values became much more or less common: by 5 points and beyond chance."""
    p, q = train.missing_rate, live.missing_rate
    pooled = (train.missing + live.missing) / max(train.rows + live.rows, 1)
    error = math.sqrt(pooled * (1 - pooled) * (1 / max(train.rows, 1) + 1 / max(live.rows, 1)))
    # Four standard errors: one false alarm in 16,000 columns.
    if abs(q - p) < 0.05 or abs(q - p) < 4 * error:
        return None
    text = (
        f"Column '{name}' is missing in {p:.1%} of TRAIN and {q:.1%} of LIVE. "
        "Check that it is still collected and joined in the same way."
    )
    return _Mark("missing rate changed", Finding("missing-jump", "warning", text))


def constant_in_live(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark | None:
    """Tell if a column that varies in TRAIN has one value in LIVE: filled in, or no longer collected."""
    if live.distinct != 1 or live.count < MIN_ROWS or not live.values:
        return None
    value = next(iter(live.values))
    usual = train.values.get(value, 0) / max(train.count, 1)
    # By chance alone, LIVE's rows would all have it less than once in a million times.
    if usual > 0 and live.count * math.log(usual) > math.log(1e-6):
        return None
    shown = f"{value:g}" if isinstance(value, float) else f"'{value}'"
    text = (
        f"Column '{name}' has the single value {shown} in LIVE and {train.distinct} values in TRAIN. "
        "Check that it is still collected, and not filled in with a default."
    )
    return _Mark("constant in LIVE", Finding("constant-in-live", "warning", text))


def new_categories(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark | None:
    """Tell of categories that only LIVE has: other spellings, another coding, or new ones."""
    if not train.complete:
        return None
    new = {str(key): n for key, n in live.values.items() if key not in train.values}
    if not new or not live.count:
        return None
    share = sum(new.values()) / live.count
    shown = _few(sorted(new, key=lambda key: -new[key]))
    known = spellings(map(str, train.values))
    variants = [key for key in new if spelling(key) in known]
    # Good and Turing: as many new rows are due as TRAIN has rows whose category occurs once.
    due = sum(n == 1 for n in train.values.values()) / max(train.count, 1)
    error = math.sqrt(due * (1 - due) * (1 / max(train.count, 1) + 1 / live.count))
    usual = 0 < due and share <= due + 4 * error
    # Where TRAIN has rare categories, some of them are each other's variants in both tables.
    if variants and not usual:
        pairs = _few([f"{key}' for '{known[spelling(key)]}" for key in variants])
        text = (
            f"Column '{name}' is spelled differently in {share:.1%} of LIVE's rows ({pairs}): treated as new "
            "categories, as the deployed model would. Clean the spelling."
        )
        return _Mark("spelling differs", Finding("category-spelling", "warning", text))
    if share > 0.99 and _same_profile(train, live):
        text = (
            f"Column '{name}' has other categories in LIVE than in TRAIN "
            f"({_few(list(map(str, train.values)))} became "
            f"{shown}), as many and about as frequent: it looks like another coding. Map one onto the other."
        )
        return _Mark("recoded", Finding("recoded-category", "warning", text))
    if usual:
        text = (
            f"Column '{name}' has categories in LIVE that TRAIN lacks ({shown}; {share:.1%} of LIVE's rows), "
            f"no more than is due with so many rare ones ({due:.1%} of TRAIN's rows are the only ones of "
            "theirs)."
        )
        return _Mark("new categories", Finding("new-category", "info", text))
    text = (
        f"Column '{name}' has categories in LIVE that TRAIN lacks ({shown}; {share:.1%} of LIVE's rows). "
        "What the model says there is a guess; look at those rows first."
    )
    return _Mark("new categories", Finding("new-category", "warning" if share >= 0.01 else "info", text))


def _few(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _same_profile(train: ColumnProfile, live: ColumnProfile) -> bool:
    """Whether two sets of categories have the same size and nearly the same sorted frequencies."""
    if len(train.values) != len(live.values) or not 2 <= len(train.values) <= 100:
        return False
    p, q = (np.sort(list(s.values.values())) / s.count for s in (train, live))
    return bool(0.5 * np.abs(p - q).sum() < 0.1)


def unit_change(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark | None:
    """Tell if LIVE's numbers are TRAIN's in another unit: same shape, and a known factor between them."""
    if min(train.count, live.count) < MIN_ROWS or min(train.distinct, live.distinct) < 10:
        return None
    q, q_live = train.quantiles(_LEVELS), live.quantiles(_LEVELS)
    scale = float(q_live.std())
    if scale == 0:
        return None
    as_is = float(np.abs(q_live - q).mean()) / scale
    distances = [float(np.abs(q_live - (np.sort(a * q) + b)).mean()) / scale for a, b, _ in _UNITS]
    best = int(np.argmin(distances))
    # Quantiles of n rows are uncertain by about 1/sqrt(n) of a standard deviation.
    tolerance = _NOT_A_UNIT + 1 / math.sqrt(min(train.count, live.count))
    # Ordinary drift may well scale a column by 1.6, but not by ten: small factors need a clear gap.
    gap = 1.0 if 0.1 < _UNITS[best][0] < 10 else 0.5
    if distances[best] > tolerance or as_is < max(gap, 5 * distances[best]):
        return None
    sign = _UNITS[best][0] < 0
    moved = float(np.abs(q_live - q - np.median(q_live - q)).mean()) / scale
    if sign and moved < 3 * distances[best] and min(q[0] * q[-1], q_live[0] * q_live[-1]) < 0:
        # A symmetric column that moved across zero looks the same mirrored.
        return None
    text = (
        f"Column '{name}' looks as if {_UNITS[best][2]} (median {q[9]:.4g} in TRAIN, {q_live[9]:.4g} "
        "in LIVE; "
        "the same shape). Check how LIVE was made, and convert it before believing anything below."
        if not _UNITS[best][2].startswith("LIVE is")
        else f"Column '{name}' looks like a change of unit: {_UNITS[best][2]} (median {q[9]:.4g} in TRAIN, "
        f"{q_live[9]:.4g} in LIVE; the same shape). Convert it before believing anything below."
    )
    return _Mark(
        "sign flipped" if sign else "unit changed",
        Finding("sign-flip" if sign else "unit-change", "warning", text),
    )


def shifted_codes(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark | None:
    """Tell if whole-number codes moved by a constant, as 1 and 2 for 0 and 1."""
    if not (train.whole and live.whole and 2 <= train.distinct <= 50 and train.distinct == live.distinct):
        return None
    a, b = (np.sort(np.array(list(p.values), dtype=np.float64)) for p in (train, live))
    offsets = np.unique(b - a)
    if offsets.size != 1 or offsets[0] == 0:
        return None
    p, q = (np.array([s.values[v] for v in values]) / s.count for s, values in ((train, a), (live, b)))
    if 0.5 * np.abs(p - q).sum() > 0.1:
        return None
    text = (
        f"Column '{name}' holds the codes {a[0]:g} to {a[-1]:g} in TRAIN and {b[0]:g} to {b[-1]:g} in "
        "LIVE, about as "
        "frequent in the same order: it looks like another coding. Map one onto the other."
    )
    return _Mark("recoded", Finding("recoded-category", "warning", text))


def disjoint_range(name: str, train: ColumnProfile, live: ColumnProfile) -> _Mark | None:
    """Tell if no value of LIVE lies within TRAIN's range."""
    if not _apart(train, live):
        return None
    text = (
        f"Column '{name}' has nothing in common: {_range(train, 'number')} in TRAIN, "
        f"{_range(live, 'number')} in LIVE. "
        "TRAIN cannot speak for LIVE on it; exclude it if it only marks the period, or check how "
        "LIVE was made."
    )
    return _Mark("ranges apart", Finding("disjoint-range", "warning", text))


def sentinels(name: str, train: ColumnProfile, live: ColumnProfile) -> list[_Mark]:
    """Tell of numbers such as -999 that one side alone has, far outside the other values."""
    marks = []
    for value in sorted({*train.sentinels, *live.sentinels}):
        n, n_live = train.sentinels.get(value, 0), live.sentinels.get(value, 0)
        side, here = ("LIVE", live) if n_live else ("TRAIN", train)
        found = n or n_live
        if (n and n_live) or found < max(3, 0.001 * here.count):
            continue
        lows = [x for x in (train.core_low, live.core_low) if x is not None]
        highs = [x for x in (train.core_high, live.core_high) if x is not None]
        if not lows or min(lows) <= value <= max(highs):
            continue
        gap = min(abs(value - min(lows)), abs(value - max(highs)))
        if gap < 0.1 * (max(highs) - min(lows)):
            continue
        text = (
            f"Column '{name}' holds {value:g} in {found} rows of {side} alone, far from every other "
            "value: it looks like "
            "a code for missing. Turn it into a missing value."
        )
        marks.append(_Mark("sentinel value", Finding("sentinel-value", "warning", text)))
    return marks
