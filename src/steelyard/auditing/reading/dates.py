"""Days and instants that are written as texts: which of day and month comes first, and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

Order = Literal["dmy", "mdy", "ymd"]

ORDERS: tuple[Order, ...] = ("dmy", "mdy", "ymd")
IN_WORDS: Mapping[Order, str] = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}

_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_TIME = (
    r"(?:(?:T|,?\s+)(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?P<f>\.\d+)?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
)
_NUMERIC = rf"^(?P<a>\d{{4}}|\d{{1,2}})(?P<sep>[/.\-])(?P<b>\d{{1,2}})[/.\-](?P<c>\d{{4}}|\d{{1,2}}){_TIME}$"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_NAMED_SECOND = rf"(?i)^(\d{{1,2}})[\s/.\-]+{_NAME}[\s/.\-,]+(\d{{4}}|\d{{2}})"
_NAMED_FIRST = rf"(?i)^{_NAME}\s+(\d{{1,2}}),?\s+(\d{{4}})"
_DAY_US = 86_400_000_000


def parse_dates(texts: pl.Series) -> pl.Series | None:
    """Read ISO dates or instants as epoch days; None if some value is not one."""
    kept = texts.drop_nulls()
    if not kept.len() or not kept.str.contains(_ISO).all():
        return None
    days = _iso_days(texts)
    return days if days.null_count() == texts.null_count() else None


def read_dates(texts: pl.Series, order: Order = "ymd", *, local: bool = False) -> pl.Series:
    """Return dates or instants as epoch days in UTC; null where a text is neither.

    Parameters
    ----------
    texts : Series of String
        Without blanks around them. Those that begin with a year of four digits, and those with the
        month's name, are read whatever the order.
    order : {"dmy", "mdy", "ymd"}
    local : bool, default False
        Leave offsets from UTC out, so that a moment's day is that of its own clock.

    Examples
    --------
    >>> read_dates(pl.Series(["31/01/1970", "2 Jan 1970 12:00", "soon"]), "dmy").to_list()
    [30.0, 1.5, None]
    """
    iso = texts.str.contains(_ISO)
    written = texts if iso.fill_null(True).all() else _as_iso(texts, order).zip_with(~_true(iso), texts)
    return _iso_days(written.str.replace(rf"(:\d{{2}}(?:\.\d+)?){_ZONE}", "${1}") if local else written)


def offsets(texts: pl.Series) -> frozenset[str]:
    """Return the offsets from UTC that instants are written with; ``""`` for those without.

    Examples
    --------
    >>> sorted(offsets(pl.Series(["2024-01-01T10:00Z", "2024-01-01T10:00+0200", "2024-01-01"])))
    ['', '+00:00', '+02:00']
    """
    found = texts.drop_nulls().str.strip_chars().str.extract(rf":\d{{2}}(?:\.\d+)?\s*{_ZONE}", 1).unique()
    plain = {"" if text is None else text.replace(":", "") for text in found.to_list()}
    return frozenset(_offset(text) for text in plain)


def _offset(text: str) -> str:
    if text in ("Z", "-0000"):
        return "+00:00"
    return text and f"{text[:3]}:{text[3:]}"


def _as_iso(texts: pl.Series, order: Order) -> pl.Series:
    """Write dates of another form as ISO has it; null where a text is none."""
    plain = _with_numbers_for_names(texts)
    # A month's name leaves no doubt about the order.
    named = plain.str.starts_with("#")
    parts = plain.str.strip_prefix("#").str.extract_groups(_NUMERIC).struct.unnest().with_columns(named=named)
    day, month, year = (pl.col("abc"[order.index(part)]) for part in "dmy")
    a, c = pl.col("a"), pl.col("c")
    years_first = a.str.len_chars() == 4
    day = pl.when(years_first).then(c).when(pl.col("named")).then(a).otherwise(day)
    month = pl.when(years_first | pl.col("named")).then(pl.col("b")).otherwise(month)
    year = pl.when(years_first).then(a).when(pl.col("named")).then(c).otherwise(year)
    # "1.2.24" is as likely a version.
    short = (a.str.len_chars() < 4) & (c.str.len_chars() < 4)
    loose = short & (pl.col("sep") != "/") & ~pl.col("named")
    loose &= (a.str.len_chars() < 2) | (pl.col("b").str.len_chars() < 2)
    fits = ~loose & (day.str.len_chars() <= 2) & (year.str.len_chars() != 1)
    number = year.cast(pl.Int64, strict=False)
    full = pl.when(year.str.len_chars() == 4).then(number).otherwise(number + 1900 + 100 * (number < 69))
    hour = pl.col("h").cast(pl.Int64, strict=False)
    half = pl.col("half").str.to_lowercase()
    clock = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + 12 * (half == "p"))
    fits &= half.is_null() | hour.is_between(1, 12)
    date = pl.format("{}-{}-{}", full, month.str.zfill(2), day.str.zfill(2))
    time = pl.format(
        "T{}:{}:{}{}{}",
        clock.cast(pl.String).str.zfill(2),
        pl.col("m"),
        pl.col("s").fill_null("00"),
        pl.col("f").fill_null(""),
        pl.col("zone").fill_null(""),
    )
    whole = pl.when(pl.col("h").is_null()).then(date).otherwise(date + time)
    return parts.select(pl.when(fits).then(whole)).to_series().alias(texts.name)


def _with_numbers_for_names(texts: pl.Series) -> pl.Series:
    """Write ``12 Jan 2024`` and ``January 12, 2024`` as ``#12/1/2024``."""
    if not texts.str.contains(rf"(?i){_NAME}").any():
        return texts
    swapped = texts.str.replace(_NAMED_FIRST, "${2}-${1}-${3}")
    months = swapped.str.extract(_NAMED_SECOND, 2).str.to_lowercase()
    numbers = months.replace_strict(
        {name: str(i) for i, name in enumerate(_MONTHS, start=1)}, default=None, return_dtype=pl.String
    )
    pieces = pl.DataFrame(
        {
            "n": numbers,
            "d": swapped.str.extract(_NAMED_SECOND, 1),
            "y": swapped.str.extract(_NAMED_SECOND, 3),
            "rest": swapped.str.replace(_NAMED_SECOND, ""),
        }
    )
    made = pieces.select(pl.format("#{}/{}/{}{}", "d", "n", "y", "rest")).to_series()
    return made.zip_with(made.is_not_null(), texts)


def _iso_days(texts: pl.Series) -> pl.Series:
    """Return ISO dates or instants as epoch days; null where a text is neither."""
    normal = texts.str.replace(" ", "T", literal=True)
    zoned = normal.str.contains(_ZONE) & normal.str.contains("T", literal=True)
    minutes = normal.str.contains(r"T\d{2}:\d{2}(Z|[+-]|$)")
    normal = normal.str.replace(r"(T\d{2}:\d{2})", "${1}:00").zip_with(_true(minutes), normal)
    normal = normal.zip_with(_true(normal.str.contains("T", literal=True)), normal + "T00:00:00")
    normal = normal.zip_with(_true(zoned), normal + "Z")
    moments = normal.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC")
    return moments.cast(pl.Datetime("us")).to_physical().cast(pl.Float64) / _DAY_US


def _true(condition: pl.Series) -> pl.Series:
    return condition.fill_null(False)


# Which order a column has ---------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """The dates of one order: their range, and whether they ascend or descend as the rows stand."""

    low: float
    high: float
    first: float
    last: float
    rising: bool
    falling: bool

    def followed_by(self, other: _Seen) -> _Seen:
        return _Seen(
            min(self.low, other.low),
            max(self.high, other.high),
            self.first,
            other.last,
            self.rising and other.rising and self.last <= other.first,
            self.falling and other.falling and self.last >= other.first,
        )


@dataclass(frozen=True)
class DateEvidence:
    """The orders under which every text of some rows is a date; parts of a column merge.

    ``differ`` tells that some text is another day under another of them; ``dotted`` that points
    stand between day and month, which goes with days first.
    """

    rows: int
    orders: Mapping[Order, _Seen]
    differ: bool = False
    dotted: bool = False

    @classmethod
    def of(cls, texts: pl.Series) -> DateEvidence:
        """Return what texts without blanks around them tell; nulls tell nothing."""
        kept = texts.drop_nulls()
        if not kept.len():
            return cls(0, {})
        # Most columns hold no dates: a few texts show it, mostly without being read.
        if not all(map(_may_be_date, kept.head(20))):
            return cls(kept.len(), {})
        if not any(read_dates(kept.head(20), order).null_count() == 0 for order in ORDERS):
            return cls(kept.len(), {})
        read = {order: read_dates(kept, order) for order in ORDERS}
        whole = {order: days for order, days in read.items() if days.null_count() == 0}
        days = list(whole.values())
        differ = any(bool((one != days[0]).any()) for one in days[1:])
        dotted = bool(kept.str.contains(r"^\d{1,2}\.").any())
        return cls(kept.len(), {order: _seen(one) for order, one in whole.items()}, differ, dotted)

    def followed_by(self, other: DateEvidence) -> DateEvidence:
        """Return what both tell, the other's rows behind these."""
        if not self.rows or not other.rows:
            return self if self.rows else other
        shared = {
            order: seen.followed_by(other.orders[order])
            for order, seen in self.orders.items()
            if order in other.orders
        }
        return DateEvidence(
            self.rows + other.rows, shared, self.differ or other.differ, self.dotted or other.dotted
        )


def _may_be_date(text: str) -> bool:
    """Whether a text is as long, and has as many digits, as the shortest dates: ``1/2/24``, ``3 Jan 70``."""
    return len(text) >= 6 and sum(map(str.isdecimal, text)) >= 3


def _seen(days: pl.Series) -> _Seen:
    steps = days.diff().drop_nulls()
    low, high = float(days.min()), float(days.max())  # type: ignore[arg-type]
    rising, falling = bool((steps >= 0).all()), bool((steps <= 0).all())
    return _Seen(low, high, float(days[0]), float(days[-1]), rising, falling)


@dataclass(frozen=True)
class Chosen:
    """The order to read dates by, what speaks for it, and whether another would do as well."""

    order: Order
    why: str
    ambiguous: bool = False


def choose_order(sides: Sequence[DateEvidence], known: tuple[float, float] | None = None) -> Chosen | None:
    """Return the order of a column's dates; None if there is none under which all texts are dates.

    Parameters
    ----------
    sides : sequence of DateEvidence
        Of each table.
    known : (low, high), optional
        The range of dates that leave no doubt.

    Notes
    -----
    What is no date under the other orders decides; else the dates that ascend, then those that span
    the shortest time, then what is usual.
    """
    sides = [side for side in sides if side.rows]
    fitting = [order for order in ORDERS if sides and all(order in side.orders for side in sides)]
    if not fitting:
        return None
    if len(fitting) == 1:
        return Chosen(fitting[0], "no other order makes dates of all of them")
    if not any(side.differ for side in sides):
        return Chosen("ymd" if "ymd" in fitting else fitting[0], "")
    fitting = _without_far_years(fitting, sides, known)
    if len(fitting) == 1:
        return Chosen(fitting[0], "as another order would spread them over many times as long")
    moves = {order: sum(_moves_one_way(side.orders[order]) for side in sides) for order in fitting}
    best = [order for order in fitting if moves[order] == max(moves.values())]
    if len(best) == 1:
        return Chosen(best[0], "so that they ascend as the rows stand", ambiguous=True)
    spans = {order: _span([side.orders[order] for side in sides], known) for order in best}
    short = [order for order in best if spans[order] <= min(spans.values())]
    if len(short) == 1:
        return Chosen(short[0], "so that they span the shortest time", ambiguous=True)
    usual: Order = "dmy" if any(side.dotted for side in sides) or "mdy" not in short else "mdy"
    return Chosen(usual, "as is usual", ambiguous=True)


def _without_far_years(
    fitting: list[Order], sides: Sequence[DateEvidence], known: tuple[float, float] | None
) -> list[Order]:
    """Leave out a year first, or last, where that makes dates span over five times as long."""
    spans = {order: _span([side.orders[order] for side in sides], known) for order in fitting}
    last: list[Order] = [order for order in fitting if order != "ymd"]
    if not last or len(last) == len(fitting):
        return fitting
    if spans["ymd"] > 5 * min(spans[order] for order in last):
        return last
    return ["ymd"] if min(spans[order] for order in last) > 5 * spans["ymd"] else fitting


def _moves_one_way(seen: _Seen) -> bool:
    return seen.low < seen.high and (seen.rising or seen.falling)


def _span(seen: Sequence[_Seen], known: tuple[float, float] | None) -> float:
    ends = [(one.low, one.high) for one in seen] + ([known] if known else [])
    return max(high for _, high in ends) - min(low for low, _ in ends)
