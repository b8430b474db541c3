"""Transcripts as written and as normalised in; the characters that a person should look at out, and what becomes of
their utterances: those that no alphabet of these texts can hold first, then rare, foreign and invisible ones.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from asrkit.characters import (
    FIRST_SYLLABLE,
    LAST_SYLLABLE,
    Seen,
    Survey,
    Transcript,
    code_point,
    main_scripts,
    script,
    strangers,
)
from asrkit.progress import Progress
from asrkit.text import fold_forms, nfc, plain_apostrophes

RARE = 5  # a label met less often in train is hardly learned
RARE_ONE_IN = 5000  # or than once in so many characters: perhaps no letter of this language
MANY = 200  # characters: from here on the texts are written in syllables or ideographs
LEFT_OUT = "outside the alphabet: left out of train"
KEPT = "in the alphabet"
TWIN = "letter that looks like another"
_EXAMPLE = 45  # characters of a line that are shown

# kind -> what to do about it
KINDS = {
    "digit": "write numbers as words, as they are said",
    "symbol": "write it as it is said, or as a space where it is not",
    TWIN: "a slip of the keyboard: correct the text, or replace the letter in text.py",
    "letter of another script": "write the word as it is said, or leave its utterances out",
    "accent on its own": "a slip, a stress mark (--drop-stress), or part of a letter: then add it to ALPHABET",
    "lone jamo": "write the syllables that are said",
    "only in dev or test": "an error wherever it stands; it wants utterances in train, or a rule in text.py",
    "rare": "keep it if it is a letter of this language; else replace it in text.py and take it out of ALPHABET",
    "invisible": "nothing, as long as it says nothing",
    "punctuation inside words": "if it is part of words, add it to KEEP and ALPHABET",
    "other form": "nothing, if it becomes what you would have written",
}

# A full stop or a comma without its space is no letter; what looks like an apostrophe has a rule of its own.
_NO_LETTERS = frozenset('.,:;/&@#%‰§"_*()[]{}\\-…') | frozenset(map(chr, range(0x2010, 0x2027)))
_WORD = re.compile(r"[^\W\d_]+")
_INSIDE = re.compile(r"(?<=[^\W\d_])[^\w\s](?=[^\W\d_])")


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A character to look at, how often it was met, and what becomes of it."""

    char: str
    kind: str  # of KINDS
    fate: str
    times: int
    in_train: int  # utterances of train that hold it
    elsewhere: int  # utterances of dev and test that hold it
    example: str  # the line where it was first met, shortened
    line: str  # the same line, whole

    @property
    def name(self) -> str:
        return code_point(self.char)


@dataclass
class _Surveys:
    """The characters of the texts, looked at in different ways."""

    written: Survey = field(default_factory=Survey)
    normalised: Survey = field(default_factory=Survey)
    inside: Survey = field(default_factory=Survey)  # punctuation with letters on both sides
    mixed: Survey = field(default_factory=Survey)  # letters of another script than the rest of their word, as written
    still_mixed: Survey = field(default_factory=Survey)  # ... and as normalised

    def add(self, transcript: Transcript) -> None:
        raw = nfc(transcript.raw)
        self.written.add(raw, transcript)
        self.normalised.add(transcript.text, transcript)
        self.inside.add("".join(char for char in _INSIDE.findall(raw) if char not in _NO_LETTERS), transcript)
        self.mixed.add(_strangers(raw), transcript)
        self.still_mixed.add(_strangers(transcript.text), transcript)


def find_doubts(
    transcripts: Sequence[Transcript],
    normalize: Callable[[str], str],
    alphabet: str,
    trained: Counter[str],
    progress: Progress,
) -> list[Doubt]:
    """The doubtful characters; those that keep most utterances out of train come first. `trained` counts train's."""
    surveys = _Surveys()
    with progress.bar("looking for doubtful characters", len(transcripts), "utterances") as bar:
        for transcript in transcripts:
            surveys.add(transcript)
            bar.advance()
    found = [
        *_in_the_result(surveys, frozenset(alphabet), trained),
        *_of_mixed_words(surveys, frozenset(alphabet)),
        *_gone_or_changed(surveys, normalize, trained),
    ]
    kinds = list(KINDS)

    def order(one: Doubt) -> tuple[bool, int, int, str]:
        lost = one.fate == LEFT_OUT
        return not lost, -one.in_train if lost else 0, kinds.index(one.kind), one.char

    return sorted(found, key=order)


def _in_the_result(surveys: _Surveys, alphabet: frozenset[str], trained: Counter[str]) -> Iterator[Doubt]:
    """Of normalised texts: what is outside the alphabet, or hardly belongs there."""
    scripts = main_scripts(trained)
    rare_below = too_rare(trained)
    for char, seen in surveys.normalised.seen.items():
        kind = _kind(char, scripts)
        mixed = surveys.still_mixed.seen.get(char)
        if char not in alphabet:
            if mixed is None or mixed.times < seen.times:  # else it is told of as a letter of mixed words
                yield _doubt(char, kind or "only in dev or test", LEFT_OUT, seen)
        elif kind or (trained[char] < rare_below and char != " "):
            yield _doubt(char, kind or "rare", KEPT, seen)


def _of_mixed_words(surveys: _Surveys, alphabet: frozenset[str]) -> Iterator[Doubt]:
    for char, seen in surveys.still_mixed.seen.items():
        yield _doubt(char, TWIN, KEPT if char in alphabet else LEFT_OUT, seen)
    for char, seen in surveys.mixed.seen.items():
        if char.lower() not in surveys.still_mixed.seen:
            yield _doubt(char, TWIN, "becomes the letter that it looks like", seen)


def _gone_or_changed(surveys: _Surveys, normalize: Callable[[str], str], trained: Counter[str]) -> Iterator[Doubt]:
    """What normalising leaves nothing of, or another letter, but for its case."""
    probe = max((char for char in trained if char.isalpha()), key=lambda char: trained[char])
    for char, seen in surveys.written.seen.items():
        if _is_invisible(char) and char not in surveys.normalised.seen:
            yield _doubt(char, "invisible", _fate(char, probe, normalize), seen)
        elif char in surveys.inside.seen and plain_apostrophes(char) != "'" and char not in surveys.normalised.seen:
            yield _doubt(char, "punctuation inside words", _fate(char, probe, normalize), surveys.inside.seen[char])
        elif _is_rewritten(char, normalize):
            yield _doubt(char, "other form", _fate(char, probe, normalize), seen)


def too_rare(trained: Counter[str]) -> int:
    """Characters met less often than this are doubtful. Where there are very many, most of them are rare: then none."""
    return 0 if len(trained) > MANY else max(RARE, trained.total() // RARE_ONE_IN)


def _strangers(text: str) -> str:
    return "".join(map(strangers, _WORD.findall(text)))


def _doubt(char: str, kind: str, fate: str, seen: Seen) -> Doubt:
    return Doubt(
        char=char,
        kind=kind,
        fate=fate,
        times=seen.times,
        in_train=seen.in_train,
        elsewhere=seen.elsewhere,
        example=_around(char, seen.example),
        line=seen.example,
    )


def _kind(char: str, scripts: frozenset[str]) -> str | None:
    """Of a character in a normalised text; None where there is no doubt."""
    if char in " '":
        return None
    category = unicodedata.category(char)[0]
    if category in "LM":
        own = script(char)
        if own is None:
            return "accent on its own" if category == "M" else None
        if own not in scripts:
            return "letter of another script"
        return "lone jamo" if own == "HANGUL" and not FIRST_SYLLABLE <= char <= LAST_SYLLABLE else None
    return {"N": "digit", "C": "invisible", "Z": "invisible"}.get(category, "symbol")


def _is_invisible(char: str) -> bool:
    return char != " " and unicodedata.category(char)[0] in "CZ"


def _is_rewritten(char: str, normalize: Callable[[str], str]) -> bool:
    """Whether a letter or digit becomes another one, but for its case."""
    category = unicodedata.category(char)
    if category[0] not in "LN" or plain_apostrophes(char) == "'":
        return False
    return fold_forms(char) != char if category == "Lu" else normalize(char) != char


def _fate(char: str, probe: str, normalize: Callable[[str], str]) -> str:
    """What becomes of the character between two ordinary letters."""
    between = normalize(f"{probe}{char}{probe}").removeprefix(probe).removesuffix(probe)
    return {"": "is dropped", " ": "becomes a space"}.get(between, f"becomes {between}")


def _around(char: str, line: str) -> str:
    """The piece of the line where the character stands."""
    text = nfc(line)
    places = [place for place in (text.find(char), text.lower().find(char), 0) if place >= 0]
    start = max(0, min(places[0] - _EXAMPLE // 2, len(text) - _EXAMPLE))
    piece = text[start : start + _EXAMPLE]
    return f"{'...' * (start > 0)}{piece}{'...' * (start + _EXAMPLE < len(text))}"


def listed(doubts: Iterable[Doubt]) -> list[list[str]]:
    """Rows of a table: character, name, kind, times, utterances, what becomes of it, example."""
    return [
        [shown(one.char), one.name, one.kind, str(one.times), str(one.in_train), one.fate, one.example]
        for one in doubts
    ]


def shown(char: str) -> str:
    """The character, or its code point where it cannot be seen alone."""
    return f"\\u{ord(char):04x}" if unicodedata.category(char)[0] in "MCZ" else char
