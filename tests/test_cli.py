"""The command line: words, exit codes, and what goes to which stream."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

import steelyard
import steelyard.auditing
import steelyard.methods
from steelyard import __version__
from steelyard.auditing.gate import Condition, Gate
from steelyard.auditing.result import (
    AuditResult,
    Finding,
    Interval,
    Performance,
    Shift,
    WeightReport,
)
from steelyard.cli import _TerminalProgress, repeat_options
from steelyard.errors import InconclusiveError, InputError
from steelyard.methods import Method
from tests.command_line import invoke as command_line

RESULT = AuditResult(
    schema_version="2",
    steelyard_version=__version__,
    seed=0,
    rows={"train": 100, "live": 90},
    data=(),
    shift=Shift("covariate", Interval(0.7, 0.65, 0.75), 0.001, 0.55, ()),
    weights=WeightReport("logistic", 60.0, 0.6, 0.2, 0.05, 0.01, ()),
    performance=(
        Performance("accuracy", 0.85, 0.81, 0.78, 0.84, "doubly robust"),
        Performance("auc", 0.9, 0.79, 0.75, 0.83, "doubly robust"),
        Performance("f1", 0.7, None, None, None, "none"),
    ),
    windows=(),
    relation=None,
    attribution=None,
    prediction=None,
    advice=(),
    findings=(),
    seconds={"read": 0.1},
)
NO_ANSWER = replace(
    RESULT, findings=(Finding("inconclusive-overlap", "error", "The tables do not overlap.", "weigh", True),)
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command line on a stand-in for the audit, which records what it is called with."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def invoke(*words: str, result=RESULT, command="audit"):
        def stand_in(*args, **options):
            calls.append((args, options))
            if isinstance(result, BaseException):
                raise result
            with options["progress"].step("Thinking"):
                return result

        monkeypatch.setattr(steelyard.auditing, "audit", stand_in, raising=False)
        done = command_line(command, *words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    invoke.calls = calls
    return invoke


TABLES = ("train.csv", "live.csv", "--target", "y")


def test_every_word_reaches_the_audit(run):
    words = "--proba a --proba b --prediction c --model m --labels l --time t --every week --metric auc "
    words += "--environment g --alpha 0.2 --exclude e f --positive yes --weighting rulsif --seed 7 --quiet "
    words += "--label-noise yes=0.3 no=0.1 --task regression --categorical k l --null x --decimal , "
    words += "--sample 5000 --engine dask --scheduler tcp://here --resume --out deep/er"
    done = run(*TABLES, *words.split())
    assert done.exit_code == 0
    assert done.output == ""
    (args, options) = run.calls[0]
    assert args == ("train.csv", "live.csv")
    assert str(options.pop("model")) == "m"
    del options["progress"]
    assert options == {
        "label_noise": {"yes": 0.3, "no": 0.1},
        "fail_on": (),
        "task": "regression",
        "categorical": ("k", "l"),
        "null": ("x",),
        "decimal": ",",
        "target": "y",
        "proba": ("a", "b"),
        "prediction": "c",
        "labels": "l",
        "time": "t",
        "every": "week",
        "environment": "g",
        "metrics": ("auc",),
        "alpha": 0.2,
        "exclude": ("e", "f"),
        "positive": "yes",
        "weighting": "rulsif",
        "seed": 7,
        "sample": 5000,
        "engine": "dask",
        "scheduler": "tcp://here",
        "resume": True,
        "values": True,
        "work": Path("deep/er.partial"),
    }


def test_a_profile_needs_no_target(run):
    assert run("ref.steelyard", "live.csv").exit_code == 0
    (args, options) = run.calls[0]
    assert args == ("ref.steelyard", "live.csv")
    assert (options["target"], options["proba"], options["prediction"]) == (None, (), None)


def test_every_takes_a_number_of_rows(run):
    run(*TABLES, "--every", "500")
    assert run.calls[0][1]["every"] == 500


def test_answer_on_stdout_and_report_in_place(run, tmp_path):
    done = run(*TABLES)
    assert done.exit_code == 0
    assert "0.79" in done.stdout
    assert "report.html" in done.stdout
    assert done.stderr == ""
    assert {"report.html", "audit.json"} <= {p.name for p in (tmp_path / "steelyard-report").iterdir()}


def test_json_alone_on_stdout(run):
    done = run(*TABLES, "--json", "-")
    assert json.loads(done.stdout) == RESULT.to_dict()
    assert "0.79" in done.stderr


def test_json_in_a_file(run, tmp_path):
    done = run(*TABLES, "--json", "answer.json", "--out", "deep/er")
    assert done.exit_code == 0
    assert json.loads((tmp_path / "answer.json").read_text()) == RESULT.to_dict()
    assert {p.name for p in tmp_path.iterdir()} == {"answer.json", "deep"}


@pytest.mark.parametrize(
    ("conditions", "result", "code"),
    [
        ([], RESULT, 0),
        (["auc<0.80"], RESULT, 1),
        (["auc < 0.79"], RESULT, 0),
        (["auc<=0.79"], RESULT, 1),
        (["AUC >= .79"], RESULT, 1),
        (["accuracy<0.5", "shift.auc>0.6"], RESULT, 1),
        (["weights.ess_fraction<0.5"], RESULT, 0),
        (["f1<0.5"], RESULT, 3),
        (["prediction.expected_coverage<0.8"], RESULT, 3),
        (["f1<0.5", "auc<0.80"], RESULT, 1),
        ([], NO_ANSWER, 3),
        (["auc<0.5"], NO_ANSWER, 3),
        (["auc<0.80"], NO_ANSWER, 1),
        (["mae>1"], RESULT, 2),
    ],
)
def test_exit_codes(run, conditions, result, code):
    done = run(*TABLES, *[word for text in conditions for word in ("--fail-on", text)], result=result)
    assert done.exit_code == code
    if code:
        assert "steelyard: " in done.stderr
    if code == 3:
        assert "inconclusive" in done.stderr


def test_the_reason_for_no_answer_is_told(run):
    assert "The tables do not overlap." in " ".join(run(*TABLES, result=NO_ANSWER).stderr.split())


def test_wrong_conditions_are_all_told_before_any_work(run):
    done = run(*TABLES, "--fail-on", "auc=0.8", "--fail-on", "speed<3", "--fail-on", "auc<", "--alpha", "1.5")
    assert done.exit_code == 2
    assert run.calls == []
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("steelyard: ") for line in lines)


def test_a_condition_on_a_metric_asks_for_it(run):
    run(*TABLES, "--metric", "accuracy", "--fail-on", "auc<0.5")
    assert run.calls[0][1]["metrics"] == ("accuracy",)
    assert run.calls[0][1]["fail_on"] == ("auc<0.5",)


def test_gate_without_weights_and_predictions():
    bare = replace(RESULT, weights=None)
    assert Condition.parse("weights.pareto_k>0.7").met(bare) is None
    assert Gate.judge([Condition.parse("weights.pareto_k>0.7")], RESULT).exit_code == 0


# Failures ---------------------------------------------------------------------


def test_input_faults_one_line_each(run):
    done = run(*TABLES, result=InputError(["one is\nwrong", "two [bold]is[/bold] wrong"]))
    assert done.exit_code == 2
    assert done.stderr.splitlines() == ["steelyard: one is wrong", "steelyard: two [bold]is[/bold] wrong"]


def test_no_answer_at_all_is_inconclusive(run):
    done = run(*TABLES, result=InconclusiveError("too few rows"))
    assert (done.exit_code, done.stderr) == (3, "steelyard: inconclusive: too few rows\n")


def test_interrupt(run, tmp_path):
    done = run(*TABLES, result=KeyboardInterrupt())
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_error_is_one_line_and_no_condition(run, monkeypatch):
    """1 means that a condition holds and nothing else; the traceback is there for who asks for it."""
    for error, said in (
        (ZeroDivisionError("division\nby zero"), "internal error: ZeroDivisionError: division by zero; "),
        (MemoryError(), "out of memory; "),
        (RecursionError(), "internal error: RecursionError; "),
    ):
        done = run(*TABLES, result=error)
        assert done.exit_code == 2
        assert done.stdout == ""
        if not isinstance(error, MemoryError):
            assert "in cli.py, line" in done.stderr
        assert re.sub(r" in \w+\.py, line \d+", "", done.stderr).startswith(f"steelyard: {said}")
        assert done.stderr.count("\n") == 1
    monkeypatch.setenv("STEELYARD_TRACEBACK", "1")
    assert "Traceback" in run(*TABLES, result=ZeroDivisionError()).stderr


@pytest.mark.parametrize(
    "words", [(), ("a.csv",), ("a.csv", "b.csv"), (*TABLES, "--seed", "x"), (*TABLES, "--wrong")]
)
def test_wrong_usage(run, words):
    assert run(*words).exit_code == 2
    assert run.calls == []


def test_output_in_the_place_of_a_file(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    for words in (("--out", "file"), ("--out", "file/deeper"), ("--json", "file/x"), ("--json", "none/x")):
        done = run(*TABLES, *words)
        assert done.exit_code == 2
        assert f"'{words[1]}'" in done.stderr
    assert run.calls == []
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("words", [(), ("--json", "answer.json")])
def test_full_disk_leaves_nothing_half_written(run, monkeypatch, tmp_path, words):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")

    monkeypatch.setattr(os, "fsync", full)
    done = run(*TABLES, *words)
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("steelyard: cannot write 'report.html': No space left")
    # The answer was computed: it is shown all the same.
    assert "0.79" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_disk_full_at_the_last_move_takes_the_json_back(run, monkeypatch, tmp_path):
    def full(self, directory):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(AuditResult, "save", full)
    assert run(*TABLES, "--json", "answer.json").exit_code == 2
    assert list(tmp_path.iterdir()) == []


# Words ------------------------------------------------------------------------


def test_options_of_a_single_table_take_several_values():
    assert repeat_options("t --proba a b".split(), tables=1) == "t --proba a --proba b".split()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("t l --proba a b --seed 1", "t l --proba a --proba b --seed 1"),
        ("--target y t l --metric auc f1 --quiet", "--target y t l --metric auc --metric f1 --quiet"),
        ("--proba a t l", "--proba a t l"),
        ("t --quiet l --exclude a b c", "t --quiet l --exclude a --exclude b --exclude c"),
        ("t l --json - --fail-on auc<0.8 f1<0.5", "t l --json - --fail-on auc<0.8 --fail-on f1<0.5"),
        ("t l --proba=a --exclude b", "t l --proba=a --exclude b"),
        ("t l -- --proba a b", "t l -- --proba a b"),
    ],
)
def test_options_take_several_values_once_the_tables_are_known(given, meant):
    assert repeat_options(given.split()) == meant.split()


def test_version_and_help():
    assert command_line("--version").stdout == f"steelyard {__version__}\n"
    text = command_line("audit", "--help").stdout
    for word in (
        "--target",
        "--proba",
        "--prediction",
        "--model",
        "--labels",
        "--time",
        "--every",
        "--metric",
    ):
        assert word in text
    for word in (
        "--alpha",
        "--exclude",
        "--positive",
        "--weighting",
        "--out",
        "--json",
        "--fail-on",
        "--seed",
    ):
        assert word in text


def test_methods_lists_and_searches(monkeypatch):
    listed = (
        Method("rulsif_ratio", "weighting", (41,), "Relative density ratio."),
        Method("cbpe", "evaluation", (417,), "X."),
    )
    monkeypatch.setattr(steelyard.methods, "METHODS", listed)
    everything = command_line("methods").stdout
    assert "rulsif_ratio" in everything
    assert "417" in everything
    found = command_line("methods", "density weighting").stdout
    assert "rulsif_ratio" in found
    assert "cbpe" not in found
    assert "No method matches" in command_line("methods", "zzz").stdout


def test_help_is_light():
    """The heavy packages are not imported; the limit on time is generous, a slow machine is no fault."""
    code = (
        "import sys\n"
        "sys.argv = ['steelyard', '--help']\n"
        "from steelyard.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'polars', 'scipy', 'sklearn', 'pandas', 'matplotlib', 'narwhals'} & "
        "set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 5


def test_steps_are_shown_on_a_terminal_only():
    for terminal, quiet in ((True, False), (True, True), (False, False)):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=80)
        with _TerminalProgress(console, quiet=quiet) as progress, progress.step("Weighing the rows"):
            pass
        assert ("Weighing the rows" in stream.getvalue()) == (terminal and not quiet)


def test_demo_scores_its_estimates(run, tmp_path):
    done = run(command="demo")
    assert done.exit_code == 0
    assert "revealed" in done.stdout
    assert "Inside?" in done.stdout
    # Accuracy of the shipped score on the shipped labels, counted here by hand.
    from steelyard.datasets import census_paths

    _, live, labels = census_paths()
    said = pl.read_parquet(live)["score"] >= 0.5
    actual = (said == (pl.read_parquet(labels)["employed"] == 1)).mean()
    assert f"{actual:.4f}" in done.stdout
    assert (tmp_path / "steelyard-report" / "report.html").exists()
    assert "labels" not in run.calls[0][1]


# The profile --------------------------------------------------------------------


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A table to make a profile of, in the directory where the command runs."""
    monkeypatch.chdir(tmp_path)
    rows = range(1200)
    frame = pl.DataFrame(
        {
            "a": [k * 37 % 101 / 7 for k in rows],
            "b": [("red", "blue")[k % 3 > 0] for k in rows],
            "user_id": [f"u{k}" for k in rows],
            "secret": [k % 4 for k in rows],
            "p": [(k % 10 + 1) / 12 for k in rows],
            "y": [None if k == 9 else int(k % 10 > 4) for k in rows],
        }
    )
    frame.write_parquet("train.parquet")
    return frame


def test_profile_says_what_it_holds(train, tmp_path):
    words = "train.parquet --target y --proba p --exclude secret --sample 1000 --seed 4 -o ref.steelyard"
    done = command_line("profile", *words.split())
    assert (done.exit_code, done.stderr) == (0, "")
    size = (tmp_path / "ref.steelyard").stat().st_size / 1e6
    assert done.stdout.splitlines() == [
        f"Profile: ref.steelyard ({size:.1f} MB)",
        "Rows:    1,199 rows, 1,000 of them kept, the rest as sums; 1 more without a known target",
        "Columns: 2 features, target 'y', output 'p'",
        "No value kept of: 'user_id' (identifier), 'secret' (excluded)",
    ]
    reference = steelyard.load_reference("ref.steelyard")
    assert (reference.seed, reference.sample.columns) == (4, ["a", "b", "p", "y"])
    quiet = command_line("profile", "train.parquet", "--target", "y", "-o", "ref.steelyard", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert steelyard.load_reference("ref.steelyard").whole


def test_profile_then_audit(train, tmp_path):
    assert (
        command_line("profile", *"train.parquet --target y --proba p -o r.steelyard".split()).exit_code == 0
    )
    train.drop("y").write_csv("live.csv")
    (tmp_path / "train.parquet").unlink()
    done = command_line("audit", "r.steelyard", "live.csv", "--metric", "accuracy", "--json", "-")
    assert done.exit_code in (0, 3)
    said = json.loads(done.stdout)
    assert said["rows"] == {"train": 1199, "live": 1200}
    assert "profile" in {finding["id"] for finding in said["findings"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train.parquet --target y -o train.parquet", "does not end in .steelyard"),
        ("train.parquet --target y -o mine.steelyard", "is there already and is no profile"),
        ("train.parquet --target y -o none/r.steelyard", "there is no directory 'none'"),
        ("none.csv --target y -o r.steelyard", "TRAIN: no file 'none.csv'"),
        ("train.parquet --target z --exclude q -o r.steelyard", "target 'z' is not a column of TRAIN"),
    ],
)
def test_profile_of_wrong_input(train, tmp_path, words, said):
    (tmp_path / "mine.steelyard").write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = command_line("profile", *words.split())
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert said in lines[0]
    assert all(line.startswith("steelyard: ") for line in lines)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "words", ["", "t.csv --target y", "t.csv -o r.steelyard", "t.csv --target y --sample 9"]
)
def test_profile_of_wrong_usage(train, words):
    assert command_line("profile", *words.split()).exit_code == 2


def test_profile_on_a_full_disk_or_interrupted_leaves_nothing(train, monkeypatch, tmp_path):
    words = "train.parquet --target y -o r.steelyard".split()

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "r.steelyard")

    monkeypatch.setattr(os, "fsync", full)
    done = command_line("profile", *words)
    assert done.exit_code == 2
    assert done.stderr.startswith("steelyard: cannot write 'r.steelyard': No space left")
    assert "(-o)" in done.stderr

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    done = command_line("profile", *words)
    assert (done.exit_code, done.stderr) == (130, "steelyard: interrupted; no profile was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]


def test_a_damaged_profile_is_one_line(train, tmp_path):
    command_line("profile", *"train.parquet --target y -o r.steelyard".split())
    path = tmp_path / "r.steelyard"
    path.write_bytes(path.read_bytes()[:-9])
    done = command_line("audit", "r.steelyard", "train.parquet")
    assert done.exit_code == 2
    assert done.stderr == (
        "steelyard: 'r.steelyard' is no profile, or only part of one; make it with `steelyard profile`\n"
    )
