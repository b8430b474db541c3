"""How loops over arrays are compiled: to machine code that is kept on disk, lets other threads run, and divides as
NumPy does."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])


_COMPILED: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_LEAN: dict[str, Any] = _COMPILED | {"_nrt": False}


def compiled(loop: Loop) -> Loop:
    """Compiled when first called."""
    return _kept(loop, _COMPILED)


def lean(loop: Loop) -> Loop:
    """The same without counts of references to arrays: for what runs in every frame and makes no array.

    The counts are atomic: they would cost a fifth of a search, and threads that share an n-gram would quarrel over
    them.
    """
    return _kept(loop, _LEAN)


def _kept(loop: Loop, options: dict[str, Any]) -> Loop:
    """Numba takes machine code from the disk where the file of the loop is as it was when it was compiled. But loops of
    other files are part of it: all of them have to be as they were."""
    found: Any = njit(**options)(loop)
    if hasattr(found, "_cache"):  # not where NUMBA_DISABLE_JIT is set
        found._cache._cache_file._source_stamp = _stamp()
    return cast(Loop, found)


@cache
def _stamp() -> bytes:
    """Of all files of this package that have loops."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_bytes()
        if b"asrkit.loops" in text or path.samefile(__file__):
            found.update(text)
    return found.digest()
