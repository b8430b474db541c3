"""Archives: unpacked whole and inside their folder, or refused; one that lies on disk serves prepare as it is."""

import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpora import Listener
from small_librispeech import DEV, TRAIN, archive_of, tar_of, write_split

from asrkit import download as downloading
from asrkit.download import unpack, unpack_once
from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.recipe import load_recipe

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def write_archive(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    return path


def test_unpack(tmp_path: Path) -> None:
    progress = Listener()
    files = {f"top/{number}/file": bytes([number]) * 5000 for number in range(20)}
    archive = write_archive(tmp_path, tar_of((member(name), content) for name, content in files.items()))
    unpack(archive, tmp_path / "out", progress=progress)
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("file")}
    assert found == files
    assert 0 < progress.done["unpacking a.tar.gz"] <= archive.stat().st_size


@pytest.mark.parametrize("name", ["../escaped", "top/../../escaped", "top/../../../escaped"])
def test_members_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    archive = write_archive(tmp_path, tar_of([(member("top/in"), b"fine"), (member(name), b"bad")]))
    with pytest.raises(AsrkitError, match="which leads out of its folder; not unpacked"):
        unpack(archive, tmp_path / "a" / "out")
    assert not list(tmp_path.rglob("escaped"))


def test_absolute_member_stays_inside(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "file"
    unpack(write_archive(tmp_path, tar_of([(member(str(target)), b"x")])), tmp_path / "out")
    assert not target.exists()
    assert (tmp_path / "out" / str(target).lstrip("/")).read_bytes() == b"x"


@pytest.mark.parametrize(
    "odd",
    [
        member("link", tarfile.SYMTYPE, "/etc"),
        member("link", tarfile.SYMTYPE, "in"),
        member("link", tarfile.LNKTYPE, "in"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    archive = write_archive(tmp_path, tar_of([(member("in"), b"fine"), (odd, b"")]))
    with pytest.raises(AsrkitError, match=f"holds '{odd.name}', neither file nor folder; not unpacked"):
        unpack(archive, tmp_path / "out")
    assert names(tmp_path / "out") == ["in"]


def test_no_archive_and_cut_off_archives_are_refused(tmp_path: Path) -> None:
    whole = tar_of([(member("a"), CONTENT), (member("b"), b"last" * 99)])
    for content in (b"", b"<html>no</html>" * 100, *(whole[:size] for size in (9, 300, len(whole) // 2))):
        with pytest.raises(AsrkitError, match="is no whole tar archive"):
            unpack(write_archive(tmp_path, content), tmp_path / "out")


# --- an archive on disk


def own_archive(tmp_path: Path) -> Path:
    for split, transcripts in (("dev-clean", DEV), ("train-clean-100", TRAIN)):
        write_split(tmp_path / "LibriSpeech", split, transcripts)
    path = tmp_path / "LibriSpeech.tar.gz"
    path.write_bytes(archive_of(tmp_path / "LibriSpeech"))
    shutil.rmtree(tmp_path / "LibriSpeech")
    return path


def test_an_archive_on_disk_is_prepared_and_unpacked_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, recipe = own_archive(tmp_path), load_recipe("librispeech")
    data = {"data_dir": tmp_path / "data", "corpus_dir": archive, "splits": ["train-clean-100", "dev-clean"]}
    found = prepare(recipe, workers=1, **data)  # type: ignore[arg-type]  # a table of arguments
    assert {split: counts["utterances"] for split, counts in found["counts"].items()} == {
        "train-clean-100": len(TRAIN),
        "dev-clean": len(DEV),
    }
    assert found["source"]["corpus_dir"] == str(archive)
    folder = tmp_path / "data" / "librispeech" / "download"
    assert names(folder) == ["LibriSpeech.tar.gz.unpacked", "corpus"]
    assert archive.is_file()
    monkeypatch.setattr(downloading, "unpack", None)
    assert prepare(recipe, workers=1, **data)["fingerprint"] == found["fingerprint"]  # type: ignore[arg-type]


def test_another_archive_of_that_name_is_unpacked_anew(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, tar_of([(member("old"), b"1")]))
    assert names(unpack_once(archive, tmp_path / "out")) == ["old"]
    write_archive(tmp_path, tar_of([(member("new"), b"12")]))
    assert names(unpack_once(archive, tmp_path / "out")) == ["new"]


def test_an_archive_on_disk_that_leads_out_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, tar_of([(member("../../escaped"), b"bad")]))
    with pytest.raises(AsrkitError, match=r"a\.tar\.gz holds .*, which leads out of its folder; not unpacked"):
        prepare(load_recipe("librispeech"), data_dir=tmp_path / "data", corpus_dir=archive)
    assert not list(tmp_path.rglob("escaped"))


def test_too_little_room_to_unpack_is_found_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_archive(tmp_path, tar_of([(member("in"), b"fine")]))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=100, used=0, free=100))
    with pytest.raises(AsrkitError, match=r"has 0\.0 MB free; unpacking needs 0\.0 MB: free some space"):
        unpack_once(archive, tmp_path / "out")
    assert names(tmp_path / "out" / "corpus") == []
