"""Reading: every form of the same table gives the same arrays, and every decision can be seen."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import steelyard
from steelyard.auditing.reading.categories import MOST_CATEGORIES, OTHER, category_order
from steelyard.auditing.reading.dates import parse_dates
from steelyard.auditing.reading.read import read_tables
from steelyard.errors import InputError
from tests.auditing.told import found, windowed

N = 120


def frame(n: int = N, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "income": np.where(rng.random(n) < 0.1, None, rng.lognormal(10, 1, n)).astype(float),
            "city": rng.choice(["Rome", "Oslo", "Lima"], n, p=[0.6, 0.3, 0.1]),
            "member": rng.random(n) < 0.5,
            "y": rng.integers(0, 2, n),
        }
    )


TRAIN, LIVE = frame(), frame(100, 1)


def ids(tables) -> set[str]:
    return {finding.id for finding in found(tables)}


def finding(tables, id_: str):
    return next(f for f in found(tables) if f.id == id_)


def faults(*args, **options) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        read_tables(*args, **options)
    return caught.value.faults


def test_encoding_by_hand():
    tables = read_tables(TRAIN, LIVE.drop("y"), target="y")
    assert [f.name for f in tables.features] == ["age", "income", "city", "member"]
    np.testing.assert_array_equal(tables.X[:, 0], TRAIN["age"].to_numpy())
    np.testing.assert_array_equal(np.isnan(tables.X[:, 1]), np.isnan(TRAIN["income"].to_numpy()))
    counts = dict(TRAIN["city"].value_counts().iter_rows())
    assert tables.features[2].categories == tuple(sorted(counts, key=lambda c: -counts[c]))
    decoded = [tables.features[2].categories[int(code)] for code in tables.X_live[:, 2]]
    assert decoded == LIVE["city"].to_list()
    np.testing.assert_array_equal(tables.categorical, [False, False, True, True])
    assert tables.y_live is None
    assert tables.given is None


WRITERS = {
    "csv": lambda t, p: t.write_csv(p),
    "tsv": lambda t, p: t.write_csv(p, separator="\t"),
    "parquet": lambda t, p: t.write_parquet(p),
    "arrow": lambda t, p: t.write_ipc(p),
    "feather": lambda t, p: t.write_ipc_stream(p),
    "ndjson": lambda t, p: t.write_ndjson(p),
    "jsonl": lambda t, p: t.write_ndjson(p),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_file_format_reads_alike(tmp_path, suffix):
    path = tmp_path / f"train.{suffix}"
    WRITERS[suffix](TRAIN.with_columns(pl.col("income").fill_nan(None)), path)
    expected = read_tables(TRAIN, LIVE, target="y")
    tables = read_tables(str(path), LIVE, target="y")
    np.testing.assert_array_equal(tables.X, expected.X)
    assert tables.features == expected.features


@pytest.mark.parametrize("form", ["pandas", "arrow", "lazy", "pandas category"])
def test_every_data_frame_reads_alike(form):
    expected = read_tables(TRAIN, LIVE, target="y")
    pandas = pd.DataFrame(TRAIN.to_dict(as_series=False))
    native = {
        "pandas": pandas,
        "arrow": TRAIN.to_arrow(),
        "lazy": TRAIN.lazy(),
        "pandas category": pandas.astype({"city": "category"}),
    }[form]
    tables = read_tables(native, LIVE, target="y")
    np.testing.assert_array_equal(tables.X, expected.X)
    assert tables.features == expected.features


def test_pandas_categories_of_numbers_stay_categories():
    train = pd.DataFrame(
        {"code": pd.Categorical([3, 1, 1] * 40), "x": np.arange(120.0) % 7, "y": [0, 1, 1] * 40}
    )
    tables = read_tables(train, train.assign(code=np.array([1, 3, 1] * 40)), target="y")
    assert tables.features[0].categories == ("1", "3")
    assert "type-change" in ids(tables)


def test_glob_reads_files_in_order_of_name_and_widens_types(tmp_path):
    TRAIN.slice(0, 50).with_columns(pl.lit(1).alias("z")).write_csv(tmp_path / "a-1.csv")
    TRAIN.slice(50).with_columns(pl.lit(2.5).alias("z")).write_csv(tmp_path / "a-2.csv")
    live = LIVE.with_columns(pl.lit(1.0).alias("z"))
    tables = read_tables(tmp_path / "a-*.csv", live, target="y")
    np.testing.assert_array_equal(tables.X[:, 0], TRAIN["age"].to_numpy())
    assert set(tables.X[:, -1]) == {1.0, 2.5}


def test_semicolons_and_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TRAIN.write_csv(separator=";").encode())
    tables = read_tables(path, LIVE, target="y")
    np.testing.assert_array_equal(tables.X[:, 0], TRAIN["age"].to_numpy())


def test_a_late_decimal_in_a_csv_does_not_break_integers(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{i % 50},{i % 2}" for i in range(10_500)] + ["7.5,1"]
    path.write_text("x,y\n" + "\n".join(rows))
    tables = read_tables(path, path, target="y")
    assert tables.X[-1, 0] == 7.5


# The task -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0, 1], "binary", (0, 1)),
        ([0.0, 1.0], "binary", (0, 1)),
        ([True, False], "binary", (False, True)),
        (["yes", "no"], "binary", ("no", "yes")),
        (["Y", "zilch"], "binary", ("Y", "zilch")),
        (["a", "c", "b"], "multiclass", ("a", "b", "c")),
        (list(range(20)), "multiclass", tuple(range(20))),
        (list(range(21)), "regression", None),
        ([str(i) for i in range(30)], "regression", None),
    ],
)
def test_task_is_decided_by_the_values(values, task, classes):
    y = [values[i % len(values)] for i in range(N)]
    tables = read_tables(TRAIN.with_columns(pl.Series("y", y)), LIVE, target="y")
    assert (tables.task, tables.classes) == (task, classes)
    expected = np.array(y, dtype=float) if classes is None else np.array([classes.index(v) for v in y])
    np.testing.assert_array_equal(tables.y, expected)
    assert "task" in ids(tables)


def test_positive_class_can_be_named():
    tables = read_tables(TRAIN, LIVE, target="y", positive="0")
    assert tables.classes == (1, 0)
    np.testing.assert_array_equal(tables.y, 1 - TRAIN["y"].to_numpy())
    assert "'2'" in faults(TRAIN, LIVE, target="y", positive="2")[0]


def test_no_is_never_positive_though_it_sorts_last():
    y = pl.Series("y", ["1", "no"] * (N // 2))
    assert read_tables(TRAIN.with_columns(y), LIVE, target="y").classes == ("no", "1")


def test_rows_without_target_are_left_out_and_remembered():
    y = pl.Series("y", [None, 0, 1] * (N // 3))
    tables = read_tables(TRAIN.with_columns(y), LIVE, target="y")
    np.testing.assert_array_equal(tables.kept, np.flatnonzero(np.arange(N) % 3))
    assert len(tables.y) == len(tables.X) == tables.frame.height == 80
    result = steelyard.audit(
        TRAIN.with_columns(y), LIVE, target="y", metrics=["accuracy"], weighting="linear"
    )
    told = next(f for f in result.findings if f.id == "missing-target")
    assert told.severity == "warning"
    assert "missing in 40 rows of TRAIN (33.3%)" in told.text
    np.testing.assert_array_equal(np.isnan(result.row_weights), np.arange(N) % 3 == 0)


# Labels and outputs ---------------------------------------------------------


def test_labels_from_a_column_a_file_and_an_array(tmp_path):
    expected = LIVE["y"].to_numpy().astype(float)
    LIVE.select("y").write_csv(tmp_path / "labels.csv")
    LIVE.select("age", "y").write_parquet(tmp_path / "labels.parquet")
    live = LIVE.rename({"y": "arrived"})
    for labels in (
        "arrived",
        tmp_path / "labels.csv",
        str(tmp_path / "labels.parquet"),
        expected.astype(int),
    ):
        tables = read_tables(TRAIN, live, target="y", labels=labels)
        np.testing.assert_array_equal(tables.y_live, expected)
        assert "arrived" not in [f.name for f in tables.features]


def test_target_in_live_is_neither_feature_nor_labels_unless_named():
    tables = read_tables(TRAIN, LIVE, target="y")
    assert tables.y_live is None
    assert finding(tables, "labels-unused").severity == "info"
    np.testing.assert_array_equal(
        read_tables(TRAIN, LIVE, target="y", labels="y").y_live, LIVE["y"].to_numpy()
    )


@pytest.mark.parametrize("values", [["0", "1"], [False, True], [0.0, 1.0]])
def test_labels_of_another_type_are_the_same_classes(values):
    labels = np.array(values)[LIVE["y"].to_numpy()]
    tables = read_tables(TRAIN, LIVE, target="y", labels=labels)
    np.testing.assert_array_equal(tables.y_live, LIVE["y"].to_numpy())


def test_bad_labels():
    assert "99 values for 100 rows" in faults(TRAIN, LIVE, target="y", labels=np.zeros(99))[0]
    assert "no class of TRAIN" in faults(TRAIN, LIVE, target="y", labels=np.full(100, 7))[0]
    assert "neither a column of LIVE nor a file" in faults(TRAIN, LIVE, target="y", labels="nowhere")[0]
    assert "missing" in faults(TRAIN, LIVE, target="y", labels=pl.Series([None] + [1] * 99))[0]


def three_classes() -> tuple[pl.DataFrame, pl.DataFrame]:
    p = np.random.default_rng(2).dirichlet([1, 2, 3], N)
    columns = {f"p_{c}": p[:, j] for j, c in enumerate("abc")}
    train = TRAIN.with_columns(
        pl.Series("y", ["a", "b", "c"] * (N // 3)), **{k: pl.Series(v) for k, v in columns.items()}
    )
    return train, train.drop("y")


def test_class_probabilities_by_suffix_or_by_order():
    train, live = three_classes()
    expected = train.select("p_a", "p_b", "p_c").to_numpy()
    by_suffix = read_tables(train, live, target="y", proba=["p_c", "p_a", "p_b"])
    np.testing.assert_allclose(by_suffix.given.train.proba, expected)
    plain = {"p_a": "first", "p_b": "second", "p_c": "third"}
    by_order = read_tables(train.rename(plain), live.rename(plain), target="y", proba=list(plain.values()))
    np.testing.assert_allclose(by_order.given.live.proba, expected)
    assert {f.name for f in by_suffix.features} == {"age", "income", "city", "member"}


def test_two_probability_columns_follow_the_positive_class():
    p = np.linspace(0, 1, N)
    train = TRAIN.with_columns(p_0=pl.Series(1 - p), p_1=pl.Series(p))
    for names in (["p_0", "p_1"], ["p_1", "p_0"]):
        tables = read_tables(train, train, target="y", proba=names, positive="0")
        np.testing.assert_allclose(tables.given.train.proba, np.column_stack([p, 1 - p]))


def test_one_probability_is_the_positive_classs():
    p = np.linspace(0, 1, N)
    tables = read_tables(
        TRAIN.with_columns(s=pl.Series(p)), TRAIN.with_columns(s=pl.Series(p)), target="y", proba="s"
    )
    np.testing.assert_allclose(tables.given.train.proba, np.column_stack([1 - p, p]))


@pytest.mark.parametrize(
    ("p", "said"),
    [
        ([0.5, 1.5], "outside [0, 1] (first row 1: 1.5)"),
        ([0.5, 55.0], "divide by 100"),
        ([0.5, None], "missing"),
    ],
)
def test_bad_probabilities(p, said):
    good = pl.Series("s", [0.5] * N)
    bad = pl.Series("s", p * 50)
    found = faults(TRAIN.with_columns(good), LIVE.with_columns(bad), target="y", proba="s")
    assert len(found) == 1
    assert said in found[0]
    assert "LIVE" in found[0]


def test_probabilities_must_sum_to_one_and_small_gaps_are_closed():
    train, live = three_classes()
    off = train.with_columns(pl.col("p_a") * 0.5)
    assert "do not sum to one" in faults(off, live, target="y", proba=["p_a", "p_b", "p_c"])[0]
    near = train.with_columns(pl.col("^p_.*$") * 1.0005)
    tables = read_tables(near, live, target="y", proba=["p_a", "p_b", "p_c"])
    np.testing.assert_allclose(tables.given.train.proba.sum(axis=1), 1, atol=1e-12)


def test_predictions_of_classes_and_numbers():
    train = TRAIN.with_columns(pl.col("y").cast(pl.String).alias("said"))
    tables = read_tables(train, train, target="y", prediction="said")
    np.testing.assert_array_equal(tables.given.train.label, TRAIN["y"].to_numpy())
    number = TRAIN.with_columns(pl.Series("y", np.arange(N) * 1.5), said=pl.Series(np.arange(N) * 2))
    np.testing.assert_array_equal(
        read_tables(number, number, target="y", prediction="said").given.train.value, np.arange(N) * 2
    )


# Types ----------------------------------------------------------------------


def with_column(values, live_values):
    return TRAIN.with_columns(pl.Series("v", values)), LIVE.with_columns(pl.Series("v", live_values))


def test_numbers_read_as_text_on_one_side_are_converted_and_told():
    train, live = with_column(np.arange(N) % 9 * 1.0, [["1", "n/a", " 3 "][i % 3] for i in range(100)])
    tables = read_tables(train, live, target="y")
    np.testing.assert_array_equal(tables.X_live[:3, -1], [1, np.nan, 3])
    assert "'n/a'" in finding(tables, "numbers-as-text").text


def test_codes_with_leading_zeros_stay_categories():
    train, live = with_column(["02139", "NA"] * 60, ["02139", "10001"] * 50)
    assert read_tables(train, live, target="y").features[-1].categories == ("02139", "NA", "10001")


def test_text_against_numbers_is_a_fault_that_shows_an_example():
    train, live = with_column(np.arange(N), ["1", "old"] * 50)
    (fault,) = faults(train, live, target="y")
    assert "'v' is a number in TRAIN" in fault
    assert "'old'" in fault


def test_flags_meet_numbers_and_words():
    for other in ([0, 1], ["true", "FALSE"]):
        train, live = with_column([True, False] * 60, other * 50)
        tables = read_tables(train, live, target="y")
        assert "type-change" in ids(tables)
        assert len(np.unique(np.concatenate([tables.X[:, -1], tables.X_live[:, -1]]))) == 2


def test_overlapping_dates_become_epoch_days():
    days = pl.Series([dt.date(2024, 1, 1) + dt.timedelta(days=i % 60) for i in range(N)])
    train, live = with_column(days, days.head(100).dt.to_string("iso"))
    tables = read_tables(train, live, target="y")
    # 2024-01-01 is 54 years of 365 days and 13 leap days (1972 to 2020) after 1970-01-01.
    assert tables.X[0, -1] == tables.X_live[0, -1] == 54 * 365 + 13


def test_dates_that_mark_the_period_are_dropped():
    train, live = with_column(
        [dt.date(2023, 1, 1 + i % 28) for i in range(N)], [dt.date(2024, 1, 1 + i % 28) for i in range(100)]
    )
    tables = read_tables(train, live, target="y")
    assert "v" not in [f.name for f in tables.features]
    assert "2023-01-01 to 2023-01-28" in finding(tables, "period-marker").text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-03-01", dt.datetime(2024, 3, 1)),
        ("2024-03-01T06:00", dt.datetime(2024, 3, 1, 6)),
        ("2024-03-01 06:30:15.5", dt.datetime(2024, 3, 1, 6, 30, 15, 500_000)),
        ("2024-03-01T06:00:00Z", dt.datetime(2024, 3, 1, 6)),
        ("2024-03-01T06:00:00+02:00", dt.datetime(2024, 3, 1, 4)),
        ("2024-03-01T06:00-0330", dt.datetime(2024, 3, 1, 9, 30)),
    ],
)
def test_iso_instants_against_the_standard_library(text, moment):
    days = parse_dates(pl.Series([text, None]))
    expected = (moment - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1)
    # Microseconds in a float of 2e4 days: 1e-11 days.
    assert days[0] == pytest.approx(expected, abs=1e-10)
    assert days[1] is None


def test_near_dates_are_not_dates():
    assert parse_dates(pl.Series(["2024-02-30"])) is None
    assert parse_dates(pl.Series(["2024-01-02", "soon"])) is None


def test_infinities_are_faults_with_their_number():
    train, live = with_column(np.arange(N) * 1.0, np.r_[np.inf, -np.inf, np.zeros(98)])
    assert faults(train, live, target="y") == (
        "column 'v' in LIVE holds 2 infinite values; replace them by missing or finite ones",
    )


def test_rare_categories_share_the_last_code():
    train = {f"c{i}": 1000 - i for i in range(MOST_CATEGORIES + 40)}
    order = category_order(train, {"new": 5})
    assert len(order) == MOST_CATEGORIES + 1
    assert order[0] == "c0"
    assert order[-1] == OTHER
    texts = [f"c{i % 300}" for i in range(1200)]
    big = pl.DataFrame({"v": texts, "w": np.arange(1200) % 7, "y": [0, 1] * 600})
    tables = read_tables(big, big, target="y")
    # scikit-learn's histogram boosting takes codes below 255.
    assert tables.X[:, 0].max() == MOST_CATEGORIES < 255
    assert np.bincount(tables.X[:, 0].astype(int)).sum() == 1200


# Columns ---------------------------------------------------------------------


def test_roles_and_notes():
    train = TRAIN.with_columns(id=pl.Series(range(N)), one=pl.lit(1), s=pl.lit(0.5) + pl.col("y") * 0.1)
    live = LIVE.with_columns(
        id=pl.Series(range(100)), one=pl.lit(1), s=pl.lit(0.5), t=pl.lit(dt.date(2024, 1, 1)), more=1
    )
    tables = read_tables(train, live, target="y", proba="s", time="t", exclude="city")
    roles = {note.name: note.role for note in tables.notes}
    dropped = {"id", "one", "city", "more"}
    assert {name for name, role in roles.items() if role == "dropped"} == dropped
    assert (roles["s"], roles["t"], roles["y"]) == ("output", "time", "target")
    assert {"identifier", "constant-column", "extra-column"} <= ids(tables)


def test_column_that_live_lacks_is_a_fault_unless_useless():
    assert "'age' of TRAIN is missing in LIVE" in faults(TRAIN, LIVE.drop("age"), target="y")[0]
    assert "age" not in [
        f.name for f in read_tables(TRAIN, LIVE.drop("age"), target="y", exclude="age").features
    ]
    train = TRAIN.with_columns(row_id=pl.Series(range(N)))
    assert read_tables(train, LIVE, target="y").X.shape[1] == 4


def test_column_names_mean_nothing():
    names = {"age": "rows", "income": "n", "city": "text", "member": "x"}
    tables = read_tables(TRAIN.rename(names), LIVE.rename(names), target="y")
    np.testing.assert_array_equal(tables.X, read_tables(TRAIN, LIVE, target="y").X)
    swapped = {"age": "x", "city": "rows", "member": ""}
    assert len(read_tables(TRAIN.rename(swapped), LIVE.rename(swapped), target="y").features) == 4


def test_less_common_types():
    seconds = pl.Series([dt.timedelta(hours=i % 30) for i in range(N)])
    clock = pl.Series([dt.time(i % 24, 30) for i in range(N)])
    zoned = pl.Series([dt.datetime(2024, 1, 1, i % 24) for i in range(N)]).dt.replace_time_zone("Asia/Tokyo")
    train = TRAIN.select("y", d=seconds, t=clock, z=zoned, e=pl.col("city").cast(pl.Categorical))
    tables = read_tables(train, train.drop("y"), target="y")
    assert tables.X[5, 0] == 5 * 3600
    assert tables.X[5, 1] == 5.5 * 3600
    # Five o'clock in Tokyo is nine hours earlier in UTC; 2024-01-01 is epoch day 19,723.
    assert tables.X[5, 2] == pytest.approx(19_723 + (5 - 9) / 24, abs=1e-9)
    assert tables.features[3].categories is not None
    assert "List(Int64)" in faults(train.with_columns(v=[1]), train.with_columns(v=[1]), target="y")[0]


def test_all_faults_come_together():
    train = TRAIN.head(40).with_columns(w=pl.lit(1.0) * pl.col("age") / 0)
    found = faults(train, LIVE.drop("age").with_columns(w=pl.lit("x")), target="z", proba="p", exclude="q")
    assert len(found) == 6
    for part in ("'z'", "'p'", "'q'", "'age'", "'w'", "40 usable rows"):
        assert any(part in fault for fault in found), part


# Windows ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "sizes"), [(30, [30, 30, 40]), (40, [40, 40, 20]), (100, [100]), (70, [100]), (1000, [100])]
)
def test_row_windows_and_the_short_last_one(every, sizes):
    window, names = windowed(LIVE, every)
    assert window == np.repeat(np.arange(len(sizes)), sizes).tolist()
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    assert names == tuple((str(s), str(s + n - 1)) for s, n in zip(starts, sizes))


@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_calendar_windows_against_pandas(every):
    rng = np.random.default_rng(3)
    days = pd.Timestamp("2024-01-25") + pd.to_timedelta(rng.integers(0, 60 * 24, 100), unit="h")
    live = LIVE.with_columns(when=pl.Series(days.to_pydatetime().tolist()))
    window, names = windowed(live, every, time="when")
    periods = days.to_period({"day": "D", "week": "W-SUN", "month": "M"}[every])
    expected = sorted(set(periods))
    assert names == tuple((str(p.start_time.date()), str(p.end_time.date())) for p in expected)
    assert window == [expected.index(p) for p in periods]


def test_row_windows_in_time_order():
    when = np.random.default_rng(4).permutation(100)
    live = LIVE.with_columns(when=pl.Series(when))
    window, names = windowed(live, 50, time="when")
    assert window == (when // 50).tolist()
    assert names == (("0", "49"), ("50", "99"))
    tables = read_tables(TRAIN.with_columns(when=pl.lit(0)), live, target="y", time="when")
    assert "when" not in [f.name for f in tables.features]


@pytest.mark.parametrize("every", [1, 7, 30, 45])
def test_rows_of_one_time_keep_their_order_across_windows(every):
    when = np.random.default_rng(5).integers(0, 6, 100) * 10
    window, names = windowed(LIVE.with_columns(when=pl.Series(when)), every, time="when")
    order = sorted(range(100), key=lambda row: (when[row], row))
    ends = [*range(every, 100, every)]
    if 2 * (100 - ends[-1]) < every:
        ends.pop()
    expected = np.empty(100, dtype=int)
    for number, rows in enumerate(np.split(np.array(order), ends)):
        expected[rows] = number
        assert names[number] == (str(when[rows[0]]), str(when[rows[-1]]))
    assert window == expected.tolist()
    assert len(names) == len(ends) + 1


def test_bad_windows():
    with_times = LIVE.with_columns(when=pl.Series([None, *range(99)]))
    for every, time, said in (
        ("day", None, "need a time column"),
        ("year", None, "neither a number of rows"),
        ("day", "city", "does not hold dates"),
        ("day", "age", "does not hold dates"),
        (0, None, "windows of 0 rows"),
        (10, "city", "does not hold dates"),
        (10, "when", "1 of 100 values are missing"),
    ):
        with pytest.raises(InputError) as told:
            windowed(with_times, every, time=time, part_rows=100)
        assert said in told.value.faults[0]
    assert "not a column of LIVE" in faults(TRAIN, LIVE, target="y", time="when")[0]


def test_arrow_dictionary_and_decimals():
    table = pa.table(
        {"c": pa.array(["a", "b"] * 60).dictionary_encode(), "y": [0, 1] * 60, "x": np.arange(120) % 11}
    )
    tables = read_tables(table, table, target="y")
    assert tables.features[0].categories == ("a", "b")
