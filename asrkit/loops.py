"""How loops over arrays are compiled: to machine code that is kept on disk, lets other threads run, and divides as
NumPy does."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])


_COMPILED: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_LEAN: dict[str, Any] = _COMPILED | {"_nrt": False}


def compiled(loop: Loop) -> Loop:
    """Compiled when first called."""
    return cast(Loop, njit(**_COMPILED)(loop))


def lean(loop: Loop) -> Loop:
    """The same without counts of references to arrays: for what runs in every frame and makes no array.

    The counts are atomic: they would cost a fifth of a search, and threads that share an n-gram would quarrel over
    them.
    """
    return cast(Loop, njit(**_LEAN)(loop))
