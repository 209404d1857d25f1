"""Categories of LIVE that stand for one another: yes for no, or codes in another order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2_contingency, norm

from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray, IntArray

# Under no shift a column passes a gate less than once in so many looks at a table.
_LEVEL = 1e-5
# Shares alone: drift may bring 30% to 50%, hardly 20% to 80% to the point.
_LARGE = 0.4
_RIDGE = 0.05


def recoded_values(look: Look) -> list[Finding]:
    """Tell of columns of few values (20 at most) whose values mean one another in LIVE.

    First by what goes with each value: the other columns say of LIVE's rows what they said in TRAIN
    of rows of another value. Where the other columns say nothing, by the values' shares, if
    they changed far and would be TRAIN's to within chance after a relabelling.

    Notes
    -----
    Time O(n d^2 + d^4) for at most 200 columns of the design.
    """
    found = []
    columns = [j for j, levels in enumerate(look.levels) if levels is not None]
    for j in columns:
        level = _LEVEL / len(columns)
        values = look.levels[j]
        assert values is not None
        codes, live = _codes(look.X[:, j], values), _codes(look.X_live[:, j], values)
        counts, counts_live = (np.bincount(c[c >= 0], minlength=len(values)) for c in (codes, live))
        both = (counts >= 10) & (counts_live >= 10)
        # A value that one side lacks is another matter: new, or recoded for good.
        if both.sum() < 2 or counts[both].sum() < 0.9 * counts.sum():
            continue
        if counts_live[both].sum() < 0.9 * counts_live.sum():
            continue
        place = np.flatnonzero(both)
        told = _Told.of(look, j, codes, live, place)
        mapping = told.relabelled(level) if told is not None else None
        how = "the other columns say of these rows of LIVE what they said of the others in TRAIN"
        if mapping is None:
            mapping = _by_shares(counts[place], counts_live[place], level)
            how = "their shares are those of TRAIN, exchanged"
            if mapping is None or (told is not None and told.keeps()):
                continue
        found.append(_finding(look, j, values[place], mapping, how))
    return found


def _finding(look: Look, j: int, values: FloatArray, mapping: IntArray, how: str) -> Finding:
    name = look.names[j]
    moved = [k for k in range(len(mapping)) if mapping[k] != k]
    pairs = ", ".join(
        f"{look.value(j, values[k])} for {look.value(j, values[mapping[k]])}" for k in moved[:3]
    )
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    return Finding(
        "exchanged-values",
        "warning",
        f"Values of column '{name}' look exchanged in LIVE ({pairs}{more}): {how}.",
        explains=True,
        mend=f"Give the values of '{name}' in LIVE their meaning in TRAIN ({pairs}{more})",
        columns=(name,),
    )


def _codes(x: FloatArray, values: FloatArray) -> IntArray:
    at = np.minimum(np.searchsorted(values, x), len(values) - 1)
    return np.where(np.isnan(x), -1, at).astype(np.int64)


def _by_shares(counts: IntArray, live: IntArray, level: float) -> IntArray | None:
    """Return the relabelling that brings the shares back, if they are far off and then within chance."""
    p, q = counts / counts.sum(), live / live.sum()
    apart = 0.5 * float(np.abs(p - q).sum())
    if apart < _LARGE or chi2_contingency(np.array([counts, live]))[1] > level:
        return None
    mapping = np.empty(len(p), dtype=np.int64)
    mapping[np.argsort(q, kind="stable")] = np.argsort(p, kind="stable")
    if 0.5 * float(np.abs(p[mapping] - q).sum()) > 0.2 * apart:
        return None
    return mapping if chi2_contingency(np.array([counts[mapping], live]))[1] > 0.01 else None


@dataclass(frozen=True)
class _Told:
    """What the other columns say of each row's value: TRAIN's agreement (k, k), and LIVE's rows.

    Entry (a, b) is the covariance of being of value a with the other columns' score for value b.
    """

    train: FloatArray
    labels: FloatArray
    scores: FloatArray

    @classmethod
    def of(cls, look: Look, j: int, codes: IntArray, live: IntArray, place: IntArray) -> _Told | None:
        """Learn the scores on TRAIN, linear in the other columns."""
        design = look.design
        rest = design.others((j,))
        if not len(rest):
            return None
        inside, inside_live = np.isin(codes, place), np.isin(live, place)
        onehot = (codes[inside][:, None] == place).astype(np.float64)
        labels = (live[inside_live][:, None] == place).astype(np.float64)
        Z, Z_live = design.Z[inside][:, rest], design.Z_live[inside_live][:, rest]
        onehot -= onehot.mean(axis=0)
        gram = Z.T @ Z / len(Z) + _RIDGE * np.eye(len(rest))
        coefficients = np.linalg.solve(gram, Z.T @ onehot / len(Z))
        scores = Z_live @ coefficients
        agreement = onehot.T @ (Z @ coefficients) / len(Z)
        return cls(agreement, labels - labels.mean(axis=0), scores - scores.mean(axis=0))

    def relabelled(self, level: float) -> IntArray | None:
        """Return the relabelling under which LIVE agrees, chosen on half of its rows, tested on the rest."""
        first = np.arange(len(self.labels)) % 2 == 0
        rows, columns = linear_sum_assignment(-(self.labels[first].T @ self.scores[first]))
        mapping = np.empty(len(rows), dtype=np.int64)
        mapping[rows] = columns
        if (mapping == np.arange(len(mapping))).all():
            return None
        as_is = np.sum(self.labels[~first] * self.scores[~first], axis=1)
        mapped = np.sum(self.labels[~first] * self.scores[~first][:, mapping], axis=1)
        gain = mapped - as_is
        error = float(gain.std()) / np.sqrt(len(gain))
        due = float(np.trace(self.train))
        if error < 1e-12 or gain.mean() / error < norm.isf(level):
            return None
        # Drift weakens relations. A relabelling breaks them, and its inverse restores them.
        return mapping if as_is.mean() < due / 3 and mapped.mean() > 0.6 * due else None

    def keeps(self) -> bool:
        """Whether LIVE agrees with TRAIN as it stands."""
        each = np.sum(self.labels * self.scores, axis=1)
        return bool(each.mean() > 2 * each.std() / np.sqrt(len(each)))
