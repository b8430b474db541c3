"""What a verb has to say in; lines, tables and bars on a terminal out, or plain lines in a log.

The only file that prints. In a log a bar becomes an occasional line, and no control character is written. Colours
follow NO_COLOR (rich honours it).
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

FIRST_LINE_S = 10.0  # a bar that lives longer leaves lines behind
LOG_EVERY_S = 30.0
REDRAW_S = 0.1
SPEED_OVER_S = 60.0  # speed and time left come from the last minute
LOG_WIDTH = 160  # of a table that no terminal limits

Clock = Callable[[], float]


class Pace:
    """How far a piece of work is, how fast it goes and how long it still takes.

    The first advance sets the clock: work that goes on where it was broken off starts with a jump.
    """

    def __init__(self, total: float | None, unit: str, clock: Clock = time.monotonic) -> None:
        self.total, self.unit = total, unit
        self.done = 0.0
        self._clock = clock
        self._started = clock()
        self._marks: deque[tuple[float, float]] = deque()  # (time, done), at most one a second

    @property
    def elapsed_s(self) -> float:
        """Since the work began."""
        return self._clock() - self._started

    def advance(self, amount: float) -> None:
        """`amount` more units are done."""
        self.done += amount
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[1][0] > SPEED_OVER_S:
            self._marks.popleft()

    def per_second(self) -> float | None:
        """Units a second lately; None when too little was seen."""
        if not self._marks:
            return None
        then, done_then = self._marks[0]
        seconds = self._clock() - then
        return (self.done - done_then) / seconds if seconds > 0 and self.done > done_then else None

    def text(self) -> str:
        """`1,200/5,000 steps, 24 %, 12.3/s, 5 min left`, as far as it is known."""
        parts = [_progress(self.done, self.total, self.unit)]
        if self.total:
            parts.append(f"{min(1.0, self.done / self.total):.0%}")
        speed = self.per_second()
        if speed is not None:
            parts.append(_speed(speed, self.unit))
            if self.total and self.total > self.done:
                parts.append(f"{clock_text((self.total - self.done) / speed)} left")
        return ", ".join(part for part in parts if part)

    def summary(self) -> str:
        """`5,000 steps in 12 min 03 s`, for when the work is done."""
        amount = _amount(self.done, self.unit)
        return f"{amount} in {clock_text(self.elapsed_s)}" if self.done else f"done in {clock_text(self.elapsed_s)}"


class Terminal:
    """`progress.Progress` on a text stream; with rich on a terminal, in plain lines elsewhere."""

    def __init__(self, stream: TextIO | None = None, *, clock: Clock = time.monotonic) -> None:
        stream = sys.stdout if stream is None else stream
        animated = stream.isatty()
        # FORCE_COLOR must not put control characters into a log, so the stream alone decides
        self._console = Console(file=stream, force_terminal=animated, width=None if animated else LOG_WIDTH)
        self._live = animated and not self._console.is_dumb_terminal
        self._clock = clock
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )

    def say(self, message: str) -> None:
        """One line of result or news."""
        self._console.print(Text(printable(message)), soft_wrap=True)

    def warn(self, message: str) -> None:
        """One line that the user should not miss."""
        self._console.print(Text.assemble(("warning: ", "bold yellow"), printable(message)), soft_wrap=True)

    def write(self, text: str) -> None:
        """A result as it is, for machines and pipes."""
        self._console.out(text, highlight=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A small table; what looks like a number stands to the right."""
        cells = [[printable(str(cell)) for cell in row] for row in rows]
        table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False)
        for number, column in enumerate(columns):
            numeric = all(_is_number(row[number]) for row in cells) and bool(cells)
            table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table)

    @contextmanager
    def bar(self, label: str, total: float | None, unit: str = "") -> Iterator["_Bar"]:
        """A progress bar; `unit` "B" shows bytes and their rate, "s" seconds of sound. A long one leaves a line."""
        label = printable(label)
        pace = Pace(total, unit, self._clock)
        if self._live:
            with self._drawn(label, pace) as redraw:
                yield _Bar(pace, redraw, first_s=0, every_s=REDRAW_S)
        else:
            yield _Bar(pace, lambda text: self.say(f"{label}: {text}"), first_s=FIRST_LINE_S, every_s=LOG_EVERY_S)
        if pace.elapsed_s >= FIRST_LINE_S:
            self.say(f"{label}: {pace.summary()}")

    @contextmanager
    def _drawn(self, label: str, pace: Pace) -> Iterator[Callable[[str], None]]:
        """A line that redraws itself as long as the work lasts; several stand below each other."""
        task = self._bars.add_task(label, total=pace.total, text="")
        self._bars.start()
        try:
            yield lambda text: self._bars.update(task, completed=pace.done, text=text)
        finally:
            self._bars.remove_task(task)
            if not self._bars.tasks:
                self._bars.stop()


class _Bar:
    """`progress.Bar`: keeps the pace, and shows it now and then."""

    def __init__(self, pace: Pace, show: Callable[[str], None], *, first_s: float, every_s: float) -> None:
        self._pace, self._show = pace, show
        self._due_s, self._every_s = first_s, every_s
        self._status = ""

    def advance(self, amount: float = 1, status: str = "") -> None:
        """`amount` more units are done."""
        self._pace.advance(amount)
        self._status = printable(status) or self._status
        if self._pace.elapsed_s >= self._due_s:
            self._due_s = self._pace.elapsed_s + self._every_s
            self._show(f"{self._pace.text()}  {self._status}".rstrip())


def printable(text: str) -> str:
    """The text without control characters, which a file name or a transcript may hold; tabs and line ends stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)


def clock_text(seconds: float) -> str:
    """`42 s`, `5 min 03 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def _bytes_text(count: float) -> str:
    """`1.2 GB`, in powers of 1000 as disks and downloads are measured."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _amount(count: float, unit: str) -> str:
    if unit == "B":
        return _bytes_text(count)
    if unit == "s":
        return f"{clock_text(count)} of sound"
    return f"{count:,.0f} {_plural(unit)}".rstrip()


def _progress(done: float, total: float | None, unit: str) -> str:
    if total is None:
        return _amount(done, unit) if done else ""
    if unit in ("B", "s"):
        text = _bytes_text if unit == "B" else clock_text
        return f"{text(done)} of {text(total)}"
    return f"{done:,.0f}/{total:,.0f} {_plural(unit)}".rstrip()


def _plural(unit: str) -> str:
    return unit if not unit or unit.endswith("s") else f"{unit}s"


def _speed(per_second: float, unit: str) -> str:
    if unit == "B":
        return f"{_bytes_text(per_second)}/s"
    if unit == "s":
        return f"{per_second:,.1f} x real time"
    if per_second < 0.1:
        return f"{1 / per_second:.0f} s each"
    return f"{per_second:,.1f}/s" if per_second < 100 else f"{per_second:,.0f}/s"


def _is_number(cell: str) -> bool:
    plain = cell.replace(",", "").replace("%", "").strip()
    return plain in ("", "-") or plain.lstrip("+-").replace(".", "", 1).isdigit()
