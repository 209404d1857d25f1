"""Tables read in parts against the same tables held whole; sums against sums in another order."""

import copy
import json
import re
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from functools import reduce

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import steelyard
from steelyard.auditing import pipeline, sides
from steelyard.auditing.parts import opening, spool
from steelyard.auditing.parts.engine import Threads
from steelyard.auditing.parts.opening import count_rows, open_source
from steelyard.auditing.parts.source import Frame, gather
from steelyard.auditing.question import told_apart
from steelyard.auditing.sums import LiveSums, TrainSums
from steelyard.datasets import make_shift
from steelyard.errors import InputError

CITIES = ["Ghent", "Lyon", "Brno", "Porto"]


def tables(kind="covariate", task="binary", n=1_500, n_live=2_500, strength=0.7, seed=0):
    """Return TRAIN and LIVE with numbers, categories, gaps, dates, the model's output and labels."""
    s = make_shift(kind, n_source=n, n_target=n_live, strength=strength, task=task, random_state=seed)
    rng = np.random.default_rng(seed)
    out = []
    for X, y, scores in ((s.X, s.y, s.scores), (s.X_target, s.y_target, s.scores_target)):
        frame = pl.DataFrame(X, schema=list("abcde")).with_columns(y=pl.Series(y))
        city = np.asarray(CITIES)[np.clip(np.digitize(X[:, 0], [-0.7, 0, 0.7]), 0, 3)]
        days = [date(2024, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 90, len(X))]
        gaps = rng.random(len(X)) < 0.05
        frame = frame.with_columns(
            city=pl.Series(city),
            day=pl.Series(days),
            b=pl.when(pl.Series(gaps)).then(None).otherwise(pl.col("b")),
        )
        if task == "regression":
            frame = frame.with_columns(said=pl.Series(scores))
        else:
            scores = np.asarray(scores)
            if scores.ndim == 1:
                frame = frame.with_columns(p=pl.Series(scores))
            else:
                frame = frame.with_columns(
                    [pl.Series(f"p_{k}", scores[:, k]) for k in range(scores.shape[1])]
                )
        out.append(frame)
    return out[0].drop("day"), out[1]


QUESTIONS = {
    "binary, rows": ({}, {"proba": "p", "every": 600}),
    "binary, rows in time": ({}, {"proba": "p", "every": 600, "time": "day"}),
    "binary, months, own model": ({}, {"every": "month", "time": "day", "exclude": "p"}),
    "labels shifted": ({"kind": "label"}, {"proba": "p", "every": "week", "time": "day"}),
    "three classes": ({"task": "multiclass"}, {"proba": ["p_0", "p_1", "p_2"], "every": 1_000}),
    "a number": ({"task": "regression"}, {"prediction": "said", "every": 1_000}),
}


@pytest.fixture
def small_parts(monkeypatch):
    """Cut tables into many parts, of a size that divides nothing."""
    monkeypatch.setattr(opening, "PART_ROWS", 397)


def said(result):
    audit = result.to_dict()
    audit.pop("seconds")
    return audit


def close(a, b, *, rel=1e-9, path=""):
    """Compare two answers, numbers to rounding."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            close(a[key], b[key], rel=rel, path=f"{path}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for k, (x, y) in enumerate(zip(a, b)):
            close(x, y, rel=rel, path=f"{path}/{k}")
    elif isinstance(a, float) and isinstance(b, (int, float)):
        assert a == pytest.approx(b, rel=rel, abs=1e-9), path
    else:
        assert a == b, path


@pytest.mark.parametrize("name", QUESTIONS)
def test_in_parts_everything_is_as_in_memory_where_nothing_is_sampled(name, monkeypatch, small_parts):
    made, question = QUESTIONS[name]
    train, live = tables(**made)
    whole = steelyard.audit(train, live, target="y", labels="y", **question)
    monkeypatch.setattr(sides, "too_large", lambda table, sample: True)
    parts = steelyard.audit(train, live, target="y", labels="y", **question)
    assert len(whole.windows) > 1
    close(said(whole), said(parts))
    predictions = parts.row_tables["predictions"].collect()
    assert predictions["row"].to_list() == list(range(live.height))
    for column, values in whole.row_predictions.items():
        np.testing.assert_array_equal(predictions[column].to_numpy(), values)
    weights = parts.row_tables["weights"].collect()["weight"].to_numpy()
    np.testing.assert_allclose(weights, whole.row_weights, rtol=1e-12)
    np.testing.assert_array_equal(parts.row_weights, weights)
    assert parts.row_predictions.keys() == whole.row_predictions.keys()
    assert {"weights", "predictions"} == parts.row_tables.keys() == whole.row_tables.keys()
    for table in whole.row_tables:
        assert whole.row_tables[table].collect_schema() == parts.row_tables[table].collect_schema()


def test_a_sample_moves_figures_by_no_more_than_their_intervals_say(small_parts):
    train, live = tables(n=3_000, n_live=8_000)
    question = {"target": "y", "labels": "y", "proba": "p", "every": 2_000}
    whole = steelyard.audit(train, live, **question)
    part = steelyard.audit(train, live, sample=2_000, **question)
    assert part.rows == whole.rows == {"train": 3_000, "live": 8_000}
    assert sum(f.id == "sampled" for f in part.findings) == 2
    for a, b in zip(whole.performance, part.performance):
        # What all rows say does not hang on the sample, but for the AUC's bins: one pair in 2,000 is
        # tied and counts half.
        exact = {"abs": 1 / 4_000} if a.metric == "auc" else {"rel": 1e-9}
        assert a.naive == pytest.approx(b.naive, **exact)
        assert a.live_actual == pytest.approx(b.live_actual, **exact)
        assert b.low <= b.live_actual <= b.high
        # Two estimates from overlapping rows: within both half widths, and the smaller sample is not
        # the surer one (its interval may come out a fifth shorter by chance).
        assert abs(a.live_estimate - b.live_estimate) < (a.high - a.low + b.high - b.low) / 2
        assert b.high - b.low > 0.8 * (a.high - a.low)
    for a, b in zip(whole.data, part.data):
        assert a.role == b.role
        if a.role == "feature":
            assert (a.missing_live, a.distinct_live) == (b.missing_live, b.distinct_live)
        else:
            assert b.distinct_live is None
    assert [w.rows for w in part.windows] == [w.rows for w in whole.windows]
    assert part.row_tables["weights"].collect()["weight"].mean() == pytest.approx(1.0)
    assert abs(part.prediction.live_actual_coverage - 0.9) < 0.03


def test_rows_to_label_are_named_by_their_place_in_live(small_parts):
    train, live = tables(n=1_500, n_live=4_000)
    # Only the last rows are unlike TRAIN's: a place in the sample would be a number far below theirs.
    last = pl.int_range(pl.len()) >= 3_500
    live = live.with_columns(a=pl.when(last).then(pl.col("a") + 9.0).otherwise(pl.col("a")))
    result = steelyard.audit(train, live, target="y", proba="p", sample=1_000)
    advice = next(a for a in result.advice if a.kind == "label")
    named = re.search(r"rows ([\d, ]+), and on", advice.why).group(1)
    assert all(int(row) >= 3_500 for row in named.split(", "))


def test_the_answer_does_not_hang_on_how_rows_are_cut():
    train, live = tables(n=1_000, n_live=4_000)
    answers = []
    for rows in (333, 1_999):
        cut = Frame(train, rows), Frame(live, rows)
        answers.append(said(steelyard.audit(*cut, target="y", proba="p", every=1_500, sample=1_500)))
    for answer in answers:
        # Beyond 4,096 distinct values these are estimates from hashes, the same in any order; the
        # sketched quantiles behind the triage are drawn by part, and nothing here rests on them.
        answer["findings"] = [f["id"] for f in answer["findings"]]
    close(*answers)


def test_files_of_every_kind_are_read_in_parts(tmp_path):
    frame = pl.DataFrame({"n": range(1_000), "t": [f"x{k % 7}" for k in range(1_000)]})
    frame[:300].write_parquet(tmp_path / "a-1.parquet")
    frame[300:].write_parquet(tmp_path / "a-2.parquet", row_group_size=64)
    frame.write_csv(tmp_path / "b.csv")
    frame.write_ndjson(tmp_path / "c.ndjson")
    frame.write_ipc(tmp_path / "d.arrow")
    frame.write_ipc_stream(tmp_path / "e.arrow")
    rows = np.array([0, 5, 127, 128, 299, 300, 301, 999])
    for name in ("a-*.parquet", "b.csv", "c.ndjson", "d.arrow", "e.arrow"):
        scratch = tmp_path / "scratch" / name[0]
        scratch.mkdir(parents=True)
        faults = []
        opened = open_source(str(tmp_path / name), "LIVE", faults, scratch=scratch, part_rows=128)
        assert not faults
        assert opened.rows == 1_000 == count_rows(str(tmp_path / name))
        assert all(p.rows <= 128 for p in opened.parts)
        assert sum(p.rows for p in opened.parts) == 1_000
        assert gather(opened, rows, Threads().map).equals(frame[rows])
        assert pl.concat([opened.read(p) for p in opened.parts]).equals(frame)


def test_sums_of_parts_join_in_any_order_and_survive_json(monkeypatch, small_parts):
    train, live = tables(n=1_000, n_live=1_600)
    kept = {LiveSums: [], TrainSums: []}
    monkeypatch.setattr(pipeline, "make_engine", lambda *_: _Recording(kept))
    steelyard.audit(train, live, target="y", proba="p", labels="y", every=700, sample=900)
    for kind, parts in kept.items():
        assert len(parts) > 2
        forwards = reduce(lambda a, b: a.merge(b), parts)
        nested = parts[0].merge(reduce(lambda a, b: a.merge(b), parts[1:]))
        close(_numbers(forwards), _numbers(nested))
        backwards = reduce(lambda a, b: a.merge(b), reversed(parts))
        close(_numbers(forwards), _numbers(backwards))
        again = kind.from_dict(json.loads(json.dumps(forwards.to_dict())))
        assert again.to_dict() == forwards.to_dict()
        for damaged in ({}, {**forwards.to_dict(), "rows": "many"} | {"whole": None}, [1]):
            with pytest.raises(InputError):
                kind.from_dict(damaged)


class _Engine:
    """An engine of one thread."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


class _Recording(_Engine):
    """An engine that keeps what the parts summed to."""

    def __init__(self, kept):
        self.kept = kept

    def map(self, function, parts):
        for part in parts:
            result = function(part)
            if isinstance(result, tuple):
                self.kept[type(result[0])].append(result[0])
            yield result


def _numbers(totals):
    """Return the plain values, but for what hangs on the rows' order by its meaning."""
    plain = json.loads(json.dumps(totals.to_dict()))
    for _, profile in plain["profiles"]:
        for key in ("first", "last", "rising", "falling", "stream"):
            profile.pop(key)
    if "windows" in plain:
        plain["windows"].sort(key=lambda item: item[0])
    return plain


class _Interrupted(Exception):
    pass


class _Failing(_Engine):
    """An engine that fails after some parts of the scoring."""

    def __init__(self, after):
        self.after = after

    def map(self, function, parts):
        for part in parts:
            result = function(part)
            if isinstance(result, tuple):
                if self.after == 0:
                    raise _Interrupted
                self.after -= 1
            yield result


@pytest.mark.parametrize("after", [3, 9])
def test_an_interrupted_audit_goes_on_and_says_the_same(
    after, tmp_path, monkeypatch, small_parts, kept_every_part
):
    train, live = tables(n=1_600, n_live=2_500)
    train.write_parquet(tmp_path / "train.parquet")
    live.write_parquet(tmp_path / "live.parquet")
    question = {"target": "y", "proba": "p", "every": 700, "sample": 1_200, "work": tmp_path / "work"}
    paths = str(tmp_path / "train.parquet"), str(tmp_path / "live.parquet")
    straight = steelyard.audit(*paths, **question | {"work": tmp_path / "other"})
    make = pipeline.make_engine
    monkeypatch.setattr(pipeline, "make_engine", lambda *_: _Failing(after))
    with pytest.raises(_Interrupted):
        steelyard.audit(*paths, **question)
    counted = _Counting(make("local"))
    monkeypatch.setattr(pipeline, "make_engine", lambda *_: counted)
    resumed = steelyard.audit(*paths, **question, resume=True)
    assert said(resumed) == said(straight)
    for name, table in straight.row_tables.items():
        assert resumed.row_tables[name].collect().equals(table.collect())
    total = -(-1_600 // 397) - (-2_500 // 397)
    assert counted.scored == total - after


@pytest.fixture
def kept_every_part(monkeypatch):
    """Write the sums after every part, however long that takes."""
    monkeypatch.setattr(spool, "_MOST_OF_TIME", 1e9)


class _Counting(_Engine):
    def __init__(self, engine):
        self.engine, self.scored = engine, 0

    def map(self, function, parts):
        for result in self.engine.map(function, parts):
            self.scored += isinstance(result, tuple)
            yield result


def test_what_has_changed_or_is_damaged_is_not_resumed(tmp_path, monkeypatch, small_parts):
    train, live = tables(n=500, n_live=1_500)
    train.write_parquet(tmp_path / "train.parquet")
    live.write_parquet(tmp_path / "live.parquet")
    question = {"target": "y", "proba": "p", "sample": 1_000, "work": tmp_path / "work"}
    paths = str(tmp_path / "train.parquet"), str(tmp_path / "live.parquet")
    monkeypatch.setattr(pipeline, "make_engine", lambda *_: _Failing(2))
    with pytest.raises(_Interrupted):
        steelyard.audit(*paths, **question)
    with pytest.raises(InputError, match="the options changed"):
        steelyard.audit(*paths, **question, seed=5, resume=True)
    state = tmp_path / "work" / "live.json"
    good = state.read_text()
    for bad in ("{", "[]", '{"parts": 1}', good[: len(good) // 2], good.replace('"profiles"', '"other"')):
        state.write_text(bad)
        with pytest.raises(InputError, match=re.escape("leave out --resume")):
            steelyard.audit(*paths, **question, resume=True)
    state.write_text(good)
    (tmp_path / "work" / "live-000000.parquet").unlink()
    with pytest.raises(InputError, match="is gone"):
        steelyard.audit(*paths, **question, resume=True)
    live.head(1_400).write_parquet(tmp_path / "live.parquet")
    with pytest.raises(InputError, match="LIVE changed"):
        steelyard.audit(*paths, **question, resume=True)


def test_a_run_is_told_from_another_by_what_its_options_hold(tmp_path):
    # Long arrays print alike, and so do two fits of one model: neither may pass for the other.
    labels = np.zeros(5_000)
    changed = labels.copy()
    changed[2_500] = 1
    assert str(labels) == str(changed)
    X = np.arange(10.0)[:, None]
    fits = [LinearRegression().fit(X, y) for y in (X[:, 0], -X[:, 0])]
    assert str(fits[0]) == str(fits[1])
    for one, other in ((labels, changed), fits, (("a",), ("b",)), ("y", "z"), (0.1, 0.2), (None, "y")):
        assert told_apart(one) == told_apart(copy.deepcopy(one)) != told_apart(other)
    file = tmp_path / "model.joblib"
    file.write_text("one")
    before = told_apart(file)
    file.write_text("another")
    assert before != told_apart(str(file)) == told_apart(file)


BAD = {
    "infinite": (
        lambda t, v: (t, v.with_columns(a=_at(v["a"], float("inf")))),
        "'a' in LIVE holds 1 infinite",
    ),
    "no time": (lambda t, v: (t, v.with_columns(day=_at(v["day"], None))), "time column 'day' in LIVE: 1 of"),
    "no label": (lambda t, v: (t, v.with_columns(y=_at(v["y"].cast(pl.Float64), None))), "labels: 1 of"),
    "no output": (lambda t, v: (t, v.with_columns(p=_at(v["p"], None))), "'p' in LIVE: 1 values are missing"),
    "column gone": (lambda t, v: (t, v.drop("c")), "column 'c' of TRAIN is missing in LIVE"),
}


def _at(series, value):
    """Put a value into one row, which the sample of these tests does not hold."""
    out = series.to_list()
    out[1_234] = value
    return pl.Series(series.name, out, dtype=series.dtype)


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_that_the_sample_does_not_hold_are_told(name, small_parts):
    spoil, words = BAD[name]
    train, live = spoil(*tables(n=400, n_live=3_000))
    with pytest.raises(InputError, match=re.escape(words)):
        steelyard.audit(train, live, target="y", proba="p", labels="y", time="day", every="month", sample=500)


def test_classes_that_the_sample_does_not_hold_are_left_out_and_told(small_parts):
    train, live = tables(n=3_000, n_live=1_200)
    words = train["y"].replace_strict({0: "no", 1: "yes"}).to_list()
    words[77] = "perhaps"
    words[78] = None
    train = train.with_columns(y=pl.Series(words))
    result = steelyard.audit(train, live, target="y", proba="p", sample=1_000)
    assert result.rows["train"] == 2_998
    texts = {f.id: f.text for f in result.findings}
    assert "In 1 row of 3,000 TRAIN's target" in texts["rare-class-left-out"]
    assert "missing in 1 rows of TRAIN" in texts["missing-target"]
    assert result.row_tables["weights"].collect()["weight"].null_count() == 2


_COMMAND = """
import sys
from steelyard.auditing.parts import opening, spool
opening.PART_ROWS, spool._MOST_OF_TIME = 211, 1e9
from steelyard.cli import main
main()
"""


def test_the_command_can_be_killed_and_resumed(tmp_path):
    train, live = tables(n=1_200, n_live=12_000)
    train.write_parquet(tmp_path / "train.parquet")
    live.write_csv(tmp_path / "live.csv")
    command = [sys.executable, "-c", _COMMAND, "audit", "train.parquet", "live.csv", "--target", "y"]
    command += ["--proba", "p", "--sample", "1000", "--json", "a.json"]
    killed = subprocess.Popen([*command, "--out", "report"], cwd=tmp_path)
    partial = tmp_path / "report.partial"
    waited = time.monotonic() + 120
    while not (partial / "live.json").exists() and killed.poll() is None and time.monotonic() < waited:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "a.json").exists()
    subprocess.run([*command, "--out", "report", "--resume"], cwd=tmp_path, check=True)
    resumed = json.loads((tmp_path / "a.json").read_text())
    assert not partial.exists()
    subprocess.run([*command, "--out", "other"], cwd=tmp_path, check=True)
    straight = json.loads((tmp_path / "a.json").read_text())
    for audit in (resumed, straight):
        audit.pop("seconds")
    assert resumed == straight
    for name in ("weights", "predictions"):
        a, b = (pl.read_parquet(tmp_path / out / f"{name}.parquet") for out in ("report", "other"))
        assert a.equals(b)
