"""Each step of normalisation, by hand-made examples and by properties that hold for any text."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.text import (
    collapse_spaces,
    drop_invisible,
    drop_single_quotes,
    fold_latin,
    lone_apostrophes_to_spaces,
    nfc,
    plain_apostrophes,
    punctuation_to_spaces,
)

STEPS = [
    nfc,
    drop_invisible,
    fold_latin,
    plain_apostrophes,
    drop_single_quotes,
    punctuation_to_spaces,
    lone_apostrophes_to_spaces,
    collapse_spaces,
]
TEXTS = st.text() | st.text("aéßçИй가\u1100ﬁ'’‘`´\"“” .,!-—_&@9\t\u0301\u0308\u00ad\u200b")


@pytest.mark.parametrize("step", STEPS)
@given(text=TEXTS.map(nfc))
@settings(deadline=None)
def test_step_done_twice_is_step_done_once_and_leaves_text_composed(step: Callable[[str], str], text: str) -> None:
    once = step(text)
    assert step(once) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize("step", STEPS)
def test_steps_leave_plain_words_alone(step: Callable[[str], str]) -> None:
    for words in ("o'clock", "don't stop", "п'ять років", "가나다 라마", "it's 5"):
        assert step(words) == words


def test_nfc_composes() -> None:
    assert nfc("e\u0301") == "\u00e9"
    assert nfc("\u1100\u1161") == "\uac00"


def test_invisible_characters_go_and_controls_become_spaces() -> None:
    assert drop_invisible("so\u00adft\u200b \ufeffand\u200e") == "soft and"
    assert drop_invisible("a\x00b\tc") == "a b c"
    assert drop_invisible("e\u200d\u0301") == "\u00e9"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ünïcödé", "Unicode"),
        ("ÆØÅ æøå Łódź đð þ ħŧ", "AEOA aeoa Lodz dd th ht"),
        ("Straße GROẞ", "Strasse GROSS"),
        ("ﬁﬂ ǆ ŉ", "fifl dz ʼn"),
        ("m̃ v̌", "m v"),
        ("й ї ґ ё 각 が ά", "й ї ґ ё 각 が ά"),  # only Latin is folded
        ("\u0301a", "\u0301a"),  # a mark without a letter stays
    ],
)
def test_latin_is_folded(text: str, folded: str) -> None:
    assert fold_latin(nfc(text)) == nfc(folded)


@pytest.mark.parametrize("apostrophe", "'’‘‛ʼʻʹ′`´＇")
def test_apostrophes_become_one(apostrophe: str) -> None:
    assert plain_apostrophes(f"п{apostrophe}ять") == "п'ять"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("'Yes,' she said", "Yes, she said"),
        ("‘Yes’ she said", "Yes she said"),
        ("the 'big' one.", "the big one."),
        ("'He said 'no' to it.' Then", "He said no to it. Then"),
        ("'Don't go,' he said", "Don't go, he said"),
        ("The boys' house, the girls' house.", "The boys' house, the girls' house."),
        ("the 'big' one", "the 'big' one"),  # no punctuation: perhaps normalised already
        ("'tis the boys' own.", "'tis the boys' own."),
        ("'The boys' own.", "The boys own."),
        ("'60s' music.", "'60s' music."),
    ],
)
def test_single_quotes_in_pairs_are_dropped(text: str, dropped: str) -> None:
    assert drop_single_quotes(text, ["tis", "twas"]) == dropped


def test_elided_words_match_whole_and_in_any_case() -> None:
    assert drop_single_quotes("'Tis so,' he said.", ["tis"]) == "'Tis so,' he said."
    assert drop_single_quotes("'Tissue,' he said.", ["tis"]) == "Tissue, he said."


def test_punctuation_becomes_spaces_and_symbols_stay() -> None:
    assert punctuation_to_spaces("a.b,c-d—e(f)g«h»i。j_k") == "a b c d e f g h i j k"
    assert punctuation_to_spaces("it's 5% + $3 @ 20° x²") == "it's 5  + $3   20° x²"
    assert punctuation_to_spaces("it's 5%!", keep="%") == "it s 5% "


def test_apostrophes_stay_only_at_words() -> None:
    assert lone_apostrophes_to_spaces("o'clock 'tis boys' ' a '' b") == "o'clock 'tis boys'   a   b"
    assert lone_apostrophes_to_spaces("don''t") == "don t"


def test_spaces_collapse() -> None:
    assert collapse_spaces("\u3000a\u00a0\n b\t\u2009c ") == "a b c"
    assert collapse_spaces(" \n") == ""
