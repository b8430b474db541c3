r"""An ARPA file, plain or gzipped, in; its words and n-grams as arrays out.

The format is SRILM's (ngram-format(5)): \data\ with `ngram N=COUNT`, then for each order \N-grams: and lines of log10,
words, and perhaps a back-off, then \end\. In Numba: ten million n-grams are 300 MB of text.

Shapes: M n-grams of one order, n their length, V words.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from asrkit.arpa_text import Words
from asrkit.errors import AsrkitError
from asrkit.loops import compiled
from asrkit.progress import Progress, Silent
from asrkit.text_files import BOM, OTHER_MAGICS, reading, starts_with

CHUNK_BYTES = 1 << 24
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)\s*")
_SPACE, _TAB, _LINE_END, _RETURN, _BACKSLASH = b" \t\n\r\\"
_PLUS, _MINUS, _POINT, _ZERO, _NINE, _SMALL_E, _BIG_E = b"+-.09eE"
_LINE_WANTED = {  # what _parse_lines gives as `trouble`
    1: "a log10, {n} words and perhaps a back-off",
    2: "words that are among the 1-grams",
    3: "a probability of 1 or less, which is a log10 of 0 or less",
    4: "each n-gram once",
}
_FINE, _NO_LINE, _UNKNOWN_WORD, _POSITIVE, _TWICE = range(5)
NO_WORD = -1


@dataclass(frozen=True)
class ArpaOrder:
    """The n-grams of one length."""

    ngrams: NDArray[np.int32]  # (M, n) places in the list of words
    log10: NDArray[np.float32]  # (M,) of the probability of the last word behind the others
    back_off: NDArray[np.float32]  # (M,) log10, 0 where the file has none


@dataclass(frozen=True)
class Arpa:
    """An n-gram model as the file has it; the words are in the order of its 1-grams, marks included."""

    words: Words
    word_slots: NDArray[np.int32]  # hash table of the words, see find_word
    orders: tuple[ArpaOrder, ...]


def read_arpa(path: Path, *, progress: Progress = Silent()) -> Arpa:
    """All n-grams of a file.

    Raises:
        AsrkitError: no such file, no ARPA, other numbers of n-grams than its head says, or a line that is none: with
            its number, what it says and what was wanted.
    """
    for magic, name in OTHER_MAGICS.items():
        if starts_with(path, magic):
            raise AsrkitError(f"{path} is packed with {name}; unpack it first (.arpa and .arpa.gz are read)")
    with reading(path) as file, progress.bar(f"reading {path.name}", None, "n-gram") as bar:
        reader = _Reader(path, file)
        counts = _read_head(reader)
        words, slots, unigrams = _read_unigrams(reader, counts[0])
        bar.advance(counts[0])
        orders = [unigrams]
        for n, count in enumerate(counts[1:], start=2):
            orders.append(_read_order(reader, n, count, words, slots))
            bar.advance(count)
        reader.expect(b"\\end\\")
    return Arpa(words, slots, tuple(orders))


class _Reader:
    """A file by chunks of whole lines."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.chunk, self.at = b"", 0
        self.line_number = 0  # of the line before `at`
        self.ended = False

    def fill(self) -> bool:
        """Has more lines behind `at`, if the file has any."""
        while self.chunk.find(b"\n", self.at) < 0 and not self.ended:
            more = self.file.read(CHUNK_BYTES)
            self.ended = not more
            rest = self.chunk[self.at :]
            self.chunk, self.at = rest + (more or (b"\n" if rest else b"")), 0
        return self.at < len(self.chunk)

    def line(self) -> bytes | None:
        """The next line that is not blank, without spaces around it."""
        while self.fill():
            end = self.chunk.index(b"\n", self.at)
            line = self.chunk[self.at : end].strip()
            self.at = end + 1
            self.line_number += 1
            if line:
                return line
        return None

    def expect(self, wanted: bytes) -> None:
        if (line := self.line()) != wanted:
            self.refuse(line, f"'{wanted.decode()}'")

    def refuse(self, line: bytes | None, wanted: str) -> NoReturn:
        if line is None:
            raise AsrkitError(f"{self.path} ends after line {self.line_number}; wanted {wanted}: the file is cut short")
        found = line[:60].decode("utf-8", "replace")
        raise AsrkitError(f"{self.path} line {self.line_number} is {found!r}; wanted {wanted}")


def _read_head(reader: _Reader) -> list[int]:
    r"""From \data\ up to \1-grams:, as the numbers of n-grams."""
    line = reader.line()
    while line is None or line.removeprefix(BOM) != b"\\data\\":
        if line is None or not line.startswith(b"#"):
            reader.refuse(line, r"'\data\', for this is no ARPA file")
        line = reader.line()
    counts: list[int] = []
    while (line := reader.line()) is not None and (match := _COUNT.fullmatch(line)):
        if int(match[1]) != len(counts) + 1:
            reader.refuse(line, f"'ngram {len(counts) + 1}=COUNT'")
        counts.append(int(match[2]))
    if not counts or line != b"\\1-grams:":
        reader.refuse(line, r"'ngram N=COUNT' or '\1-grams:'")
    return counts


def _read_unigrams(reader: _Reader, count: int) -> tuple[Words, NDArray[np.int32], ArpaOrder]:
    text = np.empty(0, dtype=np.uint8)
    offsets = np.zeros(count + 1, dtype=np.int64)
    slots = np.full(1 << max(4, int(2 * count).bit_length()), NO_WORD, dtype=np.int32)
    order = _empty_order(1, count)

    def parse(chunk: NDArray[np.uint8], at: int, row: int) -> Any:
        nonlocal text
        text = np.concatenate([text[: offsets[row]], np.empty(len(chunk) - at, dtype=np.uint8)])  # room for all of it
        return _parse_words(chunk, at, row, text, offsets, slots, order.log10, order.back_off)

    _read_lines(reader, 1, count, parse)
    words = Words(text[: offsets[-1]].copy(), offsets)
    _check_utf8(reader.path, words)
    return words, slots, order


def _read_order(reader: _Reader, n: int, count: int, words: Words, slots: NDArray[np.int32]) -> ArpaOrder:
    reader.expect(f"\\{n}-grams:".encode())
    order = _empty_order(n, count)

    def parse(chunk: NDArray[np.uint8], at: int, row: int) -> Any:
        known = (words.bytes, words.offsets, slots)
        return _parse_ngrams(chunk, at, row, *known, order.ngrams, order.log10, order.back_off)

    _read_lines(reader, n, count, parse)
    return order


def _read_lines(reader: _Reader, n: int, count: int, parse: Callable[[NDArray[np.uint8], int, int], Any]) -> None:
    """The `count` lines of a section. `parse` gives the rows that are there then, where it stopped, the lines passed,
    and what is wrong with the line there."""
    row = 0
    while row < count:
        if not reader.fill():
            reader.refuse(None, f"{count - row} more {n}-grams")
        row, reader.at, lines, trouble = parse(np.frombuffer(reader.chunk, dtype=np.uint8), reader.at, row)
        reader.line_number += lines
        if trouble != _FINE:
            reader.refuse(reader.line(), _LINE_WANTED[trouble].format(n=n))
        if row < count and reader.chunk[reader.at : reader.at + 1] == b"\\":
            raise AsrkitError(f"{reader.path} has {row} {n}-grams where its head says {count}; the file is damaged")


def _empty_order(n: int, count: int) -> ArpaOrder:
    ngrams = np.empty((count, n), dtype=np.int32)
    if n == 1:
        ngrams[:, 0] = np.arange(count)
    return ArpaOrder(ngrams, np.empty(count, dtype=np.float32), np.zeros(count, dtype=np.float32))


def _check_utf8(path: Path, words: Words) -> None:
    try:
        words.bytes.tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        number = int(np.searchsorted(words.offsets, error.start, side="right")) - 1
        found = words.bytes[words.offsets[number] : words.offsets[number + 1]].tobytes().decode("latin-1")
        raise AsrkitError(
            f"{path}: the word of 1-gram {number + 1} is not UTF-8 (as Latin-1 it would be {found!r}); convert the "
            "file, for example with: iconv -f LATIN1 -t UTF-8"
        ) from error


# Numba: bytes to numbers -------------------------------------------------------------------------------------------


@compiled
def hash_bytes(text: Any, start: int, end: int) -> Any:
    """FNV-1a, 64 bits, its upper half mixed in."""
    found = np.uint64(0xCBF29CE484222325)
    for place in range(start, end):
        found = (found ^ np.uint64(text[place])) * np.uint64(0x100000001B3)
    return found ^ (found >> np.uint64(32))


@compiled
def find_word(text: Any, start: int, end: int, words: Any, offsets: Any, slots: Any) -> Any:
    """The number of the word text[start:end], or -1; and the slot where it is, or where it would go."""
    mask = len(slots) - 1
    slot = np.int64(hash_bytes(text, start, end) & np.uint64(mask))
    while slots[slot] != NO_WORD:
        word = slots[slot]
        length = offsets[word + 1] - offsets[word]
        if length == end - start:
            place = 0
            while place < length and words[offsets[word] + place] == text[start + place]:
                place += 1
            if place == length:
                return word, slot
        slot = (slot + 1) & mask
    return NO_WORD, slot


@compiled
def _parse_number(text: Any, at: Any) -> Any:
    """A decimal number and where it ends; where it starts, if there is none."""
    start = at
    sign = 1.0
    if text[at] == _MINUS or text[at] == _PLUS:
        sign = -1.0 if text[at] == _MINUS else 1.0
        at += 1
    digits, exponent, mantissa = 0, 0, np.int64(0)
    after_point = False
    while True:
        if _ZERO <= text[at] <= _NINE:
            if digits < 18:
                mantissa = mantissa * 10 + (text[at] - _ZERO)
                exponent -= after_point
            else:
                exponent += not after_point
            digits += 1
        elif text[at] == _POINT and not after_point:
            after_point = True
        else:
            break
        at += 1
    if not digits:
        return 0.0, start
    if text[at] == _SMALL_E or text[at] == _BIG_E:
        place = at + 1
        negative = text[place] == _MINUS
        if negative or text[place] == _PLUS:
            place += 1
        power, first = 0, place
        while _ZERO <= text[place] <= _NINE:
            power = min(power * 10 + (text[place] - _ZERO), 9999)
            place += 1
        if place > first:
            exponent += -power if negative else power
            at = place
    return sign * mantissa * 10.0**exponent, at


@compiled
def _skip_blanks(text: Any, at: int) -> int:
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _RETURN:
        at += 1
    return at


@compiled
def _word_end(text: Any, at: int) -> int:
    while text[at] != _SPACE and text[at] != _TAB and text[at] != _RETURN and text[at] != _LINE_END:
        at += 1
    return at


@compiled
def _parse_end(text: Any, at: Any) -> Any:
    """The back-off at the end of a line, or 0, and where the line ends; -1 where something else is there."""
    at = _skip_blanks(text, at)
    back_off = 0.0
    if text[at] != _LINE_END:
        back_off, end = _parse_number(text, at)
        if end == at:
            return 0.0, -1
        at = _skip_blanks(text, end)
    return back_off, at if text[at] == _LINE_END else -1


@compiled
def _last_line_end(text: Any) -> int:
    end = len(text) - 1
    while text[end] != _LINE_END:
        end -= 1
    return end


@compiled
def _parse_words(
    text: Any, at: int, row: int, words: Any, offsets: Any, slots: Any, log10: Any, back_off: Any
) -> tuple[int, int, int, int]:
    """Lines of 1-grams up to the last line end; gives the rows, the place, the lines passed, and what is wrong with
    the line there."""
    lines, last = 0, _last_line_end(text)
    while at <= last and row < len(log10):
        line = at
        at = _skip_blanks(text, at)
        if text[at] == _LINE_END:
            at += 1
            lines += 1
            continue
        if text[at] == _BACKSLASH and text[at + 1] != _TAB:
            return row, line, lines, _FINE
        value, end = _parse_number(text, at)
        start = _skip_blanks(text, end)
        stop = _word_end(text, start)
        left, line_end = _parse_end(text, stop)
        if end == at or start == end or stop == start or line_end < 0:
            return row, line, lines, _NO_LINE
        if value > 0:
            return row, line, lines, _POSITIVE
        word, slot = find_word(text, start, stop, words, offsets, slots)
        if word != NO_WORD:
            return row, line, lines, _TWICE
        slots[slot] = row
        for place in range(stop - start):
            words[offsets[row] + place] = text[start + place]
        offsets[row + 1] = offsets[row] + stop - start
        log10[row], back_off[row] = value, left
        row += 1
        lines += 1
        at = line_end + 1
    return row, at, lines, _FINE


@compiled
def _parse_ngrams(
    text: Any, at: int, row: int, words: Any, offsets: Any, slots: Any, ngrams: Any, log10: Any, back_off: Any
) -> tuple[int, int, int, int]:
    """As _parse_words, for longer n-grams."""
    lines, last = 0, _last_line_end(text)
    while at <= last and row < len(log10):
        line = at
        at = _skip_blanks(text, at)
        if text[at] == _LINE_END:
            at += 1
            lines += 1
            continue
        if text[at] == _BACKSLASH:
            return row, line, lines, _FINE
        value, end = _parse_number(text, at)
        if end == at:
            return row, line, lines, _NO_LINE
        if value > 0:
            return row, line, lines, _POSITIVE
        for column in range(ngrams.shape[1]):
            start = _skip_blanks(text, end)
            stop = _word_end(text, start)
            if start == end or stop == start:
                return row, line, lines, _NO_LINE
            word, _ = find_word(text, start, stop, words, offsets, slots)
            if word == NO_WORD:
                return row, line, lines, _UNKNOWN_WORD
            ngrams[row, column] = word
            end = stop
        left, line_end = _parse_end(text, end)
        if line_end < 0:
            return row, line, lines, _NO_LINE
        log10[row], back_off[row] = value, left
        row += 1
        lines += 1
        at = line_end + 1
    return row, at, lines, _FINE
