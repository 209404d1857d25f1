"""What every weight estimator promises, whichever method it is."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from contract.estimators import CASES, IDS, Bound, Case
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from steelyard.datasets import make_gaussian_shift, make_shift
from steelyard.errors import InputError, LearnerError
from steelyard.numerics import deal_folds
from steelyard.weighting import (
    BBSE,
    RLLS,
    ClassifierRatio,
    EntropyBalancing,
    LabelShiftEM,
    PostStratification,
    Raking,
    RatioEstimator,
)
from steelyard.weighting import __all__ as PUBLIC

each = pytest.mark.parametrize("case", CASES, ids=IDS)


@pytest.fixture(scope="module")
def sample() -> Any:
    return make_gaussian_shift(n_source=400, n_target=300, shift=(0.8, -0.5), n_features=4, random_state=3)


def _fit(case: Case, s: Any, **more: Any) -> Any:
    return case.make().fit(s.X, s.y, X_target=s.X_target, **more)


def test_every_public_estimator_is_here() -> None:
    import steelyard.weighting as room

    public = {getattr(room, name) for name in PUBLIC}
    estimators = {c for c in public if isinstance(c, type) and issubclass(c, RatioEstimator)}
    assert estimators - {RatioEstimator} <= {type(case.make()) for case in CASES}


@each
def test_parameters_clone_and_set(case: Case) -> None:
    model = case.make()
    assert set(clone(model).get_params()) == set(model.get_params())
    assert clone(model).set_params(random_state=7).get_params()["random_state"] == 7
    with pytest.raises(NotFittedError):
        model.weights()


@each
def test_scale_shape_and_sign(case: Case, sample: Any) -> None:
    model = _fit(case, sample)
    weights = model.weights()
    assert weights.shape == (400,)
    # Sums of 400 floats: rounding of a few 1e-16 each.
    assert weights.mean() == pytest.approx(1, abs=1e-12)
    assert (weights > 0).all()
    new = model.weights(sample.X_target)
    assert new.shape == (300,) and np.isfinite(new).all() and (new > 0).all()
    np.testing.assert_allclose(model.log_ratio(sample.X_target), np.log(new), rtol=1e-10, atol=1e-12)
    assert model.log_ratio_target_.shape == (300,)
    assert model.n_features_in_ == 4


@each
def test_sign(case: Case, sample: Any) -> None:
    """Weights grow towards the target: an estimator that is upside down fails."""
    model = _fit(case, sample)
    # Under the shift's own direction the exact log ratio is 0.8 x0 - 0.5 x1; label shift can only follow
    # what its classes tell, so it is held to its own rule instead.
    if hasattr(model, "class_ratio_"):
        up = model.class_ratio_.ratio > 1
        assert set(np.flatnonzero(up)) == {int(np.argmax(model.class_ratio_.ratio))}
        assert sample.y_target.mean() > sample.y.mean()
        assert up.tolist() == [False, True]
    else:
        assert np.corrcoef(np.log(model.weights(sample.X)), sample.log_ratio)[0, 1] > 0.6


@each
def test_same_seed_same_weights(case: Case, sample: Any) -> None:
    first, again = _fit(case, sample), _fit(case, sample)
    np.testing.assert_array_equal(first.weights(), again.weights())
    refitted = first.fit(sample.X, sample.y, X_target=sample.X_target)
    np.testing.assert_array_equal(refitted.weights(), again.weights())


@each
def test_pickle(case: Case, sample: Any) -> None:
    model = _fit(case, sample)
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.weights(), model.weights())
    np.testing.assert_array_equal(back.weights(sample.X_target), model.weights(sample.X_target))


@each
def test_inputs_are_left_alone(case: Case, sample: Any) -> None:
    X, y, X_target, w = sample.X.copy(), sample.y.copy(), sample.X_target.copy(), np.full(400, 2.0)
    for array in (X, y, X_target, w):
        array.setflags(write=False)
    case.make().fit(X, y, X_target=X_target, sample_weight=w).weights(X_target)


@each
def test_a_missing_target_raises(case: Case, sample: Any) -> None:
    with pytest.raises(InputError, match=r"X_target is missing; pass the target rows"):
        case.make().fit(sample.X, sample.y)


@each
def test_wrong_columns_raise(case: Case, sample: Any) -> None:
    with pytest.raises(InputError, match=r"X has 4 columns and X_target 3"):
        case.make().fit(sample.X, sample.y, X_target=sample.X_target[:, :3])
    model = _fit(case, sample)
    with pytest.raises(ValueError, match=r"3 features, but .* is expecting 4"):
        model.weights(sample.X_target[:, :3])
    names = list("abcd")
    frames = [pd.DataFrame(Z, columns=names) for Z in (sample.X, sample.X_target)]
    with pytest.raises(InputError, match=r"(?s)X_target does not have the columns of X.*feature names"):
        case.make().fit(frames[0], sample.y, X_target=frames[1][["b", "a", "c", "d"]])
    model = case.make().fit(frames[0], sample.y, X_target=frames[1])
    with pytest.raises(ValueError, match="feature names"):
        model.weights(frames[1][["b", "a", "c", "d"]])


@each
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_sample_weights_raise(case: Case, sample: Any, bad: float) -> None:
    weight = np.ones(400)
    weight[7] = bad
    with pytest.raises(InputError, match="sample_weight"):
        _fit(case, sample, sample_weight=weight)
    with pytest.raises(InputError, match=r"sample_weight has 399 values for 400 rows"):
        _fit(case, sample, sample_weight=weight[1:])


@each
def test_infinite_values_raise(case: Case, sample: Any) -> None:
    X = sample.X.copy()
    X[3, 2] = np.inf
    with pytest.raises(InputError, match=r"X has infinite values \(first in column 2\)"):
        case.make().fit(X, sample.y, X_target=sample.X_target)


@each
def test_numbers_whose_squares_overflow_raise(case: Case, sample: Any) -> None:
    X = sample.X.copy()
    X[5, 1] = 1e200
    with pytest.raises(InputError, match=r"X has values beyond 1e\+150 \(first in column 1\); rescale it"):
        case.make().fit(X, sample.y, X_target=sample.X_target)


@each
def test_sample_weights_move_the_source(case: Case) -> None:
    """Weighted by the exact ratio, the source is the target: nothing remains to be weighed."""
    s: Any = make_gaussian_shift(n_source=1500, n_target=1500, shift=(0.7,), n_features=4, random_state=5)
    y = s.y
    if case.needs_y:
        # Under label shift the exact weights are those of the classes.
        s = make_shift("label", n_source=1500, n_target=1500, random_state=5)
        y = s.y
        ratio = np.array([1 - s.y_target.mean(), s.y_target.mean()]) / [1 - y.mean(), y.mean()]
        exact = ratio[y]
    else:
        exact = np.exp(s.log_ratio)
    without = case.make().fit(s.X, y, X_target=s.X_target)
    with_weights = case.make().fit(s.X, y, X_target=s.X_target, sample_weight=exact)
    spread = [np.std(np.log(m.weights(s.X))) for m in (without, with_weights)]
    assert spread[1] < 0.6 * spread[0]


@each
def test_dropped_rows_weigh_nothing(case: Case, sample: Any) -> None:
    """Rows with weight 0 do not move the other rows' weights beyond the deal of the folds."""
    s = sample
    odd = np.vstack([s.X, np.full((40, 4), 30.0)])
    y = np.concatenate([s.y, np.ones(40, dtype=s.y.dtype)])
    weight = np.repeat([1.0, 0.0], [400, 40])
    model = case.make().fit(odd, y, X_target=s.X_target, sample_weight=weight)
    plain = _fit(case, s)
    # Another deal, other centres or another width: as far apart as two seeds are, doubled.
    other = case.make().set_params(random_state=99).fit(s.X, s.y, X_target=s.X_target)
    apart = _rms(model.log_ratio(s.X) - plain.log_ratio(s.X))
    assert apart < 2 * _rms(other.log_ratio(s.X) - plain.log_ratio(s.X)) + 0.03


def _rms(x: Any) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


EXACT_ON_COPIES = {
    "classifier",
    "label shift",
    "bbse",
    "rlls",
    "retasa",
    "rulsif",
    "ulsif",
    "kmm",
    "kliep",
    "log-linear kliep",
    "nearest neighbours",
    "kernel logistic",
}


@each
def test_integer_weights_are_repeated_rows(case: Case, sample: Any, monkeypatch: Any) -> None:
    """Chance is taken out first: a row and its copies share a fold, and centres are the same rows."""
    import steelyard.weighting.labels._posteriors as label_shift
    import steelyard.weighting.labels.continuous as continuous
    import steelyard.weighting.ratios.classifier as classifier
    import steelyard.weighting.ratios.kernel_logistic as kernel_logistic
    import steelyard.weighting.ratios.kliep as kliep
    import steelyard.weighting.ratios.least_squares as least_squares
    import steelyard.weighting.ratios.mean_matching as mean_matching
    import steelyard.weighting.study as study

    s = sample
    times = 1 + (np.arange(400) % 3 == 0) + 2 * (s.y == 1) * (s.X[:, 0] > 0)
    rows = np.repeat(np.arange(400), times)
    deal = {400: np.arange(400) % 5, 300: np.arange(300) % 5, len(rows): (np.arange(400) % 5)[rows]}
    for module in (classifier, continuous, label_shift, study):
        monkeypatch.setattr(module, "deal_folds", lambda n, *_, **__: deal[n])
    # The kernel methods draw rows before they deal them: each row once, then the copies.
    once = np.unique(rows, return_index=True)[1]
    order = np.concatenate([once, np.setdiff1d(np.arange(len(rows)), once)])
    drawn = {400: np.arange(400), 300: np.arange(300), len(rows): order}
    for module in (least_squares, kliep, kernel_logistic, mean_matching):
        monkeypatch.setattr(module, "draw", lambda n, *_, **__: drawn[n])
    for module in (least_squares, kliep):
        monkeypatch.setattr(
            module, "deal_folds", lambda n, *a: deal[n][drawn[n]] if n in deal else deal_folds(n, *a)
        )
        monkeypatch.setattr(module, "median_width", lambda *_: 2.5)
    weighted = case.make().fit(s.X, s.y, X_target=s.X_target, sample_weight=times)
    repeated = case.make().fit(s.X[rows], s.y[rows], X_target=s.X_target)
    assert np.average(weighted.weights(), weights=times) == pytest.approx(1, abs=1e-12)
    one, other = weighted.log_ratio(s.X), repeated.log_ratio(s.X)
    if case.reachable or case.name in EXACT_ON_COPIES:
        # lbfgs stops at a gradient of 1e-4 of the mean loss; the differences measured here are below 1e-3.
        np.testing.assert_allclose(one, other, atol=5e-3)
        # A class whose estimated share is zero gets weights of rounding size.
        np.testing.assert_allclose(weighted.weights()[rows], repeated.weights(), rtol=5e-3, atol=1e-9)
    else:
        # Leaves have a least number of rows, and centres are drawn, so the fits differ by chance; they must
        # be nearer to each other than to the fit that ignores the weights.
        ignored = _fit(case, s).log_ratio(s.X)
        assert _rms(one - other) < 0.7 * _rms(ignored - other)


@each
def test_order_of_rows_does_not_matter_beyond_chance(case: Case, sample: Any) -> None:
    s, order = sample, np.random.default_rng(1).permutation(400)
    plain = _fit(case, s)
    moved = case.make().fit(s.X[order], s.y[order], X_target=s.X_target)
    other = case.make().set_params(random_state=99).fit(s.X, s.y, X_target=s.X_target)
    apart = _rms(moved.log_ratio(s.X) - plain.log_ratio(s.X))
    # Another order is another deal of the folds, as another seed is.
    assert apart < 3 * _rms(other.log_ratio(s.X) - plain.log_ratio(s.X)) + 0.02
    # weights() follow the rows that were given, whatever their order.
    assert np.corrcoef(moved.weights(), plain.weights()[order])[0, 1] > 0.8


@each
def test_one_law_weighs_one(case: Case) -> None:
    s = make_gaussian_shift(n_source=1000, n_target=1000, shift=0.0, n_features=4, random_state=11)
    weights = case.make().fit(s.X, s.y, X_target=s.X_target).weights()
    assert _rms(weights - 1) < case.null_slack


@each
def test_pipeline_scales_the_target_with_the_source(case: Case, sample: Any) -> None:
    s = sample
    scale = np.array([1.0, 100.0, 0.01, 5.0])
    with sklearn.config_context(enable_metadata_routing=True):
        last = case.make().set_fit_request(X_target=True, sample_weight=True)
        pipe = Pipeline([("scale", StandardScaler()), ("weigh", last)], transform_input=["X_target"])
        pipe.fit(s.X * scale, s.y, X_target=s.X_target * scale)
    scaler = StandardScaler().fit(s.X * scale)
    by_hand = case.make().fit(
        scaler.transform(s.X * scale), s.y, X_target=scaler.transform(s.X_target * scale)
    )
    np.testing.assert_allclose(pipe[-1].weights(), by_hand.weights(), rtol=1e-8)


def test_grid_search_passes_the_target_whole(sample: Any) -> None:
    s = sample
    seen = []

    def score(model: Any, X: Any, y: Any = None) -> float:
        seen.append(len(model.log_ratio_target_))
        return -abs(float(np.mean(model.log_ratio(X))))

    with sklearn.config_context(enable_metadata_routing=True):
        model = ClassifierRatio(random_state=0).set_fit_request(X_target=True)
        GridSearchCV(model, {"calibrate": [True, False]}, scoring=score, cv=2).fit(
            s.X, s.y, X_target=s.X_target
        )
    assert set(seen) == {300}


@pytest.mark.parametrize("estimator", [ClassifierRatio, LabelShiftEM, BBSE, RLLS])
def test_a_learner_without_weights_raises(estimator: Any, sample: Any) -> None:
    model = estimator(KNeighborsClassifier(), random_state=0)
    weight = np.where(sample.y == 1, 2.0, 1.0)
    with pytest.raises(LearnerError, match=r"KNeighborsClassifier takes no sample_weight"):
        model.fit(sample.X, sample.y, X_target=sample.X_target, sample_weight=weight)
    model.fit(sample.X, sample.y, X_target=sample.X_target)  # without weights it may


def test_label_shift_uses_weights_in_its_models(sample: Any) -> None:
    """A weight that hides a class's corner changes the fitted models, not only the share of the class."""
    s = sample
    weight = np.where((s.y == 1) & (s.X[:, 0] > 0), 0.05, 1.0)
    model = LabelShiftEM(LogisticRegression(), random_state=0)
    plain = clone(model).fit(s.X, s.y, X_target=s.X_target).models_[0].coef_
    weighted = clone(model).fit(s.X, s.y, X_target=s.X_target, sample_weight=weight).models_[0].coef_
    assert weighted[0, 0] < plain[0, 0] - 0.3


def _do_not_apply(estimator: Any) -> dict[str, str]:
    if isinstance(estimator.ratio, (LabelShiftEM, BBSE, RLLS)):
        return {
            "check_sample_weight_equivalence_on_dense_data": "draws 15 rows and weights that leave a class "
            "one row; repeated rows are tested above",
        }
    if isinstance(estimator.ratio, (Raking, PostStratification)) or repr(estimator.ratio) == repr(
        EntropyBalancing()
    ):
        return {
            "check_sample_weight_equivalence_on_dense_data": "draws 15 rows in 30 columns and drops some of "
            "them: no weights on the others meet the target; repeated rows are tested above",
        }
    return {}


@parametrize_with_checks([Bound(case.make()) for case in CASES], expected_failed_checks=_do_not_apply)
def test_follows_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)
