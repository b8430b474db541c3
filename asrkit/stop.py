"""SIGTERM and Ctrl-C: a training is asked by them to stop; its loader processes leave them to it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StopWaiting(BaseException):
    """Raised where nothing but waiting is given up; as KeyboardInterrupt, past all who handle errors."""


class Stop(threading.Event):
    """Set when a training is asked to stop."""

    interrupts = False

    @contextmanager
    def while_waiting(self) -> Iterator[None]:
        """What is waited for may never come.

        Raises:
            StopWaiting: it was asked to stop, before or meanwhile.
        """
        self.interrupts = True
        try:
            if self.is_set():
                raise StopWaiting
            yield
        finally:
            self.interrupts = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C set it; a second Ctrl-C interrupts at once. Only a main thread can listen."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask_to_stop(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        if stop.interrupts:
            raise StopWaiting

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_the_parent(worker: int) -> None:
    """In a loader process: Ctrl-C and a scheduler's SIGTERM reach all processes of a job, and only the training knows
    when this one may end. It may still end it by SIGTERM. macOS does not tell who sent a signal: there all is as usual.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_the_parent_says, daemon=True, name="signals").start()


def _end_when_the_parent_says() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
