"""Whatever weighs rows elsewhere weighs them in an audit: words of old, names, and estimators."""

import numpy as np
import polars as pl
import pytest

import steelyard
from steelyard.auditing import sides
from steelyard.datasets import make_shift
from steelyard.errors import InputError
from steelyard.weighting import EntropyBalancing, LabelShiftEM, PostStratification


def tables(kind="covariate", n=700, seed=0):
    s = make_shift(kind, n_source=n, n_target=n, strength=0.7, random_state=seed)
    out = []
    for X, y, p in ((s.X, s.y, s.scores), (s.X_target, s.y_target, s.scores_target)):
        frame = pl.DataFrame(X, schema=list("abcde")).with_columns(y=pl.Series(y), p=pl.Series(p))
        city = np.asarray(["Ghent", "Lyon", "Brno"])[np.digitize(X[:, 0], [-0.5, 0.5])]
        out.append(frame.with_columns(city=pl.Series(city)))
    return out[0], out[1].drop("y"), s.y_target


def audit(train, live, **options):
    return steelyard.audit(train, live, target="y", proba="p", metrics=["accuracy"], **options)


@pytest.mark.parametrize(
    ("weighting", "reading"),
    [
        ("auto", "columns"),
        ("AutoRatio", "columns"),
        ("EntropyBalancing", "columns"),
        (EntropyBalancing(), "columns"),
        # It reads the categories' texts, which the audit's own steps know as codes.
        (PostStratification(columns=["city"]), "columns"),
        (LabelShiftEM(random_state=0), "classes"),
    ],
    ids=str,
)
def test_names_and_estimators_weigh_as_they_do_alone(weighting, reading):
    train, live, _ = tables()
    result = audit(train, live, weighting=weighting)
    assert result.shift.readings[0].name == reading
    assert result.row_weights.mean() == pytest.approx(1.0)
    if weighting == "EntropyBalancing":
        alone = steelyard.weights(train.drop("y", "p"), live.drop("p"), method=weighting)
        # Both are of mean one; a heavy tail would be smoothed, which 700 rows with this shift do not have.
        np.testing.assert_allclose(result.row_weights, alone, rtol=1e-6)


def test_an_estimator_of_class_shares_is_a_reading_of_the_shift():
    train, live, y_live = tables("label")
    found = audit(train, live, weighting=LabelShiftEM(random_state=0))
    assert found.weights.method == "label_shift"
    row = found.performance[0]
    actual = float(np.mean((live["p"].to_numpy() >= 0.5) == y_live))
    assert row.low <= actual <= row.high


@pytest.mark.parametrize("weighting", ["EntropyBalancing", "blend", LabelShiftEM(random_state=0)], ids=str)
def test_rows_outside_of_the_sample_are_weighed_alike(weighting, monkeypatch):
    train, live, _ = tables()
    whole = audit(train, live, weighting=weighting)
    monkeypatch.setattr(sides, "too_large", lambda table, sample: True)
    parts = audit(train, live, weighting=weighting, sample=2_000)
    np.testing.assert_allclose(parts.row_weights, whole.row_weights, rtol=1e-9)
    sampled = audit(train, live, weighting=weighting, sample=600)
    # Models of 600 rows weigh the other hundred: not the same, but they rank rows much alike.
    assert np.corrcoef(sampled.row_weights, whole.row_weights)[0, 1] > 0.8


@pytest.mark.parametrize("weighting", ["rulsif", "RuLSIF", "EntropyBalancing", "auto"])
def test_gaps_are_no_obstacle(weighting):
    train, live, _ = tables()
    some = pl.int_range(pl.len()) % 9 == 0
    train, live = (
        t.with_columns(pl.when(~some).then("b"), pl.when(~some).then("city")) for t in (train, live)
    )
    result = audit(train, live, weighting=weighting)
    assert result.performance[0].live_estimate is not None


def test_places_that_train_does_not_reach_are_seen_in_small_tables():
    # Rules of a tree cannot hold back an answer that trees of few rows do not see to be unfounded: of twelve
    # such tables, two answered where boosting alone was asked.
    for seed in range(4):
        s = make_shift(
            "no_overlap", n_source=600, n_target=600, random_state=np.random.default_rng([7, seed])
        )
        train = pl.DataFrame(s.X, schema=list("abcde")).with_columns(y=pl.Series(s.y), p=pl.Series(s.scores))
        live = pl.DataFrame(s.X_target, schema=list("abcde")).with_columns(p=pl.Series(s.scores_target))
        assert audit(train, live).inconclusive is not None


@pytest.mark.parametrize("weighting", ["LabelShiftEM", "bbse", "label_shift"])
def test_class_shares_are_refused_where_the_tables_refute_them(weighting):
    # Taken at their word, they made one class of TRAIN, and gave an interval of no width beside the truth.
    s = make_shift("covariate", n_source=2_000, n_target=2_000, strength=1.5, random_state=3)
    train = pl.DataFrame(s.X, schema=list("abcde")).with_columns(y=pl.Series(s.y), p=pl.Series(s.scores))
    live = pl.DataFrame(s.X_target, schema=list("abcde")).with_columns(p=pl.Series(s.scores_target))
    with pytest.raises(InputError, match="take 'auto' here"):
        audit(train, live, weighting=weighting)


def test_a_target_that_moved_is_a_reading_of_numbers_alone():
    train, live, _ = tables()
    with pytest.raises(InputError, match="for a target that is a number"):
        audit(train, live, weighting="ReTaSA")
    s = make_shift("covariate", n_source=400, n_target=400, task="regression", random_state=0)
    train = pl.DataFrame(s.X, schema=list("abcde")).with_columns(y=pl.Series(s.y))
    result = steelyard.audit(
        train, pl.DataFrame(s.X_target, schema=list("abcde")), target="y", weighting="ReTaSA"
    )
    assert result.shift.readings[0].name == "target"


def test_cover_is_measured_where_nothing_is_weighed():
    s = make_shift("no_overlap", n_source=1_500, n_target=1_500, random_state=7)
    train = pl.DataFrame(s.X, schema=list("abcde")).with_columns(y=pl.Series(s.y), p=pl.Series(s.scores))
    live = pl.DataFrame(s.X_target, schema=list("abcde")).with_columns(p=pl.Series(s.scores_target))
    result = audit(train, live, weighting="none")
    assert result.weights.outside_support > 0.1
    assert result.inconclusive is not None


def test_a_weighting_that_is_none_is_told_before_the_work():
    train, live, _ = tables(n=100)
    with pytest.raises(InputError, match=r"there is no weighting 'nonsense'.*'blend'"):
        audit(train, live, weighting="nonsense")
    with pytest.raises(InputError, match="is no weight estimator"):
        audit(train, live, weighting=3)
    with pytest.raises(InputError, match="needs classes, and a shift that their shares can explain"):
        audit(train, live, weighting="label_shift")
