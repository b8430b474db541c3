"""Texts in; the characters they hold out: how often, in how many texts, and of which script.

Python knows no scripts, so that a character's is taken from the first word of its Unicode name: LATIN, CYRILLIC,
HANGUL. Scripts that are written together count as one.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

MAIN_SHARE = 0.1  # of all letters: a script with more is one that these texts are written in
MARK_SHARE = 0.001  # of all letters: accents that compose with no letter and are rarer are slips, or stress marks

_SAME_SCRIPT = {
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"), "KANA"),
    **dict.fromkeys(("CJK", "IDEOGRAPHIC"), "CJK"),
    **dict.fromkeys(("COMBINING", "MODIFIER"), None),  # belong to whatever they stand beside
}
_TWINS = {"LATIN", "CYRILLIC", "GREEK"}  # scripts with letters that look alike
FIRST_SYLLABLE, LAST_SYLLABLE = "가", "힣"  # of Hangul


@dataclass
class Seen:
    """Where and how often a character was met."""

    times: int = 0
    in_train: int = 0  # texts of train that hold it
    elsewhere: int = 0  # other texts that hold it
    example: str = ""  # the first of them


@dataclass(frozen=True)
class Transcript:
    """An utterance's text as it is written and as the recipe normalises it."""

    raw: str
    text: str
    in_train: bool


@dataclass
class Survey:
    """What a pile of texts holds."""

    seen: dict[str, Seen] = field(default_factory=dict)

    def add(self, text: str, transcript: Transcript) -> None:
        """Counts the characters of `text`, which is a form of the transcript."""
        for char, times in Counter(text).items():
            one = self.seen.setdefault(char, Seen(example=transcript.raw))
            one.times += times
            one.in_train += transcript.in_train
            one.elsewhere += not transcript.in_train


def count(texts: Iterable[str]) -> Counter[str]:
    """How often each character stands in the texts."""
    counted: Counter[str] = Counter()
    for text in texts:
        counted.update(text)
    return counted


@lru_cache(4096)
def script(char: str) -> str | None:
    """The script of a letter or mark; None for what belongs to none."""
    if unicodedata.category(char)[0] not in "LM":
        return None
    first = unicodedata.name(char, "").partition(" ")[0]
    return _SAME_SCRIPT.get(first, first)


def main_scripts(counted: Counter[str]) -> frozenset[str]:
    """The scripts that texts with these characters are written in, the most frequent one in any case."""
    scripts: Counter[str] = Counter()
    for char, times in counted.items():
        if name := script(char):
            scripts[name] += times
    least = min(MAIN_SHARE * scripts.total(), max(scripts.values(), default=0))
    return frozenset(name for name, times in scripts.items() if times >= least)


def alphabet_of(counted: Counter[str], scripts: frozenset[str], keep: str) -> str:
    """The characters of normalised texts that can be trained on, the space first: letters and marks of these scripts,
    and the punctuation in `keep`. Of Hangul all syllables and no lone jamo; accents on their own only where common.
    """
    letters = sum(times for char, times in counted.items() if char.isalpha())
    belonging = set(map(chr, range(ord(FIRST_SYLLABLE), ord(LAST_SYLLABLE) + 1))) if "HANGUL" in scripts else set()
    for char, times in counted.items():
        own, kind = script(char), unicodedata.category(char)[0]
        if kind not in "LM":
            belongs = char in keep
        elif own is None:
            belongs = kind == "L" or times >= MARK_SHARE * letters
        else:
            belongs = own in scripts and own != "HANGUL"
        if belongs:
            belonging.add(char)
    return " " + "".join(sorted(belonging - {" "}))


def strangers(word: str) -> str:
    """The letters of a word that look like those of its own script, but are of another: Cyrillic а in a Latin word."""
    scripts = Counter(own for char in word if (own := script(char)) in _TWINS)
    if len(scripts) < 2:
        return ""
    most = max(scripts, key=lambda own: scripts[own])
    return "".join(char for char in word if (own := script(char)) in _TWINS and own != most)


def code_point(char: str) -> str:
    """`U+0430 CYRILLIC SMALL LETTER A`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}"
