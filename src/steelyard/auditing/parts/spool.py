"""Where a long audit leaves what it has: the rows' columns, and sums from which it can go on."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy.typing as npt
import polars as pl

from steelyard.auditing.parts.source import Part, system_number
from steelyard.auditing.parts.store import as_table
from steelyard.auditing.sums import Totals
from steelyard.errors import InputError
from steelyard.reporting.scratch import own_directory

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
        claim(directory)
        weakref.finalize(self, _release, directory.resolve())
        self._next = 0.0
        plain = json.loads(json.dumps(identity))
        known = directory / _IDENTITY
        before = _loaded(known)
        if resume and before != {}:
            self._check(before, plain)
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
        frame = as_table(part, columns)
        path = self._file(side, part.number)
        with _placed(path), _private(path.with_suffix(".part")) as file:
            frame.write_parquet(file)
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


def _private(path: Path) -> IO[bytes]:
    """Open a new file that only its owner reads; what has its name is removed, no link is followed."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Let errors of writing say where, which neither Polars nor a full disk does."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        number = system_number(error)
        why = os.strerror(number) if number else str(error).splitlines()[0]
        raise OSError(number or errno.EIO, why, str(path)) from error


class Temporary:
    """A directory that is removed when nothing refers to this object any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="steelyard-"))
        self._removed = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def begun(directory: Path) -> bool:
    """Whether some part is done, from which an audit could go on."""
    return any((directory / f"{side}.json").exists() for side in ("live", "train"))


def claim(directory: Path) -> None:
    """Take a directory, made if absent, for one audit; this process keeps it until its spool is gone.

    Only its owner may enter it, whatever it holds.

    Raises
    ------
    InputError
        If another process has it, it is somebody else's or open to others, or files are in it that a
        spool would replace and none has left.
    """
    if os.path.lexists(directory):
        fault = unsafe(directory)
        if fault:
            raise InputError(
                f"'{directory}' {fault}, where the audit leaves its rows; move it, or name another place "
                "for this audit (--out)"
            )
        directory.chmod(0o700)
    else:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(0o700)
    if not _lock(directory.resolve()):
        raise InputError(
            f"another audit is at work in '{directory}'; wait for it, or name another place for this one "
            "(--out)"
        )
    known = directory / _IDENTITY
    foreign = [path for path in _written(directory) if path != known and not known.exists()]
    if foreign or (known.exists() and not _is_identity(known)):
        _release(directory.resolve())
        raise InputError(
            f"'{foreign[0] if foreign else known}' is in the way, and no audit has left it; move it, or name "
            "another place for this audit (--out)"
        )
    if not known.exists():
        _write(known, {})


def unsafe(directory: Path) -> str:
    """Say why nothing is to be written into a directory that is there; empty if it may be.

    Whoever could prepare it for us could lead what is written, or who reads it, elsewhere.
    """
    if directory.is_symlink():
        return "is a link"
    if not directory.is_dir():
        return "is a file"
    if not own_directory(directory):
        return "belongs to another user"
    if os.name == "posix" and directory.stat().st_mode & 0o022:
        return "can be written to by others"
    tables = directory / TABLES
    inside = [*directory.iterdir(), *(tables.iterdir() if own_directory(tables) else ())]
    strange = [path for path in inside if path != tables and _is_named(path) and not _is_own_file(path)]
    strange += [tables] if os.path.lexists(tables) and not own_directory(tables) else []
    if strange:
        return f"holds '{strange[0].name}', which is no file of its owner"
    return ""


def _is_named(path: Path) -> bool:
    return path.name == _LOCK or _is_ours(path) or _REWRITTEN.fullmatch(path.name) is not None


def _is_own_file(path: Path) -> bool:
    """Whether this is a file of the user's own, not a link to one."""
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and (os.name != "posix" or found.st_uid == os.geteuid())


def remove(directory: Path) -> None:
    """Remove what a spool wrote, and the directory if nothing else is in it.

    Nothing is removed if another process is at work there, or no spool ever was.
    """
    if not os.path.lexists(directory) or unsafe(directory) or not _is_identity(directory / _IDENTITY):
        return
    if not _lock(directory.resolve()):
        return
    for path in _written(directory):
        path.unlink()
    _release(directory.resolve())
    for path in (directory / TABLES, directory):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def new_table(directory: Path, name: str) -> Path:
    """Return where a table may be written anew: an empty file that only its owner reads."""
    directory.mkdir(0o700, parents=True, exist_ok=True)
    _private(directory / name).close()
    return directory / name


_IDENTITY, _LOCK = "identity.json", "audit.lock"
_held: dict[Path, IO[str]] = {}


def _lock(directory: Path) -> bool:
    """Keep other processes away until `_release`, or this process ends; whether it could be done."""
    if directory in _held:
        return True
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return True
    handle = (directory / _LOCK).open("a", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return False
    except OSError:
        # Some network file systems know no locks: better to go on without.
        pass
    _held[directory] = handle
    return True


def _release(directory: Path) -> None:
    handle = _held.pop(directory, None)
    if handle is not None:
        (directory / _LOCK).unlink(missing_ok=True)
        handle.close()


def _is_identity(path: Path) -> bool:
    """Whether a file is what a spool has written of its audit, if only that there is one."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return plain == {} or (isinstance(plain, dict) and "the versions" in plain)


def _written(directory: Path) -> list[Path]:
    """Return the files of a spool in a directory."""
    tables = directory / TABLES
    rewritten = [p for p in tables.iterdir() if _REWRITTEN.fullmatch(p.name)] if tables.is_dir() else []
    return [*rewritten, *(path for path in directory.iterdir() if _is_ours(path))]


_REWRITTEN = re.compile(r"(train|live)-\d{5}\.parquet")
_OURS = re.compile(r"(identity|train|live)\.json(\.new)?|(train|live)-\d{6}\.(parquet|part)")


def _is_ours(path: Path) -> bool:
    return _OURS.fullmatch(path.name) is not None


def _write(path: Path, plain: Any) -> None:
    """Replace a file, whole or not at all."""
    new = path.with_suffix(".json.new")
    with _placed(path), _private(new) as file:
        # Unlike dump, dumps encodes in compiled code.
        file.write(json.dumps(plain, allow_nan=False).encode())
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
