"""A path in, a whole file out or none: written under a temporary name beside it, then renamed."""

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from asrkit.errors import AsrkitError

PART = ".part"  # ends every temporary name
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # of errors: no room left
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


def part_of(path: Path) -> Path:
    """The temporary name; it holds machine and process, so that two processes never write the same file."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}{PART}")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write; it takes the place of `path` when the block ends well, and is removed when not.

    Raises:
        AsrkitError: what is there is no file (a device, a folder), which would be gone.
    """
    if path.exists() and not path.is_file():
        raise AsrkitError(f"{path} is there and is no file; wanted the name of a file")
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
            sync(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a small file at once."""
    with replacing(path) as file:
        file.write(content)


def sync(file: IO[Any]) -> None:
    """To the disk, before a rename says that the file is whole."""
    file.flush()
    with suppress(OSError):  # not every file system has it
        os.fsync(file.fileno())


@contextmanager
def storing_in(folder: Path) -> Iterator[None]:
    """Turns a full disk, or a folder or file that may not be used, into one clear line.

    Raises:
        AsrkitError: in place of such an OSError; other errors pass.
    """
    try:
        yield
    except OSError as error:
        where = Path(error.filename) if isinstance(error.filename, str) else folder
        if error.errno in FULL:
            raise AsrkitError(f"no room left to write {where}; free some space and start again") from error
        if error.errno in _FORBIDDEN:
            inside = where.is_relative_to(folder) or folder.is_relative_to(where)
            fate = "cannot be written" if inside else "cannot be read"
            raise AsrkitError(f"{where} {fate} ({error.strerror}); change its permissions or choose another") from error
        if error.errno in _NO_FOLDER:
            raise AsrkitError(f"{where} cannot be written ({error.strerror}); choose another place") from error
        raise
