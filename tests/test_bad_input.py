"""Bad input through the command line: one clear line a fault, the right exit code, nothing written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from tests.command_line import invoke

N = 120


def table(seed: int = 0, n: int = N) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    return pl.DataFrame(
        {
            "a": a,
            "b": b,
            "color": rng.choice(["red", "blue"], n),
            "y": (a + rng.logistic(size=n) > 0).astype(int),
        }
    )


TRAIN, LIVE = table(0), table(1).drop("y")


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Run an audit that must fail; return the lines it says. Tables not given are good ones."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, train=TRAIN, live=LIVE, code: int = 2) -> list[str]:
        paths = []
        for name, given in (("train.csv", train), ("live.csv", live)):
            if isinstance(given, pl.DataFrame):
                given.write_csv(name)
            elif isinstance(given, bytes):
                Path(name).write_bytes(given)
            paths.append(given if isinstance(given, str) else name)
        target = () if "--target" in words else ("--target", "y")
        before = set(tmp_path.iterdir())
        done = invoke("audit", *paths, *target, "--seed", "1", *words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.output
        if code == 2:
            assert set(tmp_path.iterdir()) == before
            assert done.stdout == ""
        said = done.stderr.splitlines()
        assert all(line.startswith("steelyard: ") for line in said), said
        assert "Traceback" not in done.output
        return said

    return run


def only(said: list[str]) -> str:
    assert len(said) == 1, said
    return said[0]


# Files ---------------------------------------------------------------------------


def test_files_that_are_missing_are_told_together(lines):
    said = lines(train="nowhere.csv", live="none-*.parquet")
    assert said[0] == "steelyard: TRAIN: no file 'nowhere.csv'; check the path"
    assert said[1] == "steelyard: LIVE: no file matches 'none-*.parquet'; check the pattern"


def test_unreadable_file(lines, monkeypatch):
    # Root may read anything, so the refusal is played.
    real = Path.open

    def refuse(self, *args, **kwargs):
        if self.name == "train.csv" and args[:1] == ("rb",):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read (Permission denied)" in only(lines())


def test_directory(lines, tmp_path):
    (tmp_path / "folder").mkdir()
    assert "holds no table file; give one that holds CSV" in only(lines(train="folder"))


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_file(lines, content):
    assert "'train.csv' is empty" in only(lines(train=content))


def test_header_without_rows(lines):
    assert "LIVE: 'live.csv' has no rows" in only(lines(live=b"a,b,color\n"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", "binary data"),
        ("x.parquet", b"this is no parquet file at all", "not a readable Parquet table"),
        ("x.parquet", b"PAR1" + b"\x00" * 60 + b"PAR1", "not a readable Parquet table"),
        ("x.arrow", b"ARROW1 but then something else", "not a readable Arrow table"),
        ("x.feather", b"something else", "not a readable Arrow table"),
        ("x.ndjson", b"just words\n", "not a readable NDJSON table"),
        ("x.csv", b"a,b\n1,2\n1,2,3,4\n", "not a readable CSV table"),
        ("x.xlsx", b"PK\x03\x04", "not of a known format"),
    ],
)
def test_not_a_table(lines, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    line = only(lines(train=name))
    assert said in line
    assert name in line


@pytest.mark.parametrize("where", ["header", "late"])
def test_wrong_encoding(lines, where):
    rows = ["1,x,0"] * 200
    header = "a,größe,y" if where == "header" else "a,size,y"
    if where == "late":
        rows[150] = "1,größe,0"
    said = only(lines(train="\n".join([header, *rows]).encode("latin-1")))
    assert f"not UTF-8 (line {1 if where == 'header' else 152};" in said
    assert "iconv -f WINDOWS-1252" in said


def test_utf16(lines):
    assert "UTF-16" in only(lines(train=TRAIN.write_csv().encode("utf-16")))


def test_duplicate_columns(lines):
    assert "more than one column named 'a', 'b'" in only(lines(train=b"a,b,a,b,y\n1,2,3,4,0\n"))


def test_files_of_a_glob_with_different_columns(lines, tmp_path):
    TRAIN.write_csv(tmp_path / "part1.csv")
    TRAIN.drop("b").write_csv(tmp_path / "part2.csv")
    assert "different columns ('b')" in only(lines(train="part*.csv"))


# Target --------------------------------------------------------------------------


def test_target_missing_from_train_shows_what_is_there(lines):
    said = lines("--target", "z", live=LIVE.with_columns(y=pl.lit(0)))
    assert only(said) == "steelyard: target 'z' is not a column of TRAIN (a, b, color, y); check the name"


def test_target_constant(lines):
    assert "target 'y' has the single value 1" in only(lines(train=TRAIN.with_columns(y=pl.lit(1))))


def test_target_all_missing(lines):
    empty = TRAIN.with_columns(y=pl.lit(None, dtype=pl.Int64))
    assert "target 'y' is missing in every row" in only(lines(train=empty))


def test_too_many_classes(lines):
    many = TRAIN.with_columns(y=pl.format("class {}", pl.int_range(N)))
    assert f"has {N} classes; at most 50" in only(lines(train=many))


def test_infinite_target(lines, tmp_path):
    train = TRAIN.with_columns(y=pl.Series([np.inf, *range(N - 1)]))
    train.write_parquet(tmp_path / "t.parquet")
    assert "target 'y' holds infinite values" in only(lines(train="t.parquet"))


# Columns -------------------------------------------------------------------------


def test_live_lacks_a_feature(lines):
    said = only(lines(live=LIVE.drop("b")))
    assert said == (
        "steelyard: column 'b' of TRAIN is missing in LIVE; add it, or exclude it if the model does "
        "not use it"
    )


def test_live_has_another_type(lines):
    said = only(lines(live=LIVE.with_columns(b=pl.lit("tall"))))
    assert "column 'b' is a number in TRAIN but text in LIVE (such as 'tall')" in said


def test_infinities(lines, tmp_path):
    LIVE.with_columns(a=pl.lit(1.0) / 0).write_parquet(tmp_path / "l.parquet")
    assert f"column 'a' in LIVE holds {N} infinite values" in only(lines(live="l.parquet"))


def test_infinities_written_as_words(lines):
    assert "infinite values" in only(lines(live=LIVE.with_columns(a=pl.Series([-np.inf] + [0.5] * (N - 1)))))


def test_excluded_column_that_is_nowhere(lines):
    assert "excluded column 'z' is in neither table" in only(lines("--exclude", "z"))


def test_few_rows(lines):
    said = lines(train=TRAIN.head(49), live=LIVE.head(3))
    assert said[0].startswith("steelyard: TRAIN has 49 usable rows; at least 50")
    assert said[1].startswith("steelyard: LIVE has 3 usable rows; at least 50")


def test_nothing_left_to_compare(lines):
    assert "no column is left" in only(lines("--exclude", "a", "b", "color"))


# Output of the model, labels -------------------------------------------------------


def with_score(values) -> pl.DataFrame:
    return LIVE.with_columns(s=pl.Series(values))


GOOD = TRAIN.with_columns(s=pl.lit(0.5))


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (with_score([1.2] + [0.5] * (N - 1)), "1 values lie outside [0, 1] (first row 0: 1.2)"),
        (with_score([-0.1] * N), f"{N} values lie outside [0, 1]"),
        (with_score([None] + [0.5] * (N - 1)), "1 values are missing"),
        (with_score(["high"] * N), "does not hold numbers"),
        (LIVE, "output column 's' is missing in LIVE"),
    ],
)
def test_bad_probabilities(lines, live, said):
    assert said in only(lines("--proba", "s", train=GOOD, live=live))


def test_wrong_number_of_probabilities(lines):
    three = TRAIN.with_columns(y=pl.Series(["p", "q", "r"] * 40), s=pl.lit(0.5), t=pl.lit(0.5))
    said = only(lines("--proba", "s", "t", train=three, live=LIVE.with_columns(s=pl.lit(0.5), t=pl.lit(0.5))))
    assert "2 probability columns were given for 3 classes" in said


def test_predictions_of_an_unknown_class(lines):
    said = only(
        lines("--prediction", "s", train=TRAIN.with_columns(s=pl.lit(1)), live=LIVE.with_columns(s=pl.lit(7)))
    )
    assert "no class of TRAIN's target ('7'; TRAIN has 0, 1)" in said


def test_labels_of_the_wrong_length(lines, tmp_path):
    TRAIN.select("y").head(N - 1).write_csv(tmp_path / "labels.csv")
    said = only(lines("--labels", "labels.csv"))
    assert said.startswith(f"steelyard: labels: {N - 1} values for {N} rows of LIVE")


def test_labels_that_are_nowhere(lines):
    assert "neither a column of LIVE nor a file" in only(lines("--labels", "answer"))
    assert "labels: no file 'answer.csv'" in only(lines("--labels", "answer.csv"))


def test_labels_of_unknown_classes_and_of_many_columns(lines, tmp_path):
    pl.DataFrame({"y": ["maybe"] * N}).write_csv(tmp_path / "odd.csv")
    assert "'maybe'" in only(lines("--labels", "odd.csv"))
    pl.DataFrame({"p": [0] * N, "q": [1] * N}).write_csv(tmp_path / "two.csv")
    assert "none is named 'y'" in only(lines("--labels", "two.csv"))


def test_positive_class_that_is_none(lines):
    assert "positive class 'maybe'" in only(lines("--positive", "maybe"))


def test_windows_without_time_and_unknown_ones(lines):
    assert "need a time column" in only(lines("--every", "day"))
    assert "neither a number of rows nor one of" in only(lines("--every", "decade"))
    assert "time column 't' is not a column of LIVE" in only(lines("--time", "t", "--every", "day"))


# Models ------------------------------------------------------------------------------


def test_model_that_cannot_take_the_columns(lines, tmp_path):
    named = TRAIN.select("a", pl.col("b").alias("height")).to_pandas()
    joblib.dump(LogisticRegression().fit(named, TRAIN["y"].to_numpy()), tmp_path / "named.joblib")
    assert "TRAIN lacks 'height'; LIVE lacks 'height'" in only(lines("--model", "named.joblib"))
    words = TRAIN.select("a", "b", "y")
    joblib.dump(LogisticRegression().fit(words.to_numpy(), TRAIN["y"].to_numpy()), tmp_path / "text.joblib")
    assert "cannot take the columns of TRAIN" in only(lines("--model", "text.joblib"))


def test_model_that_is_no_model(lines, tmp_path):
    assert "model 'none.joblib' is not a file" in only(lines("--model", "none.joblib"))
    (tmp_path / "junk.joblib").write_bytes(b"junk")
    assert "cannot be loaded" in only(lines("--model", "junk.joblib"))
    joblib.dump({"not": "a model"}, tmp_path / "dict.joblib")
    assert "a dict without predict()" in only(lines("--model", "dict.joblib"))


# Everything at once ------------------------------------------------------------------


def test_all_faults_are_listed_together(lines):
    said = lines(
        "--proba", "s", "--exclude", "q",
        train=TRAIN.head(30).with_columns(b=pl.lit("tall")),
        live=LIVE.drop("a"),
    )  # fmt: skip
    assert len(said) == 5
    for part in ("'s' is missing in TRAIN and LIVE", "'q'", "'a'", "'b'", "30 usable rows"):
        assert any(part in line for line in said), part


# Output ------------------------------------------------------------------------------


def test_unwritable_output_is_told_before_reading(lines, tmp_path):
    (tmp_path / "file").write_text("mine")
    said = lines("--out", "file/report", "--json", "none/answer.json", train="nowhere.csv")
    assert len(said) == 2
    assert "--out 'file/report'" in said[0]
    assert "--json 'none/answer.json'" in said[1]


# What is fine, or has no answer --------------------------------------------------------


def test_unseen_categories_are_no_fault(lines):
    live = LIVE.with_columns(color=pl.Series(["green"] * 6 + ["red", "blue"] * 57))
    lines("--quiet", live=live, code=0)
    assert "new-category" in Path("steelyard-report/audit.json").read_text()


def test_no_overlap_is_inconclusive_with_the_reason(lines):
    far = LIVE.with_columns(pl.col("a") * 0.1 + 1000, pl.col("b") * 0.1 - 500)
    said = lines("--quiet", live=far, code=3)
    assert any(line.startswith("steelyard: inconclusive: ") for line in said)
    assert "inconclusive" in Path("steelyard-report/audit.json").read_text()
