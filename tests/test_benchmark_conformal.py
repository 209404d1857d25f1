"""The pure parts of the conformal benchmark: how answers are judged, and what the tables say of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.conformal.data import CLASSES, labels_of
from benchmarks.conformal.run import name_of
from benchmarks.conformal.score import judged
from benchmarks.conformal.table import compact, render
from benchmarks.measure import Machine, Result


def test_intervals_are_judged_by_hand():
    first = np.array([[0.0, 2.0], [0.0, 1.0], [-np.inf, np.inf], [3.0, 4.0]])
    second = np.array([[0.0, 1.0], [0.0, 1.0]])
    # Ends belong to the interval. The first draw covers 0, 0.5 and 9 of four, the second one of two.
    found = judged([first, second], [np.array([0.0, 0.5, 9.0, 5.0]), np.array([1.0, 1.5])])
    assert found["coverage"] == pytest.approx((0.75 + 0.5) / 2)
    assert found["spread"] == pytest.approx(np.std([0.75, 0.5], ddof=1))
    assert found["size"] == pytest.approx(((2 + 1 + 1) / 3 + 1) / 2)
    assert found["unbounded"] == pytest.approx((0.25 + 0) / 2)


def test_sets_are_judged_by_hand():
    sets = np.array([[True, False], [True, True], [False, False]])
    found = judged([sets], [np.array([0, 1, 1])])
    assert found == {
        "coverage": pytest.approx(2 / 3),
        "spread": 0.0,
        "size": pytest.approx(1.0),
        "unbounded": pytest.approx(1 / 3),
    }


def test_every_class_is_drawn_and_the_target_is_harder():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.7, 1.7, size=(6000, 5))
    labels = labels_of(X, rng)
    assert set(np.unique(labels)) == set(range(CLASSES))
    # The class whose direction is nearest in the plane of features 2 and 3 is the likeliest; where x5 - x1 is
    # large, as in the target, it is right less often.
    likeliest = np.round(np.arctan2(X[:, 2], X[:, 1]) / (2 * np.pi / CLASSES)).astype(int) % CLASSES
    hit = labels == likeliest
    hard = X[:, 4] - X[:, 0] > 0
    # 3,000 rows a side give each share to 0.01; the gap is five of them at least.
    assert hit[~hard].mean() > hit[hard].mean() + 0.05


def result(name: str, seconds: float, coverage: float, size: float) -> dict:
    answer = {"coverage": coverage, "spread": 0.002, "size": size, "unbounded": 0.0}
    return vars(Result(name, 1, seconds, seconds, seconds, 1.0, 1e8, answer))


def stored() -> dict:
    plain = [result("steelyard", 0.02, 0.9, 2.0), result("mapie", 0.01, 0.9, 2.0)]
    weighted = [
        result("steelyard", 0.02, 0.7, 2.0),
        result(name_of("steelyard", "exact"), 0.01, 0.9, 3.0),
        result(name_of("puncc", "exact"), 0.03, 0.89, 2.9),
    ]
    tables = [
        {"kind": "regression", "method": "absolute", "results": plain},
        {"kind": "regression_shifted", "method": "absolute", "results": weighted},
    ]
    small = {"calibration": 10, "test": 20, "draws": 3, "repeats": 1}
    large = {"calibration": 1000, "test": 2000, "draws": 1, "repeats": 5}
    machine = vars(Machine("3", "cpu", 2, 0.0, 0.0, 1))
    sizes = [{"size": small, "tables": tables}, {"size": large, "tables": tables}]
    return {"machine": machine, "versions": {"mapie": {"mapie": "1"}}, "sizes": sizes}


def test_the_section_says_where_it_loses_and_compares_like_with_like():
    text = render(stored())
    lost = text.partition("### Where steelyard loses")[2]
    assert "Intervals, absolute, seconds: 0.02 against 0.01 (mapie)" in lost
    # Unweighted intervals under shift are narrower and break their promise: that is no loss.
    assert "mean width" not in lost
    assert "puncc" not in lost
    assert "2,000 test rows with 1,000 calibration scores take steelyard **0.01 s**" in text
    assert text.index("1,000 calibration") < text.index("### 10 calibration")


def test_failures_are_shown():
    failed = vars(Result("puncc", 1, failure="not done within 120 s"))
    text = compact([{"kind": "classes", "method": "lac", "results": [failed]}])
    assert "| Sets of six classes, lac | puncc | no answer: not done within 120 s |" in text
