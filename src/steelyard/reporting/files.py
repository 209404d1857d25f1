"""The files of a report: seen to be writable before the work, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.reporting.rendering import render_html

FILES = ("report.html", "audit.json", "weights.parquet", "predictions.parquet")
"""What a report may hold, and so what a new one replaces."""


def save_report(audit: Mapping[str, Any], tables: Mapping[str, pl.LazyFrame], directory: Path) -> Path:
    """Write the page, ``audit.json`` and the tables of an audit, all of them or none.

    They are written and flushed to disk in a hidden directory first, then moved
    into place; if that fails, the files that were there before are put back.
    Tables that an earlier report left there, and this one lacks, are removed.

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
    ...     "data": [], "weights": None, "windows": [], "attribution": None, "prediction": None,
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
    contents = dict(_contents(audit))
    # Inside the directory where there is one, so that the moves stay on one file system
    # even if it is a mount of its own.
    exists = directory.is_dir()
    with _made_parents(directory.parent):
        staging = Path(tempfile.mkdtemp(prefix=".steelyard-", dir=directory if exists else directory.parent))
        try:
            new = staging / "new"
            new.mkdir()
            for name, content in contents.items():
                _write(new / name, content)
            for name, table in tables.items():
                _sink(new / f"{name}.parquet", table)
            _flush_directory(new)
            if exists:
                _replace_files(new, directory, staging)
            else:
                new.replace(directory)
            _flush_directory(directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
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
        table.sink_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise OSError(None, str(error).splitlines()[0], str(path)) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_directory(path: Path) -> None:
    if os.name != "posix":  # elsewhere a directory cannot be opened for this
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace_files(new: Path, directory: Path, staging: Path) -> None:
    """Exchange the report's files in a directory for the new ones; on failure put the old ones back."""
    old = staging / "old"
    old.mkdir()
    put_aside: list[str] = []
    put_in: list[str] = []
    try:
        for name in sorted({*FILES, *(path.name for path in new.iterdir())}):
            if (directory / name).exists():
                (directory / name).replace(old / name)
                put_aside.append(name)
        for path in sorted(new.iterdir()):
            path.replace(directory / path.name)
            put_in.append(path.name)
    except BaseException:
        for name in put_in:
            (directory / name).unlink()
        for name in put_aside:
            (old / name).replace(directory / name)
        raise


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


def place_faults(directory: Path, json_file: Path | None = None) -> list[str]:
    """Say why a report directory or a JSON file cannot be written; empty if they can.

    Parameters
    ----------
    directory : Path
        Where the report goes; it and the directories above it may be absent.
    json_file : Path, optional
        Its directory must be there.

    Returns
    -------
    list of str
        One sentence a fault. The places are tried by making a directory and removing it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> place_faults(Path(mkdtemp()) / "report")
    []
    """
    faults = []
    if directory.exists() and not directory.is_dir():
        faults.append(f"--out '{directory}' is a file; name a directory")
    else:
        faults += _unwritable(directory, f"--out '{directory}'")
    if json_file is None:
        return faults
    if json_file.is_dir():
        faults.append(f"--json '{json_file}' is a directory; name a file")
    elif not json_file.parent.is_dir():
        faults.append(f"--json '{json_file}': there is no directory '{json_file.parent}'; make it first")
    else:
        faults += _unwritable(json_file.parent, f"--json '{json_file}'")
    return faults


def _unwritable(directory: Path, what: str) -> list[str]:
    """Try the directory, or the nearest one that exists above it."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    if not directory.is_dir():
        return [f"{what}: '{directory}' is a file, so no directory can be made in it; choose another place"]
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".steelyard-", dir=directory))
    except OSError as error:
        return [f"{what} cannot be written: {error.strerror} in '{directory}'; choose another place"]
    return []


@contextlib.contextmanager
def whole_file(path: Path, text: str) -> Iterator[None]:
    """Write a file beside its place, and move it there if the body succeeds.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; a result is an ordinary file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        yield
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
