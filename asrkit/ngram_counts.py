"""Sentences of words in; the n-grams that end in each range of words, as trees with their counts, out.

All n-grams with the same last word are in the same part, so that the parts can be made one after the other, in as much
memory as there is; on the way to them the text lies on the disk.

Shapes: M windows, N words in each (the order of the model).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import AsrkitError
from asrkit.ngram_tree import BEGIN_ID, NGramTree, grow
from asrkit.word_numbers import WordNumbers

MARKS = ("<unk>", "<s>", "</s>")  # numbers 0, 1, 2
END_ID = MARKS.index("</s>")
CHUNK_WORDS = 2_000_000  # turned into windows at once
BLOCK_SENTENCES = 10_000  # numbered at once
_SPACE = re.compile(r"[ \t\r\n\v\f\0]")  # what ends a word there; the no-break space does not


@dataclass(frozen=True)
class NumberedText:
    """A text as numbers of words: whole sentences, each between <s> and </s>, in files of some CHUNK_WORDS."""

    words: list[str]  # by number
    chunks: list[Path]
    places: NDArray[np.int32]  # what a number in the files means
    occurrences: NDArray[np.int64]  # of each word

    def windows(self, order: int) -> Iterator[NDArray[np.int32]]:
        """For each word and </s> the `order` words that end there, as rows (M, N); before a sentence's start is <s>,
        again and again.

        So the shorter n-grams at the start of a sentence are met along with the long ones: they begin with two or more
        <s>.
        """
        for path in self.chunks:
            numbers = self.places[np.load(path)]
            here = np.arange(len(numbers))
            starts = numbers == BEGIN_ID
            start = np.maximum.accumulate(np.where(starts, here, 0))  # of the sentence
            here, start = here[~starts], start[~starts]
            yield np.stack([numbers[np.maximum(here - back, start)] for back in range(order - 1, -1, -1)], axis=1)


def number_text(
    text: Iterable[Sequence[str] | bytes], folder: Path, advance: Callable[[float], None] = lambda words: None
) -> NumberedText:
    """Writes the text's chunks into the folder. It comes as sentences of words, or as blocks of whole lines in UTF-8.

    Raises:
        AsrkitError: no sentence, or a word that an ARPA file cannot hold.
    """
    numbered = WordNumbers(MARKS)
    chunks: list[Path] = []
    waiting: list[NDArray[np.int32]] = []
    occurrences = np.zeros(0, dtype=np.int64)

    def store() -> None:
        nonlocal occurrences
        chunk = np.concatenate(waiting)
        waiting.clear()
        chunks.append(folder / f"words-{len(chunks)}.npy")
        np.save(chunks[-1], chunk)
        counted = np.bincount(chunk, minlength=len(numbered))
        counted[: len(occurrences)] += occurrences
        occurrences = counted

    for block in _blocks(text):
        waiting.append(_number(block, numbered))
        advance(len(waiting[-1]))
        if sum(map(len, waiting)) >= CHUNK_WORDS:
            store()
    if waiting:
        store()
    if not chunks:
        raise AsrkitError("the text for the n-gram model is empty; wanted at least one sentence")
    words, places = _in_order(numbered.words())
    by_place = np.zeros(len(words), dtype=np.int64)
    by_place[places] = occurrences
    return NumberedText(words, chunks, places, by_place)


def _blocks(text: Iterable[Sequence[str] | bytes]) -> Iterator[bytes | list[Sequence[str]]]:
    """Blocks as they are, sentences together."""
    sentences: list[Sequence[str]] = []
    for item in text:
        if isinstance(item, bytes):
            yield item
            continue
        sentences.append(item)
        if len(sentences) == BLOCK_SENTENCES:
            yield sentences
            sentences = []
    if sentences:
        yield sentences


def _number(block: bytes | list[Sequence[str]], numbered: WordNumbers) -> NDArray[np.int32]:
    """What it means as numbers; sentences must come out as they went in."""
    lines = block if isinstance(block, bytes) else "".join(f"{' '.join(words)}\n" for words in block).encode()
    try:
        found = numbered.number(lines, BEGIN_ID, END_ID)
    except ValueError as mark:
        raise _not_a_word(str(mark)) from None
    if not isinstance(block, bytes):
        count = sum(map(len, block))
        # between words, and behind each sentence that has none or some, is one byte
        spaces = count + sum(not words for words in block)
        same_count = len(found) == count + 2 * len(block)
        if not same_count or int(numbered.lengths()[found[found >= len(MARKS)]].sum()) != len(lines) - spaces:
            raise _not_a_word(next(word for words in block for word in words if not word or _SPACE.search(word)))
    return found


def _not_a_word(word: str) -> AsrkitError:
    return AsrkitError(f"the text has {word!r} as a word, which an ARPA file cannot hold; remove it")


def _in_order(words: list[str]) -> tuple[list[str], NDArray[np.int32]]:
    """The marks and then the words in the order of their code points; and the place there of each."""
    order = [*range(len(MARKS)), *sorted(range(len(MARKS), len(words)), key=words.__getitem__)]
    places = np.empty(len(words), dtype=np.int32)
    places[order] = np.arange(len(words), dtype=np.int32)
    return [words[number] for number in order], places


def grow_parts(
    text: NumberedText, order: int, window_limit: float, folder: Path, advance: Callable[[float], None]
) -> tuple[NDArray[np.int32], Iterator[NGramTree]]:
    """The part (by number) of each word, and the trees of the parts, made one by one.

    A part has no more than `window_limit` windows, unless they all end in the same word.
    """
    ending = text.occurrences.copy()
    ending[BEGIN_ID] = 0  # no window ends there
    parts = np.zeros(len(ending), dtype=np.int32)
    filled, part = 0, 0
    for word, count in enumerate(ending.tolist()):
        if filled and filled + count > window_limit:
            filled, part = 0, part + 1
        filled += count
        parts[word] = part
    count = part + 1

    def trees() -> Iterator[NGramTree]:
        files = _store_windows(text, order, parts, folder, advance)
        for number, path in enumerate(files):
            rows = np.fromfile(path, dtype=np.int32).reshape(-1, order)
            path.unlink()
            yield grow(rows, has_marks=number == 0, is_text=False)

    if count > 1:
        return parts, trees()
    rows = np.concatenate(list(text.windows(order)))
    advance(len(rows))
    return parts, iter([grow(rows, has_marks=True, is_text=True)])


def _store_windows(
    text: NumberedText, order: int, parts: NDArray[np.int32], folder: Path, advance: Callable[[float], None]
) -> list[Path]:
    """A file for each part; opened anew for each chunk, for there may be more parts than files may be open."""
    files = [folder / f"windows-{part}.int32" for part in range(int(parts[-1]) + 1)]
    for rows in text.windows(order):
        part_of_row = parts[rows[:, -1]]
        in_order = np.argsort(part_of_row, kind="stable")
        ends = np.cumsum(np.bincount(part_of_row, minlength=len(files)))
        for path, some in zip(files, np.split(rows[in_order], ends[:-1]), strict=True):
            with path.open("a+b") as file:
                some.tofile(file)
        advance(len(rows))
    return files
