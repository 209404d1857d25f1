"""The audit: the steps in the order they run, and the answer put together."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from steelyard._version import __version__
from steelyard.auditing.advise import advise
from steelyard.auditing.attribute import attribute
from steelyard.auditing.certify import certify
from steelyard.auditing.estimate import as_outputs, chosen_metrics, estimate
from steelyard.auditing.label_noise import LabelNoise, noise_advice, noise_rates
from steelyard.auditing.model import with_output
from steelyard.auditing.profiles.use import (
    all_of_train,
    ask,
    carried_over,
    describe_columns,
    of_all_rows,
    profile_finding,
    read_against,
)
from steelyard.auditing.read import read_tables
from steelyard.auditing.result import SCHEMA_VERSION, AuditResult
from steelyard.auditing.row_tables import in_memory_tables
from steelyard.auditing.shift import detect
from steelyard.auditing.streaming.engines import make_engine
from steelyard.auditing.streaming.finish import (
    Sampled,
    certify_all,
    describe_all,
    estimate_all,
    weigh_all,
)
from steelyard.auditing.streaming.opening import count_rows
from steelyard.auditing.streaming.run import SAMPLE_ROWS, Streams, open_streams, score_all
from steelyard.auditing.streaming.spool import Temporary
from steelyard.auditing.tables import Tables
from steelyard.auditing.weigh import METHODS, reconsider, weigh
from steelyard.errors import InputError
from steelyard.evaluation import ExpectedOutcome, expected_outcome
from steelyard.numerics import as_generator, check_level, draw_seed
from steelyard.numerics.progress import Progress, silent


def audit(
    train: Any,
    live: Any,
    *,
    target: str | None = None,
    proba: str | Sequence[str] = (),
    prediction: str | None = None,
    model: Any = None,
    labels: Any = None,
    time: str | None = None,
    every: int | str | None = None,
    metrics: Sequence[str] | None = None,
    alpha: float = 0.1,
    exclude: str | Sequence[str] = (),
    positive: Any = None,
    weighting: str = "auto",
    label_noise: LabelNoise | None = None,
    seed: int = 0,
    sample: int = SAMPLE_ROWS,
    engine: str = "local",
    scheduler: str | None = None,
    work: str | Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> AuditResult:
    """Compare the data a model faces with the data it was trained on, and say what follows.

    Parameters
    ----------
    train, live : path, or pandas, Polars, Arrow or Dask table
        CSV, Parquet, Arrow/Feather or NDJSON, one file or a glob. TRAIN holds
        the target; LIVE usually does not. TRAIN may also be a `Reference`, or the
        ``.steelyard`` file of one, which knows the columns' names below.
    target : str
        The column of TRAIN to predict: two classes, more, or a number. Only a
        profile needs none.
    proba : str or sequence of str, optional
        Columns of both tables with the deployed model's probabilities: one for
        two classes, else one a class. On TRAIN they should come from a model
        that was not fitted on those rows.
    prediction : str, optional
        Or the column with its predictions.
    model : str, Path or fitted estimator, optional
        Or the model itself; a path is loaded with joblib, which runs the file's
        code. With neither, a boosted model is cross-fitted on TRAIN.
    labels : str, Path or array, optional
        LIVE's labels, if they have arrived: a file, a column of LIVE, or values.
    time, every : optional
        Column with the time of LIVE's rows, and the windows to estimate: a
        number of rows, ``"day"``, ``"week"`` or ``"month"``.
    metrics : sequence of str, optional
        Of accuracy, auc, f1, log_loss, brier, mae, rmse, r2; the first leads.
    alpha : float
        Miscoverage of the prediction intervals or sets.
    exclude : str or sequence of str
        Columns to leave out.
    positive : object, optional
        The positive one of two classes.
    weighting : str
        ``"auto"``, ``"none"``, ``"linear"``, ``"boosted"``, ``"blend"``,
        ``"rulsif"`` or ``"label_shift"``.
    label_noise : float or mapping, optional
        The share of TRAIN's labels that is wrong, of all rows or ``{true class: share}``,
        if it is known: the advice then says whether to train on them as they are.
    seed : int
        Same seed, same answer.
    sample : int
        Rows of either table that models are fitted on and shifts tested with. A
        larger table is read in parts and never held: models see a uniform sample
        of it, and every row is scored.
    engine : {"local", "dask"}
        Who reads and scores the parts: threads of this process, or a Dask cluster
        (extra ``dask``), to which only tables larger than ``sample`` go.
    scheduler : str, optional
        Address of the cluster's scheduler, such as ``"tcp://10.0.0.1:8786"``; by
        default the client that is connected, or else a cluster on this machine.
    work : str or Path, optional
        Directory in which such an audit leaves rows and sums; a temporary one by
        default.
    resume : bool
        Go on from what an interrupted audit of the same tables left in ``work``.
    progress : Progress
        Told of each step as it starts.

    Returns
    -------
    AuditResult
        ``to_dict()`` is the content of ``audit.json``, ``save(directory)`` writes
        the report; shown as a page in a notebook.

    Raises
    ------
    InputError
        With every fault of the input that was found.

    Notes
    -----
    Time grows linearly in the rows and in the columns, memory only up to
    ``sample`` rows a side.

    Examples
    --------
    >>> import steelyard
    >>> from steelyard.datasets import make_shift
    >>> import polars as pl
    >>> s = make_shift("covariate", n_source=600, n_target=600, random_state=0)
    >>> train = pl.DataFrame(s.X, schema=list("abcde")).with_columns(y=pl.Series(s.y))
    >>> live = pl.DataFrame(s.X_target, schema=list("abcde"))
    >>> result = steelyard.audit(train, live, target="y", metrics=["accuracy"])
    >>> result.shift.kind
    'covariate'
    """
    arguments = {key: value for key, value in locals().items() if key not in _NO_OPTIONS}
    check_level(alpha)
    if weighting not in METHODS:
        raise InputError(f"there is no weighting {weighting!r}; choose from {', '.join(METHODS)}.")
    rng = as_generator(seed)
    seeds = [draw_seed(rng) for _ in range(9)]
    seconds: dict[str, float] = {}

    @contextmanager
    def step(key: str, name: str) -> Iterator[Callable[[float], None]]:
        started = clock.perf_counter()
        # The models are small and many: handing each split to several threads costs more than it
        # gives on an idle machine, and far more beside another process.
        with progress.step(name) as done, threadpool_limits(limits=1):
            yield done
        seconds[key] = round(clock.perf_counter() - started, 3)

    streams: Streams | None = None
    keep_alive: Any = None
    runner = make_engine(engine, scheduler)
    with step("read", "Reading the tables"), runner:
        question = ask(
            train,
            target=target,
            proba=proba,
            prediction=prediction,
            exclude=exclude,
            positive=positive,
            model=model,
        )
        train, reference = question.train, question.reference
        arguments |= question.columns
        if _too_large(train, sample) or _too_large(live, sample):
            if work is None:
                keep_alive = Temporary()
                work = keep_alive.path
            streams = open_streams(
                train,
                live,
                sample=sample,
                engine=runner,
                directory=Path(work),
                resume=resume,
                time=time,
                every=every,
                labels=labels,
                target=question.target,
                options=arguments,
                seed=seeds[7],
            )
        read = read_tables if reference is None else partial(read_against, reference)
        tables = read(
            train if streams is None else streams.train_frame,
            live if streams is None else streams.live_frame,
            **question.columns,
            labels=labels if streams is None else streams.labels,
            time=time,
            every=every if streams is None else None,
        )
        if streams is not None:
            tables = replace(tables, live_rows=streams.live_rows)
        if reference is not None and streams is None:
            tables = describe_columns(tables, reference)
    with step("model", "Getting the model's output"):
        tables = with_output(tables, model=model, random_state=seeds[0])
        chosen_metrics(tables, metrics)  # a wrong name is told before the long steps
        if label_noise is not None:
            noise_rates(tables, label_noise)
    with step("outcome", "Learning what outcome to expect of a row"):
        expected = expect(tables, seeds[1])
    with step("shift", "Testing for a shift"):
        found = detect(tables, expected, seed=seeds[2])
    with step("weigh", "Weighing the rows"):
        weighed = weigh(tables, found, method=weighting, seed=seeds[3])
        found = reconsider(found, weighed)
    with step("estimate", "Estimating performance on LIVE"):
        estimated = carried_over(estimate(tables, expected, found, weighed, metrics=metrics), question)
    with step("certify", "Computing predictions that hold on LIVE"):
        certified = certify(
            tables,
            weighed,
            estimated.expected,
            alpha=alpha,
            n_live=None if streams is None else streams.live.rows,
            seed=seeds[5],
        )
    rows = {"train": len(tables.X), "live": len(tables.X_live)}
    if streams is None:
        row_tables = in_memory_tables(_as_read(weighed.weights, tables), certified.columns)
    else:
        with step("score", "Scoring all rows") as done, runner:
            sampled = Sampled.of(tables, found, weighed, estimated, certified)
            all_train, all_live = score_all(streams, sampled, seed=seeds[8], done=done)
            all_train = all_of_train(all_train, question, tables)
            weighed = weigh_all(sampled, all_train, all_live)
            found = reconsider(found, weighed)
            estimated = estimate_all(
                sampled, weighed, all_train, all_live, cutter=streams.cutter, rows=streams.live_rows
            )
            certified = certify_all(certified, weighed, all_live)
            sides = [side for side in ("TRAIN", "LIVE") if streams.sampled(side)]
            tables = describe_all(tables, all_train, all_live, sampled=sides)
            rows = {"train": all_train.rows, "live": all_live.whole.rows}
            row_tables = streams.row_tables(all_train)
    if reference is not None:
        tables = of_all_rows(tables, reference)
        rows["train"] = reference.rows
    with step("attribute", "Attributing the change"):
        attribution = attribute(tables, found, weighed, estimated, seed=seeds[4])
    with step("advise", "Weighing what to do"):
        advice = advise(tables, found, weighed, estimated, seed=seeds[6])
        if label_noise is not None:
            # What the labels are worth comes before what to do with a model that was trained on them.
            first, *rest = noise_advice(
                tables, expected.source, noise_rates(tables, label_noise), seed=seeds[6]
            )
            advice = (first, *advice, *rest)
    return AuditResult(
        schema_version=SCHEMA_VERSION,
        steelyard_version=__version__,
        seed=seed,
        rows=rows,
        data=tables.notes,
        shift=found.shift,
        weights=weighed.report,
        performance=estimated.performance,
        windows=estimated.windows,
        attribution=attribution,
        prediction=certified.prediction,
        advice=advice,
        findings=(
            *tables.findings,
            *(() if reference is None else (profile_finding(reference),)),
            *(() if streams is None else streams.findings()),
            *found.findings,
            *weighed.findings,
            *estimated.findings,
            *certified.findings,
        ),
        seconds=seconds,
        row_tables=row_tables,
        keep_alive=keep_alive,
    )


_NO_OPTIONS = ("train", "live", "progress", "engine", "scheduler", "work", "resume")


def _too_large(table: Any, sample: int) -> bool:
    """Whether a table has more rows than are to be held; one that cannot be read has not."""
    rows = count_rows(table)
    return rows is not None and rows > sample


def expect(tables: Tables, seed: int) -> ExpectedOutcome:
    """Return the outcome to expect of every row, by models that have not seen it."""
    assert tables.output is not None and tables.output_live is not None
    return expected_outcome(
        tables.X,
        tables.y,
        as_outputs(tables.output),
        tables.X_live,
        as_outputs(tables.output_live),
        n_classes=None if tables.classes is None else len(tables.classes),
        categorical=tables.categorical,
        random_state=seed,
    )


def _as_read(weights: np.ndarray[Any, Any], tables: Tables) -> np.ndarray[Any, Any]:
    """Return one weight for each row of TRAIN as read; a row that was left out has none (NaN)."""
    kept = tables.options.get("train_rows")
    if kept is None:
        return weights
    out = np.full(int(tables.options["train_rows_read"]), np.nan)
    out[np.asarray(kept)] = weights
    return out
