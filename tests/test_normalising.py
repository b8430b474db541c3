"""Lines normalised by several processes: the same as by one, in order, with little in memory, and ended cleanly."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import pytest

from asrkit import normalising
from asrkit.errors import AsrkitError
from asrkit.normalising import normalised
from asrkit.recipe import load_recipe

LIBRISPEECH = load_recipe(Path(__file__).parent.parent / "recipes" / "librispeech")


def lines(number: int | None = None) -> Iterator[str]:
    for i in islice(count(), number):
        yield f"Line {'abcdefghij'[i % 10]}, -- “Mr. {'x' * (i % 7)}’s” É" if i % 11 else ""


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalising, "CHUNK_CHARACTERS", 1000)


def test_a_short_text_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalising, "worker_pool", None)
    found = list(normalised(lines(1000), LIBRISPEECH, workers=8))
    assert found == [LIBRISPEECH.normalize(line) for line in lines(1000)]
    assert list(normalised([], LIBRISPEECH, workers=8)) == []


def test_rules_that_no_folder_has_stay_in_this_process(small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalising, "worker_pool", None)
    for own in (replace(LIBRISPEECH, normalize=str.upper), replace(LIBRISPEECH, normalize=str.upper, folder=None)):
        assert list(normalised(lines(1000), own, workers=2)) == [line.upper() for line in lines(1000)]


@pytest.mark.slow
def test_processes_make_no_difference(small_chunks: None) -> None:
    one, two = (list(normalised(lines(5000), LIBRISPEECH, workers=workers)) for workers in (1, 2))
    assert one == two == [LIBRISPEECH.normalize(line) for line in lines(5000)]


@pytest.mark.slow
def test_little_is_read_ahead_and_closing_ends_the_processes(small_chunks: None) -> None:
    read = 0

    def counted() -> Iterator[str]:
        nonlocal read
        for line in lines():
            read += 1
            yield line

    with closing(normalised(counted(), LIBRISPEECH, workers=2)) as found:
        assert len(list(islice(found, 1000))) == 1000
        assert multiprocessing.active_children()
    assert multiprocessing.active_children() == []
    assert read < 1000 + 6 * 100  # a chunk of 1,000 characters is fewer than 100 lines


@pytest.mark.slow
def test_a_killed_process_is_said_in_one_line(small_chunks: None) -> None:
    with closing(normalised(lines(), LIBRISPEECH, workers=2)) as found:
        assert len(list(islice(found, 1000))) == 1000
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
        with pytest.raises(AsrkitError, match="a worker process was killed, perhaps because memory ran out"):
            list(found)


@pytest.mark.slow
@pytest.mark.parametrize("later_s", [0.0, 0.1, 1.0])  # while the workers start, and while they work
def test_ctrl_c_ends_soon_and_leaves_nothing(tmp_path: Path, later_s: float) -> None:
    (tmp_path / "text.txt").write_text("".join(f"{line}\n" for line in lines(1_000_000)), encoding="utf-8")
    command = [sys.executable, "-m", "asrkit", "lm", "build", "text.txt", "-o", "lm.arpa"]
    command += ["--recipe", "librispeech", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while not workers_of(process.pid):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(later_s)
    workers = workers_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: parent and workers
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.count("\n") == 1 and "interrupted" in error
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def workers_of(parent: int) -> list[int]:
    """Its child processes that normalise: those that Python spawned for work."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(status.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if ppid == parent and b"spawn_main" in command:
            found.append(int(status.parent.name))
    return found
