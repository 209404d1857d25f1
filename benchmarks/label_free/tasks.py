"""The questions: census by year and by group, California housing, and generators with known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_predict

from benchmarks.label_free.case import OUTPUT, Case, FloatArray, labels_from, numbers_from, whole_windows
from benchmarks.label_free.nannyml_side import table
from steelyard.datasets import make_shift


@dataclass(frozen=True)
class Size:
    """How much of each task is run."""

    reference: int | None = None
    windows: int | None = None
    cut_windows: int = 5
    cuts: int | None = None
    seeds: int = 10


FULL = Size()
QUICK = Size(reference=10_000, windows=2, cut_windows=2, cuts=2, seeds=1)

_CENSUS_LABEL, _CENSUS_OUTPUT = "employed", "predicted_probability"
_LAW = "law"


def _code(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).cast(pl.Int64)


# Who is kept; the codes are those of the American Community Survey's person records.
CUTS: dict[str, pl.Expr] = {
    "aged 16 to 25": pl.col("AGEP").is_between(16, 25),
    "under 30": pl.col("AGEP") < 30,
    "aged 55 and over": pl.col("AGEP") >= 55,
    "moved within the year": _code("MIG") == 3,
    "born abroad": _code("NATIVITY") == 2,
    "not citizens": _code("CIT") == 5,
    "no high school diploma": _code("SCHL") < 16,
    "bachelor's degree or more": _code("SCHL") >= 21,
    "women": _code("SEX") == 2,
    "with a disability": _code("DIS") == 1,
    "Black": _code("RAC1P") == 2,
    "married": _code("MAR") == 1,
    "served in the forces": _code("MIL").is_in([1, 2]),
    "divorced or widowed": _code("MAR").is_in([2, 3]),
}

GENERATORS: dict[str, tuple[str, float]] = {
    "no shift": ("none", 1.0),
    "covariate 0.5": ("covariate", 0.5),
    "covariate 1": ("covariate", 1.0),
    "covariate 1.5": ("covariate", 1.5),
    "label": ("label", 1.0),
    "concept": ("concept", 1.0),
}
GENERATED_ROWS = 4000
CENSUS_WINDOW, CALIFORNIA_WINDOW = 5000, 1000


def acs_years(size: Size) -> Iterator[Case]:
    """2016 to 2018 against 2015: windows in file order, and whole years."""
    live = _census_live()
    part, every = whole_windows(live, CENSUS_WINDOW, most=size.windows)
    yield _census_case("windows of 5,000 rows", "windows of 5,000 rows", part, every, size)
    if size.windows is None:
        for year in (2016, 2017, 2018):
            chosen = live.filter(pl.col("year") == year)
            yield _census_case(f"year {year}", "whole years", chosen, chosen.height, size)


def acs_cuts(size: Size) -> Iterator[Case]:
    """Groups of the people of 2016 to 2018 against everyone of 2015; rows drawn evenly from the years."""
    live = _census_live()
    for number, (name, who) in enumerate(list(CUTS.items())[: size.cuts]):
        group = live.filter(who)
        most = size.cut_windows * CENSUS_WINDOW
        if group.height > most:
            kept = np.random.default_rng(number).choice(group.height, most, replace=False)
            group = group[np.sort(kept)]
        group, every = whole_windows(group, CENSUS_WINDOW)
        yield _census_case(name, name, group, every, size)


def california(size: Size) -> Iterator[Case]:
    """California housing as NannyML ships it: the live part lies elsewhere in the state."""
    reference, analysis = table("california_reference"), table("california_analysis")
    features = (
        "MedInc",
        "HouseAge",
        "AveRooms",
        "AveBedrms",
        "Population",
        "AveOccup",
        "Latitude",
        "Longitude",
    )
    live, every = whole_windows(analysis, CALIFORNIA_WINDOW, most=size.windows)
    truth = live["clf_target"].to_numpy().astype(np.float64)
    X = live.select(features).to_numpy()
    yield Case(
        name="california classification",
        row="clf_target",
        kind="classification",
        train=reference.select(*features, "clf_target", pl.col("y_pred_proba").alias(OUTPUT)),
        live=live.select(*features, pl.col("y_pred_proba").alias(OUTPUT)),
        target="clf_target",
        truth=truth,
        every=every,
        features=features,
        draw=labels_from(_posterior(X, truth)),
    )
    yield _california_income(reference, live, every, tuple(f for f in features if f != "MedInc"))


def _california_income(
    reference: pl.DataFrame, live: pl.DataFrame, every: int, features: tuple[str, ...]
) -> Case:
    """Median income from the other columns; the model is fitted on a random half of the reference."""
    mixed = np.random.default_rng(0).permutation(reference.height)
    fitted, kept = reference[mixed[: len(mixed) // 2]], reference[np.sort(mixed[len(mixed) // 2 :])]
    model = HistGradientBoostingRegressor(random_state=0)
    model.fit(fitted.select(features).to_numpy(), fitted["MedInc"].to_numpy())

    def output(frame: pl.DataFrame) -> pl.Series:
        return pl.Series(OUTPUT, model.predict(frame.select(features).to_numpy()))

    return Case(
        name="california regression",
        row="MedInc",
        kind="regression",
        train=kept.select(*features, "MedInc").with_columns(output(kept)),
        live=live.select(features).with_columns(output(live)),
        target="MedInc",
        truth=live["MedInc"].to_numpy(),
        every=every,
        features=features,
    )


def generators_classification(size: Size) -> Iterator[Case]:
    """Two classes, a deployed scorer that is too sure of itself; the law of every row is known."""
    yield from _generated(size, "binary")


def generators_regression(size: Size) -> Iterator[Case]:
    """A number, a deployed predictor that is off centre; the law of every row is known."""
    yield from _generated(size, "regression")


@dataclass(frozen=True)
class Task:
    """A group of cases that is run together, and what its table says above and below."""

    title: str
    cases: Callable[[Size], Iterator[Case]]
    text: str
    pooled: str | None = None


TASKS: dict[str, Task] = {
    "acs_years": Task(
        "Census, by year",
        acs_years,
        "Employment of the people of Massachusetts; reference 2015 (68,785 rows), live 2016 to 2018. "
        "The windows of 5,000 rows are one audit; each whole year is one. Noise floor: labels drawn "
        "anew from a boosted model that is cross-fitted on the live labels.",
    ),
    "acs_cuts": Task(
        "Census, by group",
        acs_cuts,
        "Groups of the people of 2016 to 2018 against everyone of 2015; up to 5 windows of 5,000 rows "
        "a group, or all rows where there are fewer. Noise floor as above; it leaves out that 2015 is "
        "itself a sample, and that people of the same features may have come to work more or less by "
        "then. The windows of a group share both, so a group's standard error speaks of these rows "
        "only; in the last rows each group counts once and the standard error is over groups.",
        pooled="all groups",
    ),
    "california": Task(
        "California housing",
        california,
        "As NannyML ships it, windows of 1,000 rows: reference and live hardly overlap, so the honest"
        " answer is 'inconclusive'. Predicted class: shipped probability at least one half. Median "
        "income: a boosted model fitted on a random half of the reference, the other half being the "
        "reference here. Noise floor: as above for the classes; for income from rows drawn with "
        "replacement, which overstates it.",
    ),
    "generators_classification": Task(
        "Generators, two classes",
        generators_classification,
        "`steelyard.datasets.make_shift`, 4,000 rows a side, one window a seed; the deployed score is"
        " too sure of itself and off centre. Noise floor: labels drawn anew from the exact law. Under"
        " a concept shift no method that sees no labels can be right.",
    ),
    "generators_regression": Task(
        "Generators, regression",
        generators_regression,
        "As above with a number to predict, by a predictor that is off centre.",
    ),
}


@cache
def _census_live() -> pl.DataFrame:
    """The live years with the probability that a cross-fitted model gives each row's label."""
    live = table("census_analysis")
    X = live.select(pl.col(c).cast(pl.String).cast(pl.Float64) for c in _census_features(live)).to_numpy()
    return live.with_columns(pl.Series(_LAW, _posterior(X, live[_CENSUS_LABEL].to_numpy())))


def _census_features(frame: pl.DataFrame) -> tuple[str, ...]:
    known = ("id", "year", "prediction", _CENSUS_LABEL, _CENSUS_OUTPUT, _LAW)
    return tuple(c for c in frame.columns if c not in known)


def _census_case(name: str, row: str, live: pl.DataFrame, every: int, size: Size) -> Case:
    reference = table("census_reference").head(size.reference or 10**9)
    features = _census_features(reference)
    columns = [*(pl.col(c).cast(pl.Float64 if c == "AGEP" else pl.Categorical) for c in features)]
    columns.append(pl.col(_CENSUS_OUTPUT).alias(OUTPUT))
    return Case(
        name=name,
        row=row,
        kind="classification",
        train=reference.select(*columns, _CENSUS_LABEL),
        live=live.select(columns),
        target=_CENSUS_LABEL,
        truth=live[_CENSUS_LABEL].to_numpy().astype(np.float64),
        every=every,
        features=features,
        draw=labels_from(live[_LAW].to_numpy()),
    )


def _posterior(X: FloatArray, y: FloatArray) -> FloatArray:
    model = HistGradientBoostingClassifier(random_state=0)
    folds = KFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, X, y, cv=folds, method="predict_proba")[:, 1])


def _generated(size: Size, task: str) -> Iterator[Case]:
    for row, (kind, strength) in GENERATORS.items():
        for seed in range(size.seeds):
            s = make_shift(
                kind,
                n_source=GENERATED_ROWS,
                n_target=GENERATED_ROWS,
                strength=strength,
                task=task,
                random_state=1000 + seed,
            )
            features = tuple(f"x{j}" for j in range(s.X.shape[1]))
            train = pl.DataFrame(s.X, schema=list(features)).with_columns(
                pl.Series("y", s.y), pl.Series(OUTPUT, s.scores)
            )
            binary = task == "binary"
            yield Case(
                name=f"{task}, {row}, seed {seed}",
                row=row,
                kind="classification" if binary else "regression",
                train=train,
                live=pl.DataFrame(s.X_target, schema=list(features)).with_columns(
                    pl.Series(OUTPUT, s.scores_target)
                ),
                target="y",
                truth=s.y_target.astype(np.float64),
                every=GENERATED_ROWS,
                features=features,
                draw=labels_from(s.posterior) if binary else numbers_from(s.mean, s.sd),
            )
