"""recipes/korean: numerals against parsers of their own, what any text becomes, real texts, the demo's sentences."""

import json
import random
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.recipe import load_recipe, load_sibling
from asrkit.sentences import draw_sentences

RECIPE = load_recipe(Path(__file__).parent.parent / "recipes" / "korean")
NUMERALS = load_sibling(RECIPE, "numerals")
DEMO = load_sibling(RECIPE, "demo")
ALPHABET = set(RECIPE.alphabet)
ONES = ["하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉"]
TENS = ["열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"]
BEFORE_NOUNS = {"하나": "한", "둘": "두", "셋": "세", "넷": "네", "스물": "스무"}
PIECES = re.findall(
    r"\S+",
    """
    0 1 3 5 12 25 100 1990 1,500 3.5 6.25 007 만 천 억 개 시 분 월 년 명 대 번 살 초과 등 이상 은 을 에 이 로 까지 여
    제 약 가나 회의 중반 달 주일 번째 분의 1/2 % %p km m $ ₩ ° ℃ / - ~ · . , ? : … ( ) [ ] < > ' " ” “ 《 》 ㅋ ㆍ A 山
    １ ％ + = * _ # ﾡ \u1100 \u1161 \u11a8 \u0301 \u3164 \u200b""",
)


def parsed(numeral: str) -> int:
    """A Sino-Korean numeral read from left to right: an accumulator for each level, multiplied as the units come."""
    total = group = figure = 0
    for syllable in numeral.replace(" ", ""):
        if syllable in "일이삼사오육칠팔구":
            figure = "일이삼사오육칠팔구".index(syllable) + 1
        elif syllable in "십백천":
            group += (figure or 1) * {"십": 10, "백": 100, "천": 1000}[syllable]
            figure = 0
        else:
            total += ((group + figure) or 1) * {"만": 10**4, "억": 10**8, "조": 10**12}[syllable]
            group = figure = 0
    return total + group + figure


def test_alphabet_is_all_syllables_and_the_space() -> None:
    assert len(RECIPE.alphabet) == 11_173
    names = [unicodedata.name(character) for character in RECIPE.alphabet]
    assert names[0] == "SPACE" and all(name.startswith("HANGUL SYLLABLE ") for name in names[1:])


@given(st.integers(1, 10**12) | st.integers(1, 30_000))
def test_sino_korean_numerals_mean_their_numbers(number: int) -> None:
    numeral = NUMERALS.sino(number)
    assert parsed(numeral) == number
    assert RECIPE.normalize(f"{number}원") == f"{numeral} 원"
    assert RECIPE.normalize(f"{number:,}원이 듭니다") == f"{numeral} 원이 듭니다"


@pytest.mark.parametrize(
    ("number", "numeral"),
    [
        (0, "영"),
        (10, "십"),
        (11, "십일"),
        (111, "백십일"),
        (1_000, "천"),
        (1_006, "천육"),
        (10_000, "만"),
        (11_111, "만 천백십일"),
        (110_000, "십일만"),
        (10_000_000, "천만"),
        (100_000_000, "일억"),
        (100_010_000, "일억 일만"),
        (1_234_567_898, "십이억 삼천사백오십육만 칠천팔백구십팔"),  # the example of 한글 맞춤법, article 44
        (10**12, "일조"),
    ],
)
def test_sino_korean_numerals_by_hand(number: int, numeral: str) -> None:
    assert NUMERALS.sino(number) == numeral


def test_native_numerals_from_1_to_99_go_before_their_noun() -> None:
    for number in range(1, 100):
        tens, ones = divmod(number, 10)
        alone = [*TENS[tens - 1 : tens][:tens], *ONES[ones - 1 : ones][:ones]]
        expected = "".join([*alone[:-1], BEFORE_NOUNS.get(alone[-1], alone[-1])])
        assert NUMERALS.native(number) == expected
        assert RECIPE.normalize(f"{number}살이에요") == f"{expected} 살이에요"
    assert [NUMERALS.native(number) for number in (100, 101, 120, 1_021)] == ["백", "백한", "백스무", "천스물한"]


@given(st.integers(1, 9_999), st.integers(1, 9_999), st.sampled_from(["", " "]))
def test_numbers_in_figures_and_words_are_one_number(myriads: int, rest: int, space: str) -> None:
    assert NUMERALS.value(f"{myriads}만{space}{rest}") == myriads * 10_000 + rest
    assert NUMERALS.value(f"{myriads:,}억") == myriads * 10**8


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *(("5천", 5_000), ("4백 28", 428), ("3천 5백 73", 3_573), ("2백 4십만", 2_400_000), ("1억 5천만", 150_000_000)),
        *(("22조 4백 68억", 22_046_800_000_000), ("1만 7백 69", 10_769), ("5,000", 5_000), ("0", 0)),
    ],
)
def test_numbers_as_newspapers_write_them(written: str, number: int) -> None:
    assert NUMERALS.value(written) == number


@pytest.mark.parametrize("written", ["007", "3만 5만", "3백 5백", "2천 3천만", "20백", "1" * 30, "10만 20억"])
def test_what_is_not_one_number_has_no_value(written: str) -> None:
    assert NUMERALS.value(written) is None


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", "", " "])), max_size=10))
def test_normalising_figures_twice_changes_nothing(pieces: list[tuple[str, str]]) -> None:
    once = RECIPE.normalize("".join(piece + space for piece, space in pieces))
    assert RECIPE.normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(st.sampled_from("가힣닭값 \t.,;:!?…'\"“”‘’「」『』《》〈〉()[]{}·ㆍ—–-/\\_「」、。")))
def test_hangul_with_punctuation_comes_within_the_alphabet(text: str) -> None:
    normalised = RECIPE.normalize(text)
    assert set(normalised) <= ALPHABET
    assert re.sub(r"[^가-힣]", "", text) == normalised.replace(" ", "")  # and no syllable is lost or new


@given(st.text(st.sampled_from(RECIPE.alphabet[1:])), st.sampled_from(["NFD", "NFKD"]))
def test_decomposed_text_is_composed(word: str, form: str) -> None:
    assert RECIPE.normalize(unicodedata.normalize(form, word)) == word


@given(st.integers(0, 10**6), st.sampled_from("ABkmzé山々ㄱㅋ½²①"))
def test_figures_within_words_of_other_letters_stay(number: int, letter: str) -> None:
    for word in (f"{letter}{number}", f"{number}{letter}{number}"):
        assert RECIPE.normalize(f"{word} 입니다") == f"{word} 입니다"


def test_long_and_odd_texts_take_no_time() -> None:
    for text in (
        "1" * 5_000,
        "1만 " * 500,
        "3개," * 500,
        "<" * 300 + "가" + ">" * 300,
        "." * 5_000 + "'가",
        "0" * 5_000 + "원",
    ):
        once = RECIPE.normalize(text)
        assert RECIPE.normalize(once) == once


def test_every_recorded_sentence_comes_within_the_alphabet(shared: Path) -> None:
    lines = (shared / "speech/korean.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) == 1328
    for text in texts:
        assert re.sub(r"[^가-힣 ]", "", text).split() == RECIPE.normalize(text).split()


def test_of_printed_prose_only_what_has_several_readings_stays_outside(shared: Path) -> None:
    lines = (shared / "speech/text/ko_ud_kaist.txt").read_text(encoding="utf-8").splitlines()
    texts = [RECIPE.normalize(line) for line in lines]
    assert all(texts)
    outside = [line for line, text in zip(lines, texts, strict=True) if not set(text) <= ALPHABET]
    with_figures = [line for line in lines if re.search("[0-9]", line)]
    unread = [text for text in texts if re.search("[0-9]", text)]
    assert len(lines) == 4353 and len(outside) <= 320  # 172 of them have no figures, but Latin, Hanja or jamo
    assert len(with_figures) == 649 and len(unread) <= 145
    for line in outside:
        assert re.search("[0-9A-Za-z\u3131-\u318e\u4e00-\u9fff]", line), line
    for line, text in zip(lines, texts, strict=True):
        if line not in with_figures:  # not a syllable is lost
            assert re.findall("[가-힣]", line) == re.findall("[가-힣]", text)


# The demo


def test_the_demo_speaks_hard_syllables() -> None:
    sentences = draw_sentences(DEMO.GRAMMAR, random.Random(1), 3_000, DEMO.finish)
    words = {word for sentence in sentences for word in sentence.split()}
    assert {"닭을", "값을", "먹는다", "앉았다", "밖에", "여덟", "쌀을", "꿨다", "넋을"} <= words


@pytest.mark.parametrize(
    ("spoken", "agreed"),
    [
        ("닭(은) 값(이) 밭(을) 흙(과) 숲(으로)", "닭은 값이 밭을 흙과 숲으로"),
        ("개(은) 배(이) 차(을) 코(과) 학교(으로)", "개는 배가 차를 코와 학교로"),
        ("말(은) 길(이) 칼(을) 물(과) 서울(으로)", "말은 길이 칼을 물과 서울로"),  # ㄹ takes 로
    ],
)
def test_particles_agree_with_the_syllable_before(spoken: str, agreed: str) -> None:
    assert DEMO.finish(spoken) == agreed
