"""How far the relation of target and columns moves between environments, and how sure that leaves us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import norm

from steelyard.errors import InputError
from steelyard.numerics.checks import as_vector, check_level

FloatArray = npt.NDArray[np.float64]

# From a fiftieth to fifty times the usual move: beyond either end no environment says anything.
_REACH = 50.0
_POINTS = 161
# How much of a move's variance is owed to the gap in time: any share is as likely before looking.
_GROWTH = np.linspace(0.0, 1.0, 5)


@dataclass(frozen=True, eq=False)
class MoveSpread:
    """What is known of the size of moves: how likely each standard deviation of them is.

    Attributes
    ----------
    spreads : array of shape (g,)
        Standard deviations of a move, in the units of the errors.
    weights : array of shape (g,)
        How likely each is; they sum to one.
    environments : int
        How many environments it rests on; 0 where it is what was usual elsewhere.
    """

    spreads: FloatArray
    weights: FloatArray
    environments: int

    @property
    def typical(self) -> float:
        """Root mean square of a move."""
        return float(np.sqrt(self.weights @ self.spreads**2))

    def density(self, at: FloatArray, standard_error: float, *, share: float = 1.0) -> FloatArray:
        """Return the density of an estimate's error: chance, and a move with ``share`` of the variance."""
        scale = np.sqrt(standard_error**2 + share * self.spreads**2)
        return np.asarray(norm.pdf(at[:, None], scale=scale) @ self.weights)

    def half_width(self, standard_error: float, *, level: float = 0.95, share: float = 1.0) -> float:
        """Return how far from the estimate the value lies at most, with the probability ``level``.

        Parameters
        ----------
        standard_error : float
            Of the estimate, if nothing moved.
        level : float
        share : float
            Of a move's variance: where LIVE mixes several new environments, the sum of
            their squared shares.
        """
        scale = np.sqrt(standard_error**2 + share * self.spreads**2)
        widest = float(norm.ppf(0.5 + check_level(level) / 2)) * float(scale.max())
        if widest == 0:
            return 0.0

        def beyond(x: float) -> float:
            return float(self.weights @ (2 * norm.sf(x / scale))) - (1 - level)

        return float(brentq(beyond, 0.0, 2 * widest, xtol=1e-10 * widest))


def move_spread(
    errors: Any = (),
    standard_errors: Any = (),
    *,
    usual: float,
    confidence: float = 4.0,
    gaps: Any = None,
    gap: float | None = None,
) -> MoveSpread:
    """Learn from an estimator's errors in known environments how far the relation moves to a new one.

    Parameters
    ----------
    errors, standard_errors : arrays of shape (k,)
        Of each environment the value less its estimate from the others, and that difference's
        standard error if the relation were the same. None, where no environments are known.
    usual : float
        How far relations are known to move elsewhere, as a standard deviation.
    confidence : float
        How many environments that knowledge is worth.
    gaps : array of shape (k,), optional
        How far in time each environment lies from those that it was estimated from.
    gap : float, optional
        The same of the target.

    Returns
    -------
    MoveSpread

    Raises
    ------
    InputError
        If lengths differ, or a number is not finite or not positive.

    Notes
    -----
    A random-effects model with few groups, in which the spread is integrated over
    rather than estimated: a move is normal with variance ``t^2``, of which the prior
    is the scaled inverse chi-squared law with ``confidence`` degrees of freedom
    around ``usual^2``. Alone it makes moves Student-t with as many degrees of
    freedom. With gaps the variance is ``t^2 (1 - r + r gap / mean(gaps))``, any
    growth r from 0 to 1 as likely beforehand. Time O(k).

    Examples
    --------
    >>> errors, chance = [0.04, -0.06, 0.01, 0.05, -0.03], [0.01] * 5
    >>> spread = move_spread(errors, chance, usual=0.05)
    >>> 0.03 < spread.typical < 0.07
    True
    >>> alone = move_spread(usual=0.05)
    >>> round(alone.half_width(0.0) / 0.05, 1)  # 97.5% point of Student's t with 4 degrees of freedom
    2.8
    """
    e, s = as_vector(errors, name="errors"), as_vector(standard_errors, name="standard_errors")
    if len(e) != len(s):
        raise InputError(
            f"errors has {len(e)} values and standard_errors {len(s)}; give one of each an environment."
        )
    if not (np.isfinite(usual) and usual > 0 and confidence > 0 and np.all(s >= 0)):
        raise InputError("usual and confidence must be positive, and standard_errors not negative.")
    spreads = usual * np.geomspace(1 / _REACH, _REACH, _POINTS)
    prior = -confidence * np.log(spreads) - 0.5 * confidence * (usual / spreads) ** 2
    growth, factors, ahead = np.zeros(1), np.ones((1, len(e))), np.ones(1)
    if gaps is not None and gap is not None and len(e):
        far = as_vector(gaps, name="gaps") / np.mean(as_vector(gaps, name="gaps"))
        growth = _GROWTH
        factors = 1 - growth[:, None] + growth[:, None] * far
        ahead = 1 - growth + growth * gap / float(np.mean(as_vector(gaps, name="gaps")))
    # (growth, spread, environment)
    scale = np.sqrt(s**2 + spreads[None, :, None] ** 2 * factors[:, None, :])
    scale = np.maximum(scale, 1e-300)
    log_w = prior + norm.logpdf(e, scale=scale).sum(axis=2)
    log_w = log_w - logsumexp(log_w)
    out = (spreads[None, :] * np.sqrt(ahead)[:, None]).ravel()
    return MoveSpread(out, np.exp(log_w).ravel(), len(e))
