"""A small extract of US Census records that ships with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class CensusSample:
    """The census extract as Polars frames; see :func:`load_census` for the columns.

    Attributes
    ----------
    train : polars.DataFrame
        12,000 people of 2015: 16 variables, ``score`` and ``employed``.
    live : polars.DataFrame
        12,112 people of 2018: the same columns without ``employed``.
    live_labels : polars.DataFrame
        ``employed`` of the people in ``live``, row by row.
    target : str
        Name of the label.
    """

    train: pl.DataFrame
    live: pl.DataFrame
    live_labels: pl.DataFrame
    target: str = "employed"


def census_paths() -> tuple[Path, Path, Path]:
    """Return where the extract lies: TRAIN, LIVE and the labels of LIVE, as Parquet.

    Returns
    -------
    tuple of Path
        Three files, about 160 kB together.

    Examples
    --------
    >>> [path.name for path in census_paths()]
    ['census_train.parquet', 'census_live.parquet', 'census_live_labels.parquet']
    """
    data = Path(str(files("steelyard.datasets"))) / "data"
    train, live, labels = (data / f"census_{part}.parquet" for part in ("train", "live", "live_labels"))
    return train, live, labels


def load_census() -> CensusSample:
    """Load census records of 2015 and 2018 that differ: who is employed?

    American Community Survey, Public Use Microdata Sample, Massachusetts (US
    Census Bureau; public domain). TRAIN is a random sample of the records of
    2015. LIVE is drawn from those of 2018, where people who moved within the year,
    people aged 18 to 34 and the foreign-born each count double (so up to
    eightfold together); ``scripts/make_census_extract.py`` in the repository draws
    the rows. Three years, and the drawing, lie between the two tables.

    Returns
    -------
    CensusSample
        Frames ``train``, ``live`` and ``live_labels``.

    Notes
    -----
    ``AGEP`` is the age in years. The other variables are codes, kept as text; 0 is
    "does not apply":

    - ``SCHL`` schooling: 1 none, 2 nursery, 3 kindergarten, 4-14 grade 1-11, 15 grade
      12 without diploma, 16 high-school diploma, 17 GED or the like, 18 college under
      a year, 19 college without degree, 20 associate, 21 bachelor, 22 master, 23
      professional degree, 24 doctorate (0: under 3 years old).
    - ``MAR`` marital status: 1 married, 2 widowed, 3 divorced, 4 separated, 5 never
      married or under 15.
    - ``RELP`` relation to the householder: 0 householder, 1 spouse, 2 child, 3 adopted
      child, 4 stepchild, 5 sibling, 6 parent, 7 grandchild, 8 parent-in-law, 9
      child-in-law, 10 other relative, 11 roomer, 12 housemate, 13 unmarried partner,
      14 foster child, 15 other, 16 institutional and 17 other group quarters.
    - ``DIS`` a disability, ``DEAR`` difficulty hearing, ``DEYE`` seeing, ``DREM``
      remembering or deciding: 1 yes, 2 no (``DREM`` 0: under 5).
    - ``ESP`` employment of parents, of children who live with them: with both, 1 both
      in the labour force, 2 father only, 3 mother only, 4 neither; with the father, 5 in
      the labour force, 6 not; with the mother, 7 in the labour force, 8 not.
    - ``CIT`` citizenship: 1 born in the US, 2 in its territories, 3 abroad of American
      parents, 4 naturalised, 5 not a citizen. ``NATIVITY``: 1 native, 2 foreign-born.
    - ``MIG`` a year ago: 1 in the same house, 2 abroad, 3 elsewhere in the US (0: under 1).
    - ``MIL`` military service: 1 on active duty, 2 formerly, 3 training only, 4 never
      (0: under 17).
    - ``ANC`` ancestry: 1 single, 2 multiple, 3 unclassified, 4 not reported.
    - ``SEX``: 1 male, 2 female. ``RAC1P`` race: 1 White, 2 Black, 3-5 American Indian or
      Alaska Native, 6 Asian, 7 Pacific Islander, 8 other, 9 two or more.

    ``employed`` is 1 for a civilian who is employed and at work. ``score`` is the
    probability of that given by a classifier trained beforehand, the deployed model.

    Examples
    --------
    >>> census = load_census()
    >>> census.train.shape, census.live.shape, census.live_labels.columns
    ((12000, 18), (12112, 17), ['employed'])
    """
    train, live, labels = (pl.read_parquet(path) for path in census_paths())
    return CensusSample(train=train, live=live, live_labels=labels)
