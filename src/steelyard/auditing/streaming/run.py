"""Tables too large to hold: which rows the models see, and the pass over all of them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy as np
import numpy.typing as npt
import polars as pl
import sklearn

from steelyard._version import __version__
from steelyard.auditing.estimate import as_outputs
from steelyard.auditing.limits import UNCOVERED_RATIO
from steelyard.auditing.read import label_series
from steelyard.auditing.reading.target import Target, read_labels
from steelyard.auditing.result import Finding
from steelyard.auditing.streaming.engine import Engine
from steelyard.auditing.streaming.finish import Sampled
from steelyard.auditing.streaming.opening import open_source
from steelyard.auditing.streaming.scorer import KnownLive, KnownTrain, Learnt, ScoreLive, ScoreTrain
from steelyard.auditing.streaming.source import Part, Source, gather, gather_known, has_value
from steelyard.auditing.streaming.spool import TABLES, Spool, claim, normalised_weights
from steelyard.auditing.streaming.totals import LiveTotals, Totals, TrainTotals, score_edges
from steelyard.auditing.streaming.windows import Cutter, check_count, make_cutter
from steelyard.errors import InputError
from steelyard.evaluation import METRICS
from steelyard.numerics import as_generator

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
T = TypeVar("T", bound=Totals)

# Where fewer of TRAIN's rows have a target, the sample is drawn among those that do: a second pass.
_MOST_LABELLED = 0.9

SAMPLE_ROWS = 250_000
"""Rows a side that models are fitted on; larger tables are sampled, and all of their rows scored."""

# A window's fewer rows have the noise for wider bins.
_WINDOW_BINS = 500


@dataclass(frozen=True)
class Streams:
    """Both tables in parts, and the sample of either: its rows' numbers, ascending, and the rows.

    ``labelled`` tells that TRAIN's was drawn among the rows with a target, and ``every`` how LIVE is cut.
    """

    train: Source
    live: Source
    train_rows: IntArray
    live_rows: IntArray
    train_frame: pl.DataFrame
    live_frame: pl.DataFrame
    cutter: Cutter | None
    label_values: pl.Series | None
    label_column: str | None
    engine: Engine
    spool: Spool
    labelled: bool = False
    every: int | str | None = None

    @property
    def labels(self) -> Any:
        """The labels of the sampled rows, as `read_tables` takes them."""
        if self.label_values is None:
            return self.label_column
        return self.label_values[self.live_rows].to_list()

    def sampled(self, side: str) -> bool:
        """Whether the sample of ``"TRAIN"`` or ``"LIVE"`` lacks some of its rows."""
        source, rows = (self.train, self.train_rows) if side == "TRAIN" else (self.live, self.live_rows)
        return len(rows) < source.rows

    def row_tables(self, train: TrainTotals) -> dict[str, pl.LazyFrame]:
        """Return the weights of TRAIN's rows and the predictions of LIVE's, once all are scored."""
        weights = self.spool.table("train", len(self.train.parts))
        return {
            "weights": normalised_weights(weights, train.weights.log_mean or 0.0),
            "predictions": self.spool.table("live", len(self.live.parts)),
        }

    def findings(self) -> tuple[Finding, ...]:
        """Tell which tables were sampled."""
        out = []
        sides = (("TRAIN", self.train, self.train_rows), ("LIVE", self.live, self.live_rows))
        for side, source, rows in sides:
            if self.sampled(side):
                among = ", drawn among those with a target" if side == "TRAIN" and self.labelled else ""
                text = (
                    f"{side} has {source.rows:,} rows: models were fitted, and shifts tested, on a uniform "
                    f"sample of {len(rows):,} of them (--sample){among}; every row was scored."
                )
                out.append(Finding("sampled", "info", text))
        return tuple(out)


def open_streams(
    train: Any,
    live: Any,
    *,
    sample: int,
    engine: Engine,
    directory: Path,
    resume: bool,
    time: str | None,
    every: int | str | None,
    labels: Any,
    target: str,
    options: Mapping[str, Any],
    seed: int,
) -> Streams:
    """Open both tables in parts and draw their samples.

    Parameters
    ----------
    train, live : path, glob, Source or data frame
    sample : int
        Rows of either side to draw.
    engine : Engine
    directory : Path
        Where to leave rows and sums.
    resume : bool
        Go on from what is there.
    time, every, labels, target
        As the audit takes them.
    options : mapping
        All that the answer hangs on, to know whether a run can be resumed.
    seed : int

    Raises
    ------
    InputError
        With every fault that was found.
    """
    faults: list[str] = []
    claim(directory)
    scratch = directory / TABLES
    scratch.mkdir(parents=True, exist_ok=True)
    train_source = open_source(train, "TRAIN", faults, scratch=scratch)
    live_source = open_source(live, "LIVE", faults, scratch=scratch)
    if train_source is None or live_source is None:
        raise InputError(faults)
    if time is not None and every is not None and time not in live_source.columns:
        raise InputError(f"time column '{time}' is not a column of LIVE; check the name")
    column = labels if isinstance(labels, str) and labels in live_source.columns else None
    values = None if labels is None or column is not None else label_series(labels, target, faults)
    if values is not None and values.len() != live_source.rows:
        faults.append(
            f"labels: {values.len()} values for {live_source.rows} rows of LIVE; give one a row, in the "
            "same order"
        )
    if faults:
        raise InputError(faults)
    identity = {
        "TRAIN": train_source.identity(),
        "LIVE": live_source.identity(),
        "the options": {key: _told_apart(value) for key, value in options.items()},
        "the versions": [
            __version__,
            platform.python_version(),
            np.__version__,
            pl.__version__,
            sklearn.__version__,
        ],
    }
    spool = Spool(directory, identity, resume=resume)
    rng = as_generator(seed)
    train_rows, live_rows = (_drawn(s.rows, sample, rng) for s in (train_source, live_source))
    train_frame = gather(train_source, train_rows, engine.map)
    live_frame = gather(live_source, live_rows, engine.map)
    labelled = False
    if target in train_frame.columns:
        share = float(has_value(train_frame[target]).mean())
        labelled = len(train_rows) < train_source.rows and share < _MOST_LABELLED
    if labelled:
        # So many rows as should hold a sample of labelled ones, of which the rest is let go.
        wanted = min(1.1 * sample / max(share, 1 / len(train_rows)), train_source.rows)
        candidates = _drawn(train_source.rows, int(wanted), rng)
        train_frame, train_rows = gather_known(train_source, candidates, target, engine.map)
        kept = _drawn(len(train_rows), sample, rng)
        train_frame, train_rows = train_frame[kept], train_rows[kept]
        if not len(train_rows):
            raise InputError(
                f"target '{target}' is missing in every row of TRAIN that was looked at ({int(wanted):,}); "
                "give a labelled table"
            )
    cutter = make_cutter(live_source, time, every, engine.map)
    if cutter is not None:
        # What is wrong with the times of many rows is told before the long steps.
        check_count(every, np.unique(cutter(live_frame, live_rows)))
    return Streams(
        train_source,
        live_source,
        train_rows,
        live_rows,
        train_frame,
        live_frame,
        cutter,
        values,
        column,
        engine,
        spool,
        labelled,
        every,
    )


def _told_apart(value: Any) -> Any:
    """Return a plain value that changes when an option does, or the file that it names."""
    if isinstance(value, (str, Path)):
        path = Path(value)
        stat = path.stat() if path.is_file() else None
        return str(value) if stat is None else [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
    if value is None or isinstance(value, (int, float)):
        return value
    # A model or labels in memory: what is printed of them may be the same of others.
    return joblib.hash(value)


def _drawn(n: int, most: int, rng: np.random.Generator) -> IntArray:
    """Draw the numbers of a uniform sample of rows, ascending; all of them if there are no more."""
    if n <= most:
        return np.arange(n)
    return np.sort(rng.choice(n, size=most, replace=False, shuffle=False))


def score_all(
    streams: Streams, sampled: Sampled, *, seed: int, done: Callable[[float], None]
) -> tuple[TrainTotals, LiveTotals]:
    """Put what was learnt to every row of both tables, and add it up.

    The rows' weights and predictions go to the spool. ``done`` is told the share
    of the parts that are through.

    Notes
    -----
    Time O(n d) and the models' predictions, memory that of a few parts.
    """
    learnt = _learnt(streams, sampled, seed)
    live_known, train_known = _known(streams, sampled)
    labels: str | FloatArray | None = streams.label_column
    if streams.label_values is not None:
        faults: list[str] = []
        labels = read_labels(streams.label_values, learnt.target, "labels", faults)
        if labels is None:
            raise InputError(faults)
    score_live = ScoreLive(learnt, streams.live, live_known, streams.cutter, labels)
    score_train = ScoreTrain(learnt, streams.train, train_known)
    n_live, n_train = len(streams.live.parts), len(streams.train.parts)
    live = _collect(
        score_live, streams.live, "live", LiveTotals, streams, lambda k: done(k / (n_live + n_train))
    )
    check_count(streams.every, live.windows)
    train = _collect(
        score_train,
        streams.train,
        "train",
        TrainTotals,
        streams,
        lambda k: done((n_live + k) / (n_live + n_train)),
    )
    return train, live


def _collect(
    score: Callable[[Part], tuple[T, Mapping[str, npt.NDArray[Any]]]],
    source: Source,
    side: str,
    kind: type[T],
    streams: Streams,
    done: Callable[[int], None],
) -> T:
    """Add up the parts in their order, from where a run before this one was interrupted."""
    finished, totals = streams.spool.resumed(side, kind)
    parts: Sequence[Part] = source.parts
    done(finished)
    for part, (sums, columns) in zip(parts[finished:], streams.engine.map(score, parts[finished:])):
        streams.spool.keep(side, part, columns)
        totals = sums if totals is None else totals.merge(sums)
        finished += 1
        streams.spool.checkpoint(side, finished, totals, last=finished == len(parts))
        done(finished)
    assert totals is not None
    return totals


def _learnt(streams: Streams, sampled: Sampled, seed: int) -> Learnt:
    tables, found, weighed, estimated = sampled.tables, sampled.found, sampled.weighed, sampled.estimated
    assert tables.output_live is not None and tables.deployed is not None
    live = as_outputs(tables.output_live)
    expected = estimated.expected
    slopes = {
        name: METRICS[name].evaluate(live, expected.target, np.ones(len(live))).slope
        for name in estimated.by_method
    }
    by_class = found.class_ratio if weighed.report.method.startswith("label_shift") else None
    proba = tables.output_live.proba
    return Learnt(
        features=tables.features,
        target=Target(tables.task, tables.classes, np.zeros(0)),
        target_name=tables.target,
        deployed=tables.deployed,
        models=expected.models,
        class_ratio=None if by_class is None else np.maximum(by_class.ratio, 1e-6),
        weights=weighed.rows,
        weights_other=None if weighed.other is None else weighed.other.rows,
        boosted=None if weighed.report.method == "none" else found.boosted,
        predictions=sampled.certified.predictions,
        slopes=slopes,
        # A table that is no larger than a sample has room for each of its scores.
        edges=score_edges(proba) if streams.sampled("LIVE") else None,
        window_edges=score_edges(proba, most=_WINDOW_BINS) if streams.sampled("LIVE") else None,
        train_edges=score_edges(proba) if streams.sampled("TRAIN") else None,
        # The tail of n weights has at most 3 sqrt(n) of them, and one more is its threshold.
        top_capacity=int(4 * np.sqrt(streams.train.rows)) + 100,
        # Where the weights' tail has k <= 1, beyond which nothing is estimated, the largest of n
        # weights is at most about n / m times the largest of m. What the ratio gives rows farther
        # off is extrapolated, and one of them would be all that counts.
        highest=float(weighed.raw.max() + np.log(streams.train.rows / len(streams.train_rows))),
        salt=seed,
    )


def _known(streams: Streams, sampled: Sampled) -> tuple[KnownLive, KnownTrain]:
    tables, found, weighed, expected = (
        sampled.tables,
        sampled.found,
        sampled.weighed,
        sampled.estimated.expected,
    )
    assert tables.output_live is not None and tables.output is not None
    outside = np.zeros(len(tables.X_live), dtype=bool)
    if weighed.report.method != "none":
        outside = found.boosted.log_ratio_target_ > np.log(UNCOVERED_RATIO)
    predicted = sampled.certified.predicted
    live = KnownLive(
        streams.live_rows,
        tables.output_live,
        expected.target,
        outside,
        predicted.columns,
        predicted.sizes,
        predicted.unbounded,
    )
    rows = streams.train_rows[np.asarray(tables.options["train_rows"])]
    train = KnownTrain(rows, tables.output, expected.source, np.log(weighed.weights), weighed.raw)
    return live, train
