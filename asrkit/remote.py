"""The address of prepared data in an object store or on a web server in; its files on this machine out.

prepare.json, the tokenizer and the indexes are fetched when the data is opened, and again when it was prepared again:
they are a small part of the corpus, but grow with it. Shards come when they are asked for, each whole, read from begin
to end; window_cache.py has two windows of them at a time. All lie in $XDG_CACHE_HOME/asrkit, in a folder for each
address, which may be deleted at any time.

fsspec speaks to the stores: s3://bucket/folder, https://host/folder, and whatever else it has a package for.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from asrkit.atomic import FULL, PART, part_of, storing_in, write_whole
from asrkit.errors import AsrkitError, UnreachableError
from asrkit.folder_names import is_plain

RETRIES = 5
FIRST_WAIT_S = 0.5  # before the first retry; doubled each time
SILENCE_S = 30.0  # of a server, after which it is asked again
MARK = "remote.json"  # in a data set's folder: where it was fetched from
_ROLES = ("train", "dev", "test")  # that splits have
_TOKENIZER = ("tokenizer.json", "tokenizer.model")  # the second with subwords only
_INDEX = ("index.jsonl", "index.npy", "tokens.npy", "index.json")


def is_remote(data_dir: str | Path) -> bool:
    """Whether it is an address, not a folder of this machine."""
    return "://" in str(data_dir)


def parent(place: str) -> str | Path:
    """The data dir that a data set's folder or address is in."""
    return place.rstrip("/").rpartition("/")[0] if is_remote(place) else Path(place).parent


def mirror(data_dir: str, name: str) -> Path:
    """The folder of this machine that is to the data set `name` what `data_dir` is, all but the shards in place.

    Raises:
        AsrkitError: no such data, or it cannot be reached; a package for such addresses is missing; a name that leads
            out of the folder.
    """
    check_name(data_dir, name)
    address = f"{data_dir.rstrip('/')}/{name}"
    home = _cache() / sha256(data_dir.rstrip("/").encode()).hexdigest()[:16]
    folder = home / name
    with storing_in(home):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / MARK):
            try:
                prepared = _read(f"{address}/prepare.json")
            except FileNotFoundError:
                raise AsrkitError(
                    f"{address}/prepare.json does not exist; wanted the address of a folder with prepared data sets, "
                    "and --data NAME where it is not the recipe's"
                ) from None
            splits = _splits(address, prepared)
            path = folder / "prepare.json"
            if not path.is_file() or path.read_bytes() != prepared:
                path.unlink(missing_ok=True)
                write_whole(folder / MARK, json.dumps({"address": address}).encode())
                _fetch_small(address, folder, splits)
                write_whole(path, prepared)
    return home


def check_name(data_dir: str | Path, name: str) -> None:
    """Refuses a data set's name, which may come from a checkpoint, that is more than the name of a folder in there."""
    if not is_plain(name):
        raise AsrkitError(
            f"{name!r} cannot name a data set in {data_dir}; wanted the plain name of a folder: --data NAME"
        )


def _splits(address: str, prepared: bytes) -> list[str]:
    """The splits that a prepare.json names; it comes from elsewhere, so that their names may not lead there."""
    try:
        meta = json.loads(prepared)
    except ValueError:
        meta = None
    roles = meta.get("splits") if isinstance(meta, dict) and isinstance(meta.get("recipe"), str) else None
    if not isinstance(roles, dict) or not all(isinstance(roles.get(role), list) for role in {*_ROLES, *roles}):
        raise AsrkitError(f"{address}/prepare.json is damaged; upload the data again, prepare.json last")
    splits = [split for names in roles.values() for split in names]
    for split in splits:
        if not is_plain(split) or split in ("prepare.json", MARK):
            raise AsrkitError(f"{address}/prepare.json names a split {split!r}; wanted the plain name of a folder")
    return splits


def _fetch_small(address: str, folder: Path, splits: list[str]) -> None:
    (folder / "tokenizer").mkdir(exist_ok=True)
    for name in _TOKENIZER:
        try:
            write_whole(folder / "tokenizer" / name, _read(f"{address}/tokenizer/{name}"))
        except FileNotFoundError:
            if name == _TOKENIZER[0]:
                raise AsrkitError(f"{address}/tokenizer/{name} does not exist; upload the data again") from None
    for split in splits:
        there = folder / split
        there.mkdir(exist_ok=True)
        for old in there.glob("shard-*.tar"):
            old.unlink()
        for name in _INDEX:
            fetch(f"{address}/{split}/{name}", there / name, again=True)


def address_of(folder: Path) -> str | None:
    """Where a data set's folder was fetched from; None where it was prepared here."""
    try:
        mark: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AsrkitError(f"{folder / MARK} is damaged; delete {folder}: it will be fetched again") from error
    return str(mark["address"])


def fetch(address: str, path: Path, size: int | None = None, *, again: bool = False) -> None:
    """Makes the file on this machine, where it is not there yet, for all processes that ask for it.

    Raises:
        UnreachableError: the server is silent, or refuses; or there is no room for it here.
        AsrkitError: it does not exist there, or is not of that size.
    """
    with storing_in(path.parent), _locked(path):
        for left in path.parent.glob(f".{path.name}.*{PART}"):  # by a process that was killed
            left.unlink(missing_ok=True)
        if path.exists() and not again:
            return
        part = part_of(path)
        try:
            _patiently(address, lambda store, name: store.get_file(name, str(part)))
            if size is not None and part.stat().st_size != size:
                raise AsrkitError(
                    f"{address} has {part.stat().st_size} bytes, its index says {size}: upload the data again"
                )
            os.replace(part, path)
        except FileNotFoundError:
            raise AsrkitError(f"{address} does not exist; upload the data again, prepare.json last") from None
        finally:
            part.unlink(missing_ok=True)


def _read(address: str) -> bytes:
    return bytes(_patiently(address, lambda store, name: store.cat_file(name)))


def _patiently(address: str, take: Callable[[Any, str], Any]) -> Any:
    """What `take` makes of the store and the name in it; what fails is tried again, a little later each time.

    Raises:
        UnreachableError: it failed to the last, or there is no room for it here.
        AsrkitError: a package is missing, or nothing knows such addresses.
        FileNotFoundError: there is no such file.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise AsrkitError("data far away needs packages: pip install 'asrkit[remote]'") from error
    wait_s = FIRST_WAIT_S
    for left in reversed(range(RETRIES)):
        try:
            return take(*url_to_fs(address, **_options(address)))
        except FileNotFoundError:
            raise
        except ImportError as error:
            raise AsrkitError(f"{address} needs a package: pip install 'asrkit[remote]' ({error})") from error
        except ValueError as error:  # fsspec knows no such protocol
            raise AsrkitError(f"{address} cannot be opened ({error})") from error
        except Exception as error:  # every store has errors of its own
            if isinstance(error, OSError) and error.errno in FULL:  # the disk of this machine
                raise UnreachableError(
                    f"no room left to fetch {address}; free some space and start again, a training with --resume"
                ) from error
            if not left or isinstance(error, PermissionError):
                line = (str(error) or type(error).__name__).splitlines()[0]
                raise UnreachableError(
                    f"{address} cannot be read ({line}); start again when it can be, a training with --resume"
                ) from error
            time.sleep(wait_s)
            wait_s *= 2
    raise AssertionError("unreachable")


def _options(address: str) -> dict[str, Any]:
    """Of a web server: it may take as long as it likes, but not fall silent. Stores have limits of their own."""
    if not address.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)}}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    from filelock import FileLock

    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asrkit"
