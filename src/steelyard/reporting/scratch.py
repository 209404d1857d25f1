"""Where files are made ready before they are moved into place: hidden directories of their owner's alone.

One that a killed process has left is told from one in use by a lock, which the
system drops with the process.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".steelyard-"

# The key, then what mkdtemp draws.
_OURS = re.compile(re.escape(PREFIX) + r"[0-9a-f]{8}-[a-z0-9_]{8}")


@contextmanager
def scratch(place: Path, name: str) -> Iterator[Path]:
    """Make a directory beside or in what is to be written, and remove it at the end.

    Parameters
    ----------
    place : Path
        Directory on the file system of what is to be written.
    name : str
        Of what is to be written, by which a later run finds what was left.

    Raises
    ------
    OSError
        If it cannot be made.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> with scratch(Path(mkdtemp()), "report") as directory:
    ...     oct(directory.stat().st_mode & 0o777)
    '0o700'
    >>> directory.exists()
    False
    """
    while True:
        directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{_key(name)}-", dir=place))
        lock = _locked(directory, wait=True)
        # Another process may have taken it for one that was left, in the moment before the lock.
        if directory.is_dir():
            break
        _unlock(lock)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        _unlock(lock)


def left_over(place: Path, name: str | None = None) -> Iterator[Path]:
    """Yield the directories that killed processes left in a place, and remove each once it was looked at.

    Parameters
    ----------
    place : Path
    name : str, optional
        Only those made for what is called so.

    Notes
    -----
    Links, directories of other owners and those in use are passed over, as is
    everything where the file system or the machine knows no locks.
    """
    try:
        found = sorted(path for path in place.iterdir() if _OURS.fullmatch(path.name))
    except OSError:
        return
    for path in found:
        if (name is not None and _key(name) not in path.name) or not own_directory(path):
            continue
        lock = _locked(path, wait=False)
        if lock is None:
            continue
        try:
            yield path
            shutil.rmtree(path, ignore_errors=True)
        finally:
            _unlock(lock)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep other processes from exchanging files in a directory, where the file system knows locks."""
    lock = _locked(directory, wait=True)
    try:
        yield
    finally:
        _unlock(lock)


def own_directory(path: Path) -> bool:
    """Whether this is a directory of the user's own, not a link to one."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (os.name != "posix" or found.st_uid == os.geteuid())


def flush_directory(path: Path) -> None:
    """Make what was moved into a directory outlast a loss of power."""
    if os.name != "posix":  # elsewhere a directory cannot be opened for this
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _key(name: str) -> str:
    # Short, whatever the name's length and letters.
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def _locked(directory: Path, *, wait: bool) -> int | None:
    """Return what holds the lock, or None if it is not to be had."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return None
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held by another, or a file system without locks
        os.close(handle)
        return None
    return handle


def _unlock(handle: int | None) -> None:
    if handle is not None:
        with suppress(OSError):
            os.close(handle)
