"""Random state: everything random goes through a ``numpy.random.Generator``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RandomState = int | np.random.Generator | np.random.RandomState | None


def as_generator(random_state: Any = None) -> np.random.Generator:
    """Return a Generator from a seed, a Generator (itself), a RandomState or None (fresh entropy)."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31 - 1, size=4))
    return np.random.default_rng(random_state)


def draw_seed(rng: np.random.Generator) -> int:
    """Return an integer seed for a nested scikit-learn model, which does not take Generators."""
    return int(rng.integers(0, 2**31 - 1))


def deal_folds(
    n: int, n_folds: int, rng: np.random.Generator, *, strata: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.int64]:
    """Deal ``n`` rows to folds 0..n_folds-1, as evenly as can be, within each stratum.

    Strata are dealt one after the other from one continuing count, so that fold
    sizes differ by at most one in all as well as in each stratum.
    """
    order = rng.permutation(n)
    if strata is not None:
        order = order[np.argsort(np.asarray(strata)[order], kind="stable")]
    folds = np.empty(n, dtype=np.int64)
    folds[order] = np.arange(n) % n_folds
    return folds
