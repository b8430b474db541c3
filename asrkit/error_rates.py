"""References and hypotheses in, as words or characters; their alignment with the fewest errors, and rates, out."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap, zip_longest
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein


class Step(NamedTuple):
    """One column of an alignment; None stands where a unit was inserted or deleted."""

    reference: str | None
    hypothesis: str | None

    @property
    def kind(self) -> str:
        """equal, sub, ins or del."""
        if self.reference is None:
            return "ins"
        if self.hypothesis is None:
            return "del"
        return "equal" if self.reference == self.hypothesis else "sub"


@dataclass(frozen=True)
class Counts:
    """Errors against a number of reference units, words or characters."""

    units: int = 0
    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.units + other.units,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
        )

    @property
    def errors(self) -> int:
        return self.insertions + self.deletions + self.substitutions

    @property
    def rate(self) -> float:
        """Errors / reference units; not a number without a reference unit."""
        return self.errors / self.units if self.units else math.nan

    def kinds(self) -> dict[str, int]:
        return {"ins": self.insertions, "del": self.deletions, "sub": self.substitutions}


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Step]:
    """The two sequences side by side with the fewest insertions, deletions and substitutions, each costing 1."""
    steps: list[Step] = []
    for block in Levenshtein.opcodes(reference, hypothesis):
        said = reference[block.src_start : block.src_end]
        heard = hypothesis[block.dest_start : block.dest_end]
        steps += starmap(Step, zip_longest(said, heard))  # equal and replaced blocks are as long on both sides
    return steps


def count(alignment: Iterable[Step]) -> Counts:
    """An alignment's reference units and errors by kind."""
    kinds = Counter(step.kind for step in alignment)
    return Counts(kinds["equal"] + kinds["sub"] + kinds["del"], kinds["ins"], kinds["del"], kinds["sub"])


def total(counts: Iterable[Counts]) -> Counts:
    """The counts of a corpus: errors and units added up, never rates averaged."""
    return sum(counts, Counts())


def error_rate(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Counts:
    """The total over (reference, hypothesis) pairs: lists of words for the WER, plain texts for the CER with spaces."""
    return total(count(align(reference, hypothesis)) for reference, hypothesis in pairs)
