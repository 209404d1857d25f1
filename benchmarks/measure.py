"""Time and memory of competitors that do the same work, each run in a process of its own.

A competitor is a script that is called as ``SCRIPT JOB.json ANSWER.json``. It reads its
job (whatever the benchmark puts there, paths of its input tables for example), does the
work, and writes its answer: a JSON object with ``seconds``, the time of the work itself
as the script measured it (after imports and reading), and anything else that the tables
show. A script of a peer runs in the peer's environment and imports nothing of ours.

    competitors = [Competitor("steelyard", MINE, job), Competitor("peer", THEIRS, job, PEER)]
    results = compete(competitors, repeats=5)
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environments import Environment, process_variables

ROOT = Path(__file__).resolve().parents[1]
OURS = "steelyard"
THREADS = 1
# Cores that others may keep busy before a figure is not to be trusted: OpenMP programs in particular
# slow down out of all proportion once another process holds a core.
QUIET = 0.25

# A process starts out with the peak memory of the one that forked it, so a large parent would be measured
# in its children's stead. This small one stands in between; it is killed together with its child.
_LAUNCHER = """
import json, os, subprocess, sys, time
report, log, *command = sys.argv[1:]
with open(log, "wb") as out:
    started = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
unit = 1 if sys.platform == "darwin" else 1024
with open(report, "w") as out:
    json.dump({"code": os.waitstatus_to_exitcode(status), "wall": wall, "peak": usage.ru_maxrss * unit,
               "cpu": usage.ru_utime + usage.ru_stime}, out)
"""


@dataclass(frozen=True)
class Competitor:
    """One who does the work: a script, its job, and the environment it runs in (None: this interpreter)."""

    name: str
    script: Path
    job: Mapping[str, Any]
    environment: Environment | None = None
    timeout: float = 900.0


@dataclass(frozen=True)
class Run:
    """One run: ``seconds`` of the work, ``wall`` seconds and ``peak`` bytes of the whole process.

    ``peak`` is that of the largest process that the script started, not of their sum.
    ``foreign`` is the number of cores that other processes kept busy meanwhile (None
    where the system does not tell). ``failure`` says why there is no answer.
    """

    seconds: float | None = None
    wall: float | None = None
    peak: int | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    foreign: float | None = None


@dataclass(frozen=True)
class Result:
    """The runs of one competitor: medians over ``runs``, the range of the seconds, the first run's answer."""

    name: str
    runs: int = 0
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    wall: float | None = None
    peak: float | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    foreign: float | None = None


def run_once(competitor: Competitor, *, threads: int = THREADS) -> Run:
    """Run a competitor once; a failure or a timeout is an answer too, and is told in ``failure``."""
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as folder:
        place = Path(folder)
        job, answer, report, log = (place / n for n in ("job.json", "answer.json", "report.json", "log.txt"))
        job.write_text(json.dumps(competitor.job), encoding="utf-8")
        if competitor.environment is None:
            interpreter, variables = sys.executable, _our_variables(threads)
        else:
            interpreter, variables = competitor.environment.python, process_variables(threads)
        command = [str(interpreter), str(competitor.script), str(job), str(answer)]
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(report), str(log), *command]
        busy, started = _busy_seconds(), time.perf_counter()
        if not _finished(launch, variables, competitor.timeout):
            return Run(failure=f"not done within {competitor.timeout:g} s")
        elapsed, busy_after = time.perf_counter() - started, _busy_seconds()
        said = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"code": "unknown"}
        if said["code"] != 0 or not answer.exists():
            output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            return Run(wall=said.get("wall"), peak=said.get("peak"), failure=_reason(said["code"], output))
        found = json.loads(answer.read_text(encoding="utf-8"))
        foreign = None
        if busy is not None and busy_after is not None:
            foreign = max(0.0, (busy_after - busy - said["cpu"]) / elapsed)
        return Run(float(found.pop("seconds")), said["wall"], said["peak"], found, None, foreign)


def race(
    competitors: Sequence[Competitor], *, repeats: int, threads: int = THREADS, title: str = ""
) -> dict[str, list[Run]]:
    """Run all competitors in turn, ``repeats`` times: A B C A B C; whoever failed once is not run again."""
    runs: dict[str, list[Run]] = {c.name: [] for c in competitors}
    for repeat in range(repeats):
        for competitor in competitors:
            mine = runs[competitor.name]
            if mine and mine[-1].failure:
                continue
            mine.append(run_once(competitor, threads=threads))
            outcome = mine[-1].failure or f"{mine[-1].seconds:.3g} s"
            tell(f"{title or 'run'} {repeat + 1}/{repeats}, {competitor.name}: {outcome}")
    return runs


def summarise(name: str, runs: Sequence[Run]) -> Result:
    """Return medians and the range; a competitor that failed in any run has failed."""
    failed = next((r.failure for r in runs if r.failure), None)
    if failed or not runs:
        return Result(name, len(runs), failure=failed or "not run")
    seconds = [r.seconds for r in runs if r.seconds is not None]
    foreign = [r.foreign for r in runs if r.foreign is not None]
    return Result(
        name=name,
        runs=len(runs),
        seconds=median(seconds),
        low=min(seconds),
        high=max(seconds),
        wall=median(r.wall for r in runs if r.wall is not None),
        peak=median(r.peak for r in runs if r.peak is not None),
        answer=runs[0].answer,
        foreign=max(foreign) if foreign else None,
    )


def compete(
    competitors: Sequence[Competitor], *, repeats: int, threads: int = THREADS, title: str = ""
) -> list[Result]:
    """Race the competitors and summarise each one's runs."""
    runs = race(competitors, repeats=repeats, threads=threads, title=title)
    return [summarise(name, mine) for name, mine in runs.items()]


@dataclass(frozen=True)
class Machine:
    """Where and when: what a reader needs to judge the seconds."""

    python: str
    processor: str
    cores: int
    load: float | None
    foreign: float | None
    threads: int

    @classmethod
    def look(cls, *, threads: int = THREADS, seconds: float = 2.0) -> Machine:
        """Look at the machine, and watch for some seconds how busy it is while we do nothing."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        before = _busy_seconds()
        time.sleep(seconds)
        after = _busy_seconds()
        foreign = None if before is None or after is None else max(0.0, after - before) / seconds
        return cls(platform.python_version(), _processor(), os.cpu_count() or 1, load, foreign, threads)


def tell(line: str) -> None:
    """Say on standard error how far a benchmark is."""
    print(line, file=sys.stderr, flush=True)


def _our_variables(threads: int) -> dict[str, str]:
    """Return the environment of our own scripts, which may import steelyard and benchmarks."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**process_variables(threads), "PYTHONPATH": path}


def _finished(command: Sequence[str], variables: Mapping[str, str], timeout: float) -> bool:
    """Run a command in a session of its own, and leave nothing of it running; False on a timeout."""
    process = subprocess.Popen(command, env=variables, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        process.wait(timeout)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of the session has ended
        process.wait()


def _reason(code: int | str, output: str) -> str:
    """Return why a script has no answer: the last line that it printed, which is the exception's."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if isinstance(code, int) and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}: {lines[-1][:300]}" if lines else f"exit code {code}"


def _busy_seconds() -> float | None:
    """Return the seconds that the machine's cores have been busy since it started."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, first[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
