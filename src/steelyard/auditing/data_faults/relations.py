"""Numbers that are bound to one another by a sum in every row of TRAIN, and not in LIVE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import FloatArray, IntArray

# Columns that are searched for sums, and rows the search takes at most: a decomposition of 2,000 x 100.
_COLUMNS, _ROWS = 100, 2_000
# Columns of one sum: more is a coincidence of few rows rather than bookkeeping.
_TERMS = 6
_MISSING = 0.2
_EXACT = 1e-6
# Under no shift a table shows a broken rule less than once in so many looks.
LEVEL = 1e-4


def broken_relations(look: Look) -> list[Finding]:
    """Tell of sums (equality of two columns among them) that hold in all rows of TRAIN and fail in LIVE.

    Sums are read off one half of TRAIN's rows, and must hold in the other. To such a sum those rows and
    LIVE's are alike: were they dealt at random, ``k`` rows that break it would all fall to LIVE with
    probability ``f**k``, where ``f`` is LIVE's share of them. A sum counts as broken where that is less than
    1e-4 over the columns.

    Notes
    -----
    Time O(r p^2 + n p) for r = 2,000 rows and at most p = 100 columns.
    """
    columns = _columns(look)
    X_all, X_live = look.X[:, columns], look.X_live[:, columns]
    complete = np.random.default_rng(look.seed).permutation(np.flatnonzero(~np.isnan(X_all).any(axis=1)))
    half = min(len(complete) // 2, _ROWS)
    if len(columns) < 2 or half < 2 * len(columns) + 20:
        return []
    n_held = len(complete) - half
    found = []
    told: set[str] = set()
    for sum_ in sorted(_sums(X_all[complete[:half]]), key=lambda s: len(s.at)):
        off_train, off = (side[~np.isnan(side)] for side in map(sum_.off, (X_all, X_live)))
        if not (np.abs(off_train) <= sum_.tolerance).all():
            continue
        broken = np.abs(off) > 10 * sum_.tolerance
        names = [look.names[columns[k]] for k in sum_.at]
        if broken.sum() < needed(n_held, len(off), LEVEL / len(columns)) or told & set(names):
            continue
        told |= set(names)
        found.append(_finding(sum_, names, off[broken], len(off), len(off_train)))
    return found


def needed(n: int, m: int, level: float) -> float:
    """Return how many rows of LIVE must break a rule that n rows of TRAIN keep, to be no chance."""
    return float(max(np.log(level) / np.log(max(m, 1) / (n + m)), 5)) if n else np.inf


def _columns(look: Look) -> list[int]:
    """Return the numbers that vary and are mostly there."""
    chosen = []
    for j in look.numbers:
        x = look.X[:, j]
        if np.isnan(x).mean() <= _MISSING and not np.isnan(look.X_live[:, j]).all():
            spread = float(np.nanstd(x))
            if spread > 1e-9 * max(float(np.nanmax(np.abs(x))), 1e-300):
                chosen.append(j)
    return chosen[:_COLUMNS]


@dataclass(frozen=True)
class _Sum:
    """``x[at] @ coefficients = constant``, the first coefficient being 1, to within ``tolerance``."""

    at: IntArray
    coefficients: FloatArray
    constant: float
    tolerance: float

    def off(self, X: FloatArray) -> FloatArray:
        """Return by how much each row misses it."""
        return np.asarray(X[:, self.at] @ self.coefficients - self.constant)


def _sums(part: FloatArray) -> list[_Sum]:
    """Return the exact sums that some rows show: each dependent column by those it hangs on."""
    centre, spread = part.mean(axis=0), part.std(axis=0)
    usable = np.flatnonzero(spread > 0)
    if len(usable) < 2:
        return []
    Z = (part[:, usable] - centre[usable]) / spread[usable]
    r, pivots = qr(Z, mode="r", pivoting=True)[0:2]
    r = r[: Z.shape[1]]
    size = np.abs(np.diag(r))
    rank = int(np.sum(size > 1e-7 * size[0]))
    found = []
    for k in range(rank, len(pivots)):
        beta = np.linalg.solve(r[:rank, :rank], r[:rank, k])
        terms = np.flatnonzero(np.abs(beta) > 1e-5)
        if not 1 <= len(terms) < _TERMS:
            continue
        at = usable[pivots[np.concatenate([[k], terms])]]
        scale = spread[at]
        coefficients = _tidy(np.concatenate([[1.0], -beta[terms] * scale[0] / scale[1:]]))
        size_of = float(np.max(np.abs(part[:, at]) @ np.abs(coefficients)))
        constant = float(np.median(part[:, at] @ coefficients))
        tolerance = float(_EXACT * np.abs(coefficients) @ scale + 1e-9 * size_of)
        found.append(_Sum(at, coefficients, constant, tolerance))
    return found


def _tidy(coefficients: FloatArray) -> FloatArray:
    """Return them scaled to small whole numbers where they are ratios of such."""
    smallest = float(np.abs(coefficients).min())
    for by in (1.0, 1.0 / smallest):
        whole = np.round(coefficients * by)
        if np.allclose(coefficients * by, whole, rtol=0, atol=1e-4) and (whole != 0).all():
            return np.asarray(whole if whole[0] > 0 else -whole)
    return coefficients


def _finding(sum_: _Sum, names: list[str], off: FloatArray, rows: int, n: int) -> Finding:
    middle = float(np.median(off))
    same = float(np.mean(np.abs(off - middle) <= 10 * sum_.tolerance))
    by = f", off by {abs(middle):g} in {same:.0%} of these" if same > 0.5 else ""
    text = (
        f"{_equation(sum_, names)} in all {n:,} rows of TRAIN that have a value of each, but not in "
        f"{len(off):,} of {rows:,} rows of LIVE ({len(off) / rows:.0%}{by})."
    )
    listed = _listed(names)
    mend = f"Correct whichever of {listed} is made in another way in LIVE"
    return Finding("broken-relation", "warning", text, explains=True, mend=mend, columns=tuple(names))


def _equation(sum_: _Sum, names: list[str]) -> str:
    """Write the sum with all terms positive: ``'age' = 'educ' + 'exper' + 6``."""
    left: list[str] = []
    right: list[str] = []
    for name, c in zip(names, sum_.coefficients):
        (left if c > 0 else right).append(_term(name, abs(float(c))))
    constant = sum_.constant
    if abs(constant) > sum_.tolerance or not right:
        if constant > 0 or not right:
            right.append(f"{constant:.6g}")
        else:
            left.append(f"{-constant:.6g}")
    # One column on the left reads best.
    if len(right) == 1 and len(left) > 1 and right[0].startswith("'"):
        left, right = right, left
    return f"{' + '.join(left)} = {' + '.join(right)}"


def _term(name: str, coefficient: float) -> str:
    return f"'{name}'" if coefficient == 1 else f"{coefficient:.4g} '{name}'"


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:-1]) + f" and '{names[-1]}'"
