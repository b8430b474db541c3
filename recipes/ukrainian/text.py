"""Ukrainian text as it is written in; lower-case words of the 33 letters, apostrophes and hyphens out.

The rules, in their order:

1. Apostrophes are typed in many ways: ' ’ ‘ ʼ ` ´ ′ ＇ and their like are all '. Full-width letters and ligatures
   become plain ones, after that and not before.
2. Soft hyphens, zero-width characters and direction marks are dropped, control characters become spaces.
3. Stress marks are dropped: letters are decomposed, U+0301 and U+0300 go, all other marks (й, ї) stay, letters are
   composed again.
4. " or '' between a consonant and я, ю, є or ї is an apostrophe, too (об"єкт). An apostrophe stays between letters;
   every other one is a quotation mark and becomes a space.
5. Latin look-alikes become Cyrillic in a word that has Cyrillic letters and no Latin ones but look-alikes (cонце); the
   parts of a word with a hyphen count as words. Roman figures of both scripts (XІХ) stay Latin.
6. A full stop stays behind an abbreviation: a word without a vowel in lower case (м. Київ, 5 ст.), one of those listed
   below (вул., проф.), an initial (Т. Шевченко), which stays a capital. Every other full stop goes.
7. Lower case.
8. A hyphen stays between letters or figures (будь-який, 2-го) and before figures (-5, –5). Other ones, dashes, quotes
   and all other punctuation become spaces, but for % ‰ § & @ # /, which are spoken. Between figures punctuation stays:
   2,5 and 12:30 and 5–7 are not two numbers.
9. Abbreviations that are always read in one way are spelled: т. д., т. п., т. ін., н. е., ім., напр. How the others are
   read depends on case, which only the speaker knows.
10. Numbers are spelled where their form is certain; numbers.py tells where.
11. White space becomes one space, none at the ends.

What no rule reads with certainty stays and lies outside the alphabet, so that prepare counts the utterance instead of
training on a guess: figures, abbreviations with their stop, % § & + = ° and other symbols ($ € ₴ № beside figures are
spelled), Latin words, and ы э ё ъ, which mean that the sentence is Russian. The hyphen is in the alphabet because it is
part of how a word is written (по-перше, хтось-то); it is not heard, and a model learns it with the word.
"""

import re

from asrkit.text import (
    collapse_spaces,
    drop_invisible,
    drop_stress,
    fold_forms,
    latin_to_cyrillic_twins,
    lower,
    nfc,
    plain_apostrophes,
    punctuation_to_spaces,
)

from .numbers import spell_numbers

ALPHABET = " '-абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"

_SPOKEN = "%‰§&@#/"
_LETTER = r"[^\W\d_]"
_LISTED = """
    о е ім ін напр тис вул обл проф акад просп пров тел поч укр англ грец доц заст коп дол год сек чол екз прим стор
    табл вип ред куб"""
_WITH_VOWELS = set(_LISTED.split())  # without those that end a sentence now and then: див, рис, літ
_READ = {  # abbreviations that are read in one way only
    "т. д.": "так далі",
    "т. п.": "тому подібне",
    "т. ін.": "таке інше",
    "н. е.": "нашої ери",
    "ім.": "імені",
    "напр.": "наприклад",
}
_CERTAIN = re.compile(rf"(?<!\S)(?:{'|'.join(map(re.escape, _READ))})(?!\S)")
_VOWELS = re.compile("[аеєиіїоуюяы]")
_NO_ABBREVIATIONS = {"", "б", "ж", "бр", "гм", "хм", "тс", "ш"}  # without a vowel, and words all the same
_INITIAL = re.compile(r"(?<![\w'-])([А-ЩЬЮЯҐЄІЇ]\.)")
_STOPS = re.compile(rf"({_LETTER}*)(\.+)")
_TYPED_APOSTROPHE = re.compile(  # " or ''
    "(?<=[бвгґджзклмнпрстфхцчшщБВГҐДЖЗКЛМНПРСТФХЦЧШЩ])(?:''|[\"”“])(?=[яюєїЯЮЄЇ])"
)
_ROMAN = re.compile(r"(?<![\w'])(?=[ІХ]*[IVX])[IVXІХ]{2,}(?![\w'])")
_BETWEEN_FIGURES = re.compile(r"(?<=\d)(\s*(?:[^\w\s$€₴№]|_)(?:[^\w$€₴№]|_)*)(?=\d)")


def normalize(text: str) -> str:
    """The words of a transcript; doing it twice changes nothing."""
    text = drop_stress(drop_invisible(fold_forms(plain_apostrophes(nfc(text)))))
    pieces = _BETWEEN_FIGURES.split(text)  # each second one is what stands between figures
    pieces[::2] = map(_words, pieces[::2])
    text = re.sub(r"(?<=\d)(?=[$€₴])|(?<=[$€₴№])(?=\d)", " ", "".join(pieces))
    text = _CERTAIN.sub(lambda short: _READ[short[0]], collapse_spaces(text))
    return " ".join(spell_numbers(text.split()))


def _words(text: str) -> str:
    """Lower-case words in one script, with punctuation only where it belongs to a word."""
    text = _TYPED_APOSTROPHE.sub("'", text)
    text = re.sub(rf"(?<!{_LETTER})'|'(?!{_LETTER})", " ", text)
    text = _ROMAN.sub(lambda figures: figures[0].replace("І", "I").replace("Х", "X"), text)
    text = latin_to_cyrillic_twins(text)
    text = _STOPS.sub(_stop, text)
    text = "".join(piece if _INITIAL.fullmatch(piece) else lower(piece) for piece in _INITIAL.split(text))
    text = latin_to_cyrillic_twins(text)  # again: İ has no twin, i has one
    text = re.sub(r"[\u2010\u2011]|[\u2012-\u2015](?=\d)", "-", text)
    text = re.sub(r"-(?![^\W_])|(?<![^\W_])-(?!\d)", " ", text)
    return punctuation_to_spaces(text, keep="'-." + _SPOKEN)


def _stop(match: re.Match[str]) -> str:
    """The word with its full stop, where that shows an abbreviation or an initial; else without."""
    word, stops = match.groups()
    short = word.lower()
    listed = short in _WITH_VOWELS or (not _VOWELS.search(short) and short not in _NO_ABBREVIATIONS)
    shouted = len(word) > 1 and word.isupper()  # СРСР. is the end of a sentence
    is_short = _INITIAL.match(match.string, match.start()) or (listed and not shouted)
    return f"{word}{'.' if is_short and len(stops) == 1 else ''} "
