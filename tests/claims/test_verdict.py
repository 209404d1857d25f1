"""The runner's judgement on planted effects whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from claims import Bound, Comparison, Identity
from claims.runner import run_declarations
from claims.verdict import judge, t_interval, worst


def comparison(shift, *, smaller=True, seeds=range(30), noise=1.0):
    def run(seed):
        rng = np.random.default_rng(seed)
        shared = rng.normal(10.0, 5.0)  # pairing has to remove this
        return {"ours": shared + shift + noise * rng.normal(), "theirs": shared + noise * rng.normal()}

    return Comparison(
        paper=0,
        question="planted",
        metric="unitless",
        run=run,
        method="ours",
        baseline="theirs",
        smaller_is_better=smaller,
        seeds=seeds,
    )


@pytest.mark.parametrize(
    ("shift", "smaller", "verdict"),
    [
        (-2.0, True, "holds"),
        (2.0, True, "contradicted"),
        (2.0, False, "holds"),
        (-2.0, False, "contradicted"),
    ],
)
def test_planted_effect_gets_its_verdict(shift, smaller, verdict):
    (outcome,) = run_declarations([comparison(shift, smaller=smaller)])
    assert outcome.verdict == verdict
    # The mean of 30 differences has standard error sqrt(2 / 30) = 0.26; five of them.
    assert abs(abs(outcome.effect) - 2.0) < 1.3
    assert (outcome.effect > 0) == (verdict == "holds")
    assert (outcome.ratio < 1) == (shift < 0)


@pytest.mark.parametrize("tail", ["normal", "heavy"])
def test_null_holds_in_at_most_one_in_forty(tail):
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 30, 2)) if tail == "normal" else rng.standard_t(2.1, size=(2000, 30, 2))
    c = comparison(0.0)
    verdicts = [judge(c, [{"ours": a, "theirs": b} for a, b in rows]).verdict for rows in draws]
    n = len(verdicts)
    # A fair two-sided 95% interval errs 2.5% to each side; three binomial standard errors on top.
    limit = 0.025 + 3 * (0.025 * 0.975 / n) ** 0.5
    assert np.mean([v == "holds" for v in verdicts]) <= limit
    assert np.mean([v == "contradicted" for v in verdicts]) <= limit


def test_t_interval_matches_the_textbook():
    # Student's sleep data, paired differences: mean 1.58, interval (0.70, 2.46) (R's t.test example).
    centre, low, high = t_interval([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    assert centre == pytest.approx(1.58)
    assert (low, high) == (pytest.approx(0.7001142), pytest.approx(2.4598858))


def test_worst_verdict_wins():
    assert worst(["holds", "not shown"]) == "not shown"
    assert worst(["holds", "contradicted", "not shown"]) == "contradicted"


def test_identity_and_bounds():
    identity = Identity(
        paper=0,
        question="q",
        metric="m",
        run=lambda seed: {"value": 1.0 + 1e-9 * seed, "expected": 1.0},
        tolerance=1.5e-9,
        origin="rounding",
        seeds=range(2),
    )
    assert run_declarations([identity])[0].verdict == "holds"
    assert judge(identity, [{"value": 1.1, "expected": 1.0}]).verdict == "contradicted"

    def bound(**kw):
        return Bound(paper=0, question="q", metric="m", run=lambda seed: {}, origin="theorem", **kw)

    coin = [{"value": float(v)} for v in [1] * 5 + [0] * 95]
    assert judge(bound(high=0.06), coin).verdict == "holds"
    assert judge(bound(high=0.04), coin).verdict == "not shown"
    assert judge(bound(high=0.01), coin).verdict == "contradicted"
    assert judge(bound(low=0.9), coin).verdict == "contradicted"
    assert judge(bound(high=0.5, at_every_seed=True), coin).verdict == "contradicted"
    assert judge(bound(high=1.0, low=0.0, at_every_seed=True), coin).verdict == "holds"


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        judge(comparison(0.0), [{"ours": float("nan"), "theirs": 1.0}])


def test_shared_run_is_called_once_a_seed():
    calls = []

    def run(seed):
        calls.append(seed)
        return {"a": 1.0 * seed, "b": 0.5, "c": 0.25}

    pair = [
        Comparison(paper=0, question=q, metric="m", run=run, method="a", baseline=q, seeds=range(4))
        for q in "bc"
    ]
    run_declarations(pair)
    assert sorted(calls) == [0, 1, 2, 3]


def test_many_checks_of_one_row_do_not_contradict_by_chance():
    rng = np.random.default_rng(1)
    k, rows, n = 16, 200, 20
    c = comparison(0.0)
    bad = 0
    for _ in range(rows):
        draws = rng.normal(size=(k, n))
        verdicts = [judge(c, [{"ours": v, "theirs": 0.0} for v in row], declared=k).verdict for row in draws]
        bad += worst(verdicts) == "contradicted"
    # One-sided familywise rate 2.5%, three binomial standard errors on top; uncorrected it would be 33%.
    assert bad / rows <= 0.025 + 3 * (0.025 * 0.975 / rows) ** 0.5
