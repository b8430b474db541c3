"""The numbered n-grams of one order in, lines of an ARPA file out.

Shapes: M n-grams, n their length, V words. In Numba: a model of ten million n-grams has nearly a gigabyte of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.loops import compiled

NUMBER_BYTES = 14  # of a log10, its tab or line end included: -99999.123456
DECIMALS = 6
STEP = 8  # bytes of a word that are copied at once, whether it has so many or not
_U0, _U1, _U2, _U3, _U4, _U5, _U6, _U7 = map(np.uint64, range(8))
_U10, _U1000 = np.uint64(10), np.uint64(1000)
_ONE, _STEP = np.uint64(10**DECIMALS), np.uint64(STEP)
_MINUS, _POINT, _ZERO, _TAB, _SPACE, _LINE_END = map(np.uint8, b"-.0\t \n")
_DIGITS = np.frombuffer("".join(f"{number:03} " for number in range(1000)).encode(), dtype=np.uint8).copy()


@dataclass(frozen=True)
class Words:
    """The words of a vocabulary, in UTF-8, one behind the other: word i is bytes[offsets[i] : offsets[i + 1]]."""

    bytes: NDArray[np.uint8]  # and perhaps some more behind the last word
    offsets: NDArray[np.int64]  # (V + 1,)

    @classmethod
    def of(cls, words: Sequence[str]) -> "Words":
        encoded = [word.encode("utf-8") for word in words]
        offsets = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum([len(word) for word in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded) + bytes(STEP), dtype=np.uint8), offsets)


def arpa_lines(
    ngrams: NDArray[np.int32], log10: NDArray[np.float64], back_off: NDArray[np.float64] | None, words: Words
) -> memoryview:
    """`log10 <tab> words <tab> back-off`, a line for each row of ngrams (M, n), as bytes; without back-offs the last
    column is missing."""
    size = _text_bytes(ngrams, words.offsets) + ngrams.size + 2 * NUMBER_BYTES * len(ngrams)
    out = np.empty(size + STEP, dtype=np.uint8)
    text = words.bytes
    if len(text) < words.offsets[-1] + STEP:
        text = np.concatenate([text, np.zeros(STEP, dtype=np.uint8)])
    has_back_off = back_off is not None
    used = _write_lines(ngrams, log10, back_off if has_back_off else log10, has_back_off, text, words.offsets, out)
    return out[:used].data


@compiled
def _text_bytes(ngrams: Any, offsets: Any) -> int:
    size = 0
    for row in range(ngrams.shape[0]):
        for word in ngrams[row]:
            size += offsets[word + 1] - offsets[word]
    return size


# Places are unsigned, which spares the look at each whether it counts from the end.


@compiled
def _write_lines(ngrams: Any, log10: Any, back_off: Any, has_back_off: bool, text: Any, offsets: Any, out: Any) -> Any:
    at = _U0
    for row in range(len(ngrams)):
        at = _write_number(log10[row], out, at)
        separator = _TAB
        for word in ngrams[row]:
            out[at] = separator
            at = _write_word(text, offsets, np.uint64(word), out, at + _U1)
            separator = _SPACE
        if has_back_off:
            out[at] = _TAB
            at = _write_number(back_off[row], out, at + _U1)
        out[at] = _LINE_END
        at += _U1
    return at


@compiled
def _write_word(text: Any, offsets: Any, word: Any, out: Any, at: Any) -> Any:
    """STEP bytes at a time, all read before any is written: so the processor moves them as one. What is beyond the word
    is written over later."""
    place, end = np.uint64(offsets[word]), np.uint64(offsets[word + _U1])
    while True:
        a, b, c, d = text[place], text[place + _U1], text[place + _U2], text[place + _U3]
        e, f, g, h = text[place + _U4], text[place + _U5], text[place + _U6], text[place + _U7]
        out[at], out[at + _U1], out[at + _U2], out[at + _U3] = a, b, c, d
        out[at + _U4], out[at + _U5], out[at + _U6], out[at + _U7] = e, f, g, h
        if place + _STEP >= end:
            return at + end - place
        place += _STEP
        at += _STEP


@compiled
def _write_number(value: float, out: Any, at: Any) -> Any:
    """With as many as DECIMALS decimals, without zeros behind."""
    scaled = np.uint64(round(abs(value) * _ONE))
    if value < 0 and scaled:
        out[at] = _MINUS
        at += _U1
    whole, decimals = scaled // _ONE, scaled % _ONE
    above = _U1
    while above * _U10 <= whole:
        above *= _U10
    while above:
        out[at] = _ZERO + np.uint8(whole // above % _U10)
        at += _U1
        above //= _U10
    if not decimals:
        return at
    out[at] = _POINT
    at += _U1
    for three in (decimals // _U1000, decimals % _U1000):
        for place in range(_U3):
            out[at + place] = _DIGITS[_U4 * three + place]
        at += _U3
    while out[at - _U1] == _ZERO:
        at -= _U1
    return at
