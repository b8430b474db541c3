"""The batches of an epoch in, the same out, their shards being fetched ahead of them where they are far away.

Two windows of shards are on this machine at a time: that which is being trained on, and the one before, perhaps of the
last epoch, until its last batches are read, or the next. A process that wants a shard which is not there yet fetches it
itself.
"""

import threading
from collections.abc import Iterator
from itertools import islice

from asrkit.batches import PREFETCHED
from asrkit.epochs import Epoch, Rows, Window
from asrkit.errors import AsrkitError
from asrkit.shards import JoinedIndex


def follow(index: JoinedIndex, epoch: Epoch, done: int, workers: int) -> Iterator[Rows]:
    """The batches behind the first `done`, for a loader with so many processes."""
    if not index.is_remote:
        yield from epoch.after(done)
        return
    begins = done == 0
    late = PREFETCHED * max(1, workers) + 1  # batches of the last window that may still be read
    windows = epoch.windows()
    window = next(windows, None)
    while window is not None and done >= len(window.turns):
        done -= len(window.turns)
        window = next(windows, None)
    if window is None:
        return
    following = next(windows, None)
    # In the middle of an epoch nobody reads the window before: a run is resumed, whatever it was that it left here.
    beside = epoch.shards_before if begins else _shards(following)
    index.keep_shards(_shards(window) | beside)
    fetching: _Fetching | None = _Fetching(index, window)
    ahead: _Fetching | None = None
    try:
        while window is not None and fetching is not None:
            for place, rows in enumerate(islice(window, done, None)):
                if place == late and following is not None:
                    ahead = _turn(index, window, following)
                yield rows
            if ahead is None and following is not None:
                ahead = _turn(index, window, following)
            fetching.end(wait=True)  # all its shards are here
            window, fetching, ahead, done = following, ahead, None, 0
            following = next(windows, None)
    finally:
        for each in (fetching, ahead):
            if each is not None:
                each.end()


def _turn(index: JoinedIndex, window: Window, following: Window) -> "_Fetching":
    """Makes room for the next window and begins to fetch it."""
    index.keep_shards(_shards(window) | _shards(following))
    return _Fetching(index, following)


def _shards(window: Window | None) -> set[int]:
    return set(window.shards.tolist()) if window is not None else set()


class _Fetching:
    """A thread that fetches a window's shards, one after the other; what it cannot have, a reader will complain of."""

    def __init__(self, index: JoinedIndex, window: Window) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(index, window), daemon=True, name="shards")
        self._thread.start()

    def _run(self, index: JoinedIndex, window: Window) -> None:
        for shard in window.shards.tolist():
            if self._over.is_set():
                return
            try:
                index.fetch_shard(shard)
            except AsrkitError:
                return

    def end(self, *, wait: bool = False) -> None:
        """Its window is used up, or nobody wants it any more."""
        self._over.set()
        if wait:
            self._thread.join()
