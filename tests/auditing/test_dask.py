"""The audit on a Dask cluster: the local run's answer to the last digit, whoever falls over meanwhile."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import dask.dataframe as dd
import numpy as np
import polars as pl
import pytest
from command_line import invoke
from distributed import Client, LocalCluster, get_worker

import steelyard
from steelyard.auditing import sides
from steelyard.auditing.parts import dask_engine, spool
from steelyard.auditing.parts.dask_engine import DaskEngine
from steelyard.auditing.parts.dask_source import DaskFrame, open_dask
from steelyard.auditing.parts.dask_tasks import Held, apply, unpack, versions
from steelyard.auditing.parts.engine import cores
from steelyard.auditing.parts.engines import make_engine
from steelyard.auditing.parts.opening import count_rows, open_source
from steelyard.auditing.parts.source import Files, Frame, Part
from steelyard.auditing.reading.sources import load
from steelyard.errors import InputError

# What is defined here goes to the workers as it is: they cannot import a test.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SAMPLE, PART_ROWS = 1_000, 250
# Generous: only a machine that stands still reaches it.
PATIENCE = 60.0


def _local_cluster(workers: int, *, processes: bool = True) -> LocalCluster:
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.CRITICAL,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with _local_cluster(2) as made:
        yield made


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as connected:
        yield connected


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "open_source", partial(open_source, part_rows=PART_ROWS))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both tables as Parquet: text classes, categories, a date, missing values, LIVE with its labels."""
    directory = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(5)
    for name, rows, move in (("train", 2_000, 0.0), ("live", 2_500, 0.6)):
        x = rng.normal(move, 1, rows)
        kind = rng.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2])
        yes = rng.random(rows) < 1 / (1 + np.exp(-x - (kind == "red")))
        frame = pl.DataFrame(
            {
                "x": x,
                "gap": [None if missing else float(v) for missing, v in zip(rng.random(rows) < 0.1, x**2)],
                "kind": kind,
                "when": np.datetime64("2024-01-01") + rng.integers(0, 90, rows).astype("timedelta64[D]"),
                "answer": np.where(yes, "yes", "no"),
            }
        )
        frame.write_parquet(directory / f"{name}.parquet", row_group_size=600)
    return directory / "train.parquet", directory / "live.parquet"


def _answer(*tables: Any, **question: Any) -> dict[str, Any]:
    result = steelyard.audit(*tables, target="answer", sample=SAMPLE, seed=4, **question)
    plain = json.loads(json.dumps(result.to_dict()))
    plain.pop("seconds")
    assert plain["rows"]["live"] > SAMPLE
    return plain


@dataclass
class _Halfway:
    """Progress that does something once while all rows are scored."""

    act: Callable[[], object]
    acted: float | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        def done(share: float) -> None:
            if name.startswith("Scoring") and share > 0.3 and self.acted is None:
                self.act()
                self.acted = time.monotonic()

        yield done


def _kill_a_worker(client: Client) -> None:
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


@pytest.fixture(scope="module")
def local(tables: tuple[Path, Path]) -> dict[str, Any]:
    """The answer of a run on this process's threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sides, "open_source", partial(open_source, part_rows=PART_ROWS))
        return _answer(*map(str, tables), labels="answer", time="when", every=800)


@pytest.mark.usefixtures("_small_parts")
def test_files_give_the_local_answer_though_a_worker_is_killed(
    tables: tuple[Path, Path], client: Client, local: dict[str, Any]
) -> None:
    before = _pids(client)
    halfway = _Halfway(lambda: _kill_a_worker(client))
    there = _answer(
        *map(str, tables), engine="dask", labels="answer", time="when", every=800, progress=halfway
    )
    assert halfway.acted is not None
    assert len(there["windows"]) == 3 and there["performance"][0]["live_actual"] is not None
    assert there == local
    _until(lambda: len(_pids(client)) == 2)
    assert len(_pids(client) & before) == 1


def _pids(client: Client) -> set[int]:
    return set(client.run(os.getpid).values())


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.usefixtures("_small_parts")
def test_dask_frames_give_the_local_answer(tables: tuple[Path, Path], cluster: LocalCluster) -> None:
    train, live = (dd.read_parquet(path, split_row_groups=True) for path in tables)
    train = train.assign(kind=train["kind"].astype("category"))
    question: dict[str, Any] = {"time": "when", "every": "month", "metrics": ["auc", "brier"]}
    labels = pl.read_parquet(tables[1])["answer"]
    live = live.drop(columns="answer")
    here = _answer(train, live, labels=labels, **question)
    assert len(here["windows"]) == 3
    there = _answer(
        train, live, labels=labels, engine="dask", scheduler=cluster.scheduler_address, **question
    )
    assert there == here


def test_a_small_dask_frame_is_read_as_the_pandas_frame_that_it_holds() -> None:
    pandas = pl.DataFrame(
        {"code": [1, 2, 1, 3, 2, 2], "text": ["a", None, "b", "a", "c", "a"], "x": [0.5, None, 1, 2, 3, 4]}
    ).to_pandas()
    pandas["code"] = pandas["code"].astype("category")
    lazy = dd.from_pandas(pandas, npartitions=3)
    assert count_rows(lazy) == 6
    expected, read = load(pandas, "TRAIN", []), load(lazy, "TRAIN", [])
    assert read is not None and expected is not None and read.equals(expected)
    assert read.schema["code"] == pl.Categorical


def test_a_dask_frame_is_cut_into_slices_of_its_partitions(tmp_path: Path) -> None:
    frame = pl.DataFrame({"row": np.arange(1_000), "text": [str(k) for k in range(1_000)]})
    lazy = dd.from_pandas(frame.to_pandas(), npartitions=4)
    lazy = lazy[(lazy["row"] < 600) | (lazy["row"] >= 900)]  # the third partition has 100 rows left, ...
    lazy = lazy[lazy["row"] < 750]  # ... the last none
    faults: list[str] = []
    source = open_source(lazy, "LIVE", faults, scratch=tmp_path, part_rows=100)
    assert not faults and isinstance(source, DaskFrame)
    assert source.columns == ("row", "text")
    assert source.sizes == (250, 250, 100, 0)
    assert [p.rows for p in source.parts] == [100, 100, 50, 100, 100, 50, 100]
    rows = pl.concat([source.read(part) for part in source.parts])
    assert rows["row"].to_list() == list(range(600))
    assert [part.first for part in source.parts] == np.cumsum([0, 100, 100, 50, 100, 100, 50]).tolist()
    again, other = (open_dask(f, "LIVE", [], part_rows=100) for f in (lazy, lazy[lazy["row"] < 500]))
    assert again is not None and other is not None
    assert source.identity() == again.identity() != other.identity()


def test_a_dask_frame_that_cannot_be_audited_says_why(tmp_path: Path) -> None:
    empty = dd.from_pandas(pl.DataFrame({"row": [1, 2]}).to_pandas(), npartitions=1)
    faults: list[str] = []
    assert open_source(empty[empty["row"] > 5], "LIVE", faults, scratch=tmp_path) is None
    assert faults == ["LIVE has no rows; give a table with a header and rows"]

    def spoilt(frame: Any) -> Any:
        raise KeyError("the cause")

    broken = empty.map_partitions(spoilt, meta=empty._meta)
    with pytest.raises(InputError, match="cannot be computed: KeyError: 'the cause'"):
        count_rows(broken)


@dataclass(frozen=True)
class _Slow:
    """Returns a part's number, late for the even ones."""

    ballast: bytes = b""
    log: str = ""

    def __call__(self, part: Part) -> tuple[int, int]:
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{part.number}\n")
        time.sleep(0.1 if part.number % 2 == 0 else 0.01)
        return part.number, os.getpid()


def _parts(count: int) -> list[Part]:
    return [Part(k, 10 * k, 10) for k in range(count)]


def test_results_come_in_order_from_all_workers_a_few_in_hand(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DaskEngine() as engine:
        results = engine.map(_Slow(os.urandom(20_000_000), str(log)), _parts(60))
        first = next(results)
        time.sleep(0.5)
        # Two threads have three parts each in hand.
        assert len(log.read_text().split()) <= 6
        numbers, pids = zip(first, *results)
    assert list(numbers) == list(range(60))
    assert len(set(pids)) == 2 and os.getpid() not in pids
    assert client.status == "running", "a client that was connected before stays so"
    _until(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


def test_the_only_worker_may_be_killed(tmp_path: Path) -> None:
    with _local_cluster(1) as alone, Client(alone) as client:
        results = DaskEngine(alone.scheduler_address).map(_Slow(b"learnt"), _parts(12))
        numbers = [next(results)[0] for _ in range(3)]
        _kill_a_worker(client)
        numbers += [number for number, _ in results]
    assert numbers == list(range(12))


@dataclass(frozen=True)
class _Rows:
    """Sums a part's rows."""

    source: Any

    def __call__(self, part: Part) -> int:
        return int(self.source.read(part)["row"].sum())


def test_tables_in_memory_go_to_the_workers_part_by_part(client: Client) -> None:
    frame = pl.DataFrame({"row": np.arange(1_000)})
    expected = [sum(range(k, k + 100)) for k in range(0, 1_000, 100)]
    with DaskEngine() as engine:
        source = Frame(frame, part_rows=100)
        assert list(engine.map(_Rows(source), source.parts)) == expected
        assert list(engine.map(_Rows(source), source.parts[7:])) == expected[7:]
        # Persisted partitions lie on the workers and are read there.
        lazy = open_dask(dd.from_pandas(frame.to_pandas(), npartitions=2).persist(), "X", [], part_rows=100)
        assert lazy is not None
        assert list(engine.map(_Rows(lazy), lazy.parts)) == expected
        assert list(engine.map(_Rows(lazy), lazy.parts[3:])) == expected[3:]


@dataclass(frozen=True)
class _Fails:
    error: Exception

    def __call__(self, part: Part) -> int:
        raise self.error


def test_what_a_task_raises_comes_back_as_one_line(client: Client) -> None:
    engine = DaskEngine()
    with pytest.raises(InputError) as refused:
        list(engine.map(_Fails(InputError(["first", "second"])), _parts(2)))
    assert refused.value.faults == ("first", "second")
    for error in (RuntimeError("odd\nmore"), FileNotFoundError("odd")):
        with pytest.raises(
            InputError, match=rf"a task failed on the Dask cluster at tcp://.*{type(error).__name__}: odd;"
        ):
            list(engine.map(_Fails(error), _parts(2)))


def test_a_run_that_is_given_up_leaves_no_work_behind(client: Client) -> None:
    results = DaskEngine().map(_Slow(), _parts(60))
    assert next(results)[0] == 0
    results.close()
    _until(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


def test_a_model_that_cannot_be_sent_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="the model cannot be sent to Dask's workers"):
        list(DaskEngine().map(_Rows(threading.Lock()), _parts(2)))


def test_a_worker_that_lacks_a_file_or_a_version_is_told_of(tmp_path: Path) -> None:
    files = Files((str(tmp_path / "gone.parquet"),), (10,), ("row",))
    with pytest.raises(InputError, match=r"a Dask worker on .* does not see '.*gone.parquet'"):
        apply(_Rows(files), files.parts[0])
    other = {**versions(), "scikit-learn": "0.1"}
    with pytest.raises(InputError, match=r"has scikit-learn .* instead of 0\.1; install the same"):
        unpack(b"", other)
    with pytest.raises(InputError, match="other rows each time"):
        Held(pl.DataFrame({"row": [1, 2]})).read(Part(0, 0, 3))


def test_without_a_scheduler_a_cluster_is_made_for_the_run() -> None:
    with DaskEngine() as engine:
        pids = {pid for _ in range(3) for _, pid in engine.map(_Slow(), _parts(4))}
        assert os.getpid() not in pids
        assert len(pids) <= cores(), "it lasts for the run"
    _until(lambda: not any(_runs(pid) for pid in pids))
    with pytest.raises(ValueError, match="No"):
        Client.current()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_cluster_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "EMPTY_SECONDS", 1.0)
    with (
        _local_cluster(0, processes=False) as empty,
        pytest.raises(InputError, match=r"at inproc://.* has had no worker for 1 s"),
    ):
        list(DaskEngine(empty.scheduler_address).map(_Slow(), _parts(2)))


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tables: tuple[Path, Path]) -> None:
    monkeypatch.setattr(dask_engine, "CONNECT_SECONDS", 1.0)
    address = f"tcp://127.0.0.1:{_free_port()}"
    started = time.monotonic()
    with pytest.raises(InputError, match=f"no Dask scheduler answers at {address}"):
        steelyard.audit(*tables, target="answer", engine="dask", scheduler=address)
    with pytest.raises(InputError, match="no Dask scheduler answers at nowhere"):
        steelyard.audit(*tables, target="answer", engine="dask", scheduler="nowhere")
    assert time.monotonic() - started < PATIENCE / 2


@contextmanager
def _scheduler() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a scheduler and a worker as somebody would by hand, each in a process of its own."""
    address = f"tcp://127.0.0.1:{_free_port()}"
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words: Sequence[Sequence[str]] = (
        ("dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]),
        ("dask_worker", address, "--nthreads", "1", "--no-nanny"),
    )
    running = [
        subprocess.Popen([sys.executable, "-m", f"distributed.cli.{word}", *rest, "--no-dashboard"], **silent)
        for word, *rest in words
    ]
    try:
        yield running[0], address
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.usefixtures("_small_parts")
def test_a_lost_scheduler_ends_the_run_and_what_is_done_remains(
    monkeypatch: pytest.MonkeyPatch, tables: tuple[Path, Path], tmp_path: Path, local: dict[str, Any]
) -> None:
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "tornado")]
    levels = [logger.level for logger in loggers]
    out, answer = tmp_path / "report", tmp_path / "answer.json"
    words = ["audit", *map(str, tables), "--target", "answer", "--sample", "1000", "--seed", "4"]
    words += ["--labels", "answer", "--time", "when", "--every", "800"]
    words += ["--out", str(out), "--json", str(answer)]
    keep = spool.Spool.keep
    with _scheduler() as (process, address), monkeypatch.context() as patch:
        killed: list[float] = []

        def keep_and_kill(self: Any, side: str, part: Part, columns: Any) -> None:
            keep(self, side, part, columns)
            if part.number == 3:
                process.kill()
                process.wait()
                killed.append(time.monotonic())

        patch.setattr(spool.Spool, "keep", keep_and_kill)
        outcome = invoke(*words, "--engine", "dask", "--scheduler", address)
        assert killed, outcome.stderr
        assert time.monotonic() - killed[0] < 30
    assert outcome.exit_code == 2
    said = [line for line in outcome.stderr.splitlines() if line]
    assert len(said) == 1 and said[0].startswith("steelyard: ")
    assert f"the connection to the Dask scheduler at {address} was lost" in said[0]
    assert not out.exists() and not answer.exists()
    assert (tmp_path / "report.partial" / "live.json").exists()
    assert [logger.level for logger in loggers] == levels
    # The parts that came back are not scored again, and the answer is that of a run in one go.
    scored: list[int] = []

    def keep_and_note(self: Any, side: str, part: Part, columns: Any) -> None:
        scored.append(part.number)
        keep(self, side, part, columns)

    monkeypatch.setattr(spool.Spool, "keep", keep_and_note)
    assert invoke(*words, "--resume").exit_code == 0
    assert scored[0] > 0
    resumed = json.loads(answer.read_text())
    resumed.pop("seconds")
    assert resumed == local


def test_the_extra_is_named_where_dask_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r'pip install "steelyard\[dask\]"'):
        make_engine("dask")


def test_models_keep_to_one_thread_and_the_worker_is_left_as_it_was(client: Client) -> None:
    from threadpoolctl import threadpool_info

    @dataclass(frozen=True)
    class Threads:
        def __call__(self, part: Part) -> set[int]:
            get_worker()  # it runs on a worker, or this raises
            return {pool["num_threads"] for pool in threadpool_info()}

    before = client.run(lambda: [pool["num_threads"] for pool in threadpool_info()])
    with DaskEngine() as engine:
        assert set().union(*engine.map(Threads(), _parts(4))) <= {1}
    assert client.run(lambda: [pool["num_threads"] for pool in threadpool_info()]) == before
