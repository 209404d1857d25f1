"""The audit: the steps in the order they run, and the answer put together."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from steelyard._version import __version__
from steelyard.auditing.advise import advise
from steelyard.auditing.attribute import attribute
from steelyard.auditing.certify import certify
from steelyard.auditing.estimate import as_outputs, chosen_metrics, estimate
from steelyard.auditing.model import with_output
from steelyard.auditing.read import read_tables
from steelyard.auditing.result import SCHEMA_VERSION, AuditResult
from steelyard.auditing.shift import detect
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
    target: str,
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
    seed: int = 0,
    progress: Progress = silent,
) -> AuditResult:
    """Compare the data a model faces with the data it was trained on, and say what follows.

    Parameters
    ----------
    train, live : path, or pandas, Polars or Arrow table
        CSV, Parquet, Arrow/Feather or NDJSON, one file or a glob. TRAIN holds
        the target; LIVE usually does not.
    target : str
        The column of TRAIN to predict: two classes, more, or a number.
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
    seed : int
        Same seed, same answer.
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
    Time and memory grow linearly in the rows and in the columns; models are
    fitted on at most 50,000 rows a side.

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
    check_level(alpha)
    if weighting not in METHODS:
        raise InputError(f"there is no weighting {weighting!r}; choose from {', '.join(METHODS)}.")
    rng = as_generator(seed)
    seeds = [draw_seed(rng) for _ in range(7)]
    seconds: dict[str, float] = {}

    @contextmanager
    def step(key: str, name: str) -> Iterator[None]:
        started = clock.perf_counter()
        # The models are small and many: handing each split to several threads costs more than it
        # gives on an idle machine, and far more beside another process.
        with progress.step(name), threadpool_limits(limits=1):
            yield
        seconds[key] = round(clock.perf_counter() - started, 3)

    with step("read", "Reading the tables"):
        tables = read_tables(
            train,
            live,
            target=target,
            proba=proba,
            prediction=prediction,
            labels=labels,
            time=time,
            every=every,
            exclude=exclude,
            positive=positive,
        )
    with step("model", "Getting the model's output"):
        tables = with_output(tables, model=model, random_state=seeds[0])
        chosen_metrics(tables, metrics)  # a wrong name is told before the long steps
    with step("outcome", "Learning what outcome to expect of a row"):
        expected = expect(tables, seeds[1])
    with step("shift", "Testing for a shift"):
        found = detect(tables, expected, seed=seeds[2])
    with step("weigh", "Weighing the rows"):
        weighed = weigh(tables, found, method=weighting, seed=seeds[3])
        found = reconsider(found, weighed)
    with step("estimate", "Estimating performance on LIVE"):
        estimated = estimate(tables, expected, found, weighed, metrics=metrics)
    with step("attribute", "Attributing the change"):
        attribution = attribute(tables, found, weighed, estimated, seed=seeds[4])
    with step("certify", "Computing predictions that hold on LIVE"):
        certified = certify(tables, weighed, estimated.expected, alpha=alpha, seed=seeds[5])
    with step("advise", "Weighing what to do"):
        advice = advise(tables, found, weighed, estimated, seed=seeds[6])
    return AuditResult(
        schema_version=SCHEMA_VERSION,
        steelyard_version=__version__,
        seed=seed,
        rows={"train": len(tables.X), "live": len(tables.X_live)},
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
            *found.findings,
            *weighed.findings,
            *estimated.findings,
            *certified.findings,
        ),
        seconds=seconds,
        row_weights=_as_read(weighed.weights, tables),
        row_predictions=certified.columns,
    )


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
