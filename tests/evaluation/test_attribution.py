"""Attribution of a change against closed forms, enumeration, and simulations of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.errors import InputError
from steelyard.evaluation import Mechanism, attribute_change
from steelyard.explain import exact_shapley

MEAN = np.array([0.4, 0.4, 0.0, -0.2])
SLOPE = np.array([1.0, -0.5, 1.0, 1.0])
# The loss is SLOPE x + x0 x1; normal source at 0, target at MEAN. Moving both of x0 and x1 adds 0.16,
# which they share; the rest is SLOPE * MEAN.
TRUTH = SLOPE * MEAN + np.array([0.08, 0.08, 0.0, 0.0])


def moved_normals(seed, n=600):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 4)), rng.normal(size=(n, 4)) + MEAN
    return X @ SLOPE + X[:, 0] * X[:, 1] + rng.normal(size=n), X, T


class ExactRatio:
    """The known log ratio of independent unit normals, for any set of columns."""

    def __init__(self, mean):
        self.mean = np.asarray(mean)

    def fit(self, X, y=None, *, X_target, sample_weight=None):
        return self

    def log_ratio(self, X):
        return X @ self.mean - 0.5 * self.mean @ self.mean


def test_groups_recover_the_closed_form():
    loss, X, T = moved_normals(0, n=6000)
    result = attribute_change(loss, X, T, groups={c: [i] for i, c in enumerate("abcd")}, random_state=0)
    for part, truth in zip(result.parts, TRUTH):
        # Four standard errors (the interval's half width is 1.96 of them), and 0.02 for what boosting blurs.
        assert abs(part.change - truth) < 4 * (part.high - part.low) / 3.92 + 0.02
    assert sum(p.change for p in result.parts) == pytest.approx(result.moved - result.source, abs=1e-12)


def test_exact_ratio_and_no_noise_gives_the_weighted_means():
    # One group: the value is a weighted mean with known weights, plus a correction that
    # vanishes as the sample grows; held against E_T[x] - E_S[x] = 0.5.
    rng = np.random.default_rng(1)
    X, T = rng.normal(size=(8000, 1)), rng.normal(0.5, size=(8000, 1))
    result = attribute_change(
        X[:, 0], X, T, groups={"x": [0]}, ratio=lambda mask, seed: ExactRatio([0.5]), random_state=0
    )
    (part,) = result.parts
    # The doubly robust mean has standard error sqrt(2 / 8000) = 0.016 at best: three of them.
    assert part.change == pytest.approx(0.5, abs=0.05)
    assert part.high - part.low == pytest.approx(3.92 * np.sqrt(2 / 8000), rel=0.25)


def test_intervals_cover_also_what_did_not_move():
    # Additive loss and the additive logistic ratio: both nuisance models are right.
    hits = np.zeros(2)
    n_runs = 30
    for seed in range(n_runs):
        rng = np.random.default_rng(seed)
        X, T = rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + [0.5, 0.0]
        loss = X @ [1.0, 1.0] + rng.normal(size=400)
        result = attribute_change(loss, X, T, groups={"a": [0], "b": [1]}, random_state=seed)
        hits += [p.low <= t <= p.high for p, t in zip(result.parts, (0.5, 0.0))]
    # Nominal 95%; 30 runs have a binomial standard error of 4%, three of them.
    assert (hits / n_runs >= 0.95 - 0.12).all()


def causal_graph(n, rng, *, shift):
    """Z -> X -> Y with selectable changes of each mechanism; the loss is that of a fixed predictor."""
    z = rng.normal(0.6 if "z" in shift else 0.0, 1.0, size=n)
    x = 0.7 * z + (0.5 if "x" in shift else 0.0) + rng.normal(size=n)
    y = x + (0.5 * z if "y" in shift else 0.0) + rng.normal(size=n)
    return np.column_stack([z, x, y])


GRAPH = (Mechanism("z", (0,)), Mechanism("x", (1,), (0,)), Mechanism("y", (2,), (0, 1)))


def residual(V):
    return (V[:, 2] - 0.8 * V[:, 1]) ** 2


@pytest.mark.parametrize("shift", ["x", "zy"])
def test_mechanisms_of_a_graph(shift):
    rng = np.random.default_rng(3)
    S, T = causal_graph(5000, rng, shift=""), causal_graph(5000, rng, shift=shift)
    # Ground truth by simulation of every coalition, 400,000 rows each (error below 0.01).
    big = np.random.default_rng(4)
    values = [
        residual(
            causal_graph(
                400_000, big, shift={m.name for g, m in enumerate(GRAPH) if mask >> g & 1} & set(shift)
            )
        ).mean()
        for mask in range(8)
    ]
    truth = exact_shapley(values)
    result = attribute_change(residual(S), S, T, mechanisms=GRAPH, random_state=0)
    for part, t in zip(result.parts, truth):
        assert part.change == pytest.approx(t, abs=4 * (part.high - part.low) / 3.92 + 0.05)


def test_nothing_moved_nothing_attributed_and_seeds_agree():
    rng = np.random.default_rng(5)
    X, T = rng.normal(size=(3000, 3)), rng.normal(size=(3000, 3))
    loss = (X[:, 0] + X[:, 1] > 0).astype(float)
    groups = {"a": [0], "b": [1, 2]}
    one = attribute_change(loss, X, T, groups=groups, random_state=0)
    assert one == attribute_change(loss, X, T, groups=groups, random_state=0)
    two = attribute_change(loss, X, T, groups=groups, random_state=1)
    for a, b in zip(one.parts, two.parts):
        # Another seed deals other halves of the same rows: well inside one interval.
        assert abs(a.change - b.change) < 0.5 * (a.high - a.low)
        assert abs(a.change) < 4 * (a.high - a.low) / 3.92


def test_total_leaves_the_unexplained_and_dict_is_plain():
    loss, X, T = moved_normals(6)
    result = attribute_change(loss, X, T, groups={"all": range(4)}, total=1.0, random_state=0)
    assert result.unexplained == pytest.approx(1.0 - result.parts[0].change)
    out = result.to_dict()
    assert out["parts"][0]["name"] == "all"
    assert out["total"] == 1.0
    assert attribute_change(loss, X, T, groups={"a": [0]}, random_state=0).unexplained is None


def test_missing_values_and_categories():
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.normal(size=800), rng.integers(0, 4, 800)]).astype(float)
    T = np.column_stack([rng.normal(size=800), rng.choice(4, p=[0.1, 0.2, 0.3, 0.4], size=800)]).astype(float)
    X[::7, 0] = T[::5, 0] = np.nan
    # The mean code moves from 1.5 to 2.0.
    result = attribute_change(X[:, 1], X, T, categorical=[False, True], random_state=0)
    assert [p.name for p in result.parts] == ["0", "1"]
    assert result.parts[1].change == pytest.approx(0.5, abs=0.2)  # four standard errors of 0.055
    assert abs(result.parts[0].change) < 0.1


def test_zero_weight_rows_do_not_count():
    loss, X, T = moved_normals(8, n=300)
    weight = np.r_[np.ones(300), np.zeros(100)]
    far = np.vstack([X, X[:100] + 50])
    result = attribute_change(
        np.r_[loss, np.full(100, 1e6)],
        far,
        T,
        groups={"a": range(4)},
        sample_weight=weight,
        random_state=0,
    )
    assert result.source == pytest.approx(loss.mean())
    assert abs(result.parts[0].change) < 5


def test_bad_input_is_gathered():
    loss, X, T = moved_normals(9, n=50)
    with pytest.raises(InputError) as error:
        attribute_change(loss, X, T, groups={"a": [0, 9], "b": [0]})
    assert len(error.value.faults) == 2
    with pytest.raises(InputError, match="same columns"):
        attribute_change(loss, X, T[:, :2])
    with pytest.raises(InputError, match="one of them"):
        attribute_change(loss, X, T, groups={"a": [0]}, mechanisms=GRAPH)
    with pytest.raises(InputError, match="loss has 10"):
        attribute_change(loss[:10], X, T)
    with pytest.raises(InputError, match="among both"):
        attribute_change(loss, X, T, mechanisms=[Mechanism("a", (0,), (0,))])


def test_a_pair_that_moves_together_is_seen():
    # Only the correlation of x0 and x1 moves, and the loss is their product: the change, 0.5, is that of
    # a coalition of both, so each has half of it. An additive ratio and an additive loss would see nothing.
    rng = np.random.default_rng(11)
    X, T = rng.normal(size=(2, 6000, 3))
    T[:, 1] = 0.5 * T[:, 0] + np.sqrt(0.75) * T[:, 1]
    result = attribute_change(
        X[:, 0] * X[:, 1], X, T, groups={c: [i] for i, c in enumerate("abc")}, random_state=0
    )
    for part, truth in zip(result.parts, (0.25, 0.25, 0.0)):
        assert part.change == pytest.approx(truth, abs=4 * (part.high - part.low) / 3.92)
    assert result.parts[0].high < 0.35


def test_scaling_weights_or_adding_rows_of_no_weight_changes_nothing():
    loss, X, T = moved_normals(12, n=400)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, size=400)
    groups = {"a": [0, 1], "b": [2, 3]}
    one = attribute_change(loss, X, T, groups=groups, sample_weight=weight, random_state=0)
    padded = attribute_change(
        np.r_[loss, 1e9 * np.ones(50)],
        np.vstack([X, X[:50] + 1e3]),
        T,
        groups=groups,
        sample_weight=np.r_[7 * weight, np.zeros(50)],
        random_state=0,
    )
    for a, b in zip(one.parts, padded.parts):
        assert (a.change, a.low, a.high) == pytest.approx((b.change, b.low, b.high), abs=1e-10)


def test_counts_are_rows_and_other_weights_are_not():
    loss, X, T = moved_normals(15, n=1500)
    counts = 1.0 + (np.arange(1500) % 3 == 0)
    few, many, plain = (
        attribute_change(loss, X, T, groups={"a": range(4)}, sample_weight=w, random_state=0).parts[0]
        for w in (counts, 100 * counts, 0.3 * counts)
    )
    # A hundredfold source is all but known; the target's share of the variance, some half, stays.
    assert many.high - many.low < 0.9 * (few.high - few.low)
    # The models' penalty weighs less against more rows: their errors differ, within a standard error.
    assert many.change == pytest.approx(few.change, abs=(few.high - few.low) / 3.92)
    assert plain.high - plain.low > few.high - few.low


def test_a_factory_serves_groups_and_mechanisms_alike():
    # A single marginal mechanism is a group of its column; the factory's constant does not matter.
    loss, X, T = moved_normals(13, n=500)

    class Shifted(ExactRatio):
        def log_ratio(self, X):
            return super().log_ratio(X) + 3.0

    kwargs = {"random_state": 0}
    exact = attribute_change(
        loss, X, T, groups={"a": [0]}, ratio=lambda mask, seed: ExactRatio([0.4]), **kwargs
    )
    shifted = attribute_change(
        loss, X, T, mechanisms=[Mechanism("a", (0,))], ratio=lambda mask, seed: Shifted([0.4]), **kwargs
    )
    assert exact.parts[0].change == pytest.approx(shifted.parts[0].change, abs=1e-10)
    assert exact.parts[0].high == pytest.approx(shifted.parts[0].high, abs=1e-10)


def test_more_rows_than_allowed_are_sampled():
    loss, X, T = moved_normals(14, n=2000)
    few = attribute_change(loss, X, T, groups={"a": [0]}, max_rows=500, random_state=0)
    all_of_them = attribute_change(loss, X, T, groups={"a": [0]}, random_state=0)
    ratio = (few.parts[0].high - few.parts[0].low) / (all_of_them.parts[0].high - all_of_them.parts[0].low)
    assert ratio == pytest.approx(2.0, rel=0.25)
