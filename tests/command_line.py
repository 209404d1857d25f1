"""How tests run the command line in their own process."""

from __future__ import annotations

import inspect
from typing import Any

from typer.testing import CliRunner

from steelyard.cli import app

# Older runners mix the two streams unless told not to; newer ones do not know the word.
_KNOWN = inspect.signature(CliRunner.__init__).parameters
_KEEP_APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in _KNOWN else {}


def invoke(*words: str) -> Any:
    """Run ``steelyard`` with these words; return the exit code and what went to each stream."""
    return CliRunner(**_KEEP_APART).invoke(app, list(words))
