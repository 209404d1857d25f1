"""Awkward tables: what once broke the audit, or made it say what is not so."""

import warnings

import numpy as np
import polars as pl
import pytest

import steelyard
from steelyard.auditing.learn.learners import _drawn
from steelyard.auditing.learn.model import model_output
from steelyard.auditing.learn.shift import detect
from steelyard.auditing.pipeline import expect
from steelyard.auditing.reading.read import read_tables
from steelyard.auditing.result import Performance
from steelyard.auditing.say.advice import _missed
from steelyard.weighting import uncovered_regions
from tests.auditing.told import found


def table(n, seed, *, shift=0.0, **columns):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    X[:, 0] += shift
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    likely = 1 / (1 + np.exp(-X[:, 0] - 0.5 * X[:, 1]))
    frame = frame.with_columns(y=pl.Series(np.where(rng.random(n) < likely, "yes", "no")))
    return frame.with_columns(**columns)


def ids(tables):
    return {f.id for f in found(tables)}


def shift_between(tables, seed):
    """Return what the audit finds of a shift, by a model that it makes itself."""
    rows = expect(tables, model_output(tables), 0, live_rows=np.arange(len(tables.X_live)))
    return detect(rows, seed=seed)


def texts(result, start):
    return [a.why for a in result.advice if a.action.startswith(start)]


def test_a_class_with_two_rows_is_audited_and_told():
    train, live = table(500, 0), table(500, 1)
    y = train["y"].to_numpy().copy()
    y[:2] = "rare"
    result = steelyard.audit(train.with_columns(y=pl.Series(y)), live, target="y", metrics=["accuracy"])
    assert result.performance[0].live_estimate is not None
    assert "'rare': 2" in next(f.text for f in result.findings if f.id == "rare-class")


def test_a_table_that_was_copied_whole_is_told():
    train, live = table(200, 0), table(200, 1)
    assert "duplicate-rows" in ids(read_tables(pl.concat([train, train]), live, target="y"))
    assert "duplicate-rows" in ids(read_tables(pl.concat([train] * 4), live, target="y"))
    assert "duplicate-rows" not in ids(read_tables(train, live, target="y"))
    coded = {c: (pl.col(c) * 2).round() for c in "abc"}
    plain = read_tables(train.with_columns(**coded), live.with_columns(**coded), target="y")
    assert "duplicate-rows" not in ids(plain)


def test_a_symmetric_column_that_moved_across_zero_is_not_called_mirrored():
    rng = np.random.default_rng(0)
    n = 300
    train = table(n, 0, z=pl.Series(rng.normal(-0.6, 1.0, n)))
    live = table(n, 1, z=pl.Series(rng.normal(0.6, 1.0, n)))
    assert "sign-flip" not in ids(read_tables(train, live, target="y"))
    skewed = rng.exponential(size=n) + 0.1
    train, live = (table(n, i, z=pl.Series(s * skewed)) for i, s in ((0, 1), (1, -1)))
    assert "sign-flip" in ids(read_tables(train, live, target="y"))


def test_a_column_that_stopped_varying_is_told():
    train, live = table(200, 0), table(200, 1, c=pl.lit(1.0))
    tables = read_tables(train, live, target="y")
    assert "constant-in-live" in ids(tables)
    assert "constant-in-live" not in ids(read_tables(train, table(200, 1), target="y"))
    # A rare flag is often absent from a table without anything being wrong.
    flag = np.zeros(200)
    flag[:3] = 1
    train, live = table(200, 0, flag=pl.Series(flag)), table(200, 1, flag=pl.lit(0.0))
    assert "constant-in-live" not in ids(read_tables(train, live, target="y"))


def test_rules_name_missing_categories_and_do_not_chain_negations():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(400, 1)).astype(float)
    gone = uncovered_regions(X, np.full((400, 1), np.nan), names=["k"], categories=[("p", "q", "r")])
    assert str(gone[0]) == "k is missing"
    new = uncovered_regions(X, np.full((400, 1), 3.0), names=["k"], categories=[("p", "q", "r", "s")])
    assert str(new[0]) == "k is s"


def test_no_weights_asked_for_is_not_no_shift():
    train, live = table(400, 0), table(400, 1, shift=1.5)
    result = steelyard.audit(train, live, target="y", weighting="none", metrics=["accuracy"])
    assert result.shift.kind == "covariate"
    assert "No difference" not in result.advice[0].why


def test_advice_claims_no_more_than_the_interval_shows():
    train, live = table(300, 0), table(300, 1, shift=0.6)
    result = steelyard.audit(train, live, target="y", metrics=["accuracy"])
    (why,) = texts(result, "Label some of LIVE")
    row = result.performance[0]
    assert "nothing shows" in why and f"{row.naive:.2f}" in why
    # The audit's own stand-in model is no deployed one, so there is none to retrain.
    assert not texts(result, "Retrain on TRAIN")
    (why,) = texts(result, "Do not weight")
    assert "%" in why and "than without" in why


def test_where_labels_have_come_they_are_not_asked_for():
    train, live = table(80, 0), table(300, 1, shift=2.5)
    result = steelyard.audit(train, live, target="y", labels="y", metrics=["accuracy"])
    assert result.inconclusive is not None
    assert "label" not in {a.kind for a in result.advice}
    assert "is measured at" in result.advice[0].why


@pytest.mark.parametrize("task", ["numbers", "classes"])
def test_a_model_that_is_a_little_wrong_elsewhere_is_no_changed_relation(task):
    """Unweighted residuals refuted the true relation in a third of such samples of numbers."""
    refuted = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)

        def draw(shift, rng=rng):
            X = rng.normal(size=(400, 4))
            X[:, 0] += shift
            mean = 2 * np.sin(1.5 * X[:, 0]) + 0.7 * X[:, 1] ** 2 + 0.5 * X[:, 2] * X[:, 0]
            y = mean + rng.normal(size=400)
            y = y if task == "numbers" else (y > 0.5).astype(float)
            return pl.DataFrame(X, schema=list("abcd")).with_columns(y=pl.Series(y))

        tables = read_tables(draw(0.0), draw(1.0), target="y", labels="y")
        refuted += shift_between(tables, seed).kind == "concept"
    assert refuted <= 1


def test_whole_numbers_predicted_with_fractions_are_a_regression():
    rng = np.random.default_rng(0)
    count, said = pl.Series(rng.poisson(2.0, 300)), pl.Series(rng.gamma(2.0, size=300))
    train = table(300, 0).with_columns(y=count, said=said)
    live = table(300, 1).with_columns(y=count, said=said)
    assert read_tables(train, live, target="y", prediction="said").task == "regression"
    assert read_tables(train, live.with_columns(said=said.round()), target="y").task == "multiclass"


def test_the_python_call_prints_no_library_warnings():
    train, live = table(120, 0), table(120, 1, shift=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steelyard.audit(train, live, target="y", every=10)


def test_many_rare_categories_are_no_shift():
    """Keeping TRAIN's categories first let any random split of such a column look shifted."""
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.arange(700), rng.integers(0, 700, size=300)])
    column = pl.Series([f"t{i}" for i in rng.permutation(codes)])
    whole = table(1000, 0, ticket=column)
    tables = read_tables(whole[:600], whole[600:], target="y")
    other = len(tables.features[-1].categories) - 1
    shares = [(side[:, -1] == other).mean() for side in (tables.X, tables.X_live)]
    # Four standard errors of a difference of two shares near a half.
    assert abs(shares[0] - shares[1]) < 4 * 0.5 * (1 / 600 + 1 / 400) ** 0.5
    assert shift_between(tables, 0).p_value > 0.01
    assert next(f for f in found(tables) if f.id == "new-category").severity == "info"


def test_rows_are_drawn_as_often_as_they_weigh():
    weight = np.array([0.5, 1.5, 1.0, 2.0, 1.0, 1.0])
    domain = np.array([0, 0, 0, 0, 1, 1])
    often = np.mean([np.bincount(_drawn(weight, domain, seed), minlength=6) for seed in range(400)], axis=0)
    # Four rows weigh 5 together; a systematic draw is off by less than one row a time.
    assert often == pytest.approx([0.4, 1.2, 0.8, 1.6, 1.0, 1.0], abs=4 * 0.5 / 400**0.5)


@pytest.mark.parametrize(
    ("metric", "actual", "missed"),
    [("accuracy", 0.6, True), ("accuracy", 0.95, False), ("mae", 0.95, True), ("mae", 0.6, False)],
)
def test_only_labels_on_the_bad_side_overrule_the_estimate(metric, actual, missed):
    row = Performance(metric, 0.8, 0.8, 0.7, 0.9, "doubly robust", actual)
    assert (_missed((row,)) is not None) == missed
