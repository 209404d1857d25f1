"""By what a file is known for one that steelyard wrote, so that no other is ever replaced."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import polars as pl

PARQUET_MARK = {"steelyard": "rows of an audit"}
"""Metadata of the tables in a report."""

_HEAD = 4096
_HTML = re.compile(rb'<meta name="generator" content="steelyard\b')
# As any printer of JSON leaves it that keeps the order of keys.
_JSON = re.compile(rb'\s*\{\s*"schema_version"\s*:\s*"[^"]*"\s*,\s*"steelyard_version"\s*:')


def written_here(path: Path, kind: str | None = None) -> bool:
    """Whether steelyard wrote this file, or it is empty, so that nothing is lost with it.

    Parameters
    ----------
    path : Path
        A link is none, whatever it leads to.
    kind : {".html", ".json", ".parquet"}, optional
        By the name's ending by default.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> place = Path(mkdtemp()) / "audit.json"
    >>> _ = place.write_text('{"mine": 1}')
    >>> written_here(place)
    False
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            return False
        if found.st_size == 0:
            return True
        kind = kind or path.suffix
        if kind == ".parquet":
            return pl.read_parquet_metadata(path).items() >= PARQUET_MARK.items()
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return bool(_JSON.match(head) if kind == ".json" else _HTML.search(head))
