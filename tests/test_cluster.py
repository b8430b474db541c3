"""prepare on a Dask cluster: what one machine makes, also when a worker is killed, or one line of what is wrong."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from corpora import Listener, files_of, recipe, write_larger_corpus

from asrkit import cluster as module
from asrkit.errors import AsrkitError
from asrkit.prepare import prepare

SHARDS_OF_5 = ("audio.shard_utterances=5", "filters.min_s=0.01")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers of one thread each, in processes that are started again when they die."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as two:
        yield two


def pids(cluster: Any) -> dict[str, int]:
    import distributed

    with distributed.Client(cluster, set_as_default=False) as client:
        found: dict[str, int] = client.run(os.getpid)
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    prepare(recipe(*SHARDS_OF_5), manifest=write_larger_corpus(folder / "corpus"), data_dir=folder / "data", workers=1)
    return folder


def test_the_files_are_those_of_a_local_prepare(cluster: Any, local: Path, tmp_path: Path) -> None:
    told = Listener()
    manifest = local / "corpus" / "own.jsonl"
    where = {"manifest": manifest, "data_dir": tmp_path, "scheduler": cluster.scheduler_address}
    prepare(recipe(*SHARDS_OF_5), **where, progress=told)
    assert files_of(tmp_path / "own") == files_of(local / "data" / "own")
    assert told.done["writing shards"] == 300
    assert any(line.endswith("2 threads of 2 workers") for line in told.said)
    prepare(recipe(*SHARDS_OF_5), **where, progress=told)
    assert any(line.startswith("all ") and line.endswith("shards are finished") for line in told.said)


def test_a_relative_data_dir_is_the_head_s(
    cluster: Any, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers were started in other folders."""
    monkeypatch.chdir(tmp_path)
    manifest = local / "corpus" / "own.jsonl"
    prepare(recipe(*SHARDS_OF_5), manifest=manifest, data_dir="data", scheduler=cluster.scheduler_address)
    assert files_of(tmp_path / "data" / "own") == files_of(local / "data" / "own")


def test_a_worker_that_loses_sight_of_the_corpus_makes_no_shard_of_what_it_does_not_see(
    cluster: Any, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing when the corpus is read is counted out; what went away later would never be read again."""
    rows = (local / "corpus" / "own.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    corpus = shutil.copytree(local / "corpus", tmp_path / "corpus")
    (corpus / "own.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (corpus / "00.wav").unlink()
    ready = module._ready_threads

    def hide(*arguments: Any) -> int:
        threads = ready(*arguments)
        (corpus / "12.wav").rename(corpus / "hidden")
        return threads

    monkeypatch.setattr(module, "_ready_threads", hide)
    where = {"manifest": corpus / "own.jsonl", "data_dir": tmp_path, "scheduler": cluster.scheduler_address}
    with pytest.raises(
        AsrkitError, match=r"^\S+ does not see \S+/12\.wav, which was there when the corpus was read; sta"
    ):
        prepare(recipe(*SHARDS_OF_5), **where)
    (corpus / "hidden").rename(corpus / "12.wav")
    monkeypatch.undo()
    counts = prepare(recipe(*SHARDS_OF_5), **where)["counts"]
    assert sum(split["left_out"]["unreadable"] for split in counts.values()) == 1


def test_a_worker_that_is_killed_midway_changes_nothing(cluster: Any, local: Path, tmp_path: Path) -> None:
    first, *_ = pids(cluster).values()
    killed = []

    def kill_after_the_third_shard() -> None:
        while len(list((tmp_path / "own").glob("*/shard-*.tar"))) < 3:
            time.sleep(0.001)
        os.kill(first, signal.SIGKILL)
        killed.append(len(list((tmp_path / "own").glob("*/shard-*.tar"))))

    thread = threading.Thread(target=kill_after_the_third_shard)
    thread.start()
    prepare(
        recipe(*SHARDS_OF_5),
        manifest=local / "corpus" / "own.jsonl",
        data_dir=tmp_path,
        scheduler=cluster.scheduler_address,
    )
    thread.join()
    assert killed[0] < 60  # there was work left
    assert files_of(tmp_path / "own") == files_of(local / "data" / "own")


@contextmanager
def own_cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """A scheduler's address, its process and that of its only worker."""
    file = folder / "scheduler.json"
    found = ["--scheduler-file", str(file), "--no-dashboard"]
    commands = [
        ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *found],
        ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *found],
    ]
    processes = []
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
            while not (
                file.exists() and file.read_text(encoding="utf-8").rstrip().endswith("}")
            ):  # it is written in place
                time.sleep(0.05)
        scheduler, worker = processes
        yield json.loads(file.read_text(encoding="utf-8"))["address"], scheduler, worker


def kill_after_the_third_shard(folder: Path, process: subprocess.Popen[bytes]) -> None:
    def kill() -> None:
        while len(list(folder.glob("*/shard-*.tar"))) < 3:
            time.sleep(0.001)
        process.kill()

    threading.Thread(target=kill, daemon=True).start()


def test_a_scheduler_that_is_killed_midway_is_one_line(local: Path, tmp_path: Path) -> None:
    where = {"manifest": local / "corpus" / "own.jsonl", "data_dir": tmp_path / "data"}
    with own_cluster(tmp_path) as (address, scheduler, _):
        logging.getLogger("distributed.client").setLevel(logging.WARNING)  # as Dask sets it when it is imported
        kill_after_the_third_shard(tmp_path / "data" / "own", scheduler)
        with pytest.raises(AsrkitError, match=f"the scheduler at {address} is gone; start again when it is back"):
            prepare(recipe(*SHARDS_OF_5), **where, scheduler=address)
    assert not logging.getLogger("distributed.client").isEnabledFor(logging.WARNING)
    prepare(recipe(*SHARDS_OF_5), **where, workers=1)
    assert files_of(tmp_path / "data" / "own") == files_of(local / "data" / "own")


def test_a_last_worker_that_is_killed_midway_is_waited_for_for_a_while(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORKERLESS_S", 0.5)
    where = {"manifest": local / "corpus" / "own.jsonl", "data_dir": tmp_path / "data"}
    with own_cluster(tmp_path) as (address, _, worker):
        kill_after_the_third_shard(tmp_path / "data" / "own", worker)
        with pytest.raises(
            AsrkitError,
            match=rf"^{address} has had no worker for \d s; start some \(dask worker {address}\), then the sa",
        ):
            prepare(recipe(*SHARDS_OF_5), **where, scheduler=address)
    assert len(list((tmp_path / "data" / "own").glob("*/shard-*.tar"))) >= 3


def test_nobody_answers(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asrkit.cluster.CONNECT_S", 0.5)
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AsrkitError, match=f"no Dask scheduler answers at '{address}'"):
            prepare(recipe(), manifest=local / "corpus" / "own.jsonl", data_dir=tmp_path, scheduler=address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(AsrkitError, match=r"--scheduler wants Dask: .*python -m pip install 'asrkit\[cluster\]'"):
        prepare(recipe(), manifest=local / "corpus" / "own.jsonl", data_dir=tmp_path, scheduler=address)


@pytest.mark.parametrize(
    "scheduler", ["foo://x:1", "127.0.0.1", "127.0.0.1:8786", "tcp://", "tcp://host", "tcp://host:", "tcp://host:99999"]
)
def test_what_is_no_address_is_refused_at_once(tmp_path: Path, scheduler: str) -> None:
    with pytest.raises(
        AsrkitError, match=f"^--scheduler '{scheduler}' is no address of a Dask scheduler; wanted one su"
    ):
        prepare(recipe(), manifest=tmp_path / "own.jsonl", data_dir=tmp_path, scheduler=scheduler)
    assert list(tmp_path.iterdir()) == []


def test_workers_that_see_other_folders_are_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = tmp_path / "a.wav"
    sound.touch()
    with module._connected(cluster.scheduler_address) as (_, client):
        assert module._ready_threads(client, "here", tmp_path, sound) == 2
        with pytest.raises(AsrkitError, match=r"worker tcp://\S+ does not see \S+elsewhere; wanted a folder that all"):
            module._ready_threads(client, "here", tmp_path / "elsewhere", sound)
        with pytest.raises(
            AsrkitError, match=r"worker tcp://\S+ cannot read \S+b\.wav; wanted the corpus where all mac"
        ):
            module._ready_threads(client, "here", tmp_path, tmp_path / "b.wav")
        monkeypatch.setattr(module, "__version__", "9.9")
        with pytest.raises(AsrkitError, match=r"worker tcp://\S+ has asrkit \S+, here it is 9\.9; wanted the same"):
            module._ready_threads(client, "here", tmp_path, sound)
