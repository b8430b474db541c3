"""Calls in, what they give out: done by threads that a process does not wait for when it ends.

It does for those of a ThreadPoolExecutor, one of which may be waiting for a server that is silent.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")
LAST_WORK_S = 10.0  # that work nobody wants any more may take to end: a process ends badly in the middle of a product


class DaemonThreads:
    """So many threads, which each `begin` once."""

    def __init__(self, count: int, name: str, begin: Callable[[], object] = lambda: None) -> None:
        self._begin = begin
        self._wanted: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True, name=name) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        self._begin()
        for future, work in iter(self._wanted.get, None):
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                    future.set_exception(error)
            del future, work  # what they hold is free before the next one comes

    def submit(self, work: Callable[[], Value]) -> Future[Value]:
        """The call is done when its turn comes."""
        future: Future[Value] = Future()
        self._wanted.put((future, work))
        return future

    def map(self, function: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        """What the function makes of each, in their order; after an error the others are not begun."""
        waiting = [self.submit(partial(function, item)) for item in items]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            for future in waiting:
                future.cancel()
            wait(waiting, LAST_WORK_S)
            raise

    def end(self, seconds: float) -> None:
        """The threads end when nothing is left to do; they are waited for so long at most."""
        for _ in self._threads:
            self._wanted.put(None)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
