"""The section of docs/BENCHMARKS.md on weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import OURS, Machine, Result
from benchmarks.tables import COST, answered, losing, losses, setting, table

_INTRO = """## weights

How much does each source row count: the weights of the fitted source rows against the exact density ratio.
Ten columns, as many target rows as source rows, source N(0, I) but for the third problem:

- **gaussian**: the target's mean is 0.5 higher in three columns (`steelyard.datasets.make_gaussian_shift`).
- **mixture**: the target is two tighter clumps around the source's mean, 0.5 N(a, S) + 0.5 N(-a, S) with
  a = (1.2, 0.8, 0, ...) and S = diag(.49, .49, .64, .64, 1, ...) (`make_mixture_shift`): all first moments
  agree, so whoever looks at these alone sees nothing.
- **selected**: neighbouring columns of the source correlate by one half, and the target keeps a row with
  the chance expit(2 x0 x1 + 2 sin(2 x2) - x3^2 / 2): a product, a wave and a hump. Nothing of steelyard was
  chosen by looking at this problem; the rules by which `AutoRatio` chooses were compared on other draws of
  the first two, with their exact ratios in hand.

The **error** is mean((w - r)^2) / mean(r^2), the exact ratio r and the weights w scaled to mean one over
the source rows; constant weights score 1 - 1 / mean(r^2), about 0.53, 0.68 and 0.28: above that, no
weights are better. It punishes a few far too large weights hard, so Spearman's **rank** correlation stands
beside it. Both are means over the draws; a method that takes over 3 s runs on the first draw only, and on a
larger table only if that is to be expected within 25 s, its cost growing with the rows, or with their square
where it meets all pairs of rows (steelyard itself always runs).

Nobody is tuned by the truth: every method runs at its package's defaults and with the package's own choice of
its parameters. Besides: skada's KLIEP chooses among five widths by its own cross-validation, because its one
default width is far off; balance's models run on columns as balance transforms them (it cuts numbers into ten
bins) and on columns as they are; raking gets terciles, because its table has a cell for every combination.
**steelyard** is `AutoRatio`, what `weighting="auto"` means: it fits six ratios to one fold and the three that
its rows find best to all five, and takes the simplest of those within a standard error of the best, its
seconds those of all that; every row is weighed by a model that has not seen it. adapt's KLIEP, uLSIF and
RuLSIF choose among six widths (and five ridges) by their own cross-validation. skada's discriminator fits one
logistic regression and weighs the rows that it was fitted to, by odds that are upside down. RuLSIF aims at a
relative ratio, which steelyard turns back into the plain one and densratio does not.
"""

FIGURES = (
    answered("error", "error", show="{:.3f}"),
    answered("rank", "rank", better="high", show="{:.2f}"),
)


def render(stored: Mapping[str, Any]) -> str:
    """Return the section as Markdown; depends on nothing but the results."""
    everything = [Result(**r) for part in (*stored["problems"], *stored["pairs"]) for r in part["results"]]
    parts = [
        _INTRO,
        setting(
            Machine(**stored["machine"]),
            versions=stored["versions"],
            repeats=stored["draws"],
            results=everything,
        ),
        stored.get("remark", ""),
    ]
    said: list[str] = []
    for found in stored["problems"]:
        results = [Result(**r) for r in found["results"]]
        title = f"{found['problem']}, {found['rows']:,} rows a side"
        parts += [f"### {title}", table(results, figures=FIGURES), _notes(results)]
        said += _behind(title, results)
    parts += ["### RuLSIF, the same work", _SAME_WORK]
    for found in stored["pairs"]:
        results = [Result(**r) for r in found["results"]]
        title = f"{found['problem']}, {found['rows']:,} rows a side"
        parts.append(table(results, figures=FIGURES, head=title))
        said += losses(f"RuLSIF, {title}", results, figures=FIGURES)
    parts.append(losing(said))
    return "\n\n".join(p.strip() for p in parts if p) + "\n"


_SAME_WORK = """Both get 200 centres, five widths, nineteen ridges, alpha 0.1 and all rows. steelyard
chooses width and ridge by five-fold cross-validation, densratio by leaving one out in closed form, for which
it builds matrices of rows by rows. steelyard's ridge is on the kernel's norm and its coefficients are free;
densratio's is on the coefficients, which are rounded up to 0."""


def _notes(results: Sequence[Result]) -> str:
    """Say what steelyard chose, and which methods are no better than none."""
    out = []
    own = next((r for r in results if r.name == OURS and not r.failure), None)
    if own is not None and own.answer.get("chose"):
        out.append(f"steelyard chose: {own.answer['chose']}.")
    nan = [r.name for r in results if not r.failure and r.answer.get("error") is None]
    if nan:
        out.append(f"Weights that are not numbers: {', '.join(nan)}.")
    return " ".join(out)


def _behind(title: str, results: Sequence[Result]) -> list[str]:
    """Say who is more accurate than steelyard's choice, and, in one sentence, who is faster."""
    own = next((r for r in results if r.name == OURS), None)
    theirs = [r for r in results if not r.name.startswith(f"{OURS}, ")]
    said = [
        s
        for s in losses(title, theirs, figures=FIGURES)
        if not any(s.startswith(f"{title}, {c.title}:") for c in COST)
    ]
    if own is None or own.failure or own.seconds is None:
        return said
    faster = [r for r in theirs if not r.failure and r.seconds is not None and r.seconds < own.seconds]
    if faster:
        who = ", ".join(f"{r.name} {r.seconds:.2g} s" for r in faster)
        said.append(f"{title}, seconds, by other work: {own.seconds:.2g} against {who}.")
    return said
