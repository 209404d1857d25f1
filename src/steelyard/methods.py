"""The methods of the library, one row each: what ``steelyard methods`` lists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A public function or class, the room it lives in, and the catalogue numbers it implements."""

    name: str
    room: str
    ids: tuple[int, ...]
    summary: str


METHODS: tuple[Method, ...] = ()
