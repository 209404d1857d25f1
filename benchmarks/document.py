"""docs/BENCHMARKS.md: one generated section a benchmark."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "BENCHMARKS.md"

_HEAD = """# Benchmarks

steelyard beside other packages, on the same data and predictions, in one run. Each section is written by
`python -m benchmarks NAME`; do not edit it by hand. A peer lives in an environment of its own, which the
command makes under `$STEELYARD_BENCH_CACHE` (`~/.cache/steelyard-benchmarks` if that is not set).
"""


def with_section(text: str, name: str, section: str) -> str:
    """Return the document with the section of that name replaced, or added at the end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{begin}\n{section.strip()}\n{end}"
    text = text or _HEAD
    found = re.search(re.escape(begin) + ".*?" + re.escape(end), text, flags=re.DOTALL)
    if found:
        return text[: found.start()] + block + text[found.end() :]
    return f"{text.rstrip()}\n\n{block}\n"


def write_section(name: str, section: str) -> Path:
    """Write one section of the document and leave the others as they are."""
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(with_section(text, name, section), encoding="utf-8")
    return DOCUMENT
