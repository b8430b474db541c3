"""Plan lines in, shards out, made by a pool of processes: the same bytes whatever their number.

A shard is a run of plan lines of one split. One that is finished, from the same lines and with the same codec, is left
as it is, so that a prepare that was killed goes on where it was.
"""

import json
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from asrkit import audio
from asrkit.checksums import file_state
from asrkit.errors import AsrkitError
from asrkit.plan import Plan, plan_path
from asrkit.progress import Bar, Progress
from asrkit.shard_writer import ShardWriter, shard_is_finished
from asrkit.shards import sidecar_path
from asrkit.workers import SPAWN, submit, worker_pool

UNREADABLE, SILENT = "unreadable", "silent"
PEAK = 0.9  # of what is to be as loud as 16 bits hold: impulse responses come at any level, and fade to very little
TINY = 1e-9
_UTTERANCES_FOR_A_PROCESS = 100  # fewer are done before another process has started


@dataclass(frozen=True, kw_only=True)
class Task:
    """One shard to make: plain values, so that another process can have it."""

    plan_file: Path
    start: int  # byte offset of its first plan line
    lines: int
    folder: Path
    number: int
    codec: str
    fingerprint: str  # of what its plan lines say, the place of the corpus and the text rules left aside


def unfinished(plan: Plan, plan_folder: Path, data_folder: Path) -> tuple[list[Task], int]:
    """The shards still to be made, and how many of them there are already, but made from something else."""
    todo, stale = [], 0
    for split, _ in plan.roles():
        for task in _tasks(plan_path(plan_folder, split), data_folder / split, **plan.audio):
            if not shard_is_finished(task.folder, task.number, codec=task.codec, plan=task.fingerprint):
                todo.append(task)
                stale += sidecar_path(task.folder, task.number).exists()
    return todo, stale


def remove_unplanned(plan: Plan, data_folder: Path) -> None:
    """Deletes the shards behind the last planned one, which a larger corpus or smaller shards left."""
    for split, _ in plan.roles():
        folder = data_folder / split
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("shard-*"):
            number = path.stem.removeprefix("shard-")
            if number.isdecimal() and int(number) >= plan.shards(split):
                path.unlink()


def a_sound(tasks: list[Task]) -> Path | None:
    """The first sound file of theirs that was there when the corpus was read."""
    for task in tasks:
        with task.plan_file.open("rb") as plan:
            plan.seek(task.start)
            for record in map(json.loads, islice(plan, task.lines)):
                if record.get("state"):
                    return Path(record["audio"])
    return None


def pack(tasks: list[Task], *, workers: int, progress: Progress) -> None:
    """Makes the shards, in at most `workers` processes, fewer where there is little to do; one means this one.

    Raises:
        AsrkitError: a worker process was killed, or sound files are no longer seen.
        OSError: nothing can be written (full disk, read-only folder).
    """
    utterances = sum(task.lines for task in tasks)
    processes = min(workers, len(tasks), utterances // _UTTERANCES_FOR_A_PROCESS)
    with progress.bar("writing shards", utterances, "utterances") as bar:
        if processes > 1:
            _pack_in_processes(iter(tasks), processes, bar)
        else:
            for task in tasks:
                write_shard(task, bar.advance)


def _tasks(plan_file: Path, folder: Path, *, shard_utterances: int, codec: str) -> Iterator[Task]:
    """The plan of a split, cut into shards."""
    start = number = 0
    with plan_file.open("rb") as file:
        while lines := list(islice(file, shard_utterances)):
            digest = sha256()
            for line in lines:
                record = json.loads(line)
                for name in ("audio", "text", "detail"):  # shards keep the text as first prepared
                    record.pop(name, None)
                digest.update(json.dumps(record).encode("ascii"))
            yield Task(
                plan_file=plan_file,
                start=start,
                lines=len(lines),
                folder=folder,
                number=number,
                codec=codec,
                fingerprint=digest.hexdigest()[:32],
            )
            start += sum(map(len, lines))
            number += 1


def write_shard(task: Task, advance: Callable[[], None] = lambda: None) -> None:
    """Reads, converts and writes the utterances of one shard; `advance` is called after each.

    Raises:
        AsrkitError: a sound file is not seen here that was there when the corpus was read.
    """
    with (
        task.plan_file.open("rb") as plan,
        ShardWriter(task.folder, task.number, codec=task.codec, plan=task.fingerprint) as writer,
    ):
        plan.seek(task.start)
        for line in islice(plan, task.lines):
            record = json.loads(line)
            if "left_out" in record:
                writer.leave_out(record["key"], record["left_out"], record["detail"])
            else:
                _write_sample(writer, record)
            advance()


def _write_sample(writer: ShardWriter, record: dict[str, Any]) -> None:
    cut = {name: record[name] for name in ("start_s", "end_s", "channel")}
    try:
        samples = audio.read(record["audio"], **cut)
    except AsrkitError as error:
        if record["state"] and not file_state(record["audio"]):  # a folder that is not mounted, not a broken file
            raise AsrkitError(
                f"{platform.node()} does not see {record['audio']}, which was there when the corpus was read; start "
                "again when it is there: finished shards are kept"
            ) from error
        writer.leave_out(record["key"], UNREADABLE, str(error))
        return
    if record.get("must_sound") and not samples.any():
        writer.leave_out(record["key"], SILENT, f"{record['audio']} holds nothing but silence")
        return
    if record.get("to_peak"):
        samples = samples * np.float32(PEAK / max(float(np.abs(samples).max()), TINY))
    writer.add(record["key"], samples, record["meta"] | {"text": record["text"], "text_raw": record["text_raw"]})


def _pack_in_processes(tasks: Iterator[Task], processes: int, bar: Bar) -> None:
    # Pipes and bare counters, nothing with a lock: a worker that is killed while it holds one keeps it forever.
    stop, ask_to_stop = SPAWN.Pipe(duplex=False)
    done = SPAWN.RawArray("L", 2 * processes)  # utterances of each shard under way
    try:
        with stop, ask_to_stop, worker_pool(processes, _start_worker, stop, done) as pool:
            try:
                _hand_out(tasks, pool, done, bar)
            finally:
                ask_to_stop.send_bytes(b"soon")
    except BrokenProcessPool as error:
        raise AsrkitError(
            "a worker process was killed, perhaps because memory ran out: start again, with fewer --workers; "
            "finished shards are kept"
        ) from error


def _hand_out(tasks: Iterator[Task], pool: ProcessPoolExecutor, done: Any, bar: Bar) -> None:
    """As many tasks at a time as `done` has places, until none is left."""
    free = list(range(len(done)))
    waiting: dict[Future[None], tuple[int, int]] = {}  # place and number of utterances of each shard under way
    finished = shown = 0
    while True:
        for task in islice(tasks, len(free)):
            place = free.pop()
            waiting[submit(pool, _write_shard_in_worker, task, place)] = place, task.lines
        if not waiting:
            return
        for future in wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED).done:
            place, lines = waiting.pop(future)
            free.append(place)
            done[place] = 0
            finished += lines
            future.result()
        now = finished + sum(done)
        bar.advance(now - shown)
        shown = now


# In a worker process: whether to stop, and how many utterances are done of each shard under way.
_stop: Connection
_done: Any


class _StoppedError(Exception):
    """Ends a shard that is no longer wanted; its temporary file goes with it."""


def _start_worker(stop: Connection, done: Any) -> None:
    global _stop, _done
    _stop, _done = stop, done


def _write_shard_in_worker(task: Task, place: int) -> None:
    def advance() -> None:
        _done[place] += 1
        if _stop.poll():
            raise _StoppedError

    write_shard(task, advance)
