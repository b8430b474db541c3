"""How many processes in; a pool of them out, that ends with the process that asked for it, however that one ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

SPAWN = get_context("spawn")  # a fork would copy whatever threads the caller has
_P = ParamSpec("_P")
_T = TypeVar("_T")


@contextmanager
def worker_pool(processes: int, start: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Processes in which `start(*arguments)` was called first. At the end, work that has not begun is dropped.

    Ctrl-C is the parent's to see. Ending work that has begun is up to the caller, while the block lasts.

    Raises:
        BrokenProcessPool: passed on, when a worker was killed.
    """
    # A pipe, nothing with a lock: a worker that is killed while it holds one keeps it forever.
    die, tell_to_die = SPAWN.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, mp_context=SPAWN, initializer=_start_worker, initargs=(die, start, arguments))
    try:
        yield pool
    except BrokenProcessPool:
        # The pool ends the workers that it knows; one that was just being started would be waited for forever.
        tell_to_die.send_bytes(b"now")
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        die.close()
        tell_to_die.close()


def submit(pool: ProcessPoolExecutor, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> Future[_T]:
    """As pool.submit.

    Raises:
        BrokenProcessPool: a worker was killed, whichever way the pool says so.
    """
    try:
        with _ctrl_c_held_back():
            return pool.submit(work, *arguments, **named)
    except OSError as error:
        if error.errno is not None:  # the system's word
            raise
        # A worker was killed while another was being started: the pool had closed the pipes already.
        raise BrokenProcessPool(str(error)) from error


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """A process started in the block never sees Ctrl-C, not even while Python starts there; this one does behind it."""
    resource_tracker.ensure_running()  # or the pool starts it within, which lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(die: Connection, start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent asks to stop
    threading.Thread(target=_die_when_told, args=(die,), daemon=True).start()
    start(*arguments)


def _die_when_told(die: Connection) -> None:
    """A parent that was killed cannot ask to stop, nor can a broken pool; workers would wait forever."""
    parent = parent_process()
    connection.wait([die, *([parent.sentinel] if parent is not None else [])])
    os._exit(1)
