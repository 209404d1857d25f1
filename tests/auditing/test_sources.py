"""From any path or frame to the same table: whole, in parts, and as a profile."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

import steelyard
from steelyard.auditing.parts.opening import count_rows, open_source
from steelyard.auditing.profiles.reference import load_reference
from steelyard.auditing.profiles.sealed import Sealed, write_sealed
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.sources import load
from steelyard.errors import InputError
from tests.command_line import invoke

QUICK = {"target": "y", "metrics": ["accuracy"], "weighting": "none"}


def made(n=200, seed=0):
    r = np.random.default_rng(seed)
    x = r.normal(size=n)
    return pl.DataFrame(
        {
            "x": x,
            "z": r.normal(size=n),
            "k": r.choice(["a", "b", "c"], n),
            "y": (x + r.normal(size=n) > 0) * 1,
        }
    )


TRAIN, LIVE = made(), made(seed=1).drop("y")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Stand in an empty directory, so that names are short and patterns meet only the test's files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def columns(result):
    return {note.name: (note.kind, note.role) for note in result.data}


def both_ways(train, live, **options):
    """Audit whole tables and tables in parts: what they say of the columns is the same."""
    asked = {**QUICK, **options}
    whole = steelyard.audit(train, live, **asked)
    parts = steelyard.audit(train, live, **asked, sample=100)
    assert columns(whole) == columns(parts)
    return whole


def fault(train, live=LIVE, **options):
    """Return the lines that an audit is refused with, in parts as well."""
    asked = {**QUICK, **options}
    with pytest.raises(InputError) as whole:
        steelyard.audit(train, live, **asked)
    with pytest.raises(InputError) as parts:
        steelyard.audit(train, live, **asked, sample=100)
    assert whole.value.faults == parts.value.faults
    assert all("\n" not in line for line in whole.value.faults)
    return " ".join(whole.value.faults)


def read(source, dialect=PLAIN):
    """Read a table whole and in parts: they are the same."""
    faults = []
    whole = load(source, "TRAIN", faults, dialect)
    assert faults == []
    scratch = Path("scratch")
    scratch.mkdir(exist_ok=True)
    parts = open_source(source, "TRAIN", faults, scratch=scratch, part_rows=7, dialect=dialect)
    together = pl.concat([parts.read(part) for part in parts.parts])
    assert together.equals(whole)
    assert together.schema == whole.schema
    assert count_rows(source) == whole.height
    return whole


# Compressed files ------------------------------------------------------------------


def zstd(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


@pytest.mark.parametrize("packed", PACKERS)
def test_compressed_tables_are_read(packed):
    tabs = TRAIN.write_csv(separator="\t").encode()
    for name, content in (
        ("a.csv", TRAIN.write_csv().encode()),
        ("a.tsv", tabs),
        ("a.ndjson", TRAIN.write_ndjson().encode()),
    ):
        Path(f"{name}.{packed}").write_bytes(PACKERS[packed](content))
        assert read(f"{name}.{packed}").equals(TRAIN)
    content = TRAIN.write_csv().encode()
    Path("b1.csv").write_bytes(content)
    Path(f"b2.csv.{packed}").write_bytes(PACKERS[packed](content))
    assert read("b*").height == 400
    # Two members one after another, as parallel writers leave them.
    half = len(content) // 2
    Path(f"c.csv.{packed}").write_bytes(PACKERS[packed](content[:half]) + PACKERS[packed](content[half:]))
    if packed != "zst":
        assert read(f"c.csv.{packed}").equals(TRAIN)
    Path(f"d.csv.{packed}").write_bytes(PACKERS[packed](content)[:-40])
    assert "unpack it" in fault(f"d.csv.{packed}")


def test_the_command_reads_compressed_tables_and_a_name_may_lie():
    Path("t.csv.gz").write_bytes(gzip.compress(TRAIN.write_csv().encode()))
    Path("l.csv.gz").write_text(LIVE.write_csv())
    done = invoke("audit", "t.csv.gz", "l.csv.gz", "--target", "y", "--json", "a.json", "-q")
    assert done.exit_code == 0, done.stderr
    assert [c["name"] for c in json.loads(Path("a.json").read_text())["data"]] == ["x", "z", "k", "y"]


# Directories and keys ------------------------------------------------------------------


def hive(root, frame, *, write="write_parquet", suffix="parquet"):
    for i, region in enumerate(("eu", "us", "__HIVE_DEFAULT_PARTITION__")):
        at = Path(root, f"region={region}", f"year={2020 + i}")
        at.mkdir(parents=True)
        getattr(frame[i * 60 : i * 60 + 60], write)(at / f"part.{suffix}")
    for name in ("_SUCCESS", ".hidden.parquet", "_metadata"):
        Path(root, name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("write", "suffix"),
    [("write_parquet", "parquet"), ("write_csv", "csv"), ("write_ipc", "arrow"), ("write_ndjson", "ndjson")],
)
def test_keys_of_directories_are_columns(write, suffix):
    hive("train", TRAIN, write=write, suffix=suffix)
    whole = read("train")
    assert whole.columns == ["x", "z", "k", "y", "region", "year"]
    assert whole["region"].value_counts(sort=True, name="n")["n"].to_list() == [60, 60, 60]
    assert whole["region"].null_count() == 60
    assert sorted(whole["year"].unique()) == [2020, 2021, 2022]
    for pattern in (f"train/*/*/part.{suffix}", f"train/**/*.{suffix}", "train/region=*"):
        assert read(pattern).equals(whole), pattern
    # A key before the first wildcard, or above a directory, is the same for all rows.
    assert "region" not in read(f"train/region=eu/*/part.{suffix}").columns
    assert read("train/region=eu").columns == ["x", "z", "k", "y", "year"]


def test_keys_are_read_alike_by_audits_profiles_and_dask():
    hive("train", TRAIN)
    hive("live", LIVE)
    whole = both_ways("train", "live/*/*/*.parquet", exclude="year")
    assert columns(whole)["region"] == ("category", "feature")
    reference = steelyard.profile("train", target="y", exclude="year")
    assert "region" in columns(steelyard.audit(reference, "live"))


def test_keys_that_disagree_with_the_file_and_mixed_directories_are_told():
    hive("train", TRAIN.with_columns(region=pl.lit("eu")))
    assert "holds 'eu' in column 'region'" in fault("train")
    hive("same", TRAIN.with_columns(year=pl.lit(2020)))
    assert read("same/region=eu").columns == ["x", "z", "k", "y", "year"]
    Path("mixed").mkdir()
    TRAIN.write_csv("mixed/a.csv")
    TRAIN.write_parquet("mixed/b.parquet")
    assert "several formats (CSV, Parquet)" in fault("mixed")
    Path("none").mkdir()
    assert "holds no table file" in fault("none")
    Path("odd/a=1/a=2").mkdir(parents=True)
    TRAIN.write_csv("odd/a=1/a=2/x.csv")
    assert "the same key" in fault("odd")


def test_types_of_keys_are_those_of_all_values():
    for k, day in enumerate(("2024-01-01", "2024-02-01")):
        at = Path(f"t/day={day}/n={k}/s=%C3%A4%2F{k}/m={'x' if k else 1}")
        at.mkdir(parents=True)
        TRAIN.write_parquet(at / "p.parquet")
    found = read("t")
    assert found.schema["day"] == pl.Date
    assert found.schema["n"] == pl.Int64
    assert found["s"].unique().sort().to_list() == ["ä/0", "ä/1"]
    assert found["m"].unique().sort().to_list() == ["1", "x"]


def test_a_part_without_rows_or_values_fits_the_others():
    Path("t").mkdir()
    TRAIN.write_csv("t/1.csv")
    Path("t/2.csv").write_text("x,z,k,y\n")
    TRAIN.with_columns(x=None).write_csv("t/3.csv")
    assert read("t").schema["x"] == pl.Float64


# The index of pandas --------------------------------------------------------------------


def test_what_a_file_calls_its_index_is_no_feature():
    frame = TRAIN.to_pandas().sample(frac=1, random_state=0)
    frame.to_parquet("t.parquet")
    frame.to_csv("t.csv")
    frame.rename(columns={"x": "Unnamed: 0"})[["Unnamed: 0", "y"]].to_csv("u.csv", index=False)
    LIVE.to_pandas().to_parquet("range.parquet")
    with pa.OSFile("t.arrow", "wb") as sink:
        table = pa.Table.from_pandas(frame)
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    with pa.OSFile("s.arrow", "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("t.parquet", "t.csv", "t.arrow", "s.arrow"):
        assert read(name).columns == ["x", "z", "k", "y"], name
    assert read("u.csv").columns == ["y"]
    assert read("range.parquet").columns == ["x", "z", "k"]
    told = both_ways("t.parquet", "range.parquet")
    assert next(f.text for f in told.findings if f.id == "index-column").startswith(
        "Row names, not columns, are '__index_level_0__' in TRAIN"
    )


def test_a_named_index_is_kept_where_it_is_named_or_is_a_column_of_train():
    indexed = TRAIN.to_pandas().set_index("k")
    indexed.to_parquet("i.parquet")
    assert columns(both_ways("i.parquet", LIVE, exclude="k"))["k"][1] == "dropped"
    live = LIVE.to_pandas().set_index("k")
    live.to_parquet("l.parquet")
    assert columns(both_ways(TRAIN, "l.parquet"))["k"] == ("category", "feature")
    reference = steelyard.profile(TRAIN, target="y")
    assert columns(steelyard.audit(reference, "l.parquet"))["k"] == ("category", "feature")


# Names are names ---------------------------------------------------------------------------


def test_names_that_are_numbers():
    train, live = TRAIN.to_pandas(), LIVE.to_pandas()
    train.columns, live.columns = range(4), range(3)
    train[2], live[2] = train[2].astype("category"), live[2].astype("category")
    for target in (3, "3", np.int64(3)):
        assert columns(both_ways(train, live, target=target, exclude=0))["2"] == ("category", "feature")
    assert list(train.columns) == [0, 1, 2, 3]
    assert steelyard.profile(train, target=3, exclude=[0]).target == "3"
    train.columns = [0, "0", 2, 3]
    assert "1 and '1' are the same" in fault(train, live, target=3)


ODD = {"x": "*", "z": "^b$", "k": "^.*$"}


def test_names_that_are_patterns(here):
    extra = {"b": pl.Series(np.arange(200) % 7), 'q"{}': pl.Series(np.arange(200) % 5)}
    train, live = (frame.rename(ODD).with_columns(**extra) for frame in (TRAIN, LIVE))
    train.write_csv("t.csv")
    train.write_parquet("t.parquet")
    live.write_ndjson("l.ndjson")
    for first in ("t.csv", "t.parquet", train):
        found = columns(both_ways(first, "l.ndjson", null="-99"))
        assert list(found) == ["*", "^b$", "^.*$", "y", "b", 'q"{}']
    found = columns(both_ways(train, live, exclude=["^b$", "*"]))
    assert [name for name, (_, role) in found.items() if role == "dropped"] == ["*", "^b$"]
    flagged = train.rename({"y": "^y$"})
    assert columns(both_ways(flagged, live, target="^y$"))["^y$"][1] == "target"
    reference = steelyard.profile(train, target="y", exclude="*")
    assert "^b$" in reference.sample.columns
    assert columns(steelyard.audit(reference, live))["^b$"] == ("number", "feature")
    weights = steelyard.weights(train.drop("y"), live, random_state=0)
    np.testing.assert_allclose(
        weights, steelyard.weights(*(f.rename({"^b$": "c"}) for f in (train.drop("y"), live)), random_state=0)
    )


@pytest.mark.parametrize("name", ["a*.arrow", "a[1].ndjson", "?.csv", "[a].parquet"])
def test_files_named_like_patterns(name):
    write = {"w": "write_ipc", "n": "write_ndjson", "v": "write_csv", "t": "write_parquet"}[name[-1]]
    for sign, plain in (("*", "1"), ("[1]", "1"), ("?", "z"), ("[a]", "a")):
        getattr(LIVE.head(7), write)(name.replace(sign, plain))
    getattr(LIVE, write)(name)
    assert read(name).equals(LIVE)


# Types ------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["write_parquet", "write_ipc", "write_ndjson"])
def test_a_column_of_type_null_is_left_out_and_said(write):
    suffix = {"write_ipc": "arrow"}.get(write, write[6:])
    getattr(TRAIN.with_columns(n=None), write)(f"t.{suffix}")
    getattr(LIVE.with_columns(n=None), write)(f"l.{suffix}")
    result = both_ways(f"t.{suffix}", f"l.{suffix}")
    assert columns(result)["n"] == ("absent", "dropped")
    assert "empty-column" in {finding.id for finding in result.findings}


def test_rare_types_are_read_or_told():
    n = TRAIN.height
    table = TRAIN.to_arrow()
    rare = {
        "dictionary": pa.array([1, 2] * (n // 2)).dictionary_encode(),
        "half": pa.array(np.arange(n), pa.float16()),
        "decimal": pa.array(np.arange(n)).cast(pa.decimal128(30, 2)),
        "time": pa.array(np.arange(n), pa.time64("us")),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", "2"] * (n // 2))),
    }
    for name, values in rare.items():
        table = table.append_column(name, values)
    pq.write_table(table, "t.parquet")
    assert set(rare) <= set(columns(both_ways("t.parquet", "t.parquet")))
    for name, values in {
        "list": pa.array([[1]] * n),
        "struct": pa.array([{"a": 1}] * n),
        "bytes": pa.array([b"ab"] * n, pa.binary(2)),
    }.items():
        odd = TRAIN.to_arrow().append_column(name, values)
        pq.write_table(odd, "o.parquet")
        assert f"column '{name}' in TRAIN is of type" in fault("o.parquet", odd)
        assert columns(both_ways("o.parquet", odd, exclude=name))[name][1] == "dropped"
    pq.write_table(
        TRAIN.to_arrow().append_column("d", pa.array(np.arange(n)).cast(pa.decimal256(60, 2))), "d.parquet"
    )
    done = invoke("audit", "d.parquet", "d.parquet", "--target", "y")
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)


def test_what_is_no_table_is_told():
    matrix = sp.csr_matrix(np.eye(60))
    assert "toarray()" in fault(matrix)
    with pytest.raises(InputError, match="sparse matrix"):
        steelyard.weights(matrix, matrix)
    with pytest.raises(InputError, match="no columns"):
        steelyard.weights(pd.DataFrame(), pd.DataFrame())
    sparse = pd.DataFrame.sparse.from_spmatrix(sp.random(200, 3, 0.4, random_state=0, format="csr"))
    assert "0" in columns(both_ways(sparse.assign(y=TRAIN["y"].to_numpy()), sparse))
    assert "has no columns" in fault(pd.DataFrame(index=range(5)))
    assert "has no rows" in fault(TRAIN.clear())
    twice = pa.table([pa.array([1, 2]), pa.array([1, 2])], names=["a", "a"])
    assert "more than one column named 'a'" in fault(twice)


# Text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n", "has no rows"),
        (b"a,a\n1,2\n", "more than one column named 'a'"),
        (b",,\n1,2,3\n", "without a name"),
        (b"x,y\n1,\x002\n", "binary data"),
        ("x,y\n1,2\n".encode("utf-16"), "UTF-16"),
        ("x,y\nä,2\n".encode("latin-1"), "not UTF-8 (line 2"),
        (b"x" * (1 << 25), "first line of more than 16 MB"),
    ],
    ids=str,
)
def test_texts_that_are_no_table(content, words):
    Path("t.csv").write_bytes(content)
    assert words in fault("t.csv")


def test_texts_of_other_habits_are_read():
    plain = TRAIN.write_csv()
    for content in (
        plain.replace("\n", "\r"),
        plain.replace("\n", "\r\n"),
        "\ufeff" + plain,
        plain.replace("x,z,k,y", '"x","z","k","y"'),
    ):
        Path("t.csv").write_bytes(content.encode())
        assert read("t.csv").equals(TRAIN)
    Path("t.csv").write_text(plain.replace("x", "h" * 140_000, 1))
    assert len(read("t.csv").columns[0]) == 140_000


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id;price, net\n1;2\n3;4\n", ["id", "price, net"]),
        ('"a;b",c\n1,2\n3,4\n', ["a;b", "c"]),
        ("a;b\n1,5;2,5\n2,5;3,5\n", ["a", "b"]),
        ("a|b, c\n1|x, y\n2|z\n", ["a", "b, c"]),
        ("a,b;c\n1,2;3\n2,3;4\n", ["a", "b;c"]),
        ("text\nx\ny\n", ["text"]),
        ('a;b, c\n1;"x, y"\n2;"z; w"\n', ["a", "b, c"]),
    ],
)
def test_the_separator_is_the_one_that_holds_in_all_lines(text, names):
    Path("t.csv").write_text(text)
    assert read("t.csv").columns == names


def test_words_for_missing_values_are_null_before_types_are_told():
    Path("t.csv").write_text('a,b,c,"^d$"\n1,u,-99,-99.0\n unknown ,Unknown,2,1.5\n3,"unknown",3,-99\n')
    found = read("t.csv", Dialect(null=("unknown", "-99")))
    assert found.rows() == [(1, "u", None, None), (None, None, 2, 1.5), (3, None, 3, None)]
    assert found.dtypes == [pl.Int64, pl.String, pl.Int64, pl.Float64]
    typed = pl.DataFrame(
        {"a": [1, -99], "b": ["x", " UNKNOWN"], "c": pl.Series(["unknown", "u"], dtype=pl.Categorical)}
    )
    for source in (typed, "n.parquet", "n.ndjson"):
        if isinstance(source, str):
            getattr(typed, f"write_{source[2:]}")(source)
        got = read(source, Dialect(null=("unknown", "-99")))
        assert got.rows() == [(1, "x", None), (None, None, "u")]


def test_decimal_commas_are_numbers():
    Path("t.csv").write_text("a;b;c;d;e;f\n1,5;1.234,56;1.234;0.5;x,y;NA\n-2;2,5e3;12.345.678;0.125;z;1,5\n")
    found = read("t.csv", Dialect(decimal=","))
    assert found.rows() == [
        (1.5, 1234.56, 1234, 0.5, "x,y", None),
        (-2.0, 2500.0, 12345678, 0.125, "z", 1.5),
    ]
    Path("q.csv").write_text('a,b\n"1,5",1\n"2,5",2\n')
    assert read("q.csv", Dialect(decimal=",")).rows() == [(1.5, 1), (2.5, 2)]


def test_a_profile_reads_live_as_train_was_read(here):
    for name, frame in (("t", TRAIN), ("l", LIVE)):
        text = frame.with_columns(z=pl.when(pl.col("z") > 1.5).then(-99).otherwise("z"))
        text.write_csv(f"{name}.csv", separator=";", decimal_comma=True)
    words = ["t.csv", "--target", "y", "--decimal", ",", "--null", "-99", "-o", "r.steelyard", "-q"]
    assert invoke("profile", *words).exit_code == 0
    assert load_reference("r.steelyard").dialect == Dialect(null=("-99",), decimal=",")
    done = invoke("audit", "r.steelyard", "l.csv", "--json", "a.json", "-q")
    assert done.exit_code == 0, done.stderr
    answer = {column["name"]: column for column in json.loads(Path("a.json").read_text())["data"]}
    assert answer["x"]["kind"] == "number"
    assert answer["z"]["missing_live"] > 0
    refused = invoke("audit", "r.steelyard", "l.csv", "--null", "other")
    assert refused.exit_code == 2
    assert "profile made with --null -99, not --null other" in refused.stderr


def test_profiles_of_the_first_format_are_refused_in_one_line():
    # Their samples were compressed inside the archive, so that a small file could claim any size.
    steelyard.profile(TRAIN, target="y").save("r.steelyard")
    with Sealed(Path("r.steelyard")) as file:
        members = {name: file.read(name, 1 << 24) for name in file.names}
    manifest = json.loads(members["manifest.json"])
    del manifest["dialect"]
    members["manifest.json"] = json.dumps({**manifest, "format": 1}).encode()
    write_sealed(Path("old.steelyard"), members)
    with pytest.raises(InputError, match=r"older steelyard .* make it anew"):
        load_reference("old.steelyard")


def test_partitions_of_dask_are_read_in_the_dialect():
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"^b$": [-99, 1, 2, 3], 0: ["u", " unknown", "v", "w"]})
    parts = read_dask(dd.from_pandas(frame, npartitions=2), Dialect(null=("unknown", "-99")))
    assert parts.rows() == [(None, "u"), (1, None), (2, "v"), (3, "w")]


def read_dask(lazy, dialect):
    source = open_source(lazy, "TRAIN", [], scratch=Path(), part_rows=1, dialect=dialect)
    return pl.concat([source.read(part) for part in source.parts])


# Files that change ----------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [250_000, 100])
@pytest.mark.parametrize("how", ["replaced", "added"])
def test_a_table_that_is_replaced_while_it_is_read_is_told(monkeypatch, sample, how):
    from steelyard.auditing import pipeline

    Path("live").mkdir()
    LIVE.write_parquet("live/a.parquet")
    stat = os.stat("live/a.parquet")
    weigh = pipeline.weigh

    def meanwhile(*args, **options):
        if how == "added":
            LIVE.write_parquet("live/b.parquet")
        else:
            LIVE.reverse().write_parquet("new")
            os.utime("new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
            os.replace("new", "live/a.parquet")
        return weigh(*args, **options)

    monkeypatch.setattr(pipeline, "weigh", meanwhile)
    with pytest.raises(InputError, match="LIVE: 'live' has changed while it was read"):
        steelyard.audit(TRAIN, "live", **QUICK, sample=sample)
