"""Rows that occur more than once, within a table and in both: from a sketch that batches add to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.result import Finding
from steelyard.errors import InputError

FloatArray = npt.NDArray[np.float64]
HashArray = npt.NDArray[np.uint64]

KEPT = 16_384
"""Distinct rows that a sketch keeps by default."""


@dataclass(frozen=True)
class RowCopies:
    """The distinct rows that hash lowest, and how often each occurs.

    A row's hash decides whether it is kept, so its copies are kept with it,
    wherever they are: the share of copies among the kept rows is that among all,
    to within ``2 sqrt(share / capacity)`` or so. Up to ``capacity`` distinct rows
    all is exact. ``merge`` is associative and commutative.

    Attributes
    ----------
    capacity : int
        Distinct rows that are kept at most.
    rows : int
        Rows seen.
    hashes : array of shape (k,)
        Ascending.
    counts : array of shape (k,)
    """

    capacity: int
    rows: int
    hashes: HashArray
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, X: FloatArray, *, capacity: int = KEPT) -> RowCopies:
        """Return the sketch of a batch of encoded rows, (n, d); NaN equals NaN."""
        hashes, counts = np.unique(_row_hashes(X), return_counts=True)
        return cls(capacity, len(X), hashes[:capacity], counts[:capacity].astype(np.int64))

    def merge(self, other: RowCopies, /) -> RowCopies:
        """Return the sketch of both sets of rows."""
        hashes, place = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        counts = np.zeros(len(hashes), dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        reach = min(self._reach, other._reach)
        # Beyond the shorter reach one side would be missing.
        capacity = min(self.capacity, other.capacity)
        kept = min(int(np.searchsorted(hashes, reach, side="right")), capacity)
        return RowCopies(capacity, self.rows + other.rows, hashes[:kept], counts[:kept])

    @property
    def _reach(self) -> np.uint64:
        """The hash up to which every row is kept."""
        full = len(self.hashes) >= self.capacity
        return np.uint64(self.hashes[-1]) if full else np.uint64(2**64 - 1)

    @property
    def copies(self) -> float:
        """Share of the rows that are exact copies of another one."""
        seen = int(self.counts.sum())
        return 1.0 - len(self.counts) / seen if seen else 0.0

    @property
    def repeated(self) -> float:
        """Share of the rows that occur more than once: each row of a pair counts."""
        seen = int(self.counts.sum())
        return float(self.counts[self.counts > 1].sum() / seen) if seen else 0.0

    @property
    def draws(self) -> float:
        """Rows that would tell as much if none were copies: copies come and go together."""
        return (
            float(self.counts.sum() ** 2 / np.sum(self.counts.astype(np.float64) ** 2)) if self.rows else 0.0
        )

    def shared_with(self, other: RowCopies) -> float:
        """Return the share of these rows that the other table has too."""
        reach = min(self._reach, other._reach)
        mine = self.hashes <= reach
        seen = int(self.counts[mine].sum())
        if not seen:
            return 0.0
        return float(self.counts[mine][np.isin(self.hashes[mine], other.hashes)].sum() / seen)

    def to_dict(self) -> dict[str, Any]:
        """Return the sketch as plain values."""
        return {
            "capacity": self.capacity,
            "rows": self.rows,
            "hashes": self.hashes.tolist(),
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RowCopies:
        """Return the sketch that ``to_dict`` wrote; anything else raises an InputError."""
        try:
            hashes = np.array(plain["hashes"], dtype=np.uint64)
            counts = np.array(plain["counts"], dtype=np.int64)
            capacity, rows = int(plain["capacity"]), int(plain["rows"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"these copies of rows are damaged: {error}") from error
        if hashes.shape != counts.shape or (hashes[1:] <= hashes[:-1]).any() or (counts < 1).any():
            raise InputError("these copies of rows are damaged: hashes and counts do not belong together.")
        return cls(capacity, rows, hashes, counts)


def copies_found(with_target: RowCopies, live: RowCopies) -> list[Finding]:
    """Tell of rows that occur twice within a table.

    Parameters
    ----------
    with_target, live : RowCopies
        Sketches of TRAIN with its target, which is part of a row where TRAIN is looked at alone, and
        of LIVE.
    """
    findings = []
    for side, table in (("TRAIN", with_target), ("LIVE", live)):
        copies = round(table.copies * table.rows)
        if copies > max(2, 0.01 * table.rows):
            text = (
                f"{copies} rows of {side} ({copies / table.rows:.1%}) are exact copies of another. "
                "Intervals take rows as independent and come out too narrow; remove the copies unless "
                "they are real."
            )
            findings.append(Finding("duplicate-rows", "warning", text))
    return findings


def shared_found(train: RowCopies, live: RowCopies) -> list[Finding]:
    """Tell of rows of LIVE that TRAIN already has, beyond what rows of this table do by themselves.

    Were LIVE more rows of TRAIN's kind, as many of them would have a copy in TRAIN as of TRAIN's own
    rows have another one there. Rows of few coded values coincide often, and drift towards frequent
    ones makes more of them coincide: the share must then be three times that, or all.

    Parameters
    ----------
    train, live : RowCopies
        Sketches of both tables without the target.
    """
    if not train.rows or not live.rows:
        return []
    share, due = live.shared_with(train), train.repeated
    middle = (share * live.rows + due * train.rows) / (live.rows + train.rows)
    error = float(np.sqrt(middle * (1 - middle) * (1 / train.draws + 1 / live.draws)))
    far = share >= 3 * due or (share > 0.99 and due < 0.8)
    # Four errors: of 16 pairs of copies in tables of one size, all lie across once in 65,000 times.
    if share * live.rows < 3 or share - due <= max(0.01, 4 * error) or not far:
        return []
    rows = round(share * live.rows)
    usual = "" if due < 0.0005 else f"; of TRAIN's own rows {due:.1%} occur twice"
    text = (
        f"{rows} rows of LIVE ({share:.1%}) are in TRAIN as well{usual}. A model has seen their answers; "
        "remove them from one side."
    )
    mend = f"Remove the {rows} rows that are in both tables from one of them"
    return [Finding("shared-rows", "warning", text, mend=mend)]


def has_continuous(X: FloatArray) -> bool:
    """Whether some column tells rows apart; rows of a few coded columns coincide without any fault."""
    rows = np.unique(_row_hashes(X)).size
    for column in X.T:
        known = column[~np.isnan(column)]
        distinct = np.unique(known).size
        if distinct > 0.5 * len(column):
            return True
        # In a table that was copied several times, hardly any two different rows share a measurement.
        measured = bool((known != np.round(known)).any())
        if measured and distinct > 0.5 * rows and distinct > 0.1 * len(column):
            return True
    return False


def _row_hashes(X: FloatArray) -> HashArray:
    """Return a hash of each row, (n,), the same for equal rows; 0.0 equals -0.0 and NaN equals NaN."""
    frame = pl.DataFrame({str(j): X[:, j] + 0.0 for j in range(X.shape[1])})
    return frame.hash_rows().to_numpy()
