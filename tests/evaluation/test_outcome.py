"""Expected outcomes: better than a constant where there is something to learn, no worse where not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from steelyard.datasets import make_shift
from steelyard.evaluation import Outputs, expected_outcome, outcome_columns


def _outputs(s):
    if s.task == "regression":
        return Outputs(value=s.scores), Outputs(value=s.scores_target)
    pair = []
    for p in (s.scores, s.scores_target):
        proba = np.column_stack([1 - p, p]) if p.ndim == 1 else p
        pair.append(Outputs(proba, proba.argmax(axis=1)))
    return tuple(pair)


def _run(s, **more):
    n_classes = None if s.task == "regression" else (2 if s.task == "binary" else 3)
    source, target = _outputs(s)
    found = expected_outcome(
        s.X, s.y, source, s.X_target, target, n_classes=n_classes, random_state=0, **more
    )
    z = outcome_columns(s.y, source, n_classes=n_classes)
    z_target = outcome_columns(s.y_target, target, n_classes=n_classes)
    return found, z, z_target


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classes_beat_a_constant_on_held_out_and_on_target_rows(task):
    s = make_shift("covariate", n_source=1500, n_target=1000, task=task, random_state=0)
    found, z, z_target = _run(s)
    for expected, outcome in ((found.source, z), (found.target, z_target)):
        assert expected.shape == outcome.shape
        np.testing.assert_allclose(expected.sum(axis=1), 1)
        loss = -np.mean(np.log(np.clip(np.sum(expected * outcome, axis=1), 1e-12, 1)))
        share = outcome.mean(axis=0)
        assert loss < 0.85 * -np.sum(share * np.log(share))
    assert found.models.learners == "boosted + additive"
    assert found.by_fold.shape == (5, 1000, z.shape[1])


def test_expected_classes_come_near_the_posterior():
    s = make_shift("covariate", n_source=4000, n_target=2000, random_state=1)
    found, _, _ = _run(s)
    # Nearer than the overconfident score by far: squared errors of 4000 rows' fit against those of the score.
    fit, score = (np.mean((p - s.posterior) ** 2) for p in (found.target[:, 1], s.scores_target))
    assert fit < 0.4 * score


def test_numbers_beat_a_constant():
    s = make_shift("covariate", n_source=1500, n_target=1000, task="regression", random_state=2)
    found, z, z_target = _run(s)
    for expected, outcome in ((found.source, z), (found.target, z_target)):
        # The residual itself has structure in this generator; its size has less.
        assert np.mean((expected[:, 1] - outcome[:, 1]) ** 2) < 0.9 * outcome[:, 1].var()
        assert np.mean((expected[:, 2] - outcome[:, 2]) ** 2) < outcome[:, 2].var()
        assert (expected[:, [0, 2]] >= 0).all()


def test_where_there_is_nothing_to_learn_nothing_is_lost():
    rng = np.random.default_rng(3)
    X, X_target = rng.normal(size=(1200, 3)), rng.normal(size=(600, 3))
    y = (rng.uniform(size=1200) < 0.3).astype(int)
    flat = Outputs(np.full((1200, 2), 0.5), np.zeros(1200, dtype=int))
    found = expected_outcome(X, y, flat, X_target, flat.take(np.arange(600)), n_classes=2, random_state=0)
    # A share known to 0.013; a model of the constant output alone is as good as can be.
    assert found.target[:, 1].mean() == pytest.approx(0.3, abs=0.05)
    assert found.target[:, 1].std() < 0.06


def test_source_rows_are_predicted_by_models_that_did_not_see_them():
    """With labels of pure chance, a model that saw the row would know better than its share."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(600, 2))
    y = rng.integers(0, 2, 600)
    o = Outputs(np.full((600, 2), 0.5), np.zeros(600, dtype=int))
    found = expected_outcome(X, y, o, X, o, n_classes=2, random_state=0)
    held_out = np.corrcoef(found.source[:, 1], y)[0, 1]
    assert held_out < 4 / np.sqrt(600)


def test_missing_values_categories_and_a_seed():
    s = make_shift("covariate", n_source=500, n_target=300, random_state=5)
    X = s.X.copy()
    X[::7, 0] = np.nan
    X[:, 4] = np.arange(500) % 3
    X_target = np.abs(s.X_target.round())  # codes of the last column included
    source, target = _outputs(s)
    mask = np.array([False] * 4 + [True])
    one, same = (
        expected_outcome(
            X, s.y, source, X_target, target, n_classes=2, categorical=mask, max_rows=400, random_state=1
        )
        for _ in range(2)
    )
    assert np.isfinite(one.source).all() and np.isfinite(one.target).all()
    np.testing.assert_array_equal(one.target, same.target)


def test_a_number_s_columns_agree_with_one_another_wherever_the_rows_lie():
    """No law has a mean size below the size of its mean, or a mean square below its mean's square."""
    s = make_shift("covariate", n_source=1500, n_target=1000, task="regression", random_state=6)
    found, _, z_target = _run(s)
    for expected in (found.source, found.target, *found.by_fold):
        assert (expected[:, 2] >= expected[:, 1] ** 2).all()
    # The variance of y in the target, which R2 rests on, is out by less than four errors of a variance.
    f = s.scores_target
    said = np.var(f + found.target[:, 1]) + np.mean(found.target[:, 2] - found.target[:, 1] ** 2)
    assert said == pytest.approx(np.var(f + z_target[:, 1]), rel=4 * np.sqrt(2 / 1000))


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_models_say_of_new_rows_what_they_said_and_survive_a_pickle(task):
    s = make_shift("covariate", n_source=600, n_target=300, task=task, random_state=7)
    found, _, _ = _run(s)
    _, target = _outputs(s)
    again = pickle.loads(pickle.dumps(found.models))
    np.testing.assert_array_equal(
        again.each(s.X_target[found.probe], target.take(found.probe)), found.by_fold
    )
    fold = np.arange(300)
    said = again(s.X_target, target, fold)
    np.testing.assert_allclose(said, found.by_fold[fold % 5, fold], rtol=1e-12)


def test_rows_beyond_the_probe_are_put_to_one_fold_s_models(monkeypatch):
    s = make_shift("covariate", n_source=400, n_target=300, random_state=8)
    all_rows, _, _ = _run(s)
    monkeypatch.setattr("steelyard.evaluation.outcome._PROBE", 40)
    some, _, _ = _run(s)
    assert some.by_fold.shape == (5, 40, 2)
    # Folds are dealt alike, so that which rows are probed moves nothing.
    np.testing.assert_allclose(some.target, all_rows.target, rtol=1e-12)


def test_columns_that_trees_would_split_by_two_codes_and_columns_that_are_missing_throughout():
    rng = np.random.default_rng(9)
    X = np.column_stack([rng.integers(0, 2, 600), rng.integers(0, 5, 600), np.full(600, np.nan)]).astype(
        float
    )
    y = (rng.uniform(size=600) < 0.2 + 0.6 * X[:, 0]).astype(int)
    flat = Outputs(np.full((600, 2), 0.5), np.zeros(600, dtype=int))
    mask = np.array([True, True, False])
    found = expected_outcome(X, y, flat, X, flat, n_classes=2, categorical=mask, random_state=0)
    for code, share in ((0, 0.2), (1, 0.8)):
        # A share of about 300 rows is known to 0.023; the models shrink a little towards a half.
        assert found.target[X[:, 0] == code, 1].mean() == pytest.approx(share, abs=0.1)
    missing = X.copy()
    missing[:, 0] = np.nan
    both = expected_outcome(missing, y, flat, X, flat, n_classes=2, categorical=mask, random_state=0)
    assert np.isfinite(both.target).all()
