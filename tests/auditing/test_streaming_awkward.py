"""Streamed audits of awkward input: the answer where there is one, otherwise one clear line a fault."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import steelyard
from steelyard.auditing import pipeline
from steelyard.auditing.parts import opening
from steelyard.auditing.parts.engine import Threads
from steelyard.auditing.question import Question
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.read import read_tables
from steelyard.auditing.reading.texts import as_text
from steelyard.auditing.sides import drawn
from steelyard.errors import InputError
from steelyard.numerics import as_generator
from steelyard.weighting import ClassifierRatio
from tests.auditing.test_streaming import tables

FLOATS = [0.0, -0.0, 1.0, 0.5, 2.0, 7.0, 1e-5, 1e17, 1e20, 1e300, -3.0, float("inf"), None]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Cut tables into many parts, of a size that divides nothing."""
    monkeypatch.setattr(opening, "PART_ROWS", 397)


def test_a_number_has_one_text_whatever_stands_beside_it():
    whole = as_text(pl.Series(FLOATS)).to_list()
    assert whole == [as_text(pl.Series([value], dtype=pl.Float64))[0] for value in FLOATS]
    assert whole[:6] == ["0", "0", "1", "0.5", "2", "7"]
    # Below 2**53, the text of a whole float is that of the integer.
    assert as_text(pl.Series([2.0**53 - 1])).to_list() == [str(2**53 - 1)]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32])
@pytest.mark.parametrize("values", [[0.5, 2.0, 7.0], [1e-5, 3.0], [0.1, 1e20]])
def test_classes_may_mix_whole_numbers_with_fractions(values, dtype):
    x = np.random.default_rng(0).normal(size=300)
    code = np.arange(300) % len(values)
    frame = pl.DataFrame({"x": x, "y": pl.Series(np.array(values)[code], dtype=dtype)})
    live = frame.with_columns(y=pl.Series(np.array(values)[code]))
    read = read_tables(frame, live, target="y", labels="y")
    np.testing.assert_array_equal(read.y, code)
    np.testing.assert_array_equal(read.y_live, code)


@pytest.mark.parametrize("side", ["TRAIN", "LIVE"])
def test_bad_output_is_told_of_the_table_that_holds_it(side):
    train, live = tables(n=1_600, n_live=1_600)
    spoilt = train if side == "TRAIN" else live
    p = spoilt["p"].to_list()
    p[1_234] = 1.5
    spoilt = spoilt.with_columns(p=pl.Series(p))
    pair = (spoilt, live) if side == "TRAIN" else (train, spoilt)
    with pytest.raises(InputError, match=f"'p' in {side}: 1 values lie outside"):
        steelyard.audit(*pair, target="y", proba="p", sample=500)


def test_columns_that_only_live_has_are_not_called_labels():
    train, live = tables(n=200, n_live=200)
    read = read_tables(train, live.with_columns(more=pl.lit(1)), target="y", proba="p", labels="y")
    notes = {note.name: note for note in read.notes}
    assert notes["more"].issues == ("missing in TRAIN",)
    assert notes["day"].issues == ("missing in TRAIN",)
    labelled = read_tables(train, live.rename({"y": "truth"}), target="y", proba="p", labels="truth")
    assert not [note for note in labelled.notes if note.name == "truth" and note.issues != ("labels",)]


def test_huge_numbers_are_in_order_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = ColumnProfile("number").update(pl.Series([-1.7e308, 1.7e308, 1.0]))
    assert (profile.rising, profile.falling) == (False, False)
    assert ColumnProfile("number").update(pl.Series([-1.7e308, 1.7e308])).rising


def at(series, row, value):
    """Put a value into one row."""
    values = series.to_list()
    values[row] = value
    return pl.Series(series.name, values, dtype=series.dtype)


def outside(rows, *, sample, n_train, seed=0):
    """Return a row of LIVE that the sample does not hold, by trying the audit's own draw."""
    rng = as_generator(Question("y", seed=seed).seeds.sample)
    drawn(n_train, sample, rng)
    return int(np.setdiff1d(np.arange(rows), drawn(rows, sample, rng))[-1])


QUICK = {"target": "y", "proba": "p", "metrics": ["accuracy"], "weighting": "linear"}


@pytest.mark.parametrize("sample", [10_000, 1_000])
def test_numbers_that_no_model_holds_are_told(sample):
    train, live = tables(n=800, n_live=1_600)
    row = outside(1_600, sample=1_000, n_train=800)
    live = live.with_columns(b=at(live["b"], row, 1e200))
    with pytest.raises(InputError, match=r"'b' in LIVE holds numbers as large as 1e\+200"):
        steelyard.audit(train, live, **QUICK, sample=sample)
    train, live = tables(task="regression", n=800, n_live=400)
    with pytest.raises(InputError, match="target 'y' holds numbers beyond 1e"):
        steelyard.audit(train.with_columns(y=at(train["y"], 5, -1e200)), live, target="y")


@pytest.mark.parametrize("value", [1e9, -1e9])
def test_one_row_far_from_all_others_does_not_make_the_answer(value):
    train, live = tables(n=2_500, n_live=1_200)
    plain = steelyard.audit(train, live, **QUICK, sample=1_000)
    moved = steelyard.audit(with_one_far(train, value), live, **QUICK, sample=1_000)
    _is_as_before(moved, plain)


def test_a_weight_that_was_extrapolated_is_held_and_told():
    """The audit's own ratios end where their columns do; a linear model that is asked for goes on."""
    train, live = tables(n=2_500, n_live=1_200)
    asked = ClassifierRatio(make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()))
    question = {**QUICK, "weighting": asked, "sample": 1_000}
    plain = steelyard.audit(train, live, **question)
    moved = steelyard.audit(with_one_far(train, -200.0), live, **question)
    told = [f.text for f in moved.findings if f.id == "weights-held"]
    assert len(told) == 1
    assert told[0].startswith("1 of TRAIN's rows")
    assert not [f for f in plain.findings if f.id == "weights-held"]
    _is_as_before(moved, plain)


def with_one_far(train, value):
    """Put a number that cannot be right into one row, which the sample of these tests does not hold."""
    row = int(np.flatnonzero(train["b"].is_not_null())[7])
    return train.with_columns(b=at(train["b"], row, value))


def _is_as_before(moved, plain):
    assert moved.weights.max_share < 0.05
    # One row of 2,500, of a share of under 1 in 20 of the weights, with a residual of at most 1.
    assert abs(moved.performance[0].live_estimate - plain.performance[0].live_estimate) < 0.05


def test_texts_that_only_rows_outside_of_the_sample_have_are_told():
    train, live = tables(n=600, n_live=2_000)
    sides = []
    for frame in (train, live):
        words = [f"{x:.2f}" if k % 50 else "n/a" for k, x in enumerate(frame["a"])]
        sides.append(frame.with_columns(q=pl.Series(words)))
    row = outside(2_000, sample=1_000, n_train=600)
    sides[1] = sides[1].with_columns(q=at(sides[1]["q"], row, "rubbish"))
    result = steelyard.audit(*sides, **QUICK, sample=1_000)
    told = [f.text for f in result.findings if f.id == "unread-values"]
    assert len(told) == 1
    assert "'q'" in told[0]
    assert "in 1 of the rest of LIVE" in told[0]
    assert next(n for n in result.data if n.name == "q").missing_live == pytest.approx(41 / 2_000)


def test_a_time_that_is_none_is_shown_with_its_rows():
    train, live = tables(n=400, n_live=2_000)
    row = outside(2_000, sample=1_000, n_train=400)
    live = live.with_columns(day=at(live["day"].cast(pl.String), row, "soon"))
    first = row // 397 * 397
    told = rf"such as 'soon'.*\(rows {first} to \d+ of LIVE\)"
    with pytest.raises(InputError, match=told):
        steelyard.audit(train, live, **QUICK, sample=1_000, time="day", every="month")


def test_too_many_calendar_windows_are_told_before_the_long_steps(monkeypatch):
    train, live = tables(n=400, n_live=2_600)
    days = pl.date_range(pl.date(2000, 1, 1), pl.date(2000, 1, 1) + pl.duration(days=2_599), eager=True)
    monkeypatch.setattr(pipeline, "model_output", None)
    with pytest.raises(InputError, match=r"every=day cuts LIVE into .* windows; choose longer"):
        steelyard.audit(train, live.with_columns(day=days), **QUICK, sample=2_000, time="day", every="day")


def test_the_sample_is_drawn_among_rows_with_a_target():
    train, live = tables(n=2_500, n_live=600)
    some = train.with_columns(y=pl.when(pl.int_range(pl.len()) % 4 == 0).then("y"))
    result = steelyard.audit(some, live, **QUICK, sample=500)
    assert result.rows["train"] == 625
    told = "\n".join(f.text for f in result.findings)
    assert "TRAIN has 2,500 rows" in told
    assert "sample of 500 of them (--sample), drawn among those with a target" in told
    assert "missing in 1875 rows of TRAIN" in told
    weights = result.row_tables["weights"].collect()["weight"]
    assert weights.is_not_null().to_list() == some["y"].is_not_null().to_list()
    none = train.with_columns(y=pl.lit(None, dtype=pl.Int64))
    with pytest.raises(InputError, match="target 'y' is missing in every row"):
        steelyard.audit(none, live, **QUICK, sample=500)


def test_a_column_that_varies_outside_of_the_sample_alone_is_said_to_be_constant_there():
    train, live = tables(n=1_500, n_live=400)
    result = steelyard.audit(
        train.with_columns(q=pl.lit(1.0)), live.with_columns(q=pl.lit(1.0)), **QUICK, sample=1_000
    )
    text = next(f.text for f in result.findings if f.id == "constant-column")
    assert text.endswith("(Told from the sampled rows.)")


def test_files_of_other_types_are_read_as_the_whole_table_would_be(tmp_path):
    train, live = tables(n=700, n_live=1_500)
    whole = live.with_columns(c=pl.col("c").round())
    whole[:500].with_columns(pl.col("c").cast(pl.Int32)).write_parquet(tmp_path / "1.parquet")
    whole[500:900].with_columns(
        pl.col("c").cast(pl.String), pl.col("city").cast(pl.Categorical)
    ).write_parquet(tmp_path / "2.parquet")
    whole[:0].write_parquet(tmp_path / "3.parquet")
    whole[900:].with_columns(pl.col("day").cast(pl.String)).write_parquet(tmp_path / "4.parquet")
    question = {**QUICK, "time": "day", "every": 600}
    pattern = str(tmp_path / "*.parquet")
    held = steelyard.audit(train, pattern, **question, sample=10_000)
    parts = steelyard.audit(train, pattern, **question, sample=1_400)
    assert [w.rows for w in parts.windows] == [w.rows for w in held.windows]
    assert [(w.start, w.end) for w in parts.windows] == [(w.start, w.end) for w in held.windows]
    for a, b in zip(held.data, parts.data):
        assert (a.name, a.kind, a.role, a.missing_live) == (b.name, b.kind, b.role, b.missing_live)
    ids = [{f.id for f in result.findings} for result in (held, parts)]
    assert ids[1] == ids[0] | {"sampled"}


@pytest.mark.parametrize("other", [pl.lit([1]), pl.lit("x").cast(pl.Categorical), pl.lit(0).cast(pl.Date)])
def test_files_that_do_not_fit_together_are_told_by_column(other, tmp_path):
    train, live = tables(n=300, n_live=900)
    live[:500].write_parquet(tmp_path / "1.parquet")
    live[500:].with_columns(c=other).write_parquet(tmp_path / "2.parquet")
    for sample in (10_000, 500):
        with pytest.raises(InputError, match="do not fit together: column 'c' is of types Float64, "):
            steelyard.audit(train, str(tmp_path / "*.parquet"), **QUICK, sample=sample)


# The command ---------------------------------------------------------------------

_COMMAND = """
import errno, os, sys, time
import polars as pl
from steelyard.auditing import score as scorer
from steelyard.auditing.parts import opening, spool
from steelyard.cli import main

opening.PART_ROWS, spool._MOST_OF_TIME = 211, 1e9
score, write, written = scorer.ScoreLive.__call__, pl.DataFrame.write_parquet, []

def slow(self, part):
    time.sleep(float(os.environ.get("SLOW", 0)))
    return score(self, part)

def full(self, path, *rest, **options):
    written.append(path)
    if os.environ.get("FULL") and len(written) > 3:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(self, path, *rest, **options)

def sunk(self, path, *rest, **options):
    if "tables" not in str(path) or not os.environ.get("FULL"):
        return sink(self, path, *rest, **options)
    raise pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")

scorer.ScoreLive.__call__, pl.DataFrame.write_parquet = slow, full
sink, pl.LazyFrame.sink_parquet = pl.LazyFrame.sink_parquet, sunk
main()
"""


class Shell:
    """Runs the command in a directory with two tables."""

    def __init__(self, path):
        self.path = path
        train, live = tables(n=600, n_live=1_600)
        train.write_parquet(path / "train.parquet")
        live.write_parquet(path / "live.parquet")
        live.write_csv(path / "live.csv")

    def start(self, *more, live="live.parquet", **environment):
        command = [sys.executable, "-c", _COMMAND, "audit", "train.parquet", live, "--target", "y"]
        command += ["--proba", "p", "--metric", "accuracy", "--weighting", "linear", "--sample", "1000", "-q"]
        return subprocess.Popen(
            [*command, *more],
            cwd=self.path,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *more, **environment):
        """Return the exit code and the faults that were told."""
        started = self.start(*more, **environment)
        said = started.communicate(timeout=120)[1]
        assert "Traceback" not in said
        return started.returncode, said.splitlines()

    def wait_for(self, name, process):
        waited = time.monotonic() + 60
        while not (self.path / name).exists() and process.poll() is None and time.monotonic() < waited:
            time.sleep(0.01)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("shell"))


def test_a_key_press_leaves_what_resume_goes_on_from(shell):
    # So slow that it is still at work when the second command has started, on a busy machine too.
    interrupted = shell.start("--out", "pressed", SLOW="4")
    shell.wait_for("pressed.partial/live.json", interrupted)
    assert shell.run("--out", "pressed") == (
        2,
        [
            "steelyard: another audit is at work in 'pressed.partial'; wait for it, or name another place "
            "for this one (--out)"
        ],
    )
    interrupted.send_signal(signal.SIGINT)
    said = interrupted.communicate(timeout=60)[1].splitlines()
    assert interrupted.returncode == 130
    assert said == [
        "steelyard: interrupted; no report was written; what is done lies in 'pressed.partial': add --resume "
        "to go on"
    ]
    assert not (shell.path / "pressed").exists()
    assert shell.run("--out", "pressed", "--resume") == (0, [])
    assert (shell.path / "pressed" / "audit.json").exists()
    assert not (shell.path / "pressed.partial").exists()
    # Nothing is there to go on from: it begins anew.
    assert shell.run("--out", "pressed", "--resume") == (0, [])


def test_a_full_disk_is_one_line_and_can_be_gone_on_from(shell):
    code, (fault,) = shell.run("--out", "full", FULL="1")
    assert code == 2
    assert fault.startswith("steelyard: cannot write 'full.partial/live-000003.parquet': No space left")
    assert fault.endswith("add --resume to go on")
    assert not (shell.path / "full").exists()
    assert shell.run("--out", "full", "--resume") == (0, [])
    code, (fault,) = shell.run("--out", "full-csv", live="live.csv", FULL="1")
    assert code == 2
    assert re.search(r"cannot write '.*live-00000\.parquet': No space left on device; .*\(--out\)", fault)
    assert not list(shell.path.glob("full-csv*"))


def test_what_others_have_put_there_is_never_removed(shell):
    partial = shell.path / "others.partial"
    (partial / "tables").mkdir(parents=True)
    kept = [partial / name for name in ("notes.txt", "train-2024.parquet", "tables/live.parquet")]
    for path in kept:
        path.write_text("mine")
    assert shell.run("--out", "others") == (0, [])
    assert [path.read_text() for path in kept] == ["mine"] * 3
    assert sorted(p for p in partial.rglob("*") if p.is_file()) == sorted(kept)
    same = partial / "live-000000.parquet"
    same.write_text("mine")
    code, (fault,) = shell.run("--out", "others")
    assert code == 2
    assert "live-000000.parquet' is in the way, and no audit has left it" in fault
    assert same.read_text() == "mine"


def test_places_that_cannot_be_are_told(shell):
    (shell.path / "file").write_text("")
    assert shell.run("--out", "file")[0] == 2
    (shell.path / "taken.partial").write_text("")
    code, (fault,) = shell.run("--out", "taken")
    assert code == 2
    assert "'taken.partial' is a file" in fault
    here = shell.path / "here"
    here.mkdir()
    moved = Shell(here)
    assert moved.run("--out", ".") == (0, [])
    assert (here / "audit.json").exists()
    assert not list(shell.path.glob("here.partial"))


def test_an_answer_that_cannot_be_given_is_inconclusive_in_parts_too(shell):
    live = pl.read_parquet(shell.path / "live.parquet")
    live.with_columns(pl.col("a") + 30).write_parquet(shell.path / "far.parquet")
    code, said = shell.run("--out", "far", "--fail-on", "accuracy<0.5", live="far.parquet")
    assert code == 3
    assert said
    assert (shell.path / "far" / "audit.json").exists()


def test_threads_change_nothing_and_parts_do_not_pile_up(monkeypatch):
    train, live = tables(n=600, n_live=1_800)
    answers = []
    for workers in (1, 2):
        monkeypatch.setattr(pipeline, "make_engine", lambda *_, workers=workers: Threads(workers))
        answers.append(steelyard.audit(train, live, **QUICK, sample=1_000, every=500).to_dict())
        answers[-1].pop("seconds")
    assert answers[0] == answers[1]
    begun = []
    slow = Threads(2).map(lambda part: begun.append(part) or part, list(range(50)))
    for taken, _ in enumerate(slow, start=1):
        time.sleep(0.002)
        assert len(begun) <= taken + 2 * 2
