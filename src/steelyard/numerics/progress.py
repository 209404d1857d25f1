"""Telling a person what is going on, without the library knowing how."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Whoever wants to be told which step is running.

    A long computation wraps each of its steps in ``with progress.step("name"):``.
    The command line shows them on a terminal; :data:`silent` ignores them.
    """

    def step(self, name: str) -> AbstractContextManager[object]:
        """Return a context that lasts as long as the step of this name.

        Parameters
        ----------
        name : str
            A few words in the present tense, such as ``"Weighing the rows"``.
        """
        ...


class _Silent:
    """Progress that nobody watches."""

    def step(self, name: str) -> AbstractContextManager[object]:
        del name
        return nullcontext()


silent: Progress = _Silent()
"""The default everywhere: says nothing.

Examples
--------
>>> from steelyard.numerics.progress import silent
>>> with silent.step("Thinking"):
...     2 + 2
4
"""
