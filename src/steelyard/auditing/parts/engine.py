"""Who works on the parts: threads of this process. An engine maps a function over parts, in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self, TypeVar

from threadpoolctl import threadpool_limits

from steelyard.auditing.parts.source import Part

R = TypeVar("R")


class Engine(Protocol):
    """Whoever maps a function over parts; the results come in the order of the parts, whoever is first.

    What it needs for that, it keeps while its context lasts.
    """

    def __enter__(self) -> Self:
        """Get ready for several maps."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of what was needed."""
        ...

    def map(self, function: Callable[[Part], R], parts: Sequence[Part]) -> Iterator[R]:
        """Yield ``function(part)`` for each part."""
        ...


class Threads:
    """Threads of this process, two parts a thread in hand at most.

    Parameters
    ----------
    workers : int, optional
        As many as there are cores by default.

    Notes
    -----
    Scoring runs in compiled code, which lets other threads run. Memory holds two
    parts a thread.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or cores()

    def __enter__(self) -> Self:
        """Nothing is kept between maps."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing was kept."""

    def map(self, function: Callable[[Part], R], parts: Sequence[Part]) -> Iterator[R]:
        """Yield ``function(part)`` for each part, in order."""
        # A thread's models use that thread alone: the parts already keep every core busy.
        pool = ThreadPoolExecutor(self.workers, initializer=threadpool_limits, initargs=(1,))
        waiting: deque[Future[R]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(function, part))
                if len(waiting) >= 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # After a failure or a key press nobody wants what is still waiting.
            pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
