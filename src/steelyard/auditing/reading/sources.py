"""From a path or somebody's data frame to a Polars frame, with every fault said in one line."""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.auditing.reading.csv_text import bad_line, encoding_fault, layout, typed_scans
from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.auditing.reading.hive import Key, disagreement, typed_keys
from steelyard.auditing.reading.names import column, common_type, first_line, listed, only, recast
from steelyard.auditing.reading.native import from_native
from steelyard.auditing.reading.pandas_index import index_columns, written_index
from steelyard.auditing.reading.places import FORMATS, Place, find, kind_of
from steelyard.auditing.reading.tidy import Tidy
from steelyard.auditing.reading.unpack import DAMAGED, unpacked
from steelyard.errors import InputError

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What the system says where a file cannot grow, whatever is in it."""


@dataclass(frozen=True)
class Opened:
    """A file that has been opened: the table as the audit takes it.

    ``path`` holds it uncompressed, and ``tidy`` is what was done to its columns.
    """

    scan: pl.LazyFrame
    place: Place
    path: Path
    tidy: Tidy


Settle = Callable[[Opened], pl.LazyFrame]


@dataclass(frozen=True)
class Reader:
    """How files are read.

    Attributes
    ----------
    side : str
        What to call the table in a message.
    faults : list of str
        Whatever is wrong is appended here.
    settle : callable
        Reads a file as far as the caller wants it read, and returns what to go on with: whatever
        is wrong with the file should show in it.
    dialect : Dialect
        How the caller says that values are to be read.
    named : collection of str
        Columns that are kept even if the file calls them an index.
    indexes : list of str
        Columns that are left out as an index are appended here.
    scratch : Path, optional
        Where compressed files are unpacked; among the system's temporary files by default.
    """

    side: str
    faults: list[str]
    settle: Settle
    dialect: Dialect
    named: Collection[str]
    indexes: list[str]
    scratch: Path | None = None


def load(
    source: Any,
    side: str,
    faults: list[str],
    dialect: Dialect = PLAIN,
    *,
    named: Collection[str] = (),
    indexes: list[str] | None = None,
) -> pl.DataFrame | None:
    """Read one table.

    Parameters
    ----------
    source : str, Path, or a pandas, Polars, Arrow or Dask table
        A path may be a directory or a glob; its files must have the same columns.
    side : str
        What to call the table in a message, such as ``"TRAIN"``.
    faults : list of str
        Whatever is wrong is appended here.
    dialect : Dialect
        How the caller says that values are to be read.
    named : collection of str
        Columns that are kept even if a file calls them an index.
    indexes : list of str, optional
        Columns that are left out as an index are appended here.

    Returns
    -------
    DataFrame or None
        None if a fault was found.

    Notes
    -----
    Files are scanned lazily and collected once: O(rows x columns) time and memory.
    """
    if isinstance(source, (str, Path)):
        scans = scan_files(
            source,
            side,
            faults,
            settle=lambda opened: opened.scan.collect().lazy(),
            dialect=dialect,
            named=named,
            indexes=indexes,
        )
        together = None if scans is None else joined(scans, source, side, faults)
        return None if together is None else _with_rows(together.collect(), f"{side}: '{source}'", faults)
    if is_dask(source):
        source = computed(source, side)
    frame = from_native(source, side, faults)
    if frame is None or _with_rows(frame, side, faults) is None:
        return None
    return Tidy(dialect.null)(frame.lazy()).collect()


def is_dask(source: Any) -> bool:
    """Whether this is a Dask DataFrame, told without importing Dask."""
    return type(source).__module__.split(".")[0] == "dask" and hasattr(source, "to_delayed")


def computed(lazy: Any, what: str) -> Any:
    """Compute a value by the scheduler that Dask would use; an InputError says why that failed."""
    try:
        return lazy.compute()
    except Exception as error:
        # What a user's own graph raises can be anything.
        text = str(error).strip().splitlines()
        raise InputError(
            f"{what} cannot be computed: {type(error).__name__}: {text[0] if text else ''}"
        ) from error


def joined(
    scans: list[pl.LazyFrame], source: str | Path, side: str, faults: list[str]
) -> pl.LazyFrame | None:
    """Return the files of a table as one, in types that hold every file's values.

    None, and why in ``faults``, if there are no such types.
    """
    schemas = [dict(scan.collect_schema()) for scan in scans]
    types, clashing = {}, []
    for name in schemas[0]:
        found = list(dict.fromkeys(schema[name] for schema in schemas))
        if len(found) > 1:
            # A column without a value, such as that of a CSV file without rows, fits any type.
            full = [s for s, schema in zip(scans, schemas) if not _is_empty(s, name, schema[name])]
            found = list(dict.fromkeys(scan.collect_schema()[name] for scan in full)) or [pl.Null()]
        held = _type_of_all(found)
        if held is None:
            clashing.append(f"column '{name}' is of types {', '.join(map(str, found))}")
        types[name] = held
    if clashing:
        faults += [
            f"{side}: the files of '{source}' do not fit together: {what}; write it in one type"
            for what in clashing
        ]
        return None
    return pl.concat([_cast(scan, schema, types) for scan, schema in zip(scans, schemas)])


def _is_empty(scan: pl.LazyFrame, name: str, dtype: Any) -> bool:
    if dtype == pl.Null:
        return True
    return dtype == pl.String and not scan.select(column(name).is_not_null().any()).collect().item()


def _cast(scan: pl.LazyFrame, schema: dict[str, Any], types: dict[str, Any]) -> pl.LazyFrame:
    return scan if schema == types else recast(scan, types)


def _type_of_all(types: list[Any]) -> Any:
    """Return the type that holds the values of all these types; None if there is none."""
    if len(types) == 1:
        return types[0]
    # A date would become the number of its day.
    dates = {dtype.is_temporal() for dtype in types if dtype != pl.String}
    try:
        return common_type(types) if len(dates) < 2 else None
    except pl.exceptions.PolarsError:
        return None


def scan_files(
    source: str | Path,
    side: str,
    faults: list[str],
    *,
    settle: Settle,
    dialect: Dialect = PLAIN,
    named: Collection[str] = (),
    indexes: list[str] | None = None,
    scratch: Path | None = None,
) -> list[pl.LazyFrame] | None:
    """Open the files of a table, with the same columns in the same order.

    The parameters are those of `Reader`, and ``source``: a file, a directory or a glob.

    Returns
    -------
    list of LazyFrame or None
        None if a fault was found.
    """
    places, fault = find(source)
    if fault is not None:
        faults.append(f"{side}: {fault}")
        return None
    found: list[str] = []
    reader = Reader(side, faults, settle, dialect, named, found, scratch)
    scans: list[pl.LazyFrame] = []
    before = len(faults)
    for place, keys in zip(places, typed_keys(places)):
        opened = _open(place, keys, reader)
        if opened is not None:
            scans.append(opened)
    if len(faults) > before:
        return None
    if indexes is not None:
        indexes += dict.fromkeys(found)
    first = scans[0].collect_schema().names()
    for place, scan in zip(places[1:], scans[1:]):
        names = scan.collect_schema().names()
        if set(names) != set(first):
            odd = sorted(set(names) ^ set(first))
            faults.append(
                f"{side}: '{place.path}' and '{places[0].path}' have different columns ({listed(odd)}); "
                "give files of one layout"
            )
            return None
    return [only(scan, first) for scan in scans]


def _open(place: Place, keys: tuple[Key, ...], reader: Reader) -> pl.LazyFrame | None:
    """Open one file and settle it, so that whatever is wrong with it is known and said here."""
    file = place.path
    where = f"{reader.side}: '{file}'"
    kind = kind_of(file)
    if kind is None:
        reader.faults.append(f"{where} is not of a known format; give {FORMATS}")
        return None
    try:
        with file.open("rb") as handle:
            empty = not handle.read(1 << 10).strip() and not handle.read().strip()
    except OSError as error:
        reader.faults.append(
            f"{where} cannot be read ({error.strerror or error}); check the file and its permissions"
        )
        return None
    if empty:
        reader.faults.append(f"{where} is empty; give a table with a header and rows")
        return None
    try:
        with unpacked(file, reader.scratch) as path:
            if kind == "CSV":
                return _open_csv(place, path, keys, where, reader)
            return _settled(scan_plain(path, kind), place, path, kind, keys, where, reader)
    except InputError:
        raise
    except OSError as error:
        if error.errno in FULL_DISK:
            raise InputError(
                f"'{file}' cannot be unpacked to be read: {error.strerror}; free space, or unpack it"
            ) from error
        reader.faults.append(_unreadable(where, kind, error, place))
        return None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, *DAMAGED) as error:
        reader.faults.append(_unreadable(where, kind, error, place))
        return None


def _unreadable(where: str, kind: str, error: BaseException, place: Place) -> str:
    again = "unpack it and look" if place.path != place.plain_name else "write the file again"
    if isinstance(error, pl.exceptions.PanicException):
        # The reader gave up; what made it do so stands in quotes, if anywhere.
        why = re.search(r'"([^"]+)"', str(error))
        reason = why[1] if why else first_line(error)
        return f"{where} is damaged, or a column's type cannot be read ({reason}); {again} without it"
    return f"{where} is not a readable {kind} table: {first_line(error)}; {again}"


def scan_plain(path: Path, kind: str) -> pl.LazyFrame:
    """Scan a file of this very name that is not CSV, as it is."""
    if kind == "Parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    # Without an option that says so in every version, a name is no pattern once its signs are escaped.
    literal = glob.escape(str(path))
    if kind == "NDJSON":
        return pl.scan_ndjson(literal, infer_schema_length=None)
    return (
        pl.scan_ipc(literal, hive_partitioning=False)
        if is_arrow_file(path)
        else pl.read_ipc_stream(path).lazy()
    )


def is_arrow_file(path: Path) -> bool:
    """Whether a file is of Arrow's file format, not of the stream that some write under the same suffix."""
    with path.open("rb") as handle:
        return handle.read(6) == b"ARROW1"


def _open_csv(
    place: Place, path: Path, keys: tuple[Key, ...], where: str, reader: Reader
) -> pl.LazyFrame | None:
    tabs = place.plain_name.suffix.lower() == ".tsv"
    try:
        plan = layout(path, where, reader.faults, reader.dialect, tabs=tabs)
        if plan is None:
            return None
        for scan, last in typed_scans(plan):
            try:
                return _settled(scan, place, path, "CSV", keys, where, reader, header=list(plan.header))
            except pl.exceptions.ComputeError as error:
                if last or "could not parse" not in str(error):
                    raise
    except pl.exceptions.NoDataError:
        reader.faults.append(f"{where} has no rows; give a table with a header and rows")
        return None
    except pl.exceptions.ComputeError as error:
        if "utf-8" not in str(error).lower():
            raise
        reader.faults.append(encoding_fault(where, bad_line(path)))
    return None


def _settled(
    scan: pl.LazyFrame,
    place: Place,
    path: Path,
    kind: str,
    keys: tuple[Key, ...],
    where: str,
    reader: Reader,
    *,
    header: list[str] | None = None,
) -> pl.LazyFrame | None:
    """Bring a file's columns to what the audit takes, and settle it."""
    names = scan.collect_schema().names()
    index = written_index(header) if header is not None else index_columns(path, kind)
    left_out = tuple(name for name in index if name in names and name not in reader.named)
    if not names or len(left_out) == len(names):
        reader.faults.append(f"{where} has no columns; give a table with a header and rows")
        return None
    held = [key for key in keys if key.name in names]
    for key in held:
        other = disagreement(scan, key)
        if other is not None:
            reader.faults.append(
                f"{where} holds {other} in column '{key.name}', and lies in a directory that says "
                f"'{key.written}'; correct one of them, or rename the column"
            )
            return None
    reader.indexes.extend(left_out)
    tidy = Tidy(reader.dialect.null, left_out, tuple(key for key in keys if key not in held))
    return reader.settle(Opened(tidy(scan), place, path, tidy))


def _with_rows(frame: pl.DataFrame, where: str, faults: list[str]) -> pl.DataFrame | None:
    if not frame.width:
        faults.append(f"{where} has no columns; give a table with a header and rows")
    elif not frame.height:
        faults.append(f"{where} has no rows; give a table with a header and rows")
    else:
        return frame
    return None
