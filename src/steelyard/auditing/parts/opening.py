"""From whatever names a table to its parts, or at least the number of its rows."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.auditing.parts.source import PART_ROWS, Files, Frame, Source, system_number
from steelyard.auditing.parts.spool import new_table
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.places import kind_of
from steelyard.auditing.reading.sources import (
    FULL_DISK,
    Opened,
    is_arrow_file,
    is_dask,
    joined,
    load,
    scan_files,
)
from steelyard.auditing.reading.tidy import Tidy
from steelyard.errors import InputError


def count_rows(source: Any) -> int | None:
    """Return how many rows a table has, at little cost; None where only reading it can tell.

    Parameters
    ----------
    source : path, glob, Source or data frame
        The partitions of a Dask DataFrame are computed for it.
    """
    if isinstance(source, (str, Path)):
        faults: list[str] = []
        counts: list[int] = []

        def counted(opened: Opened) -> pl.LazyFrame:
            counts.append(_rows(opened.scan))
            # What was unpacked is gone afterwards.
            return pl.LazyFrame(schema=opened.scan.collect_schema())

        return sum(counts) if scan_files(source, "", faults, settle=counted) is not None else None
    if hasattr(source, "parts") and hasattr(source, "read"):
        return int(source.rows)
    if is_dask(source):
        from steelyard.auditing.parts.dask_source import count_dask

        return count_dask(source)
    try:
        return len(source)
    except TypeError:
        return None


def open_source(
    source: Any,
    side: str,
    faults: list[str],
    *,
    scratch: Path,
    part_rows: int | None = None,
    dialect: Dialect = PLAIN,
    named: Collection[str] = (),
    indexes: list[str] | None = None,
) -> Source | None:
    """Return a table in parts.

    Parameters
    ----------
    source : path, directory, glob, Source or data frame
        Of Parquet and Arrow files any part can be read; CSV, NDJSON and compressed files are first
        written anew as Parquet under ``scratch``, in a stream.
    side : str
        What to call the table in a message.
    faults : list of str
        Whatever is wrong is appended here.
    scratch : Path
        Directory for those files.
    part_rows : int, optional
        `PART_ROWS` by default.
    dialect : Dialect
        How the caller says that values are to be read.
    named : collection of str
        Columns that are kept even if a file calls them an index.
    indexes : list of str, optional
        Columns that are left out as an index are appended here.

    Returns
    -------
    Source or None
        None if a fault was found.
    """
    part_rows = part_rows or PART_ROWS
    if hasattr(source, "parts") and hasattr(source, "read"):
        return source  # type: ignore[no-any-return]
    if is_dask(source):
        from steelyard.auditing.parts.dask_source import open_dask

        return open_dask(source, side, faults, part_rows=part_rows, dialect=dialect)
    if not isinstance(source, (str, Path)):
        frame = load(source, side, faults, dialect)
        return None if frame is None else Frame(frame, part_rows)
    paths: list[str] = []
    sizes: list[int] = []
    names: list[str] = []
    tidied: list[Tidy] = []

    def settled(opened: Opened) -> pl.LazyFrame:
        path, tidy, scan = opened.path, opened.tidy, opened.scan
        if not _sliceable(opened):
            path, tidy = new_table(scratch, f"{side.lower()}-{len(paths):05d}.parquet"), Tidy()
            _rewrite(scan, path)
            scan = pl.scan_parquet(path, glob=False)
        sizes.append(_rows(scan))
        # Whoever reads a part may stand in another directory.
        paths.append(str(path.absolute()))
        names.append(str(opened.place.path))
        tidied.append(tidy)
        return scan

    scans = scan_files(
        source,
        side,
        faults,
        settle=settled,
        dialect=dialect,
        named=named,
        indexes=indexes,
        scratch=scratch,
    )
    if scans is None:
        return None
    if not sum(sizes):
        faults.append(f"{side}: '{source}' has no rows; give a table with a header and rows")
        return None
    together = joined(scans, source, side, faults)
    if together is None:
        return None
    # A part is read as the whole table would be: one file's numbers may be another's texts.
    types = together.collect_schema()
    return Files(
        tuple(paths), tuple(sizes), tuple(types), part_rows, tuple(names), dict(types), tuple(tidied)
    )


def _rows(scan: pl.LazyFrame) -> int:
    return int(scan.select(pl.len()).collect().item())


def _sliceable(opened: Opened) -> bool:
    """Whether reading can begin at any row of a file that will still be there."""
    if opened.path != opened.place.path:
        return False
    kind = kind_of(opened.path)
    return kind == "Parquet" or (kind == "Arrow" and is_arrow_file(opened.path))


def _rewrite(scan: pl.LazyFrame, path: Path) -> None:
    """Write a table as Parquet; an InputError says so if the disk is at fault, not the table."""
    try:
        scan.sink_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        number = system_number(error)
        if number not in FULL_DISK:
            raise
        path.unlink(missing_ok=True)
        raise InputError(
            f"cannot write '{path}': {os.strerror(number)}; CSV and NDJSON files are written anew "
            "to be read in parts: free space, choose another place (--out), or give Parquet files"
        ) from error
