"""Which columns of a file are the index of a pandas frame, and no column of the frame that was written."""

from __future__ import annotations

import json
import struct
from pathlib import Path

# Metadata of a schema is a few kB; a file may claim anything.
_MOST = 1 << 26
_BEGIN = b'{"index_columns":'


def index_columns(file: Path, kind: str) -> tuple[str, ...]:
    """Return the columns that a Parquet or Arrow file says are an index.

    An index without values, as pandas counts rows, is no column and is not named.

    Parameters
    ----------
    file : Path
    kind : {"Parquet", "Arrow"}
    """
    told = _metadata(_schema_bytes(file, kind))
    columns = told.get("index_columns", []) if isinstance(told, dict) else []
    return tuple(name for name in columns if isinstance(name, str)) if isinstance(columns, list) else ()


def written_index(header: list[str]) -> tuple[str, ...]:
    """Return the column of a CSV file that holds row names: the first one, if it has no name of its own.

    So write pandas (``Unnamed: 0`` once it has read its own file again) and R.

    Examples
    --------
    >>> written_index(["", "age"]), written_index(["age", ""])
    (('',), ())
    """
    first = header[0] if len(header) > 1 else "x"
    return (first,) if first == "" or first == "Unnamed: 0" else ()


def _schema_bytes(file: Path, kind: str) -> bytes:
    """Return the part of a file that holds its schema, where it is not too long for one."""
    with file.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(0)
        head = handle.read(8)
        if kind == "Arrow" and not head.startswith(b"ARROW1"):
            # A stream begins with its schema: a mark, the length, and the message.
            length = struct.unpack("<i", head[4:8])[0] if head[:4] == b"\xff" * 4 and len(head) == 8 else 0
            return handle.read(length) if 0 < length <= min(size, _MOST) else b""
        magic = 4 if kind == "Parquet" else 6
        if size < magic + 4:
            return b""
        handle.seek(size - magic - 4)
        length = struct.unpack("<i", handle.read(4))[0]
        if not 0 < length <= min(size - magic - 4, _MOST):
            return b""
        handle.seek(size - magic - 4 - length)
        return handle.read(length)


def _metadata(schema: bytes) -> object:
    """Return what pandas has left in a schema, which both formats hold as a text among other bytes."""
    start = schema.find(_BEGIN)
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(schema[start:].decode("utf-8", errors="replace"))[0]
    except (ValueError, RecursionError):
        return None
