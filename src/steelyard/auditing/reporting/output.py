"""Where output goes: seen to be writable before the work, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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


@contextmanager
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
        with suppress(OSError):
            os.unlink(name)
        raise
