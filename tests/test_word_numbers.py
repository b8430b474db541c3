"""The words of a text, numbered from its bytes."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.word_numbers import WordNumbers

MARKS = ("<unk>", "<s>", "</s>")
BEGIN, END = 1, 2
LINES = st.lists(st.text(st.sampled_from("ab\u00a0\u0439\U0001f600<\t \r\v\f\0\x1c"), max_size=12), max_size=8)


def numbered_plainly(blocks: list[str]) -> tuple[list[int], list[str]]:
    """The same with a dict."""
    numbers, words = [], list(MARKS)
    for line in "".join(blocks).split("\n")[:-1]:
        numbers.append(BEGIN)
        for word in filter(None, re.split("[ \t\r\v\f\0]", line)):
            if word not in words:
                words.append(word)
            numbers.append(words.index(word))
        numbers.append(END)
    return numbers, words


@given(st.lists(LINES, max_size=4), st.integers(3, 8))
def test_words_are_numbered_as_they_are_met(texts: list[list[str]], room: int) -> None:
    blocks = ["".join(f"{line}\n" for line in lines) for lines in texts]
    found = WordNumbers(MARKS, room=1 << room.bit_length())
    numbers = [found.number(block.encode(), BEGIN, END) for block in blocks]
    wanted, words = numbered_plainly(blocks)
    assert np.concatenate([np.zeros(0, dtype=np.int32), *numbers]).tolist() == wanted
    assert found.words() == words and len(found) == len(words)
    assert found.lengths().tolist() == [len(word.encode()) for word in words]


def test_many_words_in_little_room() -> None:
    words = [f"w{number}" for number in range(5_000)]
    found = WordNumbers(MARKS, room=4)
    text = "".join(f"{word}\n" for word in words).encode()
    first, again = found.number(text, BEGIN, END), found.number(text, BEGIN, END)
    assert first.tolist() == again.tolist()
    assert first[1::3].tolist() == list(range(3, 5_003)) and found.words()[3:] == words


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_refused_by_name(mark: str) -> None:
    found = WordNumbers(MARKS)
    with pytest.raises(ValueError, match=f"^{mark}$"):
        found.number(f"a b\nc {mark} d\n".encode(), BEGIN, END)
    assert found.number(b"c a\n", BEGIN, END).tolist() == [BEGIN, 5, 3, END]
