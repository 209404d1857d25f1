"""The tables that all competitors get, written once as Parquet, and the truth that none of them sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.label_free.nannyml_side import table
from steelyard.datasets import make_shift

OUTPUT = "output"
WINDOW = 5000


@dataclass(frozen=True)
class Question:
    """A reference with labels and live rows without, as files, and the live rows' labels."""

    name: str
    title: str
    job: dict[str, Any]
    rows: tuple[int, int]
    truth: np.ndarray[Any, Any]
    output: np.ndarray[Any, Any]


def census(folder: Path, *, quick: bool) -> Question:
    """Employment in Massachusetts: 2015 against 2016 to 2018, 16 columns of which one is a number."""
    reference, live = table("census_reference"), table("census_analysis")
    if quick:
        reference, live = reference.head(4000), live.head(10_000)
    known = ("id", "year", "prediction", "employed", "predicted_probability")
    features = [c for c in reference.columns if c not in known]
    kept = [pl.col(features), pl.col("predicted_probability").alias(OUTPUT)]
    return _question(
        folder,
        "census",
        "Census",
        reference.select(*kept, "employed"),
        live.select(*kept),
        truth=live["employed"].to_numpy(),
        target="employed",
        numbers=["AGEP"],
        categories=[f for f in features if f != "AGEP"],
    )


def generated(folder: Path, *, rows: int) -> Question:
    """A covariate shift in 3 of 10 columns of numbers."""
    s = make_shift("covariate", n_source=rows, n_target=rows, n_features=10, strength=0.5, random_state=7)
    names = [f"x{j}" for j in range(10)]
    train = pl.DataFrame(s.X, schema=names).with_columns(pl.Series("y", s.y), pl.Series(OUTPUT, s.scores))
    live = pl.DataFrame(s.X_target, schema=names).with_columns(pl.Series(OUTPUT, s.scores_target))
    return _question(
        folder,
        f"generated_{rows}",
        f"Generated, {rows:,} rows a side",
        train,
        live,
        truth=s.y_target,
        target="y",
        numbers=names,
        categories=[],
    )


SPLIT_ROWS = (10_000, 2_000)
MOVED = ("x0", "x1", "c0")


def splits(folder: Path, *, move: float, count: int, rows: tuple[int, int] = SPLIT_ROWS) -> dict[str, Any]:
    """Pairs of tables of eight numbers and two categories, of which three columns move by ``move``.

    A number's mean moves by so many standard deviations; of the category, a share of
    ``move / 2`` of the rows goes from the last level to the first. At 0 nothing moves.
    """
    numbers, categories = [f"x{j}" for j in range(8)], ["c0", "c1"]
    pairs = list(_pairs(folder, move, count, rows, numbers, categories))
    return {
        "part": "alarms",
        "pairs": pairs,
        "target": "y",
        "output": OUTPUT,
        "numbers": numbers,
        "categories": categories,
        "every": rows[1],
    }


def _pairs(
    folder: Path, move: float, count: int, rows: tuple[int, int], numbers: list[str], categories: list[str]
) -> Iterator[tuple[str, str]]:
    for seed in range(count):
        rng = np.random.default_rng([seed, round(1000 * move)])
        paths = []
        for side, n in zip(("reference", "live"), rows):
            X = rng.standard_normal((n, len(numbers)))
            codes = rng.choice(4, size=(n, len(categories)), p=[0.2, 0.2, 0.2, 0.4])
            if side == "live":
                X[:, :2] += move
                leaves = (codes[:, 0] == 3) & (rng.random(n) < move / 2 / 0.4)
                codes[leaves, 0] = 0
            p = 1 / (1 + np.exp(-X[:, 0] - 0.5 * X[:, 1] - 0.5 * (codes[:, 0] == 0)))
            frame = pl.DataFrame(X, schema=numbers).with_columns(
                *(pl.Series(c, codes[:, j].astype(str)) for j, c in enumerate(categories)),
                pl.Series(OUTPUT, p),
            )
            if side == "reference":
                frame = frame.with_columns(pl.Series("y", (rng.random(n) < p).astype(np.int64)))
            paths.append(str(folder / f"split_{move}_{seed}_{side}.parquet"))
            frame.write_parquet(paths[-1])
        yield paths[0], paths[1]


def _question(
    folder: Path, name: str, title: str, train: pl.DataFrame, live: pl.DataFrame, *, truth: Any, **job: Any
) -> Question:
    # Categories travel as such, so that nobody has to encode strings within the time that is measured.
    train, live = (t.with_columns(pl.col(job["categories"]).cast(pl.Categorical)) for t in (train, live))
    paths = {side: str(folder / f"{name}_{side}.parquet") for side in ("reference", "live", "labelled")}
    train.write_parquet(paths["reference"])
    live.write_parquet(paths["live"])
    live.with_columns(pl.Series(job["target"], truth)).write_parquet(paths["labelled"])
    return Question(
        name=name,
        title=title,
        job={**job, **paths, "output": OUTPUT, "every": min(WINDOW, live.height)},
        rows=(train.height, live.height),
        truth=np.asarray(truth, dtype=np.float64),
        output=live[OUTPUT].to_numpy(),
    )
