"""Text in, text out: the steps of normalisation that recipes compose. None of them knows a language.

A recipe's normalize() applies some of these, in its own order, beside what only its language needs. Each step done
twice does nothing more than done once. All want composed text (`nfc`) and give composed text.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_APOSTROPHES = "‘’‛ʹʻʼʽ′‵`´＇"  # what is typed or typeset for one
_TO_APOSTROPHE = str.maketrans(dict.fromkeys(_APOSTROPHES, "'"))

# Latin letters with a bar, a stroke or a second letter inside, which Unicode does not decompose.
_LATIN_LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "þ": "th"}
_TO_PLAIN_LATIN = str.maketrans(
    _LATIN_LETTERS
    | {letter.upper(): plain.upper() for letter, plain in _LATIN_LETTERS.items()}
    | {"ß": "ss", "ẞ": "SS", "ı": "i"}
)

_PUNCTUATED = re.compile(r'[.,;:!?"“”„«»‘`]')


def nfc(text: str) -> str:
    """Composed (Unicode normalisation form C): a letter and its accent become one character."""
    return unicodedata.normalize("NFC", text)


def drop_invisible(text: str) -> str:
    """Drops soft hyphens, zero-width characters, byte order and direction marks; other controls become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return nfc(text.translate(_INVISIBLE))


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


def collapse_spaces(text: str) -> str:
    """One space between words, none at the ends, whatever white space there was."""
    return " ".join(text.split())


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
