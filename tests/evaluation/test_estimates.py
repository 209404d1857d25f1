"""The estimates against plain metrics, textbook errors, and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from steelyard.datasets import make_shift
from steelyard.errors import InputError
from steelyard.evaluation import (
    METRICS,
    Outputs,
    doubly_robust,
    get_metric,
    importance_weighted,
    outcome_columns,
    outcome_model_variance,
    plug_in,
    unseen_noise,
)
from steelyard.evaluation.estimates import label_noise, make_estimate

REPEATS = 200


def _binary(s):
    source, target = (
        Outputs(np.column_stack([1 - p, p]), (p > 0.5).astype(int)) for p in (s.scores, s.scores_target)
    )
    return source, target


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "brier", "f1", "auc"])
def test_constant_weights_give_the_plain_metric(name):
    s = make_shift("none", n_source=500, n_target=50, random_state=0)
    outputs, _ = _binary(s)
    z = outcome_columns(s.y, outputs, n_classes=2)
    for scale in (1.0, 7.0):
        found = importance_weighted(METRICS[name], outputs, z, weights=np.full(500, scale))
        assert found.value == pytest.approx(METRICS[name](outputs, z), abs=1e-12)


def test_constant_weights_give_textbook_errors():
    s = make_shift("none", n_source=500, n_target=50, random_state=0)
    outputs, _ = _binary(s)
    z = outcome_columns(s.y, outputs, n_classes=2)
    found = importance_weighted(get_metric("accuracy"), outputs, z, weights=np.ones(500))
    hit = np.mean(outputs.label == s.y)
    assert found.standard_error == pytest.approx(np.sqrt(hit * (1 - hit) / 500), rel=1e-12)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * found.standard_error, rel=1e-6)
    with_target = importance_weighted(get_metric("accuracy"), outputs, z, weights=np.ones(500), n_target=50)
    assert with_target.standard_error**2 == pytest.approx(hit * (1 - hit) * (1 / 500 + 1 / 50), rel=1e-12)
    # AUC: DeLong's variance (with n in place of n - 1) conditions on the class sizes, as the slope does.
    auc = importance_weighted(get_metric("auc"), outputs, z, weights=np.ones(500))
    pos, neg = s.scores[s.y == 1], s.scores[s.y == 0]
    above = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    delong = above.mean(axis=1).var() / len(pos) + above.mean(axis=0).var() / len(neg)
    assert auc.standard_error**2 == pytest.approx(delong, rel=1e-9)


def test_errors_of_the_root_mean_square_by_the_delta_method():
    rng = np.random.default_rng(1)
    value = rng.normal(size=400)
    y = value + rng.standard_t(8, size=400)
    outputs = Outputs(value=value)
    found = importance_weighted(
        get_metric("rmse"), outputs, outcome_columns(y, outputs), weights=np.ones(400)
    )
    squared = (y - value) ** 2
    assert found.standard_error == pytest.approx(
        squared.std() / np.sqrt(400) / (2 * np.sqrt(squared.mean())), rel=1e-9
    )


@pytest.mark.parametrize("name", ["accuracy", "auc", "f1", "log_loss"])
def test_without_residuals_the_doubly_robust_estimate_is_the_plug_in(name):
    s = make_shift("covariate", n_source=300, n_target=200, random_state=2)
    outputs, target = _binary(s)
    z = outcome_columns(s.y, outputs, n_classes=2)
    likely = np.column_stack([1 - s.posterior, s.posterior])
    found = doubly_robust(
        get_metric(name),
        outputs=outputs,
        outcome=z,
        expected=z,
        outputs_target=target,
        expected_target=likely,
        weights=np.exp(s.log_ratio),
    )
    assert found.value == pytest.approx(plug_in(get_metric(name), target, likely), abs=1e-12)


def _simulate(name, *, right_outcome, right_weights, outcome_variance=None):
    errors, inside = [], 0
    for seed in range(REPEATS):
        s = make_shift("covariate", n_source=800, n_target=800, random_state=seed)
        outputs, target = _binary(s)
        source_p, target_p = s.posterior_source, s.posterior
        if not right_outcome:
            # A model that believes every row to be at 0.35.
            source_p, target_p = np.full(800, 0.35), np.full(800, 0.35)
        found = doubly_robust(
            get_metric(name),
            outputs=outputs,
            outcome=outcome_columns(s.y, outputs, n_classes=2),
            expected=np.column_stack([1 - source_p, source_p]),
            outputs_target=target,
            expected_target=np.column_stack([1 - target_p, target_p]),
            weights=np.exp(s.log_ratio) if right_weights else 1.0 + (s.X[:, 3] > 0),
            outcome_variance=outcome_variance,
        )
        actual = get_metric(name)(target, outcome_columns(s.y_target, target, n_classes=2))
        errors.append(found.value - actual)
        inside += found.low <= actual <= found.high
    return np.array(errors), inside


@pytest.mark.parametrize("name", ["accuracy", "brier"])
@pytest.mark.parametrize(("right_outcome", "right_weights"), [(True, False), (False, True), (True, True)])
def test_right_on_average_if_either_part_is(name, right_outcome, right_weights):
    errors, inside = _simulate(name, right_outcome=right_outcome, right_weights=right_weights)
    # The mean error's own Monte Carlo error, four of them; weights that are self-normalised add a bias of
    # order 1 / n, under 0.001.
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(REPEATS) + 0.001
    # 95% intervals of the value that the target's labels give: at least what a binomial allows, less 2%.
    assert inside >= binom(REPEATS, 0.93).ppf(0.001)


def test_wrong_on_average_if_neither_part_is():
    """The test above can fail: with both parts wrong the bias shows."""
    errors, _ = _simulate("accuracy", right_outcome=False, right_weights=False)
    assert abs(errors.mean()) > 6 * errors.std() / np.sqrt(REPEATS)


def test_a_sure_outcome_model_is_corrected_less():
    whole, _ = _simulate("accuracy", right_outcome=True, right_weights=True)
    sure, inside = _simulate("accuracy", right_outcome=True, right_weights=True, outcome_variance=0.0)
    unsure, _ = _simulate("accuracy", right_outcome=True, right_weights=True, outcome_variance=1e6)
    # The true posterior needs no correction, so leaving it out leaves its noise out.
    assert np.mean(sure**2) < np.mean(whole**2)
    assert inside >= binom(REPEATS, 0.95).ppf(0.001)
    np.testing.assert_allclose(unsure, whole, atol=1e-8)


@pytest.mark.parametrize("name", ["mae", "rmse", "r2"])
def test_numbers_are_corrected_in_full_however_sure_the_outcome_model_is(name):
    s = make_shift("covariate", n_source=400, n_target=300, task="regression", random_state=3)
    outputs, target = Outputs(value=s.scores), Outputs(value=s.scores_target)
    z, z_target = (outcome_columns(y, o) for y, o in ((s.y, outputs), (s.y_target, target)))
    whole, sure, unsure = (
        doubly_robust(
            get_metric(name),
            outputs=outputs,
            outcome=z,
            expected=0.8 * z,
            outputs_target=target,
            expected_target=0.8 * z_target,
            weights=np.exp(s.log_ratio),
            outcome_variance=variance,
        )
        for variance in (None, 0.0, 0.01)
    )
    assert whole.value == sure.value == unsure.value
    assert sure.standard_error == pytest.approx(whole.standard_error, rel=1e-12)
    assert unsure.standard_error**2 == pytest.approx(whole.standard_error**2 + 0.01, rel=1e-12)


def test_the_outcome_model_s_variance_is_the_jackknife_of_its_folds():
    outputs = Outputs(label=np.zeros(3, dtype=int))
    by_fold = np.array([[[p, 1 - p]] * 3 for p in (0.5, 0.6, 0.7, 0.8)])
    found = outcome_model_variance(
        get_metric("accuracy"),
        outputs_target=outputs,
        by_fold=by_fold,
        expected_target=by_fold.mean(axis=0),
    )
    # Accuracy of always saying class 0 is its expected share: (K - 1) / K times the sum of squares.
    assert found == pytest.approx(3 / 4 * (2 * 0.05**2 + 2 * 0.15**2))


def test_the_correction_has_the_right_sign():
    """One row in four is worse than expected; the estimate falls, by as much as the weights say."""
    outputs = Outputs(label=np.zeros(400, dtype=int))
    y = np.repeat([0, 1], [300, 100])
    z = outcome_columns(y, outputs, n_classes=2)
    likely = np.tile([1.0, 0.0], (400, 1))
    found = doubly_robust(
        get_metric("accuracy"),
        outputs=outputs,
        outcome=z,
        expected=likely,
        outputs_target=outputs,
        expected_target=likely,
        weights=np.repeat([1.0, 3.0], [300, 100]),
    )
    assert found.value == pytest.approx(0.5)


def test_intervals_stay_within_a_metric_s_limits():
    outputs = Outputs(label=np.zeros(20, dtype=int))
    z = outcome_columns(np.repeat([0, 1], [19, 1]), outputs, n_classes=2)
    found = importance_weighted(get_metric("accuracy"), outputs, z, weights=np.ones(20))
    assert found.high == 1.0 and found.low < 0.9
    assert found.to_dict()["method"] == "importance weighted"


def test_shapes_that_do_not_fit():
    outputs = Outputs(label=np.zeros(3, dtype=int))
    z = outcome_columns(np.zeros(3), outputs, n_classes=2)
    with pytest.raises(InputError, match="expected has shape"):
        doubly_robust(
            get_metric("accuracy"),
            outputs=outputs,
            outcome=z,
            expected=z[:2],
            outputs_target=outputs,
            expected_target=z,
            weights=np.ones(3),
        )
    with pytest.raises(InputError, match="weights has 2 values for 3 rows"):
        importance_weighted(get_metric("accuracy"), outputs, z, weights=np.ones(2))


def test_labels_without_an_error_do_not_make_a_sure_estimate():
    # 100 rows without an error: by Clopper and Pearson the rate may still be 0.036.
    n = 100
    certain = np.zeros((n, 2))
    certain[:, 1] = 1.0
    outputs = Outputs(proba=certain, label=np.ones(n, dtype=np.int64))
    slope = get_metric("accuracy").evaluate(outputs, certain, np.ones(n)).slope(outputs)
    assert unseen_noise(slope, certain) == pytest.approx(0.5)
    assert label_noise(slope, certain, fallback=1.0) == 0.0


@pytest.mark.parametrize("error", [1e-3, 0.1, 1.0, 10.0])
def test_a_loss_smaller_than_its_error_has_ends_in_proportion_to_it(error):
    estimate = make_estimate(0.01, error**2, metric=get_metric("log_loss"), method="test")
    reach = 1.959963984540054 * error
    assert 0.01 + reach * (1 - 1e-12) <= estimate.high <= 0.01 + 3 * reach
    assert 0 <= estimate.low < 0.01
