"""Shards to make and a Dask scheduler's address in; the shards, made by whatever workers it has, out.

Head and workers see the same folders under the same paths (a shared file system) and have the same asrkit installed. A
shard is a task; one whose worker dies is given to another, and the bytes are those of a local prepare.
"""

import importlib
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from asrkit import __version__
from asrkit.errors import AsrkitError
from asrkit.packing import Task, a_sound, write_shard
from asrkit.progress import Progress

CONNECT_S = 10.0
SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")  # of addresses that Dask knows, but for one within a process
WORKERLESS_S = 60.0  # without any worker, after which nobody is waited for; one that died is often started again
LOOK_S = 1.0  # between two looks for workers
POLL_S = 0.02  # between two looks for a shard that is finished
AHEAD = 3  # shards handed out for each thread there is, so that none waits for the head


def check_address(scheduler: str) -> None:
    """Refuses what is no address: Dask does so with a traceback, and after waiting.

    Raises:
        AsrkitError: it is none.
    """
    scheme, _, place = scheduler.partition("://")
    host, _, port = place.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16
    if scheme != "inproc" and not (scheme in SCHEMES and host and is_port):
        raise AsrkitError(
            f"--scheduler {scheduler!r} is no address of a Dask scheduler; wanted one such as tcp://host:8786, which "
            "`dask scheduler` prints"
        )


def pack_on_cluster(tasks: list[Task], scheduler: str, *, progress: Progress) -> None:
    """Makes the shards; those that are finished when it is interrupted stay.

    Raises:
        AsrkitError: no scheduler or worker answers, workers with another asrkit or that do not see the folder or the
            corpus, a shard whose workers die again and again, or no worker that is left.
        OSError: nothing can be written (full disk, read-only folder).
    """
    with _connected(scheduler) as (distributed, client):
        threads = _ready_threads(client, scheduler, tasks[0].folder.parent, a_sound(tasks))
        progress.say(f"{scheduler}: {threads} threads of {len(client.scheduler_info(n_workers=-1)['workers'])} workers")
        with progress.bar("writing shards", sum(task.lines for task in tasks), "utterances") as bar:
            waiting = iter(tasks)
            lines: dict[str, int] = {}

            def hand_out(task: Task) -> Any:
                future = client.submit(write_shard, task, pure=False)
                lines[future.key] = task.lines
                return future

            running = distributed.as_completed([hand_out(task) for task in islice(waiting, threads * AHEAD)])
            for future in _finished(running, client, scheduler):
                _result(future, distributed, scheduler)
                bar.advance(lines.pop(future.key))
                for task in islice(waiting, 1):
                    running.add(hand_out(task))


def _finished(running: Any, client: Any, scheduler: str) -> Iterator[Any]:
    """Each shard that is made, or will not be.

    Raises:
        AsrkitError: no worker is left to make one.
    """
    looked = seen = time.monotonic()
    while not running.is_empty():
        now = time.monotonic()
        if running.has_ready():
            yield next(running)
            seen = now
            continue
        if now - looked > LOOK_S:
            looked = now
            if client.scheduler_info(n_workers=1)["workers"]:
                seen = now
            elif now - seen > WORKERLESS_S:
                raise AsrkitError(
                    f"{scheduler} has had no worker for {now - seen:.0f} s; start some (dask worker {scheduler}), then "
                    "the same command again: finished shards are kept"
                )
        time.sleep(POLL_S)


def _result(future: Any, distributed: Any, scheduler: str) -> None:
    """Raises what kept a shard from being made; a made one has nothing to be fetched from workers that may be gone."""
    try:
        if future.status in ("error", "cancelled"):
            future.result()
    except distributed.KilledWorker as error:
        raise AsrkitError(
            f"workers of {scheduler} die on one of the shards, perhaps because memory runs out: start again with "
            "smaller ones (audio.shard_utterances) or larger workers; finished shards are kept"
        ) from error
    except (CancelledError, distributed.comm.CommClosedError) as error:
        raise AsrkitError(
            f"the scheduler at {scheduler} is gone; start again when it is back: finished shards are kept"
        ) from error


@contextmanager
def _connected(scheduler: str) -> Iterator[tuple[Any, Any]]:
    """The package and a client of the scheduler.

    Raises:
        AsrkitError: there is none.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise AsrkitError(
            f"--scheduler wants Dask: {error}; run: python -m pip install 'asrkit[cluster]', on the workers, too"
        ) from error
    for name in ("distributed", "distributed.client"):  # the second has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said in one line
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise AsrkitError(
            f"no Dask scheduler answers at {scheduler!r} ({str(error) or type(error).__name__}); wanted its address, "
            "such as tcp://host:8786, which `dask scheduler` prints"
        ) from error
    try:
        with client.as_current():
            yield distributed, client
    finally:
        client.close(timeout=CONNECT_S)


def _ready_threads(client: Any, scheduler: str, folder: Path, sound: Path | None) -> int:
    """Threads of the workers, which were asked what they have; `sound` is a file of the corpus.

    Raises:
        AsrkitError: there are none, or they cannot do the work.
    """
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
        found: dict[str, tuple[str, bool, bool]] = client.run(_look, folder, sound)
    except TimeoutError as error:
        raise AsrkitError(f"no worker has joined {scheduler}; wanted some: dask worker {scheduler}") from error
    except ImportError as error:
        raise AsrkitError(f"a worker of {scheduler} has no asrkit ({error}); wanted {__version__} on all") from error
    for worker, (version, sees, hears) in found.items():
        if version != __version__:
            raise AsrkitError(f"worker {worker} has asrkit {version}, here it is {__version__}; wanted the same on all")
        if not sees:
            raise AsrkitError(f"worker {worker} does not see {folder}; wanted a folder that all machines share")
        if not hears:
            raise AsrkitError(f"worker {worker} cannot read {sound}; wanted the corpus where all machines see it, too")
    return sum(client.nthreads().values())


def _look(folder: Path, sound: Path | None) -> tuple[str, bool, bool]:
    """On a worker: its asrkit, and whether it sees the folder and may read the corpus."""
    return __version__, folder.is_dir(), sound is None or os.access(sound, os.R_OK)
