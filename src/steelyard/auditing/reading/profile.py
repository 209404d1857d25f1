"""One column in a few kilobytes: a summary that batches can be added to and that merges.

Merging is associative: counts, ranges, categories and the sample come out the
same however the rows were cut into batches, and the moments agree to rounding.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.errors import InputError
from steelyard.numerics import Moments, QuantileSketch
from steelyard.numerics.quantile_sketch import scatter

Kind = Literal["number", "category"]
SENTINELS = (-99999.0, -9999.0, -999.0, -99.0, 999.0, 9999.0, 99999.0, 999999.0, 9999999.0)
_SAMPLE = 4096
_VALUES = 4096
_MAX_HASH = float(2**64)


@dataclass(frozen=True, eq=False)
class DistinctValues:
    """The distinct values that hash lowest, 4,096 at most, with their counts: by hash, ascending.

    ``keys`` are float64 or, for texts, objects.
    """

    keys: npt.NDArray[Any]
    hashes: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, keys: Any, counts: Any) -> DistinctValues:
        """Return those of a batch, each given once."""
        if isinstance(keys, np.ndarray) or not any(isinstance(key, str) for key in keys):
            values: npt.NDArray[Any] = np.asarray(keys, dtype=np.float64) + 0.0
            hashes = scatter(values.view(np.uint64))
        else:
            values = np.empty(len(keys), dtype=object)
            values[:] = keys
            hashes = np.array([_text_hash(key) for key in keys], dtype=np.uint64)
        lowest = np.argsort(hashes)[:_VALUES]
        return cls(values[lowest], hashes[lowest], np.asarray(counts, dtype=np.int64)[lowest])

    def merge(self, other: DistinctValues, /) -> DistinctValues:
        """Return those of both sets of rows."""
        hashes, first, place = np.unique(
            np.concatenate([self.hashes, other.hashes]), return_index=True, return_inverse=True
        )
        counts = np.zeros(len(hashes), dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        keys = np.concatenate([self.keys, other.keys])[first]
        return DistinctValues(keys[:_VALUES], hashes[:_VALUES], counts[:_VALUES])

    @cached_property
    def counted(self) -> Mapping[float | str, int]:
        """Return the counts by value."""
        return dict(zip(self.keys.tolist(), self.counts.tolist()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistinctValues) and self.counted == other.counted

    __hash__ = None  # type: ignore[assignment]


@dataclass
class ColumnProfile:
    """What triage needs to know of one column of one table.

    Parameters
    ----------
    kind : {"number", "category"}
        Numbers get ranges, moments and a sample; categories get texts and counts.
    stream : int, default 0
        Tells apart batches that are summarised separately: it enters the
        draw of the sample, not the statistics.

    Notes
    -----
    The quantiles come from a sample of 4,096 rows
    (`steelyard.numerics.QuantileSketch`): a quantile's rank is within 2.2% of its
    level with 95% probability. At most 4,096 distinct values are kept, those
    that hash lowest: their counts are exact, and how low they reach tells how
    many distinct values there are. Both make merging exact. Memory is O(1),
    time O(n).

    Examples
    --------
    >>> import polars as pl
    >>> first = ColumnProfile("number").update(pl.Series([1.0, 2.0, None]))
    >>> both = first.merge(ColumnProfile("number", stream=1).update(pl.Series([9.0])))
    >>> both.rows, both.missing, both.low, both.high, both.mean
    (4, 1, 1.0, 9.0, 4.0)
    """

    kind: Kind
    stream: int = 0
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    low: float | None = None
    high: float | None = None
    core_low: float | None = None
    core_high: float | None = None
    text_length: int = 0
    whole: bool = True
    first: float | str | None = None
    last: float | str | None = None
    rising: bool = True
    falling: bool = True
    sentinels: dict[float, int] = field(default_factory=dict)
    kept: DistinctValues = field(default_factory=lambda: DistinctValues.of([], []), repr=False)
    moments: Moments = field(default_factory=lambda: Moments.of([]), repr=False)
    sketch: QuantileSketch = field(
        default_factory=lambda: QuantileSketch.of([], capacity=_SAMPLE), repr=False
    )

    @property
    def count(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing - self.infinite

    @property
    def values(self) -> Mapping[float | str, int]:
        """Distinct values and their counts: all, or those that hash lowest."""
        return self.kept.counted

    @property
    def missing_rate(self) -> float:
        """Share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def mean(self) -> float:
        """Mean of the values; 0 without any."""
        return float(self.moments.means[0]) if self.moments.weight[0] else 0.0

    @property
    def std(self) -> float:
        """Standard deviation of the values (dividing by their number); 0 without any."""
        return math.sqrt(self.moments.variances[0]) if self.moments.weight[0] else 0.0

    @property
    def complete(self) -> bool:
        """Whether every distinct value is in ``values``."""
        return len(self.kept.keys) < _VALUES

    @property
    def distinct(self) -> int:
        """Number of distinct values; an estimate (to about 2%) beyond 4,096."""
        if self.complete:
            return len(self.kept.keys)
        # The k-th smallest of D uniform numbers lies near k / D.
        reach = float(self.kept.hashes[-1]) / _MAX_HASH
        return min(self.count, round((_VALUES - 1) / reach))

    def quantiles(self, levels: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the quantiles of the kept sample; NaN if there is none."""
        levels = np.asarray(levels, dtype=np.float64)
        if not self.sketch.values.size:
            return np.full(levels.shape, np.nan)
        return np.asarray(np.quantile(self.sketch.values, levels), dtype=np.float64)

    def update(self, series: pl.Series) -> ColumnProfile:
        """Add a batch of rows in place, and return the profile.

        Parameters
        ----------
        series : Series
            Numbers (any numeric type) or texts, as ``kind`` says; null and NaN
            are missing, infinities are counted and left out.
        """
        start, rows = self.rows, series.len()
        self.rows += rows
        if self.kind == "number":
            self._update_numbers(series.cast(pl.Float64).to_numpy(), start)
        else:
            self._update_texts(series.cast(pl.String))
        return self

    def _update_numbers(self, x: npt.NDArray[np.float64], start: int) -> None:
        missing, infinite = np.isnan(x), np.isinf(x)
        keep = ~(missing | infinite)
        self.missing += int(missing.sum())
        self.infinite += int(infinite.sum())
        kept = x[keep] + 0.0  # makes -0.0 and 0.0 one value
        if not kept.size:
            return
        unique, counts = np.unique(kept, return_counts=True)
        is_sentinel = np.isin(unique, SENTINELS)
        core = unique[~is_sentinel]
        part = ColumnProfile("number", self.stream)
        part.rows = kept.size
        part.low, part.high = float(unique[0]), float(unique[-1])
        if core.size:
            part.core_low, part.core_high = float(core[0]), float(core[-1])
        part.moments = Moments.of(kept)
        part.whole = bool((unique == np.floor(unique)).all())
        part.first, part.last = float(kept[0]), float(kept[-1])
        # Differences of huge numbers would overflow.
        before, after = kept[:-1], kept[1:]
        part.rising, part.falling = bool((after > before).all()), bool((after < before).all())
        part.sentinels = {float(v): int(n) for v, n in zip(unique[is_sentinel], counts[is_sentinel])}
        part.kept = DistinctValues.of(unique, counts)
        values = np.where(keep, x, np.nan)
        part.sketch = QuantileSketch.of(values, capacity=_SAMPLE, stream=self.stream, start=start)
        self._absorb(part, rows=0)

    def _update_texts(self, s: pl.Series) -> None:
        kept = s.drop_nulls()
        self.missing += s.len() - kept.len()
        if not kept.len():
            return
        table = kept.alias("text").value_counts(name="n")
        part = ColumnProfile("category", self.stream)
        part.rows = kept.len()
        part.text_length = int(kept.str.len_chars().sum())
        part.first, part.last = str(kept[0]), str(kept[-1])
        before, after = kept.slice(0, kept.len() - 1), kept.slice(1)
        part.rising, part.falling = bool((after > before).all()), bool((after < before).all())
        part.kept = DistinctValues.of(table.to_series(0).to_list(), table["n"].to_list())
        self._absorb(part, rows=0)

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """Return the profile of this table's rows followed by the other's."""
        if self.kind != other.kind:
            raise ValueError(f"cannot merge a profile of kind {other.kind!r} into one of kind {self.kind!r}")
        merged = ColumnProfile(self.kind, self.stream)
        for part in (self, other):
            merged.missing += part.missing
            merged.infinite += part.infinite
            merged.rows += part.missing + part.infinite
            merged._absorb(part, rows=part.count)
        return merged

    def _absorb(self, part: ColumnProfile, *, rows: int) -> None:
        """Add the values of ``part``; ``rows`` of them are not yet counted in ``self.rows``."""
        n_part = part.count
        if not n_part:
            return
        self.rows += rows
        n_self = self.count - n_part
        self.moments, self.sketch = self.moments.merge(part.moments), self.sketch.merge(part.sketch)
        joins_up = n_self == 0 or part.first > self.last  # type: ignore[operator]
        joins_down = n_self == 0 or part.first < self.last  # type: ignore[operator]
        self.rising = self.rising and part.rising and joins_up
        self.falling = self.falling and part.falling and joins_down
        self.first = part.first if n_self == 0 else self.first
        self.last = part.last
        self.low, self.high = _least(self.low, part.low), _most(self.high, part.high)
        self.core_low, self.core_high = (
            _least(self.core_low, part.core_low),
            _most(self.core_high, part.core_high),
        )
        self.whole = self.whole and part.whole
        self.text_length += part.text_length
        for key, n in part.sentinels.items():
            self.sentinels[key] = self.sentinels.get(key, 0) + n
        self.kept = part.kept if n_self == 0 else self.kept.merge(part.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain values that JSON can hold without loss."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        for name in ("sentinels", "values"):
            counted = getattr(self, name)
            plain[name] = [[key, counted[key]] for key in sorted(counted)]
        return {**plain, "moments": self.moments.to_dict(), "sketch": self.sketch.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ColumnProfile:
        """Return the profile that ``to_dict`` wrote; anything else raises an InputError."""
        if not isinstance(plain, Mapping) or set(plain) != {*_PLAIN, *_PARTS}:
            raise InputError("this is no column's profile: it lacks parts of one, or has others.")
        try:
            made = cls(**{name: plain[name] for name in _PLAIN})
            made.sentinels = {key: int(n) for key, n in plain["sentinels"]}
            keys, counts = [key for key, _ in plain["values"]], [int(n) for _, n in plain["values"]]
            wanted = float if made.kind == "number" else str
            if made.kind not in ("number", "category") or any(type(key) is not wanted for key in keys):
                raise ValueError(f"values of another type than {made.kind!r}")
            if not 0 <= made.missing + made.infinite <= made.rows:
                raise ValueError(f"{made.missing} missing of {made.rows} rows")
        except (TypeError, ValueError) as error:
            raise InputError(f"this column's profile is damaged: {error}") from error
        made.kept = DistinctValues.of(keys, counts)
        made.moments = Moments.from_dict(plain["moments"])
        made.sketch = QuantileSketch.from_dict(plain["sketch"])
        return made


_PLAIN = (
    *("kind", "stream", "rows", "missing", "infinite", "low", "high", "core_low", "core_high"),
    *("text_length", "whole", "first", "last", "rising", "falling"),
)
_PARTS = ("sentinels", "values", "moments", "sketch")


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
