"""The engines by name."""

from __future__ import annotations

from steelyard.auditing.parts.engine import Engine, Threads
from steelyard.errors import InputError

ENGINES = ("local", "dask")


def make_engine(name: str, scheduler: str | None = None) -> Engine:
    """Return the engine of that name.

    Raises
    ------
    InputError
        If there is none, or a scheduler is named that it does not use.
    """
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}; choose from {', '.join(ENGINES)}.")
    if name == "dask":
        from steelyard.auditing.parts.dask_engine import DaskEngine

        return DaskEngine(scheduler)
    if scheduler is not None:
        raise InputError("a scheduler was named, but the engine is this process; add --engine dask")
    return Threads()
