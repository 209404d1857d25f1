"""The two sides of the comparison: tables in parts, and the rows of each that models are fitted on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import sklearn

from steelyard._version import __version__
from steelyard.auditing.parts.opening import count_rows, open_source
from steelyard.auditing.parts.source import Frame, Source, gather, gather_known, has_value
from steelyard.auditing.parts.spool import TABLES, Spool, claim
from steelyard.auditing.parts.store import Memory, Store
from steelyard.auditing.parts.windows import Cutter, check_count, make_cutter
from steelyard.auditing.profiles.reference import Reference
from steelyard.auditing.question import Question, Run
from steelyard.auditing.reading.names import listed, series_of, without
from steelyard.auditing.reading.read import label_series
from steelyard.auditing.reading.sources import load
from steelyard.auditing.reading.watch import Watch
from steelyard.auditing.result import Finding
from steelyard.errors import InputError
from steelyard.numerics import as_generator

IntArray = npt.NDArray[np.int64]

SAMPLE_ROWS = 250_000
"""Rows a side that models are fitted on; larger tables are sampled, and all of their rows scored."""

# Where fewer of TRAIN's rows have a target, the sample is drawn among those that do: a second pass.
_MOST_LABELLED = 0.9


@dataclass(frozen=True)
class Side:
    """A table in parts, and a sample of it: its rows' numbers, ascending, and the rows.

    ``labelled`` tells that they were drawn among the rows with a target.
    """

    name: Literal["TRAIN", "LIVE"]
    source: Source
    rows: IntArray
    frame: pl.DataFrame
    labelled: bool = False

    @property
    def sampled(self) -> bool:
        """Whether the sample lacks some of the rows."""
        return len(self.rows) < self.source.rows

    @property
    def held(self) -> bool:
        """Whether all rows are in the sample, and are one part."""
        return not self.sampled and len(self.source.parts) == 1


@dataclass(frozen=True)
class Sides:
    """TRAIN and LIVE.

    ``reference`` is the profile that TRAIN is the sample of; its sums were stored
    earlier. ``labels`` are LIVE's: a column of it, or a value a row. ``cutter``
    cuts LIVE into windows, and ``store`` takes what is found of each row. ``indexes``
    are the columns of each that its files call an index, and ``watch`` knows the files.
    """

    train: Side
    live: Side
    reference: Reference | None
    labels: str | pl.Series | None
    cutter: Cutter | None
    store: Store
    indexes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    watch: Watch = field(default_factory=Watch)

    @property
    def sample_labels(self) -> Any:
        """The labels of LIVE's sampled rows, as `read_tables` takes them."""
        if isinstance(self.labels, pl.Series):
            return self.labels[self.live.rows]
        return self.labels

    def findings(self) -> tuple[Finding, ...]:
        """Tell which tables are known in part."""
        told = [] if self.reference is None else [profile_finding(self.reference)]
        told += index_findings(self.indexes)
        told += [] if self.cutter is None else self.cutter.findings
        for side in (self.train, self.live):
            if side.sampled:
                among = ", drawn among those with a target" if side.labelled else ""
                text = (
                    f"{side.name} has {side.source.rows:,} rows: models were fitted, and shifts tested, on a "
                    f"uniform sample of {len(side.rows):,} of them (--sample){among}; every row was scored."
                )
                told.append(Finding("sampled", "info", text, step="read"))
        return tuple(told)


def profile_finding(reference: Reference) -> Finding:
    """Tell that TRAIN is a profile, and what that means for the figures."""
    made = f"TRAIN is a profile, made on {reference.created[:10]} of {reference.rows:,} rows"
    text = f"{made}, all of which it holds."
    if not reference.whole:
        also = " and the performance carried over" if reference.sums is not None else ""
        text = (
            f"{made} with {reference.sample.height:,} of them sampled: models were fitted, and shifts "
            "tested, on those, and the intervals hold the sample's size. "
            f"The figures of the columns{also} are those of all rows."
        )
    return Finding("profile", "info", text, step="read")


def index_findings(indexes: tuple[Sequence[str], Sequence[str]]) -> list[Finding]:
    """Tell which columns are left out because their files call them an index."""
    sides = [f"{listed(names)} in {side}" for side, names in zip(("TRAIN", "LIVE"), indexes) if names]
    if not sides:
        return []
    text = (
        f"Row names, not columns, are {' and '.join(sides)}, by what the files say (pandas and R write an "
        "index so): left out. Where they mean more, make them a column before writing "
        "(reset_index, or a name in the header)."
    )
    return [Finding("index-column", "info", text, step="read")]


def open_sides(
    train: Any, live: Any, question: Question, run: Run, *, reference: Reference | None, faults: list[str]
) -> Sides:
    """Open both tables, and draw the rows that models are fitted on.

    Tables that are held whole are one part, all of whose rows are in the sample;
    a larger one is read part by part, whoever works on the parts.

    Parameters
    ----------
    train, live : path, glob, Source or data frame
        TRAIN is not looked at where there is a ``reference``.
    question : Question
    run : Run
    reference : Reference or None
    faults : list of str
        What is wrong, but does not keep the tables from being read, is appended.

    Raises
    ------
    InputError
        If a table cannot be read.
    """
    if reference is not None:
        # Of a profile whose output is not judged those columns are none of TRAIN.
        kept = question.proba or question.prediction
        train = reference.sample if kept else without(reference.sample, reference.outputs)
    watch = Watch.of({"TRAIN": train, "LIVE": live, "labels": question.labels, "the model": question.model})
    large = too_large(train, question.sample) or too_large(live, question.sample)
    opened = _in_parts if large else _whole
    indexes: tuple[list[str], list[str]] = ([], [])
    of_train = () if reference is None else tuple(column.name for column in reference.columns)
    sides, store = opened(train, live, question, run, _Kept(question.columns, of_train, indexes))
    labels = _labels(question, sides[1].source, faults)
    cutter = _cutter(question, sides[1], run, faults)
    told = tuple(indexes[0]), tuple(indexes[1])
    return Sides(*sides, reference, labels, cutter, store, told, watch)


@dataclass(frozen=True)
class _Kept:
    """Columns that are kept even if a file calls them an index; and those that were left out, by side."""

    named: frozenset[str]
    of_train: tuple[str, ...]
    indexes: tuple[list[str], list[str]]

    def on(self, side: str, train: Sequence[str] = ()) -> dict[str, Any]:
        """Return the options by which a side is read; what is a column of TRAIN is one of LIVE."""
        if side == "TRAIN":
            return {"named": self.named, "indexes": self.indexes[0]}
        return {"named": {*self.named, *self.of_train, *train}, "indexes": self.indexes[1]}


def too_large(table: Any, sample: int) -> bool:
    """Whether a table has more rows than are to be held; one that cannot be read has not."""
    rows = count_rows(table)
    return rows is not None and rows > sample


def _whole(
    train: Any, live: Any, question: Question, run: Run, kept: _Kept
) -> tuple[tuple[Side, Side], Store]:
    """Return both tables as one part each."""
    del run
    faults: list[str] = []
    first = load(train, "TRAIN", faults, question.dialect, **kept.on("TRAIN"))
    columns = () if first is None else tuple(first.columns)
    frames = [first, load(live, "LIVE", faults, question.dialect, **kept.on("LIVE", columns))]
    if frames[0] is None or frames[1] is None:
        raise InputError(faults)
    held = [Frame(frame, max(frame.height, 1)) for frame in frames if frame is not None]
    rows = [np.arange(source.rows) for source in held]
    return (
        Side("TRAIN", held[0], rows[0], held[0].frame),
        Side("LIVE", held[1], rows[1], held[1].frame),
    ), Memory()


def _in_parts(
    train: Any, live: Any, question: Question, run: Run, kept: _Kept
) -> tuple[tuple[Side, Side], Store]:
    """Open both tables in parts, and draw their samples."""
    faults: list[str] = []
    directory = run.directory()
    claim(directory)
    scratch = directory / TABLES
    scratch.mkdir(0o700, parents=True, exist_ok=True)
    options: dict[str, Any] = {"scratch": scratch, "dialect": question.dialect}
    first = open_source(train, "TRAIN", faults, **options, **kept.on("TRAIN"))
    columns = () if first is None else first.columns
    sources = [first, open_source(live, "LIVE", faults, **options, **kept.on("LIVE", columns))]
    if sources[0] is None or sources[1] is None:
        raise InputError(faults)
    if isinstance(question.labels, str) and question.labels not in sources[1].columns:
        # The labels' own faults are told before rows are drawn.
        _labels(question, sources[1], faults)
    if faults:
        raise InputError(faults)
    identity = {
        "TRAIN": sources[0].identity(),
        "LIVE": sources[1].identity(),
        "the options": question.identity(),
        "the versions": _versions(),
    }
    spool = Spool(directory, identity, resume=run.resume)
    rng = as_generator(question.seeds.sample)
    rows = [drawn(source.rows, question.sample, rng) for source in sources if source is not None]
    frame = gather(sources[0], rows[0], run.engine.map)
    frame_live = gather(sources[1], rows[1], run.engine.map)
    sides = (
        _among_labelled(Side("TRAIN", sources[0], rows[0], frame), question, run, rng),
        Side("LIVE", sources[1], rows[1], frame_live),
    )
    return sides, spool


def _versions() -> list[str]:
    return [__version__, platform.python_version(), np.__version__, pl.__version__, sklearn.__version__]


def _among_labelled(train: Side, question: Question, run: Run, rng: np.random.Generator) -> Side:
    """Draw TRAIN's sample anew among the rows with a target, where many have none."""
    target = question.target
    if target not in train.frame.columns or not train.sampled:
        return train
    share = float(has_value(series_of(train.frame, target)).mean())
    if share >= _MOST_LABELLED:
        return train
    # So many rows as should hold a sample of labelled ones, of which the rest is let go.
    every = train.source.rows
    wanted = min(1.1 * question.sample / max(share, 1 / len(train.rows)), every)
    candidates = drawn(every, int(wanted), rng)
    frame, rows = gather_known(train.source, candidates, target, run.engine.map)
    if not len(rows):
        raise InputError(
            f"target '{target}' is missing in every row of TRAIN that was looked at ({int(wanted):,}); "
            "give a labelled table"
        )
    kept = drawn(len(rows), question.sample, rng)
    return Side("TRAIN", train.source, rows[kept], frame[kept], labelled=True)


def drawn(n: int, most: int, rng: np.random.Generator) -> IntArray:
    """Draw the numbers of a uniform sample of rows, ascending; all of them if there are no more."""
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, size=most, replace=False, shuffle=False))


def _labels(question: Question, live: Source, faults: list[str]) -> str | pl.Series | None:
    """Return LIVE's labels, wherever they are."""
    labels = question.labels
    if labels is None or (isinstance(labels, str) and labels in live.columns):
        return labels if isinstance(labels, str) else None
    values = label_series(labels, question.target, faults, question.dialect)
    if values is not None and values.len() != live.rows:
        faults.append(
            f"labels: {values.len()} values for {live.rows} rows of LIVE; give one a row, in the same order"
        )
        return None
    return values


def _cutter(question: Question, live: Side, run: Run, faults: list[str]) -> Cutter | None:
    """Return what cuts LIVE into windows; what is wrong with the times is told before the long steps."""
    if question.time is not None and question.time not in live.source.columns:
        return None  # which the reading tells
    try:
        cutter = make_cutter(live.source, question.time, question.every, run.engine.map)
        if cutter is not None:
            check_count(question.every, np.unique(cutter(live.frame, live.rows)))
    except InputError as error:
        faults += error.faults
        return None
    return cutter
