"""Whether output can go where it is asked to go, seen before the work: nothing foreign is ever replaced."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steelyard.reporting.files import FILES, descriptor, foreign_files, mend_report, what_else
from steelyard.reporting.marks import written_here
from steelyard.reporting.scratch import left_over, scratch
from steelyard.reporting.words import short

# What the system allows where it does not tell: bytes of a name, and of a whole path with room for more.
_NAME_BYTES, _PATH_BYTES = 255, 3900


def place_faults(
    directory: Path,
    json_file: Path | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    work: Path | None = None,
) -> list[str]:
    """Say why a report directory or a JSON file cannot be written; empty if they can.

    What a killed process left in these places is put right on the way.

    Parameters
    ----------
    directory : Path
        Where the report goes; it and the directories above it may be absent.
    json_file : Path, optional
        Its directory must be there.
    inputs : mapping of str to object, optional
        What is read, by its name in a message: paths, globs and directories are looked at, and
        none of their files may be replaced.
    work : Path, optional
        Directory in which a long audit leaves what it has.

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
    faults = _directory_faults(directory, "--out")
    if not faults and work is not None:
        faults += _name_faults(work, "--out", also=f"of its '{PARTIAL}'")
    if not faults:
        mend_report(directory)
        faults += foreign_files(directory)
    if json_file is not None:
        faults += file_faults(json_file, "--json") or _clashes(json_file, directory, work)
    if faults:
        return faults
    outputs = [("--out", directory / name) for name in FILES]
    if json_file is not None and descriptor(json_file) is None:
        outputs.append(("--json", json_file))
    return input_faults(outputs, inputs or {}, work)


PARTIAL = ".partial"
"""Ends the name of the directory in which a long audit leaves what it has."""


def file_faults(path: Path, option: str, kind: str = ".json") -> list[str]:
    """Say why a file cannot be written to a place, if it cannot.

    Parameters
    ----------
    path : Path
    option : str
        That names it.
    kind : str
        What steelyard writes there: only such a file may be replaced; empty if that is judged elsewhere.
    """
    faults = _name_faults(path, option)
    if faults:
        return faults
    what = f"{option} '{short(path, 300)}'"
    if descriptor(path) is not None:
        return [] if os.path.exists(path) else [f"{what} is not open; name a file"]
    if path.is_dir():
        return [f"{what} is a directory; name a file"]
    if os.path.islink(path) and not path.exists():
        return [f"{what} is a link to nothing; remove it, or name another file"]
    if not path.parent.is_dir():
        return [f"{what}: there is no directory '{short(path.parent, 300)}'; make it first"]
    if path.exists() and not path.is_file():
        mode = path.stat().st_mode
        if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode) or not os.access(path, os.W_OK):
            return [f"{what} is {what_else(path)} that cannot be written to; name a file"]
        return []
    place = path.resolve()
    for _ in left_over(place.parent, place.name):
        pass
    if kind and place.exists() and not written_here(place, kind):
        return [f"{what} is there, and is {what_else(place)}; move it, or name another file"]
    return _unwritable(place.parent, place.name, what)


def input_faults(
    outputs: list[tuple[str, Path]], inputs: Mapping[str, Any], work: Path | None = None
) -> list[str]:
    """Say which outputs would replace a file that is read, whatever links lead to it."""
    taken = {
        _identity(path): (option, path) for option, path in outputs if os.path.isfile(path) and path.name
    }
    inside = None if work is None else Path(os.path.realpath(work))
    if not taken and (inside is None or not inside.is_dir()):
        return []
    faults = []
    for name, given in inputs.items():
        for file in _files(given):
            option, path = taken.get(_identity(file), ("", file))
            if option:
                what = f"{option} would replace '{short(path, 300)}', which is {name}"
                faults.append(f"{what}; choose another place")
            elif inside is not None and inside in Path(os.path.realpath(file)).parents:
                what = f"{name} '{short(file, 300)}' lies where the audit leaves its rows"
                faults.append(f"{what}; move it, or choose another place (--out)")
    return list(dict.fromkeys(faults))


def _files(given: Any) -> Iterator[Path]:
    """Yield the files of a path, a directory or a glob; anything else names none."""
    if not isinstance(given, (str, os.PathLike)):
        return
    name = os.fspath(given)
    try:
        if os.path.isdir(name):
            yield from (path for path in Path(name).rglob("*") if path.is_file())
        elif os.path.isfile(name):
            yield Path(name)
        elif glob.has_magic(name):
            yield from (Path(found) for found in glob.glob(name, recursive=True) if os.path.isfile(found))
    except (OSError, ValueError):
        return  # which the reading tells


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _clashes(json_file: Path, directory: Path, work: Path | None) -> list[str]:
    """Say why a JSON file cannot stand beside the report."""
    place, report = Path(os.path.realpath(json_file)), Path(os.path.realpath(directory))
    theirs = {report, *(report / name for name in FILES if name != "audit.json")}
    partial = None if work is None else Path(os.path.realpath(work))
    if place in theirs or (partial is not None and partial in (place, *place.parents)):
        return [f"--json '{short(json_file, 300)}' is in the place of the report; name another file"]
    return []


def _directory_faults(directory: Path, option: str) -> list[str]:
    what = f"{option} '{short(directory, 300)}'"
    faults = _name_faults(directory, option)
    if faults:
        return faults
    if os.path.islink(directory) and not directory.exists():
        return [f"{what} is a link to nothing; remove it, or name another directory"]
    if directory.exists() and not directory.is_dir():
        return [f"{what} is a file; name a directory"]
    return _unwritable(directory, directory.name, what)


def _name_faults(path: Path, option: str, also: str = "") -> list[str]:
    """Say what the system would not take as a name, before any part of it is made."""
    what = f"{option} '{short(path)}'"
    if "\0" in str(path):
        return [f"{what} holds a NUL, which no name may; choose another"]
    whole = path.absolute()
    most = _most_bytes(whole)
    longest = max((len(os.fsencode(part)) for part in whole.parts), default=0)
    if longest > most:
        named = f"a name {also} of" if also else "a name of"
        return [f"{what} has {named} {longest} bytes, more than the {most} that fit; choose a shorter one"]
    if len(os.fsencode(whole)) > _PATH_BYTES:
        return [f"{what} is a path of {len(os.fsencode(whole)):,} bytes; choose a shorter one"]
    return []


def _most_bytes(path: Path) -> int:
    there = next((p for p in path.parents if os.path.isdir(p)), Path(path.anchor))
    try:
        return os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _NAME_BYTES


def _unwritable(directory: Path, name: str, what: str) -> list[str]:
    """Try the directory, or the nearest one that exists above it."""
    while not os.path.lexists(directory) and directory != directory.parent:
        directory = directory.parent
    if not directory.is_dir():
        shown = short(directory, 300)
        return [f"{what}: '{shown}' is no directory, so none can be made in it; choose another place"]
    try:
        with scratch(directory, name):
            pass
    except OSError as error:
        shown = short(directory, 300)
        return [f"{what} cannot be written: {error.strerror} in '{shown}'; choose another place"]
    return []
