"""Grouping of columns against planted blocks, and its association against one table at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from steelyard.evaluation import group_features
from steelyard.evaluation.grouping import _binned, _cramers_v


def test_grouping_finds_planted_blocks():
    rng = np.random.default_rng(10)
    base = rng.normal(size=(3000, 3))
    X = np.column_stack(
        [
            base[:, 0],
            base[:, 1],
            -base[:, 0] + 0.3 * rng.normal(size=3000),
            base[:, 2],
            (base[:, 2] > 0.5) * 1.0,
        ]
    )
    X[:200, 3] = np.nan
    mask = np.array([False, False, False, False, True])
    assert group_features(X, categorical=mask, max_groups=3) == ((0, 2), (1,), (3, 4))
    assert group_features(X, max_groups=9) == ((0,), (1,), (2,), (3,), (4,))
    assert group_features(X, max_groups=1) == ((0, 1, 2, 3, 4),)


def test_association_is_that_of_each_table():
    rng = np.random.default_rng(11)
    n = 700
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    b[:50] = np.nan
    codes = [
        _binned(a, False, 8),
        _binned(b, False, 8),
        _binned(np.round(a), True, 8),
        _binned(np.where(a > -1, 0.0, a), False, 8),  # most values are one: bins are left empty
        _binned(np.zeros(n), False, 8),
    ]
    found = _cramers_v(codes)
    for i in range(4):
        for j in range(i):
            table = np.zeros((codes[i].max() + 1, codes[j].max() + 1))
            np.add.at(table, (codes[i], codes[j]), 1)
            assert table.any(axis=0).all() and table.any(axis=1).all()
            r, c = table.shape
            phi2 = chi2_contingency(table, correction=False).statistic / n
            phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
            smaller = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
            # Single precision in the counts' squares.
            assert found[i, j] == pytest.approx(min(1.0, np.sqrt(phi2 / smaller)), abs=2e-3)
    assert not found[4, :4].any()


def test_wide_tables_are_grouped_from_fewer_rows():
    rng = np.random.default_rng(12)
    own = np.arange(240) % 4
    X = rng.normal(size=(5000, 4))[:, own] + 0.7 * rng.normal(size=(5000, 240))
    groups = group_features(X, max_groups=4)
    assert [len({int(own[j]) for j in columns}) for columns in groups] == [1, 1, 1, 1]
