"""A recipe's cases.tsv in, and those that its text rules do not pass out; and such a file written.

A row is a raw text, a TAB, and what normalize makes of it. `\\u00ad` stands for a character that cannot be seen or that
would end the row.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit.corpus import read_lines
from asrkit.errors import AsrkitError
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe

NAME = "cases.tsv"


@dataclass(frozen=True)
class Failure:
    """A case that does not hold."""

    raw: str
    wanted: str
    found: str


def read_cases(path: Path) -> list[tuple[str, str]]:
    """(raw, normalised) of each row.

    Raises:
        AsrkitError: no such file, or a row without exactly one TAB; names the line.
    """
    rows = []
    for number, line in read_lines(path):
        cells = [re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), cell) for cell in line.split("\t")]
        if len(cells) != 2:
            raise AsrkitError(f"{path}, line {number}: {len(cells) - 1} TABs; wanted a raw text, one TAB, the result")
        rows.append((cells[0], cells[1]))
    return rows


def case_lines(rows: Iterable[tuple[str, str]]) -> str:
    """The rows as the file holds them."""
    return "".join(f"{_escaped(raw)}\t{_escaped(normalised)}\n" for raw, normalised in rows)


def failures(recipe: Recipe, rows: Sequence[tuple[str, str]]) -> list[Failure]:
    """The rows that the recipe's text rules do not pass."""
    found = [Failure(raw, wanted, recipe.normalize(raw)) for raw, wanted in rows]
    return [one for one in found if one.found != one.wanted]


def check_cases(recipe: Recipe, progress: Progress = Silent()) -> int:
    """Runs the recipe's cases.tsv and gives their number.

    Raises:
        AsrkitError: some do not hold; those are shown first.
    """
    path = (recipe.folder or Path()) / NAME
    rows = read_cases(path)
    failed = failures(recipe, rows)
    if failed:
        progress.table("", ["raw", "wanted", "found"], [[one.raw, one.wanted, one.found] for one in failed])
        raise AsrkitError(f"{len(failed)} of {len(rows)} rows of {path} do not hold; mend text.py, or the rows")
    progress.say(f"all {len(rows)} rows of {path} hold")
    return len(rows)


def _escaped(text: str) -> str:
    """Invisible characters and the backslash by their code points, as far as four digits go; the rest as it is."""
    return "".join(
        f"\\u{ord(char):04x}"
        if char == "\\" or (char != " " and unicodedata.category(char)[0] in "CZ" and char < "\U00010000")
        else char
        for char in text
    )
