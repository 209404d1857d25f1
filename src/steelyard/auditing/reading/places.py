"""From a path, a directory or a glob to the files of one table, and what their places say of their rows."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

FORMATS = (
    "CSV (.csv, .tsv, .txt), Parquet (.parquet, .pq), Arrow/Feather (.arrow, .feather, .ipc) or "
    "NDJSON (.ndjson, .jsonl)"
)
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "CSV"),
    **dict.fromkeys((".parquet", ".pq"), "Parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "Arrow"),
    **dict.fromkeys((".ndjson", ".jsonl"), "NDJSON"),
}
_PACKED = {".gz", ".zst", ".bz2", ".xz"}
_NO_VALUE = {"", "__HIVE_DEFAULT_PARTITION__"}


@dataclass(frozen=True)
class Place:
    """A file of a table, and the keys in the names of its directories, such as ``region=eu``."""

    path: Path
    keys: tuple[tuple[str, str | None], ...] = ()

    @property
    def plain_name(self) -> Path:
        """The file's name without what tells of its compression."""
        return plain_name(self.path)


def plain_name(path: Path) -> Path:
    """Return a file's name without the suffix that tells of its compression."""
    return path.with_suffix("") if path.suffix.lower() in _PACKED else path


def kind_of(path: Path) -> str | None:
    """Return the format that a file's name tells; None if it tells none.

    Examples
    --------
    >>> kind_of(Path("a/b.csv.gz")), kind_of(Path("b.xlsx"))
    ('CSV', None)
    """
    return _KINDS.get(plain_name(path).suffix.lower())


def find(source: str | Path) -> tuple[list[Place], str | None]:
    """Return the files of a table in sorted order, and what is wrong if there are none.

    Parameters
    ----------
    source : str or Path
        A file; a directory, for all table files of one format in and below it; or a glob. Directories below
        it, or from the first wildcard on, may be named ``key=value``.
    """
    path = Path(source)
    if path.is_dir():
        return _in_directory(path)
    if path.exists():
        return [Place(path)], None
    if not glob.has_magic(str(source)):
        return [], f"no file '{source}'; check the path"
    files: list[Path] = []
    for name in sorted(glob.glob(str(source), recursive=True)):
        # Of a directory that the pattern names, what is in it is meant, unless the pattern goes there itself.
        files += [Path(name)] if os.path.isfile(name) else [] if "**" in str(source) else _below(Path(name))
    files = sorted({file for file in files if not _is_mark(file, path.name)})
    if not files:
        return [], f"no file matches '{source}'; check the pattern"
    fixed = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    return _keyed(files, fixed, source)


def identity(source: str | Path) -> list[list[object]]:
    """Return plain values that change when a file of the table is written again, added or removed."""
    out: list[list[object]] = []
    for place in find(source)[0]:
        try:
            stat = os.stat(place.path)
        except OSError:
            out.append([str(place.path), None])
        else:
            out.append([str(place.path), stat.st_size, stat.st_mtime_ns, stat.st_ino])
    return out


def _in_directory(path: Path) -> tuple[list[Place], str | None]:
    files = _below(path)
    kinds = sorted({str(kind_of(file)) for file in files})
    if not files:
        return [], f"directory '{path}' holds no table file; give one that holds {FORMATS}"
    if len(kinds) > 1:
        example = path / "**" / f"*{files[0].suffix}"
        return [], (
            f"directory '{path}' holds files of several formats ({', '.join(kinds)}); name those that are "
            f"meant by a glob such as '{example}'"
        )
    return _keyed(files, len(path.parts), path)


def _below(path: Path) -> list[Path]:
    """Return the table files in and below a directory, without hidden ones and the marks of writers."""
    files = []
    for where, directories, names in os.walk(path):
        directories[:] = [name for name in directories if not _is_hidden(name) or "=" in name]
        files += [Path(where) / name for name in names if not _is_hidden(name)]
    return sorted(file for file in files if kind_of(file) is not None and file.is_file())


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _is_mark(file: Path, pattern: str) -> bool:
    """Whether a file that a pattern meets is one that a writer leaves beside the table, such as _SUCCESS."""
    return _is_hidden(file.name) and kind_of(file) is None and not pattern.startswith(file.name[0])


def _keyed(files: Sequence[Path], fixed: int, source: str | Path) -> tuple[list[Place], str | None]:
    """Read the keys from directories' names; the first ``fixed`` parts of a path are the table's own."""
    places = []
    for file in files:
        keys = []
        for part in file.parts[fixed:-1]:
            name, sign, value = part.partition("=")
            if sign and name:
                keys.append((unquote(name), None if value in _NO_VALUE else unquote(value)))
        names = [name for name, _ in keys]
        if len(set(names)) < len(names):
            return [], f"'{file}': two of its directories name the same key; rename one of '{source}'"
        places.append(Place(file, tuple(keys)))
    return places, None
