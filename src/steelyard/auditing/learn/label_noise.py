"""What noise in TRAIN's labels, of which the user knows the rate, means for training on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from steelyard.auditing.question import LabelNoise
from steelyard.auditing.reading.classes import find_class
from steelyard.auditing.result import Advice
from steelyard.auditing.tables import Tables
from steelyard.errors import InputError
from steelyard.numerics import as_generator, draw_seed
from steelyard.robust import TesterLearner, label_noise_check

FloatArray = npt.NDArray[np.float64]

_MAX_ROWS = 20_000
# The certificate needs rows near the boundary in every direction: beyond these it always refuses.
_MOST_COLUMNS = 8
_LEAST_ROWS = 2_000


def noise_rates(tables: Tables, noise: LabelNoise) -> FloatArray:
    """Return the rate of each class, (K,); raise where these cannot be rates of these classes."""
    if tables.classes is None:
        raise InputError("label_noise is the share of wrong classes; this target is a number.")
    names = [str(c) for c in tables.classes]
    if isinstance(noise, Mapping):
        places = {name: find_class(name, tables.classes) for name in noise}
        unknown = [str(name) for name, place in places.items() if place is None]
        if unknown:
            raise InputError(
                f"label_noise names {', '.join(unknown)}; the classes of the target are {', '.join(names)}."
            )
        given = {places[name]: float(rate) for name, rate in noise.items()}
        rates = np.array([given.get(place, 0.0) for place in range(len(names))])
    else:
        rates = np.full(len(names), float(noise))
    # Beyond it labels say nothing, or the opposite.
    most = 1 - 1 / len(names)
    if not ((rates >= 0.0) & (rates < 1.0)).all() or not rates.mean() < most:
        raise InputError(
            f"label_noise is {noise}; with {len(names)} classes rates must be at least 0, and on average "
            f"below {most:.2g}, from where labels say nothing."
        )
    return rates


def noise_advice(tables: Tables, expected: FloatArray, rates: FloatArray, *, seed: int) -> tuple[Advice, ...]:
    """Say whether labels that are wrong at these rates may be trained on as they are.

    Parameters
    ----------
    tables : Tables
    expected : array of shape (n, K)
        Probabilities of TRAIN's recorded labels, out of fold.
    rates : array of shape (K,)
        By true class; a wrong label is any other class alike.
    seed : int
    """
    rng = as_generator(seed)
    proba = np.clip(expected, 1e-12, None)
    check = label_noise_check(proba / proba.sum(axis=1, keepdims=True), noise_rate=rates, random_state=rng)
    action = {
        "ignore": "Train on the labels as they are, wrong ones included",
        "correct": "Correct the training labels, or the loss for their noise",
        "unclear": "Have some of TRAIN's labels checked",
    }[check.verdict]
    why = f"{check.reason} All figures of this audit are of the labels as recorded."
    advice = [Advice(action, why, "labels noisy")]
    verdict = _of_linear_rules(tables, float(rates.max()), draw_seed(rng))
    return (*advice, verdict) if verdict is not None else tuple(advice)


def _of_linear_rules(tables: Tables, rate: float, seed: int) -> Advice | None:
    """Try to certify a linear rule, where a certificate can be had at all."""
    X = tables.X
    complete = not np.isnan(X).any() and not tables.categorical.any()
    if len(tables.classes or ()) != 2 or not complete or X.shape[1] > _MOST_COLUMNS or len(X) < _LEAST_ROWS:
        return None
    if rate >= 0.5:  # of some class most labels are wrong: no such certificate exists
        return None
    rows = as_generator(seed).permutation(len(X))[:_MAX_ROWS]
    spread = X[rows].std(axis=0)
    if (spread == 0).any():
        return None
    centred = (X[rows] - X[rows].mean(axis=0)) / spread
    learner = TesterLearner(noise_rate=max(rate, 0.01), random_state=seed)
    report = learner.fit(centred, tables.y[rows].astype(int)).report_
    if report.accepted:
        return Advice(
            "A linear rule of these columns can be trusted under that noise",
            f"It misses at most {report.excess:.2f} more of the labels than the best linear rule does.",
            "labels noisy",
        )
    return Advice(
        "Do not rely on a linear rule learnt from these labels",
        f"Nothing vouches for it under that noise: {report.reason}",
        "labels noisy",
    )
