"""What the workers of a Dask cluster run: the function is made from its bytes and applied to a part."""

from __future__ import annotations

import dataclasses
import pickle
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sklearn
from threadpoolctl import threadpool_limits

from steelyard._version import __version__
from steelyard.auditing.parts.source import Files, Part
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.sources import load
from steelyard.errors import InputError

UNSTEADY = (
    "a partition of the Dask DataFrame has other rows each time it is computed; persist() it, or write it to "
    "Parquet"
)


@dataclasses.dataclass(frozen=True)
class Held:
    """Rows that came with the task, in the place of the table that they are from.

    They are the part itself, or, if ``partition``, the partition that it is a slice of.
    """

    frame: pl.DataFrame | None = None
    partition: bool = False

    def read(self, part: Part) -> pl.DataFrame:
        """Return the rows of one part."""
        assert self.frame is not None
        rows = self.frame.slice(part.start, part.rows) if self.partition else self.frame
        if rows.height != part.rows:
            raise InputError(UNSTEADY)
        return rows


def versions() -> dict[str, str]:
    """Return the versions on which a pickled model and its figures hang."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "steelyard": __version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "polars": pl.__version__,
    }


def unpack(sent: bytes, expected: dict[str, str]) -> Any:
    """Return the function that was sent; an InputError if this worker has other versions."""
    own = versions()
    other = [
        f"{name} {own[name]} instead of {wanted}" for name, wanted in expected.items() if own[name] != wanted
    ]
    if other:
        raise InputError(
            f"a Dask worker on {platform.node()} has {', '.join(other)}; install the same versions on every "
            "worker, or the figures could differ"
        )
    return pickle.loads(sent)


def apply(function: Callable[[Part], Any], part: Part, rows: bytes | pl.DataFrame | None = None) -> Any:
    """Return ``function(part)``, on the rows that were sent along or else on those of the files."""
    if rows is not None:
        held = Held(pickle.loads(rows)) if isinstance(rows, bytes) else Held(rows, partition=True)
        function = dataclasses.replace(function, source=held)  # type: ignore[type-var]
    try:
        with _one_thread():
            return function(part)
    except InputError as error:
        source = getattr(function, "source", None)
        if isinstance(source, Files) and not Path(source.paths[part.file]).exists():
            raise InputError(
                f"a Dask worker on {platform.node()} does not see '{source.paths[part.file]}'; every worker "
                "must find the files under the same path (CSV and NDJSON are read from the copy beside the "
                "report)"
            ) from error
        raise


def as_polars(partition: Any, dialect: Dialect = PLAIN) -> pl.DataFrame:
    """Return a partition as the audit reads a data frame."""
    faults: list[str] = []
    frame = load(partition, "a partition of the Dask DataFrame", faults, dialect)
    if frame is None:
        raise InputError(faults)
    return frame


_limits = threading.Lock()
_working = 0
_before: Any = None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep models to one thread while tasks run here, and leave the worker as it was.

    A BLAS has one limit for the process, which the first task sets and the last one
    lifts; OpenMP has one for each thread.
    """
    global _working, _before
    with _limits:
        if not _working:
            _before = threadpool_limits(limits=1, user_api="blas")
        _working += 1
    try:
        with threadpool_limits(limits=1, user_api="openmp"):
            yield
    finally:
        with _limits:
            _working -= 1
            if not _working:
                _before.unregister()
                _before = None
