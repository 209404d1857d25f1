"""Do the audit's intervals hold the truth: repeats on generators whose truth is known.

``python -m benchmarks audit_truth [--quick] [--repeats R] [--rows N] [--jobs J] [--only NAME ...]``
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track
from scipy.stats import beta
from sklearn import metrics as sk

import steelyard
from benchmarks.document import write_section
from steelyard.datasets import make_shift

SEED = 20_000


@dataclass(frozen=True)
class Setting:
    """One generator, and whether the audit's assumption holds on it."""

    name: str
    kind: str
    task: str
    strength: float
    assumption_holds: bool = True


SETTINGS = (
    Setting("no shift", "none", "binary", 1.0),
    Setting("covariate shift", "covariate", "binary", 1.0),
    Setting("strong covariate shift", "covariate", "binary", 1.5),
    Setting("mild covariate shift", "covariate", "binary", 0.5),
    Setting("label shift", "label", "binary", 1.0),
    Setting("label shift and a moved column", "both", "binary", 1.0),
    Setting("covariate shift, regression", "covariate", "regression", 1.0),
    Setting("covariate shift, three classes", "covariate", "multiclass", 1.0),
    Setting("label shift, three classes", "label", "multiclass", 1.0),
    Setting("concept shift, no labels", "concept", "binary", 1.0, assumption_holds=False),
    Setting("no overlap", "no_overlap", "binary", 1.0, assumption_holds=False),
)


def one(setting: Setting, seed: int, rows: int) -> dict[str, Any]:
    """Audit one sample without its labels, then look at them."""
    s = make_shift(
        setting.kind,  # type: ignore[arg-type]
        n_source=rows,
        n_target=rows,
        strength=setting.strength,
        task=setting.task,  # type: ignore[arg-type]
        random_state=np.random.default_rng([SEED, seed]),
    )
    names = [f"x{j}" for j in range(s.X.shape[1])]
    scores, scores_live = _columns(s.scores), _columns(s.scores_target)
    train = pl.DataFrame(s.X, schema=names).with_columns(pl.Series("y", s.y), **scores)
    live = pl.DataFrame(s.X_target, schema=names).with_columns(**scores_live)
    output = {"prediction": "score"} if setting.task == "regression" else {"proba": list(scores)}
    result = steelyard.audit(train, live, target="y", alpha=0.1, seed=seed, **output)
    predictions, weights = result.row_predictions, result.weights
    assert predictions is not None and weights is not None
    actual = _actual(setting.task, s.y_target, s.scores_target)
    return {
        "kind": result.shift.kind,
        "rejected": result.shift.p_value < 0.05,
        "trusted": weights.trusted,
        "pareto_k": weights.pareto_k,
        "coverage": _covered(setting.task, predictions, s.y_target),
        "seconds": sum(result.seconds.values()),
        "metrics": {
            p.metric: (p.live_estimate, p.low, p.high, actual[p.metric], p.naive) for p in result.performance
        },
    }


def _columns(scores: np.ndarray) -> dict[str, pl.Series]:
    if scores.ndim == 1:
        return {"score": pl.Series(scores)}
    return {f"score_{k}": pl.Series(scores[:, k]) for k in range(scores.shape[1])}


def _actual(task: str, y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return the metrics on the labels, by scikit-learn."""
    if task == "regression":
        error = sk.mean_squared_error(y, scores)
        return {"mae": sk.mean_absolute_error(y, scores), "rmse": error**0.5, "r2": sk.r2_score(y, scores)}
    many = scores.ndim == 2
    label = scores.argmax(axis=1) if many else (scores >= 0.5).astype(int)
    onehot = np.eye(scores.shape[1])[y.astype(int)] if many else None
    return {
        "accuracy": sk.accuracy_score(y, label),
        "auc": sk.roc_auc_score(y, scores, multi_class="ovr") if many else sk.roc_auc_score(y, scores),
        "f1": sk.f1_score(y, label, average="macro" if many else "binary"),
        "log_loss": sk.log_loss(y, scores),
        "brier": float(np.mean(np.sum((scores - onehot) ** 2, axis=1)))
        if many
        else sk.brier_score_loss(y, scores),
    }


def _covered(task: str, columns: Mapping[str, np.ndarray], y: np.ndarray) -> float:
    if task == "regression":
        return float(np.mean((columns["low"] <= y) & (y <= columns["high"])))
    sets = np.column_stack([v for k, v in columns.items() if k.startswith("in_set_")])
    return float(sets[np.arange(len(y)), y.astype(int)].mean())


def section(results: dict[Setting, list[dict[str, Any]]], rows: int) -> str:
    """Return the section of docs/BENCHMARKS.md."""
    lines = [
        "## audit_truth: do the audit's intervals hold the truth",
        "",
        f"Generators with known truth, {rows:,} rows a side, and a deployed model that is miscalibrated by "
        "design. Each audit sees no label of LIVE; the labels are then put to its 95% intervals and its 90% "
        "prediction sets or intervals. In brackets the 95% Clopper-Pearson interval of a share.",
        "",
        "| data | repeats | shift found (5% level) | kind named | answered | Pareto k < 0.5 "
        "| coverage of predictions there |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting, runs in results.items():
        kinds = ", ".join(f"{k} {c}" for k, c in Counter(r["kind"] for r in runs).most_common())
        light = [r for r in runs if r["trusted"] and (r["pareto_k"] or 0.0) < 0.5]
        coverage = f"{np.mean([r['coverage'] for r in light]):.3f}" if light else "-"
        lines.append(
            f"| {setting.name} | {len(runs)} | {_share([r['rejected'] for r in runs])} | {kinds} "
            f"| {np.mean([r['trusted'] for r in runs]):.0%} | {len(light)} | {coverage} |"
        )
    lines += [
        "",
        "Performance without labels, where the audit answered:",
        "",
        "| data | metric | 95% intervals that hold the value | bias | mean absolute error | carried over |",
        "|---|---|---|---|---|---|",
    ]
    for setting, runs in results.items():
        name = setting.name + ("" if setting.assumption_holds else " (assumption broken)")
        for metric in runs[0]["metrics"]:
            values = [r["metrics"][metric] for r in runs if r["metrics"][metric][0] is not None]
            if not values:
                lines.append(f"| {name} | {metric} | inconclusive in all | | | |")
                continue
            error = np.array([v[0] - v[3] for v in values])
            naive = np.array([v[4] - v[3] for v in values])
            held = [v[1] <= v[3] <= v[2] for v in values]
            lines.append(
                f"| {name} | {metric} | {_share(held)} | {error.mean():+.4f} | {np.abs(error).mean():.4f} "
                f"| {np.abs(naive).mean():.4f} |"
            )
    return "\n".join(lines)


def _share(flags: list[Any]) -> str:
    k, n = int(np.sum(flags)), len(flags)
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return f"{k / n:.1%} [{low:.1%}, {high:.1%}]"


def main(arguments: list[str]) -> int:
    """Run the settings and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks audit_truth")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--dry", action="store_true", help="print the section, write nothing")
    parser.add_argument("--quick", action="store_true", help="three small repeats; prints, writes nothing")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.rows, options.dry = 3, 600, True
    console = Console(stderr=True)
    results = {}
    for setting in SETTINGS:
        if options.only and setting.name not in options.only:
            continue
        work = Parallel(n_jobs=options.jobs, return_as="generator")(
            delayed(one)(setting, seed, options.rows) for seed in range(options.repeats)
        )
        results[setting] = list(track(work, total=options.repeats, description=setting.name, console=console))
        seconds = np.median([r["seconds"] for r in results[setting]])
        console.print(f"{setting.name}: an audit takes {seconds:.2f} s (median of {options.repeats})")
        if not options.dry:  # after each setting, so that what is done survives an interruption
            write_section("audit_truth", section(results, options.rows))
    if options.dry:
        print(section(results, options.rows))
    return 0
