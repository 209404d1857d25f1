"""Expected coverage against the coverage that is reached, and its error against a plain formula."""

import json

import numpy as np
import pytest

from steelyard.conformal import conformal_thresholds, expected_coverage
from steelyard.datasets import make_shift, make_tilted_uniform
from steelyard.errors import InputError


def reached(scores, log_w, new, log_v):
    weighted = conformal_thresholds(
        scores, alpha=0.1, sample_weight=log_w, target_weight=log_v, log_weights=True
    )
    return np.mean(new <= weighted), np.mean(new <= conformal_thresholds(scores, alpha=0.1))


@pytest.mark.parametrize("kind", ["tilt", "covariate"])
def test_interval_holds_the_coverage_that_is_reached(kind):
    hits, gaps = [], []
    for seed in range(150):
        if kind == "tilt":
            s = make_tilted_uniform(n_source=400, n_target=4000, random_state=seed)
        else:
            s = make_shift(kind, task="regression", n_source=400, n_target=4000, random_state=seed)
        scores, new = np.abs(s.y - s.scores), np.abs(s.y_target - s.scores_target)
        e = expected_coverage(scores, alpha=0.1, sample_weight=np.exp(s.log_ratio), random_state=0)
        truth = reached(scores, s.log_ratio, new, s.log_ratio_target)
        hits.append([c.low <= t <= c.high for c, t in zip((e.weighted, e.unweighted), truth)])
        gaps.append([c.value - t for c, t in zip((e.weighted, e.unweighted), truth)])
    gaps = np.array(gaps)
    # No bias that 150 runs could see, but for 0.005 that folds of 4/5 of the rows may add.
    assert (np.abs(gaps.mean(axis=0)) < 0.005 + 3 * gaps.std(axis=0) / np.sqrt(150)).all()
    # Nominal 95%; at 150 runs a true 93% would fall below 88% with probability 0.01.
    assert (np.mean(hits, axis=0) >= 0.88).all()


def test_standard_error_is_that_of_a_ratio_of_sums():
    rng = np.random.default_rng(0)
    x = rng.normal(size=800)
    scores, w = np.abs(rng.normal(size=800)) * np.exp(0.3 * x), np.exp(0.5 * x)
    e = expected_coverage(scores, alpha=0.2, sample_weight=w, n_splits=3, random_state=0)
    # A bootstrap of the share under a fixed threshold: its sd is the influence-function error.
    limit = conformal_thresholds(scores, alpha=0.2, sample_weight=w, target_weight=1.0)
    rows = rng.integers(0, 800, size=(4000, 800))
    draws = (w[rows] * (scores[rows] <= limit)).sum(axis=1) / w[rows].sum(axis=1)
    # 4,000 draws know the sd to 1.1%; the thresholds of the folds differ a little from the whole's.
    assert e.weighted.standard_error == pytest.approx(draws.std(), rel=0.08)
    assert e.ess == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_evaluation_weights_show_what_smoothing_costs():
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    scores, w = np.abs(rng.normal(size=4000)) * np.exp(0.5 * x), np.exp(x)
    flat = expected_coverage(scores, alpha=0.1, sample_weight=w**0.5, evaluation_weight=w, random_state=0)
    full = expected_coverage(scores, alpha=0.1, sample_weight=w, random_state=0)
    assert flat.unweighted.value < flat.weighted.value < full.weighted.value
    assert flat.unweighted.value == full.unweighted.value


def test_no_shift_gives_the_level_both_ways():
    scores = np.random.default_rng(2).normal(size=2000)
    e = expected_coverage(scores, alpha=0.1, random_state=0)
    assert e.weighted == e.unweighted
    assert abs(e.weighted.value - 0.9) < 2 / np.sqrt(2000) * 0.3
    assert e.infinite_share == 0.0
    assert e.ess == pytest.approx(2000)


def test_everything_covered_is_not_certainty():
    w = np.r_[np.full(30, 1e-3), 1.0]
    e = expected_coverage(np.arange(31.0), alpha=0.05, sample_weight=w, random_state=0)
    assert e.weighted.value > 0.999
    assert e.weighted.high > 0.999
    assert e.weighted.low < 0.5  # about one effective row
    assert e.infinite_share > 0.9


def test_same_seed_same_answer_and_plain_record():
    scores = np.random.default_rng(3).normal(size=50)
    one, two = (expected_coverage(scores, alpha=0.1, random_state=4) for _ in range(2))
    assert one == two
    assert json.loads(json.dumps(one.to_dict()))["weighted"]["value"] == one.weighted.value


@pytest.mark.parametrize(
    ("scores", "keywords"),
    [(np.arange(9.0), {}), (np.arange(20.0), {"n_splits": 0}), (np.arange(20.0), {"n_folds": 1})],
)
def test_too_little_is_refused(scores, keywords):
    with pytest.raises(InputError):
        expected_coverage(scores, alpha=0.1, **keywords)
