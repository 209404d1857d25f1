"""Which tables are sealed, and the shifts of each: one environment is LIVE, the others are TRAIN.

The rule, written before any audit was run: a table that steelyard was developed on is for tuning; of the
others a table is for tuning if sha256("real_shifts:" + its name) is even, else sealed. A new table is
parted by the same rule; none is ever moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from benchmarks.real_shifts.tables import ENVIRONMENT, TARGET, Table

Half = Literal["tuning", "sealed"]

LEAST_LIVE, LEAST_TRAIN = 200, 300
# Rows a side, LIVE environments a table, and environments that one other than a time is kept from.
MOST_TRAIN, MOST_LIVE_ROWS = 3_000, 1_500
MOST_SHIFTS: dict[Half, int] = {"tuning": 2, "sealed": 3}
MOST_ENVIRONMENTS = 7
# Earlier times that TRAIN spans at least.
LEAST_EARLIER = 2


def half_of(table: Table) -> Half:
    """Return the half that a table belongs to, for good."""
    digest = hashlib.sha256(f"real_shifts:{table.name}".encode()).hexdigest()
    return "tuning" if table.seen or int(digest, 16) % 2 == 0 else "sealed"


@dataclass(frozen=True)
class Shift:
    """TRAIN with target and environment; LIVE with its environment but without labels, which are apart."""

    table: Table
    live_name: str
    train: pl.DataFrame
    live: pl.DataFrame
    truth: np.ndarray

    @property
    def name(self) -> str:
        """Of the table and the environment that is LIVE."""
        return f"{self.table.name} {self.live_name}"


def shifts_of(table: Table, frame: pl.DataFrame) -> Iterator[Shift]:
    """Yield a table's shifts; the draws hang on its name alone."""
    seed = int(hashlib.sha256(f"real_shifts draws:{table.name}".encode()).hexdigest()[:12], 16)
    rng = np.random.default_rng(seed)
    counts = frame.group_by(ENVIRONMENT).len().sort(ENVIRONMENT)
    enough = counts.filter(pl.col("len") >= LEAST_LIVE)[ENVIRONMENT].to_list()
    if table.kind != "time":
        enough = _drawn(enough, MOST_ENVIRONMENTS, rng)
        frame = frame.filter(pl.col(ENVIRONMENT).is_in(enough))
    possible = [name for name in enough if _possible(table, frame, name)]
    for name in _drawn(possible, MOST_SHIFTS[half_of(table)], rng):
        train = _sampled(frame.filter(_others(table, name)), MOST_TRAIN, rng)
        live = _sampled(frame.filter(pl.col(ENVIRONMENT) == name), MOST_LIVE_ROWS, rng)
        text = f"{name:g}" if table.kind == "time" else str(name)
        yield Shift(table, text, train, live.drop(TARGET), live[TARGET].to_numpy())


def _possible(table: Table, frame: pl.DataFrame, name: object) -> bool:
    """Whether enough rows, of enough earlier times, are left to be TRAIN."""
    train = frame.filter(_others(table, name))
    earlier = LEAST_EARLIER if table.kind == "time" else 1
    return train.height >= LEAST_TRAIN and train[ENVIRONMENT].n_unique() >= earlier


def _others(table: Table, name: object) -> pl.Expr:
    column = pl.col(ENVIRONMENT)
    return column < name if table.kind == "time" else column != name


def _drawn(values: list, most: int, rng: np.random.Generator) -> list:
    if len(values) <= most:
        return values
    return [values[k] for k in np.sort(rng.choice(len(values), most, replace=False))]


def _sampled(frame: pl.DataFrame, most: int, rng: np.random.Generator) -> pl.DataFrame:
    if frame.height <= most:
        return frame
    return frame[np.sort(rng.choice(frame.height, most, replace=False))]
