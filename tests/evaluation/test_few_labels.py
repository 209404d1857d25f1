"""A few labels: the plan's design, the powered mean, and the posterior against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from steelyard.errors import InputError
from steelyard.evaluation import MoveSpread, combine_with_labels, label_plan, move_spread, prediction_powered

REPEATS = 400


def _within(held: np.ndarray, level: float = 0.95) -> bool:
    """Whether so many held out of so many is chance, at one in ten thousand."""
    return bool(binom.cdf(held.sum(), len(held), level) > 1e-4)


@pytest.mark.parametrize("noise", [0.3, 3.0])
@pytest.mark.parametrize("n", [12, 60])
def test_the_powered_mean_s_interval_holds_the_mean_of_all_labels(n: int, noise: float) -> None:
    rng = np.random.default_rng(n)
    predicted = rng.gamma(2.0, size=2000)
    held, width, alone = [], [], []
    for _ in range(REPEATS):
        truth = predicted + noise * rng.normal(size=2000)
        rows = rng.choice(2000, size=n, replace=False)
        value, low, high = prediction_powered(truth[rows], predicted[rows], predicted)
        assert low <= value <= high
        held.append(low <= truth.mean() <= high)
        width.append(high - low)
        alone.append(2 * 2.0 * truth[rows].std(ddof=1) / np.sqrt(n))
    assert _within(np.array(held), 0.94)  # the slope is chosen on the same rows, which costs about a point
    if noise < 1:
        assert np.mean(width) < 0.5 * np.mean(alone)
    else:
        # Predictions that say little are left out or cost next to nothing.
        assert np.mean(width) < 1.15 * np.mean(alone)


def test_useless_predictions_are_not_used() -> None:
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=30), np.tile([0.0, 1.0], 15)
    y -= np.where(f == 1, y[f == 1].mean(), y[f == 0].mean())  # no correlation at all
    value, _, _ = prediction_powered(y, f, np.r_[f, np.full(100, 5.0)])
    assert value == pytest.approx(y.mean())


def test_the_plan_draws_each_row_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([0.0, 0.1, 0.1, 0.2, 0.3, 0.5, 1.0, 1.0, 2.0, 20.0])
    counts, said = np.zeros(10), np.zeros(10)
    for _ in range(4000):
        rows, probability = label_plan(spread, 4, random_state=rng)
        assert len(rows) == 4
        counts[rows] += 1
        said[rows] = probability
    assert said[9] == 1.0
    # Four standard errors of a share over 4,000 draws.
    np.testing.assert_allclose(counts / 4000, said, atol=4 * 0.5 / np.sqrt(4000))
    assert said.min() > 0


def test_a_plan_is_weighed_back_to_the_mean_of_all_rows() -> None:
    rng = np.random.default_rng(1)
    spread = rng.gamma(1.0, size=500)
    residual = spread * rng.normal(size=500) + 0.5 * spread
    prior = MoveSpread(np.array([1e3]), np.array([1.0]), 0)
    found = []
    for _ in range(REPEATS):
        rows, p = label_plan(spread, 50, random_state=rng)
        one = combine_with_labels(0.0, 0.0, 0.0, residual[rows], spread=prior, rows=500, probability=p)
        found.append((one.value, one.low <= residual.mean() <= one.high))
    values, held = np.array(found).T
    assert abs(values.mean() - residual.mean()) < 4 * values.std() / np.sqrt(REPEATS)
    assert _within(held)


def test_with_many_labels_and_one_size_of_move_precisions_add() -> None:
    rng = np.random.default_rng(2)
    n, move, se = 20_000, 0.02, 0.01
    residuals = rng.normal(0.03, 1.0, size=n)
    found = combine_with_labels(
        0.5, 0.01, se, residuals, spread=MoveSpread(np.array([move]), np.array([1.0]), 5), rows=10**9
    )
    before, seen = 1 / (se**2 + move**2), n / residuals.var(ddof=1)
    mean = (before * 0.01 + seen * residuals.mean()) / (before + seen)
    assert found.value == pytest.approx(0.5 + mean, abs=2e-5)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(before + seen), rel=5e-3)
    assert found.move == pytest.approx(residuals.mean() - 0.01)


def test_labels_that_contradict_the_estimate_win() -> None:
    rng = np.random.default_rng(3)
    residuals = 1.0 + 0.5 * rng.normal(size=100)  # twenty usual moves away
    found = combine_with_labels(0.0, 0.0, 0.01, residuals, spread=move_spread(usual=0.05), rows=10_000)
    assert abs(found.value - residuals.mean()) < 0.02
    assert found.p_value < 1e-6


def test_labels_without_a_spread_do_not_make_a_sure_value() -> None:
    spread = move_spread(usual=0.05)
    alike = combine_with_labels(
        0.9, 0.0, 0.01, np.full(10, 0.1), spread=spread, rows=5000, expected_variance=0.09
    )
    assert alike.high - alike.low > 0.05


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: prediction_powered([1.0, 2.0], [1.0], [1.0, 2.0]), "same rows"),
        (lambda: prediction_powered([1.0, 2.0], [1.0, 2.0], [1.0, 2.0], probability=[0.0, 1.0]), "above 0"),
        (lambda: label_plan([1.0, -1.0], 1), "negative"),
        (lambda: label_plan([1.0, 1.0], 0), "at least 1"),
        (lambda: label_plan([1.0, 1.0], 1, mixed=0.0), "every row"),
        (
            lambda: combine_with_labels(0.0, 0.0, 0.1, [0.1], spread=move_spread(usual=1.0), rows=10),
            "two labels",
        ),
        (lambda: move_spread([0.1], [0.1, 0.2], usual=1.0), "one of each"),
        (lambda: move_spread(usual=0.0), "positive"),
    ],
)
def test_wrong_input_is_one_sentence(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_unit_does_not_matter(factor: float) -> None:
    rng = np.random.default_rng(4)
    residuals = rng.normal(0.1, 1.0, size=40)
    one, other = (
        combine_with_labels(
            f * 0.3, 0.0, f * 0.05, f * residuals, spread=move_spread(usual=f * 0.1), rows=900
        )
        for f in (1.0, factor)
    )
    for name in ("value", "low", "high", "move"):
        assert getattr(other, name) / factor == pytest.approx(getattr(one, name), rel=1e-6)
