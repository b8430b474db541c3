"""VERB: texts in; an n-gram model of their words, or of a tokenizer's labels, as an ARPA file out."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from asrkit.errors import AsrkitError
from asrkit.kneser_ney import MEMORY_MB, Pruning, build_arpa
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.shards import resolve_data
from asrkit.text_files import read_lines
from asrkit.tokenizer import Tokenizer, written

ORDERS = {"word": 4, "token": 6}  # where none is given
_SPACES = re.compile(r"[ \t\r\f\v\0]+")  # as lmplz has it; others, such as the no-break space, are part of a word


def build_lm(
    texts: Sequence[str | Path],
    out: str | Path,
    *,
    order: int | None = None,
    prune: Sequence[int] = (0,),
    vocab: str | Path | None = None,
    recipe: Recipe | None = None,
    unit: Literal["word", "token"] = "word",
    data: str | None = None,
    data_dir: str | Path = "data",
    discount_fallback: bool = False,
    memory_mb: int = MEMORY_MB,
    progress: Progress = Silent(),
) -> Path:
    """Builds an interpolated modified Kneser-Ney model, one sentence a line, and gives the path of the ARPA file.

    With a recipe its rules are applied to every line. `prune` leaves out n-grams that occur no more often than the
    threshold of their length; `vocab` (a file of words) those with other words. Of tokens it is a model of the labels
    of the tokenizer that `data` was prepared with (default: the recipe's name), for searches over labels.

    Raises:
        AsrkitError: texts or words that cannot be read, no sentence, a text too small to estimate from, no room.
    """
    path = Path(out)
    words = frozenset(_words(Path(vocab))) if vocab is not None else None
    sentences = _Sentences([Path(text) for text in texts], recipe, _tokenizer(recipe, unit, data, Path(data_dir)))
    counts = build_arpa(
        sentences,
        order or ORDERS[unit],
        path,
        pruning=Pruning(thresholds=tuple(prune), words=words),
        discount_fallback=discount_fallback,
        memory_mb=memory_mb,
        progress=progress,
    )
    if sentences.left_out:
        progress.warn(f"{sentences.left_out:,} lines have characters that the tokenizer cannot spell; left out")
    found = ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(counts, start=1))
    progress.say(f"{path}: {found}")
    return path


class _Sentences:
    """The lines of texts as words, or as labels of a tokenizer; without rules as lmplz takes them.

    So without a recipe an empty line is a sentence without words; with one, what its rules leave nothing of is none.
    """

    def __init__(self, texts: Sequence[Path], recipe: Recipe | None, tokenizer: Tokenizer | None) -> None:
        self.texts, self.recipe, self.tokenizer = texts, recipe, tokenizer
        self.left_out = 0

    def __iter__(self) -> Iterator[Sequence[str]]:
        if self.recipe is None:
            yield from map(_split, read_lines(self.texts))
            return
        for text in filter(None, map(self.recipe.normalize, read_lines(self.texts))):
            if self.tokenizer is None:
                yield text.split()
            elif self.tokenizer.spells(text):
                yield [written(self.tokenizer.labels[label]) for label in self.tokenizer.encode(text)]
            else:
                self.left_out += 1


def _split(line: str) -> list[str]:
    return line.split() if line.isascii() else [word for word in _SPACES.split(line) if word]


def _tokenizer(recipe: Recipe | None, unit: str, data: str | None, data_dir: Path) -> Tokenizer | None:
    if unit == "word":
        return None
    if recipe is None:
        raise AsrkitError("an n-gram of tokens wants the recipe whose tokenizer it is for; give --recipe")
    return resolve_data(data_dir, data, recipe.name).tokenizer()


def _words(path: Path) -> Iterator[str]:
    for line in read_lines([path]):
        yield from line.split()
