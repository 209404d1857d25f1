"""Hiding an installed package from a script, so that it runs as where that package is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import Any


class _Hidden(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Refuse the hidden packages; say nothing of others."""
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)


def hide(*names: str) -> None:
    """Make these packages look absent to every later import.

    scikit-learn loads pandas wherever it is installed: half a second and 60 MB that are
    no work of the package that is measured.
    """
    sys.meta_path.insert(0, _Hidden(names))
