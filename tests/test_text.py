"""Each step of normalisation, by hand-made examples and by properties that hold for any text."""

import unicodedata
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.errors import AsrkitError
from asrkit.text import (
    collapse_spaces,
    drop_invisible,
    drop_single_quotes,
    drop_stress,
    fold_forms,
    fold_latin,
    hangul_to_jamo,
    jamo_to_hangul,
    latin_to_cyrillic_twins,
    lone_apostrophes_to_spaces,
    lower,
    nfc,
    number_in_words,
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
    drop_stress,
    latin_to_cyrillic_twins,
    fold_forms,
    lower,
    partial(lower, dotless=True),
    collapse_spaces,
]
TEXTS = st.text() | st.text("aéßçIıİJﾞｶИй가\u1100ﬁ'’‘`´\"“” .,!-—_&@9\t\u0301\u0308\u00ad\u200b")


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


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("за\u0301мок замо\u0301к", "замок замок"),
        ("\u0450 \u045d \u0453 \u045c \u00e1", "е и г к a"),  # composed: the accent hides in the letter
        ("ї\u0301жа \u0439\u0301 ў ё ç ö", "їжа й ў ё ç ö"),  # no other mark is an accent
        ("за\u0341мок за\u0340мок", "замок замок"),  # the same accents by another name
        ("\u0301а 5\u0301", "\u0301а 5\u0301"),  # not on a letter
        ("가나다", "가나다"),
    ],
)
def test_stress_marks_are_dropped_and_nothing_else(text: str, plain: str) -> None:
    assert drop_stress(text) == nfc(plain)


@pytest.mark.parametrize(
    ("text", "cyrillic"),
    [
        ("cонце", "сонце"),
        ("Bін ЇXAB ïде", "Він ЇХАВ їде"),
        ("O'Гара", "О'Гара"),
        ("зirка", "зirка"),  # r has no twin: the whole word stays
        ("sun cow", "sun cow"),  # no Cyrillic letter
        ("IT-сфера x2", "IT-сфера x2"),  # each word for itself
        ("éда", "éда"),
        ("i\u0307да", "i\u0307да"),
    ],
)
def test_latin_twins_become_cyrillic_in_mixed_words(text: str, cyrillic: str) -> None:
    assert latin_to_cyrillic_twins(text) == cyrillic


def test_numbers_are_written_out_in_a_language_and_a_form_of_it() -> None:
    assert number_in_words(42, "en") == "forty-two"
    assert number_in_words(42, "en", to="ordinal") == "forty-second"
    assert number_in_words(21, "uk", gender="feminine") == "двадцять одна"
    with pytest.raises(AsrkitError, match="num2words writes no numbers in 'qq'"):
        number_in_words(1, "qq")


def test_spaces_collapse() -> None:
    assert collapse_spaces("\u3000a\u00a0\n b\t\u2009c ") == "a b c"
    assert collapse_spaces(" \n") == ""


def test_lower_case_knows_two_letters_i() -> None:
    assert lower("İSTANBUL ISI Iı", dotless=True) == "istanbul ısı ıı"
    assert lower("İSTANBUL ISI Iı") == "istanbul isi iı"
    assert lower("J\u030c ΟΔΟΣ ẞ") == "ǰ οδος ß"  # composed where only the small letter has a character of its own


def test_forms_become_their_letters_and_nothing_else_changes() -> None:
    assert fold_forms("ＡＢ１，　ｶﾞｷ ﬁﬂ \ufe8f\ufefb") == "AB1, ガキ fifl بلا"
    assert fold_forms("ﾡ ㄱ ½ ² ™ … Ǆ") == "ㄱ ㄱ ½ ² ™ … Ǆ"


def test_every_syllable_is_two_or_three_jamo_and_comes_back() -> None:
    """Against the arithmetic of the Unicode standard, section 3.12."""
    for number in range(19 * 21 * 28):
        syllable = chr(0xAC00 + number)
        jamo = chr(0x1100 + number // 588) + chr(0x1161 + number % 588 // 28)
        jamo += chr(0x11A7 + number % 28) if number % 28 else ""
        assert hangul_to_jamo(syllable) == jamo
        assert jamo_to_hangul(jamo) == syllable


@given(text=TEXTS.map(nfc) | st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)))
def test_text_comes_back_from_jamo(text: str) -> None:
    if not set(text) & set(map(chr, range(0x1100, 0x1200))):  # jamo that stood alone before are shown
        assert jamo_to_hangul(hangul_to_jamo(text)) == text


def test_only_syllables_become_jamo() -> None:
    assert hangul_to_jamo("é ㄱㅏ ㅋㅋ か\u3099 닭!") == "é ㄱㅏ ㅋㅋ か\u3099 \u1103\u1161\u11b0!"


@pytest.mark.parametrize(
    ("jamo", "shown"),
    [
        ("\u1100", "ㄱ"),
        ("\u1161\u11b0", "ㅏㄺ"),
        ("\u1100\u1100\u1161", "ㄱ가"),
        ("\u1100\u1161\u1161\u11a8", "가ㅏㄱ"),
        ("\u1100\u1161\u11a8\u11a8", "각ㄱ"),
        ("\u1100 \u1161", "ㄱ ㅏ"),
        ("\uac00\u11a8", "각"),  # a syllable takes a final that follows
        ("".join(map(chr, range(0x1100, 0x1113))) + " ", "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ "),
        ("".join(map(chr, range(0x1161, 0x1176))), "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"),
        ("".join(map(chr, range(0x11A8, 0x11C3))), "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"),
    ],
)
def test_jamo_that_make_no_syllable_are_shown_and_stay_apart(jamo: str, shown: str) -> None:
    assert jamo_to_hangul(jamo) == shown
    assert jamo_to_hangul(shown) == shown
