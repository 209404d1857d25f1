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
# Rows that a value needs on either side, and columns after which a table is another table.
_SUPPORT, _MOST = 10, 5


def recoded_values(look: Look) -> list[Finding]:
    """Tell of columns of few values (20 at most) whose values mean one another in LIVE.

    First by what goes with each value: the other columns say of LIVE's rows what they said in TRAIN
    of rows of another value. Where the other columns say nothing, by the values' shares, if
    they changed far, would be TRAIN's to within chance after a relabelling, and hardly another column has
    moved: where all do, shares turn round as well.

    Notes
    -----
    Time O(n d^2 + d^4) for at most 200 columns of the design.
    """
    columns = [column for j in range(len(look.features)) if (column := _Column.of(look, j)) is not None]
    level = _LEVEL / max(len(columns), 1)
    found: list[tuple[_Column, IntArray, str]] = []
    while len(found) < _MOST:
        done = [column.j for column, _, _ in found]
        told = [
            (agrees, column.j, column, mapping)
            for column in columns
            if column.j not in done
            for agrees, mapping in column.relabelled(look, done, level)
        ]
        if not told:
            break
        # The clearest first, which then says nothing of others: it would drag along what hangs on it.
        _, _, column, mapping = min(told, key=lambda one: one[:2])
        found.append(
            (
                column,
                mapping,
                "the other columns say of these rows of LIVE what they said of the others in TRAIN",
            )
        )
    done = [column.j for column, _, _ in found]
    for column in columns:
        mapping_by_shares = _by_shares(column.counts, column.counts_live, level)
        if column.j in done or mapping_by_shares is None or not look.stands_alone(column.j):
            continue
        told_of = column.told(look, done)
        if told_of is None or not told_of.keeps():
            found.append((column, mapping_by_shares, "their shares are those of TRAIN, exchanged"))
    return [_finding(look, column.j, column.values, mapping, how) for column, mapping, how in found]


@dataclass(frozen=True)
class _Column:
    """A column of few values that both sides have: rows' places among them (-1 for others), and counts."""

    j: int
    values: FloatArray
    codes: IntArray
    live: IntArray
    counts: IntArray
    counts_live: IntArray

    @classmethod
    def of(cls, look: Look, j: int) -> _Column | None:
        """Return it, or None if it has many values or the two sides hardly share any."""
        levels = look.levels[j]
        if levels is None:
            return None
        sides = [_codes(X[:, j], levels) for X in (look.X, look.X_live)]
        counts, counts_live = (np.bincount(codes[codes >= 0], minlength=len(levels)) for codes in sides)
        both = np.flatnonzero((counts >= _SUPPORT) & (counts_live >= _SUPPORT))
        # A value that one side lacks is another matter: new, or recoded for good.
        shares = (
            counts[both].sum() / max(counts.sum(), 1),
            counts_live[both].sum() / max(counts_live.sum(), 1),
        )
        if len(both) < 2 or min(shares) < 0.9:
            return None
        place = np.full(len(levels) + 1, -1)
        place[both] = np.arange(len(both))
        train, live = (place[codes] for codes in sides)
        return cls(j, levels[both], train, live, counts[both], counts_live[both])

    def told(self, look: Look, without: list[int]) -> _Told | None:
        """Return what the other columns, but for some, say of the rows' values."""
        rest = look.design.others((self.j, *without))
        return _Told.of(look, self, rest) if len(rest) else None

    def relabelled(self, look: Look, without: list[int], level: float) -> list[tuple[float, IntArray]]:
        """Return how LIVE agrees as it stands and the relabelling that restores it, if one does."""
        told = self.told(look, without)
        found = None if told is None else told.relabelled(level)
        return [] if found is None else [found]


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
    def of(cls, look: Look, column: _Column, rest: IntArray) -> _Told:
        """Learn the scores on TRAIN, linear in columns of the design."""
        design, place = look.design, np.arange(len(column.values))
        inside, inside_live = column.codes >= 0, column.live >= 0
        onehot = (column.codes[:, None] == place).astype(np.float64)
        onehot[inside] -= onehot[inside].mean(axis=0)
        rows = int(inside.sum())
        gram = design.correlations[0][np.ix_(rest, rest)] + _RIDGE * np.eye(len(rest))
        coefficients = np.zeros((len(design.owner), len(place)))
        coefficients[rest] = np.linalg.solve(gram, (design.Z.T @ onehot)[rest] / rows)
        agreement = onehot.T @ (design.Z @ coefficients) / rows
        labels = (column.live[inside_live][:, None] == place).astype(np.float64)
        scores = (design.Z_live @ coefficients)[inside_live]
        return cls(agreement, labels - labels.mean(axis=0), scores - scores.mean(axis=0))

    def relabelled(self, level: float) -> tuple[float, IntArray] | None:
        """Return the relabelling under which LIVE agrees, chosen on half of its rows, tested on the rest.

        With it, how LIVE agrees as it stands, as a share of what TRAIN's columns do.
        """
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
        restored = as_is.mean() < due / 3 and mapped.mean() > 0.6 * due
        return (float(as_is.mean() / due), mapping) if restored else None

    def keeps(self) -> bool:
        """Whether LIVE agrees with TRAIN as it stands."""
        each = np.sum(self.labels * self.scores, axis=1)
        return bool(each.mean() > 2 * each.std() / np.sqrt(len(each)))
