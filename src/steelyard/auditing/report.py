"""The report: one page that shows an audit, and the four files that keep it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from steelyard.auditing.reporting import figures, page, wording
from steelyard.auditing.result import AuditResult

FILES = ("report.html", "audit.json", "weights.parquet", "predictions.parquet")


def render_html(audit: Mapping[str, Any]) -> str:
    """Render the report as one self-contained page.

    Parameters
    ----------
    audit : mapping
        The content of ``audit.json``, as from :meth:`AuditResult.to_dict`.

    Returns
    -------
    str
        HTML without scripts and without references to anything outside it;
        under 2 MB whatever the audit holds.

    Notes
    -----
    Time and memory do not grow with the data, but for one pass over the lists
    of the audit.
    """
    return _environment().get_template("report.html.j2").render(page.view(audit))


def save(result: AuditResult, directory: Path) -> Path:
    """Write the four files of an audit, all of them or none.

    They are written and flushed to disk in a hidden directory first, then moved
    into place; if that fails, the files that were there before are put back.
    A table that the audit does not have (no weights, no predictions) has no file.

    Parameters
    ----------
    result : AuditResult
        The audit.
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
    """
    directory = directory.absolute()
    contents = dict(_contents(result))
    tables = result.row_tables
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


def _contents(result: AuditResult) -> Iterator[tuple[str, bytes]]:
    audit = result.to_dict()
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
    """Exchange the audit's files in a directory for the new ones; on failure put the old ones back."""
    old = staging / "old"
    old.mkdir()
    put_aside: list[str] = []
    put_in: list[str] = []
    try:
        for name in FILES:
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


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("steelyard.auditing.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=page.number,
        name=page.name,
        percent=wording.percent,
        p=wording.p_value,
        pvalue=lambda p: wording.p_value(p).removeprefix("p = ").removeprefix("p "),
        capital=wording.title,
        metric=lambda key: wording.title(wording.metric_name(key)),
        metric_inline=wording.metric_name,
        short=wording.short,
        sentence=wording.sentence,
        severity=lambda key: wording.SEVERITIES[key],
    )
    environment.globals.update(axis=figures.axis)
    return environment
