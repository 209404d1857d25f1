"""A column of both tables in one kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from steelyard.auditing.reading.written import AS_IS, Written
from steelyard.auditing.result import Finding

Kind = Literal["number", "category", "date", "absent"]


@dataclass(frozen=True)
class Aligned:
    """A column of both tables in one kind.

    ``train`` and ``live`` are Float64 for numbers and dates (epoch days), String
    for categories, null where missing. ``fault`` says why that could not be done;
    ``written`` how texts were read.
    """

    kind: Kind
    train: pl.Series
    live: pl.Series
    findings: tuple[Finding, ...] = ()
    issues: tuple[str, ...] = field(default=())
    fault: str | None = None
    written: Written = AS_IS
