"""The audit: the steps in the order they run, and the answer put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard._version import __version__
from steelyard.auditing.data_faults import data_faults
from steelyard.auditing.discreet import without_values
from steelyard.auditing.gate import Condition, check_conditions
from steelyard.auditing.learn.alternatives import alternatives
from steelyard.auditing.learn.anchors import chosen_metrics
from steelyard.auditing.learn.attribution import change_parts
from steelyard.auditing.learn.backtest import backtest
from steelyard.auditing.learn.environments import Environments, environment_faults, environments_of
from steelyard.auditing.learn.label_noise import noise_advice, noise_rates
from steelyard.auditing.learn.learnt import Sampled, gathered
from steelyard.auditing.learn.model import model_output
from steelyard.auditing.learn.predictions import calibrate
from steelyard.auditing.learn.shift import detect
from steelyard.auditing.learn.weights import weigh
from steelyard.auditing.parts.engines import make_engine
from steelyard.auditing.parts.spool import normalised_weights
from steelyard.auditing.profiles.reference import Reference, as_reference
from steelyard.auditing.question import LabelNoise, Question, Run, ask
from steelyard.auditing.reading.read import read_tables
from steelyard.auditing.result import SCHEMA_VERSION, Advice, AuditResult
from steelyard.auditing.say.advice import advise, needs_alternatives
from steelyard.auditing.say.figures import Figures, figures
from steelyard.auditing.say.relation import Moves, moves
from steelyard.auditing.say.why import attribution_record
from steelyard.auditing.score import score_all
from steelyard.auditing.sides import SAMPLE_ROWS, Sides, open_sides
from steelyard.auditing.tables import ModelOutput, Sample, Tables
from steelyard.evaluation import expected_outcome
from steelyard.losses.metric_facts import MetricKind
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
    environment: str | None = None,
    metrics: Sequence[str] | None = None,
    alpha: float = 0.1,
    exclude: str | Sequence[str] = (),
    positive: Any = None,
    weighting: Any = "auto",
    label_noise: LabelNoise | None = None,
    fail_on: str | Sequence[str] = (),
    task: str | None = None,
    categorical: str | Sequence[str] = (),
    null: str | Sequence[str] = (),
    decimal: str = ".",
    values: bool = True,
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
        CSV, Parquet, Arrow/Feather or NDJSON (``.gz``, ``.bz2``, ``.xz`` and ``.zst``
        too): one file, a directory or a glob, with directories such as
        ``region=eu`` as columns. TRAIN holds the target; LIVE usually does not.
        TRAIN may also be a `Reference`, or the ``.steelyard`` file of one, which knows the
        columns' names below.
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
        Where TRAIN has that column too, its stretches of time tell how far the
        relation of target and columns moves.
    environment : str, optional
        Column of TRAIN that says which rows were made together, such as a site, a
        region or a month: no feature. How well each is estimated from the others
        tells how far the relation moves to an environment that TRAIN has not seen.
    metrics : sequence of str, optional
        Of accuracy, auc, f1, log_loss, brier, mae, rmse, r2; the first leads.
    alpha : float
        Miscoverage of the prediction intervals or sets.
    exclude : str or sequence of str
        Columns to leave out.
    positive : object, optional
        The positive one of two classes.
    weighting : str or weight estimator
        How TRAIN's rows are weighed, as elsewhere: ``"auto"`` (`AutoRatio`), the name of a
        class of :mod:`steelyard.weighting`, or such an estimator; or ``"none"``,
        ``"linear"``, ``"boosted"``, ``"blend"``, ``"rulsif"`` or ``"label_shift"``.
    label_noise : float or mapping, optional
        The share of TRAIN's labels that is wrong, of all rows or ``{true class: share}``,
        if it is known: the advice then says whether to train on them as they are.
    fail_on : str or sequence of str, optional
        Conditions such as ``"auc<0.80"`` that :class:`~steelyard.auditing.gate.Gate` is to judge
        afterwards: their metrics are computed, and one that cannot apply is refused before the work.
    task : {"classification", "regression"}, optional
        What the target is; told from its values by default.
    categorical : str or sequence of str
        Columns whose numbers are names of categories.
    null : str or sequence of str
        Further words for a missing value, beside empty cells, ``NA`` and the like.
    decimal : {".", ","}
        The sign before decimals, in numbers that are written as text.
    values : bool
        Whether the answer's texts may quote values of the tables; without, they name columns
        and figures only. The tables of rows hold predictions either way.
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
    reference = as_reference(train)
    conditions = [Condition.parse(text) for text in ([fail_on] if isinstance(fail_on, str) else fail_on)]
    question = ask(
        reference=reference,
        target=target,
        proba=proba,
        prediction=prediction,
        model=model,
        labels=labels,
        time=time,
        every=every,
        environment=environment,
        metrics=_with_gated(metrics, conditions),
        alpha=alpha,
        exclude=exclude,
        positive=positive,
        weighting=weighting,
        label_noise=label_noise,
        task=task,
        categorical=categorical,
        null=null,
        decimal=decimal,
        seed=seed,
        sample=sample,
    )
    run = Run(make_engine(engine, scheduler), progress, None if work is None else Path(work), resume)
    seeds = question.seeds

    with run.step("read", "Reading the tables"), run.engine:
        sides, tables = _read(train, live, question, run, reference)
        kind: MetricKind = "regression" if tables.classes is None else "classification"
        check_conditions(conditions, kind=kind, labelled=labels is not None)
        environments = environments_of(question, tables, seed=seeds.relation)
    with run.step("model", "Getting the model's output"):
        output = model_output(tables, model=model, random_state=seeds.model)
        tables = tables.with_findings(data_faults(tables, output, seed=seeds.faults))
        metrics_asked = chosen_metrics(tables, output, question.metrics)
        rates = None if label_noise is None else noise_rates(tables, label_noise)
    with run.step("outcome", "Learning what outcome to expect of a row"):
        rows = expect(tables, output, seeds.outcome, live_rows=sides.live.rows)
    with run.step("shift", "Testing for a shift"):
        shift = detect(rows, seed=seeds.shift)
    with run.step("weigh", "Weighing the rows"):
        weighed = weigh(tables, shift, weighting=question.weighting, seed=seeds.weigh)
    with run.step("certify", "Computing predictions that hold on LIVE"):
        calibrated = calibrate(
            rows, weighed[0], alpha=alpha, n_live=sides.live.source.rows, seed=seeds.certify
        )
    with run.step("score", "Scoring all rows") as done, run.engine:
        sampled = gathered(rows, shift, weighed, metrics_asked, calibrated)
        sums = score_all(sides, sampled, question, run, done=done)
    with run.step("relation", "Seeing how the relation moved within TRAIN") as done:
        moved = _moves(sampled, environments, seeds.relation, done)
    with run.step("estimate", "Estimating performance on LIVE"):
        said = figures(sampled, *sums, sides, moved)
    with run.step("attribute", "Attributing the change"):
        leading = said.performance[0]
        parts = change_parts(sampled, leading.metric, seed=seeds.attribute) if said.weights.trusted else ()
        attribution = attribution_record(leading, parts)
    with run.step("advise", "Weighing what to do"):
        advice = _advice(sampled, said, rates, seeds.advise)
    sides.watch.check()
    result = AuditResult(
        schema_version=SCHEMA_VERSION,
        steelyard_version=__version__,
        seed=seed,
        rows=said.rows,
        data=said.notes,
        shift=said.shift,
        weights=said.weights,
        performance=said.performance,
        windows=said.windows,
        relation=said.relation,
        attribution=attribution,
        prediction=said.prediction,
        advice=advice,
        findings=said.findings,
        seconds=run.seconds,
        row_tables={
            "weights": normalised_weights(
                sides.store.table("train", len(sides.train.source.parts)), sums[0].weights.log_mean or 0.0
            ),
            "predictions": sides.store.table("live", len(sides.live.source.parts)),
        },
        keep_alive=run.temporary,
    )
    return result if values else without_values(result)


def _with_gated(metrics: Sequence[str] | None, conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return the metrics asked for, with those that conditions are on; without any, all are computed."""
    if not metrics:
        return ()
    return tuple(dict.fromkeys([*metrics, *(c.name for c in conditions if c.is_metric)]))


def _read(
    train: Any, live: Any, question: Question, run: Run, reference: Reference | None
) -> tuple[Sides, Tables]:
    """Open both sides, and read the rows of either that models are fitted on."""
    faults: list[str] = []
    sides = open_sides(train, live, question, run, reference=reference, faults=faults)
    # One that is not there is told once.
    environment = [name for name in sides.train.frame.columns if name == question.environment]
    faults += environment_faults(question, sides.train.frame.columns)
    tables = read_tables(
        sides.train.frame,
        sides.live.frame,
        target=question.target,
        proba=question.proba,
        prediction=question.prediction,
        labels=sides.sample_labels,
        time=question.time,
        exclude=(*question.exclude, *environment),
        positive=question.positive,
        columns=() if reference is None else reference.columns,
        dialect=question.dialect,
        faults=faults,
    )
    return sides, tables


def _moves(
    sampled: Sampled, environments: Environments | None, seed: int, done: Callable[[float], None]
) -> Moves:
    """Return how far the relation may have moved, by TRAIN's own environments where there are any."""
    tables = sampled.sample.tables
    if environments is None:
        return moves(None, ())
    tested = backtest(
        tables,
        sampled.sample.model,
        environments,
        [anchor.metric for anchor in sampled.anchors[0]],
        learner=sampled.shift.study.leading(),
        seed=seed,
        done=done,
    )
    return moves(environments, tested)


def expect(tables: Tables, output: ModelOutput, seed: int, *, live_rows: Any) -> Sample:
    """Learn what outcome to expect of every row, by models that have not seen it."""
    expected = expected_outcome(
        tables.X,
        tables.y,
        output.train,
        tables.X_live,
        output.live,
        n_classes=tables.n_classes,
        categorical=tables.categorical,
        random_state=seed,
    )
    return Sample(tables, output, expected, live_rows)


def _advice(sampled: Sampled, said: Figures, rates: Any, seed: int) -> tuple[Advice, ...]:
    """Say what to do; what the labels are worth comes before what to do with a model trained on them."""
    replacements = alternatives(sampled, seed=seed) if needs_alternatives(said) else None
    advice = advise(sampled, said, replacements)
    if rates is None:
        return advice
    sample = sampled.sample
    first, *rest = noise_advice(sample.tables, sample.expected.source, rates, seed=seed)
    return (first, *advice, *rest)
