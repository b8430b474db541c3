"""Texts in; the rules that bring them to an alphabet out: steps of text.py, as a function and as a recipe's text.py."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from asrkit import text as steps_of
from asrkit.characters import FIRST_SYLLABLE, LAST_SYLLABLE, main_scripts
from asrkit.text import drop_single_quotes, fold_forms, latin_to_cyrillic_twins, nfc, plain_apostrophes

SPOKEN = "&@#%‰§"  # punctuation, says Unicode, but people say it: it stays, so that its utterance is counted out
APOSTROPHE = "'"
DOTLESS_SHARE = 0.1  # of all i: from here on ı and İ are letters of these texts, not of a foreign name in them
_APOSTROPHE_IN_WORD = re.compile(r"(?<=[^\W\d_])'(?=[^\W\d_])")
_LINE = 100  # characters of the alphabet on a line


@dataclass(frozen=True)
class Step:
    """A function of text.py: its name, its keywords as they are written, and why the texts want it."""

    name: str
    why: str
    keywords: tuple[tuple[str, str | bool], ...] = ()


@dataclass(frozen=True)
class Normaliser:
    """The steps in their order; calling it normalises a text."""

    steps: tuple[Step, ...]
    keep: str  # punctuation that is part of words

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = partial(getattr(steps_of, step.name), **dict(step.keywords))(text)
        return text


def choose_steps(texts: Sequence[str], counted: Counter[str], *, drop_stress: bool = False) -> Normaliser:
    """The steps that these texts need; `counted` are their characters, composed."""
    composed = [nfc(text) for text in texts]
    steps = [Step("nfc", "a letter and its accent become one character")]
    steps.append(Step("drop_invisible", "soft hyphens and zero-width characters; controls become spaces"))
    if any(fold_forms(char) != char for char in counted):
        steps.append(Step("fold_forms", "full-width letters and ligatures"))
    if drop_stress and any(steps_of.drop_stress(text) != text for text in composed):
        steps.append(Step("drop_stress", "acute and grave accents, which only say where the stress is"))
    plain = [plain_apostrophes(text) for text in composed]
    keep = APOSTROPHE if any(_APOSTROPHE_IN_WORD.search(text) for text in plain) else ""
    if keep and any(drop_single_quotes(text) != text for text in composed):
        steps.append(Step("drop_single_quotes", "quotation marks in pairs that look like apostrophes"))
    if any(plain_apostrophes(char) != char for char in counted):
        steps.append(Step("plain_apostrophes", "one apostrophe for all that are typed for it"))
    twins = "CYRILLIC" in main_scripts(counted) and any(latin_to_cyrillic_twins(text) != text for text in plain)
    if twins:
        steps.append(Step("latin_to_cyrillic_twins", "Latin letters typed in Cyrillic words"))
    if any(char.lower() != char.upper() for char in counted):
        if counted["ı"] + counted["İ"] > DOTLESS_SHARE * sum(counted[char] for char in "iıIİ"):
            steps.append(Step("lower", "I is the capital of ı, İ that of i", (("dotless", True),)))
        else:
            steps.append(Step("lower", "capitals"))
    if twins:
        steps.append(Step("latin_to_cyrillic_twins", "once more: İ has become an i"))
    steps.append(Step("punctuation_to_spaces", "hyphens and dashes too", (("keep", keep + SPOKEN),)))
    if keep:
        steps.append(Step("lone_apostrophes_to_spaces", "inside and at the edge of words they stay"))
    steps.append(Step("collapse_spaces", "one between words, none at the ends"))
    return Normaliser(tuple(steps), keep)


def text_py(normaliser: Normaliser, alphabet: str, name: str) -> str:
    """The text.py of a recipe with these rules."""
    names = sorted({step.name for step in normaliser.steps})
    body = "\n".join(f"    text = {_call(step)}  # {step.why}" for step in normaliser.steps)
    imported = ",\n    ".join(names)
    return f'''"""{name}: text as it is written in, what is trained on and scored out.

Begun by asrkit new-language; yours to change. How a digit, a symbol or a letter of another script is spoken, these
rules do not know. It stays and lies outside ALPHABET, so that prepare counts the utterance and leaves it out of train,
instead of training on a transcript that lacks a word. Dev and test keep it, as an error. A new rule wants a row in
cases.tsv.
"""

from asrkit.text import (
    {imported},
)

{_alphabet_source(alphabet)}
KEEP = {quoted(normaliser.keep)}  # punctuation that is part of words; what you add here, add to ALPHABET
SPOKEN = {quoted(SPOKEN)}  # punctuation that is said aloud: it stays, outside ALPHABET


def normalize(text: str) -> str:
    """The words of a transcript; doing it twice changes nothing."""
{body}
    return text
'''


def _call(step: Step) -> str:
    keywords = [f"{key}={'KEEP + SPOKEN' if key == 'keep' else value}" for key, value in step.keywords]
    return f"{step.name}({', '.join(['text', *keywords])})"


def _alphabet_source(alphabet: str) -> str:
    """One assignment, in as many lines as it takes; Hangul as the block of Unicode that it is."""
    rest = "".join(char for char in alphabet if not FIRST_SYLLABLE <= char <= LAST_SYLLABLE)
    lines = [quoted(rest[start : start + _LINE]) for start in range(0, len(rest), _LINE)]
    value = lines[0] if len(lines) == 1 else "(\n    " + "\n    ".join(lines) + "\n)"
    if len(rest) < len(alphabet):
        value += f' + "".join(map(chr, range(ord("{FIRST_SYLLABLE}"), ord("{LAST_SYLLABLE}") + 1)))'
    return f"ALPHABET = {value}"


def quoted(text: str) -> str:
    """A string as Python source, with marks and invisible characters as escapes: no editor can join or lose them."""
    shown = []
    for char in text:
        if char in '"\\':
            shown.append("\\" + char)
        elif char != " " and unicodedata.category(char)[0] in "MCZ":
            shown.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
        else:
            shown.append(char)
    return '"' + "".join(shown) + '"'
