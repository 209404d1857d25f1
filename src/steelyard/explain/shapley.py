"""Shapley values of a set function: exact from all 2^G values, or sampled from permutations.

A coalition of players 0..G-1 is a bitmask: player ``g`` is in it when bit ``g``
is set, so that 0 is nobody and ``2**G - 1`` everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics.random import as_generator

FloatArray = npt.NDArray[np.float64]

_MOST_EXACT_PLAYERS = 20


def shapley_coefficients(n_players: int) -> FloatArray:
    """Return the matrix that maps the values of all coalitions to Shapley values.

    Parameters
    ----------
    n_players : int
        G, from 1 to 20.

    Returns
    -------
    array of shape (G, 2**G)
        ``coefficients @ values`` are the Shapley values, so influence functions
        and variances pass through the same matrix. Memory O(G 2^G).

    Examples
    --------
    >>> shapley_coefficients(2).tolist()
    [[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]]
    """
    if not 1 <= n_players <= _MOST_EXACT_PLAYERS:
        raise InputError(
            f"n_players is {n_players}; exact Shapley values need 1 to {_MOST_EXACT_PLAYERS} players. "
            "Use sampled_shapley for more."
        )
    masks = np.arange(2**n_players)
    sizes = np.array([int(mask).bit_count() for mask in masks])
    # A player joining a coalition of size s does so in s! (G-1-s)! of the G! orders.
    joining = np.array([1.0 / (n_players * comb(n_players - 1, s)) for s in range(n_players)])
    coefficients = np.empty((n_players, masks.size))
    for player in range(n_players):
        inside = (masks >> player) & 1 == 1
        coefficients[player, inside] = joining[sizes[inside] - 1]
        coefficients[player, ~inside] = -joining[sizes[~inside]]
    return coefficients


def exact_shapley(values: Any) -> FloatArray:
    """Return the Shapley values of a game whose 2^G coalition values are all known.

    Parameters
    ----------
    values : array of shape (2**G,) or (2**G, ...)
        The value of each coalition, by bitmask. Further axes are games of their
        own, or the influence of each row on the values.

    Returns
    -------
    array of shape (G,) or (G, ...)
        They add up to ``values[-1] - values[0]``.

    Raises
    ------
    InputError
        If the first axis is not a power of two.

    Notes
    -----
    Time O(G 2^G) per game. The value goes back to Shapley (1953); its use on
    shifts is catalogue 160, "Why did the Model Fail?": Attributing Model
    Performance Changes to Distribution Shifts.

    Examples
    --------
    A glove game: player 0 holds a left glove, 1 and 2 a right one each.

    >>> exact_shapley([0, 0, 0, 1, 0, 1, 0, 1]).round(4).tolist()
    [0.6667, 0.1667, 0.1667]
    """
    v = np.asarray(values, dtype=np.float64)
    size = v.shape[0] if v.ndim else 0
    if size < 2 or size & (size - 1):
        raise InputError(f"values has {size} coalitions; pass all 2**G of them, ordered by bitmask.")
    coefficients = shapley_coefficients(size.bit_length() - 1)
    return np.asarray(np.tensordot(coefficients, v, axes=1))


@dataclass(frozen=True)
class ShapleyEstimate:
    """Shapley values estimated from permutations, with their Monte Carlo errors."""

    values: tuple[float, ...]
    standard_errors: tuple[float, ...]
    n_permutations: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain lists and numbers."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def sampled_shapley(
    value: Callable[[npt.NDArray[np.bool_]], float],
    n_players: int,
    *,
    n_permutations: int = 200,
    random_state: Any = None,
) -> ShapleyEstimate:
    """Estimate Shapley values from random orders of the players, each paired with its reverse.

    Parameters
    ----------
    value : callable
        Takes a boolean array (G,), True for the players in the coalition, and
        returns the coalition's value. Called once for each coalition that is met.
    n_players : int
    n_permutations : int
        Rounded up to an even number; at least 4, so that errors can be told.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    ShapleyEstimate
        The values add up to value(everybody) - value(nobody) exactly. Standard
        errors come from the spread over the independent pairs.

    Notes
    -----
    At most ``n_permutations * (G - 1) + 2`` calls of ``value``. A permutation
    and its reverse cancel the odd part of the error: an order-two game comes
    out exactly.

    Examples
    --------
    >>> estimate = sampled_shapley(lambda s: float(s[0] and s[1]) + s[2], 3, random_state=0)
    >>> estimate.values
    (0.5, 0.5, 1.0)
    """
    if n_players < 1:
        raise InputError(f"n_players is {n_players}; at least one is needed.")
    if n_permutations < 4:
        raise InputError(f"n_permutations is {n_permutations}; pass at least 4.")
    rng = as_generator(random_state)
    known: dict[bytes, float] = {}

    def look_up(coalition: npt.NDArray[np.bool_]) -> float:
        key = np.packbits(coalition).tobytes()
        if key not in known:
            known[key] = float(value(coalition.copy()))
        return known[key]

    n_pairs = (n_permutations + 1) // 2
    pairs = np.zeros((n_pairs, n_players))
    for row in pairs:
        order = rng.permutation(n_players)
        for sequence in (order, order[::-1]):
            coalition = np.zeros(n_players, dtype=bool)
            before = look_up(coalition)
            for player in sequence:
                coalition[player] = True
                after = look_up(coalition)
                row[player] += 0.5 * (after - before)
                before = after
    errors = pairs.std(axis=0, ddof=1) / np.sqrt(n_pairs)
    return ShapleyEstimate(tuple(pairs.mean(axis=0).tolist()), tuple(errors.tolist()), 2 * n_pairs)
