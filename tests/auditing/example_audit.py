"""Audits made by hand, as realistic as the real ones, for whatever shows or describes an audit.

Nothing here is computed from data: each builder returns the record that a
certain situation would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.parts.source import Part as Rows
from steelyard.auditing.parts.store import as_table
from steelyard.auditing.result import (
    SCHEMA_VERSION,
    Advice,
    Attribution,
    AuditResult,
    Backtest,
    Balance,
    ColumnNote,
    FeatureShift,
    Finding,
    Interval,
    Part,
    Performance,
    Prediction,
    ReadingSaid,
    Relation,
    Shift,
    WeightReport,
    Window,
)

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</style><script>document.title='owned'</script>",
    "{{ 7 * 7 }} {% for x in y %}",
    "[bold red]rich markup[/]",
    "\x1b[31mred\x1b[0m\u202eevil",
    "name " * 400,
    "http://example.com/track.png",
)

_FEATURES = (
    ("age", 0.214, 1e-40),
    ("hours_per_week", 0.163, 1e-22),
    ("schooling", 0.118, 3e-11),
    ("mobility", 0.087, 2e-6),
    ("occupation", 0.051, 0.004),
    ("marital_status", 0.022, 0.21),
    ("nativity", 0.014, 0.48),
)


def of_rows(**columns: npt.NDArray[Any]) -> pl.LazyFrame:
    """Return a table of rows as an audit leaves it."""
    return as_table(Rows(0, 0, len(next(iter(columns.values())))), columns).lazy()


def binary() -> AuditResult:
    """Covariate shift, a clear drop, no live labels."""
    rng = np.random.default_rng(0)
    n, m = 10_000, 4_000
    proba = rng.beta(2, 1, m)
    return AuditResult(
        schema_version=SCHEMA_VERSION,
        steelyard_version="0.1.0",
        seed=0,
        rows={"train": n, "live": m},
        data=(
            ColumnNote("employed", "category", "target", 0.0, None, 2, None),
            *(ColumnNote(name, "number", "feature", 0.0, 0.012, 60, 58) for name, _, _ in _FEATURES[:3]),
            ColumnNote(
                "mobility",
                "category",
                "feature",
                0.02,
                0.031,
                3,
                4,
                ("1 category is new in LIVE: moved abroad",),
            ),
            *(ColumnNote(name, "category", "feature", 0.0, 0.0, 12, 12) for name, _, _ in _FEATURES[4:]),
            ColumnNote(
                "person_id",
                "text",
                "dropped",
                0.0,
                0.0,
                n,
                m,
                ("every value differs, so it is an identifier",),
            ),
        ),
        shift=Shift(
            "covariate",
            Interval(0.7134, 0.7031, 0.7236),
            0.00005,
            0.5212,
            tuple(FeatureShift(*f) for f in _FEATURES),
            (ReadingSaid("columns", "the relation of target and features holds"),),
        ),
        weights=WeightReport(
            "boosted classifier, cross-fitted and calibrated",
            3412.4,
            0.34124,
            0.312,
            0.00213,
            0.0213,
            (
                Balance("age", 0.5122, 0.0311),
                Balance("hours_per_week", -0.3312, -0.0481),
                Balance("schooling", 0.2212, 0.0112),
                Balance("mobility", 0.1502, 0.0702),
                Balance("occupation", -0.0812, -0.0121),
                Balance("marital_status", 0.0412, 0.0211),
                Balance("nativity", 0.0112, 0.0081),
            ),
            "with care",
            "2.1% of LIVE lies where TRAIN has next to no rows.",
        ),
        performance=(
            Performance(
                "accuracy",
                0.83212,
                0.79121,
                0.77812,
                0.80511,
                "doubly robust",
                drift_low=0.75811,
                drift_high=0.82112,
                worth_labels=160,
            ),
            Performance("auc", 0.90112, 0.87211, 0.85911, 0.88412, "importance weighted"),
            Performance("f1", 0.81234, 0.76112, 0.74212, 0.78112, "doubly robust"),
            Performance("log_loss", 0.37123, 0.44219, 0.42012, 0.46422, "doubly robust"),
            Performance("brier", 0.11723, 0.14312, 0.13611, 0.15012, "doubly robust"),
        ),
        windows=(),
        relation=Relation(
            "environments",
            "region",
            {"accuracy": 0.0123, "auc": 0.0098},
            ("north", "south", "west"),
            (
                Backtest("north", "accuracy", "doubly robust", 2100, 0.8312, 0.8211, 0.8082, 0.8341, 0.8123),
                Backtest("south", "accuracy", "doubly robust", 1900, 0.8298, 0.8244, 0.8102, 0.8386, 0.8412),
                Backtest("west", "accuracy", "doubly robust", 2300, 0.8340, None, None, None, 0.7911),
            ),
        ),
        attribution=Attribution(
            "accuracy",
            -0.04091,
            (
                Part("age", -0.0231, -0.0291, -0.0172),
                Part("hours_per_week, occupation", -0.0152, -0.0211, -0.0092),
                Part("schooling", 0.0041, -0.0012, 0.0094),
                Part("mobility", -0.0038, -0.0071, -0.0004),
            ),
            -0.0029,
        ),
        prediction=Prediction(0.1, "set", 0.9031, 0.8891, 0.9164, 0.8612, 1.312),
        advice=(
            Advice(
                "Retrain with the weights in weights.parquet",
                "a model fitted with them is expected to reach an accuracy of 0.804 on LIVE, "
                "0.013 more than now",
                "retrain weighted",
            ),
            Advice(
                "Label about 200 of the LIVE rows that TRAIN does not cover "
                "(age > 71 and hours_per_week < 12)",
                "2.1% of LIVE lies there, and no estimate speaks for it",
                "label",
            ),
        ),
        findings=(
            Finding(
                "new-category",
                "warning",
                "mobility: LIVE has 1 category that TRAIN lacks (moved abroad, 31 rows). "
                "It is treated as missing.",
            ),
            Finding("identifier", "info", "person_id: every value differs, so the column is left out."),
            Finding(
                "outside-support",
                "warning",
                "2.1% of LIVE lies where TRAIN has next to no rows: age > 71 and hours_per_week < 12.",
                "weigh",
            ),
        ),
        seconds={
            "read": 0.41,
            "model": 3.92,
            "shift": 2.13,
            "weigh": 4.41,
            "estimate": 1.21,
            "attribute": 2.92,
            "certify": 0.83,
            "advise": 1.1,
        },
        row_tables={
            "weights": of_rows(weight=rng.exponential(1.0, n)),
            "predictions": of_rows(
                prediction=np.where(proba > 0.5, "yes", "no").astype(object),
                proba_no=1 - proba,
                proba_yes=proba,
                set_no=proba < 0.7,
                set_yes=proba > 0.2,
            ),
        },
    )


def labels_arrived() -> AuditResult:
    """The binary audit once the live labels are there."""
    base = binary()
    actual = {"accuracy": 0.78812, "auc": 0.87012, "f1": 0.75912, "log_loss": 0.46912, "brier": 0.14612}
    prediction = replace(base.prediction, live_actual_coverage=0.8982) if base.prediction else None
    return replace(
        base,
        performance=tuple(replace(p, live_actual=actual[p.metric]) for p in base.performance),
        prediction=prediction,
    )


def regression_windows() -> AuditResult:
    """Label shift in a regression, week by week, with one window that could not be estimated."""
    base = binary()
    windows = []
    for week in range(12):
        mae = 41_200 + 900 * week + 700 * math.sin(week)
        known = week != 7
        windows.append(
            Window(
                f"2024-{1 + week // 4:02d}-{1 + 7 * (week % 4):02d}",
                f"2024-{1 + week // 4:02d}-{7 + 7 * (week % 4):02d}",
                1_000 + 17 * week,
                (
                    Performance(
                        "mae",
                        41_213.2,
                        mae if known else None,
                        mae - 1_900 if known else None,
                        mae + 1_950 if known else None,
                        "doubly robust",
                        None,
                    ),
                    Performance(
                        "rmse",
                        60_112.9,
                        1.45 * mae if known else None,
                        1.4 * mae if known else None,
                        1.5 * mae if known else None,
                        "doubly robust",
                        None,
                    ),
                ),
            )
        )
    return replace(
        base,
        shift=replace(base.shift, kind="label"),
        performance=(
            Performance("mae", 41_213.2, 46_182.1, 45_011.7, 47_391.9, "doubly robust"),
            Performance("rmse", 60_112.9, 66_713.4, 64_912.3, 68_404.5, "doubly robust"),
            Performance("r2", 0.6612, 0.5931, 0.5512, 0.6341, "importance weighted"),
        ),
        windows=tuple(windows),
        attribution=Attribution(
            "mae",
            4_968.9,
            (Part("income", 3_912.4, 3_011.2, 4_803.1), Part("latitude, longitude", 811.2, 102.3, 1_520.9)),
            245.3,
        ),
        prediction=Prediction(0.1, "interval", 0.9012, 0.8831, 0.9184, 0.8412, 183_211.4),
        advice=(Advice("Recalibrate", "the errors lean to one side on LIVE by about 3,100", "recalibrate"),),
    )


def inconclusive() -> AuditResult:
    """No overlap: the later steps decline to answer."""
    base = binary()
    reason = (
        "LIVE hardly overlaps TRAIN: 83% of its rows lie where TRAIN has next to none (year > 2016), "
        "and the weights are worth 31 rows, so no estimate for LIVE can be supported."
    )
    return replace(
        base,
        shift=replace(base.shift, kind="cannot tell", auc=Interval(0.9971, 0.9962, 0.9979)),
        weights=WeightReport(
            "boosted classifier, cross-fitted and calibrated",
            31.2,
            0.0031,
            1.42,
            0.0921,
            0.8312,
            (Balance("age", 1.912, 1.401), Balance("schooling", 0.812, None)),
            "no",
            "83% of LIVE lies where TRAIN has next to no rows, "
            "and weights cannot stand in for rows that are not there.",
        ),  # type: ignore[arg-type]
        performance=tuple(
            replace(
                p,
                live_estimate=None,
                low=None,
                high=None,
                method="inconclusive",
                drift_low=None,
                drift_high=None,
                worth_labels=None,
            )
            for p in base.performance
        ),
        attribution=None,
        prediction=Prediction(0.1, "set", None, None, None, None, None),
        advice=(
            Advice(
                "Label rows of LIVE where year > 2016",
                "the data cannot tell how the model does there; "
                "200 labels would give its accuracy to within 0.06",
                "label",
            ),
        ),
        findings=(Finding("inconclusive-overlap", "error", reason, "weigh", True), *base.findings),
        row_tables={"weights": base.row_tables["weights"]},
    )


def nothing_measured() -> AuditResult:
    """Every optional part absent."""
    return replace(
        inconclusive(),
        data=(),
        shift=Shift("cannot tell", Interval(None, None, None), None, None, ()),
        weights=None,
        performance=(),
        prediction=None,
        advice=(),
        findings=(
            Finding("inconclusive-rows", "error", "LIVE has 31 rows; at least 50 are needed.", declines=True),
        ),
        seconds={},
        row_tables={},
    )


def no_shift() -> AuditResult:
    """Nothing moved."""
    base = binary()
    return replace(
        base,
        shift=Shift(
            "none",
            Interval(0.5031, 0.4911, 0.5151),
            0.41,
            0.5212,
            tuple(FeatureShift(n, e / 12, 0.7) for n, e, _ in _FEATURES),
        ),
        performance=tuple(
            replace(p, live_estimate=p.naive, low=p.naive - 0.011, high=p.naive + 0.011)
            for p in base.performance
            if p.naive
        ),
        attribution=None,
        advice=(
            Advice("Nothing to do", "the tables do not differ, and the accuracy carries over", "nothing"),
        ),
        findings=(),
    )


def multiclass() -> AuditResult:
    """Four classes, both kinds of shift at once, and one step that declined."""
    base = binary()
    return replace(
        base,
        shift=replace(base.shift, kind="both"),
        performance=tuple(replace(p) for p in base.performance if p.metric in {"accuracy", "log_loss"}),
        attribution=Attribution("accuracy", None, (), None),
        findings=(
            Finding(
                "inconclusive-attribution",
                "warning",
                "The change cannot be split into parts: inputs and outcomes moved together.",
                "estimate",
                True,
            ),
            *base.findings,
        ),
        row_tables={
            **base.row_tables,
            "predictions": of_rows(**{f"proba_{c}": np.full(4_000, 0.25) for c in "abcd"}),
        },
    )


def wide(columns: int = 200) -> AuditResult:
    """Many columns and many windows."""
    base = binary()
    names = [f"sensor_{i:03d}_mean_of_the_last_seven_days" for i in range(columns)]
    return replace(
        base,
        data=tuple(
            ColumnNote(
                n, "number", "feature", 0.1, 0.2, 1000, 900, ("missing more often in LIVE",) if i % 3 else ()
            )
            for i, n in enumerate(names)
        ),
        shift=replace(
            base.shift,
            features=tuple(
                FeatureShift(n, 0.6 / (1 + i), min(1.0, 1e-9 * (1 + i) ** 4)) for i, n in enumerate(names)
            ),
        ),
        weights=replace(
            base.weights,
            balance=tuple(Balance(n, 0.8 / (1 + i), 0.05 / (1 + i)) for i, n in enumerate(names)),
        )
        if base.weights
        else None,
        windows=tuple(
            Window(str(500 * i), str(500 * i + 499), 500, tuple(replace(p) for p in base.performance))
            for i in range(10 * columns)
        ),
        attribution=Attribution("accuracy", -0.04, tuple(Part(n, -0.0002, -0.0004, 0.0) for n in names), 0.0),
        findings=tuple(
            Finding("missing-rate", "warning", f"{n}: missing more often in LIVE (20%) than in TRAIN (10%).")
            for n in names
        ),
    )


def hostile() -> AuditResult:
    """Names and texts that try to leave their place."""
    base = binary()
    return replace(
        base,
        data=tuple(ColumnNote(n, "category", "feature", 0.0, 0.0, 2, 2, (n,)) for n in HOSTILE),
        shift=replace(base.shift, features=tuple(FeatureShift(n, 0.2, 0.01) for n in HOSTILE)),
        weights=replace(base.weights, method=HOSTILE[0], balance=tuple(Balance(n, 0.2, 0.1) for n in HOSTILE))
        if base.weights
        else None,
        performance=tuple(replace(p, metric=n, method=n) for p, n in zip(base.performance, HOSTILE)),
        windows=tuple(
            Window(n, n, 10, (Performance(HOSTILE[0], 0.8, 0.7, 0.6, 0.8, n, 0.7),)) for n in HOSTILE
        ),
        attribution=Attribution(HOSTILE[0], -0.1, tuple(Part(n, -0.01, -0.02, 0.0) for n in HOSTILE), 0.0),
        advice=tuple(Advice(n, n) for n in HOSTILE),
        findings=tuple(Finding(n, "warning", n) for n in HOSTILE),
    )


VARIANTS: dict[str, Callable[[], AuditResult]] = {
    f.__name__: f
    for f in (
        binary,
        labels_arrived,
        regression_windows,
        inconclusive,
        nothing_measured,
        no_shift,
        multiclass,
        wide,
        hostile,
    )
}
