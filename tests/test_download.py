"""Archives from a server on this machine: fetched, broken off and resumed, damaged and refused, unpacked."""

import errno
import gzip
import shutil
import tarfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from local_server import serving
from small_librispeech import DEV, TRAIN, archive_of, write_split

from asrkit import download as downloading
from asrkit.download import download, fetch_archives
from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.progress import Bar, Silent
from asrkit.recipe import Archive, Recipe, load_recipe

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


def checksum(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


class Recorder(Silent):
    """Remembers warnings and how far each bar went."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.bars: dict[str, float] = {}

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def bar(self, label: str, total: float | None, unit: str = "") -> AbstractContextManager[Bar]:
        recorder = self
        recorder.bars[label] = 0

        class Counting:
            def advance(self, amount: float = 1, status: str = "") -> None:
                recorder.bars[label] += amount

        return nullcontext(Counting())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "FIRST_WAIT_S", 0.001)


def fetch(url: str, path: Path, progress: Silent | None = None, content: bytes = CONTENT, retries: int = 8) -> None:
    download(url, path, md5=checksum(content), size=len(content), progress=progress, retries=retries)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_download(tmp_path: Path) -> None:
    progress = Recorder()
    with serving({"a.tar.gz": CONTENT}) as server:
        fetch(server.url("a.tar.gz"), tmp_path / "a.tar.gz", progress)
    assert (tmp_path / "a.tar.gz").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.tar.gz"]
    assert progress.bars == {"downloading a.tar.gz": len(CONTENT)}


def test_finished_file_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    with serving({"a": CONTENT}) as server:
        fetch(server.url("a"), tmp_path / "a")
    assert server.requests == []


def test_finished_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"something else")
    with (
        serving({"a": CONTENT}) as server,
        pytest.raises(AsrkitError, match="it is damaged; delete it and start again"),
    ):
        fetch(server.url("a"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"something else"
    assert server.requests == []


def test_broken_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    progress = Recorder()
    with serving({"a": CONTENT}, break_after=100_000) as server:
        fetch(server.url("a"), tmp_path / "a", progress)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.requests == ["", "bytes=100000-"]
    assert server.bytes_sent == len(CONTENT)
    assert "the connection ended after 100000 of 512000 bytes; next attempt in" in progress.warnings[0]
    assert progress.bars == {"downloading a": len(CONTENT)}


def test_second_start_goes_on_where_the_first_was_broken_off(tmp_path: Path) -> None:
    with serving({"a": CONTENT}, break_after=100_000, breaks=99) as server:
        with pytest.raises(AsrkitError, match=r"cannot be fetched \(.*; 1 attempts\); what has come is kept"):
            fetch(server.url("a"), tmp_path / "a", retries=0)
        assert names(tmp_path) == ["a.part"]
        assert (tmp_path / "a.part").read_bytes() == CONTENT[:100_000]
        server.breaks = 0
        fetch(server.url("a"), tmp_path / "a")
    assert server.requests == ["", "bytes=100000-"]
    assert server.bytes_sent == len(CONTENT)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert names(tmp_path) == ["a"]


def test_attempts_that_bring_something_are_not_counted(tmp_path: Path) -> None:
    with serving({"a": CONTENT}, break_after=100_000, breaks=99) as server:
        fetch(server.url("a"), tmp_path / "a", retries=1)
    assert len(server.requests) == 6
    assert server.bytes_sent == len(CONTENT)


def test_whole_part_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    with serving({"a": CONTENT}) as server:
        fetch(server.url("a"), tmp_path / "a")
    assert server.requests == []
    assert names(tmp_path) == ["a"]


def test_part_longer_than_the_file_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    with serving({"a": CONTENT}) as server:
        fetch(server.url("a"), tmp_path / "a")
    assert server.requests == [f"bytes={len(CONTENT) + 4}-", ""]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_damaged_part_of_full_length_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(bytes(len(CONTENT)))
    with serving({"a": CONTENT}) as server, pytest.raises(AsrkitError, match="is damaged and was removed"):
        fetch(server.url("a"), tmp_path / "a")
    assert names(tmp_path) == []


def test_server_without_ranges_starts_over(tmp_path: Path) -> None:
    progress = Recorder()
    with serving({"a": CONTENT}, ranges=False, break_after=100_000) as server:
        fetch(server.url("a"), tmp_path / "a", progress)
    assert server.requests == ["", "bytes=100000-"]
    assert server.bytes_sent == len(CONTENT) + 100_000
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert progress.bars == {"downloading a": len(CONTENT)}


def test_server_without_ranges_that_always_breaks_is_given_up(tmp_path: Path) -> None:
    with (
        serving({"a": CONTENT}, ranges=False, break_after=100_000, breaks=99) as server,
        pytest.raises(AsrkitError, match="4 attempts"),
    ):
        fetch(server.url("a"), tmp_path / "a", retries=3)
    assert len(server.requests) == 4


def test_busy_server_is_asked_again(tmp_path: Path) -> None:
    progress = Recorder()
    with serving({"a": CONTENT}, failures=[503, 429, 500]) as server:
        fetch(server.url("a"), tmp_path / "a", progress)
    assert len(server.requests) == 4
    assert [line.split(": ")[1].split(";")[0][:8] for line in progress.warnings] == ["HTTP 503", "HTTP 429", "HTTP 500"]


def test_waits_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(downloading, "FIRST_WAIT_S", 1.0)
    monkeypatch.setattr(downloading.time, "sleep", waits.append)
    with serving({"a": CONTENT}, failures=[503] * 9) as server, pytest.raises(AsrkitError, match="HTTP 503"):
        fetch(server.url("a"), tmp_path / "a")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_missing_file_is_refused_at_once(tmp_path: Path) -> None:
    with serving({}) as server, pytest.raises(AsrkitError, match="HTTP 404 Not Found; wanted a file to download"):
        fetch(server.url("a"), tmp_path / "a")
    assert len(server.requests) == 1


def test_unreachable_server_is_given_up(tmp_path: Path) -> None:
    with serving({}) as server:
        pass
    with pytest.raises(AsrkitError, match=r"cannot be fetched \(.*refused; 3 attempts\)"):
        fetch(server.url("a"), tmp_path / "a", retries=2)


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    with pytest.raises(AsrkitError, match="wanted http:// or https://"):
        fetch((tmp_path / "secret").as_uri(), tmp_path / "a")


def test_corrupt_download_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    corrupt = CONTENT[:-1] + b"!"
    wanted = rf"\(512000 bytes\) has md5 {checksum(corrupt)}; wanted {checksum(CONTENT)}: it is damaged and was removed"
    with serving({"a": corrupt}) as server, pytest.raises(AsrkitError, match=wanted):
        fetch(server.url("a"), tmp_path / "a")
    assert names(tmp_path) == []


# --- without a checksum: gzip's own

MEMBERS = (CONTENT, b"", bytes(20_000_000))  # the last one unpacks to hundreds of times its size
PACKED = b"".join(gzip.compress(member, compresslevel=1, mtime=0) for member in MEMBERS) + bytes(100)


@pytest.mark.parametrize("size", [None, len(PACKED)])
def test_gzip_of_several_members_is_read_through(tmp_path: Path, size: int | None) -> None:
    with serving({"a.gz": PACKED}, break_after=1000) as server:
        download(server.url("a.gz"), tmp_path / "a.gz", size=size)
        download(server.url("a.gz"), tmp_path / "a.gz", size=size)
    assert server.requests == ["", "bytes=1000-"]
    assert (tmp_path / "a.gz").read_bytes() == PACKED


@pytest.mark.parametrize(("size", "requests"), [(None, [f"bytes={len(PACKED)}-"]), (len(PACKED), [])])
def test_whole_gzip_part_asks_the_server_only_where_more_may_follow(
    tmp_path: Path, size: int | None, requests: list[str]
) -> None:
    (tmp_path / "a.gz.part").write_bytes(PACKED)
    with serving({"a.gz": PACKED}) as server:
        download(server.url("a.gz"), tmp_path / "a.gz", size=size)
    assert server.requests == requests and names(tmp_path) == ["a.gz"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>", r"is no sound gzip file \(.*incorrect header check\)"),
        (PACKED[:-200], "is a gzip file that breaks off"),
        (gzip.compress(CONTENT)[:-1], "is a gzip file that breaks off"),
        (gzip.compress(CONTENT)[:-1] + b"!", r"is no sound gzip file \(.*incorrect length check\)"),
        (PACKED + b"more", r"is no sound gzip file \(.*incorrect header check\)"),
        (b"", "is a gzip file that breaks off"),
    ],
)
def test_damaged_gzip_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes, problem: str) -> None:
    with (
        serving({"a.gz": content}) as server,
        pytest.raises(AsrkitError, match=f"{problem}: it is damaged and was rem"),
    ):
        download(server.url("a.gz"), tmp_path / "a.gz")
    assert names(tmp_path) == []


# --- the archives of a recipe


@pytest.fixture(scope="module")
def corpus_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    files = {}
    for split, transcripts in (("dev-clean", DEV), ("train-clean-100", TRAIN)):
        home = tmp_path_factory.mktemp(split) / "LibriSpeech"
        write_split(home, split, transcripts)
        files[f"{split}.tar.gz"] = archive_of(home)
    return files


def served_recipe(files: dict[str, bytes], address: str) -> Recipe:
    archives = [
        Archive(url=f"{address}/{name}", md5=checksum(content), size=len(content), splits=(name.split(".")[0],))
        for name, content in files.items()
    ]
    return replace(load_recipe("librispeech"), archives=tuple(archives))


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Bytes that the disk seems to have left."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=free, used=0, free=free))


def test_fetch_archives(tmp_path: Path, corpus_files: dict[str, bytes]) -> None:
    with serving(corpus_files) as server:
        recipe = served_recipe(corpus_files, server.address)
        root = fetch_archives(recipe, tmp_path / "download", ["dev-clean"])
        assert {u.key: u.text for u in recipe.read_corpus(root, "dev-clean")} == DEV
        assert len(server.requests) == 1  # only the archive that is needed
        assert fetch_archives(recipe, tmp_path / "download", ["dev-clean", "train-clean-100"]) == root
        assert [u.text for u in recipe.read_corpus(root, "train-clean-100")] == list(TRAIN.values())
        fetch_archives(recipe, tmp_path / "download", ["dev-clean", "train-clean-100"])
    assert len(server.requests) == 2
    assert names(tmp_path / "download") == [
        "corpus",
        "dev-clean.tar.gz",
        "dev-clean.tar.gz.unpacked",
        "train-clean-100.tar.gz",
        "train-clean-100.tar.gz.unpacked",
    ]


def test_archive_may_be_deleted_when_it_is_unpacked(tmp_path: Path, corpus_files: dict[str, bytes]) -> None:
    with serving(corpus_files) as server:
        recipe = served_recipe(corpus_files, server.address)
        fetch_archives(recipe, tmp_path, ["dev-clean"])
        (tmp_path / "dev-clean.tar.gz").unlink()
        fetch_archives(recipe, tmp_path, ["dev-clean"])
    assert len(server.requests) == 1


def test_unpacking_that_was_broken_off_is_done_again(
    tmp_path: Path, corpus_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = tarfile.TarFile.extractfile
    left = 5

    def interrupted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return extract(tar, member)

    with serving(corpus_files) as server:
        recipe = served_recipe(corpus_files, server.address)
        with monkeypatch.context() as patch:
            patch.setattr(tarfile.TarFile, "extractfile", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch_archives(recipe, tmp_path, ["dev-clean"])
        assert not (tmp_path / "dev-clean.tar.gz.unpacked").exists()
        set_free(monkeypatch, len(corpus_files["dev-clean.tar.gz"]) // 2)  # what lies there has taken its room already
        root = fetch_archives(recipe, tmp_path, ["dev-clean"])
    assert len(server.requests) == 1
    assert {u.key for u in recipe.read_corpus(root, "dev-clean") if u.audio.is_file()} == set(DEV)
    assert names(tmp_path) == ["corpus", "dev-clean.tar.gz", "dev-clean.tar.gz.unpacked"]


def test_other_checksum_in_the_recipe_is_another_archive(tmp_path: Path, corpus_files: dict[str, bytes]) -> None:
    with serving(corpus_files) as server:
        recipe = served_recipe(corpus_files, server.address)
        fetch_archives(recipe, tmp_path, ["dev-clean"])
        newer = replace(recipe, archives=tuple(replace(archive, md5="0" * 32) for archive in recipe.archives))
        with pytest.raises(AsrkitError, match=r"dev-clean\.tar\.gz has md5 .*; wanted 0{32}: it is damaged; delete it"):
            fetch_archives(newer, tmp_path, ["dev-clean"])


def test_too_little_room_is_found_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = Archive(url="http://127.0.0.1:9/big.tar.gz", md5="0" * 32, size=20 * 10**9, splits=("train",))
    recipe = replace(load_recipe("librispeech"), archives=(big,))
    set_free(monkeypatch, 40 * 10**9)
    with pytest.raises(AsrkitError, match=r"has 40\.0 GB free; download and unpacking need 42\.0 GB: free some space"):
        fetch_archives(recipe, tmp_path, ["train"])
    assert names(tmp_path) == ["corpus"]


def test_disk_that_fills_up_is_told_and_what_has_come_stays(
    tmp_path: Path, corpus_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: object, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(corpus_files) as server:
        recipe = served_recipe(corpus_files, server.address)
        with monkeypatch.context() as patch:
            patch.setattr("asrkit.download._Part.append", full)
            with pytest.raises(AsrkitError, match=r"no room left to write .*; free some space"):
                fetch_archives(recipe, tmp_path, ["dev-clean"])
        assert len(server.requests) == 1  # a full disk is no reason to ask again
        assert names(tmp_path) == ["corpus", "dev-clean.tar.gz.part"]
        fetch_archives(recipe, tmp_path, ["dev-clean"])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            ["dev-claen"],
            r"recipe 'librispeech' downloads no split 'dev-claen'; did you mean 'dev-clean'\? \(there are: ",
        ),
        (["train-clean-100", "x"], r"downloads no split 'x' \(there are: dev-clean, .*--corpus-dir or --manifest"),
    ],
)
def test_unknown_split_is_refused(tmp_path: Path, splits: Sequence[str], message: str) -> None:
    with pytest.raises(AsrkitError, match=message):
        fetch_archives(load_recipe("librispeech"), tmp_path, splits)


def test_corpus_is_downloaded_resumed_and_prepared(tmp_path: Path, corpus_files: dict[str, bytes]) -> None:
    with serving(corpus_files, break_after=3000) as server:
        recipe = served_recipe(corpus_files, server.address)
        found = prepare(recipe, data_dir=tmp_path, splits=["train-clean-100", "dev-clean"], workers=1)
    assert server.requests == ["", "bytes=3000-", ""]
    assert server.bytes_sent == sum(len(content) for content in corpus_files.values())
    assert {split: counts["utterances"] for split, counts in found["counts"].items()} == {
        "train-clean-100": len(TRAIN),
        "dev-clean": len(DEV),
    }
