"""From whatever names a table to its parts, or at least the number of its rows."""

from __future__ import annotations

import errno
import glob
import os
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.auditing.parts.source import PART_ROWS, Files, Frame, Source, is_parquet, system_number
from steelyard.auditing.parts.spool import new_table
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.sources import is_dask, joined, load, scan_files
from steelyard.errors import InputError

_RANDOM_ACCESS = {".parquet", ".pq", ".arrow", ".feather", ".ipc"}


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

        def counted(scan: pl.LazyFrame) -> pl.LazyFrame:
            counts.append(scan.select(pl.len()).collect().item())
            return scan

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
) -> Source | None:
    """Return a table in parts.

    Parameters
    ----------
    source : path, glob, Source or data frame
        Of Parquet and Arrow files any part can be read; CSV and NDJSON files are first written
        anew as Parquet under ``scratch``, in a stream.
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

        return open_dask(source, side, faults, part_rows=part_rows)
    if not isinstance(source, (str, Path)):
        frame = load(source, side, faults, dialect)
        return None if frame is None else Frame(frame, part_rows)
    paths: list[str] = []
    sizes: list[int] = []
    # What is opened next, known to ``settle`` by its turn alone: the files come in sorted order.
    names = _named(source)

    def settled(scan: pl.LazyFrame) -> pl.LazyFrame:
        name = names[len(paths)]
        if name.suffix.lower() not in _RANDOM_ACCESS or not _sliceable(name):
            rewritten = new_table(scratch, f"{side.lower()}-{len(paths):05d}.parquet")
            _rewrite(scan, rewritten)
            name = rewritten
            scan = pl.scan_parquet(name, glob=False)
        sizes.append(scan.select(pl.len()).collect().item())
        # Whoever reads a part may stand in another directory.
        paths.append(str(name.absolute()))
        return scan

    scans = scan_files(source, side, faults, settle=settled, dialect=dialect)
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
    return Files(tuple(paths), tuple(sizes), tuple(types), part_rows, tuple(map(str, names)), dict(types))


def _rewrite(scan: pl.LazyFrame, path: Path) -> None:
    """Write a table as Parquet; an InputError says so if the disk is at fault, not the table."""
    try:
        scan.sink_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        number = system_number(error)
        if number not in _DISK:
            raise
        path.unlink(missing_ok=True)
        raise InputError(
            f"cannot write '{path}': {os.strerror(number)}; CSV and NDJSON files are written anew "
            "to be read in parts: free space, choose another place (--out), or give Parquet files"
        ) from error


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def _named(source: str | Path) -> list[Path]:
    if Path(source).exists():
        return [Path(source)]
    return [Path(name) for name in sorted(glob.glob(str(source), recursive=True)) if Path(name).is_file()]


def _sliceable(path: Path) -> bool:
    """Whether an Arrow file is of the format that allows to begin anywhere."""
    if is_parquet(path):
        return True
    with path.open("rb") as handle:
        return handle.read(6) == b"ARROW1"
