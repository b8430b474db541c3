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
_ONE = 10**DECIMALS
_U1, _U10, _ONE_U = np.uint64(1), np.uint64(10), np.uint64(_ONE)
_MINUS, _POINT, _ZERO, _TAB, _SPACE, _LINE_END = b"-.0\t \n"


@dataclass(frozen=True)
class Words:
    """The words of a vocabulary, in UTF-8, one behind the other: word i is bytes[offsets[i] : offsets[i + 1]]."""

    bytes: NDArray[np.uint8]
    offsets: NDArray[np.int64]  # (V + 1,)

    @classmethod
    def of(cls, words: Sequence[str]) -> "Words":
        encoded = [word.encode("utf-8") for word in words]
        offsets = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum([len(word) for word in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)


def arpa_lines(
    ngrams: NDArray[np.int32], log10: NDArray[np.float64], back_off: NDArray[np.float64] | None, words: Words
) -> memoryview:
    """`log10 <tab> words <tab> back-off`, a line for each row of ngrams (M, n), as bytes; without back-offs the last
    column is missing."""
    size = _text_bytes(ngrams, words.offsets) + ngrams.size + 2 * NUMBER_BYTES * len(ngrams)
    out = np.empty(size, dtype=np.uint8)
    has_back_off = back_off is not None
    used = _write_lines(
        ngrams, log10, back_off if has_back_off else log10, has_back_off, words.bytes, words.offsets, out
    )
    return out[:used].data


@compiled
def _text_bytes(ngrams: Any, offsets: Any) -> int:
    size = 0
    for row in range(ngrams.shape[0]):
        for word in ngrams[row]:
            size += offsets[word + 1] - offsets[word]
    return size


@compiled
def _write_lines(ngrams: Any, log10: Any, back_off: Any, has_back_off: bool, text: Any, offsets: Any, out: Any) -> int:
    at = 0
    for row in range(len(ngrams)):
        at = _write_number(log10[row], out, at)
        separator = _TAB
        for word in ngrams[row]:
            out[at] = separator
            at += 1
            for place in range(offsets[word], offsets[word + 1]):
                out[at] = text[place]
                at += 1
            separator = _SPACE
        if has_back_off:
            out[at] = _TAB
            at = _write_number(back_off[row], out, at + 1)
        out[at] = _LINE_END
        at += 1
    return at


@compiled
def _write_number(value: float, out: Any, at: int) -> int:
    """With as many as DECIMALS decimals, without zeros behind."""
    # unsigned: dividing needs no look at the sign
    scaled = np.uint64(round(abs(value) * _ONE))
    if value < 0 and scaled:
        out[at] = _MINUS
        at += 1
    whole, decimals = scaled // _ONE_U, scaled % _ONE_U
    above = _U1
    while above * _U10 <= whole:
        above *= _U10
    while above:
        out[at] = _ZERO + np.int64(whole // above % _U10)
        at += 1
        above //= _U10
    if not decimals:
        return at
    out[at] = _POINT
    for place in range(at + DECIMALS, at, -1):
        out[place] = _ZERO + np.int64(decimals % _U10)
        decimals //= _U10
    at += DECIMALS
    while out[at] == _ZERO:
        at -= 1
    return at + 1
