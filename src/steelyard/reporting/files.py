"""The files of a report: written whole or not at all, whenever the writing ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.errors import InputError
from steelyard.reporting.marks import PARQUET_MARK, written_here
from steelyard.reporting.rendering import render_html
from steelyard.reporting.scratch import flush_directory, held, left_over, scratch
from steelyard.reporting.words import short

FILES = ("weights.parquet", "predictions.parquet", "report.html", "audit.json")
"""What a report may hold, and so what a new one replaces; the last stands only where all belong together."""

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def save_report(audit: Mapping[str, Any], tables: Mapping[str, pl.LazyFrame], directory: Path) -> Path:
    """Write the page, ``audit.json`` and the tables of an audit, all of them or none.

    They are written and flushed to disk in a hidden directory first. A new
    directory is moved into place at once. In one that is there, ``audit.json``
    goes first and comes last, so that where it stands all files are of one
    report; if that fails, the files that were there before are put back, by the
    next run if this one is killed (`mend_report`). Tables that an earlier report
    left there, and this one lacks, are removed.

    Parameters
    ----------
    audit : mapping
        The content of ``audit.json``.
    tables : mapping of str to LazyFrame
        Written as Parquet under their names, in a stream: ``"weights"`` and
        ``"predictions"``, where there are any.
    directory : Path
        Made if absent. Other files in it are left alone.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        A file that steelyard did not write, a directory, a link or a device is in the way.
    OSError
        The directory cannot be written, or the disk is full.

    Notes
    -----
    Time grows linearly in the rows of the tables, memory does not.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import polars as pl
    >>> from steelyard.reporting import save_report
    >>> audit = {
    ...     "schema_version": "2", "steelyard_version": "0.1", "seed": 0, "rows": {"train": 900, "live": 400},
    ...     "data": [], "weights": None, "windows": [], "relation": None, "attribution": None,
    ...     "prediction": None,
    ...     "advice": [], "findings": [], "seconds": {}, "performance": [],
    ...     "shift": {"kind": "none", "auc": {"value": 0.503, "low": 0.491, "high": 0.515}, "p_value": 0.41,
    ...               "detectable_auc": 0.54, "features": [], "readings": []},
    ... }
    >>> weights = pl.LazyFrame({"row": [0, 1], "weight": [0.5, 1.5]})
    >>> where = save_report(audit, {"weights": weights}, Path(mkdtemp()))
    >>> sorted(path.name for path in where.iterdir())
    ['audit.json', 'report.html', 'weights.parquet']
    """
    directory = directory.absolute()
    faults = foreign_files(directory)
    if faults:
        raise InputError(faults)
    mend_report(directory)
    # Inside the directory where there is one, so that the moves stay on one file system
    # even if it is a mount of its own.
    exists = directory.is_dir()
    with (
        _made_parents(directory.parent),
        scratch(directory if exists else directory.parent, directory.name) as staging,
    ):
        new = staging / "new"
        new.mkdir()
        for name, content in _contents(audit):
            _write(new / name, content)
        for name, table in tables.items():
            _sink(new / f"{name}.parquet", table)
        flush_directory(new)
        if exists:
            with held(directory):
                _exchange(staging, directory)
        else:
            new.replace(directory)
        flush_directory(directory)
    return directory


def _contents(audit: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    yield "report.html", render_html(audit).encode()
    yield "audit.json", (json.dumps(audit, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sink(path: Path, table: pl.LazyFrame) -> None:
    """Write rows that lie in files, without holding them."""
    try:
        table.sink_parquet(path, metadata=PARQUET_MARK)
    except pl.exceptions.PolarsError as error:
        raise OSError(None, str(error).splitlines()[0], str(path)) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def foreign_files(directory: Path) -> list[str]:
    """Say what stands where a report's files go and was not written by steelyard, a sentence each."""
    taken = [directory / name for name in FILES if os.path.lexists(directory / name)]
    return [
        f"'{short(path, 300)}' is there, and is {what_else(path)}; move it, or choose another place (--out)"
        for path in taken
        if not written_here(path)
    ]


def what_else(path: Path) -> str:
    """Say what a path is that is no file of steelyard's."""
    mode = os.lstat(path).st_mode
    if stat.S_ISREG(mode):
        return "no file that steelyard has written"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a link" if stat.S_ISLNK(mode) else "a device, pipe or socket"


def _exchange(staging: Path, directory: Path) -> None:
    """Put the new files in the old ones' place; on failure put those back.

    The state can be told from the directories alone, so that another process can mend what this one leaves.
    """
    faults = foreign_files(directory)  # writing takes long enough for something to come in between
    if faults:
        raise InputError(faults)
    old, new, coming = staging / "old", staging / "new", staging / "coming"
    old.mkdir()
    try:
        for name in reversed(FILES):
            if os.path.lexists(directory / name):
                (directory / name).replace(old / name)
        # From here on, what stands in the directory is new.
        new.replace(coming)
        for name in FILES:
            if (coming / name).exists():
                (coming / name).replace(directory / name)
    finally:
        _mend(staging, directory)


def mend_report(directory: Path) -> None:
    """Put right what a process left that was killed while it wrote a report.

    Parameters
    ----------
    directory : Path
        Holds the earlier report or the new one afterwards, whole; it may be absent.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> mend_report(Path(mkdtemp()))
    """
    directory = directory.absolute()
    for staging in left_over(directory):
        _mend(staging, directory)
    for _ in left_over(directory.parent, directory.name):
        pass  # it never got as far as its place


def _mend(staging: Path, directory: Path) -> None:
    """Put the old files back, unless the last of the new ones is in place.

    Killed in turn, it goes on where it was: each step leaves a state that the next run tells rightly.
    """
    old, coming, gone = staging / "old", staging / "coming", staging / "gone"
    if coming.is_dir():
        if not (coming / FILES[-1]).exists():
            if old.is_dir():
                old.replace(gone)  # all is done; what is cleared up next must not look like less
            return
        for name in FILES:
            waits = os.path.lexists(coming / name) or os.path.lexists(old / name)
            if not waits and written_here(directory / name):
                (directory / name).unlink()
        coming.replace(gone)
    for name in FILES:
        # What somebody has put there since is left alone.
        free = not os.path.lexists(directory / name) or written_here(directory / name)
        if os.path.lexists(old / name) and free:
            (old / name).replace(directory / name)


@contextlib.contextmanager
def _made_parents(parent: Path) -> Iterator[None]:
    """Make the missing directories above, and remove them again if the body fails."""
    missing = [p for p in (parent, *parent.parents) if not p.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def whole_file(path: Path, text: str) -> Iterator[None]:
    """Write a file beside its place, and move it there if the body succeeds.

    Parameters
    ----------
    path : Path
        A regular file there is replaced, also behind a link; a device or a pipe is written to, after
        the body.
    text : str
        Its content; a line end is added.

    Raises
    ------
    OSError
        The file cannot be written; nothing is left behind.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> place = Path(mkdtemp()) / "audit.json"
    >>> with whole_file(place, "{}"):
    ...     place.exists()
    False
    >>> place.read_text()
    '{}\\n'
    """
    content = (text + "\n").encode()
    if descriptor(path) is not None or (path.exists() and not path.is_file()):
        yield
        _pour(path, content)
        return
    place = path.resolve()
    with scratch(place.parent, place.name) as staging:
        _write(staging / "file", content)
        yield
        (staging / "file").replace(place)


def descriptor(path: Path) -> int | None:
    """Return the number of the open file that a path such as ``/dev/stdout`` stands for, or None."""
    name = os.path.abspath(path)
    found = _DESCRIPTOR.fullmatch(name)
    return int(found[1]) if found else _STREAMS.get(name)


def _pour(path: Path, content: bytes) -> None:
    """Write to a device, a pipe or an open file as it stands: nothing is made or cut short."""
    number = descriptor(path)
    try:
        # By its number, what is written follows what was: opened anew, a file would be written over.
        handle = os.dup(number) if number is not None else os.open(path, os.O_WRONLY)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
