"""Whether files are still what they were when reading began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.auditing.reading.places import identity
from steelyard.errors import InputError


@dataclass(frozen=True)
class Watch:
    """Files as they were before they were read: the name in a message, the path, and what told them."""

    files: tuple[tuple[str, str | Path, list[list[object]]], ...] = ()

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Watch:
        """Look at those that are paths."""
        return cls(
            tuple((n, path, identity(path)) for n, path in named.items() if isinstance(path, (str, Path)))
        )

    def check(self) -> None:
        """Raise an InputError if a file is not what it was, so that what was read may be of neither."""
        changed = [f"{name}: '{path}'" for name, path, before in self.files if identity(path) != before]
        if changed:
            raise InputError(
                [f"{what} has changed while it was read; run again on files that rest" for what in changed]
            )
