"""What a verb tells whoever called it: lines, tables and bars, silent unless the command line listens."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Bar(Protocol):
    """One long piece of work, advancing."""

    def advance(self, amount: float = 1, status: str = "") -> None:
        """`amount` more units are done; `status` (loss, rate ...) stands behind the bar until the next one."""


class Progress(Protocol):
    """The verbs' only way to the terminal; `terminal.py` implements it with rich."""

    def say(self, message: str) -> None:
        """One line of result or news."""

    def warn(self, message: str) -> None:
        """One line that the user should not miss."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A small table; numbers are formatted by the caller."""

    def bar(self, label: str, total: float | None, unit: str = "") -> AbstractContextManager[Bar]:
        """A progress bar; `unit` "B" shows bytes and their rate."""


class _SilentBar:
    def advance(self, amount: float = 1, status: str = "") -> None:
        pass


class Silent:
    """For library use and tests: nothing is shown."""

    def say(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        pass

    def bar(self, label: str, total: float | None, unit: str = "") -> AbstractContextManager[Bar]:
        return nullcontext(_SilentBar())
