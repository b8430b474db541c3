"""Shards made again, by several processes, or killed on the way: the same files in the end, and nothing done twice."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from corpora import Listener, files_of, manifest, recipe, sound, states, write_corpus, write_larger_corpus

from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.shards import open_data


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def larger(tmp_path: Path) -> Path:
    return write_larger_corpus(tmp_path / "corpus")


def test_nothing_is_done_twice(corpus: Path, tmp_path: Path) -> None:
    made = recipe("audio.shard_utterances=10")
    folder = tmp_path / "data" / "own"
    prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    files, tars = files_of(folder), states(folder)
    prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    assert files_of(folder) == files and states(folder) == tars

    (folder / "train" / "shard-000001.jsonl").unlink()
    (folder / "train" / ".shard-000001.tar.99.part").write_bytes(b"half")
    tar = folder / "test" / "shard-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1])
    prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    again = states(folder)
    assert files_of(folder) == files
    assert {name for name in tars if tars[name] != again[name]} == {"train/shard-000001.tar", "test/shard-000000.tar"}


def test_a_mended_sound_file_is_read_again(corpus: Path, tmp_path: Path) -> None:
    made = recipe("audio.shard_utterances=10")
    whole = (corpus / "31.wav").read_bytes()
    (corpus / "31.wav").write_bytes(whole[:-100])
    meta = prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    assert meta["counts"]["test"]["left_out"]["unreadable"] == 1
    tars = states(tmp_path / "data" / "own")
    (corpus / "31.wav").write_bytes(whole)
    meta = prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    again = states(tmp_path / "data" / "own")
    assert meta["counts"]["test"]["utterances"] == 4
    assert {name for name in tars if tars[name] != again[name]} == {"test/shard-000000.tar"}


def test_other_audio_settings_make_the_shards_anew_and_say_so(corpus: Path, tmp_path: Path) -> None:
    listener = Listener()
    folder = tmp_path / "data" / "own"
    prepare(recipe("audio.shard_utterances=10"), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    opus = recipe("audio.shard_utterances=30", "audio.codec=opus")
    prepare(opus, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl", progress=listener)
    assert "3 of 3 shards are from another state of the corpus or audio settings: made anew" in listener.said
    assert len(list((folder / "train").glob("shard-*"))) == 2  # those behind are gone
    assert open_data(tmp_path / "data", "own").index("test").audio(0).shape == (6400,)

    fresh = prepare(opus, data_dir=tmp_path / "fresh", manifest=corpus / "own.jsonl")
    assert files_of(folder) == files_of(tmp_path / "fresh" / "own") and fresh["counts"]


# Things that end prepare before its time


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(corpus: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # bytes; a write behind it fails as on a full disk
    try:
        with pytest.raises(AsrkitError, match=r"no room left to write .*; free some space and start again"):
            prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    folder = tmp_path / "data" / "own"
    assert not any(name.startswith("train") for name in states(folder)) and list(folder.rglob("*.part")) == []
    assert not (folder / "prepare.json").exists()
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    assert len(open_data(tmp_path / "data", "own").index("train")) == 28


RUN = """
import sys, unicodedata
from pathlib import Path
from asrkit.prepare import prepare
from asrkit.recipe import Recipe, with_overrides
made = Recipe(name="tiny", language="en", description="", licence="", read_corpus=lambda root, split: [],
              normalize=lambda text: " ".join(text.lower().split()), alphabet=" abcdefghijklmnopqrstuvwxyz")
made = with_overrides(made, ["audio.shard_utterances=20"])
prepare(made, data_dir=sys.argv[1], manifest=sys.argv[2], workers=int(sys.argv[3]))
"""


def start(data_dir: Path, path: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, str(data_dir), str(path), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_processes_make_no_difference(larger: Path, tmp_path: Path) -> None:
    made = recipe("audio.shard_utterances=20")
    listener = Listener()
    metas = [prepare(made, data_dir=tmp_path / f"{n}", manifest=larger, workers=n, progress=listener) for n in (1, 2)]
    assert metas[0] == metas[1]
    assert set(listener.done.values()) == {300}
    assert files_of(tmp_path / "1" / "own") == files_of(tmp_path / "2" / "own")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_prepare_in_one_line(tmp_path: Path) -> None:
    name = sound(tmp_path / "long.wav", 30)
    rows = [{"key": f"k{i}", "audio": name, "text": "a"} for i in range(200)]

    def kill() -> None:
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.01)
        os.kill(workers[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(AsrkitError, match="a worker process was killed, perhaps because memory ran out"):
        prepare(
            recipe("audio.shard_utterances=20"),
            data_dir=tmp_path / "data",
            manifest=manifest(tmp_path, rows),
            workers=2,
        )
    thread.join()
    assert not (tmp_path / "data" / "own" / "prepare.json").exists()


@pytest.mark.slow
def test_killed_and_started_again_it_ends_with_the_same_files(larger: Path, tmp_path: Path) -> None:
    prepare(recipe("audio.shard_utterances=20"), data_dir=tmp_path / "calm", manifest=larger, workers=1)
    folder = tmp_path / "data" / "own"
    for shards, workers in ((2, 2), (9, 1)):  # of 18
        process = start(tmp_path / "data", larger, workers)
        while len(states(folder)) < shards and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.wait(60)
    assert not (folder / "prepare.json").exists()
    before = states(folder)
    assert start(tmp_path / "data", larger, 2).wait(60) == 0
    assert files_of(folder) == files_of(tmp_path / "calm" / "own")
    after = states(folder)
    assert sum(before[name] == after[name] for name in before) >= len(before) - 1  # but for one that lacked its sidecar


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    name = sound(tmp_path / "long.wav", 30)
    path = manifest(tmp_path, [{"key": f"k{i}", "audio": name, "text": "a"} for i in range(2000)])
    process = start(tmp_path / "data", path, 2)
    folder = tmp_path / "data" / "own"
    while not states(folder):  # the first shards are done, most are not
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: parent and workers
    assert process.wait(10) != 0
    assert list(folder.rglob("*.part")) == [] and not (folder / "prepare.json").exists()
    assert states(folder)
