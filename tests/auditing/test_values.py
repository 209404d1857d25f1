"""What values mean, through the audit as a user calls it: in memory, and in parts alike."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import steelyard
from steelyard.auditing.reading.read import read_tables
from steelyard.cli import app
from steelyard.errors import InputError
from tests.auditing.told import windowed

QUICK = {"target": "y", "metrics": ["accuracy"], "weighting": "none"}
DAY = dt.date(2024, 1, 1)


def table(n: int = 120, seed: int = 0, **columns: object) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 9, n)})
    y = (frame["a"].to_numpy() + rng.normal(size=n) > 0).astype(int)
    return frame.with_columns(y=pl.Series(y)).with_columns(
        **{name: pl.Series(list(values)[:n]) for name, values in columns.items()}  # type: ignore[call-overload]
    )


def told(tables, id_: str) -> list:
    return [f for f in tables.findings if f.id == id_]


def faults(*args, **options) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        steelyard.audit(*args, **{**QUICK, **options})
    return caught.value.faults


def dialect(**options):
    from steelyard.auditing.reading.dialect import dialect as made

    return made(**options)


def column(values, live_values, **options):
    """Return a feature of both tables as read, and its findings."""
    train, live = table(v=values), table(seed=1, v=live_values)
    tables = read_tables(train, live.drop("y"), target="y", dialect=dialect(**options))
    place = [f.name for f in tables.features].index("v")
    found = [f for f in tables.findings if "'v'" in f.text]
    return tables.X[:, place], tables.X_live[:, place], tables.features[place], found


# The task (A13) -------------------------------------------------------------------


def target(values, **options):
    options = {"dialect": dialect(**options.pop("read", {})), **options}
    frame = table(y=[values[i % len(values)] for i in range(120)])
    return read_tables(frame, frame.drop("y"), target="y", **options)


HALVES = [1 + k / 2 for k in range(13)]


@pytest.mark.parametrize(
    ("values", "read", "task"),
    [
        (HALVES, {}, "regression"),
        ([str(v).replace(".", ",") for v in HALVES], {}, "regression"),
        (HALVES, {"task": "classification"}, "multiclass"),
        (list(range(11)), {}, "multiclass"),
        (list(range(11)), {"task": "regression"}, "regression"),
        ([str(v) for v in range(11)], {"task": "regression"}, "regression"),
        ([0, 1], {"task": "regression"}, "regression"),
        ([True, False], {"task": "regression"}, "regression"),
        (list(range(30)), {"task": "classification"}, "multiclass"),
        ([0.5, 1.5], {}, "binary"),
        ([0.5, 1.0, 2.0], {}, "multiclass"),
    ],
)
def test_the_task_is_as_said_or_as_the_values_tell(values, read, task):
    assert target(values, read=read).task == task


def test_the_finding_on_the_task_names_the_option():
    assert "--task regression" in told(target(list(range(11))), "task")[0].text
    assert "--task classification" in told(target(HALVES), "task")[0].text
    assert "--task" not in told(target(HALVES, read={"task": "regression"}), "task")[0].text


def test_fractions_with_a_probability_each_are_classes():
    p = {f"p_{v}": [1 / 3] * 120 for v in (0.5, 1, 1.5)}
    frame = table(y=[0.5, 1.0, 1.5] * 40, **p)
    assert read_tables(frame, frame.drop("y"), target="y", proba=list(p)).task == "multiclass"


def test_a_task_that_cannot_be_is_one_line():
    frame = table(y=["good", "bad"] * 60)
    (fault,) = faults(frame, frame, task="regression")
    assert "'good'" in fault and "--null" in fault
    frame = table(y=range(120))
    (fault,) = faults(frame, frame, task="classification")
    assert "120 classes; at most 50" in fault and "--task regression" in fault
    (fault,) = faults(frame, frame, task="regression", positive=1)
    assert "leave --positive out" in fault
    assert "choose classification or regression" in faults(frame, frame, task="ranking")[0]


def test_a_score_is_audited_as_a_number(tmp_path):
    rng = np.random.default_rng(0)
    y = np.clip(np.round(5 + 2 * rng.normal(size=240)), 0, 10).astype(int)
    frame = pl.DataFrame({"a": y + rng.normal(size=240), "score": y})
    frame.write_csv(tmp_path / "t.csv")
    frame.drop("score").write_csv(tmp_path / "l.csv")
    args = ["audit", str(tmp_path / "t.csv"), str(tmp_path / "l.csv"), "--target", "score", "--metric", "mae"]
    out = ["--out", str(tmp_path / "r"), "--quiet"]
    assert CliRunner().invoke(app, [*args, *out]).exit_code == 2
    said = CliRunner().invoke(app, [*args, "--task", "regression", *out])
    assert said.exit_code == 0, said.output


def test_numbers_that_are_names_of_categories():
    x, x_live, feature, _ = column([3, 1, 1] * 40, ["1.0", "3", "NA"] * 40, categorical="v")
    assert feature.categories == ("1", "3")
    np.testing.assert_array_equal(x[:3], [1, 0, 0])
    np.testing.assert_array_equal(x_live[:3], [0, 1, np.nan])
    kept = column(["02139", "NA", "7"] * 40, ["02139", "7"] * 60, categorical="v")[2]
    assert kept.categories == ("02139", "7")
    frame = table()
    assert "'z' is in neither table" in faults(frame, frame, categorical="z")[0]
    assert "say --task classification" in faults(frame, frame, categorical="y")[0]
    assert "the model's output" in faults(frame, frame, categorical="a", prediction="a")[0]


# Missing values (B2) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "classes", "missing"),
    [
        (["0", "1", "NA"], (0, 1), 40),
        (["0", "1", " ? "], (0, 1), 40),
        (["yes", "no", "None"], ("no", "yes"), 40),
        (["good", "bad", "n/a"], ("bad", "good"), 40),
        (["mild", "none", "severe"], ("mild", "none", "severe"), 0),
        (["+", "-", "NULL"], ("+", "-"), 40),
        (["1", "2.0", "2"], (1, 2), 0),
    ],
)
def test_words_for_missing_are_none_of_the_classes(values, classes, missing):
    tables = target(values)
    assert tables.classes == classes
    assert 120 - len(tables.y) == missing
    assert ("Read as missing" in told(tables, "task")[0].text) == bool(missing)


def test_missing_targets_are_counted_in_parts_alike():
    rows = table(3_000, 2)
    y = np.where(np.arange(3_000) % 10 == 0, "NA", rows["y"].cast(pl.String).to_numpy())
    frame = rows.with_columns(y=pl.Series(y), p=0.5 + 0.1 * pl.col("a").tanh())
    live = frame.drop("y").head(1_500)
    answers = [steelyard.audit(frame, live, **QUICK, proba="p", sample=n) for n in (10_000, 1_000)]
    for result in answers:
        assert result.rows["train"] == 2_700
        assert "300 rows" in next(f.text for f in result.findings if f.id == "missing-target")
    assert answers[0].performance[0].naive == answers[1].performance[0].naive


def test_missing_labels_and_outputs_are_one_line():
    frame = table(p=[0.5] * 120)
    labels = ["NA", *frame["y"].cast(pl.String)][:120]
    assert "labels: 1 of 120 values are missing" in faults(frame, frame, labels=labels)[0]
    bad = frame.with_columns(p=pl.Series(["n/a", *["0.5"] * 119]))
    assert "'p' in LIVE: 1 values are missing" in faults(frame, bad, proba="p")[0]
    said = frame.with_columns(s=pl.col("y").cast(pl.String))
    bad = said.with_columns(s=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("?")).otherwise("s"))
    assert "2 of 120 values are missing" in faults(bad, said, prediction="s")[0]
    late = frame.with_columns(t=pl.Series(["NA", *["2024-01-01"] * 119]))
    assert "1 of 120 values are missing" in faults(frame, late, time="t", every="day")[0]


# Classes (B3, B11) ------------------------------------------------------------------


def test_classes_compare_alike_wherever_they_stand():
    words = ["yes", "no", "YES", "no ", "yes", "no"]
    frame = table(y=words * 20, s=["No", "Yes", "yes ", "no"] * 30)
    tables = read_tables(frame, frame.drop("y"), target="y", prediction="s", labels=["yes", " NO"] * 60)
    assert tables.classes == ("no", "yes")
    np.testing.assert_array_equal(tables.y[:4], [1, 0, 1, 0])
    np.testing.assert_array_equal(tables.y_live[:2], [1, 0])
    np.testing.assert_array_equal(tables.given.train.label[:4], [0, 1, 1, 0])
    assert "'no', 'no '" in told(tables, "class-spelling")[0].text


def test_case_matters_unless_it_leaves_no_doubt():
    tables = target(["A", "a", "b"])
    assert tables.classes == ("A", "a", "b")
    assert told(tables, "class-spelling")[0].severity == "warning"
    frame = table(y=["Good", "Bad"] * 60)
    tables = read_tables(frame, frame.drop("y"), target="y", labels=["good", "BAD"] * 60)
    np.testing.assert_array_equal(tables.y_live[:2], [1, 0])
    assert "in case alone ('BAD' for 'Bad'" in told(tables, "class-spelling")[0].text


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ([True, False], "TRUE"),
        ([True, False], "true"),
        ([True, False], 1),
        (["TRUE", "FALSE"], "true"),
        ([1, 0], "1.0"),
        ([1.0, 0.0], "1"),
        ([1, 0], True),
        (["Yes", "No"], "yes"),
    ],
)
def test_a_positive_class_is_named_as_one_likes(values, positive):
    tables = target(values, positive=positive)
    np.testing.assert_array_equal(tables.y[:2], [1, 0])


def test_one_class_is_one_line():
    for values in (["yes"], ["yes", "yes "], ["1", "1.0", "NA"], [3]):
        with pytest.raises(
            InputError, match=r"has the single value [^;]*; there is nothing to predict"
        ) as caught:
            target(values)
        assert len(caught.value.faults) == 1


def test_shares_of_wrong_labels_are_named_like_classes():
    from steelyard.auditing.learn.label_noise import noise_rates

    tables = target([1.0, 0.0])
    assert noise_rates(tables, {"1.0": 0.2}).tolist() == [0.0, 0.2]
    with pytest.raises(InputError, match="names 7"):
        noise_rates(tables, {"7": 0.2})


# Outputs (B4, B11) ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["b", "a_b"], ["p_b", "p_a_b"]),
        (["Yes", "No"], ["proba_yes", "proba_no"]),
        ([1, 0], ["p1", "p0"]),
        ([1, 0], ["p_1.0", "p_0.0"]),
        ([True, False], ["p_1", "p_0"]),
        (["very good", "bad"], ["P.Very_Good", "P.Bad"]),
        (["A+", "A"], ["p_A+", "p_A"]),
        (["a", "A"], ["p_a", "p_A"]),
    ],
)
def test_probabilities_find_their_class_by_name(classes, names):
    p = np.linspace(0.2, 0.8, 120)
    for order in (1, -1):
        frame = table(y=classes * 60, **{names[0]: p, names[1]: 1 - p})
        tables = read_tables(frame, frame.drop("y"), target="y", proba=names[::order])
        first = tables.classes.index(classes[0])
        np.testing.assert_allclose(tables.given.train.proba[:, first], p)


def test_probabilities_that_fit_no_class_are_refused_or_told():
    frame = table(y=["b", "a_b"] * 60, p_b=[0.5] * 120, p_x=[0.5] * 120)
    (fault,) = faults(frame, frame, proba=["p_b", "p_x"])
    assert "'p_a_b'" in fault
    plain = frame.rename({"p_b": "first", "p_x": "second"})
    tables = read_tables(plain, plain.drop("y"), target="y", proba=["first", "second"])
    assert "('a_b', 'b')" in told(tables, "output-order")[0].text


@pytest.mark.parametrize("p", [1.0000001, -1e-9, 1 + 1e-7])
def test_rounding_takes_no_probability_out_of_bounds(p):
    frame = table(p=[p, *[0.5] * 119])
    tables = read_tables(frame, frame.drop("y"), target="y", proba="p")
    assert tables.given.train.proba.min() >= 0
    assert tables.given.train.proba.max() <= 1


def test_probabilities_as_text_and_in_single_precision():
    assert (
        "give probabilities, not scores" in faults(table(p=[1.01] * 120), table(p=[0.5] * 120), proba="p")[0]
    )
    frame = table(p=["97%", "3%"] * 60)
    tables = read_tables(frame, frame.drop("y"), target="y", proba="p")
    np.testing.assert_allclose(tables.given.train.proba[:2, 1], [0.97, 0.03])
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1] * 3, 120).astype(np.float32)
    frame = table(y=["u", "v", "w"] * 40, **{f"p_{c}": p[:, j] for j, c in enumerate("uvw")})
    tables = read_tables(frame, frame.drop("y"), target="y", proba=["p_u", "p_v", "p_w"])
    np.testing.assert_allclose(tables.given.train.proba.sum(axis=1), 1, atol=1e-12)


def upside_down(frame: pl.DataFrame, **output) -> list:
    result = steelyard.audit(frame, frame.drop("y").head(60), target="y", weighting="none", **output)
    return [f for f in result.findings if f.id == "output-upside-down"]


def test_an_output_that_ranks_upside_down_is_told():
    rng = np.random.default_rng(1)
    frame = table(200, 3)
    p = 1 / (1 + np.exp(-frame["a"].to_numpy()))
    (finding,) = upside_down(frame.with_columns(p=pl.Series(1 - p)), proba="p")
    assert (finding.severity, finding.explains, finding.columns) == ("warning", True, ("p",))
    assert "--positive 0" in finding.mend
    assert upside_down(frame.with_columns(p=pl.Series(p)), proba="p") == []
    assert upside_down(frame.with_columns(p=pl.Series(rng.random(200))), proba="p") == []
    assert upside_down(frame.with_columns(s=1 - pl.col("y")), prediction="s") != []
    y = frame["a"].to_numpy() + rng.normal(size=200)
    numbers = frame.with_columns(y=pl.Series(y), s=-pl.col("a"))
    (finding,) = upside_down(numbers, prediction="s")
    assert "rank correlation" in finding.text
    assert upside_down(numbers.with_columns(s=pl.col("a")), prediction="s") == []


def test_exchanged_columns_of_several_classes_are_told():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 240)
    p = rng.dirichlet([1] * 3, 240) + 1.5 * np.eye(3)[codes]
    p /= p.sum(axis=1, keepdims=True)
    columns = {f"q{j}{'xyz'[j]}": p[:, [1, 0, 2][j]] for j in range(3)}
    frame = table(240, 4, y=np.array(list("abc"))[codes], **columns)
    (finding,) = upside_down(frame, proba=list(columns))
    assert "'a':" in finding.text and "'b':" in finding.text and "'c':" not in finding.text


# Numbers and dates as people write them (B6) -------------------------------------------


def written(values, form) -> list[str]:
    return [form(float(v)) for v in values]


FORMS = {
    "decimal comma": (lambda v: f"{v:.2f}".replace(".", ","), 1),
    "both signs": (lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")), 1),
    "thousands": (lambda v: f"{v:,.2f}", 1),
    "dollars": (lambda v: f"${v:,.2f}", 1),
    "euros behind": (lambda v: f"{v:.2f} €".replace(".", ","), 1),
    "per cent": (lambda v: f"{v:.2f}%", 100),
    "blanks": (lambda v: f"{v:,.2f}".replace(",", " "), 1),
    "no-break blanks": (lambda v: f"{v:,.2f}".replace(",", "\u202f").replace(".", ","), 1),
    "apostrophes": (lambda v: f"{v:,.2f}".replace(",", "'"), 1),
}


@pytest.mark.parametrize("name", FORMS)
def test_numbers_are_read_as_they_are_written(name):
    form, unit = FORMS[name]
    values = np.round(np.random.default_rng(0).lognormal(7, 1, 120), 2)
    texts = ["NA", *written(values[1:], form)]
    x, x_live, feature, found = column(texts, written(values, form))
    np.testing.assert_allclose(x, np.r_[np.nan, values[1:]] / unit)
    np.testing.assert_allclose(x_live, values / unit)
    assert feature.kind == "number"
    assert [f.id for f in found] == ["numbers-as-text"]
    # One side may be numbers already.
    alone = column(texts, values / unit)
    np.testing.assert_allclose(alone[0], x)


def test_a_comma_that_may_be_either_is_a_warning_and_can_be_said():
    texts = [f"{k},{100 + k}" for k in [1, *range(120, 1, -1)]]
    x, _, _, found = column(texts, texts)
    assert x[0] == 1101
    assert found[0].severity == "warning" and "--decimal ','" in found[0].text
    assert column(texts, texts, decimal=",")[0][0] == pytest.approx(1.101)


def test_digits_as_text_are_numbers_only_where_they_cannot_be_names():
    few = [str(k % 5) for k in range(120)]
    assert column(few, few)[2].kind == "category"
    many = [f"{k / 7:.3f}" for k in range(120)]
    assert column(many, many)[2].kind == "number"
    codes = [f"0{k}" for k in range(120)]
    frame = table(v=codes)
    tables = read_tables(frame, frame, target="y")
    assert all(f.name != "v" or f.kind == "category" for f in tables.features)


def test_what_nearly_reads_is_a_warning_with_what_to_do():
    texts = [f"{k * 1.37:.2f}" for k in range(117)] + ["unknown"] * 3
    frame = table(v=texts)
    (finding,) = told(read_tables(frame, frame, target="y"), "looks-like-numbers")
    assert finding.severity == "warning" and "--null 'unknown'" in finding.text
    days = [f"{1 + k % 28:02d}/{1 + k % 12:02d}/{2000 + k % 20}" for k in range(118)] + ["soon", "later"]
    frame = table(v=days)
    (finding,) = told(read_tables(frame, frame, target="y"), "looks-like-dates")
    assert "'later', 'soon'" in finding.text
    names = [f"name {k}" for k in range(120)]
    frame = table(v=names)
    assert told(read_tables(frame, frame, target="y"), "looks-like-numbers") == []
    mixed = ["$5.25", "€7.75"] * 10 + [f"${k}.10" for k in range(100)]
    frame = table(v=mixed)
    assert "one currency" in told(read_tables(frame, frame, target="y"), "looks-like-numbers")[0].text


def test_two_ways_of_writing_in_two_tables_are_one_line():
    comma, point = ([f"{k}.{k % 9}0" for k in range(120)] for _ in range(2))
    comma = [text.replace(".", ",") for text in comma]
    (fault,) = faults(table(v=comma), table(v=[*point[:-1], "NA"]))
    assert "decimal commas in TRAIN" in fault and "in LIVE" in fault
    days = [DAY + dt.timedelta(days=3 * k) for k in range(120)]
    first, second = ([f"{day:{form}}" for day in days] for form in ("%d/%m/%Y", "%m/%d/%Y"))
    (fault,) = faults(table(v=first), table(v=second))
    assert "day first in TRAIN" in fault and "month first in LIVE" in fault


DATES = ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%y", "%m/%d/%y", "%Y/%m/%d", "%d %b %Y", "%B %d, %Y"]
TIMES = ["", " %H:%M", " %I:%M:%S %p"]


@pytest.mark.parametrize("form", DATES)
@pytest.mark.parametrize("time", TIMES)
def test_dates_are_read_as_they_are_written(form, time):
    moments = [dt.datetime(2023, 3, 1) + dt.timedelta(hours=31 * (k * 7 % 120)) for k in range(120)]
    texts = [moment.strftime(form + time) for moment in moments]
    x, x_live, feature, found = column(["NA", *texts[1:]], texts)
    epoch = dt.datetime(1970, 1, 1)
    shown = [moment if time else dt.datetime(*moment.timetuple()[:3]) for moment in moments]
    step = dt.timedelta(minutes=1)
    expected = np.array([(moment - epoch) // step / 1440 for moment in shown])
    np.testing.assert_allclose(x_live, expected, atol=1e-9)
    assert np.isnan(x[0]) and feature.kind == "date"
    assert all(f.severity == "info" for f in found)


def test_an_order_that_nothing_decides_is_a_warning():
    ascending = [f"{1 + k // 10:02d}/{1 + k % 10:02d}/2024" for k in range(120)]
    x, _, _, found = column(ascending, ascending)
    assert x[1] - x[0] == 1
    assert found[0].severity == "warning" and "month first, so that they ascend" in found[0].text
    shuffled = [f"{1 + 5 * k % 12:02d}/{1 + 5 * k % 3:02d}/2024" for k in range(120)]
    _, _, _, found = column(shuffled, shuffled)
    assert "day first, so that they span the shortest time" in found[0].text
    # The other table decides.
    _, _, _, found = column(ascending, [*ascending[:-1], "31/12/2024"])
    assert found[0].severity == "info" and "day first" in found[0].text


def test_parts_read_texts_as_the_whole_does():
    rng = np.random.default_rng(5)
    n = 3_000
    amount = rng.lognormal(7, 1, n).round(2)
    days = [DAY + dt.timedelta(days=int(k)) for k in rng.integers(0, 300, n)]
    frame = table(n, 6).with_columns(
        amount=pl.Series([f"{v:,.2f}".translate(str.maketrans(",.", ".,")) for v in amount]),
        day=pl.Series([f"{day:%d/%m/%Y}" for day in days]),
        code=pl.Series(rng.integers(1, 6, n)),
        p=0.5 + 0.3 * pl.col("a").tanh(),
    )
    train, live = frame, frame.drop("y").sample(fraction=1, shuffle=True, seed=1)
    options = {**QUICK, "proba": "p", "categorical": "code"}
    held, parts = (steelyard.audit(train, live, **options, sample=s) for s in (10_000, 1_000))
    for a, b in zip(held.data, parts.data):
        assert (a.name, a.kind, a.role) == (b.name, b.kind, b.role)
        assert a.role != "feature" or a.distinct_train == b.distinct_train
    kinds = {note.name: note.kind for note in parts.data}
    assert (kinds["amount"], kinds["day"], kinds["code"]) == ("number", "date", "category")
    assert not {"unread-values"} & {f.id for f in parts.findings}
    assert held.performance[0].naive == parts.performance[0].naive
    reference = steelyard.profile(train, target="y", proba="p", sample=1_000)
    known = {c.name: c for c in reference.columns}
    assert known["amount"].profile.mean == pytest.approx(amount.mean())
    assert known["day"].kind == "date"
    beside = steelyard.audit(reference, live, metrics=["accuracy"], weighting="none")
    shown = {note.name: note for note in beside.data}
    assert shown["amount"].distinct_train == len(set(amount.tolist()))


# Windows (B8) ---------------------------------------------------------------------------


def window_days(time: pl.Series, every: str = "day") -> list[str]:
    live = pl.DataFrame({"when": time})
    window, names = windowed(live, every, time="when", part_rows=7)
    return [names[k][0] for k in window]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Europe/Berlin"])
def test_days_are_those_of_the_columns_own_zone(zone):
    hours = pl.datetime_range(
        dt.datetime(2024, 3, 8), dt.datetime(2024, 3, 12), "1h", time_zone="UTC", eager=True
    )
    autumn = hours.dt.offset_by("236d")
    for moments in (hours, autumn):
        own = moments.dt.convert_time_zone(zone)
        assert window_days(own) == [str(moment.date()) for moment in own.to_list()]
        assert window_days(moments) == [str(moment.date()) for moment in moments.to_list()]
    weeks = window_days(hours.dt.convert_time_zone(zone), "week")
    monday = [m.date() - dt.timedelta(days=m.weekday()) for m in hours.dt.convert_time_zone(zone).to_list()]
    assert weeks == list(map(str, monday))


def test_texts_with_one_offset_have_its_days():
    hours = [dt.datetime(2024, 3, 8) + dt.timedelta(hours=k) for k in range(60)]
    texts = [f"{moment:%Y-%m-%dT%H:%M:%S}+0530" for moment in hours]
    assert window_days(pl.Series(texts)) == [str(moment.date()) for moment in hours]
    plain = [f"{moment:%d/%m/%Y %H:%M}" for moment in hours]
    plain[-1] = "25/03/2024 00:00"
    assert window_days(pl.Series(plain))[:-1] == [str(moment.date()) for moment in hours[:-1]]


def test_several_offsets_are_cut_in_utc_and_told():
    texts = [f"2024-03-30T{k % 24:02d}:30:00+0{1 + k // 60}:00" for k in range(120)]
    live = table().drop("y").with_columns(when=pl.Series(texts))
    result = steelyard.audit(table(), live, **QUICK, time="when", every="day")
    (finding,) = [f for f in result.findings if f.id == "mixed-offsets"]
    assert "+01:00, +02:00" in finding.text
    assert [w.start for w in result.windows] == ["2024-03-29", "2024-03-30"]


# Columns of one value (B1) and spellings (B10) --------------------------------------------


@pytest.mark.parametrize("known", [1, 2, 14, 60, 119])
@pytest.mark.parametrize("kind", ["number", "category", "date", "whole"])
def test_one_value_and_missing_is_never_a_traceback(known, kind):
    value = {"number": 3.5, "category": "x", "date": DAY, "whole": 7}[kind]
    train = table(v=[value] * known + [None] * (120 - known))
    live = table(seed=1).drop("y").with_columns(v=train["v"].sample(fraction=1, shuffle=True, seed=2))
    tables = read_tables(train, live, target="y")
    finding = (*tables.findings, *tables.column_findings["v"])[-1]
    assert finding.id == ("one-value" if known == 60 else "constant-column")
    assert "single value" in finding.text


@pytest.mark.parametrize("known", [1, 3, 300])
def test_trees_meet_columns_with_next_to_no_value(known):
    train, live = table(600, 0), table(600, 1).drop("y")
    values = pl.Series(np.where(np.arange(600) < known, np.arange(600) * 1.0, np.nan)).fill_nan(None)
    result = steelyard.audit(train.with_columns(v=values), live.with_columns(v=values), target="y")
    assert result.performance[0].naive is not None
    sides = train.drop("y").with_columns(v=values), live.with_columns(v=values)
    for a, b in (sides, [frame.to_pandas() for frame in sides]):
        assert np.isfinite(steelyard.weights(a, b, random_state=0)).all()


def test_what_is_a_spelling_and_what_is_not():
    def spelled(one: str, other: str) -> bool:
        rows = [one, "z"] * 60
        frame, live = table(v=rows), table(seed=1, v=[other, "z"] * 60).drop("y")
        tables = read_tables(frame, live, target="y")
        return [f.id for f in tables.column_findings["v"]] == ["category-spelling"]

    for one, other in (("A", "A-"), ("5", "-5"), ("A+", "A"), ("a1", "a-1"), ("1-2", "12"), ("x", "y")):
        assert not spelled(one, other), (one, other)
    for one, other in (
        ("New York", "new_york"),
        ("pre-school", "Pre School"),
        ("x ", "X"),
        ("02139", "2139"),
        ("3x", "3X"),
    ):
        assert spelled(one, other), (one, other)


# The command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two CSV files as a spreadsheet may write them, and what the command makes of them."""
    where = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(3)
    n = 300
    amount = rng.lognormal(7, 1, n)
    yes = amount * np.exp(rng.normal(size=n)) > np.exp(7)
    words = np.where(yes, "Yes", "No").astype(object)
    words[:20], words[20:30] = "NA", "yes "
    p = 1 / (1 + np.exp(7 - np.log(amount)))
    frame = pl.DataFrame(
        {
            "amount": [f"{v:,.2f}".translate(str.maketrans(",.", ".,")) for v in amount],
            "since": [f"{DAY + dt.timedelta(days=int(k)):%d/%m/%Y}" for k in rng.integers(0, 400, n)],
            "grade": rng.integers(1, 5, n),
            "proba_no": 1 - p,
            "proba_yes": p,
            "outcome": pl.Series(words.tolist()),
        }
    )
    frame.write_csv(where / "train.csv")
    frame.drop("outcome").write_csv(where / "live.csv")
    frame.select("outcome").with_columns(pl.col("outcome").str.replace("NA", "no")).write_csv(
        where / "labels.csv"
    )
    return where


def command(files, *more: str) -> tuple[int, dict, str]:
    args = ["audit", *(str(files / name) for name in ("train.csv", "live.csv")), "--target", "outcome"]
    args += [
        *more,
        "--weighting",
        "none",
        "--out",
        str(files / "report"),
        "--json",
        str(files / "answer.json"),
    ]
    said = CliRunner().invoke(app, args)
    answer = json.loads((files / "answer.json").read_text()) if said.exit_code in (0, 1) else {}
    return said.exit_code, answer, " ".join(said.output.split())


def test_the_command_reads_values_right(files):
    labels = str(files / "labels.csv")
    code, answer, _ = command(
        files,
        "--proba",
        "proba_yes",
        "proba_no",
        "--labels",
        labels,
        "--categorical",
        "grade",
        "--positive",
        "YES",
    )
    assert code == 0
    kinds = {note["name"]: note["kind"] for note in answer["data"]}
    assert (kinds["amount"], kinds["since"], kinds["grade"]) == ("number", "date", "category")
    assert answer["rows"]["train"] == 280
    auc = next(row for row in answer["performance"] if row["metric"] == "auc")
    assert auc["naive"] > 0.7 and auc["live_actual"] > 0.6
    assert "output-upside-down" not in {f["id"] for f in answer["findings"]}


def test_the_command_says_what_is_upside_down(files):
    code, answer, said = command(files, "--proba", "proba_no")
    assert code == 0
    assert "output-upside-down" in {f["id"] for f in answer["findings"]}
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "regression"], "holds texts such as"),
        (["--task", "ranking"], "choose classification or regression"),
        (["--categorical", "nowhere"], "is in neither table"),
        (["--categorical", "outcome"], "is the target"),
        (["--positive", "maybe"], "is not one of them"),
        (["--proba", "amount"], "outside [0, 1]"),
        (["--time", "grade", "--every", "day"], "does not hold dates"),
    ],
)
def test_the_command_refuses_in_one_line(files, options, said):
    code, _, output = command(files, *options)
    assert code == 2
    assert said in output
    assert "Traceback" not in output
