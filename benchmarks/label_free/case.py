"""One question put to every method: a reference with labels, live rows without, cut into windows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

FloatArray = npt.NDArray[np.float64]
Kind = Literal["classification", "regression"]

CLASSIFICATION = ("accuracy", "auc", "f1")
REGRESSION = ("mae", "rmse")
OUTPUT = "output"


class Draw(Protocol):
    """A source of labels of the rows ``window``, (draws, rows), from each row's law."""

    def __call__(self, draws: int, window: slice, rng: np.random.Generator) -> FloatArray:
        """Draw."""
        ...


@dataclass(frozen=True)
class Case:
    """TRAIN holds the features, the target and the output; LIVE the features and the output.

    ``truth`` holds LIVE's labels, which no method sees. ``draw`` gives new labels of
    LIVE from its rows' law, for the noise floor; None where no law is at hand. Cases
    with the same ``row`` share a row of the table; ``name`` is unique.
    """

    name: str
    row: str
    kind: Kind
    train: pl.DataFrame
    live: pl.DataFrame
    target: str
    truth: FloatArray
    every: int
    features: tuple[str, ...]
    draw: Draw | None = field(default=None, repr=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are compared."""
        return CLASSIFICATION if self.kind == "classification" else REGRESSION

    @property
    def windows(self) -> list[slice]:
        """Consecutive windows of ``every`` rows; :func:`whole_windows` sees to it that none is short."""
        starts = range(0, self.live.height - self.every + 1, self.every)
        return [slice(s, s + self.every) for s in starts]

    def unlabelled(self) -> Case:
        """Return the case as the methods may see it: without LIVE's labels or their law."""
        return replace(self, truth=np.empty(0), draw=None)


def whole_windows(live: pl.DataFrame, every: int, *, most: int | None = None) -> tuple[pl.DataFrame, int]:
    """Drop the rows after the last whole window; a table shorter than one window is one window.

    Parameters
    ----------
    live : DataFrame
        Rows in the order in which they are cut.
    every : int
        Rows a window.
    most : int, optional
        Keep the first so many windows.

    Returns
    -------
    DataFrame, int
        The rows kept and the rows a window.
    """
    if live.height < every:
        return live, live.height
    count = live.height // every if most is None else min(most, live.height // every)
    return live.head(count * every), every


def labels_from(posterior: FloatArray) -> Draw:
    """Return a source of binary labels with these probabilities."""

    def draw(draws: int, window: slice, rng: np.random.Generator) -> FloatArray:
        p = posterior[window]
        return (rng.random((draws, p.size)) < p).astype(np.float64)

    return draw


def numbers_from(mean: FloatArray, sd: FloatArray) -> Draw:
    """Return a source of normal targets."""

    def draw(draws: int, window: slice, rng: np.random.Generator) -> FloatArray:
        m, s = mean[window], sd[window]
        return m + s * rng.standard_normal((draws, m.size))

    return draw
