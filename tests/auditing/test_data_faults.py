"""Faults of the data: each is found where it is, said first, and not found where it is not."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from command_line import invoke

import steelyard
from steelyard.auditing.data_faults import CHECKS, told_by
from steelyard.auditing.data_faults.explained import explained
from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.reading.copies import RowCopies, shared_found
from steelyard.auditing.reading.read import read_tables

JOBS = np.array(["fixed", "freelance", "parttime", "other"])


def rows(n: int, seed: int) -> pl.DataFrame:
    """Return rows of borrowers: some columns hang together, and two sums hold."""
    rng = np.random.default_rng(seed)
    job = rng.choice(4, n, p=[0.5, 0.25, 0.15, 0.1])
    educ, exper = rng.integers(8, 20, n), rng.integers(0, 40, n)
    income = np.round(np.exp(rng.normal(4.5, 0.3, n) + 0.4 * (job == 0) + 0.05 * (educ - 12)), 1)
    owner = rng.random(n) < 1 / (1 + np.exp(-(exper - 25) / 4))
    amount = np.round(income * rng.uniform(2, 4, n), 1)
    return pl.DataFrame(
        {
            "job": JOBS[job],
            "educ": educ,
            "exper": exper,
            "age": educ + exper + 6,
            "income": income,
            "amount": amount,
            "owner": np.where(owner, "yes", "no"),
            "records": np.where(rng.random(n) < 0.15, "yes", "no"),
            "code": np.array(["F1", "L2", "P3", "O4"])[job],
            "status": np.where(rng.random(n) < 1 / (1 + np.exp((income - 90) / 20)), "bad", "good"),
        }
    )


TRAIN, LIVE = rows(600, 1), rows(500, 12).drop("status")
PART = np.random.default_rng(3).random(500)


def found(
    live: pl.DataFrame, train: pl.DataFrame = TRAIN, target: str = "status"
) -> dict[str, tuple[str, ...]]:
    """Return what is found by the checks and by the columns' own: the columns of each id."""
    tables = read_tables(train, live, target=target)
    findings = {name: tables.column_findings[name] for name in sorted(tables.used)}
    of_columns = [f for each in explained(findings, *tables.profiles).values() for f in each]
    told = [*told_by(CHECKS, Look.at(tables, seed=0)), *(f for f in of_columns if f.explains)]
    assert all(f.mend for f in told)
    out: dict[str, tuple[str, ...]] = {}
    for f in told:
        out[f.id] = (*out.get(f.id, ()), *f.columns)
    return out


def put(name: str, values: pl.Expr | pl.Series, share: float = 1.1) -> pl.DataFrame:
    """Return LIVE with other values in a share of the rows of a column."""
    values = pl.lit(values) if isinstance(values, (int, float, str)) else values
    return LIVE.with_columns(
        pl.when(pl.Series(PART) < share).then(values).otherwise(pl.col(name)).alias(name)
    )


def test_nothing_is_found_in_rows_of_one_law():
    assert found(LIVE) == {}


@pytest.mark.parametrize(
    ("live", "finding", "columns"),
    [
        # Two values exchanged: told by the shares, by the other columns, and as a cycle.
        (
            LIVE.with_columns(pl.col("records").replace({"yes": "no", "no": "yes"})),
            "exchanged-values",
            "records",
        ),
        (LIVE.with_columns(pl.col("owner").replace({"yes": "no", "no": "yes"})), "exchanged-values", "owner"),
        # Columns exchanged: by where their values lie, by their relations, and of categories.
        (LIVE.rename({"income": "exper", "exper": "income"}), "exchanged-columns", "exper income"),
        (LIVE.rename({"owner": "records", "records": "owner"}), "exchanged-columns", "owner records"),
        (LIVE.rename({"job": "owner", "owner": "job"}), "exchanged-columns", "job owner"),
        # A value for missing ones: of the usual kind, within the range, a mean, any one.
        (put("income", -999.0, 0.4), "filled-in", "income"),
        (put("exper", 0, 0.3), "filled-in", "exper"),
        (put("amount", pl.col("amount").mean().round(1), 0.2), "filled-in", "amount"),
        (put("amount", 250.0, 0.2), "filled-in", "amount"),
        # Sums: one off in all rows or in a few, of several columns or of two.
        (LIVE.with_columns(pl.col("age") - 1), "broken-relation", "age educ exper"),
        (put("age", pl.col("age") + 1, 0.06), "broken-relation", "age educ exper"),
        # A code that has another name.
        (put("code", pl.lit("F1"), 0.2), "broken-relation", "code job"),
        (LIVE.with_columns(pl.col("code").replace({"F1": "L2", "L2": "F1"})), "broken-relation", "code job"),
        # The other way round, another scale, and two units in one column.
        (LIVE.with_columns((300 - pl.col("income")).alias("income")), "reversed-column", "income"),
        (LIVE.with_columns(pl.col("amount").log()), "rescaled-column", "amount"),
        (
            LIVE.with_columns((pl.col("amount") - pl.col("amount").mean()) / pl.col("amount").std()),
            "rescaled-column",
            "amount",
        ),
        (put("amount", pl.col("amount") * 1000, 0.3), "mixed-units", "amount"),
        (LIVE.with_columns(pl.col("income") * 1000), "unit-change", "income"),
        # What single columns tell.
        (LIVE.with_columns(pl.col("owner").str.to_uppercase()), "category-spelling", "owner"),
        (LIVE.with_columns(owner=pl.lit("no")), "constant-in-live", "owner"),
    ],
)
def test_each_fault_is_found_and_named(live, finding, columns):
    told = found(live)
    assert set(columns.split()) == set(told.get(finding, ())), told


def test_faults_of_train_are_found_as_well():
    train = TRAIN.with_columns(
        pl.when(pl.Series(np.random.default_rng(0).random(600)) < 0.2)
        .then(-1.0)
        .otherwise(pl.col("income"))
        .alias("income")
    )
    assert found(LIVE, train)["filled-in"] == ("income",)
    scaled = TRAIN.with_columns((pl.col("amount") - pl.col("amount").mean()) / pl.col("amount").std())
    assert found(LIVE, scaled)["rescaled-column"] == ("amount",)


def test_a_code_for_missing_in_both_tables_explains_nothing_and_is_told():
    sides = [
        f.with_columns(
            pl.when(pl.int_range(pl.len()) % 3 == 0).then(-999).otherwise(pl.col("exper")).alias("exper")
        )
        for f in (TRAIN, LIVE)
    ]
    tables = read_tables(*sides, target="status")
    told = told_by(CHECKS, Look.at(tables, seed=0))
    assert [(f.id, f.severity, f.explains) for f in told if "exper" in f.columns] == [
        ("sentinel-value", "info", False)
    ]


@pytest.mark.parametrize("noise", [0.0, 0.04])
def test_a_coded_copy_of_the_target_is_found(noise):
    rng = np.random.default_rng(0)
    bad = (TRAIN["status"] == "bad").to_numpy() ^ (rng.random(600) < noise)
    code = pl.Series([f"{'BD'[int(b)]}{k}" for b, k in zip(bad, rng.integers(1, 4, 600))])
    live = LIVE.with_columns(decision=pl.Series(rng.choice(code.to_numpy(), 500)))
    assert found(live, TRAIN.with_columns(decision=code)) == {"target-leak": ("decision",)}


def test_a_number_that_is_the_target_on_another_scale_is_found():
    train = TRAIN.with_columns(log=pl.col("income").log())
    live = LIVE.with_columns(pl.col("income").log().alias("log"), status=pl.lit("good")).drop("income")
    live = live.with_columns(status=rows(500, 12)["status"])
    assert found(live, train, target="income") == {"target-leak": ("log",)}


def test_several_columns_that_give_the_target_away_do_not_hide_one_another():
    train = TRAIN.with_columns(one=pl.col("status"), two=pl.col("status").str.to_uppercase())
    live = LIVE.with_columns(one=pl.lit("good"), two=pl.lit("GOOD"))
    assert set(found(live, train)["target-leak"]) == {"one", "two"}


def test_a_strong_column_among_others_that_are_as_strong_gives_nothing_away():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    X = {f"x{k}": 4 * y + rng.normal(size=400) for k in range(3)}
    frame = pl.DataFrame({**X, "y": y})
    tables = read_tables(frame, frame.drop("y"), target="y")
    assert told_by(CHECKS, Look.at(tables, seed=0)) == ()


def test_drift_is_not_taken_for_a_fault():
    # The shares of values, the means of numbers and the weights of rows move; what they mean does not.
    keep = np.random.default_rng(0).random(500) < np.where(LIVE["owner"] == "yes", 1.0, 0.35)
    older = rows(900, 7).drop("status").filter(pl.col("exper") > 15)
    richer = LIVE.with_columns((pl.col("income") * 1.3).round(1), (pl.col("amount") * 1.5).round(1))
    for live in (LIVE.filter(pl.Series(keep)), older, richer):
        assert found(live) == {}


def shared(train: pl.DataFrame, live: pl.DataFrame) -> list[str]:
    tables = read_tables(train, live, target="status")
    return [f.text for f in shared_found(RowCopies.of(tables.X), RowCopies.of(tables.X_live))]


def test_rows_in_both_tables_are_judged_by_how_often_rows_coincide():
    X = TRAIN.drop("status")
    assert shared(TRAIN, LIVE) == []
    (text,) = shared(TRAIN, pl.concat([X[:100], LIVE[100:].select(X.columns)]))
    assert text.startswith("100 rows of LIVE (20.0%) are in TRAIN as well.")
    assert len(shared(TRAIN, X)) == 1
    # Rows of two coded columns coincide without any fault, however many there are.
    coded = ["job", "owner", "status"]
    assert shared(TRAIN.select(coded), LIVE.select("job", "owner")) == []
    # In a table of which a tenth occurs twice, about a tenth of LIVE is in TRAIN by chance.
    doubled = pl.concat([rows(500, 5), rows(500, 5)[:50], rows(300, 6), rows(300, 6)[:60]]).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    assert shared(doubled[:500], doubled[500:].drop("status")) == []


def test_rows_are_drawn_where_there_are_many_and_the_seed_decides():
    big = read_tables(rows(30_000, 8), rows(21_000, 9).drop("status"), target="status")
    look = Look.at(big, seed=4)
    assert look.X.shape[0] == look.X_live.shape[0] == 20_000
    np.testing.assert_array_equal(look.y, Look.at(big, seed=4).y)
    assert told_by(CHECKS, look) == ()


@pytest.fixture(scope="module")
def unit_answer(tmp_path_factory):
    """Audit LIVE with one column in another unit, by the command line."""
    folder = tmp_path_factory.mktemp("unit")
    TRAIN.write_csv(folder / "train.csv")
    LIVE.with_columns(pl.col("income") * 1000).write_csv(folder / "live.csv")
    words = [
        str(folder / "train.csv"),
        str(folder / "live.csv"),
        "--target",
        "status",
        "--out",
        str(folder / "report"),
    ]
    done = invoke("audit", *words)
    record = json.loads((folder / "report" / "audit.json").read_text())
    return done, record, (folder / "report" / "report.html").read_text()


def test_a_fault_is_the_first_thing_that_the_terminal_says(unit_answer):
    done, _, page = unit_answer
    assert done.exit_code in (0, 3)
    assert "Traceback" not in done.output
    assert done.stdout.startswith("Column 'income' looks like a change of unit: LIVE is TRAIN times 1000")
    top = page[page.index("<header>") : page.index("</header>")]
    assert (
        top.index("Fault of the data") < top.index("looks like a change of unit") < top.index("What to do:")
    )


def test_the_first_advice_is_to_mend_it_and_none_is_to_label(unit_answer):
    _, record, _ = unit_answer
    first = record["advice"][0]
    assert (first["kind"], first["action"]) == (
        "mend data",
        "Convert 'income' in LIVE to TRAIN's unit, then audit again",
    )
    assert {a["kind"] for a in record["advice"][1:]} <= {"wait", "use labels"}
    told = json.dumps(record["findings"]) + json.dumps(record["advice"])
    assert "Collect labels" not in told and "Start where" not in told
    (finding,) = [f for f in record["findings"] if f["explains"]]
    assert (finding["id"], finding["columns"]) == ("unit-change", ["income"])


def test_a_leak_is_the_answer_and_no_interval_leaves_its_metric():
    train = TRAIN.with_columns(decision=pl.col("status").replace({"bad": "D9", "good": "A1"}))
    live = LIVE.with_columns(decision=pl.Series(np.random.default_rng(0).choice(["A1", "D9"], 500)))
    result = steelyard.audit(train, live, target="status", positive="bad")
    first = next(f for f in result.findings if f.explains)
    assert (first.id, first.severity, first.columns) == ("target-leak", "warning", ("decision",))
    assert result.advice[0].action.startswith("Leave 'decision' out (--exclude decision)")
    assert all(a.kind not in ("nothing", "keep") for a in result.advice)
    for row in result.performance:
        assert row.low is not None and row.high is not None
        assert 0 <= row.low <= row.high <= 1.5, row
    assert all(a.kind != "mend data" for a in steelyard.audit(TRAIN, LIVE, target="status").advice)


def test_an_audit_tells_of_every_fault_and_advises_to_mend_them():
    live = put("amount", -999.0, 0.4).with_columns(
        pl.col("age") - 1, owner=pl.col("owner").replace({"yes": "no", "no": "yes"})
    )
    live = pl.concat([live[:250], TRAIN.select(live.columns)[:250].cast(dict(live.schema))])
    result = steelyard.audit(TRAIN, live, target="status")
    told = {f.id: set(f.columns) for f in result.findings}
    assert told["filled-in"] == {"amount"}
    assert told["broken-relation"] == {"age", "educ", "exper"}
    assert "shared-rows" in told
    assert [a.kind for a in result.advice[:2]] == ["mend data", "mend data"]
    for change in ("owner", "records"):
        swapped = LIVE.with_columns(pl.col(change).replace({"yes": "no", "no": "yes"}))
        result = steelyard.audit(TRAIN, swapped, target="status", metrics=["accuracy"])
        assert [f.columns for f in result.findings if f.explains] == [(change,)]
        assert result.advice[0].action.startswith(
            f"Give the values of '{change}' in LIVE their meaning in TRAIN"
        )
