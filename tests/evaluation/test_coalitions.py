"""Models of sets of columns that share a design, against models that are fitted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from steelyard.evaluation.block_design import BlockDesign, choose_products
from steelyard.evaluation.coalitions import SharedModels

PARTS = [(0,), (1, 2), (0, 1, 2)]


def two_samples(seed=0, n=500, m=350):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=n), rng.integers(0, 4, n), rng.normal(size=n)]).astype(float)
    T = np.column_stack([rng.normal(0.8, 1, m), rng.choice(4, m, p=[0.1, 0.1, 0.3, 0.5]), rng.normal(size=m)])
    X[::9, 2] = np.nan
    loss = X[:, 0] + (X[:, 1] == 2) * np.where(np.isnan(X[:, 2]), 1.0, 0.0) + rng.normal(size=n)
    return rng, X, T, loss


def shared(X, T, loss, weight, rng):
    fold, fold_target = rng.integers(0, 3, len(X)), rng.integers(0, 3, len(T))
    mask = np.array([False, True, False])
    return SharedModels(X, T, loss, weight, mask, fold=fold, fold_target=fold_target), fold, fold_target


def test_log_odds_are_those_of_separate_logistic_regressions():
    rng, X, T, loss = two_samples()
    weight = rng.uniform(0.5, 2.0, size=len(X))
    models, fold, fold_target = shared(X, T, loss, weight, rng)
    found = models.log_odds(PARTS)
    phi, n = models._phi, len(X)
    for k in range(3):
        train = np.r_[fold != k, fold_target != k]
        w = np.r_[weight, np.ones(len(T))][train]
        for j, part in enumerate(PARTS):
            chosen = models._design.usable(part)
            chosen[0] = False  # scikit-learn has an intercept of its own
            alone = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8)
            alone.fit(phi[train][:, chosen], (np.arange(len(phi)) >= n)[train], sample_weight=w)
            truth = alone.decision_function(phi[:n][fold == k][:, chosen])
            # The solver stops where a step would gain a twentieth of a unit of log likelihood, which over
            # 560 rows of variance 1/4 each is sqrt(0.1 / 140) = 0.03 in the mean square; where log odds are
            # large the variance is as little as a quarter of that, and the error twice as large. The
            # statistical error is sqrt(15 features / 140) = 0.3.
            assert np.sqrt(np.mean((found[fold == k, j] - truth) ** 2)) < 0.06


def test_means_are_those_of_separate_ridge_regressions():
    rng, X, T, loss = two_samples(1)
    weight = rng.integers(1, 3, size=len(X)).astype(float)
    models, fold, fold_target = shared(X, T, loss, weight, rng)
    outcomes = np.column_stack([loss, loss**2, -loss])
    at_source, at_target = models.means(PARTS, outcomes)
    phi, target = models._phi[: len(X)], models._phi[len(X) :]
    for j, part in enumerate(PARTS):
        chosen = models._design.usable(part)
        chosen[0] = False
        for k in range(3):
            alone = Ridge(alpha=1.0).fit(phi[fold != k][:, chosen], outcomes[fold != k, j], weight[fold != k])
            # The constant's own penalty is a millionth of its rows: a millionth of the outcome's mean.
            expected = alone.predict(phi[fold == k][:, chosen])
            np.testing.assert_allclose(at_source[fold == k, j], expected, atol=1e-4)
            expected = alone.predict(target[fold_target == k][:, chosen])
            np.testing.assert_allclose(at_target[fold_target == k, j], expected, atol=1e-4)


def test_what_a_model_says_does_not_use_other_columns():
    _, X, T, loss = two_samples(2)
    other = X.copy()
    other[:, 0] += 5.0  # the same splines, so the other sets' features are unchanged
    said = [
        shared(rows, T + [shift, 0, 0], loss, np.ones(len(X)), np.random.default_rng(0))[0].means(
            [(1, 2)], loss[:, None]
        )[0]
        for rows, shift in ((X, 0.0), (other, 5.0))
    ]
    np.testing.assert_allclose(said[0], said[1], atol=1e-8)


def test_a_missing_value_is_not_the_median():
    # Values are missing more often in the target and those rows lose 1: only the mark can see it.
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(2, 4000, 1))
    x[rng.random(4000) < 0.2], t[rng.random(4000) < 0.6] = np.nan, np.nan
    fold = np.arange(4000) % 2
    models = SharedModels(
        x, t, 1.0 * np.isnan(x[:, 0]), np.ones(4000), np.array([False]), fold=fold, fold_target=fold
    )
    gone = np.isnan(x[:, 0])
    odds = models.log_odds([(0,)])[:, 0]
    # log(0.6 / 0.2) - log(0.4 / 0.8) = 1.79, with a standard error of 0.07 from cells of 400 to 1,600 rows.
    assert odds[gone].mean() - odds[~gone].mean() == pytest.approx(np.log(6.0), abs=0.25)
    mean, _ = models.means([(0,)], 1.0 * gone[:, None])
    assert mean[gone].mean() > 0.97
    assert abs(mean[~gone].mean()) < 0.03


def test_products_are_chosen_where_pairs_matter():
    rng = np.random.default_rng(4)
    X = np.column_stack([rng.normal(size=(2000, 3)), rng.integers(0, 3, (2000, 2))])
    design = BlockDesign(X, np.array([False, False, False, True, True]), n_knots=4)
    left = X[:, 0] * X[:, 1] + 2.0 * ((X[:, 3] == 1) & (X[:, 4] == 2)) + rng.normal(size=2000)
    scores, owner = design.scores(X), design.score_owner
    phi = design.additive(X)
    left -= phi @ np.linalg.lstsq(phi, left, rcond=None)[0]
    alone = [(j,) for j in range(scores.shape[1])]
    products = choose_products(scores, alone, scores, owner, left)
    columns = [tuple(owner[list(product)].tolist()) for product in products]
    assert {(0, 1), (3, 4)} <= set(columns)
    assert columns[0] == (0, 1)
    assert len(set(products)) == len(products)
    assert choose_products(scores, alone, scores, owner, np.zeros(2000)) == []


def test_a_third_column_is_found_by_a_pair():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(4000, 4))
    design = BlockDesign(X, np.zeros(4, dtype=bool), n_knots=4)
    scores, owner = design.scores(X), design.score_owner
    line = [int(np.flatnonzero(owner == j)[0]) for j in range(4)]
    pair = (line[1], line[3])
    factors = design.add_products(scores, [pair])
    left = factors[:, 0] * X[:, 0] + rng.normal(size=4000)
    (product,) = choose_products(factors, [pair], scores, owner, left, most=1)
    # Which of the first column's scores (its line or a cut) comes first is chance.
    assert owner[list(product)].tolist() == [0, 1, 3]


def test_features_know_their_columns():
    _, X, _, _ = two_samples(5)
    design = BlockDesign(X, np.array([False, True, False]), n_knots=4)
    assert design.additive(X).shape[1] == len(design.needs)
    assert design.usable(()).sum() == 1
    a, b, both = (design.usable(part).sum() for part in ((0,), (1, 2), (0, 1, 2)))
    assert a + b - 1 == both == len(design.needs)
    owner, scores = design.score_owner, design.scores(X)
    product = (int(np.flatnonzero(owner == 0)[0]), int(np.flatnonzero(owner == 1)[0]))
    np.testing.assert_allclose(
        design.add_products(scores, [product])[:, 0], scores[:, product[0]] * scores[:, product[1]]
    )
    assert design.usable((0, 1))[-1]
    assert not design.usable((0, 2))[-1]


def test_degenerate_columns_are_no_obstacle():
    rng = np.random.default_rng(6)
    X = np.column_stack([np.full(60, np.nan), np.zeros(60), rng.lognormal(0, 4, 60), np.arange(60)])
    fold = np.arange(60) % 2
    mask = np.array([False, False, False, True])
    models = SharedModels(X, X[::-1].copy(), X[:, 3], np.ones(60), mask, fold=fold, fold_target=fold)
    assert np.isfinite(models.log_odds([(0,), (0, 1, 2, 3)])).all()
