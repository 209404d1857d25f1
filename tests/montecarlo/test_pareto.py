"""The Pareto tail against samples whose tail is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from steelyard.errors import InconclusiveError
from steelyard.montecarlo import follow_tail, pareto_k, pareto_k_of_top, pareto_smooth, smoothed_tail
from steelyard.montecarlo.pareto import fit_generalised_pareto
from steelyard.numerics import TopWeights


@pytest.mark.parametrize("k", [-0.3, 0.0, 0.3, 0.7, 1.2])
def test_fit_recovers_the_shape_and_scale(k):
    # The maximum-likelihood shape has variance (1 + k)^2 / n for k > -0.5; the prior (ten observations at
    # 0.5) shifts the estimate by at most 10 * 0.8 / 2000 = 0.004.
    n = 2000
    fits = [
        fit_generalised_pareto(genpareto(k, scale=2.5).rvs(n, random_state=np.random.default_rng(s)))
        for s in range(20)
    ]
    shape, scale = np.mean(fits, axis=0)
    assert shape == pytest.approx(k, abs=4 * (1 + k) / np.sqrt(n * 20) + 0.006)
    # The scale's variance is 2 (1 + k) scale^2 / n.
    assert scale == pytest.approx(2.5, abs=4 * 2.5 * np.sqrt(2 * (1 + k) / (n * 20)) + 0.02)


def test_fit_agrees_with_scipy_s_maximum_likelihood():
    x = genpareto(0.4).rvs(3000, random_state=np.random.default_rng(0))
    ours, scale = fit_generalised_pareto(x)
    theirs, _, their_scale = genpareto.fit(x, floc=0)
    # Two efficient estimators of one sample differ by less than the standard error, 1.4 / sqrt(3000) = 0.026.
    assert ours == pytest.approx(theirs, abs=0.013)
    assert scale == pytest.approx(their_scale, rel=0.02)


@pytest.mark.parametrize("a", [0.2, 0.5, 0.9])
def test_weights_that_are_powers_of_a_uniform_have_that_shape(a):
    # u^-a is a Pareto law with shape k = a exactly; the tail has 3 sqrt(40000) = 600 values.
    ks = [pareto_k(-a * np.log(np.random.default_rng(s).uniform(size=40_000))) for s in range(10)]
    # The prior moves it by up to 10 * 0.3 / 610 = 0.005.
    assert np.mean(ks) == pytest.approx(a, abs=4 * (1 + a) / np.sqrt(600 * 10) + 0.006)


def test_k_does_not_depend_on_the_scale_of_the_weights():
    log_w = 1.5 * np.random.default_rng(0).normal(size=2000)
    assert pareto_k(log_w + 700) == pytest.approx(pareto_k(log_w), abs=1e-9)
    assert pareto_k(log_w - 700) == pytest.approx(pareto_k(log_w), abs=1e-9)


@pytest.mark.parametrize(
    "log_w",
    [np.zeros(1000), np.log(np.repeat([0.5, 2.0], [800, 200])), np.random.default_rng(0).normal(size=20)],
    ids=["all alike", "two classes", "too few"],
)
def test_no_tail_no_shape(log_w):
    smoothed, k = pareto_smooth(log_w)
    assert k is None and pareto_k(log_w) is None
    np.testing.assert_array_equal(smoothed, log_w)


def test_smoothing_keeps_the_body_the_order_and_the_largest_weight():
    log_w = -0.8 * np.log(np.random.default_rng(3).uniform(size=5000))
    smoothed, k = pareto_smooth(log_w)
    assert k is not None and 0.5 < k < 1.1
    tail = int(3 * np.sqrt(5000))
    body = np.argsort(log_w)[:-tail]
    np.testing.assert_array_equal(smoothed[body], log_w[body])
    assert smoothed.max() <= log_w.max() + 1e-12
    order = np.argsort(log_w, kind="stable")
    assert (np.diff(smoothed[order]) >= -1e-12).all()


def test_smoothing_lowers_the_error_of_a_heavy_weighted_mean():
    """Weights u^-0.7 have mean 1 / 0.3 and no variance: smoothing trades bias for far less error."""
    truth, raw, smooth = 1 / 0.3, [], []
    for seed in range(300):
        log_w = -0.7 * np.log(np.random.default_rng(seed).uniform(size=400))
        raw.append(np.exp(log_w).mean() - truth)
        smooth.append(np.exp(pareto_smooth(log_w)[0]).mean() - truth)
    assert np.mean(np.square(smooth)) < np.mean(np.square(raw))


@pytest.mark.parametrize("n", [3, 26, 224, 226, 5000])
def test_the_largest_weights_alone_give_the_same_shape(n):
    log_w = -0.6 * np.log(np.random.default_rng(n).uniform(size=n))
    parts = [TopWeights.of(part, capacity=250) for part in np.array_split(log_w, 3)]
    assert pareto_k_of_top(parts[2].merge(parts[0]).merge(parts[1])) == pareto_k(log_w)


def test_a_tail_that_was_not_kept_is_told():
    # 3 sqrt(10000) = 300 tail weights and the cut-off below them.
    top = TopWeights.of(np.random.default_rng(0).normal(size=10_000), capacity=300)
    with pytest.raises(InconclusiveError, match="capacity=301"):
        pareto_k_of_top(top)
    assert pareto_k_of_top(TopWeights.of(np.full(100, -np.inf))) is None


def test_the_shape_alone_is_the_shape_that_smooths():
    rng = np.random.default_rng(11)
    for n in (1, 24, 25, 100, 5_000):
        plain = rng.normal(size=n)
        for log_w in (plain, np.round(plain, 1)):  # ties at the cut-off as well
            assert pareto_k(log_w) == pareto_smooth(log_w)[1]


def test_further_rows_follow_the_smoothed_tail():
    """The fitted rows come back as they were smoothed, the largest among them, and order is kept between."""
    raw = 1.3 * np.random.default_rng(0).normal(size=400)
    smooth, _ = pareto_smooth(raw)
    tail = smoothed_tail(raw, smooth)
    np.testing.assert_allclose(follow_tail(raw, tail), smooth, rtol=1e-12)
    grid = np.linspace(raw.min() - 1, raw.max() + 1, 5000)
    assert (np.diff(follow_tail(grid, tail)) >= 0).all()
    assert follow_tail(np.array([raw.max() + 50]), tail)[0] == smooth.max()
    assert smoothed_tail(raw, raw) is None


@pytest.mark.parametrize("few", [8, 30, 80])
def test_few_values_that_many_rows_share_are_no_tail(few):
    # Log ratios of a table's few different rows, each of them many times, the largest on one in fifty.
    rng = np.random.default_rng(few)
    values = np.sort(rng.exponential(size=few))
    log_w = np.concatenate([rng.choice(values, size=3920), np.full(80, values[-1] + 1.0)])
    assert pareto_k(log_w) is None
    smooth, k = pareto_smooth(log_w)
    assert k is None
    np.testing.assert_array_equal(smooth, log_w)


def test_copies_of_rows_leave_a_heavy_tail_as_heavy():
    log_w = -1.2 * np.log(np.random.default_rng(0).uniform(size=4000))
    three = np.repeat(log_w, 3)
    # The tail of three times the rows has some 110 values: its shape varies by (1 + k) / sqrt(110).
    assert abs(pareto_k(three) - pareto_k(log_w)) < 4 * 2.2 / np.sqrt(110)
    smooth, _ = pareto_smooth(three)
    np.testing.assert_array_equal(smooth, three)
