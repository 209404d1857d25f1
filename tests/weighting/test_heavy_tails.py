"""No single row decides: under heavy tails and gross outliers, weights are no worse than constant ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from steelyard.weighting import AutoRatio, best_cap, ratio_score
from steelyard.weighting.select import most_shown, weights_score

MU = np.array([0.7, -0.4, 0.0])


def _student(df):
    law = stats.t(df)

    def draw(rng, n, m):
        return law.rvs((n, 3), random_state=rng), law.rvs((m, 3), random_state=rng) + MU

    return draw, lambda X: (law.logpdf(X - MU) - law.logpdf(X)).sum(axis=1)


def _log_normal():
    def draw(rng, n, m):
        return np.exp(rng.normal(size=(n, 3))), np.exp(rng.normal(size=(m, 3)) + MU)

    return draw, lambda X: np.log(np.maximum(X, 1e-300)) @ MU


def _outlier(side, size):
    def draw(rng, n, m):
        X, X_target = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + MU
        (X, X_target)[side][0] = size
        return X, X_target

    # The row that is no draw of either law is told apart below: its ratio is left out of the error.
    return draw, lambda X: np.where(np.abs(X).max(axis=1) < 20, X @ MU, 0.0)


LAWS = {
    "t2": _student(2),
    "t3": _student(3),
    "t4": _student(4),
    "log-normal": _log_normal(),
    "outlier in the target": _outlier(1, 1e6),
    "outlier in the source": _outlier(0, 1e6),
    "row far off in the target": _outlier(1, 30.0),
    "row far off in the source": _outlier(0, -30.0),
}


def _l1(log_w, log_r):
    w, r = np.exp(log_w - log_w.max()), np.exp(log_r - log_r.max())
    return np.mean(np.abs(w / w.mean() - r / r.mean()))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_never_worse_than_constant_weights(law, scale):
    """Four draws each, 64 in all, of 400 rows for 300."""
    draw, log_ratio = LAWS[law]
    for seed in range(4):
        rng = np.random.default_rng([seed, len(law), int(scale)])
        X, X_target = draw(rng, 400, 300)
        auto = AutoRatio(random_state=seed).fit(scale * X, X_target=scale * X_target)
        error, of_constant = _l1(auto.log_ratio_, log_ratio(X)), _l1(np.zeros(400), log_ratio(X))
        # With 700 rows a slope's standard error is about 0.08, so that the error of weights from the
        # right family is about 0.15 and that of constant ones 0.45.
        assert error < of_constant
        w = auto.weights()
        assert w.sum() ** 2 / (w @ w) > 80  # 200 or so by the exact ratios
        new, new_target = draw(rng, 1500, 1500)
        said = auto.log_ratio(scale * new), auto.log_ratio(scale * new_target)
        assert ratio_score(*said) > 0 and weights_score(*said) > 0
        w = np.exp(said[0])
        assert w.sum() ** 2 / (w @ w) > 300


def test_one_target_row_keeps_no_cap():
    """A few source rows have too large log ratios, and one target row a far larger one."""
    rng = np.random.default_rng(0)
    s, t = rng.normal(-0.1, 0.4, size=1300), rng.normal(0.1, 0.4, size=800)
    s[:2] = 6.0
    cap = best_cap(s, t)
    assert cap < 1.5
    t[0] = 52.0
    assert best_cap(s, t) == pytest.approx(cap, abs=0.05)
    # Alone it would have kept all: the plain squared score grows with it.
    cut = np.minimum(s, cap), np.minimum(t, cap)
    assert ratio_score(s, t, loss="squared") > ratio_score(*cut, loss="squared")
    assert weights_score(s, t) < 0 < weights_score(*cut)


def test_one_source_row_lowers_a_cap_by_little_and_never_raises_it():
    """A row of that weight does cost as much as it says; but it does not cut where many target rows are."""
    rng = np.random.default_rng(1)
    exact = rng.normal(size=2000), rng.normal(1.0, size=2000)  # log ratio x - 1/2
    s, t = exact[0] - 0.5, exact[1] - 0.5
    before = best_cap(s, t)
    s[0] = 40.0
    assert np.quantile(t, 0.95) < best_cap(s, t) <= before


def test_what_two_samples_can_show():
    s, t = np.zeros(100), np.linspace(0, 30, 200)
    assert most_shown(s, t) == pytest.approx(np.log(100))
    assert most_shown(s, np.minimum(t, 2.0)) == 2.0
    t = np.zeros(200)
    t[:4] = 3.0
    assert most_shown(s, t) == 0.0
    t[4] = 2.5
    assert most_shown(s, t) == 2.5
    # Rows that do not count do not either.
    assert most_shown(s, np.full(200, 9.0), sample_weight=np.arange(100) < 10) == pytest.approx(np.log(10))
