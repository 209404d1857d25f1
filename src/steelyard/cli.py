"""The command line: parses, calls :func:`steelyard.audit` and its like, prints.

Whatever takes long to import is imported inside a command, so that ``--help``
answers at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from steelyard._version import __version__
from steelyard.errors import InconclusiveError, InputError, SteelyardError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from steelyard.auditing.gate import Condition
    from steelyard.auditing.profiles.reference import Reference
    from steelyard.auditing.result import AuditResult
    from steelyard.auditing.reveal import Revealed

FINE, CONDITION_MET, WRONG_INPUT, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 130
_PROFILE = ".steelyard"
_UNBROKEN = 10_000
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_TRACEBACK = "STEELYARD_TRACEBACK"
_REPEATABLE = ("--proba", "--metric", "--exclude", "--fail-on", "--label-noise", "--categorical", "--null")
_FLAGS = ("--quiet", "-q", "--help", "-h", "--resume", "--no-values")

app = typer.Typer(
    name="steelyard",
    help="For when the data you train on are not the data you face.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _ManyValues(TyperCommand):
    """A command of ``tables`` whose repeatable options also take several values in a row."""

    tables = 2

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_options(args, tables=self.tables))


class _ManyValuesOneTable(_ManyValues):
    tables = 1


def repeat_options(args: Sequence[str], *, tables: int = 2) -> list[str]:
    """Write ``--proba a b`` as ``--proba a --proba b``.

    Only once the tables have been given: before that, a second word could be one of them.

    Examples
    --------
    >>> repeat_options(["train.csv", "live.csv", "--proba", "a", "b", "--seed", "1"])
    ['train.csv', 'live.csv', '--proba', 'a', '--proba', 'b', '--seed', '1']
    """
    out: list[str] = []
    found, repeating, i = 0, "", 0
    while i < len(args):
        word = args[i]
        i += 1
        if word == "--":
            return [*out, word, *args[i:]]
        if word.startswith("-") and word != "-":
            out.append(word)
            repeating = word if word in _REPEATABLE and found == tables else ""
            if "=" not in word and word not in _FLAGS and i < len(args):
                out.append(args[i])
                i += 1
        elif repeating:
            out += [repeating, word]
        else:
            found += 1
            out.append(word)
    return out


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"steelyard {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """For when the data you train on are not the data you face."""
    del version


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


def _table(name: str, text: str) -> Any:
    return typer.Argument(metavar=name, help=text, show_default=False)


_TABLE_HELP = "Labelled data: CSV, Parquet, Arrow or NDJSON, a file, directory or glob."
_TRAIN_HELP = f"{_TABLE_HELP[:-1]}; or a profile of them."
_TARGET_HELP = "The column of TRAIN to predict; a profile (.steelyard) knows its own."
_PROBA_HELP = "The deployed model's probability (several classes: one column a class)."
_MODEL_HELP = "The model itself, saved by joblib. Loading it runs its code: name only one you trust."
_JSON_HELP = "Also write the answer as JSON; - for stdout, with all else on stderr."
_ENGINE_HELP = "Who scores tables larger than --sample: this process, or a Dask cluster."
_RESUME_HELP = "Go on where an interrupted audit of the same tables with the same options stopped."
_NOISE_HELP = "Share of TRAIN's labels that is wrong, if known; or of a true class, repeatable."
_TASK_HELP = "What the target is (default: told from its values)."
_CATEGORICAL_HELP = "Columns whose numbers are names of categories."
_NULL_HELP = "Further words for a missing value, beside empty cells, NA and the like."
_DECIMAL_HELP = "The sign before decimals in numbers written as text."
_ENVIRONMENT_HELP = "Column of TRAIN that says which rows were made together: site, region, month."
_NO_VALUES_HELP = "Quote no value of the tables in report, JSON and terminal (docs: What is quoted)."
_FAIL_HELP = "Exit with 1 if it holds, such as 'auc<0.80'."
_Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the report.")]
_Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same answer.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


@app.command(cls=_ManyValues)
def audit(
    train: Annotated[str, _table("TRAIN", _TRAIN_HELP)],
    live: Annotated[str, _table("LIVE", "The data you face, usually without labels.")],
    target: Annotated[str | None, _option("--target", "COL", _TARGET_HELP)] = None,
    proba: Annotated[list[str] | None, _option("--proba", "COL", _PROBA_HELP)] = None,
    prediction: Annotated[
        str | None, _option("--prediction", "COL", "The deployed model's prediction.")
    ] = None,
    model: Annotated[Path | None, _option("--model", "FILE", _MODEL_HELP)] = None,
    labels: Annotated[
        str | None, _option("--labels", "FILE|COL", "LIVE's labels, if they have arrived.")
    ] = None,
    time_column: Annotated[str | None, _option("--time", "COL", "When each row of LIVE happened.")] = None,
    environment: Annotated[str | None, _option("--environment", "COL", _ENVIRONMENT_HELP)] = None,
    every: Annotated[str | None, _option("--every", "day|week|month|N", "Estimate each such window.")] = None,
    metric: Annotated[
        list[str] | None, _option("--metric", "NAME", "Metrics (default: all that apply).")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Miscoverage of the prediction intervals or sets.")] = 0.1,
    exclude: Annotated[list[str] | None, _option("--exclude", "COL", "Columns to leave out.")] = None,
    positive: Annotated[
        str | None, _option("--positive", "VALUE", "The positive one of two classes.")
    ] = None,
    weighting: Annotated[str, typer.Option(metavar="NAME|auto", help="How to weigh TRAIN's rows.")] = "auto",
    label_noise: Annotated[list[str] | None, _option("--label-noise", "RATE|CLASS=RATE", _NOISE_HELP)] = None,
    task: Annotated[str | None, _option("--task", "classification|regression", _TASK_HELP)] = None,
    categorical: Annotated[list[str] | None, _option("--categorical", "COL", _CATEGORICAL_HELP)] = None,
    null: Annotated[list[str] | None, _option("--null", "WORD", _NULL_HELP)] = None,
    decimal: Annotated[str, typer.Option(metavar=".|,", help=_DECIMAL_HELP)] = ".",
    sample: Annotated[
        int, typer.Option(metavar="ROWS", min=1000, help="Rows a side that models see of larger tables.")
    ] = 250_000,
    engine: Annotated[str, typer.Option(metavar="local|dask", help=_ENGINE_HELP)] = "local",
    scheduler: Annotated[
        str | None, _option("--scheduler", "ADDRESS", "Of the Dask cluster, such as tcp://10.0.0.1:8786.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help=_RESUME_HELP)] = False,
    out: _Out = Path("steelyard-report"),
    json_out: Annotated[str | None, _option("--json", "FILE|-", _JSON_HELP)] = None,
    fail_on: Annotated[list[str] | None, _option("--fail-on", "CONDITION", _FAIL_HELP)] = None,
    no_values: Annotated[bool, typer.Option("--no-values", help=_NO_VALUES_HELP)] = False,
    seed: _Seed = 0,
    quiet: _Quiet = False,
) -> None:
    """Say whether LIVE differs from TRAIN, how well the model does there, why, and what to do.

    Exit codes: 0 fine, 1 a --fail-on condition holds, 2 wrong usage or input, 3 inconclusive, 130 stopped.
    """
    if target is None and Path(train).suffix.lower() != _PROFILE:
        raise typer.BadParameter("name the column of TRAIN to predict.", param_hint="'--target'")
    errors = _console(stderr=True)
    work = _work_of(out)
    with _faults_said(errors, resumable=work) as written:
        to_stdout = json_out in _STDOUT
        json_file = None if json_out is None or to_stdout else Path(json_out)
        inputs = {"TRAIN": train, "LIVE": live, "--labels": labels, "--model": model}
        conditions = _checked(fail_on or [], out, json_file, alpha, inputs=inputs, work=work, every=every)

        with _TerminalProgress(errors, quiet=quiet) as progress:
            from steelyard.auditing import audit as run_audit

            result = run_audit(
                train,
                live,
                target=target,
                proba=tuple(proba or ()),
                prediction=prediction,
                model=model,
                labels=labels,
                time=time_column,
                environment=environment,
                every=_every(every),
                metrics=tuple(metric or ()) or None,
                alpha=alpha,
                exclude=tuple(exclude or ()),
                positive=positive,
                weighting=weighting,
                label_noise=_noise(label_noise),
                fail_on=tuple(fail_on or ()),
                task=task,
                categorical=tuple(categorical or ()),
                null=tuple(null or ()),
                decimal=decimal,
                values=not no_values,
                seed=seed,
                sample=sample,
                engine=engine,
                scheduler=scheduler,
                work=work,
                resume=resume,
                progress=progress,
            )
        answers = errors if to_stdout else _console()
        _write_all(result, out, json_file, answers, written, quiet=quiet)
        _clear(work)
        if to_stdout:
            with _reader_may_go():
                typer.echo(_json(result))
        code = _judged(conditions, result, errors)
    raise typer.Exit(code)


@app.command(cls=_ManyValuesOneTable)
def profile(
    train: Annotated[
        str, _table("TRAIN", "Labelled data: CSV, Parquet, Arrow or NDJSON, a file, directory or glob.")
    ],
    target: Annotated[str, _option("--target", "COL", "The column of TRAIN to predict.")],
    out: Annotated[Path, _option("-o", "FILE", "Where to write the profile, such as ref.steelyard.")],
    proba: Annotated[list[str] | None, _option("--proba", "COL", _PROBA_HELP)] = None,
    prediction: Annotated[
        str | None, _option("--prediction", "COL", "The deployed model's prediction.")
    ] = None,
    exclude: Annotated[
        list[str] | None, _option("--exclude", "COL", "Columns of which no value is to be kept.")
    ] = None,
    positive: Annotated[
        str | None, _option("--positive", "VALUE", "The positive one of two classes.")
    ] = None,
    task: Annotated[str | None, _option("--task", "classification|regression", _TASK_HELP)] = None,
    categorical: Annotated[list[str] | None, _option("--categorical", "COL", _CATEGORICAL_HELP)] = None,
    null: Annotated[list[str] | None, _option("--null", "WORD", _NULL_HELP)] = None,
    decimal: Annotated[str, typer.Option(metavar=".|,", help=_DECIMAL_HELP)] = ".",
    sample: Annotated[
        int, typer.Option(metavar="ROWS", min=1000, max=10_000_000, help="Rows of TRAIN to keep at most.")
    ] = 50_000,
    seed: _Seed = 0,
    quiet: _Quiet = False,
) -> None:
    """Keep what later audits need of TRAIN in one file, to be given in its place: a sample and sums.

    The file holds rows of TRAIN: see what it keeps before you hand it on (docs: The reference profile).
    """
    errors = _console(stderr=True)
    with _faults_said(errors, made="profile", places="-o") as written:
        with _TerminalProgress(errors, quiet=quiet) as progress:
            from steelyard.auditing.profiles.make import profile as make_profile
            from steelyard.auditing.profiles.reference import reference_faults
            from steelyard.reporting.places import input_faults

            faults = reference_faults(out) or input_faults([("-o", out)], {"TRAIN": train})
            if faults:
                raise InputError(faults)
            reference = make_profile(
                train,
                target=target,
                proba=tuple(proba or ()),
                prediction=prediction,
                exclude=tuple(exclude or ()),
                positive=positive,
                task=task,
                categorical=tuple(categorical or ()),
                null=tuple(null or ()),
                decimal=decimal,
                sample=sample,
                seed=seed,
                progress=progress,
            )
            reference.save(out)
            written.append(f"'{out}'")
        if not quiet:
            with _reader_may_go():
                for line in _profile_summary(reference, out):
                    _console().print(_clean(line), markup=False, soft_wrap=True)


@app.command()
def demo(out: _Out = Path("steelyard-report"), seed: _Seed = 0, quiet: _Quiet = False) -> None:
    """Audit the census extract that ships with steelyard, then score the estimates on the labels."""
    errors = _console(stderr=True)
    with _faults_said(errors) as written:
        _checked([], out, None, 0.1)
        with _TerminalProgress(errors, quiet=quiet) as progress:
            from steelyard.auditing import audit as run_audit
            from steelyard.auditing.reading.read import read_tables
            from steelyard.auditing.reveal import reveal
            from steelyard.datasets import census_paths

            train, live, labels = census_paths()
            question: dict[str, Any] = {"target": "employed", "proba": ("score",)}
            result = run_audit(train, live, **question, seed=seed, progress=progress)
        answers = _console()
        _write_all(result, out, None, answers, written, quiet=quiet)
        tables = read_tables(train, live, **question, labels=labels)
        if not quiet:
            answers.print("\nLIVE's labels, which the audit did not see, are now revealed:")
            answers.print(_revealed_table(reveal(result.performance, tables)))


@app.command()
def methods(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="Words to look for.", show_default=False)
    ] = None,
) -> None:
    """List the methods of the library: name, room, and the papers they come from."""
    from rich.table import Table

    from steelyard.methods import METHODS

    words = (query or "").lower().split()
    found = [
        m
        for m in METHODS
        if all(w in f"{m.name} {m.room} {m.summary} {' '.join(map(str, m.ids))}".lower() for w in words)
    ]
    console = _console()
    if not found:
        console.print(
            "No method matches. `steelyard methods` lists all." if words else "No method is listed."
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Method", "Room", "Papers", "What it does"):
        table.add_column(name, no_wrap=name == "Method")
    for m in found:
        table.add_row(m.name, m.room, ", ".join(map(str, m.ids)), m.summary)
    with _reader_may_go():
        console.print(table)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    asked = os.environ.get("COLUMNS", "")
    known = stream.isatty() or (asked.isdecimal() and int(asked) > 0)
    # Piped output is read by programs or in a log: its lines are broken only where somebody says so.
    return Console(stderr=stderr, width=None if known else _UNBROKEN, highlight=False)


def _work_of(out: Path) -> Path:
    """Return the directory in which a long audit leaves what it has: beside its report."""
    if out.name in ("", ".."):
        out = out.resolve()
    return out.parent / f"{out.name or 'steelyard'}.partial"


def _clear(work: Path, *, unless_begun: bool = False) -> None:
    """Remove what an audit has left to go on from, or only if that is nothing yet."""
    if os.path.isdir(work):  # which no name is too long for
        from steelyard.auditing.parts.spool import begun, remove

        if not (unless_begun and begun(work)):
            remove(work)


@contextmanager
def _faults_said(
    errors: Console,
    *,
    resumable: Path | None = None,
    made: str = "report",
    places: str = "--out, --json",
) -> Iterator[list[str]]:
    """Turn every failure into one line a fault and the right exit code.

    ``made`` is what the command was to write, ``places`` the options that say where.
    What was written is to be appended to the list that it gives.
    """
    written: list[str] = []
    try:
        with warnings.catch_warnings(), _stopped_as_interrupted():
            # What a warning would say stands in the findings.
            warnings.simplefilter("ignore")
            yield written
    except InputError as error:
        if resumable is not None:
            _clear(resumable, unless_begun=True)
        _say(errors, error.faults)
        raise typer.Exit(WRONG_INPUT) from None
    except InconclusiveError as error:
        _say(errors, (f"inconclusive: {error}",))
        raise typer.Exit(INCONCLUSIVE) from None
    except SteelyardError as error:
        _say(errors, (str(error),))
        raise typer.Exit(WRONG_INPUT) from None
    except OSError as error:
        _say(errors, (_system_fault(error, places) + _further(resumable),))
        raise typer.Exit(WRONG_INPUT) from None
    except MemoryError:
        _say(errors, (f"out of memory; give fewer rows (--sample), or free some{_further(resumable)}",))
        raise typer.Exit(WRONG_INPUT) from None
    except KeyboardInterrupt:
        what = f"{' and '.join(written)} had been written" if written else f"no {made} was written"
        _say(errors, (f"interrupted; {what}{_further(resumable)}",))
        raise typer.Exit(INTERRUPTED) from None
    except typer.Exit:
        raise
    except Exception as error:
        _say(errors, (_own_fault(error) + _further(resumable),))
        raise typer.Exit(WRONG_INPUT) from None


@contextmanager
def _stopped_as_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the work as Ctrl-C does; what heard them before hears them afterwards."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say what hears a signal
        yield
        return

    def stop(number: int, frame: Any) -> None:
        # Further ones would only break off the clearing up.
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows knows no SIGHUP
            # What was started with nohup is not to hear it.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python, and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _reader_may_go() -> Iterator[None]:
    """Print, and go on where whoever read the output has gone: there is nobody left to tell."""
    try:
        yield
    except BrokenPipeError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _further(resumable: Path | None) -> str:
    """Say how to go on, if some part of an audit is done; what is less than that is removed."""
    if resumable is None:
        return ""
    _clear(resumable, unless_begun=True)
    kept = os.path.isdir(resumable)
    return f"; what is done lies in '{resumable}': add --resume to go on" if kept else ""


def _say(errors: Console, faults: Sequence[str]) -> None:
    # Where errors cannot be written either, the exit code is all there is.
    with suppress(OSError, ValueError):
        for fault in faults:
            errors.print(f"steelyard: {_clean(' '.join(fault.split()))}", markup=False, soft_wrap=True)


def _clean(text: str) -> str:
    """Make text that may hold names and values of tables safe for a terminal."""
    from steelyard.reporting.words import short

    return short(text, _UNBROKEN)


def _own_fault(error: Exception) -> str:
    """Say in one line that steelyard is at fault, and where; the traceback only if it is asked for."""
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if f"{os.sep}steelyard{os.sep}" in step.filename]
    where = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"internal error{where}: {told[:500]}; this is a fault of steelyard {__version__}, please report it "
        f"({_TRACEBACK}=1 shows the traceback)"
    )


def _system_fault(error: OSError, places: str) -> str:
    where = f"'{error.filename}'" if error.filename else "a file"
    return f"cannot write {where}: {error.strerror or error}; free space or choose another place ({places})"


def _every(text: str | None) -> int | str | None:
    """Read ``day`` as it is, and ``500`` as a number of rows."""
    return int(text) if text is not None and text.isdecimal() and len(text) < _MOST_DIGITS else text


# More rows than any table has; a number beyond that is a slip of the keyboard, or worse.
_MOST_DIGITS = 16


def _profile_summary(reference: Reference, path: Path) -> list[str]:
    """Say what a profile holds, in a few lines."""
    kept = reference.sample.height
    rows = f"{reference.rows:,} rows, " + (
        "all of them kept" if reference.whole else f"{kept:,} of them kept, the rest as sums"
    )
    left_over = reference.unlabelled + reference.unknown
    roles = {column.name: column.role for column in reference.columns}
    features = sum(roles[name] == "feature" for name in reference.sample.columns)
    columns = [f"{features} features", f"target '{reference.target}'"]
    columns += [f"output '{name}'" for name in reference.outputs]
    withheld = [f"'{column.name}' ({', '.join(column.issues)})" for column in reference.withheld]
    return [
        f"Profile: {path} ({path.stat().st_size / 1e6:.1f} MB)",
        f"Rows:    {rows}" + (f"; {left_over:,} more without a known target" if left_over else ""),
        f"Columns: {', '.join(columns)}",
        *([f"No value kept of: {', '.join(withheld)}"] if withheld else []),
    ]


def _noise(given: Sequence[str] | None) -> float | dict[str, float] | None:
    """Read ``0.1``, or ``yes=0.3`` for each of some classes."""
    if not given:
        return None
    try:
        if len(given) == 1 and "=" not in given[0]:
            return float(given[0])
        return {name: float(rate) for name, rate in (word.rsplit("=", 1) for word in given)}
    except ValueError:
        raise InputError(
            f"--label-noise is {' '.join(given)}; give one rate, such as 0.1, or one for each class that has "
            "wrong labels, such as yes=0.3."
        ) from None


def _checked(
    fail_on: Sequence[str],
    out: Path,
    json_file: Path | None,
    alpha: float,
    *,
    inputs: Mapping[str, Any] | None = None,
    work: Path | None = None,
    every: str | None = None,
) -> list[Condition]:
    """See before any work that the conditions can be read and the output written."""
    from steelyard.auditing.gate import Condition
    from steelyard.reporting import place_faults

    faults: list[str] = []
    conditions = []
    for text in fail_on:
        try:
            conditions.append(Condition.parse(text))
        except InputError as error:
            faults += error.faults
    if not 0 < alpha < 1:
        faults.append(f"--alpha {alpha:g} is not between 0 and 1; 0.1 gives intervals for 90% of rows")
    if every is not None and every.isdecimal() and len(every) >= _MOST_DIGITS:
        faults.append(f"--every {every[:20]} is more rows than a table has; give day, week, month or fewer")
    faults += place_faults(out, json_file, inputs=inputs, work=work)
    if faults:
        raise InputError(faults)
    return conditions


def _json(result: AuditResult) -> str:
    return json.dumps(result.to_dict(), indent=2, allow_nan=False)


def _write_all(
    result: AuditResult,
    out: Path,
    json_file: Path | None,
    answers: Console,
    written: list[str],
    *,
    quiet: bool,
) -> None:
    """Write the report and the JSON, whole or not at all, and print the answer even if that fails."""
    from steelyard.reporting import summary, whole_file

    try:
        with whole_file(json_file, _json(result)) if json_file is not None else nullcontext():
            where = result.save(out)
            written.append(f"'{where}'")
    except (OSError, InputError):
        if not quiet:
            answers.print(summary(result.to_dict()))
        raise
    if not quiet:
        with _reader_may_go():
            answers.print(summary(result.to_dict()))
            answers.print(f"\nReport: {_clean(str(where / 'report.html'))}", markup=False, soft_wrap=True)


def _judged(conditions: list[Condition], result: AuditResult, errors: Console) -> int:
    from steelyard.auditing.gate import Gate

    gate = Gate.judge(conditions, result)
    _say(errors, gate.reasons)
    return gate.exit_code


def _revealed_table(rows: Sequence[Revealed]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Metric", "Carried over", "Estimate", "95% interval", "Actual", "Inside?"):
        table.add_column(name, justify="left" if name == "Metric" else "right")
    for row in rows:
        interval = "-" if row.low is None or row.high is None else f"{row.low:.4f} to {row.high:.4f}"
        inside = "-" if row.inside is None else "yes" if row.inside else "no"
        table.add_row(row.metric, _four(row.naive), _four(row.estimate), interval, _four(row.actual), inside)
    return table


def _four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


class _TerminalProgress:
    """Steps and their seconds on a terminal's stderr; nothing elsewhere, or if asked to be quiet."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._live: Any = None
        if console.is_terminal and not quiet:
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._live = Progress(
                SpinnerColumn(finished_text="✓"),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[share]}"),
                console=console,
                transient=True,
            )

    def __enter__(self) -> _TerminalProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Show a step as running until the context ends, and how much of it is done once that is told."""
        live = self._live
        if live is None:
            yield lambda share: None
            return
        task = live.add_task(_clean(name), total=1, share="")
        yield lambda share: live.update(task, completed=min(share, 0.999), share=f"{share:.0%}")
        live.update(task, completed=1, share="")


def main() -> None:
    """Run the command line; the entry point of ``steelyard``."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            # A log in ASCII gets question marks instead of an error.
            stream.reconfigure(errors="replace")
    # What a command does not catch itself: its words are printed before it begins.
    with _standard_streams():
        app()


@contextmanager
def _standard_streams() -> Iterator[None]:
    """Let output that cannot be written end as any other wrong place does, never with a traceback."""
    try:
        yield
        sys.stdout.flush()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # which typer ends with 1, and 1 is a condition
            raise SystemExit(FINE) from None
        try:
            sys.stdout.flush()
        except OSError as error:
            _unwritable(error)
        raise end from None
    except OSError as error:
        _unwritable(error)


def _unwritable(error: OSError) -> None:
    """End where standard output is gone or full; what it still holds is let go."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return
    _say(_console(stderr=True), (f"cannot write the output: {error.strerror or error}; free space",))
    raise SystemExit(WRONG_INPUT) from None
