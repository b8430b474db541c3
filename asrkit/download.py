"""Addresses and checksums in, whole files on disk out, a corpus unpacked; what was broken off goes on where it was."""

import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from asrkit.atomic import PART, storing_in, sync, write_whole
from asrkit.checksums import Check, GzipCheck, Md5Check
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.progress import Bar, Progress, Silent
from asrkit.recipe import Archive, Recipe

RETRIES = 8  # in a row, without a byte more than before
FIRST_WAIT_S = 1.0  # before the first retry; doubled each time
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 60.0  # without a byte
UNPACKED_SHARE = 1.1  # of an archive's size: sound is compressed already, and disks store in blocks
_ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_T = TypeVar("_T")
_CHUNK_BYTES = 1 << 20
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others a little later


def fetch_archives(recipe: Recipe, folder: Path, splits: Iterable[str], progress: Progress | None = None) -> Path:
    """Downloads and unpacks the archives that hold these splits, and gives the folder that they unpack to.

    Archives stay in `folder`; NAME.unpacked beside each says that it needs no more work (it may then be deleted).

    Raises:
        AsrkitError: no archive holds a split, too little room, or what `download` and `unpack` raise.
    """
    return fetch_all(_archives_of(recipe, splits), folder, progress)


def fetch_all(archives: Iterable[Archive], folder: Path, progress: Progress | None = None) -> Path:
    """As `fetch_archives`, of these archives."""
    progress = progress or Silent()
    root = folder / "corpus"
    missing = [archive for archive in archives if not _is_unpacked(archive, folder)]
    if not missing:
        return root
    with storing_in(folder):
        root.mkdir(parents=True, exist_ok=True)
        _check_room(folder, missing)
        for archive in missing:
            path = _path(archive, folder)
            download(archive.url, path, md5=archive.md5, size=archive.size, progress=progress)
            _marker(path, "unpacking").touch()
            unpack(path, root, progress=progress)
            write_whole(_marker(path, "unpacked"), archive.md5.encode("ascii"))
            _marker(path, "unpacking").unlink()
    return root


def is_archive(path: Path) -> bool:
    """Whether this is a file that `unpack_once` takes, by its name."""
    return path.is_file() and path.name.lower().endswith(_ARCHIVE_ENDINGS)


def unpack_once(archive: Path, folder: Path, progress: Progress | None = None) -> Path:
    """Unpacks an archive that lies elsewhere on disk to `folder`, and gives the folder that it unpacks to.

    NAME.unpacked in `folder` says that it needs no more work; another archive of that name is unpacked anew.

    Raises:
        AsrkitError: too little room, or what `unpack` raises.
    """
    root, marker = folder / "corpus", _marker(folder / archive.name, "unpacked")
    found = archive.stat()
    state = f"{found.st_size} bytes of {found.st_mtime_ns}"
    if marker.is_file() and marker.read_text(encoding="ascii") == state:
        return root
    with storing_in(folder):
        if root.exists():
            shutil.rmtree(root)
        root.mkdir(parents=True)
        _require_room(folder, round(UNPACKED_SHARE * found.st_size), "unpacking needs")
        unpack(archive, root, progress=progress)
        write_whole(marker, state.encode("ascii"))
    return root


def fetch_gzip(url: str, path: Path, *, size: int | None = None, progress: Progress | None = None) -> None:
    """Downloads a gzip file that has no published checksum, into a folder that need not be there yet.

    Raises:
        AsrkitError: too little room for its `size`, where that is known, or what `download` raises.
    """
    with storing_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if size is not None and not path.exists():
            needed = max(0, size - _fetched(path))
            _require_room(path.parent, needed, f"downloading {path.name} needs", "choose another folder")
        download(url, path, size=size, progress=progress)


def download(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    retries: int = RETRIES,
) -> None:
    """Makes `path` the file at `url`, whole and with this checksum; `size` in bytes is for the progress bar.

    Without a checksum it must be a gzip file: its own CRC is checked by reading it through, and its size where one is
    given.

    What has come so far waits in PATH.part. Broken off here or there, it goes on behind the last byte, where the server
    can do that (range requests, RFC 9110 section 14), else from the start. A file that is right and there already is
    not fetched again.

    Raises:
        AsrkitError: the server cannot be reached or has no such file, or the file is another one.
    """
    progress = progress or Silent()

    def new_check() -> Check:
        return GzipCheck(size) if md5 is None else Md5Check(md5)

    if not url.startswith(("http://", "https://")):
        raise AsrkitError(f"{url!r} is no address to download from; wanted http:// or https://")
    if path.exists():
        with progress.bar(f"checking {path.name}", path.stat().st_size, "B") as bar, path.open("rb") as whole:
            problem = _checked(new_check(), whole, bar).problem()
        if problem:
            raise AsrkitError(f"{path} {problem}: it is damaged; delete it and start again")
        return
    part_path = path.with_name(path.name + PART)
    part_path.touch()
    with progress.bar(f"downloading {path.name}", size, "B") as bar, part_path.open("r+b") as file:
        part = _Part(file, bar, new_check)
        if part.check.problem() or not part.check.proves_whole:
            _fetch(url, part, progress, retries)
        problem = part.check.problem()
        sync(file)
    if problem:
        part_path.unlink()
        raise AsrkitError(
            f"what came from {url} ({part.size} bytes) {problem}: it is damaged and was removed; start again, and if "
            f"that does not help, the file on the server is another one"
        )
    part_path.rename(path)


def unpack(archive: Path, folder: Path, *, progress: Progress | None = None) -> None:
    """Unpacks a tar archive, compressed or not, in one pass, or a zip archive. Nothing is written outside `folder`, and
    no links.

    That each byte is right `download` has checked; tar itself notices only some damage.

    Raises:
        AsrkitError: the archive is cut off, or a member leads out of the folder or is neither file nor folder.
    """
    progress = progress or Silent()
    if archive.suffix.lower() == ".zip":
        _unpack_zip(archive, folder, progress)
        return
    with archive.open("rb") as file, progress.bar(f"unpacking {archive.name}", archive.stat().st_size, "B") as bar:
        try:
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                read = 0
                while (member := tar.next()) is not None:
                    # written by ourselves: Debian 12's Python cannot extract with a filter
                    path = _inside(folder, archive, member.name, plain=member.isfile() or member.isdir())
                    _write(tar.extractfile(member), path)
                    tar.members = []  # type: ignore[attr-defined]  # in no stub; it would remember them all
                    bar.advance(file.tell() - read)
                    read = file.tell()
        except (tarfile.TarError, EOFError) as error:
            raise AsrkitError(f"{archive} is no whole tar archive ({error}); delete it and start again") from error


def _inside(folder: Path, archive: Path, name: str, *, plain: bool) -> Path:
    """Where that member belongs; absolute names begin at the folder. Links and devices, which are not plain, and names
    that lead out of the folder are refused."""
    if not plain:
        raise AsrkitError(f"{archive} holds {name!r}, neither file nor folder; not unpacked")
    path = folder / name.lstrip("/")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise AsrkitError(f"{archive} holds {name!r}, which leads out of its folder; not unpacked")
    return path


def _unpack_zip(archive: Path, folder: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(archive) as members:
            size = sum(member.compress_size for member in members.infolist())
            with progress.bar(f"unpacking {archive.name}", size, "B") as bar:
                for member in members.infolist():
                    kind = stat.S_IFMT(member.external_attr >> 16)
                    path = _inside(folder, archive, member.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
                    _write(None if member.is_dir() else members.open(member), path)
                    bar.advance(member.compress_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:  # the last: unknown compression
        raise AsrkitError(f"{archive} is no whole zip archive ({error}); delete it and start again") from error


def _write(packed: IO[bytes] | None, path: Path) -> None:
    """A file, or with None a folder."""
    if packed is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with packed, path.open("wb") as out:
        shutil.copyfileobj(packed, out, _CHUNK_BYTES)


class _Broken(Exception):  # noqa: N818 - an event, and never seen outside
    """The connection or the server failed in a way that may pass."""


class _Part:
    """What has come so far: an open file at its end, and the check of its bytes."""

    def __init__(self, file: IO[bytes], bar: Bar, new_check: Callable[[], Check]) -> None:
        self._file, self._bar, self._new_check = file, bar, new_check
        self.check = _checked(new_check(), file, bar)

    @property
    def size(self) -> int:
        return self.check.size

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.check.update(chunk)
        self._bar.advance(len(chunk))

    def start_over(self) -> None:
        self._bar.advance(-self.size)
        self._file.seek(0)
        self._file.truncate()
        self.check = self._new_check()


def _checked(check: Check, file: IO[bytes], bar: Bar) -> Check:
    """The check, having seen what the file holds from here on."""
    while chunk := file.read(_CHUNK_BYTES):
        check.update(chunk)
        bar.advance(len(chunk))
    return check


def _fetch(url: str, part: _Part, progress: Progress, retries: int) -> None:
    """All bytes behind those that are there, in as many attempts as it takes."""
    failures, furthest = 0, part.size
    while True:
        try:
            return _fetch_once(url, part)
        except _Broken as error:
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures > retries:
                raise AsrkitError(
                    f"{url} cannot be fetched ({error}; {failures} attempts); what has come is kept: start again later"
                ) from error
            wait_s = min(FIRST_WAIT_S * 2 ** (failures - 1), LONGEST_WAIT_S)
            progress.warn(f"{url}: {error}; next attempt in {wait_s:g} s")
            time.sleep(wait_s)


def _fetch_once(url: str, part: _Part) -> None:
    """One request, to the end of what the server sends."""
    response = _request(url, part)
    if response is None:
        return
    with response:
        if response.status == 206:
            _check_range(response, part)
        elif part.size:  # the whole file comes: this server does not do ranges
            part.start_over()
        length = response.headers.get("Content-Length")
        promised = part.size + int(length) if length and length.isdigit() else None
        wanted = part.check.wanted_size
        if None not in (promised, wanted) and promised != wanted:
            raise AsrkitError(f"{url} has {promised} bytes; wanted {wanted}: the file on the server is another one")
        while chunk := _attempt(lambda: response.read(_CHUNK_BYTES)):
            part.append(chunk)
    if promised is not None and part.size != promised:
        raise _Broken(f"the connection ended after {part.size} of {promised} bytes")


def _request(url: str, part: _Part) -> HTTPResponse | None:
    """The server's answer; None when there is nothing behind what has come already."""
    headers = {"User-Agent": "asrkit", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    request = Request(url, headers=headers)  # noqa: S310 - download() has checked the scheme
    try:
        return _attempt(lambda: urlopen(request, timeout=TIMEOUT_S))  # type: ignore[no-any-return]  # noqa: S310
    except HTTPError as error:
        error.close()
        if error.code == 416 and error.headers.get("Content-Range", "") == f"bytes */{part.size}":
            return None
        if error.code == 416:
            part.start_over()
            raise _Broken("the file there is shorter than what has come; once more from the start") from error
        if error.code in _BUSY:
            raise _Broken(f"HTTP {error.code} {error.reason}") from error
        raise AsrkitError(f"{url}: HTTP {error.code} {error.reason}; wanted a file to download") from error


def _check_range(response: HTTPResponse, part: _Part) -> None:
    first = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not first or int(first[1]) != part.size:
        part.start_over()
        raise _Broken("the server sent another piece than was asked for; once more from the start")


def _attempt(call: Callable[[], _T]) -> _T:
    """What the call gives; every way in which a connection can fail becomes _Broken."""
    try:
        return call()
    except HTTPError:
        raise
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise _Broken(str(reason) or type(reason).__name__) from error


def _archives_of(recipe: Recipe, splits: Iterable[str]) -> list[Archive]:
    known = [split for archive in recipe.archives for split in archive.splits]
    wanted = set(splits)
    for split in sorted(wanted):
        if split not in known:
            there_are = ", ".join(known) or "none"
            raise AsrkitError(
                f"recipe {recipe.name!r} downloads no split {split!r}{did_you_mean(split, known)} "
                f"(there are: {there_are}); for data on disk give --corpus-dir or --manifest"
            )
    return [archive for archive in recipe.archives if wanted & set(archive.splits)]


def _path(archive: Archive, folder: Path) -> Path:
    return folder / archive.url.rsplit("/", 1)[-1]


def _marker(path: Path, state: str) -> Path:
    return path.with_name(f"{path.name}.{state}")


def _is_unpacked(archive: Archive, folder: Path) -> bool:
    marker = _marker(_path(archive, folder), "unpacked")
    return marker.is_file() and marker.read_text(encoding="ascii") == archive.md5


def _check_room(folder: Path, archives: Iterable[Archive]) -> None:
    """Refuses to begin what cannot end for want of disk space."""
    needed = 0
    for archive in archives:
        path = _path(archive, folder)
        needed += max(0, archive.size - _fetched(path))
        if not _marker(path, "unpacking").exists():  # else part of it lies there already
            needed += round(UNPACKED_SHARE * archive.size)
    _require_room(folder, needed, "download and unpacking need", "choose another --data-dir, or take fewer --splits")


def _fetched(path: Path) -> int:
    """Bytes of it that are there already."""
    return next((p.stat().st_size for p in (path, path.with_name(path.name + PART)) if p.exists()), 0)


def _require_room(folder: Path, needed: int, what: str, remedy: str = "choose another --data-dir") -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise AsrkitError(f"{folder} has {_gb(free)} free; {what} {_gb(needed)}: free some space, or {remedy}")


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
