"""Where a long audit leaves what it has: the rows' columns, and sums from which it can go on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
import polars as pl

from steelyard.auditing.streaming.source import Part
from steelyard.auditing.streaming.totals import Totals
from steelyard.errors import InputError

T = TypeVar("T", bound=Totals)

TABLES = "tables"
"""Directory, in that of the spool, of the tables that had to be written anew to be read in parts."""

# Sums are written so seldom that it takes at most this share of the time.
_MOST_OF_TIME = 0.03


class Spool:
    """A directory with one Parquet file a part, and the sums up to a part.

    Parameters
    ----------
    directory : Path
        Made if absent.
    identity : mapping
        What the sums follow from, as plain values: an audit goes on only where all of it is the same.
    resume : bool
        Go on where an audit was interrupted; otherwise what is there is removed.

    Raises
    ------
    InputError
        If it cannot go on: something else was audited there, or what is there is damaged.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._next = 0.0
        plain = json.loads(json.dumps(identity))
        known = directory / "identity.json"
        if resume and known.exists():
            self._check(_loaded(known), plain)
            return
        for path in directory.iterdir():
            if _is_ours(path):
                path.unlink()
        _write(known, plain)

    def _check(self, before: Any, now: Mapping[str, Any]) -> None:
        changed = sorted(
            key for key in {*now, *before} if not isinstance(before, dict) or before.get(key) != now.get(key)
        )
        if changed:
            raise InputError(
                f"cannot resume in '{self.directory}': {', '.join(changed)} changed since; give what was "
                "given before, or leave out --resume to begin anew"
            )

    def resumed(self, side: str, kind: type[T]) -> tuple[int, T | None]:
        """Return how many parts of a side are done, and their sums."""
        path = self.directory / f"{side}.json"
        if not path.exists():
            return 0, None
        plain = _loaded(path)
        try:
            done, totals = plain["parts"], kind.from_dict(plain["totals"])
        except (KeyError, TypeError, InputError) as error:
            raise InputError(
                f"cannot resume: '{path}' is damaged ({error}); leave out --resume to begin anew"
            ) from error
        lacking = [k for k in range(done) if not self._file(side, k).exists()]
        if lacking:
            raise InputError(
                f"cannot resume: '{self._file(side, lacking[0])}' is gone; leave out --resume to begin anew"
            )
        return done, totals

    def keep(self, side: str, part: Part, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the columns of a part's rows, behind their numbers."""
        series = {
            name: pl.Series(values.tolist() if values.dtype == object else values, strict=False)
            for name, values in columns.items()
        }
        frame = pl.DataFrame({"row": part.index, **series})
        path = self._file(side, part.number)
        frame.write_parquet(path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def checkpoint(self, side: str, done: int, totals: Totals, *, last: bool = False) -> None:
        """Write the sums over the first parts, unless that was done a moment ago."""
        started = time.monotonic()
        if started < self._next and not last:
            return
        _write(self.directory / f"{side}.json", {"parts": done, "totals": totals.to_dict()})
        ended = time.monotonic()
        self._next = ended + (ended - started) / _MOST_OF_TIME

    def table(self, side: str, parts: int) -> pl.LazyFrame:
        """Return the rows' columns of all parts, to be read in a stream."""
        return pl.scan_parquet([self._file(side, k) for k in range(parts)], glob=False)

    def _file(self, side: str, number: int) -> Path:
        return self.directory / f"{side}-{number:06d}.parquet"


class Temporary:
    """A directory that is removed when nothing refers to this object any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="steelyard-"))
        self._removed = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def begun(directory: Path) -> bool:
    """Whether some part is done, from which an audit could go on."""
    return any((directory / f"{side}.json").exists() for side in ("live", "train"))


def remove(directory: Path) -> None:
    """Remove what a spool wrote, and the directory if nothing else is in it."""
    if not directory.is_dir():
        return
    shutil.rmtree(directory / TABLES, ignore_errors=True)
    for path in directory.iterdir():
        if _is_ours(path):
            path.unlink()
    if not any(directory.iterdir()):
        directory.rmdir()


def _is_ours(path: Path) -> bool:
    if path.suffix == ".json" or path.name.endswith(".json.new"):
        return path.stem.split(".")[0] in ("identity", "train", "live")
    side, _, number = path.stem.partition("-")
    return path.suffix in (".parquet", ".part") and side in ("train", "live") and number.isdecimal()


def _write(path: Path, plain: Any) -> None:
    """Replace a file, whole or not at all."""
    new = path.with_suffix(".json.new")
    with new.open("w", encoding="utf-8") as file:
        # Unlike dump, dumps encodes in compiled code.
        file.write(json.dumps(plain, allow_nan=False))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _loaded(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot resume: '{path}' is damaged ({error}); leave out --resume to begin anew"
        ) from error


def normalised_weights(table: pl.LazyFrame, log_mean: float) -> pl.LazyFrame:
    """Return the weights of rows, of mean one, from their log weights; null for rows that were left out."""
    weight = (pl.col("log_weight") - log_mean).exp().fill_nan(None)
    return table.select("row", weight.alias("weight"))
