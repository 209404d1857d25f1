"""The section of docs/BENCHMARKS.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def section(records: Sequence[dict[str, Any]], setup: dict[str, Any]) -> str:
    """Return the section."""
    return f"## real_shifts\n\n{len(records)} records"
