"""From a path or somebody's data frame to a Polars frame, with every fault said in one line."""

from __future__ import annotations

import csv
import glob
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import polars.selectors as cs

from steelyard.auditing.reading.dialect import PLAIN, Dialect
from steelyard.errors import InputError

FORMATS = (
    "CSV (.csv, .tsv, .txt), Parquet (.parquet, .pq), Arrow/Feather (.arrow, .feather, .ipc) or "
    "NDJSON (.ndjson, .jsonl)"
)
_CSV = {".csv", ".tsv", ".txt"}
_PARQUET = {".parquet", ".pq"}
_IPC = {".arrow", ".feather", ".ipc"}
_NDJSON = {".ndjson", ".jsonl"}
_HEADER_BYTES = 1 << 20
_INFER_ROWS = 10_000


def load(source: Any, side: str, faults: list[str], dialect: Dialect = PLAIN) -> pl.DataFrame | None:
    """Read one table.

    Parameters
    ----------
    source : str, Path, or a pandas, Polars, Arrow or Dask table
        A path may be a glob; its files must have the same columns.
    side : str
        What to call the table in a message, such as ``"TRAIN"``.
    faults : list of str
        Whatever is wrong is appended here.
    dialect : Dialect
        How the caller says that values are to be read.

    Returns
    -------
    DataFrame or None
        None if a fault was found.

    Notes
    -----
    Files are scanned lazily and collected once: O(rows x columns) time and memory.
    """
    if isinstance(source, (str, Path)):
        return _load_files(source, side, faults, dialect)
    if is_dask(source):
        source = computed(source, side)
    return _load_native(source, side, faults)


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


def _load_files(source: str | Path, side: str, faults: list[str], dialect: Dialect) -> pl.DataFrame | None:
    scans = scan_files(source, side, faults, settle=lambda scan: scan.collect().lazy(), dialect=dialect)
    if scans is None:
        return None
    together = joined(scans, source, side, faults)
    return None if together is None else _with_rows(together.collect(), f"{side}: '{source}'", faults)


def joined(
    scans: list[pl.LazyFrame], source: str | Path, side: str, faults: list[str]
) -> pl.LazyFrame | None:
    """Return the files of a path or glob as one table, in types that hold every file's values.

    None, and why in ``faults``, if there are no such types.
    """
    clashing = _clashing(scans)
    if clashing:
        faults += [
            f"{side}: the files of '{source}' do not fit together: {what}; write it in one type"
            for what in clashing
        ]
        return None
    try:
        # One file's integers may be another's decimals: the wider type holds both.
        together = pl.concat(scans, how="vertical_relaxed")
        together.collect_schema()
    except pl.exceptions.PolarsError as error:
        faults.append(f"{side}: the files of '{source}' do not fit together: {_first_line(error)}")
        return None
    return together


def _clashing(scans: list[pl.LazyFrame]) -> list[str]:
    """Name the columns of which no type holds every file's values, with what they are."""
    schemas = [scan.collect_schema() for scan in scans]
    out = []
    for name in schemas[0]:
        types = list(dict.fromkeys(schema[name] for schema in schemas if schema[name] != pl.Null))
        # A date would become the number of its day.
        dates = {dtype.is_temporal() for dtype in types if dtype != pl.String}
        try:
            pl.concat([pl.Series([], dtype=t).to_frame() for t in types], how="vertical_relaxed")
            fits = len(dates) < 2
        except pl.exceptions.PolarsError:
            fits = False
        if types and not fits:
            out.append(f"column '{name}' is of types {', '.join(map(str, types))}")
    return out


Settle = Callable[[pl.LazyFrame], pl.LazyFrame]


def scan_files(
    source: str | Path,
    side: str,
    faults: list[str],
    *,
    settle: Settle,
    dialect: Dialect = PLAIN,
) -> list[pl.LazyFrame] | None:
    """Open the files of a path or glob, with the same columns in the same order.

    Parameters
    ----------
    source : str or Path
        A file or a glob.
    side : str
        What to call the table in a message.
    faults : list of str
        Whatever is wrong is appended here.
    settle : callable
        Reads a file as far as the caller wants it read, and returns what to go on with: whatever
        is wrong with the file should show in it.

    Returns
    -------
    list of LazyFrame or None
        None if a fault was found.
    """
    files = _expand(source, side, faults)
    if files is None:
        return None
    scans: list[pl.LazyFrame] = []
    before = len(faults)
    for file in files:
        opened = _scan(file, side, faults, settle)
        if opened is not None:
            scans.append(opened)
    if len(faults) > before:
        return None
    first = scans[0].collect_schema().names()
    for file, scan in zip(files[1:], scans[1:]):
        names = scan.collect_schema().names()
        if set(names) != set(first):
            odd = sorted(set(names) ^ set(first))
            faults.append(
                f"{side}: '{file}' and '{files[0]}' have different columns ({_listed(odd)}); "
                "give files of one layout"
            )
            return None
    return [scan.select(first) for scan in scans]


def _expand(source: str | Path, side: str, faults: list[str]) -> list[Path] | None:
    path = Path(source)
    if path.is_dir():
        faults.append(
            f"{side}: '{source}' is a directory; name a file, or a glob such as '{path / '*.parquet'}'"
        )
        return None
    if path.exists():
        return [path]
    if glob.has_magic(str(source)):
        files = [
            Path(name) for name in sorted(glob.glob(str(source), recursive=True)) if Path(name).is_file()
        ]
        if files:
            return files
        faults.append(f"{side}: no file matches '{source}'; check the pattern")
        return None
    faults.append(f"{side}: no file '{source}'; check the path")
    return None


def _scan(file: Path, side: str, faults: list[str], settle: Settle) -> pl.LazyFrame | None:
    """Open one file and settle it, so that whatever is wrong with it is known and said here."""
    where = f"{side}: '{file}'"
    suffix = file.suffix.lower()
    if suffix not in _CSV | _PARQUET | _IPC | _NDJSON:
        faults.append(f"{where} is not of a known format; give {FORMATS}")
        return None
    try:
        with file.open("rb") as handle:
            head = handle.read(_HEADER_BYTES)
    except OSError as error:
        faults.append(
            f"{where} cannot be read ({error.strerror or error}); check the file and its permissions"
        )
        return None
    if not head.strip():
        faults.append(f"{where} is empty; give a table with a header and rows")
        return None
    try:
        if suffix in _PARQUET:
            return settle(pl.scan_parquet(file, glob=False))
        if suffix in _IPC:
            return settle(_scan_ipc(file))
        if suffix in _NDJSON:
            return settle(pl.scan_ndjson(file, infer_schema_length=None))
        return _scan_csv(file, head, where, faults, settle)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        faults.append(
            f"{where} is not a readable {_kind(suffix)} table: {_first_line(error)}; write the file again"
        )
        return None


def _scan_ipc(file: Path) -> pl.LazyFrame:
    """Read Arrow's file format, or the stream format that some writers put under the same suffix."""
    with file.open("rb") as handle:
        is_file_format = handle.read(6) == b"ARROW1"
    return pl.scan_ipc(file) if is_file_format else pl.read_ipc_stream(file).lazy()


def _kind(suffix: str) -> str:
    if suffix in _PARQUET:
        return "Parquet"
    if suffix in _IPC:
        return "Arrow"
    return "NDJSON" if suffix in _NDJSON else "CSV"


def _scan_csv(file: Path, head: bytes, where: str, faults: list[str], settle: Settle) -> pl.LazyFrame | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        faults.append(f"{where} is encoded as UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
        return None
    if b"\x00" in head:
        faults.append(f"{where} is not a text table (it holds binary data); give {FORMATS}")
        return None
    first_line = head.removeprefix(b"\xef\xbb\xbf").splitlines()[0] if head.splitlines() else b""
    try:
        header_text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="ignore")
        first_line.decode("utf-8")
    except UnicodeDecodeError:
        faults.append(_encoding_fault(where, 1))
        return None
    separator = _separator(first_line.decode("utf-8"), file.suffix.lower())
    # Polars renames a repeated column without a word, so the header is read here too.
    header = next(csv.reader(header_text.splitlines(keepends=True), delimiter=separator), [])
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        faults.append(
            f"{where} has more than one column named {_listed(repeated)}; rename or remove the copies"
        )
        return None
    for rows in (_INFER_ROWS, None):
        try:
            scan = pl.scan_csv(file, separator=separator, infer_schema_length=rows, glob=False)
            return settle(scan)
        except pl.exceptions.NoDataError:
            faults.append(f"{where} has no rows; give a table with a header and rows")
            return None
        except pl.exceptions.ComputeError as error:
            if "utf-8" in str(error).lower():
                faults.append(_encoding_fault(where, _bad_line(file)))
                return None
            # A later row may need a wider type than the first ones show: look at all of them.
            if rows is None or "could not parse" not in str(error):
                raise
    raise AssertionError("unreachable: the second pass returns or raises")


def _separator(header: str, suffix: str) -> str:
    """Take a comma unless the header has none and has another usual separator."""
    if suffix == ".tsv":
        return "\t"
    if "," in header:
        return ","
    best = max(";\t|", key=header.count)
    return best if header.count(best) else ","


def _bad_line(file: Path) -> int:
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _encoding_fault(where: str, line: int) -> str:
    return (
        f"{where} is not UTF-8 (line {line}; it is probably Windows-1252 or Latin-1); "
        "convert it to UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8"
    )


def _load_native(source: Any, side: str, faults: list[str]) -> pl.DataFrame | None:
    names = [str(name) for name in getattr(source, "columns", [])] if _is_pandas(source) else []
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        faults.append(
            f"{side} has more than one column named {_listed(repeated)}; rename or remove the copies"
        )
        return None
    try:
        native = nw.from_native(_plain_categories(source) if names else source)
    except nw.exceptions.DuplicateError as error:
        faults.append(
            f"{side} has columns of the same name ({_first_line(error)}); rename or remove the copies"
        )
        return None
    except TypeError:
        kind = type(source).__name__
        faults.append(f"{side} is a {kind}, not a table; give a path, or a pandas, Polars or Arrow table")
        return None
    try:
        eager = native.collect(backend="polars") if isinstance(native, nw.LazyFrame) else native
        frame = eager.to_polars()
    except ModuleNotFoundError as error:
        faults.append(f"{side} needs the package '{error.name}' to be read; install steelyard[pandas]")
        return None
    except Exception as error:
        # pyarrow's errors share no base with Polars': whichever it is, the column cannot become one type.
        faults.append(f"{side} cannot be converted ({_first_line(error)}); give every column one type")
        return None
    return _with_rows(frame, side, faults)


def _is_pandas(source: Any) -> bool:
    return type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns")


def _plain_categories(frame: Any) -> Any:
    """Keep a pandas categorical of numbers a category: on the way to Arrow it would become a number."""
    renames = {}
    for name in frame.columns:
        categories = getattr(frame[name].dtype, "categories", None)
        if categories is not None and hasattr(frame[name], "cat"):
            renames[name] = frame[name].cat.rename_categories([str(value) for value in categories])
    return frame.assign(**{str(k): v for k, v in renames.items()}) if renames else frame


def _with_rows(frame: pl.DataFrame, where: str, faults: list[str]) -> pl.DataFrame | None:
    if frame.height == 0:
        faults.append(f"{where} has no rows; give a table with a header and rows")
        return None
    # No step needs a decimal's exactness, and not every operation takes one.
    return frame.with_columns(cs.decimal().cast(pl.Float64))


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".;") if text else type(error).__name__


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
