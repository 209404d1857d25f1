"""What an audit is asked, checked once; and how it is run, on which the answer does not hang."""

from __future__ import annotations

import glob
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import joblib
from threadpoolctl import threadpool_limits

from steelyard.auditing.learn.asked import check_weighting
from steelyard.auditing.parts.engine import Engine
from steelyard.auditing.parts.spool import Temporary
from steelyard.auditing.profiles.reference import Reference
from steelyard.auditing.reading.dialect import PLAIN, Dialect, dialect
from steelyard.auditing.reading.names import as_name, as_names
from steelyard.errors import InputError
from steelyard.numerics import as_generator, check_level, draw_seed
from steelyard.numerics.progress import Progress

LabelNoise = float | Mapping[Any, float]
"""The share of wrong labels: of all rows, or by true class."""


class Seeds(NamedTuple):
    """One seed for each step that draws, so that what one step draws moves no other."""

    model: int
    outcome: int
    shift: int
    weigh: int
    attribute: int
    certify: int
    advise: int
    sample: int
    deal: int
    faults: int
    relation: int


@dataclass(frozen=True)
class Question:
    """All that the answer hangs on beside the tables, as `steelyard.audit` takes it."""

    target: str
    proba: tuple[str, ...] = ()
    prediction: str | None = None
    model: Any = None
    labels: Any = None
    time: str | None = None
    every: int | str | None = None
    environment: str | None = None
    metrics: tuple[str, ...] = ()
    alpha: float = 0.1
    exclude: tuple[str, ...] = ()
    positive: Any = None
    weighting: Any = "auto"
    label_noise: LabelNoise | None = None
    dialect: Dialect = PLAIN
    seed: int = 0
    sample: int = 250_000

    @property
    def seeds(self) -> Seeds:
        """A seed for each step."""
        rng = as_generator(self.seed)
        return Seeds(*(draw_seed(rng) for _ in Seeds._fields))

    def identity(self) -> dict[str, Any]:
        """Return plain values that change when an option does, to know whether a run can be resumed."""
        # A column may be named like a file, and a word may be a pattern of some.
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: value if isinstance(value, str) and name not in ("labels", "model") else told_apart(value)
            for name, value in plain.items()
        }

    @property
    def columns(self) -> frozenset[str]:
        """Columns that the caller named, whatever they are for."""
        named = [self.target, *self.proba, self.prediction, self.time, self.environment, *self.exclude]
        named += [*self.dialect.categorical, self.labels if isinstance(self.labels, str) else None]
        return frozenset(name for name in named if name is not None)


def ask(
    *,
    reference: Reference | None,
    target: str | None,
    proba: str | Sequence[str],
    prediction: str | None,
    exclude: str | Sequence[str],
    metrics: Sequence[str] | None,
    alpha: float,
    task: str | None,
    categorical: str | Sequence[str],
    null: str | Sequence[str],
    decimal: str,
    **rest: Any,
) -> Question:
    """Return the question; what a profile of TRAIN knows of it is filled in.

    Raises
    ------
    InputError
        If a table comes without a target, a profile was made for another question, or an option
        cannot be meant.
    """
    check_level(alpha)
    check_weighting(rest["weighting"])
    target, prediction = as_name(target), as_name(prediction)
    proba, exclude, categorical = as_names(proba), as_names(exclude), as_names(categorical)
    rest = {
        **rest,
        "environment": as_name(rest.get("environment")),
        "time": as_name(rest.get("time")),
        "labels": _label_name(rest.get("labels")),
    }
    named = {"target": target, "proba": proba, "prediction": prediction, "positive": rest["positive"]}
    if reference is not None:
        _check_reference(reference, named)
        # A model is to be judged, not what another one said: that is no column of TRAIN then.
        judged = rest["model"] is None or bool(proba or prediction)
        named = {
            "target": reference.target,
            "proba": reference.proba if judged else (),
            "prediction": reference.prediction if judged else None,
            "positive": reference.positive,
        }
        # What the profile does not hold needs no leaving out.
        withheld = {column.name for column in reference.withheld}
        exclude = tuple(name for name in exclude if name not in withheld)
    elif target is None:
        raise InputError("no target is named; name the column of TRAIN to predict (--target)")
    read_as = dialect(task=task, categorical=categorical, null=null, decimal=decimal)
    if reference is not None:
        read_as = _dialect_of(reference, read_as)
    return Question(
        alpha=alpha, exclude=exclude, metrics=tuple(metrics or ()), dialect=read_as, **{**rest, **named}
    )


def _label_name(labels: Any) -> Any:
    """Return the name of a column whose name is a number; whatever else tells the labels stays."""
    return str(labels) if isinstance(labels, int) else labels


def _dialect_of(reference: Reference, asked: Dialect) -> Dialect:
    """Return how a profile's TRAIN was read, by which LIVE is read as well."""
    made = reference.dialect
    faults = [
        f"TRAIN is a profile made with {_option(f.name, getattr(made, f.name))}, not "
        f"{_option(f.name, getattr(asked, f.name))}; leave that out, or make a profile of TRAIN with it"
        for f in fields(Dialect)
        if getattr(asked, f.name) not in (getattr(PLAIN, f.name), getattr(made, f.name))
    ]
    if faults:
        raise InputError(faults)
    return made


def _check_reference(reference: Reference, named: Mapping[str, Any]) -> None:
    faults = [
        f"TRAIN is a profile made with {_option(name, getattr(reference, name))}, not "
        f"{_option(name, value)}; leave that out, or make a profile of TRAIN with it"
        for name, value in named.items()
        if value not in (None, ()) and str(value) != str(getattr(reference, name))
    ]
    if faults:
        raise InputError(faults)


def _option(name: str, value: Any) -> str:
    if value in (None, ()):
        return f"no --{name}"
    return f"--{name} {' '.join(value) if isinstance(value, tuple) else value}"


def told_apart(value: Any) -> Any:
    """Return a plain value that changes when an option does, or the file that it names."""
    if isinstance(value, (str, Path)):
        named = [Path(value)] if Path(value).is_file() else [Path(p) for p in sorted(glob.glob(str(value)))]
        stats = [(path, path.stat()) for path in named if path.is_file()]
        told = [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
        return told[0] if len(told) == 1 else told or str(value)
    if value is None or isinstance(value, (int, float)):
        return value
    # A model or labels in memory: what is printed of them may be the same of others.
    return joblib.hash(value)


@dataclass
class Run:
    """How an audit is run: who works on the parts, where rows are left, and who is told.

    ``work`` is made when it is first needed, and is removed with the run if the caller named none.
    """

    engine: Engine
    progress: Progress
    work: Path | None = None
    resume: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    temporary: Temporary | None = None

    def directory(self) -> Path:
        """Return where rows and sums are left."""
        if self.work is None:
            self.temporary = Temporary()
            self.work = self.temporary.path
        return self.work

    @contextmanager
    def step(self, key: str, name: str) -> Iterator[Callable[[float], None]]:
        """Time a step, and tell of it."""
        started = clock.perf_counter()
        # The models are small and many: handing each split to several threads costs more than it
        # gives on an idle machine, and far more beside another process.
        with self.progress.step(name) as done, threadpool_limits(limits=1):
            yield done
        self.seconds[key] = round(clock.perf_counter() - started, 3)
