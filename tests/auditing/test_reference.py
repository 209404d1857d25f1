"""The reference profile: the same audit without TRAIN, nothing kept that should not be, damage refused."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import steelyard
from steelyard.auditing.parts.source import Frame
from steelyard.auditing.profiles import sealed
from steelyard.auditing.profiles.parquet_footer import is_uncompressed
from steelyard.auditing.profiles.reference import FORMAT, Reference, load_reference
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.errors import InputError


def table(n: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, n)
    p = 1 / (1 + np.exp(-x))
    return pl.DataFrame(
        {
            "x": pl.Series(x).scatter(np.arange(0, n, 9), None),
            "color": rng.choice(["red", "blue", "grün"], n, p=[0.5, 0.3, 0.2]),
            "when": pl.Series(
                [dt.date(2024, 1, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 90, n)]
            ),
            "score": p,
            "y": (rng.random(n) < p).astype(int),
        }
    )


def with_secrets(frame: pl.DataFrame, word: str) -> pl.DataFrame:
    """Add columns of which no value may be kept: an identifier, free text, and one to exclude."""
    n = frame.height
    return frame.with_columns(
        customer_id=pl.Series([f"{word}-id-{k}" for k in range(n)]),
        remark=pl.Series([f"{word} wrote {k * 7919 % 10007} words" for k in range(n)]),
        diagnosis=pl.Series([f"{word}-diagnosis-{k % 5}" for k in range(n)]),
    )


TRAIN, LIVE = table(600, 0), table(500, 1, shift=0.4).drop("y")
QUESTION = {"target": "y", "proba": "score"}


def plain(result: steelyard.AuditResult) -> dict:
    """Return an audit's JSON without what must differ: the seconds, and that TRAIN is a profile."""
    audit = result.to_dict()
    del audit["seconds"]
    audit["findings"] = [f for f in audit["findings"] if f["id"] != "profile"]
    return audit


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "ref.steelyard"
    return steelyard.profile(TRAIN, **QUESTION).save(path)


# The audit against it ------------------------------------------------------------


def test_a_profile_that_holds_all_rows_gives_the_same_json(saved):
    result = steelyard.audit(saved, LIVE, seed=3)
    assert [f.id for f in result.findings].count("profile") == 1
    assert plain(result) == plain(steelyard.audit(TRAIN, LIVE, **QUESTION, seed=3))


def test_the_same_json_with_columns_left_out_and_rows_without_a_target(tmp_path):
    train, live = with_secrets(TRAIN, "a"), with_secrets(LIVE, "b")
    train = train.with_columns(y=pl.when(pl.int_range(pl.len()) % 11 == 5).then(None).otherwise("y"))
    live = live.drop("remark")
    reference = steelyard.profile(train, target="y", prediction=None, exclude=["diagnosis", "score"])
    assert (reference.rows, reference.unlabelled) == (545, 55)
    reference.save(tmp_path / "r.steelyard")
    ours = plain(steelyard.audit(tmp_path / "r.steelyard", live, metrics=["accuracy"]))
    theirs = plain(
        steelyard.audit(train, live, target="y", exclude=["diagnosis", "score"], metrics=["accuracy"])
    )
    # What is said of left-out columns comes after what is said of the others.
    for audit in (ours, theirs):
        audit["findings"].sort(key=json.dumps)
    assert ours == theirs
    notes = {note["name"]: note for note in ours["data"]}
    assert notes["customer_id"]["issues"] == ["identifier"]
    assert notes["remark"]["issues"] == ["free text", "missing in LIVE"]
    assert notes["diagnosis"]["distinct_train"] == 5


def without_moves(audit: dict) -> dict:
    """Return an audit without what hangs on how the relation moved."""
    moved = {"drift_low", "drift_high", "worth_labels"}

    def kept(rows):
        return [{key: value for key, value in row.items() if key not in moved} for row in rows]

    return {
        **audit,
        "relation": None,
        "advice": [],
        "performance": kept(audit["performance"]),
        "windows": [{**w, "performance": kept(w["performance"])} for w in audit["windows"]],
        "findings": [f for f in audit["findings"] if not f["id"].startswith(("backtest", "time-"))],
    }


def test_the_same_json_of_a_regression_whose_time_column_looks_like_an_identifier(tmp_path):
    def timed(frame: pl.DataFrame, start: int) -> pl.DataFrame:
        n = frame.height
        seconds = pl.Series([start + 61 * k for k in range(n)])
        return frame.select(
            "x", "color", seconds=seconds, guess=pl.col("score") * 3, y=pl.col("score") * 3 + 0.1
        )

    train, live = timed(TRAIN, 10**9), timed(LIVE, 2 * 10**9).drop("y")
    reference = steelyard.profile(train, target="y", prediction="guess")
    assert [column.name for column in reference.withheld] == ["seconds"]
    options = {"time": "seconds", "every": 250, "metrics": ["mae"]}
    ours = plain(steelyard.audit(reference.save(tmp_path / "r.steelyard"), live, **options))
    theirs = plain(steelyard.audit(train, live, target="y", prediction="guess", **options))
    # The profile keeps no times of TRAIN, so that only TRAIN itself tells how the relation moved over them.
    assert (ours["relation"]["source"], theirs["relation"]["source"]) == ("record", "time")
    assert without_moves(ours) == without_moves(theirs)


def test_of_more_rows_than_are_kept_the_counts_and_the_figure_carried_over_are_those_of_all():
    train = table(3000, 2).with_columns(
        # So rare that the sample may well have none.
        color=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("odd")).otherwise("color")
    )
    reference = steelyard.profile(train, **QUESTION, sample=500, seed=5)
    assert "odd" not in reference.sample["color"].to_list()
    live = LIVE.with_columns(color=pl.when(pl.int_range(pl.len()) < 9).then(pl.lit("odd")).otherwise("color"))
    result = steelyard.audit(reference, live, metrics=["auc", "log_loss"])
    assert result.rows == {"train": 3000, "live": 500}
    naive = {row.metric: row.naive for row in result.performance}
    # The AUC takes scores of one of 500 bins as tied: half of one pair in 500 at most.
    assert naive["auc"] == pytest.approx(roc_auc_score(train["y"], train["score"]), abs=1 / 1000)
    assert naive["log_loss"] == pytest.approx(log_loss(train["y"], train["score"]), abs=1e-12)
    notes = {note.name: note for note in result.data}
    assert notes["x"].missing_train == train["x"].null_count() / 3000
    assert notes["color"].distinct_train == 4
    assert notes["score"].distinct_train == 3000
    # All rows know the category that the sample lacks.
    assert "new-category" not in {f.id for f in result.findings}
    sampled = steelyard.audit(reference.sample, live, target="y", proba="score", metrics=["auc", "log_loss"])
    assert "new-category" in {f.id for f in sampled.findings}
    estimate = {row.metric: row.live_estimate for row in sampled.performance}
    assert {row.metric: row.live_estimate for row in result.performance} == estimate
    assert result.attribution.total == pytest.approx(estimate["auc"] - naive["auc"])


def test_live_may_be_larger_than_memory(saved):
    live = table(2500, 8, shift=0.4).drop("y")
    result = steelyard.audit(saved, Frame(live, 700), sample=1000, metrics=["auc"], every=500)
    assert result.rows == {"train": 600, "live": 2500}
    assert {"profile", "sampled"} <= {f.id for f in result.findings}
    whole = steelyard.audit(TRAIN, live, **QUESTION, metrics=["auc"])
    row, other = result.performance[0], whole.performance[0]
    assert row.naive == pytest.approx(other.naive, abs=1e-12)
    # Both are estimates of one number, with nearly the same rows: far closer than an interval is wide.
    assert abs(row.live_estimate - other.live_estimate) < 0.5 * (row.high - row.low)
    assert len(result.windows) == 5
    few = steelyard.profile(table(3000, 2), **QUESTION, sample=500)
    streamed = steelyard.audit(few, Frame(live, 700), sample=1000, metrics=["log_loss"])
    train = table(3000, 2)
    assert streamed.performance[0].naive == pytest.approx(log_loss(train["y"], train["score"]), abs=1e-12)
    assert streamed.rows["train"] == 3000
    assert next(note for note in streamed.data if note.name == "x").missing_train == pytest.approx(
        train["x"].null_count() / 3000
    )


def test_a_model_takes_the_place_of_the_output_in_columns():
    train = TRAIN.select("score", "y", a=pl.col("x").fill_null(0.0))
    live = LIVE.select(a=pl.col("x").fill_null(0.0))
    model = LogisticRegression().fit(train.select("a").to_pandas(), train["y"])
    result = steelyard.audit(steelyard.profile(train, **QUESTION), live, model=model, metrics=["auc"])
    other = steelyard.audit(train.drop("score"), live, target="y", model=model, metrics=["auc"])
    assert result.performance == other.performance


def test_another_question_than_the_profile_s_is_refused(saved):
    with pytest.raises(InputError) as told:
        steelyard.audit(saved, LIVE, target="x", proba=["a", "b"], positive=0)
    assert [fault.split(";")[0] for fault in told.value.faults] == [
        "TRAIN is a profile made with --target y, not --target x",
        "TRAIN is a profile made with --proba score, not --proba a b",
        "TRAIN is a profile made with no --positive, not --positive 0",
    ]
    with pytest.raises(InputError, match="no target is named"):
        steelyard.audit(TRAIN, LIVE)


# How it is made ------------------------------------------------------------------


def test_the_sample_is_the_same_however_the_rows_are_cut(tmp_path):
    frame = table(4000, 3)
    reference = steelyard.profile(frame, **QUESTION, sample=700, seed=1)
    for number, part in enumerate(frame.iter_slices(1100)):
        part.write_csv(tmp_path / f"part{number}.csv")
    for other in (Frame(frame, 333), str(tmp_path / "part*.csv")):
        again = steelyard.profile(other, **QUESTION, sample=700, seed=1)
        assert again.sample["score"].to_list() == reference.sample["score"].to_list()
        assert (again.rows, again.sums.value("auc")) == (4000, pytest.approx(reference.sums.value("auc")))
    numbers = np.flatnonzero(np.isin(frame["score"], reference.sample["score"]))
    assert len(numbers) == 700
    assert frame["score"][numbers].to_list() == reference.sample["score"].to_list()
    assert steelyard.profile(frame, **QUESTION, sample=700, seed=2).sample["score"].to_list() != (
        reference.sample["score"].to_list()
    )


def test_the_sample_is_uniform():
    """Rows by place, over seeds: a chi-squared statistic of 20 cells."""
    frame = pl.DataFrame({"row": np.arange(2000) / 7, "z": np.arange(2000) % 3, "y": np.arange(2000) % 2})
    drawn = np.concatenate(
        [
            steelyard.profile(frame, target="y", sample=200, seed=s).sample["row"].to_numpy() * 7
            for s in range(20)
        ]
    )
    counts = np.bincount((np.rint(drawn) // 100).astype(int), minlength=20)
    # Without replacement within a seed, the counts vary a little less than the law says: the test is mild.
    statistic = ((counts - 200) ** 2 / 200).sum()
    assert chi2.ppf(1e-4, 19) < statistic < chi2.ppf(1 - 1e-4, 19)


def test_no_more_than_a_part_is_read_at_once():
    class Watched(Frame):
        most = 0

        def read(self, part):
            Watched.most = max(Watched.most, part.rows)
            return super().read(part)

    reference = steelyard.profile(Watched(table(5000, 4), 250), **QUESTION, sample=300)
    assert (Watched.most, reference.sample.height) == (250, 300)


def test_profiles_of_columns_are_those_of_all_rows():
    frame = table(3000, 6)
    reference = steelyard.profile(Frame(frame, 512), **QUESTION, sample=100)
    columns = {column.name: column for column in reference.columns}
    assert list(columns) == frame.columns
    x = columns["x"].profile
    assert (x.rows, x.missing, x.low, x.high) == (3000, 334, frame["x"].min(), frame["x"].max())
    assert x.mean == pytest.approx(frame["x"].mean())
    assert columns["color"].profile.values == dict(frame["color"].value_counts().iter_rows())
    assert columns["score"].profile is None


def test_no_value_is_kept_of_identifiers_free_text_and_excluded_columns(tmp_path):
    frame = with_secrets(table(800, 9), "hush")
    path = steelyard.profile(frame, **QUESTION, exclude=["diagnosis"], sample=200).save(
        tmp_path / "r.steelyard"
    )
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    stored = pl.read_parquet(BytesIO(members.pop("sample.parquet")))
    assert stored.columns == ["x", "color", "when", "score", "y"]
    assert all(b"hush" not in content for content in members.values())
    assert b"hush" not in path.read_bytes()
    # The search would find what is kept.
    assert "grün".encode() in members["columns.json"]
    withheld = load_reference(path).withheld
    assert {c.name: c.issues for c in withheld} == {
        "customer_id": ("identifier",),
        "remark": ("free text",),
        "diagnosis": ("excluded",),
    }
    assert [c.distinct for c in withheld] == [800, 800, 5]
    assert all(c.profile is None for c in withheld)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"target": "z"}, "target 'z' is not a column of TRAIN"),
        ({}, {"target": "y", "proba": ("score", "p")}, "output column 'p' is not a column of TRAIN"),
        ({}, {"target": "y", "exclude": "q"}, "excluded column 'q' is not a column of TRAIN"),
        ({}, {"target": "y", "sample": 3}, "a sample of 3 rows"),
        ({"y": pl.lit(None, dtype=pl.Int64)}, {"target": "y"}, "'y' is missing in every row of TRAIN"),
        ({"x": pl.lit(np.inf)}, {"target": "y"}, "'x' in TRAIN holds 600 infinite values"),
        ({"score": pl.col("score") * 2}, {"target": "y", "proba": "score"}, "lie outside [0, 1]"),
        ({"x": pl.concat_list("score", "score")}, {"target": "y"}, "column 'x' in TRAIN is of type List"),
    ],
)
def test_faults_of_train_are_told(change, options, said):
    with pytest.raises(InputError) as told:
        steelyard.profile(TRAIN.with_columns(**change), **options)
    assert said in told.value.faults[0]
    assert not any("LIVE" in fault for fault in told.value.faults)


def test_faults_that_the_sample_lacks_are_told_of_all_rows():
    frame = table(2000, 7)
    kept = set(steelyard.profile(frame, **QUESTION, sample=60).sample["score"])
    bad = next(k for k, value in enumerate(frame["score"]) if value not in kept)
    for column, value in (("x", np.inf), ("score", 7.0)):
        frame_with = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == bad).then(value).otherwise(pl.col(column)).alias(column)
        )
        with pytest.raises(InputError, match=rf"column '{column}' in TRAIN"):
            steelyard.profile(frame_with, **QUESTION, sample=60)


def test_a_class_that_no_sampled_row_has_is_told():
    frame = table(2000, 7).with_columns(y=pl.col("y").cast(pl.String)).drop("score")
    kept = steelyard.profile(frame, target="y", sample=100).sample["x"].to_list()
    odd = next(k for k, value in enumerate(frame["x"]) if value is not None and value not in kept)
    frame = frame.with_columns(y=pl.when(pl.int_range(pl.len()) == odd).then(pl.lit("2")).otherwise("y"))
    reference = steelyard.profile(frame, target="y", sample=100)
    assert (reference.rows, reference.unknown) == (1999, 1)
    result = steelyard.audit(reference, LIVE.drop("score"), metrics=["accuracy"])
    assert "rare-class-left-out" in {f.id for f in result.findings}


# The file ------------------------------------------------------------------------

TEXT = st.characters(exclude_categories=("Cs",))
NAMES = st.text(TEXT, max_size=12).filter(lambda name: name not in ("y", "z"))
TYPES = {
    pl.Float64: st.floats(-1e38, 1e38),
    pl.Int64: st.integers(-(2**62), 2**62),
    pl.String: st.text(TEXT),
    pl.Categorical: st.sampled_from(["a", "b", "ü", ""]),
    pl.Date: st.dates(),
    pl.Datetime("us"): st.datetimes(dt.datetime(1900, 1, 1)),
    pl.Time: st.times(),
    pl.Boolean: st.booleans(),
    pl.Null: st.none(),
}


@st.composite
def columns(draw):
    dtype = draw(st.sampled_from(list(TYPES)))
    some = draw(st.lists(st.none() | TYPES[dtype], min_size=10, max_size=10))
    return pl.Series(some * 6, dtype=dtype)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    drawn=st.dictionaries(NAMES, columns(), max_size=4),
    sample=st.integers(50, 70),
    target=st.sampled_from([["no", "yes"], [True, False], [1, 0], [0.5, 2.5, 7.5]]),
)
def test_a_profile_comes_back_as_it_was_saved(drawn, sample, target, tmp_path_factory):
    frame = pl.DataFrame({**drawn, "z": np.arange(60) % 4 / 3, "y": (target * 30)[:60]})
    reference = steelyard.profile(frame, target="y", sample=sample, seed=3)
    path = tmp_path_factory.mktemp("saved") / "r.steelyard"
    again = load_reference(reference.save(path))
    assert again.sample.schema == reference.sample.schema
    assert_frame_equal(again.sample, reference.sample)
    for name in vars(reference).keys() - {"sample"}:
        assert getattr(again, name) == getattr(reference, name), name


def test_the_same_rows_give_the_same_bytes(tmp_path):
    made = steelyard.profile(TRAIN, **QUESTION)
    paths = [
        replace(steelyard.profile(TRAIN, **QUESTION), created=made.created).save(tmp_path / f"{k}.steelyard")
        for k in "ab"
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def refused(path, said: str = "") -> str:
    with pytest.raises(InputError) as told:
        load_reference(path)
    (fault,) = told.value.faults
    assert said in fault
    assert str(path) in fault
    assert "; " in fault
    assert "\n" not in fault
    return fault


def test_a_file_cut_short_is_refused(saved, tmp_path):
    content = saved.read_bytes()
    path = tmp_path / "cut.steelyard"
    ends = {0, 1, 4, len(content) - 1, *np.random.default_rng(0).integers(1, len(content), 60).tolist()}
    for end in ends:
        path.write_bytes(content[:end])
        refused(path, "is no profile, or only part of one")
    path.write_bytes(content + b"x")
    refused(path, "is no profile")


def test_a_changed_byte_is_refused_wherever_it_is(saved, tmp_path):
    content = saved.read_bytes()
    path = tmp_path / "flipped.steelyard"
    rng = np.random.default_rng(1)
    inside = rng.integers(0, len(content), 300).tolist()
    for at in [*range(40), *range(len(content) - 400, len(content)), *inside]:
        changed = bytearray(content)
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        refused(path)


@pytest.mark.parametrize("kind", ["empty", "parquet", "csv", "zip", "directory", "nothing"])
def test_a_foreign_file_is_refused(kind, tmp_path):
    path = tmp_path / "other.steelyard"
    if kind == "directory":
        path.mkdir()
    elif kind == "parquet":
        TRAIN.write_parquet(path)
    elif kind == "csv":
        TRAIN.write_csv(path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.json", "{}")
    elif kind == "empty":
        path.write_bytes(b"")
    refused(path, "cannot be read" if kind in ("directory", "nothing") else "is no profile")


def resealed(saved, path, **changes):
    """Write the profile again with members changed, removed (None) or added, under a seal that fits."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        name = name.replace("__", ".")
        if callable(change):
            plain = json.loads(members[name])
            change = change(plain) or plain
            change = change if isinstance(change, bytes) else json.dumps(change).encode()
        members[name] = change
    sealed.write_sealed(path, {name: content for name, content in members.items() if content is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"manifest__json": lambda m: m.update(format=FORMAT + 1)}, "newer steelyard"),
        (
            {"manifest__json": lambda m: m.update(format=FORMAT + 1, more=1), "new__json": b""},
            "newer steelyard",
        ),
        ({"manifest__json": lambda m: m.update(format=0)}, "format cannot be so"),
        ({"manifest__json": lambda m: m.update(format=True)}, "that of something else"),
        ({"manifest__json": lambda m: m.update(magic="other")}, "that of something else"),
        ({"manifest__json": lambda m: m.update(rows=-1)}, "rows cannot be so"),
        ({"manifest__json": lambda m: m.update(rows=10)}, "a sample of 600 of 10 rows"),
        (
            {"manifest__json": lambda m: m.update(sample_rows=599)},
            "not the table that the manifest describes",
        ),
        ({"manifest__json": lambda m: m.update(target="score2")}, "the sample lacks score2"),
        ({"manifest__json": lambda m: m.update(proba="score")}, "proba cannot be so"),
        ({"manifest__json": lambda m: m.pop("seed") and None}, "were expected"),
        ({"manifest__json": b"[]"}, "holds something else"),
        ({"manifest__json": b"{"}, "is no JSON"),
        ({"manifest__json": b"[" * 100_000}, "is no JSON"),
        ({"manifest__json": b'{"rows": NaN}'}, "NaN is no number"),
        ({"manifest__json": None}, "manifest.json is missing"),
        ({"columns__json": None}, "not manifest.json"),
        ({"sums__json": None}, "not manifest.json"),
        ({"sample__parquet": None}, "not manifest.json"),
        ({"evil__pkl": b"\x80\x04."}, "evil.pkl"),
        ({"columns__json": b"[1]"}, "were expected"),
        ({"columns__json": lambda c: c[0].update(kind="odd")}, "kind cannot be so"),
        ({"columns__json": lambda c: c[0].update(missing=2)}, "missing cannot be so"),
        ({"columns__json": lambda c: c[0].update(profile={})}, "no column's profile"),
        ({"columns__json": lambda c: c[0]["profile"].update(values=[[[], 1]])}, "damaged"),
        ({"columns__json": lambda c: c.pop() and None}, "not those of the sample"),
        ({"columns__json": lambda c: c.append(c[0])}, "not those of the sample"),
        ({"sums__json": b'{"tables": []}'}, "no metric sums"),
        ({"sums__json": b'"x"'}, "holds something else"),
        ({"sample__parquet": b"PAR1 and no more"}, "damaged"),
        ({"manifest__json": b" " * (1 << 25)}, "would take"),
    ],
)
def test_a_seal_does_not_make_a_profile(saved, tmp_path, changes, said):
    refused(resealed(saved, tmp_path / "made.steelyard", **changes), said)


def reseal(path, body: bytes):
    """Write what a forger would: any content, under a checksum that fits."""
    path.write_bytes(body + sealed._SEAL + hashlib.sha256(body).hexdigest().encode())
    return path


def test_a_bomb_is_refused_before_it_is_unpacked(saved, tmp_path):
    buffer = BytesIO()
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.comment = archive.comment
        for name in archive.namelist():
            bomb.writestr(name, bytes(1 << 27) if name == "columns.json" else archive.read(name))
    path = reseal(tmp_path / "bomb.steelyard", buffer.getvalue()[: -sealed._TAIL])
    assert path.stat().st_size < 1 << 20
    refused(path, "columns.json would take 134,217,728 bytes")


def test_what_is_written_is_never_taken_for_a_bomb(tmp_path):
    path = tmp_path / "even.steelyard"
    members = {"a.json": b"0" * (1 << 27), "b.json": b"1" * 5000}
    sealed.write_sealed(path, members)
    with sealed.Sealed(path) as file:
        assert {name: file.read(name, 1 << 28) == members[name] for name in file.names} == {
            "a.json": True,
            "b.json": True,
        }


def test_a_wide_table_of_constants_comes_back(tmp_path):
    frame = pl.DataFrame(
        {f"c{j}": ["k"] * 60 for j in range(400)} | {"z": np.arange(60) / 7, "y": [0, 1] * 30}
    )
    reference = steelyard.profile(frame, target="y")
    assert load_reference(reference.save(tmp_path / "r.steelyard")).columns == reference.columns


def test_a_member_that_lies_about_its_size_is_refused(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        size = archive.getinfo("columns.json").file_size
    # Where the directory at the file's end tells the size.
    at = content.rindex(b"columns.json") - 22
    assert int.from_bytes(content[at : at + 4], "little") == size
    content[at : at + 4] = (size - 5).to_bytes(4, "little")
    refused(reseal(tmp_path / "lies.steelyard", bytes(content[: -sealed._TAIL])), "damaged")


def test_a_sample_without_a_column_is_refused(saved, tmp_path):
    buffer = BytesIO()
    load_reference(saved).sample.drop("x").write_parquet(buffer, compression="uncompressed")
    path = resealed(saved, tmp_path / "made.steelyard", sample__parquet=buffer.getvalue())
    refused(path, "not the table that the manifest describes")


def test_an_audit_refuses_a_damaged_profile(saved, tmp_path):
    path = tmp_path / "cut.steelyard"
    path.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(InputError, match="is no profile"):
        steelyard.audit(path, LIVE)


def test_saving_replaces_a_profile_and_nothing_else(saved, tmp_path, monkeypatch):
    reference = load_reference(saved)
    path = tmp_path / "r.steelyard"
    reference.save(path)
    replace(reference, seed=9).save(path)
    assert load_reference(path).seed == 9
    other = tmp_path / "mine.steelyard"
    other.write_text("mine")
    for wrong, said in (
        (other, "is no profile; remove it"),
        (tmp_path / "r.zip", "does not end in .steelyard"),
        (tmp_path / "none" / "r.steelyard", "there is no directory"),
    ):
        with pytest.raises(InputError, match=said):
            reference.save(wrong)
    assert other.read_text() == "mine"

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace(reference, seed=8).save(path)
    assert load_reference(path).seed == 9
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.steelyard", "r.steelyard"]


def test_a_profile_of_a_column_may_only_hold_what_is_documented():
    """The page for privacy officers lists every field that a column's profile has."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "profile.md").read_text(encoding="utf-8")
    fields = ColumnProfile("number").update(pl.Series([1.0])).to_dict()
    for name in fields:
        assert f"`{name}`" in page, name


def test_a_sample_that_claims_more_than_its_bytes_is_refused_before_it_is_read(saved, tmp_path, monkeypatch):
    """A few bytes can stand for gigabytes: compressed, or one text or number repeated."""
    sample = load_reference(saved).sample
    names, rows = sample.columns, sample.height
    long = pl.Series([f"{'z' * (1 << 21)}"] * rows)
    other = next(name for name in names if name != "score" and sample[name].dtype == pl.String)
    for frame, compression, said in (
        (sample, "zstd", "the sample is compressed"),
        (sample, "snappy", "the sample is compressed"),
        (sample.with_columns(long.alias(other)), "uncompressed", f"the texts of column '{other}' take more"),
    ):
        table = BytesIO()
        frame.select(names).write_parquet(table, compression=compression)
        assert len(table.getvalue()) < 1 << 23
        path = resealed(saved, tmp_path / "forged.steelyard", sample__parquet=table.getvalue())
        refused(path, said)
    refused(resealed(saved, tmp_path / "old.steelyard", manifest__json=lambda m: m.update(format=1)), "older")
    monkeypatch.setattr("steelyard.auditing.profiles.reference.MOST_CELLS", rows * len(names) - 1)
    refused(saved, "columns is more than")
    with pytest.raises(InputError, match=r"keep fewer rows \(--sample\)"):
        Reference.save(replace(steelyard.profile(TRAIN, target="y"), seed=1), tmp_path / "r.steelyard")


def test_a_footer_cut_anywhere_is_refused():
    table = BytesIO()
    pl.DataFrame({"a": [1, 2], "b": ["x", None]}).write_parquet(table, compression="uncompressed")
    content = table.getvalue()
    assert is_uncompressed(content)
    footer = int.from_bytes(content[-8:-4], "little")
    for cut in range(1, footer):
        kept = content[:-8][: len(content) - 8 - cut]
        with pytest.raises(ValueError, match=r"footer|Parquet"):
            is_uncompressed(kept + (footer - cut).to_bytes(4, "little") + b"PAR1")
