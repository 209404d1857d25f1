"""The record of natural shifts: the rule that parts the tables, the draws, and the figures on made data."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from benchmarks.real_shifts import run as real_shifts
from benchmarks.real_shifts.audits import audited
from benchmarks.real_shifts.fit import fitted, stated
from benchmarks.real_shifts.measure import carried_over, influence, measured
from benchmarks.real_shifts.report import section
from benchmarks.real_shifts.score import (
    COVARIATE,
    DRIFT,
    PEER,
    by_table,
    clustered,
    kinds,
    quantiles,
    summary,
    winkler,
)
from benchmarks.real_shifts.shifts import LEAST_LIVE, MOST_SHIFTS, Shift, half_of, shifts_of
from benchmarks.real_shifts.tables import ENVIRONMENT, TABLES, TARGET, Table


def table_of(name: str = "made/table", *, kind: str = "time", classes: bool = True, seen: str = "") -> Table:
    return Table(name, kind, pl.col("year"), pl.col("y"), classes=classes, drop=("year", "y"), seen=seen)


def made(rows: int = 2_000, *, years: int = 5) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 2))
    return pl.DataFrame(
        {
            "x0": x[:, 0],
            "x1": x[:, 1],
            "year": np.arange(rows) % years + 1990,
            "y": (rng.random(rows) < 1 / (1 + np.exp(-2 * x[:, 0]))).astype(int),
        }
    )


def record(table: str, **more) -> dict:
    fields = {
        "table": table,
        "half": "tuning",
        "kind": "time",
        "live": "1990",
        "metric": "mae",
        "unit": 2.0,
        "actual": 1.0,
        "naive": 0.9,
        "naive_low": 0.8,
        "naive_high": 1.0,
        "estimate": 0.9,
        "low": 0.8,
        "high": 1.1,
        "record_low": 0.6,
        "record_high": 1.2,
        "drift_low": 0.7,
        "drift_high": 1.1,
        "peer": None,
        "peer_low": None,
        "peer_high": None,
        "source": "time",
        "shift": "covariate",
    }
    return {**fields, **more}


def test_tables_are_parted_by_the_hash_of_their_name_and_those_developed_on_are_never_sealed():
    # Digests by coreutils: printf 'real_shifts:made/...' | sha256sum ends in an odd or an even digit.
    assert half_of(table_of("made/a")) == "tuning"
    assert half_of(table_of("made/b")) == "sealed"
    assert half_of(table_of("made/b", seen="it was tuned on")) == "tuning"
    names = [t.name for t in TABLES]
    assert len(set(names)) == len(names)
    sealed = {t.name for t in TABLES if half_of(t) == "sealed"}
    assert len(sealed) >= 8 and {"AER/HealthInsurance", "DAAG/monica"} <= sealed
    for developed_on in ("census2000", "card", "wagepan", "GSSvocab", "credit_data", "flights"):
        assert not any(developed_on in name for name in sealed)


def test_live_is_one_environment_and_train_the_earlier_times_or_all_others():
    frame = table_of().prepared(made())
    for shift in shifts_of(table_of(), frame):
        assert TARGET not in shift.live.columns and len(shift.truth) == shift.live.height >= LEAST_LIVE
        assert shift.live[ENVIRONMENT].unique().to_list() == [float(shift.live_name)]
        assert shift.train[ENVIRONMENT].max() < float(shift.live_name) and shift.train.height >= 300
        assert shift.train[ENVIRONMENT].n_unique() >= 2
    places = list(shifts_of(table_of("made/b", kind="place"), table_of(kind="place").prepared(made())))
    assert len(places) == MOST_SHIFTS["sealed"]
    assert all(s.train[ENVIRONMENT].n_unique() == 4 and s.train.height == 1_600 for s in places)


def test_the_draws_hang_on_the_tables_name_alone():
    frame = table_of().prepared(made(years=8))
    first, again = (list(shifts_of(table_of(), frame)) for _ in range(2))
    assert [s.live_name for s in first] == [s.live_name for s in again]
    assert all(a.train.equals(b.train) and a.live.equals(b.live) for a, b in zip(first, again))
    others = [[s.live_name for s in shifts_of(table_of(f"made/{k}"), frame)] for k in range(8)]
    assert any(names != others[0] for names in others)


def test_numbers_of_few_values_stay_what_they_are_but_read_as_numbers():
    ratings = made().with_columns(y=pl.col("year") - 1990)
    prepared = table_of(classes=False).prepared(ratings)
    np.testing.assert_allclose(prepared[TARGET], ratings["y"], atol=1e-3)
    assert prepared[TARGET].n_unique() > 1_000


@pytest.mark.parametrize("metric", ["accuracy", "auc", "log_loss", "mae", "rmse"])
def test_the_carried_over_interval_has_the_width_that_the_bootstrap_gives(metric):
    rng = np.random.default_rng(0)
    score = rng.random(800) ** 2
    y = (rng.random(800) < score).astype(float) if metric in ("accuracy", "auc", "log_loss") else score * 3
    output = score if metric in ("accuracy", "auc", "log_loss") else score * 3 + rng.standard_gamma(2, 800)
    assert abs(influence(metric, y, output).mean()) < 1e-9
    draws = [measured(metric, y[rows], output[rows]) for rows in rng.integers(0, 800, (300, 800))]
    low, high = carried_over(metric, y, output, 400)
    # Three hundred draws know a standard deviation to 4%; here it is taken to within three such errors.
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(draws) * np.sqrt(1 + 800 / 400), rel=0.12)


def test_winklers_score_is_the_width_and_forty_times_the_miss():
    assert winkler(1.0, 0.5, 1.5) == 1.0
    assert winkler(2.0, 0.5, 1.5) == pytest.approx(1.0 + 40 * 0.5)
    assert winkler(0.25, 0.5, 1.5) == pytest.approx(1.0 + 40 * 0.25)


def test_every_table_counts_once_and_lengths_are_in_units():
    # One table with three records that hold, one with a single record that misses by 0.3, 0.15 sd.
    records = [record("a", live=str(k)) for k in range(3)] + [record("b", actual=1.4)]
    found = summary(records, DRIFT)
    assert (found.tables, found.records, found.held) == (2, 4, 0.5)
    assert (found.held_low, found.held_high) == (0.0, 1.0)
    assert found.half_width == pytest.approx(0.1)
    assert found.score == pytest.approx((0.2 + 0.2 + 40 * 0.15) / 2)
    assert found.error == pytest.approx((0.05 + 0.25) / 2)
    assert summary(records, PEER) is None
    assert summary([*records, record("c", estimate=None, low=None, high=None)], COVARIATE).tables == 2
    np.testing.assert_allclose(by_table(records, lambda r: r["actual"]), [1.0, 1.4])
    # Sizes 0.05 of table a, 0.25 of table b: half of the weight each.
    np.testing.assert_allclose(quantiles(records, [0.5, 0.95]), [0.05, 0.25])
    assert kinds(records) == {"covariate": 4}


def test_the_interval_of_a_share_is_over_tables():
    low, high = clustered(np.repeat([0.0, 1.0], 50))
    # A hundred tables of which half hold: 1.96 standard errors of 0.05.
    assert low == pytest.approx(0.40, abs=0.02) and high == pytest.approx(0.60, abs=0.02)


def test_the_fit_finds_the_law_that_made_the_moves():
    rng = np.random.default_rng(0)
    records = []
    for k in range(300):
        error = 0.1 * rng.standard_t(4) + 0.02 * rng.standard_normal()
        # Far from 0, where an error's interval is as wide on either side.
        ends = {"low": 50 - 1.96 * 0.04, "high": 50 + 1.96 * 0.04, "estimate": 50.0}
        records.append(record(f"t{k}", actual=50 + 2 * error, **ends))
    found = {c: fitted(records, c) for c in (1.0, 4.0, 30.0)}
    # The scale of 300 values of Student's t is known to about 6%.
    assert found[4.0].move == pytest.approx(0.1, rel=0.15)
    assert found[4.0].low < found[4.0].move < found[4.0].high
    assert found[4.0].density > max(found[1.0].density, found[30.0].density)
    # Three standard errors of a share of 300 are 4 points.
    assert found[4.0].intervals.held == pytest.approx(0.95, abs=0.04)
    narrow = stated(records, 0.03, 4.0)
    assert narrow.density < found[4.0].density and narrow.intervals.held < 0.8


def test_both_audits_of_a_shift_and_the_model_they_judge():
    table = table_of()
    frame = table.prepared(made(1_500))
    live = pl.col(ENVIRONMENT) == 1994.0
    part = frame.filter(live)
    shift = Shift(table, "1994", frame.filter(~live), part.drop(TARGET), part[TARGET].to_numpy())
    found = audited(shift)
    assert [r["metric"] for r in found.records] == ["accuracy", "auc", "log_loss"]
    y = shift.train[TARGET].to_numpy().astype(float)
    for r in found.records:
        # TRAIN's output is that of the audit's own model.
        assert measured(r["metric"], y, found.train_output) == pytest.approx(r["naive"], rel=1e-9)
        assert r["source"] == "environments" and len(r["backtest"]) == 4
        assert r["drift_low"] <= r["low"] <= r["estimate"] <= r["high"] <= r["drift_high"]
        assert r["naive_low"] < r["naive"] < r["naive_high"]
        # A row's residual effect on accuracy is at most 1, and what is left of it here is about 0.4.
        assert 0.2 < r["unit"] < 1.5
        json.dumps(r)
    assert found.records[0]["actual"] == pytest.approx(
        np.mean((found.live_output >= 0.5) == (shift.truth == 1))
    )


def test_a_sealed_record_is_never_written_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(real_shifts, "records_of", lambda half: tmp_path / f"{half}.jsonl")
    monkeypatch.setattr(real_shifts, "run", lambda tables: pytest.fail("it was run"))
    (tmp_path / "sealed.jsonl").write_text("kept")
    assert real_shifts.main(["--half", "sealed"]) == 2
    assert (tmp_path / "sealed.jsonl").read_text() == "kept"
    assert "stays as it is" in capsys.readouterr().err


def test_the_section_shows_each_half_that_was_run():
    records = [record(f"t{k}", actual=0.9 + 0.1 * k, live=str(k)) for k in range(4)]
    records.append(record("t9", estimate=None, low=None, high=None, drift_low=None, drift_high=None))
    text = section(records, {"tuning": {"commit": "abc", "seconds": 60, "peer_failures": {"t1 1": "no"}}})
    assert "### Tuning half" in text and "### Sealed half" not in text
    assert "5 shifts of 5 tables, 4 of them answered" in text
    assert "| t0 | time | 1 | 1 | covariate 1 | 0.000 |" in text and "NannyML gave no answer of t1 1" in text
