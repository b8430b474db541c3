"""A line of KsponSpeech's transcripts in; its words, as they are spelled and as they were spoken, out.

What a line holds (rules of ETRI; J.-U. Bang et al., Applied Sciences 10(19), 6936, section 2.2), such as

    b/ (70%)/(칠 십 퍼센트) 확률이라니 아/ (뭐+ 뭔)/(모+ 몬) 소리야 진짜 (100%)(백 프로)가 왜 안돼? n/

    b/ l/ o/ n/     breath, laughter, another's voice, noise: dropped
    u/              speech that nobody understood: dropped, and the utterance is unfit for training
    아/ 음/         a slash behind a filler word: the word is kept
    뭐+ 뭔          a plus behind a word that is said again or broken off: the word is kept
    뭐*             a word over noise, or not clear (descriptions differ): it is kept, trained on, and counted
    (뭐)/(모)       the same words, spelled and as they were spoken

Of a pair the spelling is taken, unless it holds anything but Hangul and punctuation: digits, Latin letters, symbols and
Chinese characters can be read in several ways, and the other side tells how this speaker did.

Pairs are not always written well. `) / (`, `)(` and pairs without a space between, `(뭐)/(모)(내가)/(내)`, can mean one
thing only. Anything else with a parenthesis (a single group, three in a row, an empty side, one inside another or
without its partner) makes the utterance unfit; all of its words stay.
"""

import re
from dataclasses import dataclass

from asrkit.text import collapse_spaces, fold_forms, nfc

UNCLEAR, MALFORMED = "unclear speech", "malformed transcript"
READ_ALOUD = "digits, Latin or symbols: pronunciation taken"
MENDED = "pair of spelling and pronunciation mended"
STARRED = "words marked with * (unclear, or over noise) kept"

# Not a piece of a Latin word or a fraction (ab/, n/a, n/1, 1/n); several may stand without a space.
_TAGS = re.compile(r"(?<![0-9A-Za-z])(?<![0-9A-Za-z]/)(?:[blonu]/)+(?![0-9A-Za-z])")
_STARS = re.compile(r"(?<!\d)\*|\*(?!\d)")
_PLUSES = re.compile(r"([0-9A-Za-z]\s*\++)|\+")  # A+ and 1 + 1 are said
_FILLER_SLASH = re.compile(r"(?<=[가-힣ㄱ-ㆎ])/")
_GROUP = re.compile(r"\(([^()]*)\)")
_CHAIN = re.compile(r"\([^()]*\)(?:(?:\s*/\s*)?\([^()]*\))*")
_BETWEEN_GROUPS = re.compile(r"\)([^()]*)\(")
_PLAIN = re.compile(r"[가-힣ㄱ-ㆎ\s.,?!~…·'\"‘’“”\[\]/-]*")


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The words of a line; `unfit` and `notes` as in Utterance."""

    spelling: str
    pronunciation: str
    unfit: str | None
    notes: tuple[str, ...]


def parse_transcript(line: str) -> Transcript:
    """The words of a line without its marks; none of them is lost but the other side of a pair."""
    text = fold_forms(nfc(line))
    unclear = any("u/" in tags[0] for tags in _TAGS.finditer(text))
    text = _TAGS.sub(" ", text)
    notes = {STARRED} if _STARS.search(text) else set()
    text = _PLUSES.sub(lambda plus: plus[1] or " ", _STARS.sub("", text))

    spelling, pronunciation, end = "", "", 0
    for chain in _CHAIN.finditer(text):
        spelled, spoken, found = _choose(chain[0])
        between = text[end : chain.start()]
        spelling, pronunciation, end = spelling + between + spelled, pronunciation + between + spoken, chain.end()
        notes |= found
    spelling, pronunciation = spelling + text[end:], pronunciation + text[end:]

    malformed = "(" in spelling or ")" in spelling
    return Transcript(
        spelling=_words(spelling),
        pronunciation=_words(pronunciation),
        unfit=UNCLEAR if unclear else MALFORMED if malformed else None,
        notes=tuple(sorted(notes)),
    )


def _choose(chain: str) -> tuple[str, str, set[str]]:
    """(spelled, spoken, notes) of the groups that stand together: one pair or several, else as they are."""
    groups = [group.strip() for group in _GROUP.findall(chain)]
    between = _BETWEEN_GROUPS.findall(chain)
    in_pairs, outside_pairs = between[::2], between[1::2]
    certain = len(groups) == 2 or (all(in_pairs) and not any(outside_pairs))
    if len(groups) % 2 or not all(groups) or not certain:
        return chain, chain, set()
    notes = {MENDED} if set(in_pairs) != {"/"} else set()
    spelled, spoken = [], []
    for written, said in zip(groups[::2], groups[1::2], strict=True):
        if not _PLAIN.fullmatch(written):
            notes.add(READ_ALOUD)
            written = said
        spelled.append(written)
        spoken.append(said if _PLAIN.fullmatch(said) else written)  # the sides are sometimes the wrong way round
    return "".join(spelled), "".join(spoken), notes


def _words(text: str) -> str:
    return collapse_spaces(_FILLER_SLASH.sub(" ", text).replace("(", " ").replace(")", " "))
