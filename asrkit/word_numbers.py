"""Text in blocks of bytes in; the numbers of its words, in the order in which they are first met, out.

A table of hashes in arrays (open addressing; FNV-1a, Fowler, Noll and Vo): a word costs a tenth of what reading it into
a string and looking that up in a dict would.

Shapes: W room for words, S slots (a power of two, two for each of them), B bytes.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asrkit.loops import compiled

_FREE = -1
_LINE_END = ord("\n")
_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
# what ends a word besides a line's end, as lmplz has it; others, such as the no-break space, are part of a word
_ENDS_WORD = np.zeros(256, dtype=np.bool_)
_ENDS_WORD[list(b" \t\r\v\f\0\n")] = True


class _Table(NamedTuple):
    """Word i is letters[ends[i] : ends[i + 1]]."""

    slots: NDArray[np.int32]  # (S,) the number of a word, or _FREE
    hashes: NDArray[np.uint64]  # (W,)
    ends: NDArray[np.int64]  # (W + 1,)
    letters: NDArray[np.uint8]  # (B,)
    used: NDArray[np.int64]  # (1,) words


class WordNumbers:
    """word -> number: those of `marks` first, then others as they come. Texts may not hold the marks."""

    def __init__(self, marks: tuple[str, ...], room: int = 1 << 15) -> None:
        self._table = _Table(
            slots=np.full(2 * room, _FREE, dtype=np.int32),
            hashes=np.empty(room, dtype=np.uint64),
            ends=np.zeros(room + 1, dtype=np.int64),
            letters=np.empty(room, dtype=np.uint8),
            used=np.zeros(1, dtype=np.int64),
        )
        self._marks = 0
        self.number("".join(f"{mark}\n" for mark in marks).encode(), 0, 0)
        self._marks = len(marks)

    def __len__(self) -> int:
        return int(self._table.used[0])

    def number(self, text: bytes, begin: int, end: int) -> NDArray[np.int32]:
        """The words of whole lines, those of each between `begin` and `end`.

        Raises:
            ValueError: a mark is among them; its argument is the mark.
        """
        found = np.frombuffer(text, dtype=np.uint8)
        numbers = np.empty(2 * len(found), dtype=np.int32)  # "\n" has two
        at = count = 0
        within = False
        self._make_room(letters=len(found))
        while at < len(found):
            at, count, within, refused = _number(
                found, at, within, self._table, self._marks, begin, end, numbers, count
            )
            if refused:
                raise ValueError(text[at:].split(maxsplit=1)[0].decode())
            if at < len(found):
                self._make_room(words=2 * len(self._table.hashes))
        return numbers[:count]

    def words(self) -> list[str]:
        """By number."""
        letters, ends = self._table.letters.tobytes(), self._table.ends[: len(self) + 1].tolist()
        return [letters[first:end].decode("utf-8") for first, end in pairwise(ends)]

    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each word."""
        return np.diff(self._table.ends[: len(self) + 1])

    def _make_room(self, *, letters: int = 0, words: int = 0) -> None:
        """For so many more letters; for so many words in all."""
        table = self._table
        wanted = int(table.ends[len(self)]) + letters
        if wanted > len(table.letters):
            table = table._replace(letters=_longer(table.letters, 2 * wanted))
        if words:
            slots = np.full(2 * words, _FREE, dtype=np.int32)
            _place_all(table.hashes[: len(self)], slots)
            table = table._replace(
                slots=slots, hashes=_longer(table.hashes, words), ends=_longer(table.ends, words + 1)
            )
        self._table = table


def _longer(array: NDArray[Any], size: int) -> NDArray[Any]:
    found = np.empty(size, dtype=array.dtype)
    found[: len(array)] = array
    return found


@compiled
def _number(
    text: Any, at: int, within: bool, table: Any, marks: int, begin: int, end: int, numbers: Any, count: int
) -> tuple[int, int, bool, bool]:
    """From byte `at` on, up to the end or to a word for which there is no room, or to a mark (then the last value is
    True). `within` says whether the line's `begin` is there already."""
    slots, hashes, ends, letters, used = table
    words, mask = used[0], np.uint64(len(slots) - 1)
    while at < len(text):
        if not within:
            numbers[count] = begin
            count += 1
            within = True
        if text[at] == _LINE_END:
            numbers[count] = end
            count += 1
            within = False
        if _ENDS_WORD[text[at]]:
            at += 1
            continue
        stop, code = at, _FNV_START
        while not _ENDS_WORD[text[stop]]:
            code = (code ^ np.uint64(text[stop])) * _FNV_PRIME
            stop += 1
        slot = (code ^ (code >> np.uint64(32))) & mask
        while slots[slot] != _FREE and not _is(hashes, ends, letters, slots[slot], code, text, at, stop):
            slot = (slot + np.uint64(1)) & mask
        number = slots[slot]
        if number == _FREE:
            if words == len(hashes):
                break
            number = words
            slots[slot], hashes[words] = number, code
            ends[words + 1] = ends[words] + stop - at
            letters[ends[words] : ends[words + 1]] = text[at:stop]
            words += 1
        elif number < marks:
            used[0] = words
            return at, count, within, True
        numbers[count] = number
        count += 1
        at = stop
    used[0] = words
    return at, count, within, False


@compiled
def _is(hashes: Any, ends: Any, letters: Any, number: int, code: Any, text: Any, at: int, stop: int) -> bool:
    """Whether the word of that number is text[at:stop]."""
    first = ends[number]
    if hashes[number] != code or ends[number + 1] - first != stop - at:
        return False
    same = 0
    while same < stop - at and letters[first + same] == text[at + same]:
        same += 1
    return same == stop - at


@compiled
def _place_all(hashes: Any, slots: Any) -> None:
    mask = np.uint64(len(slots) - 1)
    for number in range(len(hashes)):
        slot = (hashes[number] ^ (hashes[number] >> np.uint64(32))) & mask
        while slots[slot] != _FREE:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number
