"""A search and the log-probs of many utterances in; what it finds in each, in their order, out.

In threads where the search lets go of Python's lock, else in forked processes.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from asrkit.errors import AsrkitError
from asrkit.search import Hypothesis, LogProbs, Search

ORPHAN_CHECK_S = 2.0


@dataclass(frozen=True)
class Searched:
    """What a search found in one utterance, and what it cost."""

    hypotheses: list[Hypothesis]
    cpu_s: float  # of the search alone, in whichever process


def search_all(
    search: Search, log_probs: Sequence[LogProbs], *, jobs: int = 1, threads: bool = False
) -> Generator[Searched, None, None]:
    """Searches every item of log_probs, each (T, V), in its order.

    In as many jobs: `threads`, or processes where forking is safe (Linux). These inherit `search` and `log_probs`:
    nothing large is copied, and an n-gram is in memory once, either way.

    Raises:
        AsrkitError: one of the processes was killed.
    """
    jobs = min(jobs, len(log_probs))
    if jobs > 1 and threads:
        yield from _in_threads(search, log_probs, jobs)
        return
    if jobs <= 1 or not sys.platform.startswith("linux"):
        yield from (_search_timed(search, item) for item in log_probs)
        return
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("fork"), initializer=_inherit, initargs=(search, log_probs)
    )
    try:
        yield from pool.map(_search_inherited, range(len(log_probs)), chunksize=4)
    except BrokenProcessPool as error:
        raise AsrkitError(
            f"one of {jobs} search processes was killed, most likely for want of memory; try fewer with --jobs"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_threads(search: Search, log_probs: Sequence[LogProbs], jobs: int) -> Generator[Searched, None, None]:
    pool = ThreadPoolExecutor(jobs)
    try:
        yield from pool.map(lambda item: _search_timed(search, item), log_probs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_inherited: tuple[Search, Sequence[LogProbs]]  # in a search process: what it was forked with


def _inherit(search: Search, log_probs: Sequence[LogProbs]) -> None:
    global _inherited
    _inherited = (search, log_probs)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends the work
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """A killed parent closes no queue that its other children hold too: without this they would wait for ever."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(1)


def _search_inherited(number: int) -> Searched:
    search, log_probs = _inherited
    return _search_timed(search, log_probs[number])


def _search_timed(search: Search, log_probs: LogProbs) -> Searched:
    before = time.thread_time()
    hypotheses = search(log_probs)
    return Searched(hypotheses, time.thread_time() - before)
