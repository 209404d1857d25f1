"""What an audit says: frozen records whose fields are the keys of ``audit.json``.

Nothing here computes. A value that was not measured is ``None``, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = "2"

ShiftKind = Literal["none", "covariate", "label", "both", "concept", "cannot tell"]
Severity = Literal["info", "warning", "error"]
Step = Literal["read", "model", "shift", "weigh", "estimate", "certify", "score"]
Trust = Literal["not used", "yes", "with care", "no"]
RelationSource = Literal["environments", "time", "record"]
ReadingName = Literal["none", "columns", "classes", "classes and columns", "target"]
AdviceKind = Literal[
    "mend data",
    "label",
    "wait",
    "use labels",
    "retrain",
    "retrain weighted",
    "recalibrate",
    "keep",
    "nothing",
    "no weighting",
    "labels noisy",
]


@dataclass(frozen=True)
class Finding:
    """Something the reader should know; ``id`` is stable and can be matched by a program.

    ``step`` is where it was found. Where that step ``declines`` to answer
    because of it, the command exits with 3. A fault of the data that may explain
    how the tables differ ``explains``: it is the first thing to say, with
    ``mend``, what to do about it. ``columns`` are those it is about.
    """

    id: str
    severity: Severity
    text: str
    step: Step = "read"
    declines: bool = False
    explains: bool = False
    mend: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnNote:
    """One column of the two tables as read: its kind, its role and what is odd about it."""

    name: str
    kind: Literal["number", "category", "date", "text", "absent"]
    role: Literal["feature", "target", "output", "time", "dropped"]
    missing_train: float | None
    missing_live: float | None
    distinct_train: int | None
    distinct_live: int | None
    issues: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interval:
    """A value with its interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FeatureShift:
    """How far one column moved: ``effect`` in [0, 1] (Kolmogorov-Smirnov distance or total variation)."""

    name: str
    effect: float
    p_adjusted: float


@dataclass(frozen=True)
class ReadingSaid:
    """One explanation of the shift, and what the figures that rest on it assume."""

    name: ReadingName
    assumes: str


@dataclass(frozen=True)
class Shift:
    """Whether and how the tables differ.

    ``readings`` are the explanations that the figures rest on: two where two fit.
    """

    kind: ShiftKind
    auc: Interval
    p_value: float | None
    detectable_auc: float | None
    features: tuple[FeatureShift, ...]
    readings: tuple[ReadingSaid, ...] = ()


@dataclass(frozen=True)
class Balance:
    """Standardised mean difference of one column, before and after weighting."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class WeightReport:
    """The weights in numbers: how many rows they are worth, what they leave uncovered, and their trust."""

    method: str
    ess: float
    ess_fraction: float
    pareto_k: float | None
    max_share: float
    outside_support: float
    balance: tuple[Balance, ...]
    trust: Trust = "yes"
    trust_reason: str = ""

    @property
    def trusted(self) -> bool:
        """Whether an estimate may stand on them."""
        return self.trust != "no"


@dataclass(frozen=True)
class Performance:
    """One metric: carried over, estimated on LIVE with a 95% interval, and measured if labels came.

    ``low`` and ``high`` hold if the relation of target and columns does; ``drift_low``
    and ``drift_high`` allow for it to move, as ``relation`` says. ``worth_labels``
    is how many labels drawn at random would make an interval as narrow as the latter.
    """

    metric: str
    naive: float | None
    live_estimate: float | None
    low: float | None
    high: float | None
    method: str
    live_actual: float | None = None
    drift_low: float | None = None
    drift_high: float | None = None
    worth_labels: int | None = None


@dataclass(frozen=True)
class Window:
    """The estimates of one window of LIVE; ``start`` and ``end`` are dates or row numbers."""

    start: str
    end: str
    rows: int
    performance: tuple[Performance, ...]


@dataclass(frozen=True)
class Backtest:
    """One metric in one part of TRAIN, estimated from the others without its labels, and as it was."""

    environment: str
    metric: str
    estimator: str
    rows: int
    naive: float | None
    estimate: float | None
    low: float | None
    high: float | None
    actual: float | None


@dataclass(frozen=True)
class Relation:
    """How far the relation of target and columns may have moved, and what says so.

    ``source`` is what it rests on: parts of TRAIN ("environments", "time"), or, where
    none were named, how relations moved elsewhere ("record"). ``spread`` is the usual
    move of each metric, a standard deviation in its units; ``environments`` are
    those that were tested, each in ``backtest``.
    """

    source: RelationSource
    column: str | None
    spread: Mapping[str, float]
    environments: tuple[str, ...]
    backtest: tuple[Backtest, ...]


@dataclass(frozen=True)
class Part:
    """The share of the change that one group of columns accounts for."""

    name: str
    change: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Attribution:
    """Why one metric changed; the parts and ``unexplained`` add up to ``total``."""

    metric: str
    total: float | None
    parts: tuple[Part, ...]
    unexplained: float | None


@dataclass(frozen=True)
class Prediction:
    """What the prediction intervals or sets on LIVE can be trusted for.

    ``unbounded`` is the share of LIVE's rows whose interval has no end, or whose set holds every class.
    """

    alpha: float
    kind: Literal["interval", "set"]
    expected_coverage: float | None
    low: float | None
    high: float | None
    unweighted_expected_coverage: float | None
    mean_size: float | None
    live_actual_coverage: float | None = None
    unbounded: float = 0.0


@dataclass(frozen=True)
class Advice:
    """What to do, and the reason with its number; ``kind`` is for programs."""

    action: str
    why: str
    kind: AdviceKind = "nothing"


@dataclass(frozen=True)
class AuditResult:
    """The whole answer. The fields down to ``seconds`` are the keys of ``audit.json``.

    ``row_tables`` holds what there is to say of each row, as Polars lazy frames:
    ``"weights"`` (``row``, ``weight``) of TRAIN and ``"predictions"`` (``row`` and
    further columns) of LIVE. They are written as Parquet by :meth:`save`, and are
    not in the JSON. Those of tables that were read in parts lie in files that last
    as long as the result.
    """

    schema_version: str
    steelyard_version: str
    seed: int
    rows: Mapping[str, int]
    data: tuple[ColumnNote, ...]
    shift: Shift
    weights: WeightReport | None
    performance: tuple[Performance, ...]
    windows: tuple[Window, ...]
    relation: Relation | None
    attribution: Attribution | None
    prediction: Prediction | None
    advice: tuple[Advice, ...]
    findings: tuple[Finding, ...]
    seconds: Mapping[str, float]
    row_tables: Mapping[str, pl.LazyFrame] = field(default_factory=dict, repr=False, compare=False)
    keep_alive: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def row_weights(self) -> npt.NDArray[np.float64] | None:
        """The weights of TRAIN's rows, NaN for one that was left out; None if there are none."""
        table = self.row_tables.get("weights")
        return None if table is None else _column_arrays(table)["weight"]

    @cached_property
    def row_predictions(self) -> Mapping[str, npt.NDArray[Any]] | None:
        """The predictions for LIVE's rows, one array a column; None if there are none."""
        table = self.row_tables.get("predictions")
        return None if table is None else _column_arrays(table)

    @property
    def inconclusive(self) -> str | None:
        """Why the audit could not answer, or None if it could."""
        return " ".join(f.text for f in self.findings if f.declines) or None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``audit.json``: plain lists, dicts, numbers and strings."""
        skip = {"row_tables", "keep_alive"}
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in skip}

    def save(self, directory: str | Path) -> Path:
        """Write ``report.html``, ``audit.json``, ``weights.parquet`` and ``predictions.parquet``.

        The directory appears whole or not at all: files are written beside it
        and moved into place at the end.

        Parameters
        ----------
        directory : str or Path
            Made if absent; the four files in it are replaced if steelyard wrote them.

        Returns
        -------
        Path
            The directory.

        Raises
        ------
        InputError
            Something that steelyard did not write is in a file's place.
        OSError
            It cannot be written.
        """
        from steelyard.reporting import save_report

        return save_report(self.to_dict(), self.row_tables, Path(directory))

    def _repr_html_(self) -> str:
        from steelyard.reporting import render_html

        return render_html(self.to_dict())


def _plain(value: Any) -> Any:
    """Turn records, tuples and NumPy scalars into JSON's types; NaN and infinities into None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _column_arrays(table: pl.LazyFrame) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a table of rows, but for the rows' numbers; a null number becomes NaN."""
    return {column.name: column.to_numpy() for column in table.collect() if column.name != "row"}
