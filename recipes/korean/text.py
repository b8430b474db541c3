"""Korean text as it is written in; words of Hangul syllables with single spaces between them out.

The rules, in their order:

1. Unicode composes: syllables in conjoining jamo (as older macOS writes file names) become the 11,172 syllables.
   Zero-width characters and direction marks are dropped, control characters and the invisible filler become spaces.
2. Full-width and half-width characters become plain ones (１２３ ％ ＡＢＣ, ﾡ -> ㄱ).
3. Quotation marks and brackets of all kinds, < > in pairs as well, become spaces; but one behind a word and before its
   particle is dropped: '해지'를 -> 해지를, "가자."라고 -> 가자라고. Figures alone keep their parentheses, (52), and a
   figure the ' or " behind it.
4. ~ at the end of a word is dropped (네~); between words or figures it is spoken, and stays.
5. The middle dot (· ㆍ ・) and all other punctuation becomes a space, but for % & @ # * ‰ §: * hides a letter, the rest
   is spoken. Where figures are, punctuation stays until they are read.
6. Figures are spelled where there is one way to read them, with the punctuation around them gone; else they stay as
   they are, punctuation and all. numbers.py has the rules.
7. White space becomes one space, none at the ends. Spacing is left as it is written; numerals are written in units of
   만, apart from their counter (만 오천 원, 세 시), as 한글 맞춤법 has it in its articles 43 and 44.

What no rule reads with certainty stays and lies outside the alphabet, so that prepare counts the utterance instead of
training on a guess: figures and symbols (+ = × ℃ $ # & @ ^) left by the rules above; Latin letters (GM is 지엠, but
NATO 나토, and LA 엘에이 or 로스앤젤레스); Hanja (樂 is 락, 낙, 악 or 요, and 다산(茶山) is read once); jamo that stand
alone (ㅋㅋ and ㅠㅠ are not spoken as written; ㄱ may be 기역; ㅎㅏ is not made a syllable); old Hangul.
"""

import re

from asrkit.text import collapse_spaces, drop_invisible, fold_forms, nfc, punctuation_to_spaces

from .endings import PARTICLES
from .numbers import spell_numbers

ALPHABET = " " + "".join(map(chr, range(ord("가"), ord("힣") + 1)))

_SPOKEN = "%&@#*‰§"
_QUOTES = "'\"`´’‘‛“”„‟′″"
_BRACKETS = r"()\[\]{}〈〉《》≪≫「」『』【】〔〕〖〗«»‹›"
_MARKS = re.compile(
    rf"(?P<stay>\([0-9][0-9.,]*\)|(?<=[0-9])[{_QUOTES}])"
    rf"|(?P<join>(?<=[^\W_])[.,!?…]*[{_QUOTES}{_BRACKETS}]+(?=[가-힣])(?={PARTICLES}(?!\w)))"
    rf"|[{_QUOTES}{_BRACKETS}]"
)
_TITLE = re.compile(r"(?:(?<!\w)<|<(?![0-9]))([^<>]+)>")  # 2<3 compares
_LENGTHENED = re.compile(r"(?<=[^\W_])~++(?![^\W_])")
_ALIKE = str.maketrans("ㆍ〜∼\u3164", "·~~ ")  # a jamo typed as a middle dot, waves, and the filler


def normalize(text: str) -> str:
    """The words of a transcript; doing it twice changes nothing."""
    text = fold_forms(drop_invisible(nfc(text))).translate(_ALIKE)
    while _TITLE.search(text):
        text = _TITLE.sub(r"〈\1〉", text)
    text = _MARKS.sub(_space_or_nothing, text)
    words = (word if re.search("[0-9]", word) else _without_punctuation(word) for word in text.split())
    return collapse_spaces(spell_numbers(collapse_spaces(" ".join(words))))


def _space_or_nothing(mark: re.Match[str]) -> str:
    return mark[0] if mark["stay"] else "" if mark["join"] else " "


def _without_punctuation(word: str) -> str:
    return punctuation_to_spaces(_LENGTHENED.sub(" ", word), keep=_SPOKEN)
