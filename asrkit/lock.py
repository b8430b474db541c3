"""One process at a time in a folder: a second one is refused, and told who is at work there."""

import errno
import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asrkit.errors import AsrkitError

LOCK = ".lock"
_HELD = {errno.EAGAIN, errno.EACCES}


@contextmanager
def only_one(folder: Path, work: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Holds the folder for `work`, making it; it goes again when nothing was put into it.

    The system lets go of it when this process is killed, whatever workers it leaves: such a lock (POSIX, fcntl) is the
    process's own and not its children's. Threads of one process are not kept apart, nor are processes where the file
    system has no locks, of which the user is warned.

    Raises:
        AsrkitError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                file.seek(0)
                who = f" ({file.readline().strip() or 'it did not say who it is'})"
                raise AsrkitError(f"another {work}{who} is at work in {folder}; wait for it to end") from error
            warn(f"{folder} cannot be locked ({error.strerror}); see to it that no other {work} works there")
        file.truncate(0)
        file.write(f"process {os.getpid()} of {platform.node()}\n")
        file.flush()
        try:
            yield
        finally:
            if [each.name for each in folder.iterdir()] == [LOCK]:
                path.unlink()
                with suppress(OSError):  # another process may have begun in this very moment
                    folder.rmdir()
