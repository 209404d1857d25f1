"""The columns of both tables: each is judged and noted, and what stays is encoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.aligned import Aligned
from steelyard.auditing.reading.categories import category_order, counts, encode
from steelyard.auditing.reading.columns import align
from steelyard.auditing.reading.dialect import Dialect
from steelyard.auditing.reading.names import series_of
from steelyard.auditing.reading.notes import noted, profiled, some_columns
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.reading.triage import Verdict, judge_column, unusable
from steelyard.auditing.result import ColumnNote, Finding
from steelyard.auditing.tables import Feature


@dataclass(frozen=True)
class Roles:
    """The columns that are no features, by what they are."""

    target: str
    outputs: tuple[str, ...]
    time: str | None
    exclude: tuple[str, ...]
    label_column: str | None


@dataclass
class Columns:
    """The columns while they are being judged, and what has been found of them so far.

    What is wrong is appended to ``faults``, and what there is to say to ``findings``.
    """

    frame: pl.DataFrame
    frame_live: pl.DataFrame
    roles: Roles
    dialect: Dialect
    faults: list[str]
    findings: list[Finding]
    judged: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    profiles: tuple[dict[str, ColumnProfile], dict[str, ColumnProfile]] = field(
        default_factory=lambda: ({}, {})
    )
    notes: list[ColumnNote] = field(default_factory=list)

    def encode(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[Feature, ...]]:
        """Judge every column, note it, and encode those that stay."""
        columns, columns_live, features = [], [], []
        for name in self.frame.columns:
            role = self._role(name)
            if role != "feature":
                self._note(name, role)
            elif name not in self.frame_live.columns:
                self._judge_lacking(name)
            else:
                aligned = self._align(name, series_of(self.frame_live, name))
                verdict = self._judge(name, aligned)
                if verdict is None or verdict.dropped:
                    continue
                feature, x, x_live = _encode(name, aligned)
                features.append(feature)
                columns.append(x)
                columns_live.append(x_live)
        self._tell_extra_columns()
        if not features and not self.faults:
            self.faults.append(
                "no column is left to compare: all are constant, identifiers or excluded; give more columns"
            )
        stack = [np.column_stack(c) if c else np.empty((0, 0)) for c in (columns, columns_live)]
        return stack[0], stack[1], tuple(features)

    def _align(self, name: str, other: pl.Series) -> Aligned:
        as_names = name in self.dialect.categorical
        return align(name, series_of(self.frame, name), other, self.dialect, as_names=as_names)

    def _role(self, name: str) -> Literal["feature", "target", "output", "time", "dropped"]:
        if name == self.roles.target:
            return "target"
        if name in self.roles.outputs:
            return "output"
        if name == self.roles.time:
            return "time"
        return "dropped" if name in self.roles.exclude or name == self.roles.label_column else "feature"

    def _judge_lacking(self, name: str) -> None:
        """Judge a column that LIVE lacks: no harm if it would have been left out anyway."""
        alone = self._align(name, series_of(self.frame, name))
        if alone.fault is None and alone.kind != "absent":
            profile = profiled(alone.kind, alone.train)
            verdict = judge_column(name, profile, profile, kind=alone.kind)
            if verdict.dropped:
                self.notes.append(noted(name, verdict, profile, None, "dropped"))
                return
        self.faults.append(
            f"column '{name}' of TRAIN is missing in LIVE; add it, or exclude it if the model does not use it"
        )

    def _judge(self, name: str, aligned: Aligned) -> Verdict | None:
        if aligned.fault is not None:
            self.faults.append(aligned.fault)
            return None
        if aligned.kind == "absent":
            text = f"Column '{name}' has no value in either table: left out."
            empty = Finding("empty-column", "info", text)
            self.findings.append(empty)
            self.judged[name] = (empty,)
            self.notes.append(ColumnNote(name, "absent", "dropped", 1.0, 1.0, 0, 0, ("empty",)))
            return None
        profile, live = profiled(aligned.kind, aligned.train), profiled(aligned.kind, aligned.live)
        for side, one in (("TRAIN", profile), ("LIVE", live)):
            fault = unusable(name, side, one)
            if fault is not None:
                self.faults.append(fault)
        verdict = judge_column(name, profile, live, kind=aligned.kind)
        self.findings += aligned.findings
        self.judged[name] = verdict.findings
        if not verdict.dropped:
            self.profiles[0][name], self.profiles[1][name] = profile, live
        if verdict.dropped:
            self.findings += verdict.findings
        role: Literal["feature", "dropped"] = "dropped" if verdict.dropped else "feature"
        self.notes.append(noted(name, verdict, profile, live, role, aligned.issues))
        return verdict

    def _note(self, name: str, role: Literal["feature", "target", "output", "time", "dropped"]) -> None:
        sides = [
            series_of(frame, name) if name in frame.columns else None
            for frame in (self.frame, self.frame_live)
        ]
        if name == self.roles.target and self.roles.label_column != name:
            sides[1] = None
        first = next(side for side in sides if side is not None)
        kind: Literal["number", "category", "date"] = (
            "number" if first.dtype.is_numeric() else "date" if first.dtype.is_temporal() else "category"
        )
        missing = [None if s is None else s.null_count() / max(s.len(), 1) for s in sides]
        distinct = [None if s is None else s.drop_nulls().n_unique() for s in sides]
        issues: tuple[str, ...] = ()
        if name in self.roles.exclude:
            issues = ("excluded",)
        elif role == "dropped":
            issues = ("labels",) if name == self.roles.label_column else ("missing in TRAIN",)
        self.notes.append(
            ColumnNote(name, kind, role, missing[0], missing[1], distinct[0], distinct[1], issues)
        )

    def _tell_extra_columns(self) -> None:
        known = {
            *self.frame.columns,
            self.roles.target,
            self.roles.label_column,
            *self.roles.exclude,
            self.roles.time,
        }
        extra = [name for name in self.frame_live.columns if name not in known]
        for name in extra:
            self._note(name, "dropped")
        if (
            self.roles.time is not None
            and self.roles.time in self.frame_live.columns
            and self.roles.time not in self.frame.columns
        ):
            self._note(self.roles.time, "time")
        if extra:
            text = f"LIVE has columns that TRAIN lacks ({some_columns(extra)}): left out."
            self.findings.append(Finding("extra-column", "info", text))


def _encode(name: str, aligned: Aligned) -> tuple[Feature, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if aligned.kind != "category":
        x, x_live = (s.fill_nan(None).to_numpy().astype(np.float64) for s in (aligned.train, aligned.live))
        return Feature(name, kind=aligned.kind, written=aligned.written), x, x_live
    categories = category_order(counts(aligned.train), counts(aligned.live))
    feature = Feature(name, categories, "category", aligned.written)
    return feature, encode(aligned.train, categories), encode(aligned.live, categories)
