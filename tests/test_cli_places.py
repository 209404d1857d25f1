"""The command line in operation: nothing of the user's is lost, nothing foreign is touched."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import steelyard
from steelyard.auditing.discreet import without_values
from steelyard.auditing.parts.spool import Spool, claim
from steelyard.auditing.result import Advice, Finding
from steelyard.cli import _stopped_as_interrupted
from steelyard.errors import InputError
from tests.command_line import invoke as command_line
from tests.test_cli import RESULT, TABLES, run, train  # noqa: F401

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="links, modes and signals are others on Windows"
)


@pytest.fixture
def tables(run, tmp_path):  # noqa: F811
    """Files that the stand-in for the audit does not read."""
    (tmp_path / "parts").mkdir()
    for name in ("train.csv", "live.csv", "labels.csv", "model.joblib", "parts/a.csv", "parts/b.csv"):
        (tmp_path / name).write_text(f"content of {name}")
    return run


INPUTS = {
    "TRAIN": ("train.csv", ()),
    "LIVE": ("live.csv", ()),
    "--labels": ("labels.csv", ("--labels", "labels.csv")),
    "--model": ("model.joblib", ("--model", "model.joblib")),
    "a glob": ("parts/b.csv", ()),
    "a directory": ("parts/a.csv", ()),
}


@pytest.mark.parametrize("link", ["itself", "hard link", "link"])
@pytest.mark.parametrize("name", INPUTS)
def test_no_output_replaces_what_is_read(tables, tmp_path, name, link):
    file, more = INPUTS[name]
    path = tmp_path / file
    # As if steelyard had written it: that it is read is reason enough.
    path.write_text(content := '{"schema_version": "2", "steelyard_version": "0.1"}')
    place = file
    if link != "itself":
        place = "other.json"
        (os.link if link == "hard link" else os.symlink)(path, tmp_path / place)
    train_given = {"a glob": "parts/*.csv", "a directory": "parts"}.get(name, "train.csv")
    done = tables(train_given, "live.csv", "--target", "y", *more, "--json", place)
    told = "TRAIN" if name.startswith("a ") else name
    assert done.exit_code == 2
    assert done.stderr == (
        f"steelyard: --json would replace '{place}', which is {told}; choose another place\n"
    )
    assert tables.calls == []
    assert path.read_text() == content
    # The same in a report's directory.
    os.link(path, tmp_path / "parts" / "audit.json")
    done = tables(train_given, "live.csv", "--target", "y", *more, "--out", "parts")
    assert f"--out would replace 'parts/audit.json', which is {told}" in done.stderr
    assert tables.calls == []


def test_a_table_in_the_reports_place_is_kept(tables, tmp_path):
    for name in ("train.parquet", "predictions.parquet"):
        pl.DataFrame({"a": [1], "y": [0]}).write_parquet(tmp_path / name)
    before = (tmp_path / "predictions.parquet").read_bytes()
    done = tables("train.parquet", "predictions.parquet", "--target", "y", "--out", ".")
    assert done.exit_code == 2
    assert "'predictions.parquet' is there, and is no file that steelyard has written" in done.stderr
    assert (tables.calls, (tmp_path / "predictions.parquet").read_bytes()) == ([], before)
    work = tmp_path / "steelyard-report.partial"
    work.mkdir()
    (work / "train.csv").write_text("mine")
    done = tables("steelyard-report.partial/train.csv", "live.csv", "--target", "y")
    assert "lies where the audit leaves its rows" in done.stderr
    assert (done.exit_code, tables.calls) == (2, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "x" * 248), "more than the 255 that fit"),
        (("--out", "x" * 300), "a name of 300 bytes"),
        (("--out", "none/" + "é" * 130), "a name of 260 bytes"),
        (("--out", "/".join(["deep"] * 1000)), "is a path of"),
        (("--json", "a\0b"), "holds a NUL"),
        (("--json", "x" * 256), "a name of 256 bytes"),
        (("--out", "gone"), "is a link to nothing"),
        (("--out", "gone/deeper"), "is no directory"),
        (("--json", "gone"), "is a link to nothing"),
        (("--json", "mine.json"), "is no file that steelyard has written"),
        (("--json", "/dev"), "is a directory"),
        (("--json", "steelyard-report/report.html"), "there is no directory"),
        (("--json", "rep", "--out", "rep"), "is in the place of the report"),
        (("--json", "rep.partial", "--out", "rep"), "is in the place of the report"),
        (("--every", "9" * 30), "is more rows than a table has"),
        (("--every", "9" * 5000), "is more rows than a table has"),
    ],
)
def test_places_and_numbers_that_cannot_be_are_told_before_the_work(tables, tmp_path, words, said):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    before = sorted(p.name for p in tmp_path.iterdir())
    done = tables(*TABLES, *words)
    assert (done.exit_code, tables.calls) == (2, [])
    assert said in done.stderr
    assert done.stderr.startswith("steelyard: ")
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_longest_name_and_the_same_places_again_are_fine(tables, tmp_path):
    words = ("--out", "x" * 247, "--json", "j" * 255)
    for _ in range(2):
        assert tables(*TABLES, *words).exit_code == 0
    assert json.loads((tmp_path / ("j" * 255)).read_text()) == RESULT.to_dict()
    assert not list(tmp_path.glob(".steelyard*"))


def test_json_to_devices_and_pipes(tables, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert tables(*TABLES, "--json", "pipe").exit_code == 0
    assert json.loads(os.read(reader, 1 << 20)) == RESULT.to_dict()
    os.close(reader)
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)
    assert tables(*TABLES, "--json", "/dev/null").exit_code == 0
    done = tables(*TABLES, "--json", "/dev/full")
    assert done.exit_code == 2
    assert done.stderr.startswith("steelyard: cannot write '/dev/full': No space left on device")
    assert all(stat.S_ISCHR(os.lstat(path).st_mode) for path in ("/dev/full", "/dev/null"))
    done = tables(*TABLES, "--json", "/dev/stdout")
    assert json.loads(done.stdout) == RESULT.to_dict()
    os.mkfifo(tmp_path / "r.steelyard")
    done = command_line("profile", "train.csv", "--target", "y", "-o", "r.steelyard")
    assert done.exit_code == 2
    assert stat.S_ISFIFO(os.lstat(tmp_path / "r.steelyard").st_mode)


# Signals --------------------------------------------------------------------------

_SLOW = """
import signal, sys, time
import steelyard.auditing
from steelyard.auditing.parts.spool import claim

def slow(*tables, work, **options):
    claim(work)
    print("at work", flush=True)
    time.sleep(60)

steelyard.auditing.audit = slow
from steelyard.cli import main
sys.argv = ["steelyard", "audit", "t.csv", "l.csv", "--target", "y", "--out", "rep"]
main()
"""


def test_signals_end_the_work_as_a_key_press_does(tmp_path):
    """All at once, since starting takes the longest; who is started with nohup does not hear one of them."""
    environment = {**os.environ, "PYTHONPATH": str(Path(steelyard.__file__).parents[1])}
    started = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        place = tmp_path / number.name
        place.mkdir()
        started[number] = subprocess.Popen(
            [sys.executable, "-c", _SLOW],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    for number, process in started.items():
        assert process.stdout.readline() == "at work\n"
        process.send_signal(number)
    for number, process in started.items():
        said = process.communicate(timeout=60)[1]
        assert (process.returncode, said) == (130, "steelyard: interrupted; no report was written\n")
        assert list((tmp_path / number.name).iterdir()) == []


def _raise(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.raise_signal(number)


def test_what_heard_signals_before_hears_them_afterwards():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("mine"))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), _stopped_as_interrupted():
            _raise(signal.SIGHUP, signal.SIGTERM)  # the first is not heard, as under nohup
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["mine"]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, ignored)


def test_a_stop_after_the_report_says_so(run, tmp_path, monkeypatch):  # noqa: F811
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("steelyard.cli._judged", stop)
    done = run(*TABLES)
    where = tmp_path / "steelyard-report"
    assert (done.exit_code, done.stderr) == (130, f"steelyard: interrupted; '{where}' had been written\n")


# Scratch --------------------------------------------------------------------------


def _prepared(directory: Path, kind: str, victim: Path) -> None:
    """Lay a trap where an audit is to leave its rows."""
    if kind == "link":
        (victim.parent / "far").mkdir()
        directory.symlink_to(victim.parent / "far")
        return
    directory.mkdir()
    (directory / "identity.json").write_text("{}")
    if kind == "open to others":
        directory.chmod(0o777)
    elif kind == "tables":
        (victim.parent / "far").mkdir()
        (directory / "tables").symlink_to(victim.parent / "far")
    else:
        (directory / kind).symlink_to(victim)


@pytest.mark.parametrize(
    "kind",
    [
        *("link", "open to others", "tables", "train.json.new", "identity.json.new", "audit.lock"),
        *("live-000000.part", "live.json"),
    ],
)
def test_nothing_is_written_where_somebody_has_prepared_it(tmp_path, kind):
    victim, work = tmp_path / "victim", tmp_path / "rep.partial"
    victim.write_text("mine")
    _prepared(work, kind, victim)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"rep\.partial' .*where the audit leaves its rows; move it"):
        Spool(work, {"the versions": []}, resume=False)
    assert victim.read_text() == "mine"
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_scratch_is_for_its_owner_alone(tmp_path):
    old = os.umask(0)
    try:
        work = tmp_path / "rep.partial"
        work.mkdir(0o755)  # as it was left by an earlier release
        claim(work)
        assert stat.S_IMODE(work.stat().st_mode) == 0o700
        assert stat.S_IMODE((work / "identity.json").stat().st_mode) == 0o600
        claim(new := tmp_path / "deep" / "new.partial")
        assert stat.S_IMODE(new.stat().st_mode) == 0o700
    finally:
        os.umask(old)


# What is printed ------------------------------------------------------------------

EVIL = "a\x1b]0;owned\x07b\x9b31mc\u202ed\x7f\u200fe"


def _safe(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_no_text_of_the_data_reaches_the_terminal_raw(run, train, tmp_path):  # noqa: F811
    hostile = replace(
        RESULT,
        findings=(Finding("x", "error", EVIL, "weigh", True),),
        advice=(Advice(EVIL, EVIL),),
    )
    for result in (hostile, InputError([EVIL]), OSError(5, EVIL, EVIL), ValueError(EVIL)):
        done = run(*TABLES, result=result)
        assert _safe(done.output), done.output
    frame = train.rename({"a": EVIL, "secret": EVIL + "2"})
    frame.write_parquet("evil.parquet")
    done = command_line(
        "profile", "evil.parquet", "--target", "y", "--exclude", EVIL + "2", "-o", "r.steelyard"
    )
    assert done.exit_code == 0
    assert "No value kept of" in done.stdout
    assert _safe(done.output)


def test_width_of_piped_output(run, monkeypatch):  # noqa: F811
    long = "because " + "of this and that " * 30 + "indeed"
    result = replace(RESULT, advice=(Advice("Do", long),))
    monkeypatch.delenv("COLUMNS", raising=False)
    assert f"Do: {long}" in run(*TABLES, result=result).stdout
    for columns, most in (("80", 80), ("0", 10_000), ("x", 10_000)):
        monkeypatch.setenv("COLUMNS", columns)
        shown = run(*TABLES, result=result).stdout
        assert f"Do: {long}" in " ".join(shown.split())
        assert max(len(line) for line in shown.splitlines() if "Report:" not in line) <= most


# Values of the tables -------------------------------------------------------------


def test_an_answer_without_values(train, tmp_path):  # noqa: F811
    live = train.drop("y").with_columns(b=pl.lit("zebra"), c=pl.lit("okapi"))
    train.drop("user_id").with_columns(
        c=pl.lit("gnu"), y=pl.when(pl.col("y") == 1).then(pl.lit("quagga")).otherwise(pl.lit("kudu"))
    ).write_csv("t.csv")
    live.drop("user_id").write_csv("l.csv")
    words = ("audit", "t.csv", "l.csv", "--target", "y", "--metric", "accuracy", "--weighting", "linear")
    quoted = command_line(*words, "--out", "open", "--json", "open.json")
    told = command_line(*words, "--out", "closed", "--json", "closed.json", "--no-values")
    assert quoted.exit_code == told.exit_code
    full = quoted.output + "".join(Path(f"open/{n}").read_text() for n in ("report.html", "audit.json"))
    kept = told.output + "".join(Path(f"closed/{n}").read_text() for n in ("report.html", "audit.json"))
    kept += Path("closed.json").read_text()
    assert [w for w in ("zebra", "gnu") if w in full] == ["zebra", "gnu"]
    assert not [w for w in ("zebra", "okapi", "gnu", "quagga", "kudu") if w in kept]
    before, after = (json.loads(Path(name).read_text()) for name in ("open.json", "closed.json"))
    assert [f["id"] for f in before["findings"]] == [f["id"] for f in after["findings"]]
    assert "Constant column in 'c'. Values of the tables are left out (--no-values)." in kept
    for key in ("performance", "shift", "weights", "prediction", "data", "windows"):
        assert before[key] == after[key]


def test_texts_that_are_not_known_to_quote_nothing_are_left_out():
    result = replace(
        RESULT,
        findings=(
            Finding(
                "new-one", "warning", "Column 'a' holds zebra.", mend="Turn zebra to gnu.", columns=("a",)
            ),
            Finding("sampled", "info", "TRAIN has 9 rows."),
        ),
        advice=(Advice("Label zebras", "rows 3, 14, and on. Start where a is zebra.", "label"),),
    )
    said = without_values(result)
    assert [f.text for f in said.findings] == [
        "New one in 'a'. Values of the tables are left out (--no-values).",
        "TRAIN has 9 rows.",
    ]
    assert said.findings[0].mend == ""
    assert said.advice == (
        Advice(
            "Label rows of LIVE",
            "Rows 3, 14, and on. Values of the tables are left out (--no-values).",
            "label",
        ),
    )


@pytest.mark.parametrize("time", [None, "a"])
def test_windows_of_too_many_rows_are_told_in_python_too(train, time):  # noqa: F811
    live = train.drop("y", "user_id")
    with pytest.raises(InputError, match="rows are larger than any table"):
        steelyard.audit(train.drop("user_id"), live, target="y", every=10**30, time=time)
