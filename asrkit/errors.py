"""A user's mistake in, one clear line out: the exception that the command line prints without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class AsrkitError(Exception):
    """Says what was found, what was wanted and what to do next. The command line prints it and exits with 1."""


class SaidElsewhereError(AsrkitError):
    """The same error in another process of a training that several share, where one of them says it for all."""


class UnreachableError(AsrkitError):
    """What is far away cannot be had now, which says nothing of what it is like."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'train.lr'?"` for the nearest known word, or an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
