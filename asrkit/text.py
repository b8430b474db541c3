"""Text in, text out: the steps of normalisation that recipes compose. None of them knows a language.

A recipe's normalize() applies some of these, in its own order, beside what only its language needs. Each step done
twice does nothing more than done once. All want composed text (`nfc`) and give composed text.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from asrkit.errors import AsrkitError

_APOSTROPHES = "‘’‛ʹʻʼʽ′‵`´＇"  # what is typed or typeset for one
_TO_APOSTROPHE = str.maketrans(dict.fromkeys(_APOSTROPHES, "'"))

# Latin letters with a bar, a stroke or a second letter inside, which Unicode does not decompose.
_LATIN_LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "þ": "th"}
_TO_PLAIN_LATIN = str.maketrans(
    _LATIN_LETTERS
    | {letter.upper(): plain.upper() for letter, plain in _LATIN_LETTERS.items()}
    | {"ß": "ss", "ẞ": "SS", "ı": "i"}
)

# Modern Hangul: letters in their place in the syllable (conjoining jamo), and as people write them alone.
INITIALS = "".join(map(chr, range(0x1100, 0x1113)))
VOWELS = "".join(map(chr, range(0x1161, 0x1176)))
FINALS = "".join(map(chr, range(0x11A8, 0x11C3)))
_FIRST_SYLLABLE, _LAST_SYLLABLE = "가", "힣"
_TO_LONE_JAMO = str.maketrans(
    INITIALS + VOWELS + FINALS,
    "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
    "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
    "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ",
)

_FORMS = ("<wide>", "<narrow>", "<initial>", "<medial>", "<final>", "<isolated>")  # as in UnicodeData.txt
_STRESS = "\u0300\u0301"
_TWINS = str.maketrans("aceiopxyïABCEHIKMOPTXYÏ", "асеіорхуїАВСЕНІКМОРТХУЇ")
_HAS_TWIN = re.compile(f"[{''.join(map(chr, _TWINS))}]")
_LETTERS = re.compile(r"(?:[^\W\d_]|['\u0300-\u036f])+")  # words with their apostrophes and marks

_PUNCTUATED = re.compile(r'[.,;:!?"“”„«»‘`]')


def nfc(text: str) -> str:
    """Composed (Unicode normalisation form C): a letter and its accent become one character."""
    return unicodedata.normalize("NFC", text)


def drop_invisible(text: str) -> str:
    """Drops soft hyphens, zero-width characters, byte order and direction marks; other controls become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return nfc(text.translate(_INVISIBLE))


def lower(text: str, *, dotless: bool = False) -> str:
    """Lower case, where a script has it. With `dotless`, I is the capital of ı and İ that of i; else İ is an I."""
    return nfc((text.replace("I", "ı") if dotless else text).replace("İ", "i").lower())


def fold_forms(text: str) -> str:
    """Full-width, half-width, ligature and positional forms as the letters they are forms of (Ａ -> A, ｶ -> カ)."""
    return text if text.isascii() else nfc("".join(map(_plain_form, text)))


def fold_latin(text: str) -> str:
    """Latin letters without accents, strokes and ligatures (é -> e, ø -> o, ß -> ss, ﬁ -> fi); other scripts stay."""
    if text.isascii():
        return text
    expanded = "".join(unicodedata.normalize("NFKD", char) if _is_latin(char) else char for char in text)
    kept: list[str] = []
    after_latin = False
    for char in expanded:
        if not unicodedata.category(char).startswith("M"):
            after_latin = _is_latin(char)
        elif after_latin:
            continue
        kept.append(char)
    return nfc("".join(kept).translate(_TO_PLAIN_LATIN))


def plain_apostrophes(text: str) -> str:
    """Every apostrophe, typographic or a modifier letter, prime, backtick or acute accent in its place, becomes '."""
    return text.translate(_TO_APOSTROPHE)


def drop_single_quotes(text: str, elided: Iterable[str] = ()) -> str:
    """Drops single quotation marks that come in pairs around words, and leaves apostrophes alone.

    'Look,' she said -> Look, she said. An apostrophe before one of the `elided` words ('tis) opens nothing. A text
    without punctuation is left as it is: there an apostrophe at the edge of a word belongs to the word (the boys').
    Comes before `plain_apostrophes` and `punctuation_to_spaces`.
    """
    if not _PUNCTUATED.search(text):
        return text
    pattern, found = _quoted(tuple(elided)), 1
    while found:  # quotations inside quotations
        text, found = pattern.subn(r"\1", text)
    return text


def punctuation_to_spaces(text: str, keep: str = "'") -> str:
    """Characters of the Unicode categories P (dashes, brackets, quotation marks ...) but those in `keep` become spaces.

    Symbols (categories S: +, $, °, =) are mostly spoken, so they stay; so do digits.
    """
    return text.translate(_punctuation(keep))


def lone_apostrophes_to_spaces(text: str) -> str:
    """Leaves ' inside and at the edge of words (o'clock, boys', 'tis); alone or doubled it becomes a space."""
    return re.sub(r"''+|(?<!\w)'(?!\w)", " ", text)


def hangul_to_jamo(text: str) -> str:
    """Each syllable of Hangul as its two or three conjoining jamo (Unicode, section 3.12); all else stays."""
    return "".join(
        unicodedata.normalize("NFD", char) if _FIRST_SYLLABLE <= char <= _LAST_SYLLABLE else char for char in text
    )


def jamo_to_hangul(text: str) -> str:
    """Conjoining jamo as syllables; those that make none as compatibility jamo, which can be seen, and stay apart."""
    return unicodedata.normalize("NFC", text).translate(_TO_LONE_JAMO)


def drop_stress(text: str) -> str:
    """Drops acute and grave accents (U+0301, U+0300) from letters; all other marks stay: й and ї keep theirs."""
    if text.isascii():
        return text
    kept: list[str] = []
    after_letter = False
    for char in unicodedata.normalize("NFD", text):  # composed, a stressed letter hides its accent: ѐ, ѝ, á
        if not unicodedata.category(char).startswith("M"):
            after_letter = char.isalpha()
        elif after_letter and char in _STRESS:
            continue
        kept.append(char)
    return nfc("".join(kept))


def latin_to_cyrillic_twins(text: str) -> str:
    """Latin letters typed for Cyrillic ones that look the same (a, c, i ...), by whole words of mixed script.

    A word is changed when it has Cyrillic letters and each of its Latin ones has a twin; any other stays as it is.
    """
    return _LETTERS.sub(_cyrillic, text) if _HAS_TWIN.search(text) else text


def number_in_words(number: int, language: str, **options: str) -> str:
    """The number written out by num2words; `options` (to, case, gender) are those that it has for the language.

    Raises:
        AsrkitError: num2words does not know the language.
    """
    from num2words import num2words  # here, since it loads all its languages

    try:
        return str(num2words(number, lang=language, **options))
    except NotImplementedError as error:
        raise AsrkitError(f"num2words writes no numbers in {language!r}; leave digits out, or spell them") from error


def collapse_spaces(text: str) -> str:
    """One space between words, none at the ends, whatever white space there was."""
    return " ".join(text.split())


@lru_cache(4096)
def _plain_form(char: str) -> str:
    """What Unicode says the character is a form of, one step down: compatibility jamo stay as people write them."""
    form, *codes = unicodedata.decomposition(char).split() or [""]
    is_ligature = form == "<compat>" and "\ufb00" <= char <= "\ufb17"  # Latin and Armenian ones
    return "".join(chr(int(code, 16)) for code in codes) if form in _FORMS or is_ligature else char


def _cyrillic(word: re.Match[str]) -> str:
    letters = word[0]
    mixed = any("\u0400" <= char <= "\u04ff" for char in letters)
    marked = any(unicodedata.combining(char) for char in letters)
    alike = all(ord(char) in _TWINS for char in letters if _is_latin(char))
    return letters.translate(_TWINS) if mixed and alike and not marked else letters


def _is_latin(char: str) -> bool:
    return char.isalpha() and (char.isascii() or unicodedata.name(char, "").startswith("LATIN "))


@lru_cache
def _quoted(elided: tuple[str, ...]) -> re.Pattern[str]:
    """A quotation in single quotes, from an opening one to the nearest closing one."""
    own = "".join(rf"(?!{re.escape(word)}\b)" for word in elided)
    return re.compile(rf"(?<!\w)['‘`](?=[^\W\d]){own}(.*?\S)['’´](?!\w)", re.DOTALL | re.IGNORECASE)


class _Translation(dict[int, str | None]):
    """What becomes of each character, worked out when it is first seen."""

    def __init__(self, replacements: dict[str, str | None], keep: str) -> None:
        self._replacements, self._keep = replacements, keep

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        replacement = self._replacements.get(category, self._replacements.get(category[0], char))
        self[code] = char if char in self._keep else replacement
        return self[code]


_INVISIBLE = _Translation({"Cf": None, "Cc": " "}, keep="")


@lru_cache
def _punctuation(keep: str) -> _Translation:
    return _Translation({"P": " "}, keep)
