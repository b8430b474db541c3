"""English text as it is written in; lower-case words of a-z and apostrophes out: what is trained on and scored.

The rules, in their order:

1. Soft hyphens, zero-width characters and direction marks are dropped, control characters become spaces.
2. Lower case. Accents, strokes and ligatures of Latin letters are folded: é -> e, ø -> o, æ -> ae, ß -> ss, ﬁ -> fi.
3. Single quotation marks in pairs are dropped, where the text has punctuation at all; every other ’, ʼ, ` or ´ is '.
4. & is read as "and". The full stop of an abbreviation before 's is dropped: M.P.'s -> m p's.
5. Hyphens, dashes and all other punctuation become spaces, but for @ # % ‰ §, which are spoken.
6. An apostrophe stays inside and at the edge of words (o'clock, boys', 'tis); alone or doubled it becomes a space.
7. White space becomes one space, none at the ends.

How a digit, a symbol (@ # % $ € + = °) or a letter of another script is spoken, these rules do not know. They stay and
lie outside the alphabet, so that prepare counts the utterance instead of training on a transcript that lacks a word.
"""

import re

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

ALPHABET = " 'abcdefghijklmnopqrstuvwxyz"

_SPOKEN = "@#%‰§"
# Words that begin with an apostrophe of their own.
_ELIDED = ("bout", "cause", "em", "gainst", "n", "neath", "round", "til", "till", "tis", "twas", "twere", "twill", "un")


def normalize(text: str) -> str:
    """The words of a transcript; doing it twice changes nothing."""
    text = drop_invisible(nfc(text))
    text = fold_latin(text.lower())
    text = plain_apostrophes(drop_single_quotes(text, _ELIDED))
    text = re.sub(r"\.(?='s\b)", "", text.replace("&", " and "))
    text = punctuation_to_spaces(text, keep="'" + _SPOKEN)
    return collapse_spaces(lone_apostrophes_to_spaces(text))
