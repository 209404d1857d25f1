"""Judging intervals and sets by the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def judged(answers: Sequence[npt.NDArray[Any]], truths: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """Return coverage, size and share of unbounded answers, averaged over draws.

    Parameters
    ----------
    answers : sequence of arrays
        A draw each: float (m, 2), the ends of intervals, or bool (m, k), sets.
    truths : sequence of arrays
        A draw each: the values, or the codes of the classes, (m,).

    Returns
    -------
    dict
        ``coverage``, its standard deviation over draws ``spread`` (0 for one draw),
        ``size`` (mean width of the bounded intervals, or mean number of classes) and
        ``unbounded`` (share of intervals without end, or of sets with every class).
    """
    coverage, size, unbounded = [], [], []
    for answer, truth in zip(answers, truths, strict=True):
        if answer.dtype == bool:
            coverage.append(answer[np.arange(len(truth)), truth].mean())
            size.append(answer.sum(axis=1).mean())
            unbounded.append(answer.all(axis=1).mean())
            continue
        low, high = answer[:, 0], answer[:, 1]
        bounded = np.isfinite(low) & np.isfinite(high)
        coverage.append(np.mean((low <= truth) & (truth <= high)))
        size.append(np.mean((high - low)[bounded]) if bounded.any() else np.inf)
        unbounded.append(1.0 - bounded.mean())
    return {
        "coverage": float(np.mean(coverage)),
        "spread": float(np.std(coverage, ddof=1)) if len(coverage) > 1 else 0.0,
        "size": float(np.mean(size)),
        "unbounded": float(np.mean(unbounded)),
    }
