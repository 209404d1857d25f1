"""The section of docs/BENCHMARKS.md on conformal intervals and sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import Machine, Result
from benchmarks.tables import COST, Column, answered, losing, losses, setting, table

_INTRO = """## conformal

Split conformal intervals and sets at 90%, of a model that is fitted already, on the same calibration and test
rows. The model's output is computed before and handed over with the rows, so the seconds are those of
`conformalize` and `predict_interval` or `predict_set` alone.

- Features: five, uniform; the target tilts their law by exp(x5 - x1), and there y is noisier
  (`steelyard.datasets.make_tilted_uniform`) and the six classes are harder to tell apart. Test rows come from
  the source in the first tables and from the target in those "under shift".
- Models: boosted trees of the mean and of the 5% and 95% quantiles, a logistic regression; 5,000 rows.
- **absolute**, **cqr**, **lac**, **aps**, **raps**: the scores of the same names. aps and raps are randomised
  in all packages. raps: penalty 0.01 after the first rank; mapie chooses its own on a fifth of the
  calibration rows. cqr moves both ends alike (mapie's `symmetric_correction=True`; its default moves each
  by its own).
- **exact weights**: the density ratio of target to source; **estimated**: steelyard's cross-fitted logistic
  ratio of the features, computed before, the same for both packages. puncc's `weight_func` gives every test
  row the weight 1 and so all of them one threshold; steelyard finds each test row its own, with the row's own
  weight at infinity. mapie takes no weights; puncc's classifiers take none.

Coverage below 0.9 by more than its spread is a broken promise, whatever the width. Coverage given the
calibration rows is itself random: its standard deviation is 0.0095, 0.003 and 0.001 with 1,000, 10,000 and
100,000 calibration rows where nothing is weighted; several draws are averaged where there are few rows.
Sizes of randomised sets differ by chance too, by about ten times as much as the coverage.
"""

_OTHER_WORK = """With weights puncc does less: it finds one threshold for all test rows, steelyard one for
each."""

_KINDS = {
    "regression": "Intervals",
    "classes": "Sets of six classes",
    "regression_shifted": "Intervals under shift",
    "classes_shifted": "Sets of six classes under shift",
}


def figures_of(kind: str) -> tuple[Column, ...]:
    """Return the columns after time and memory; narrower is better only where all cover what they promise."""
    better = "none" if kind.endswith("shifted") else "low"
    size = "mean width" if kind.startswith("regression") else "mean classes"
    return (
        answered("coverage", "coverage", better="none"),
        answered(size, "size", better=better, show="{:.2f}"),
        answered("all of it", "unbounded", better="none", show="{:.2%}"),
    )


def render(stored: Mapping[str, Any]) -> str:
    """Return the section as Markdown; depends on nothing but the results."""
    everything = [Result(**r) for s in stored["sizes"] for t in s["tables"] for r in t["results"]]
    repeats = max(s["size"]["repeats"] for s in stored["sizes"])
    parts = [
        _INTRO,
        setting(
            Machine(**stored["machine"]), versions=stored["versions"], repeats=repeats, results=everything
        ),
        "At the smaller sizes a competitor runs once, over all draws, and its seconds are the median draw's.",
        speed(stored["sizes"]),
    ]
    largest, *smaller = reversed(stored["sizes"])
    parts.append(f"### {_title(largest['size'])}")
    said: list[str] = []
    for found in largest["tables"]:
        results = [Result(**r) for r in found["results"]]
        name, figures = _name(found), figures_of(found["kind"])
        parts.append(table(results, figures=figures, head=name))
        said += _lost(name, results, figures)
    for part in smaller:
        parts += [f"### {_title(part['size'])}", compact(part["tables"])]
        for found in part["tables"]:
            results = [Result(**r) for r in found["results"]]
            title = f"{_name(found)}, {part['size']['calibration']:,} calibration rows"
            # Memory and start of these small jobs are those of the imports, which the largest shows too.
            said += [s for s in _lost(title, results, ()) if f"{COST[0].title}: " in s]
    parts += [losing(said), "" if not any(" weights, " in s for s in said) else _OTHER_WORK]
    return "\n\n".join(p.strip() for p in parts if p) + "\n"


def compact(tables: Sequence[Mapping[str, Any]]) -> str:
    """Return one table of all settings: coverage with its spread over draws, size, seconds."""
    head = "|  |  | coverage (spread over draws) | mean width or classes | all of it | milliseconds a draw |"
    lines = [head, "|---" * 6 + "|"]
    for found in tables:
        name = _name(found)
        for r in found["results"]:
            if r["failure"]:
                lines.append(f"| {name} | {r['name']} | no answer: {r['failure']} | | | |")
            else:
                a = r["answer"]
                spread = f" ({a['spread']:.4f})" if a["spread"] else ""
                lines.append(
                    f"| {name} | {r['name']} | {a['coverage']:.4f}{spread} | {a['size']:.2f} "
                    f"| {a['unbounded']:.2%} | {1000 * r['seconds']:.3g} |"
                )
            name = ""
    return "\n".join(lines)


def _name(found: Mapping[str, Any]) -> str:
    return f"{_KINDS[found['kind']]}, {found['method']}"


def _title(size: Mapping[str, int]) -> str:
    draws = "1 draw" if size["draws"] == 1 else f"{size['draws']} draws"
    return f"{size['calibration']:,} calibration and {size['test']:,} test rows ({draws})"


def speed(sizes: Sequence[Mapping[str, Any]]) -> str:
    """Say how long the largest weighted job took, which is the one that grows fastest."""
    part = sizes[-1]
    seconds = next(
        (
            r["seconds"]
            for t in part["tables"]
            if (t["kind"], t["method"]) == ("regression_shifted", "absolute")
            for r in t["results"]
            if r["name"] == "steelyard, exact weights" and r["seconds"] is not None
        ),
        None,
    )
    if seconds is None:
        return ""
    size = part["size"]
    return (
        f"Weighted intervals for {size['test']:,} test rows with {size['calibration']:,} calibration scores "
        f"take steelyard **{seconds:.3g} s** after the model's predictions."
    )


def _lost(title: str, results: Sequence[Result], figures: Sequence[Column]) -> list[str]:
    """Compare like with like: rows without weights with ours without, rows with weights with ours with."""
    out = []
    for suffix in ("", ", exact weights", ", estimated weights"):
        like = [r for r in results if (r.name.partition(", ")[2] == suffix.removeprefix(", "))]
        if len(like) > 1:
            out += losses(title + suffix, like, figures=figures, ours=f"steelyard{suffix}")
    return out
