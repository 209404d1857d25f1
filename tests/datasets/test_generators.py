"""The truth that comes with a generated sample, held against densities, quadrature and the sample itself."""

from dataclasses import fields

import numpy as np
import pytest
from scipy import stats

from steelyard.datasets import make_gaussian_shift, make_mixture_shift, make_shift, make_tilted_uniform
from steelyard.datasets._truth import risks
from steelyard.errors import InputError

KINDS = ["none", "covariate", "label", "both", "concept", "no_overlap"]
TASKS = ["binary", "multiclass", "regression"]
N = 20_000
# Each sample makes a few dozen comparisons; 4.5 standard errors keep all of them
# together below one false failure in a thousand seeds, and the seed is fixed.
SIGMAS = 4.5


def draw(kind, task, strength=0.7, n=N):
    return make_shift(kind, task=task, strength=strength, n_source=n, n_target=n, random_state=7)


def probes(X):
    return [np.ones(len(X)), X[:, 0], X[:, 1], X[:, -1], np.cos(X[:, 0] - 2 * X[:, 2]), np.abs(X[:, 3])]


def assert_ratio_moves_source_to_target(s):
    w = np.exp(s.log_ratio)
    reached = np.isfinite(s.log_ratio_target)
    for f, g in zip(probes(s.X), probes(s.X_target)):
        left, right = w * f, g * reached
        error = np.sqrt(left.var() / len(left) + right.var() / len(right))
        assert abs(left.mean() - right.mean()) <= SIGMAS * error + 1e-12


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_source_means_are_target_means(kind, task):
    assert_ratio_moves_source_to_target(draw(kind, task))


@pytest.mark.parametrize("make", [make_gaussian_shift, make_mixture_shift, make_tilted_uniform])
def test_other_generators_move_source_to_target(make):
    assert_ratio_moves_source_to_target(make(n_source=N, n_target=N, random_state=3))


@pytest.mark.parametrize("kind", KINDS)
def test_mean_weight_is_the_mass_that_the_source_reaches(kind):
    s = draw(kind, "binary", strength=1.0)
    w = np.exp(s.log_ratio)
    expected = 1 - s.truth.get("mass_outside", 0.0)
    assert abs(w.mean() - expected) < SIGMAS * w.std() / np.sqrt(len(w)) + 1e-12
    assert np.isfinite(s.log_ratio).all()
    outside = np.isinf(s.log_ratio_target)
    assert outside.any() == (kind == "no_overlap")
    if kind == "no_overlap":
        np.testing.assert_array_equal(outside, s.truth["region"])
        assert s.X_target[outside, 0].min() > s.X[:, 0].max()


def test_covariate_ratio_is_a_ratio_of_normal_densities():
    s = make_shift("covariate", strength=0.8, n_source=50, n_target=50, random_state=0)
    target = stats.multivariate_normal([0.52, -0.36, 0, 0, 0], np.diag([1, 1, np.exp(-0.32), 1, 1]))
    source = stats.multivariate_normal(np.zeros(5))
    for X, ratio in ((s.X, s.log_ratio), (s.X_target, s.log_ratio_target)):
        np.testing.assert_allclose(ratio, target.logpdf(X) - source.logpdf(X), atol=1e-10)


def test_label_shift_ratio_is_a_ratio_of_mixtures():
    s = make_shift("both", strength=0.9, n_source=40, n_target=40, random_state=0)
    classes = [
        (np.zeros(5), np.ones(5)),
        (np.array([1.0, -0.7, 0, 0, 0]), np.array([1, 1, 1.6**2, 1, 1])),
    ]
    moved = np.array([0, 0, 0, 0, 0.63])

    def parts(X, prior, by):
        return np.column_stack(
            [q * stats.multivariate_normal(m + by, np.diag(v)).pdf(X) for q, (m, v) in zip(prior, classes)]
        )

    source = parts(s.X, s.truth["prior_source"], 0 * moved)
    target = parts(s.X, s.truth["prior_target"], moved)
    np.testing.assert_allclose(s.log_ratio, np.log(target.sum(1) / source.sum(1)), atol=1e-10)
    np.testing.assert_allclose(s.posterior_source, source[:, 1] / source.sum(1), atol=1e-10)
    at_target = parts(s.X_target, s.truth["prior_target"], moved)
    np.testing.assert_allclose(s.posterior, at_target[:, 1] / at_target.sum(1), atol=1e-10)


def test_label_shift_of_a_number_agrees_with_quadrature():
    s = make_shift("both", task="regression", strength=0.9, n_source=20, n_target=20, random_state=0)
    load = np.array([1.0, -0.7, 0.5, 0, 0])
    moved = np.array([0, 0, 0, 0, 0.63])
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)

    def law(X, centre, spread, by):
        y = centre + spread * nodes
        gap = (X - by)[:, None, :] - y[None, :, None] * load
        joint = np.exp(-0.5 * (gap**2).sum(-1)) * weights
        mean = (joint @ y) / joint.sum(1)
        return joint.sum(1), mean, np.sqrt((joint @ y**2) / joint.sum(1) - mean**2)

    spread = np.exp(-0.09)
    target = law(s.X_target, 0.72, spread, moved)
    source = law(s.X_target, 0.0, 1.0, 0 * moved)
    np.testing.assert_allclose(s.log_ratio_target, np.log(target[0] / source[0]), atol=1e-7)
    np.testing.assert_allclose(s.mean, target[1], atol=1e-7)
    np.testing.assert_allclose(s.sd, target[2], atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_labels_follow_the_stated_law(kind, task):
    s = draw(kind, task)
    sides = [(s.X, s.y, s.posterior_source, s.mean_source, s.sd_source)]
    sides.append((s.X_target, s.y_target, s.posterior, s.mean, s.sd))
    for X, y, p, mean, sd in sides:
        if task == "regression":
            residuals = [(y - mean) / sd, ((y - mean) / sd) ** 2 - 1]
        elif task == "binary":
            residuals = [(y == 1) - p]
        else:
            np.testing.assert_allclose(p.sum(axis=1), 1.0)
            residuals = [(y == k) - p[:, k] for k in range(3)]
        for r in residuals:
            for f in probes(X):
                product = r * f
                assert abs(product.mean()) < SIGMAS * product.std() / np.sqrt(len(product)) + 1e-12


@pytest.mark.parametrize("task", TASKS)
def test_expected_risks_are_those_of_the_labels(task):
    s = draw("covariate", task)
    q, y = s.scores_target, s.y_target
    rows = np.arange(len(y))
    if task == "regression":
        seen = {"mae": np.abs(y - q), "mse": (y - q) ** 2}
    elif task == "binary":
        at = np.where(y == 1, q, 1 - q)
        seen = {"accuracy": (q >= 0.5) == y, "log_loss": -np.log(at), "brier": (y - q) ** 2}
    else:
        brier = ((q - np.eye(3)[y]) ** 2).sum(1)
        seen = {"accuracy": q.argmax(1) == y, "log_loss": -np.log(q[rows, y]), "brier": brier}
    assert seen.keys() == s.truth["target"].keys()
    for name, loss in seen.items():
        assert abs(loss.mean() - s.truth["target"][name]) < SIGMAS * loss.std() / np.sqrt(len(y))


def test_expected_absolute_error_agrees_with_quadrature():
    grid = np.linspace(-10, 10, 200_001)
    by_grid = np.trapezoid(np.abs(0.4 - (1.1 + 0.7 * grid)) * stats.norm.pdf(grid), grid)
    got = risks(np.array([0.4]), mean=np.array([1.1]), sd=np.array([0.7]))
    assert got["mae"] == pytest.approx(by_grid, abs=1e-8)
    assert got["mse"] == pytest.approx(0.7**2 + 0.7**2)


def test_only_the_stated_thing_changes():
    zero = make_shift("covariate", strength=0.0, random_state=0)
    np.testing.assert_allclose(zero.log_ratio, 0.0, atol=1e-12)
    label = make_shift("label", random_state=0)
    assert label.truth["prior_target"][1] < label.truth["prior_source"][1] - 0.15
    both = draw("both", "binary", strength=1.0)
    within = [both.X[both.y == k, -1].mean() for k in (0, 1)]
    within_t = [both.X_target[both.y_target == k, -1].mean() for k in (0, 1)]
    assert np.allclose(within, 0, atol=0.07)
    assert np.allclose(within_t, 0.7, atol=0.07)
    concept = draw("concept", "binary")
    assert concept.y[concept.X[:, 0] > 0.5].mean() > concept.y_target[concept.truth["region"]].mean() + 0.1


def test_stated_second_moments():
    # exp(0.75) and the figure of the docstring; E[w^2] under the source is E[w] under the target.
    g = make_gaussian_shift(n_target=200_000, n_source=1, random_state=0)
    assert np.exp(g.log_ratio_target).mean() == pytest.approx(np.exp(0.75), rel=0.02)
    m = make_mixture_shift(n_target=200_000, n_source=1, random_state=0)
    assert np.exp(m.log_ratio_target).mean() == pytest.approx(3.09, rel=0.03)


def test_tilted_uniform_target_has_the_stated_density():
    s = make_tilted_uniform(n_source=10, n_target=5000, tilt=(-1.0, 0.0, 2.0), random_state=1)
    for j, b in enumerate((-1.0, 0.0, 2.0)):

        def cdf(x, b=b):
            if b == 0:
                return (x + 1.7) / 3.4
            return (np.exp(b * x) - np.exp(-1.7 * b)) / (np.exp(1.7 * b) - np.exp(-1.7 * b))

        assert stats.kstest(s.X_target[:, j], cdf).pvalue > 1e-3


def test_seed_decides_everything():
    one, two = (make_shift("both", random_state=5, n_source=30, n_target=30) for _ in range(2))
    for f in fields(one):
        if isinstance(getattr(one, f.name), np.ndarray):
            np.testing.assert_array_equal(getattr(one, f.name), getattr(two, f.name))
    other = make_shift("both", random_state=6, n_source=30, n_target=30)
    assert not np.array_equal(one.X, other.X)
    state = np.random.RandomState(0)
    assert make_shift("none", random_state=state, n_source=3, n_target=3).X.shape == (3, 5)


def test_every_fault_is_listed_at_once():
    with pytest.raises(InputError) as caught:
        make_shift("prior", task="ranking", n_source=0, strength=-1, n_features=2)
    assert len(caught.value.faults) == 5
    with pytest.raises(InputError, match="4 features"):
        make_gaussian_shift(shift=np.ones(5), n_features=4)
    with pytest.raises(InputError, match="half_width"):
        make_tilted_uniform(half_width=0)
