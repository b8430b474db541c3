"""Lines of KsponSpeech's transcripts: what is a mark goes, every word stays, and what is not certain is unfit."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.recipe import load_recipe, load_sibling

ksponspeech_text = load_sibling(load_recipe(Path(__file__).parent.parent / "recipes" / "korean"), "ksponspeech_text")
parse_transcript = ksponspeech_text.parse_transcript
READ_ALOUD, MENDED, STARRED = ksponspeech_text.READ_ALOUD, ksponspeech_text.MENDED, ksponspeech_text.STARRED
UNCLEAR, MALFORMED = "unclear speech", "malformed transcript"

CERTAIN = [  # line, spelling, pronunciation, notes
    ("아/ 몬 소리야, 그건 또. b/", "아 몬 소리야, 그건 또.", "아 몬 소리야, 그건 또.", ()),
    ("(뭐)/(모) 할래?", "뭐 할래?", "모 할래?", ()),
    ("나는 (내가)/(내) 짖지 마 하면은", "나는 내가 짖지 마 하면은", "나는 내 짖지 마 하면은", ()),
    # digits, Latin, symbols, Chinese characters
    ("그럼 (20년)/(이십 년) 전", "그럼 이십 년 전", "그럼 이십 년 전", (READ_ALOUD,)),
    ("(70%)/(칠 십 퍼센트)가 (뭐)/(모)", "칠 십 퍼센트가 뭐", "칠 십 퍼센트가 모", (READ_ALOUD,)),
    ("(SRT)/(에스알티) 타고", "에스알티 타고", "에스알티 타고", (READ_ALOUD,)),
    (
        "(1+1)/(원 플러스 원), (A+)/(에이 플러스)",
        "원 플러스 원, 에이 플러스",
        "원 플러스 원, 에이 플러스",
        (READ_ALOUD,),
    ),
    ("(大)/(대)자로", "대자로", "대자로", (READ_ALOUD,)),
    ("(백 프로)/(100%) 응", "백 프로 응", "백 프로 응", ()),  # the wrong way round
    ("(30번)/(30번)", "30번", "30번", (READ_ALOUD,)),  # nobody knows how it was read: outside the alphabet
    # pairs that are not written well
    ("진짜 (100%)(백 프로)가 왜", "진짜 백 프로가 왜", "진짜 백 프로가 왜", (READ_ALOUD, MENDED)),
    ("(뭐) / (모) 그래", "뭐 그래", "모 그래", (MENDED,)),
    ("(뭐)/ (모) 그래", "뭐 그래", "모 그래", (MENDED,)),
    ("( 뭐 )/(모 )가", "뭐가", "모가", ()),
    ("(뭐)/(모)(내가)/(내) 간다", "뭐내가 간다", "모내 간다", ()),
    ("（뭐）／（모）", "뭐", "모", ()),
    # tags, whatever they stand beside
    ("n/ 그래 b/ l/ 응 o/", "그래 응", "그래 응", ()),
    ("b/n/ 그래n/ l/응. b/", "그래 응.", "그래 응.", ()),
    ("o/(2개)/(두 개) l/", "두 개", "두 개", (READ_ALOUD,)),
    ("어/n/ 그래", "어 그래", "어 그래", ()),
    ("ab/ n/a n/1 1/n Club/ x/", "ab/ n/a n/1 1/n Club/ x/", "ab/ n/a n/1 1/n Club/ x/", ()),
    # fillers, repetitions, stars
    ("아/ 음/ 그/ 저기/ 뭐", "아 음 그 저기 뭐", "아 음 그 저기 뭐", ()),
    ("아/음/그래", "아 음 그래", "아 음 그래", ()),
    ("(어/ 그거)/(어/ 고거)/ 음", "어 그거 음", "어 고거 음", ()),
    ("전+ 전처럼", "전 전처럼", "전 전처럼", ()),
    ("전 +전처럼", "전 전처럼", "전 전처럼", ()),
    ("전+전처럼", "전 전처럼", "전 전처럼", ()),
    ("(뭐+ 뭔)/(모+ 몬) 소리야", "뭐 뭔 소리야", "모 몬 소리야", ()),
    ("(뭐)/(모)+ 뭐", "뭐 뭐", "모 뭐", ()),
    ("칠*+ 팔*.", "칠 팔.", "칠 팔.", (STARRED,)),
    ("3*4 1 + 1 C++", "3*4 1 + 1 C++", "3*4 1 + 1 C++", ()),
    ("b/ n/", "", "", ()),
    ("", "", "", ()),
    ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글", "한글", ()),
]


@pytest.mark.parametrize(("line", "spelling", "pronunciation", "notes"), CERTAIN)
def test_what_is_certain(line: str, spelling: str, pronunciation: str, notes: tuple[str, ...]) -> None:
    found = parse_transcript(line)
    assert (found.spelling, found.pronunciation) == (spelling, pronunciation)
    assert found.unfit is None and set(found.notes) == set(notes) and len(found.notes) == len(notes)


UNCERTAIN = [  # line, all of its words
    ("(뭐) 그래 응", "뭐 그래 응"),
    ("(뭐) (모) 그래", "뭐 모 그래"),
    ("(뭐/(모) 나머지 다", "뭐 모 나머지 다"),
    ("뭐)/(모) 나머지 다", "뭐 모 나머지 다"),
    ("(뭐)/모) 나머지 다", "뭐 모 나머지 다"),
    ("(뭐/모) 나머지", "뭐 모 나머지"),
    ("(뭐)/(모 나머지 다", "뭐 모 나머지 다"),
    ("(뭐)?(모) 나머지", "뭐 모 나머지"),
    ("()/(모) 나머지", "모 나머지"),
    ("(뭐)/( ) 나머지", "뭐 나머지"),
    ("(가)/(나)/(다) 라", "가 나 다 라"),
    ("(가)(나)(다)(라) 마", "가 나 다 라 마"),
    ("가)나(다", "가 나 다"),
]


@pytest.mark.parametrize(("line", "words"), UNCERTAIN)
def test_what_is_not_certain_is_unfit_and_keeps_its_words(line: str, words: str) -> None:
    found = parse_transcript(line)
    assert found.unfit == MALFORMED
    assert re.findall("[가-힣]+", found.spelling) == re.findall("[가-힣]+", found.pronunciation) == words.split()
    assert not set("()") & set(found.spelling + found.pronunciation)


def test_pairs_of_an_unfit_line_are_still_pairs() -> None:
    found = parse_transcript("(뭐)/(모) 할래 (응")
    assert (found.spelling, found.pronunciation, found.unfit) == ("뭐 할래 응", "모 할래 응", MALFORMED)
    found = parse_transcript("((뭐)/(모)) 할래")
    assert (found.spelling, found.pronunciation, found.unfit) == ("뭐 할래", "모 할래", MALFORMED)


@pytest.mark.parametrize("line", ["u/ 그랬어", "그 u/ 랬어", "그랬어u/", "b/u/ 응", "(뭐 u/)/(모 u/) 해", "(u/ 응"])
def test_what_nobody_understood_is_unfit(line: str) -> None:
    assert parse_transcript(line).unfit == UNCLEAR


@pytest.mark.parametrize("line", ["SUV/ 탔어", "u 자", "Lu/ 그래"])
def test_a_u_is_not_always_a_tag(line: str) -> None:
    found = parse_transcript(line)
    assert found.unfit is None and found.spelling == line


def within(some: str, whole: str) -> bool:
    """Whether the characters of `some` come in `whole`, in that order."""
    rest = iter(whole)
    return all(character in rest for character in some)


@given(line=st.text("가나닭ㅋ ()/+*bnu1A%."))
def test_no_letter_outside_a_group_is_ever_lost_and_none_invented(line: str) -> None:
    found = parse_transcript(line)
    outside = re.sub(r"\([^()]*\)", "", line)
    for text in (found.spelling, found.pronunciation):
        assert within("".join(re.findall("[가-힣ㄱ-ㆎ]", outside)), text)
        assert within("".join(re.findall("[가-힣ㄱ-ㆎ]", text)), line)
        assert not set("()") & set(text) and text == " ".join(text.split())


WORDS = st.text("가나닭ㅋ", min_size=1)
TAGS = st.sampled_from(["b/", "l/", "o/", "n/", "l/ b/"])
PARTS = st.one_of(
    st.tuples(WORDS, st.sampled_from(["{}", "{}/", "{}+", "{}*", "{}."])).map(
        lambda it: (it[1].format(it[0]), it[0], it[0])
    ),
    st.tuples(WORDS, WORDS, st.sampled_from(["({})/({})", "({}) / ({})", "({})({})", "( {} )/({}+)"])).map(
        lambda it: (it[2].format(it[0], it[1]), it[0], it[1])
    ),
    st.tuples(WORDS, st.integers(0, 99)).map(lambda it: (f"({it[1]}%)/({it[0]})", it[0], it[0])),
    TAGS.map(lambda tag: (tag, "", "")),
)


@given(parts=st.lists(PARTS))
def test_every_word_of_a_whole_line_comes_out(parts: list[tuple[str, str, str]]) -> None:
    found = parse_transcript(" ".join(raw for raw, _, _ in parts))
    assert found.unfit is None
    assert found.spelling.replace(".", "").split() == [spelled for _, spelled, _ in parts if spelled]
    assert found.pronunciation.replace(".", "").split() == [spoken for _, _, spoken in parts if spoken]


@given(parts=st.lists(st.one_of(WORDS, WORDS.map("({})".format), st.sampled_from(["(", ")", "/", "b/"]))))
def test_without_a_pair_no_letter_is_lost_whatever_the_parentheses(parts: list[str]) -> None:
    line = " 하 ".join(parts)
    assert re.findall("[가-힣ㄱ-ㆎ]", parse_transcript(line).spelling) == re.findall("[가-힣ㄱ-ㆎ]", line)
