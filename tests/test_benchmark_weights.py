"""The pure parts of the benchmark of weights: the figures of merit, who is left out, what the tables say."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.bare import hide
from benchmarks.measure import Machine, Result
from benchmarks.weights.run import METHODS, PATIENCE, left_out
from benchmarks.weights.score import rank_correlation, squared_error
from benchmarks.weights.table import render
from steelyard.datasets import make_gaussian_shift, make_mixture_shift


def test_the_error_by_hand():
    # Ratios 1 and 3 scale to 1/2 and 3/2; weights 3 and 1 to 3/2 and 1/2: (1 + 1) / 2 over (1/4 + 9/4) / 2.
    assert squared_error(np.array([3.0, 1.0]), np.log([1.0, 3.0])) == pytest.approx(0.8)
    # Neither scale matters, however large the logarithms.
    assert squared_error(np.array([30.0, 10.0]), np.log([1.0, 3.0]) + 1000) == pytest.approx(0.8)
    assert squared_error(np.array([2.0, 6.0]), np.log([1.0, 3.0])) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("make", "second_moment"), [(make_gaussian_shift, np.exp(0.75)), (make_mixture_shift, 3.09)]
)
def test_constant_weights_score_what_the_second_moment_says(make, second_moment):
    s = make(n_source=100_000, n_target=1, random_state=0)
    # Over seeds the score of constant weights has a standard deviation below 0.004 at this size.
    assert squared_error(np.ones(100_000), s.log_ratio) == pytest.approx(1 - 1 / second_moment, abs=0.016)


def test_weights_that_cannot_be_scaled_have_no_error():
    assert np.isnan(squared_error(np.zeros(2), np.zeros(2)))
    assert np.isnan(squared_error(np.array([1.0, np.nan]), np.zeros(2)))
    assert np.isnan(rank_correlation(np.array([1.0, np.nan]), np.zeros(2)))


def test_ranks_agree_with_scipy_ties_included():
    rng = np.random.default_rng(0)
    weights, log_ratio = np.round(rng.exponential(size=50), 1), rng.normal(size=50)
    assert rank_correlation(weights, log_ratio) == pytest.approx(spearmanr(weights, log_ratio).statistic)
    assert rank_correlation(np.ones(50), log_ratio) == 0.0


def test_the_slow_and_the_failed_are_left_out_of_larger_tables():
    assert left_out(None, 100, 1) is None
    quick, slow = (Result("a", 1, seconds=PATIENCE / 25 * f) for f in (0.9, 1.1))
    assert left_out((2_000, quick), 10_000, 2) is None
    assert left_out((2_000, slow), 10_000, 1) is None
    assert left_out((2_000, slow), 10_000, 2) == "not run: 1.1 s with 2,000 rows a side"
    failed = Result("a", failure="not done within 120 s")
    assert left_out((2_000, failed), 10_000, 1) == "not run: not done within 120 s with 2,000 rows a side"


def test_names_are_unique_and_the_choice_is_ours():
    names = [m.name for m in METHODS]
    assert len(set(names)) == len(names)
    assert names[0] == "steelyard"


def result(name: str, seconds: float, error: float | None, rank: float | None, **more: str) -> dict:
    answer = {"error": error, "rank": rank, **more}
    return vars(Result(name, 1, seconds, seconds, seconds, 1.0, 1e8, answer))


def test_the_section_says_who_is_better_and_what_was_not_run():
    results = [
        result("steelyard", 1.0, 0.20, 0.9, chose="boosted"),
        result("steelyard, logistic", 0.1, 0.10, 0.9),
        result("fast, better", 0.5, 0.15, 0.8),
        result("slow, broken", 2.0, None, None),
        vars(Result("too slow", failure="not run: 50 s with 2,000 rows a side")),
    ]
    pair = [result("steelyard", 0.1, 0.5, 0.5), result("densratio", 3.0, 0.5, 0.5)]
    text = render(
        {
            "machine": vars(Machine("3", "cpu", 2, 0.0, 0.0, 1)),
            "versions": {"skada": {"skada": "1"}},
            "draws": 3,
            "problems": [{"problem": "mixture", "rows": 2000, "results": results}],
            "pairs": [{"problem": "gaussian", "rows": 2000, "results": pair}],
        }
    )
    lost = text.partition("### Where steelyard loses")[2]
    assert "mixture, 2,000 rows a side, error: 0.200 against 0.150 (fast, better)." in lost
    assert "seconds, by other work: 1 against fast, better 0.5 s." in lost
    # Its own parts are no competitors of the choice among them.
    assert "logistic" not in lost
    assert "densratio" not in lost
    assert "steelyard chose: boosted. Weights that are not numbers: slow, broken." in text
    assert "no answer: not run: 50 s with 2,000 rows a side" in text


def test_a_hidden_package_looks_absent(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "mailbox", raising=False)
    hide("mailbox")
    with pytest.raises(ModuleNotFoundError, match="mailbox"):
        importlib.import_module("mailbox")
