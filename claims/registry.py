"""What a check declares, and where the checks and the catalogue are found.

A check file declares data and never a verdict: the runner measures and judges.
A file ``claims/<room>/p<id>_<handle>.py`` has a module-level ``claim`` (one
declaration) or ``claims`` (several; the worst verdict is the row's).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent
CATALOGUE = ROOT / "catalogue.jsonl"
RESULTS = ROOT / "results.json"

Run = Callable[[int], Mapping[str, float]]
"""One repetition: a seed in, named numbers out. The same seed gives the same numbers."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The paper's method against the baseline that the paper beats, paired over seeds.

    Parameters
    ----------
    paper : int
        The catalogue number.
    question : str
        What is asked, in one line.
    metric : str
        What the numbers are, with their unit if they have one.
    run : callable
        ``run(seed)`` returns named numbers, among them ``method`` and
        ``baseline``. Comparisons that share one ``run`` share its repetitions.
    method, baseline : str
        The names of the two numbers to pair.
    smaller_is_better : bool
    seeds : sequence of int
        One independent repetition each.
    note : str
        How the check is smaller than the paper's.
    """

    paper: int
    question: str
    metric: str
    run: Run
    method: str = "method"
    baseline: str = "baseline"
    smaller_is_better: bool = True
    seeds: Sequence[int] = range(30)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Two numbers that the paper says are equal, at every seed, to a stated tolerance.

    ``run(seed)`` returns ``value`` and ``expected`` among its numbers (or the
    names given here). ``origin`` says where the tolerance comes from: rounding,
    Monte Carlo error, the paper's remainder term.
    """

    paper: int
    question: str
    metric: str
    run: Run
    tolerance: float
    origin: str
    value: str = "value"
    expected: str = "expected"
    seeds: Sequence[int] = range(1)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A number that the paper says stays below ``high`` and above ``low``.

    The mean over seeds is held against the bound, or with ``at_every_seed``
    the worst seed is. ``tolerance`` is added to either side; ``origin`` says
    where it comes from.
    """

    paper: int
    question: str
    metric: str
    run: Run
    origin: str
    value: str = "value"
    low: float | None = None
    high: float | None = None
    tolerance: float = 0.0
    at_every_seed: bool = False
    seeds: Sequence[int] = range(30)
    note: str = ""

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("A Bound needs low, high or both.")


Declaration = Comparison | Identity | Bound


@dataclass(frozen=True)
class Row:
    """One paper of the catalogue."""

    id: int
    title: str
    handle: str
    kind: str
    family: str
    size: str
    backend: str
    summary: str
    claim: str


@dataclass(frozen=True)
class CheckFile:
    """The check of one paper: its catalogue number and where it lies."""

    id: int
    path: Path

    @property
    def name(self) -> str:
        """The path relative to the repository, with forward slashes."""
        return self.path.relative_to(ROOT.parent).as_posix()

    @property
    def fingerprint(self) -> str:
        """A digest of the text, by which a result knows the check that it belongs to."""
        return hashlib.sha256(self.path.read_text(encoding="utf-8").encode()).hexdigest()[:12]

    def declarations(self) -> tuple[Declaration, ...]:
        """Import the file and return what it declares."""
        module = importlib.import_module(".".join(self.path.relative_to(ROOT.parent).with_suffix("").parts))
        found = getattr(module, "claims", None) or (module.claim,)
        for item in found:
            if item.paper != self.id:
                raise ValueError(f"{self.name} declares paper {item.paper}; the file is named for {self.id}.")
        return tuple(found)


@cache
def catalogue() -> tuple[Row, ...]:
    """Return every paper of the catalogue, in the order of their numbers."""
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    return tuple(sorted((Row(**json.loads(line)) for line in lines), key=lambda row: row.id))


def check_files(root: Path = ROOT) -> tuple[CheckFile, ...]:
    """Return the check files below ``root``, by catalogue number."""
    files: dict[int, CheckFile] = {}
    for path in sorted(root.glob("*/p*_*.py")):
        match = re.fullmatch(r"p(\d+)_(\w+)", path.stem)
        if match is None:
            continue
        number = int(match[1])
        if number in files:
            raise ValueError(f"Two check files for paper {number}: {files[number].path} and {path}.")
        files[number] = CheckFile(number, path)
    return tuple(files[number] for number in sorted(files))
