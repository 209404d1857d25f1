"""The files: they appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steelyard.auditing.result import AuditResult
from steelyard.errors import InputError
from steelyard.reporting import mend_report, place_faults, render_html, save_report, whole_file
from steelyard.reporting.files import FILES
from steelyard.reporting.marks import written_here
from steelyard.reporting.scratch import scratch
from tests.auditing.example_audit import binary, inconclusive, labels_arrived, no_shift


def _save(result: AuditResult, directory: Path) -> Path:
    return save_report(result.to_dict(), result.row_tables, directory)


def _without(table: str, result: AuditResult) -> AuditResult:
    return replace(result, row_tables={k: v for k, v in result.row_tables.items() if k != table})


def test_save_writes_the_four_files(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    result = binary()
    out = _save(result, tmp_path / "a" / "report")
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert json.loads((out / "audit.json").read_text("utf-8")) == result.to_dict()
    assert (out / "audit.json").read_text("utf-8").startswith('{\n  "schema_version"')
    assert (out / "report.html").read_text("utf-8") == render_html(result.to_dict())
    weights = pq.read_table(out / "weights.parquet")
    assert [(f.name, str(f.type)) for f in weights.schema] == [("row", "int64"), ("weight", "double")]
    np.testing.assert_array_equal(weights["weight"].to_numpy(), result.row_weights)
    np.testing.assert_array_equal(weights["row"].to_numpy(), np.arange(10_000))
    predictions = pq.read_table(out / "predictions.parquet")
    assert result.row_predictions is not None
    assert predictions.column_names == ["row", *result.row_predictions]
    assert str(predictions.schema.field("set_yes").type) == "bool"
    np.testing.assert_array_equal(predictions["proba_yes"].to_numpy(), result.row_predictions["proba_yes"])
    assert set(predictions["prediction"].to_pylist()) == {"yes", "no"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_save_replaces_its_own_files_and_leaves_others(tmp_path: Path) -> None:
    _save(binary(), tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    _save(replace(inconclusive(), row_tables={}), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.json", "mine.txt", "report.html"]
    assert "Inconclusive" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("failing", range(1, 8))
def test_a_failed_move_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    _save(binary(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    moves = 0
    original = Path.replace

    def breaks(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves == failing:
            raise OSError(5, "Input/output error")
        return original(self, target)

    monkeypatch.setattr(Path, "replace", breaks)
    with pytest.raises(OSError, match="Input/output"):
        _save(_without("weights", labels_arrived()), tmp_path)  # one file fewer than before
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


_FULL_DISK = """
import resource, sys
from pathlib import Path
from steelyard.reporting import save_report
from tests.auditing.example_audit import binary
result = binary()
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the page fits, the weights do not
try:
    save_report(result.to_dict(), result.row_tables, Path(sys.argv[1]))
except OSError:
    sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to run into")
@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_runs_full_leaves_nothing_behind(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "new" / "report"
    if existing:
        _save(no_shift(), out)
    before = {p: p.read_bytes() if p.is_file() else b"" for p in tmp_path.rglob("*")}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(out)], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 7, done.stderr.decode()
    assert {p: p.read_bytes() if p.is_file() else b"" for p in tmp_path.rglob("*")} == before


def test_a_file_in_the_way_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError):
        _save(binary(), tmp_path / "taken")
    with pytest.raises(OSError):
        _save(binary(), tmp_path / "taken" / "below")
    assert (tmp_path / "taken").read_text() == "a file"
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_the_result_saves_and_shows_itself(tmp_path: Path) -> None:
    result: AuditResult = labels_arrived()
    assert result.save(tmp_path / "r") == tmp_path / "r"
    assert pl.read_parquet(tmp_path / "r" / "weights.parquet").height == result.rows["train"]
    assert result._repr_html_() == render_html(result.to_dict())


_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from steelyard.reporting import files

made, place, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
reports = {int(d.name): {f.name: f.read_bytes() for f in d.iterdir()} for d in made.iterdir()}
# The files are made beforehand and the disk is not waited for, so that most kills fall between moves.
files._contents = lambda audit: [(n, c) for n, c in reports[audit["seed"]].items() if "parquet" not in n]
files._sink = lambda path, content: path.write_bytes(content)
os.fsync = lambda handle: None

def save(seed):
    tables = {n.removesuffix(".parquet"): c for n, c in reports[seed].items() if n.endswith(".parquet")}
    files.save_report({"seed": seed}, tables, place)

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(9)
    return pid

def found():
    return {p.name: p.read_bytes() for p in place.iterdir() if p.is_file()}

def check():
    now = found()
    assert "audit.json" not in now or now in reports.values(), "files of two reports stand together"
    # The mending may be killed as well.
    for number in (rng.randrange(9), None):
        mending = lambda: at_move(number, lambda: files.mend_report(place))
        done = os.waitpid(child(mending), 0)[1]
    assert done == 0, done
    assert found() in reports.values(), sorted(found())
    assert sorted(p.name for p in place.iterdir()) == sorted(found()), "scratch is left"
    return "audit.json" not in now

def at_random():
    turn = 0
    while True:
        turn += 1
        save(turn % 3)

def at_move(number, work):
    moves = 0
    def killing(original):
        def change(*names, **options):
            nonlocal moves
            if moves == number:
                os.kill(os.getpid(), signal.SIGKILL)
            moves += 1
            return original(*names, **options)
        return change
    for name in ("mkdir", "replace", "unlink", "rmdir"):
        setattr(os, name, killing(getattr(os, name)))
    work()
    os._exit(0)

os.waitpid(child(lambda: (save(0), os._exit(0))), 0)
rng, between = random.Random(0), 0
if how == "random":
    for _ in range(30):
        pid = child(at_random)
        time.sleep(0.02 + 0.06 * rng.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        between += check()
else:
    # 9 moves, and what is made and cleared up around them.
    for number in range(24):
        for seed in (1, 2):
            os.waitpid(child(lambda: at_move(number, lambda: save(seed))), 0)
            between += check()
    assert between >= 10, between
print(between)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no fork")
@pytest.mark.parametrize("how", ["random", "each move"])
def test_a_report_that_was_killed_at_any_moment_is_whole_after_the_next_run(tmp_path: Path, how: str) -> None:
    """Where audit.json stands all files are of one report; what is left between is mended."""
    for seed, result in enumerate((binary(), _without("weights", no_shift()), labels_arrived())):
        _save(result, tmp_path / "made" / str(seed))
    words = [sys.executable, "-c", _KILLED, str(tmp_path / "made"), str(tmp_path / "out"), how]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("made", "out")] == []


def _foreign(directory: Path, kind: str) -> Path:
    """Put something of the user's where a report's file goes."""
    directory.mkdir(exist_ok=True)
    name = {"page": "report.html", "record": "audit.json"}.get(kind, "predictions.parquet")
    path = directory / name
    if kind == "page":
        path.write_text("<title>Made by steelyard, says the user</title>")
    elif kind == "record":
        path.write_text('{"steelyard_version": "0.1", "schema_version": "2"}')
    elif kind == "table":
        pl.DataFrame({"row": [0], "prediction": [1.0]}).write_parquet(path)
    elif kind == "no table":
        path.write_text("PAR1 in name only")
    elif kind == "directory":
        path.mkdir()
        (path / "part-0.parquet").write_text("mine")
    elif kind == "link":
        (directory / "elsewhere").write_text("mine")
        path.symlink_to(directory / "elsewhere")
    elif kind == "link to nothing":
        path.symlink_to(directory / "nowhere")
    else:
        os.mkfifo(path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are others on Windows")
@pytest.mark.parametrize(
    "kind", ["page", "record", "table", "no table", "directory", "link", "link to nothing", "pipe"]
)
def test_what_steelyard_did_not_write_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = _foreign(tmp_path / "out", kind)

    def state() -> tuple[int, ...]:
        found = os.lstat(path)
        return found.st_ino, found.st_mtime_ns, found.st_mode

    before = state()
    for told in (place_faults(tmp_path / "out"), None):
        if told is None:
            with pytest.raises(InputError) as error:
                _save(binary(), tmp_path / "out")
            told = list(error.value.faults)
        (fault,) = told
        assert f"'{path}' is there, and is " in fault
        assert "(--out)" in fault
    assert state() == before
    assert not (tmp_path / "out" / "weights.parquet").exists()


def test_every_file_of_a_report_is_known_again_and_an_empty_one_is_no_loss(tmp_path: Path) -> None:
    _save(binary(), tmp_path)
    assert all(written_here(tmp_path / name) for name in FILES)
    for name in FILES:
        (tmp_path / name).write_bytes(b"")
    assert place_faults(tmp_path) == []
    _save(no_shift(), tmp_path)
    # As other printers of JSON leave it.
    record = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    (tmp_path / "audit.json").write_text(json.dumps(record, separators=(",", ":")))
    assert written_here(tmp_path / "audit.json")


def test_scratch_of_others_and_links_are_passed_over(tmp_path: Path) -> None:
    out, name = tmp_path / "out", ".steelyard-0123abcd-abcdefgh"
    (out / name / "old").mkdir(parents=True)
    (tmp_path / "far" / "old").mkdir(parents=True)
    (tmp_path / "far" / "old" / "audit.json").write_text("mine")
    (out / ".steelyard-0123abcd-linklink").symlink_to(tmp_path / "far")
    (out / ".steelyard-mine").mkdir()
    mend_report(out)
    assert (tmp_path / "far" / "old" / "audit.json").read_text() == "mine"
    assert sorted(p.name for p in out.iterdir()) == [".steelyard-0123abcd-linklink", ".steelyard-mine"]
    with scratch(out, "out") as used:  # in use, though by this very process
        mend_report(out)
        assert used.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="devices are others on Windows")
def test_a_device_or_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe, "said"):
        pass
    assert os.read(reader, 99) == b"said\n"
    os.close(reader)
    assert stat.S_ISFIFO(os.lstat(pipe).st_mode)
    for name in ("/dev/null", str(tmp_path / "link")):
        if name != "/dev/null":
            os.symlink("/dev/null", name)
        with whole_file(Path(name), "said"):
            pass
        assert stat.S_ISCHR(os.stat(name).st_mode)
    with pytest.raises(OSError, match="No space left") as told, whole_file(Path("/dev/full"), "said"):
        pass
    assert told.value.filename == "/dev/full"
    assert stat.S_ISCHR(os.lstat("/dev/full").st_mode)
    # An open file goes on where it stands: opened anew, what was written would be lost.
    with (tmp_path / "file").open("wb") as file:
        os.write(file.fileno(), b"before\n")
        with whole_file(Path(f"/dev/fd/{file.fileno()}"), "said"):
            pass
        os.write(file.fileno(), b"after\n")
    assert (tmp_path / "file").read_bytes() == b"before\nsaid\nafter\n"
    # Behind a link, the file is replaced and the link stays.
    os.symlink(tmp_path / "file", tmp_path / "latest")
    with whole_file(tmp_path / "latest", "said"):
        pass
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"said\n"
