"""A compressed file written out as it was before, into a place from which it can be read again and again."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from steelyard.auditing.reading.places import plain_name
from steelyard.errors import InputError

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ZSTD = b"\x28\xb5\x2f\xfd"
DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)
"""What the standard library raises for a file that is cut off or changed."""


def is_packed(file: Path) -> bool:
    """Whether a file is compressed, told from how it begins: its name may say so wrongly."""
    with file.open("rb") as handle:
        head = handle.read(6)
    return head.startswith((*_OPENERS, _ZSTD))


@contextmanager
def unpacked(file: Path, scratch: Path | None) -> Iterator[Path]:
    """Yield a file that holds what ``file`` does, uncompressed; it is gone afterwards.

    Parameters
    ----------
    file : Path
    scratch : Path, optional
        Where to write; among the system's temporary files by default.

    Raises
    ------
    InputError
        If this environment cannot read that compression.
    OSError, EOFError, lzma.LZMAError, zlib.error, polars.exceptions.PolarsError
        If the file is damaged, or there is no space.
    """
    if not is_packed(file):
        yield file
        return
    with TemporaryDirectory(prefix="unpacked-", dir=scratch) as directory:
        whole = Path(directory) / plain_name(Path(file.name)).name
        _unpack(file, whole)
        yield whole


def _unpack(file: Path, whole: Path) -> None:
    with file.open("rb") as handle:
        head = handle.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
    if opener is None:
        _unpack_zstd(file, whole)
        return
    with opener(file, "rb") as packed, whole.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)


def _unpack_zstd(file: Path, whole: Path) -> None:
    """Unpack by what this environment has: newer Pythons read Zstandard themselves."""
    try:
        zstd = import_module("compression.zstd")
    except ImportError:
        pass
    else:
        try:
            with zstd.open(file, "rb") as packed, whole.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
        except zstd.ZstdError as error:
            raise EOFError(str(error)) from error
        return
    try:
        import pyarrow as pa
    except ImportError:
        _by_lines(file, whole)
        return
    with pa.input_stream(str(file), compression="zstd") as packed, whole.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)


def _by_lines(file: Path, whole: Path) -> None:
    """Unpack a text by Polars, which gives lines, not bytes."""
    if not hasattr(pl, "scan_lines"):
        raise InputError(
            f"'{file}' is compressed by Zstandard; unpack it (zstd -d), or install steelyard[pandas]"
        )
    pl.scan_lines(file, glob=False).sink_csv(whole, include_header=False, quote_style="never")
