"""A file of named members that is written whole, and read only if not a byte of it has changed.

It is a zip archive whose comment, the file's last bytes, holds the SHA-256 of
all that comes before: any tool can open it, and any change shows.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from steelyard.errors import InputError
from steelyard.reporting.scratch import scratch

SUFFIX = ".steelyard"

_ZIP = b"PK\x03\x04"
_SEAL = b"steelyard profile, sha256 "
_TAIL = len(_SEAL) + 64
_BLOCK = 1 << 20

# A large member that shrinks twentyfold is made to fill the memory, which holds JSON as many times its size:
# here, those are written as they are.
_MOST_SHRUNK = 20
_ALWAYS_ALLOWED = 1 << 22

# A fixed time, the earliest that a zip archive can hold, so that the same content gives the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_sealed(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a file, whole or not at all; one that is there is replaced.

    Parameters
    ----------
    path : Path
    members : mapping of str to bytes

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = bytes(_TAIL)
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, compress_type=_packing(content))
    body = buffer.getbuffer()[:-_TAIL]
    # Behind a link, the file that it leads to is replaced, and the link stays.
    place = path.resolve()
    with scratch(place.parent, place.name) as staging:
        with (staging / "file").open("wb") as file:
            file.write(body)
            file.write(_SEAL + hashlib.sha256(body).hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        (staging / "file").replace(place)


def _packing(content: bytes) -> int:
    # A quick pass shrinks less than the one that would be written, hence the margin.
    if len(content) > _ALWAYS_ALLOWED and len(content) > _MOST_SHRUNK * len(zlib.compress(content, 1)) // 4:
        return zipfile.ZIP_STORED
    return zipfile.ZIP_DEFLATED


def is_sealed(path: Path) -> bool:
    """Whether a file begins and ends like one written here; it may be damaged in between."""
    try:
        if not path.is_file():  # to open a pipe would wait for whoever writes to it
            return False
        with path.open("rb") as file:
            return _looks_sealed(file.read(len(_ZIP)), _tail(file, path.stat().st_size))
    except OSError:
        return False


class Sealed:
    """A sealed file, found unchanged.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If it cannot be read, is none, or has changed since it was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file():  # a pipe would keep whoever opens it waiting
            raise InputError(f"profile '{path}' cannot be read (it is no file); check the path")
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                if not _looks_sealed(file.read(len(_ZIP)), tail := _tail(file, size)):
                    raise InputError(
                        f"'{path}' is no profile, or only part of one; make it with `steelyard profile`"
                    )
                digest, left = hashlib.sha256(), size - _TAIL
                file.seek(0)
                while left and (block := file.read(min(_BLOCK, left))):
                    digest.update(block)
                    left -= len(block)
            if digest.hexdigest().encode() != tail.removeprefix(_SEAL):
                raise self.damaged("its content is not what its checksum says")
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise InputError(
                f"profile '{path}' cannot be read ({error.strerror or error}); check the path and its "
                "permissions"
            ) from error
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
            if isinstance(error, InputError):
                raise
            raise self.damaged(str(error)) from error

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(self._archive.namelist())

    def read(self, name: str, most: int) -> bytes:
        """Return a member of at most so many bytes."""
        try:
            info = self._archive.getinfo(name)
            if info.file_size > most or info.file_size > max(
                _ALWAYS_ALLOWED, _MOST_SHRUNK * info.compress_size
            ):
                raise self.damaged(f"{name} would take {info.file_size:,} bytes")
            with self._archive.open(info) as file:
                # The size that is told above may be a lie.
                content = file.read(info.file_size + 1)
            if len(content) != info.file_size:
                raise self.damaged(f"{name} is not as long as told")
        except KeyError as error:
            raise self.damaged(f"{name} is missing") from error
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error) as error:
            raise self.damaged(f"{name}: {error}") from error
        return content

    def damaged(self, why: str) -> InputError:
        """Return the error that tells of a fault inside the file."""
        return InputError(f"profile '{self.path}' is damaged ({why}); make it anew with `steelyard profile`")

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Sealed:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(size - _TAIL, 0))
    return file.read(_TAIL)


def _looks_sealed(head: bytes, tail: bytes) -> bool:
    return head == _ZIP and tail.startswith(_SEAL) and len(tail) == _TAIL
