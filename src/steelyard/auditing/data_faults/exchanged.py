"""Two columns of LIVE that stand in each other's place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from steelyard.auditing.data_faults.look import Look, chance_distance, distance, known
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray

# Under no shift a column passes the first gate less than once in so many looks at a table.
_LEVEL = 1e-5
# Columns whose distances to one another are taken: the ones that moved most.
_MOVED = 50
# Rows of either side for those distances: 50 x 50 of them then take a second.
_ROWS = 4_000
# Columns whose correlations with the others differ by less than this: drift turns such differences round.
_DIFFERENT = 0.2
# A few coded values are told apart by a few shares, which drift brings about by itself.
_LARGE = 0.3


def exchanged_columns(look: Look) -> list[Finding]:
    """Tell of pairs of columns of LIVE each of which looks like the other one of TRAIN.

    First by their values: both moved far, and each now lies where the other was. Then, for columns
    whose values are alike, by how they go with the other columns.

    Notes
    -----
    Time O(n d log n + n d^2) for at most 200 columns.
    """
    pairs = list(_by_relations(look))
    relations = {(a, b) for a, b, _ in pairs}
    for a, b, text in _by_values(look):
        if (a, b) not in relations:
            pairs.append((a, b, text))
    taken: set[int] = set()
    found = []
    for a, b, text in pairs:
        if a in taken or b in taken:
            continue
        taken |= {a, b}
        first, second = look.names[a], look.names[b]
        found.append(
            Finding(
                "exchanged-columns",
                "warning",
                f"Columns '{first}' and '{second}' look exchanged in LIVE: {text}.",
                explains=True,
                mend=f"Put '{first}' and '{second}' of LIVE back in their places",
                columns=(first, second),
            )
        )
    return found


def _by_values(look: Look) -> Iterator[tuple[int, int, str]]:
    samples = [_samples(look, j) for j in range(len(look.features))]
    own = np.array([_distance(*sample) for sample in samples])
    level = _LEVEL / max(len(own), 1)
    moved = [
        j
        for j in np.argsort(-own, kind="stable")
        if own[j] > max(0.1, chance_distance(len(samples[j][0]), len(samples[j][1]), level))
    ][:_MOVED]
    found = []
    for i, a in enumerate(moved):
        for b in moved[i + 1 :]:
            if (look.features[a].categories is None) != (look.features[b].categories is None):
                continue
            (train_a, live_a), (train_b, live_b) = samples[a], samples[b]
            cross = max(_distance(train_b, live_a), _distance(train_a, live_b))
            least = float(min(own[a], own[b]))
            noise = chance_distance(min(len(train_a), len(train_b)), min(len(live_a), len(live_b)), 0.05)
            if cross > min(max(0.25 * least, noise), 0.5 * least):
                continue
            few = look.levels[a] is not None or look.levels[b] is not None
            if few and _shared(train_a, train_b) and (least < _LARGE or _keeps_relations(look, a, b)):
                continue
            text = (
                f"the values of each lie where the other's lay in TRAIN (distances {own[a]:.2f} and "
                f"{own[b]:.2f} as they stand, {cross:.2f} at most when exchanged)"
            )
            found.append((cross - least, int(min(a, b)), int(max(a, b)), text))
    for _, a, b, text in sorted(found):
        yield a, b, text


def _samples(look: Look, j: int) -> tuple[FloatArray, FloatArray] | tuple[list[str], list[str]]:
    """Return both sides' values: sorted numbers, or texts, of a few thousand rows."""
    rng = np.random.default_rng(look.seed)
    sides = []
    for X in (look.X, look.X_live):
        x = X[:, j]
        if len(x) > _ROWS:
            x = x[rng.choice(len(x), _ROWS, replace=False)]
        sides.append(known(x))
    categories = look.features[j].categories
    if categories is None:
        return sides[0], sides[1]
    texts = [[categories[int(code)] for code in side] for side in sides]
    return texts[0], texts[1]


def _distance(a: FloatArray | list[str], b: FloatArray | list[str]) -> float:
    """Return the Kolmogorov-Smirnov distance of numbers, the total variation of texts."""
    if not isinstance(a, list) and not isinstance(b, list):
        return distance(a, b)
    if not len(a) or not len(b):
        return 0.0
    values, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    p = np.bincount(place[: len(a)], minlength=len(values)) / len(a)
    q = np.bincount(place[len(a) :], minlength=len(values)) / len(b)
    return float(0.5 * np.abs(p - q).sum())


def _shared(a: FloatArray | list[str], b: FloatArray | list[str]) -> bool:
    return bool(np.isin(a, b).any())


def _contrast(look: Look, a: int, b: int) -> FloatArray | None:
    """Return for each row of LIVE how the difference of two columns goes with what TRAIN's goes with."""
    design = look.design
    one, two = design.of(a), design.of(b)
    if len(one) != 1 or len(two) != 1:
        return None
    rest = design.others((a, b))
    difference = design.correlations[0][one[0], rest] - design.correlations[0][two[0], rest]
    score = design.Z_live[:, rest] @ difference
    return np.asarray((design.Z_live[:, one[0]] - design.Z_live[:, two[0]]) * score)


def _keeps_relations(look: Look, a: int, b: int) -> bool:
    """Whether two columns still go with the others as in TRAIN, as drift would leave them."""
    each = _contrast(look, a, b)
    return each is not None and _z(each) > 2


def _z(each: FloatArray) -> float:
    error = float(each.std()) / np.sqrt(len(each))
    return float(each.mean()) / error if error > 1e-12 else 0.0


def _by_relations(look: Look) -> Iterator[tuple[int, int, str]]:
    """Yield pairs whose relations to the other columns are each other's of TRAIN.

    For columns a and b let D be the differences of their correlations with all others, (d,). Were a
    and b exchanged, D of LIVE would be that of TRAIN with its sign reversed.
    """
    design = look.design
    train, live = design.correlations
    single = np.array([j for j in range(len(look.features)) if len(design.of(j)) == 1], dtype=np.int64)
    if len(single) < 2 or len(design.owner) < 4:
        return
    at = np.array([design.of(j)[0] for j in single])
    found = []
    limit = norm.isf(_LEVEL / (len(at) * (len(at) - 1) / 2))
    for i, a in enumerate(at[:-1]):
        D, D_live = (side[a][None, :] - side[at[i + 1 :]] for side in (train, live))
        size, product = _without_own(D**2, a, at[i + 1 :]), _without_own(D * D_live, a, at[i + 1 :])
        told = size > _DIFFERENT**2 * (len(design.owner) - 2)
        for k in np.flatnonzero(told & (product < -0.5 * size)):
            b = at[i + 1 + k]
            if not _mirrored(train, live, int(a), int(b)):
                continue
            each = _contrast(look, int(single[i]), int(single[i + 1 + k]))
            if each is not None and _z(each) < -limit:
                found.append((float(product[k]), int(single[i]), int(single[i + 1 + k])))
    for _, first, second in sorted(found):
        text = "each goes with the other columns as the other one did in TRAIN"
        yield first, second, text


def _without_own(each: FloatArray, a: int, others: FloatArray) -> FloatArray:
    """Sum over all columns but those of the pair itself."""
    return np.asarray(each.sum(axis=1) - each[:, a] - each[np.arange(len(others)), others])


def _mirrored(train: FloatArray, live: FloatArray, a: int, b: int) -> bool:
    """Whether each column's correlations are much nearer to the other's of TRAIN than to its own."""
    rest = np.setdiff1d(np.arange(len(train)), (a, b))
    for one, other in ((a, b), (b, a)):
        as_is = np.sum((live[one, rest] - train[one, rest]) ** 2)
        exchanged = np.sum((live[one, rest] - train[other, rest]) ** 2)
        if exchanged > 0.5 * as_is:
            return False
    return True
