"""Telling a person what is going on, without the library knowing how."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Whoever wants to be told which step is running.

    A long computation wraps each of its steps in ``with progress.step("name") as done:``
    and may say how much of it is done, ``done(0.25)``. The command line shows that on
    a terminal; :data:`silent` ignores it.
    """

    def step(self, name: str) -> AbstractContextManager[Callable[[float], None]]:
        """Return a context that lasts as long as the step of this name.

        Parameters
        ----------
        name : str
            A few words in the present tense, such as ``"Weighing the rows"``.
        """
        ...


class _Silent:
    """Progress that nobody watches."""

    def step(self, name: str) -> AbstractContextManager[Callable[[float], None]]:
        del name
        return nullcontext(_ignore)


def _ignore(share: float) -> None:
    del share


silent: Progress = _Silent()
"""The default everywhere: says nothing.

Examples
--------
>>> from steelyard.numerics.progress import silent
>>> with silent.step("Thinking") as done:
...     done(0.5)
...     2 + 2
4
"""
