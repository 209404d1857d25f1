"""Make the census extract that ships in ``steelyard.datasets``.

The records come from the person files of the American Community Survey Public
Use Microdata Sample (US Census Bureau, one-year files of Massachusetts,
``psam_p25.csv`` or ``ss15pma.csv``), which are in the public domain. From a
person file, keep the 16 variables below with a blank coded 0, and set
``employed = (ESR == 1)``: civilian, employed and at work.

The script reads such tables as Parquet, with a column ``year`` and, in
``predicted_probability``, the output of a classifier that was trained on an
earlier year and is treated as the deployed model. The records of the ``nannyml``
package, which carries the years 2015 to 2018 with such a column, were used.

How the rows were drawn (``--seed 2015`` gives the shipped files):

- TRAIN: a simple random sample of 12,000 rows of 2015, without replacement.
- LIVE: rows of 2018, each kept independently with probability proportional to
  ``2 ** (moved + young + foreign)``, scaled so that 12,000 are expected. ``moved``
  is living elsewhere a year ago (MIG 2 or 3), ``young`` is age 18 to 34, and
  ``foreign`` is born abroad (NATIVITY 2). So every kind of person in 2018 can
  occur, and the recent movers, the young and the foreign-born count double each.

Usage::

    python scripts/make_census_extract.py REFERENCE.parquet ANALYSIS.parquet [--out DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

CODED = "SCHL MAR RELP DIS ESP CIT MIG MIL ANC NATIVITY DEAR DEYE DREM SEX RAC1P".split()
ROWS = 12_000
OUT = Path(__file__).resolve().parents[1] / "src" / "steelyard" / "datasets" / "data"


def tidy(table: pl.DataFrame) -> pl.DataFrame:
    """Type the columns: age a number, coded variables text, so that they read as categories."""
    return table.select(
        pl.col("AGEP").cast(pl.Int16),
        *(pl.col(name).cast(pl.String) for name in CODED),
        pl.col("predicted_probability").round(4).cast(pl.Float32).alias("score"),
        pl.col("employed").cast(pl.Int8),
    )


def draw_live(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Keep each row with a probability that doubles for movers, the young and the foreign-born."""
    doublings = table.select(
        pl.col("MIG").is_in(["2", "3"]).cast(pl.Int8)
        + pl.col("AGEP").is_between(18, 34).cast(pl.Int8)
        + (pl.col("NATIVITY") == "2").cast(pl.Int8)
    ).to_series()
    weight = 2.0 ** doublings.to_numpy()
    probability = weight * (ROWS / weight.sum())
    if probability.max() > 1:
        raise SystemExit("Too few records: some would have to be kept with probability above 1.")
    return table.filter(pl.Series(rng.uniform(size=len(table)) < probability))


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path, help="Parquet with the records of 2015")
    parser.add_argument("analysis", type=Path, help="Parquet with the records of 2018")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=2015)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    train = tidy(pl.read_parquet(args.reference).filter(pl.col("year") == 2015))
    train = train[rng.choice(len(train), size=ROWS, replace=False)]
    live = draw_live(tidy(pl.read_parquet(args.analysis).filter(pl.col("year") == 2018)), rng)
    live = live[rng.permutation(len(live))]
    args.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "census_train": train,
        "census_live": live.drop("employed"),
        "census_live_labels": live.select("employed"),
    }
    for name, table in tables.items():
        path = args.out / f"{name}.parquet"
        table.write_parquet(path, compression="zstd", compression_level=19)
        print(f"{path}: {len(table)} rows, {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
