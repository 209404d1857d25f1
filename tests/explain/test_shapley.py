"""Shapley values against enumeration of all orders, closed forms and the axioms."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from steelyard.errors import InputError
from steelyard.explain import exact_shapley, sampled_shapley, shapley_coefficients


def by_orders(values, n):
    """Average the marginal contributions over every order: the definition."""
    total = np.zeros((n, *values.shape[1:]))
    orders = list(permutations(range(n)))
    for order in orders:
        mask = 0
        for player in order:
            total[player] += values[mask | (1 << player)] - values[mask]
            mask |= 1 << player
    return total / len(orders)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_exact_equals_enumeration_of_orders(n):
    rng = np.random.default_rng(n)
    values = rng.normal(size=(2**n, 3))
    # Rounding of at most 2^5 terms of size one.
    np.testing.assert_allclose(exact_shapley(values), by_orders(values, n), atol=1e-13)
    np.testing.assert_allclose(
        shapley_coefficients(n) @ values[:, 0], exact_shapley(values[:, 0]), atol=1e-13
    )


def test_airport_game_closed_form():
    # Each runway costs what its largest user needs: the increments are shared by those who need them
    # (Littlechild and Owen 1973): costs 1, 3, 6 give 1/3, 1/3 + 2/2, 1/3 + 1 + 3.
    costs = [1.0, 3.0, 6.0]
    values = [max((costs[g] for g in range(3) if mask >> g & 1), default=0.0) for mask in range(8)]
    np.testing.assert_allclose(exact_shapley(values), [1 / 3, 4 / 3, 13 / 3], atol=1e-14)


def test_efficiency_dummy_and_linearity():
    rng = np.random.default_rng(0)
    v = rng.normal(size=16)
    assert exact_shapley(v).sum() == pytest.approx(v[-1] - v[0], abs=1e-13)
    dummy = v.copy()
    dummy[[m | 4 for m in range(16) if not m & 4]] = dummy[[m for m in range(16) if not m & 4]] + 2.5
    assert exact_shapley(dummy)[2] == pytest.approx(2.5, abs=1e-13)
    u = rng.normal(size=16)
    np.testing.assert_allclose(exact_shapley(2 * v - u), 2 * exact_shapley(v) - exact_shapley(u), atol=1e-13)


def test_sampled_covers_exact_and_adds_up():
    n = 7
    rng = np.random.default_rng(1)
    values = rng.normal(size=2**n)
    weights = 2 ** np.arange(n)
    exact = exact_shapley(values)
    estimate = sampled_shapley(lambda s: values[int(weights @ s)], n, n_permutations=2000, random_state=2)
    z = (np.array(estimate.values) - exact) / np.array(estimate.standard_errors)
    # Seven standard normal scores: beyond 3.5 in one of 300 sets.
    assert np.abs(z).max() < 3.5
    assert sum(estimate.values) == pytest.approx(values[-1] - values[0], abs=1e-12)
    assert estimate == sampled_shapley(
        lambda s: values[int(weights @ s)], n, n_permutations=2000, random_state=2
    )


def test_sampled_errors_are_honest():
    values = np.random.default_rng(3).normal(size=16)
    exact = exact_shapley(values)
    weights = 2 ** np.arange(4)
    scores = []
    for seed in range(200):
        e = sampled_shapley(lambda s: values[int(weights @ s)], 4, n_permutations=60, random_state=seed)
        scores.append((np.array(e.values) - exact) / np.array(e.standard_errors))
    # 30 pairs each: a t score with 29 degrees has variance 29/27; 800 (dependent) scores, 20% slack.
    assert np.mean(np.square(scores)) == pytest.approx(29 / 27, rel=0.2)


def test_pairs_make_order_two_games_exact():
    rng = np.random.default_rng(4)
    main, pair = rng.normal(size=12), np.triu(rng.normal(size=(12, 12)), 1)
    e = sampled_shapley(lambda s: float(main @ s + s @ pair @ s), 12, n_permutations=4, random_state=0)
    np.testing.assert_allclose(e.values, main + 0.5 * (pair + pair.T).sum(axis=1), atol=1e-12)
    assert max(e.standard_errors) < 1e-12


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0], 4.0])
def test_incomplete_games_are_refused(values):
    with pytest.raises(InputError, match="2\\*\\*G"):
        exact_shapley(values)


def test_too_many_players_are_refused():
    with pytest.raises(InputError, match="sampled_shapley"):
        shapley_coefficients(25)
    with pytest.raises(InputError, match="at least 4"):
        sampled_shapley(lambda s: 0.0, 3, n_permutations=2)
