"""What is left of an estimate if the relation moved: environments, times, and what cannot serve as either."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import steelyard
from steelyard.evaluation import get_metric, move_spread
from steelyard.evaluation.links import Link
from tests.command_line import invoke

SITES = 6


def _rows(n: int, shift: float, rng: np.random.Generator) -> pl.DataFrame:
    """Draw rows of one site, in which the outcome follows the column more or less closely."""
    x = rng.normal(size=(n, 2))
    y = rng.uniform(size=n) < 1 / (1 + np.exp(-x[:, 0] * (1.5 + 1.5 * shift)))
    score = 1 / (1 + np.exp(-x[:, 0]))
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y.astype(int), "score": score})


def _tables(spread: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    sites = [_rows(250, spread * rng.normal(), rng).with_columns(site=pl.lit(f"s{k}")) for k in range(SITES)]
    train = pl.concat(sites).with_columns(day=pl.int_range(pl.len()) // 10)
    live = _rows(800, spread * rng.normal(), rng).with_columns(day=150 + pl.int_range(pl.len()) // 10)
    return train, live


def _audit(train: pl.DataFrame, live: pl.DataFrame, **options):
    wanted = {"target": "y", "proba": "score", "metrics": ["accuracy", "log_loss"]} | options
    return steelyard.audit(train, live.drop("y"), **wanted)


@pytest.fixture(scope="module")
def steady():
    train, live = _tables(0.0, 0)
    return _audit(train, live, environment="site", exclude="day")


@pytest.fixture(scope="module")
def moving():
    train, live = _tables(1.0, 0)
    return _audit(train, live, environment="site", exclude="day")


def test_both_intervals_are_there_and_the_wider_one_holds_the_other(steady, moving) -> None:
    for result in (steady, moving):
        for row in result.performance:
            assert row.drift_low <= row.low <= row.live_estimate <= row.high <= row.drift_high
            assert row.worth_labels > 0
    assert 0 <= moving.performance[0].drift_low <= moving.performance[0].drift_high <= 1


def test_a_relation_that_moves_between_sites_leaves_wider_intervals(steady, moving) -> None:
    assert moving.relation.source == steady.relation.source == "environments"
    assert moving.relation.column == "site"
    assert moving.relation.environments == tuple(f"s{k}" for k in range(SITES))
    for metric in ("accuracy", "log_loss"):
        assert moving.relation.spread[metric] > 1.5 * steady.relation.spread[metric]
    assert moving.performance[1].worth_labels < steady.performance[1].worth_labels


def test_the_backtest_tells_each_site_s_figures(moving) -> None:
    rows = [b for b in moving.relation.backtest if b.metric == "accuracy"]
    assert [b.environment for b in rows] == [f"s{k}" for k in range(SITES)]
    train, _ = _tables(1.0, 0)
    there = train.filter(pl.col("site") == "s2")
    right = ((there["score"] >= 0.5).cast(int) == there["y"]).mean()
    assert rows[2].actual == pytest.approx(right)
    assert rows[2].rows == 250


def test_parts_without_an_error_do_not_make_the_relation_a_riddle() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 900))
    train, live = (
        pl.DataFrame({"a": v, "y": (v > 0).astype(int), "score": (v > 0) * 0.98 + 0.01}) for v in x
    )
    train = train.with_columns(site=(pl.int_range(pl.len()) % 4).cast(pl.String))
    result = _audit(train, live, environment="site")
    row = result.performance[0]
    assert result.relation.source == "environments"
    # 900 labels without an error leave a rate of 0.003; a relation that never moved is not said to move far.
    assert 0.9 < row.drift_low < row.drift_high <= 1.0


def test_the_environment_is_no_feature(moving) -> None:
    roles = {note.name: note.role for note in moving.data}
    assert roles["site"] == "dropped"
    assert {name for name, role in roles.items() if role == "feature"} == {"a", "b"}


def test_without_environments_the_record_speaks(steady) -> None:
    train, live = _tables(0.0, 0)
    result = _audit(train.drop("site", "day"), live.drop("day"))
    assert result.relation.source == "record"
    assert result.relation.backtest == ()
    row = result.performance[0]
    # 2.78 times a tenth of the residual's standard deviation, which for these rows is about 0.4.
    assert 0.08 < (row.drift_high - row.drift_low) / 2 < 0.15


def test_stretches_of_time_are_estimated_from_those_before(tmp_path) -> None:
    train, live = _tables(0.5, 1)
    result = _audit(train.drop("site"), live, time="day")
    assert result.relation.source == "time"
    assert len(result.relation.environments) == 6
    assert "time-order" not in {f.id for f in result.findings}


def test_time_that_overlaps_or_runs_backwards_is_told() -> None:
    train, live = _tables(0.5, 1)
    train = train.drop("site")
    overlapping = _audit(train, live.with_columns(day=pl.col("day") - 60), time="day")
    backwards = _audit(train, live.with_columns(day=pl.col("day") - 1000), time="day")
    for result, severity in ((overlapping, "info"), (backwards, "warning")):
        assert [f.severity for f in result.findings if f.id == "time-order"] == [severity]
        assert result.performance[0].drift_low is not None


def test_times_that_do_not_part_train_are_told_and_the_record_speaks() -> None:
    train, live = _tables(0.0, 1)
    result = _audit(train.drop("site").with_columns(day=pl.lit(3)), live, time="day", every=400)
    assert result.relation.source == "record"
    assert len(result.windows) == 2
    (told,) = [f for f in result.findings if f.id == "backtest-inconclusive"]
    assert "at least 5 are needed" in told.text


def test_a_column_that_is_empty_in_the_first_stretches_is_no_matter() -> None:
    train, live = _tables(0.0, 1)
    late = train["day"] > 100
    train = train.drop("site").with_columns(c=pl.when(late).then(pl.col("a") * 2.0))
    result = _audit(train, live.with_columns(c=pl.col("a") * 2.0), time="day")
    assert result.relation.source == "time"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("same", "1 values with 100 rows or more"),
        ("many", "0 values with 100 rows or more"),
        ("small", "name one with at least 3"),
        ("nowhere", "is not a column of TRAIN"),
        ("y", "is the target"),
        ("score", "is the model's output"),
    ],
)
def test_a_column_that_cannot_serve_is_one_line(tmp_path, column: str, words: str) -> None:
    train, live = _tables(0.0, 2)
    train = train.with_columns(
        same=pl.lit("x"), many=pl.int_range(pl.len()).cast(pl.String), small=pl.int_range(pl.len()) // 20
    )
    train.write_csv(tmp_path / "train.csv")
    live.drop("y").write_csv(tmp_path / "live.csv")
    spare = [name for name in ("same", "many", "small", "site") if name != column]
    done = invoke(
        "audit", str(tmp_path / "train.csv"), str(tmp_path / "live.csv"), "--target", "y", "--proba", "score",
        "--environment", column, "--out", str(tmp_path / "out"),
        *[word for name in spare for word in ("--exclude", name)],
    )  # fmt: skip
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_prior_alone_is_student_s() -> None:
    spread = move_spread(usual=2.0, confidence=4.0)
    # 97.5% point of Student's t with 4 degrees of freedom; the grid's own error is below a thousandth.
    assert spread.half_width(0.0) == pytest.approx(2.0 * 2.7764, rel=2e-3)


def test_a_new_environment_s_move_is_held_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        tau = 0.1 * rng.chisquare(4) ** -0.5 * 2.0  # as the prior has it
        errors = tau * rng.normal(size=6) + 0.03 * rng.normal(size=6)
        spread = move_spread(errors, np.full(6, 0.03), usual=0.1)
        held.append(abs(tau * rng.normal() + 0.02 * rng.normal()) <= spread.half_width(0.02))
    # Monte Carlo error 0.007.
    assert abs(np.mean(held) - 0.95) < 3 * 0.007


@pytest.mark.parametrize(
    ("name", "value"), [("accuracy", 0.999), ("auc", 0.5), ("log_loss", 1e-4), ("r2", 0.99)]
)
def test_intervals_stay_where_the_metric_can_be(name: str, value: float) -> None:
    metric = get_metric(name)
    low, high = Link.of(metric).around(value, 0.2)
    assert low < value < high
    assert low >= 0 or name == "r2"
    assert high <= 1 or name == "log_loss"
