"""What a Parquet file's footer says of its columns, read without touching their content.

Parquet compresses in ways that let a few bytes claim gigabytes. A table from a
file that somebody else may have made is therefore taken only if its columns
are not compressed: then nothing is unpacked but what the reader counts.
The footer is a struct in Thrift's compact protocol, of which this reads what
the format uses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_MAGIC = b"PAR1"
_DEEPEST = 16  # the format's own structs are half as deep

# Numbers of fields in the format's structs.
_ROW_GROUPS, _CHUNKS, _META_DATA, _CODEC, _OUTSIDE = 4, 1, 3, 4, 1
_UNCOMPRESSED = 0


def is_uncompressed(content: bytes) -> bool:
    """Whether no column of a Parquet file is compressed, and all of them lie in it.

    Raises
    ------
    ValueError
        If it has no footer that can be read.
    """
    footer = _Compact(_footer(content)).struct(0)
    return all(
        _OUTSIDE not in chunk and chunk[_META_DATA].get(_CODEC) == _UNCOMPRESSED for chunk in _chunks(footer)
    )


def _footer(content: bytes) -> bytes:
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise ValueError("it is no Parquet")
    (length,) = struct.unpack("<I", content[-8:-4])
    if length > len(content) - 12:
        raise ValueError("its footer is cut short")
    return content[-8 - length : -8]


def _chunks(footer: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """Yield the structs of the columns' chunks."""
    for group in _list(footer, _ROW_GROUPS):
        for chunk in _list(group, _CHUNKS):
            if not isinstance(chunk, dict) or not isinstance(chunk.get(_META_DATA), dict):
                raise ValueError("its footer is damaged")
            yield chunk


def _list(plain: Any, number: int) -> list[Any]:
    found = plain.get(number) if isinstance(plain, dict) else None
    if not isinstance(found, list):
        raise ValueError("its footer is damaged")
    return found


class _Compact:
    """Reads values of Thrift's compact protocol; structs become dictionaries by the fields' numbers."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def _bytes(self, n: int) -> bytes:
        if n > len(self._content) - self._at:
            raise ValueError("its footer is cut short")
        self._at += n
        return self._content[self._at - n : self._at]

    def _varint(self) -> int:
        out = 0
        for shift in range(0, 70, 7):
            byte = self._bytes(1)[0]
            out |= (byte & 0x7F) << shift
            if byte < 0x80:
                return out
        raise ValueError("its footer is damaged")

    def _zigzag(self) -> int:
        n = self._varint()
        return (n >> 1) ^ -(n & 1)

    def struct(self, depth: int) -> dict[int, Any]:
        """Read fields up to the one that stops a struct."""
        out: dict[int, Any] = {}
        number = 0
        while head := self._bytes(1)[0]:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 0x0F
            # A boolean field is told by its kind alone.
            out[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth + 1)
        return out

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its footer is damaged")
        if kind in (1, 2, 3):
            return self._bytes(1)[0]
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            head = self._bytes(1)[0]
            size = head >> 4 if head >> 4 < 15 else self._varint()
            # Each element takes a byte at least, so no size that is told makes a longer list.
            return [self._value(head & 0x0F, depth + 1) for _ in range(size)]
        if kind == 12:
            return self.struct(depth)
        raise ValueError("its footer is damaged")
