"""The parts worked on by a Dask cluster: what was learnt goes there once, sums and predictions come back."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from steelyard.auditing.parts.dask_source import DaskFrame
from steelyard.auditing.parts.dask_tasks import Held, apply, as_polars, unpack, versions
from steelyard.auditing.parts.engine import cores
from steelyard.auditing.parts.source import Frame, Part
from steelyard.errors import InputError, SteelyardError

R = TypeVar("R")
_log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
"""How long to wait for a scheduler to answer."""

EMPTY_SECONDS = 60.0
"""How long a cluster may be without any worker."""

# Parts in hand for each thread of the workers: one at work, one that has its input ready, and one
# whose result waits for those before it.
_AHEAD = 3
_POLL_SECONDS = 1.0
_FETCH_SECONDS = 30.0
_RETRIES = 2
_CLOSE_SECONDS = 5.0
_NOISY = ("distributed", "tornado", "asyncio")


class DaskEngine:
    """The workers of a Dask cluster, a few parts a thread in hand.

    Parameters
    ----------
    scheduler : str, optional
        Its address. By default the cluster of the client that is connected, or
        else one of as many processes as this machine has cores, made for the run.

    Raises
    ------
    InputError
        If Dask is not installed.

    Notes
    -----
    The results of parts come back to this process in the order of the parts, so
    that their sums are, to the last digit, those of the local engine. A worker
    that is lost is replaced by the others: the tasks of its parts, and what they
    rest on, are known to the scheduler. A lost scheduler is an InputError.
    """

    def __init__(self, scheduler: str | None = None) -> None:
        try:
            import distributed
        except ImportError as error:
            raise InputError(
                'the engine "dask" needs Dask, which is not installed: pip install "steelyard[dask]"'
            ) from error
        self._distributed: Any = distributed
        self.scheduler = scheduler
        self._depth = 0
        self._open = ExitStack()
        self._client: Any = None
        self._address = scheduler or ""

    def __enter__(self) -> Self:
        """Keep the connection until the context ends; a scheduler that was named is asked at once."""
        self._depth += 1
        if self._depth == 1 and self.scheduler is not None:
            try:
                self._connect()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what was opened; a client that was connected before stays so."""
        self._depth -= 1
        if self._depth == 0:
            self._client = None
            self._open.close()

    def map(self, function: Callable[[Part], R], parts: Sequence[Part]) -> Iterator[R]:
        """Yield ``function(part)`` for each part, in order."""
        if not parts:
            return
        with self:
            client = self._connect()
            with self._said():
                tasks = _Tasks(client, function)
            waiting: deque[Any] = deque()
            rest = deque(parts)
            try:
                while rest or waiting:
                    if rest:
                        with self._said():
                            most = _AHEAD * max(sum(self._threads().values()), 1)
                            while rest and len(waiting) < most:
                                waiting.append(tasks.submit(rest.popleft()))
                    yield self._result(waiting.popleft())
            finally:
                # A traceback may hold on to this frame; what nobody wants is not to be worked on till then.
                waiting.clear()
                tasks.forget()

    def _connect(self) -> Any:
        if self._client is not None:
            return self._client
        self._open.enter_context(_quiet())
        if self.scheduler is not None:
            client = self._named(self.scheduler)
        else:
            try:
                client = self._distributed.get_client()
            except ValueError:
                client = self._own()
        if client.asynchronous:
            raise InputError(
                "the connected Dask client is asynchronous; connect one with asynchronous=False, or name "
                "the scheduler"
            )
        self._address = client.scheduler.address if client.scheduler is not None else self._address
        # What Dask computes of a Dask DataFrame meanwhile is computed there too.
        self._open.enter_context(client.as_current())
        self._client = client
        return client

    def _named(self, address: str) -> Any:
        try:
            # A client that cannot connect raises while it is made, and then hangs in its own end: whether
            # anyone answers is asked without one, on a loop of its own.
            with ThreadPoolExecutor(1) as aside:
                aside.submit(asyncio.run, _ask(address)).result()
            client = self._distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:
            # Whatever a wrong address, port or protocol raises, the caller can do but one thing about it.
            raise InputError(
                f"no Dask scheduler answers at {address} ({_first_line(error)}); check the address, and "
                "that the scheduler runs"
            ) from error
        self._open.callback(_close, client)
        return client

    def _own(self) -> Any:
        try:
            cluster = self._distributed.LocalCluster(
                n_workers=cores(),
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                # Without a dashboard there is still its server: on whatever port is free, for this machine.
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
            )
        except Exception as error:
            raise InputError(
                f"a Dask cluster on this machine could not be started ({_first_line(error)}); a script that "
                'starts one needs `if __name__ == "__main__":` about its work'
            ) from error
        self._open.callback(_close, cluster)
        client = self._distributed.Client(cluster, set_as_default=False)
        self._open.callback(_close, client)
        return client

    def _result(self, future: Any) -> Any:
        """Wait for a result, looking now and then whether anyone is still at work on it."""
        empty_since: float | None = None
        while True:
            with self._said():
                try:
                    self._distributed.wait([future], timeout=_POLL_SECONDS)
                    if future.status == "error":
                        self._failed(future.exception())
                    return future.result(timeout=_FETCH_SECONDS)
                except TimeoutError:
                    pass
                if self._threads():
                    empty_since = None
                    continue
            empty_since = time.monotonic() if empty_since is None else empty_since
            if time.monotonic() - empty_since > EMPTY_SECONDS:
                raise InputError(
                    f"the Dask cluster at {self._address} has had no worker for {EMPTY_SECONDS:.0f} s; start "
                    "workers, and go on from the parts that are done with --resume"
                )

    def _threads(self) -> dict[str, int]:
        """Return each worker's threads; asking is what tells a scheduler that hangs from a busy one."""
        if self._client.status != "running":
            self._lost()
        try:
            answer = self._client.sync(
                self._client.scheduler.ncores, callback_timeout=CONNECT_SECONDS, workers=None
            )
        except (TimeoutError, OSError, AttributeError) as error:
            self._lost(error)
        return dict(answer)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say in one line that the cluster is gone; tasks' own errors do not come this way."""
        try:
            yield
        except (CancelledError, OSError, self._distributed.client.ClosedClientError) as error:
            self._lost(error)

    def _failed(self, error: BaseException) -> NoReturn:
        """Say what a task has raised; what steelyard has raised there says enough itself."""
        if isinstance(error, SteelyardError):
            raise error
        if isinstance(error, self._distributed.KilledWorker):
            raise InputError(
                "a part of the rows brought down one worker after another of the Dask cluster at "
                f"{self._address}, most likely for want of memory; give each worker more"
            ) from error
        raise InputError(
            f"a task failed on the Dask cluster at {self._address}: {type(error).__name__}: "
            f"{_first_line(error)}; the scheduler and the workers need the same packages as this process"
        ) from error

    def _lost(self, error: BaseException | None = None) -> NoReturn:
        raise InputError(
            f"the connection to the Dask scheduler at {self._address} was lost, and no report was written; "
            "once it runs again, --resume goes on from the parts that are done"
        ) from error


class _Tasks:
    """One function on its way to the workers, and its tasks."""

    def __init__(self, client: Any, function: Callable[[Part], Any]) -> None:
        import cloudpickle

        self._client = client
        self._name = uuid.uuid4().hex
        self._source = getattr(function, "source", None)
        if isinstance(self._source, Frame | DaskFrame):
            # Of these a task gets its own rows, not the table.
            function = replace(function, source=Held())  # type: ignore[type-var]
        # A task of the scheduler's that holds the bytes, rather than data scattered to the workers:
        # a worker that comes later, or in place of one that was killed, gets them as well.
        try:
            sent = cloudpickle.dumps(function, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            # What a model of the caller's own raises when it is pickled can be anything.
            raise InputError(
                f"the model cannot be sent to Dask's workers ({type(error).__name__}: {_first_line(error)}); "
                'give one that can be pickled, or use engine "local"'
            ) from error
        self._function = self._submit("learnt", 0, unpack, sent, versions())
        self._partition: tuple[int, Any] = (-1, None)

    def submit(self, part: Part) -> Any:
        """Return the future of one part's result."""
        return self._submit("score", part.number, apply, self._function, part, self._rows(part))

    def forget(self) -> None:
        """Let the cluster drop what was sent."""
        self._function, self._partition = None, (-1, None)

    def _rows(self, part: Part) -> Any:
        """Return the rows to send along: bytes of some, or a partition that is computed there."""
        if isinstance(self._source, Frame):
            return pickle.dumps(self._source.read(part), protocol=pickle.HIGHEST_PROTOCOL)
        if not isinstance(self._source, DaskFrame):
            return None
        if self._partition[0] != part.file:
            from dask import delayed

            # All slices of a partition wait for the same one, which its workers then let go of.
            partition = delayed(as_polars, pure=False)(
                self._source.partitions[part.file], self._source.dialect
            )
            self._partition = part.file, self._client.compute(partition, retries=_RETRIES)
        return self._partition[1]

    def _submit(self, kind: str, number: int, function: Callable[..., Any], *arguments: Any) -> Any:
        import dask

        # The tasks of one kind are a group, whose members the scheduler spreads over all workers.
        key = (f"steelyard_{kind}-{self._name}", number)
        with dask.config.set(_LARGE):
            return self._client.submit(function, *arguments, key=key, retries=_RETRIES, pure=False)


# The models are large, known to be so, and sent once.
_LARGE = {"distributed.admin.large-graph-warning-threshold": "16 GiB"}


async def _ask(address: str) -> None:
    """Connect to a scheduler and hang up; an error if none answers."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    comm = await connect(address, timeout=CONNECT_SECONDS, **arguments)
    await comm.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the cluster's threads log off the terminal: what matters of it is raised."""
    loggers = logging.root.manager.loggerDict
    names = [*_NOISY, *(name for name in loggers if name.partition(".")[0] in _NOISY)]
    before = [(logger, logger.level) for logger in map(logging.getLogger, names)]
    for logger, level in before:
        if level != logging.NOTSET or logger.name in _NOISY:
            logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


def _close(thing: Any) -> None:
    """Close a client or a cluster; one whose scheduler is gone may fail to, which changes nothing."""
    try:
        thing.close(timeout=_CLOSE_SECONDS)
    except (TimeoutError, OSError, CancelledError, RuntimeError) as error:
        _log.debug("%s did not close: %s", type(thing).__name__, error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".;") if text else type(error).__name__
