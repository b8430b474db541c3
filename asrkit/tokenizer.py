"""Normalised text in, label ids out, and back: characters, jamo or SentencePiece subwords; id 0 is CTC's blank."""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import sentencepiece

from asrkit.atomic import write_whole
from asrkit.errors import AsrkitError
from asrkit.grammar import FORBIDDEN, Grammar
from asrkit.settings import TokenizerSettings
from asrkit.text import FINALS, INITIALS, VOWELS, hangul_to_jamo, jamo_to_hangul

KINDS = get_args(TokenizerSettings.__annotations__["kind"])
BLANK = "<blank>"
SCHEMA = 1  # of tokenizer.json
JSON_NAME, MODEL_NAME = "tokenizer.json", "tokenizer.model"
SUBWORD_SPACE = "▁"  # U+2581, how SentencePiece writes the space before a word
_RESERVED = frozenset("\0\t\n\r" + SUBWORD_SPACE + "\u2585")  # SentencePiece skips sentences that hold one of these
_EMPTY = "the training texts are empty; a tokenizer needs at least one character"
_THREADS = 4  # fixed: SentencePiece splits its sums by it, so that another number may give another model


class Tokenizer(Protocol):
    """Text <-> label ids. Text has single inner spaces and none outside, as a recipe's normalize leaves it."""

    @property
    def kind(self) -> str:
        """As in TokenizerSettings."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What each id stands for; labels[0] is the blank; subwords keep their "▁"."""

    @property
    def word_boundary(self) -> str:
        """The character that a label holds where a word ends or begins: " " or "▁"."""

    @property
    def grammar(self) -> Grammar | None:
        """Which label may follow which; None where any may follow any."""

    def spell(self, text: str) -> str:
        """The text as labels write it: with jamo for syllables, else as it is. Words stay apart."""

    def read(self, spelled: str) -> str:
        """What `spell` gave, as people write it."""

    def encode(self, text: str) -> list[int]:
        """The ids of normalised text.

        Raises:
            AsrkitError: the text has a character that no label spells.
        """

    def encode_known(self, text: str) -> list[int]:
        """As encode, but leaves out the characters that no label spells."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids from which repeats and blanks are gone; words are separated by single spaces."""

    def spells(self, text: str) -> bool:
        """Whether encode would take the text."""

    def fingerprint(self) -> str:
        """Equal for tokenizers that encode alike."""

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, and tokenizer.model for subwords, into the folder; the .json comes last."""


class CharacterTokenizer:
    """One label for each character; the characters of Hangul are syllables."""

    word_boundary = " "
    grammar: Grammar | None = None

    def __init__(self, characters: Sequence[str], kind: str = "characters") -> None:
        self.kind = kind
        self.labels = (BLANK, *characters)
        self._ids = {character: number for number, character in enumerate(characters, start=1)}

    def spell(self, text: str) -> str:
        return text

    def read(self, spelled: str) -> str:
        return spelled

    def encode(self, text: str) -> list[int]:
        spelled = self.spell(text)
        _refuse_unknown(spelled, self._ids)
        return [self._ids[character] for character in spelled]

    def encode_known(self, text: str) -> list[int]:
        return self.encode(_single_spaces("".join(character for character in text if self.spells(character))))

    def decode(self, ids: Sequence[int]) -> str:
        return _single_spaces(self.read("".join(map(self.labels.__getitem__, ids))))

    def spells(self, text: str) -> bool:
        return self._ids.keys() >= set(self.spell(text))

    def fingerprint(self) -> str:
        return _fingerprint([self.kind, self.labels])

    def save(self, folder: Path) -> None:
        _save(self, folder, model=None)


class JamoTokenizer(CharacterTokenizer):
    """A label for each of the 67 letters of modern Hangul in its place in the syllable, and for other characters.

    The places (Unicode's conjoining jamo: 19 initials, 21 vowels, 27 finals) make it reversible: what follows a final
    consonant is another syllable. `grammar` says that a syllable is an initial, a vowel, and perhaps a final.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        super().__init__(characters, kind="jamo")
        self.grammar = _syllable_grammar(self.labels)

    def spell(self, text: str) -> str:
        return hangul_to_jamo(text)

    def read(self, spelled: str) -> str:
        """Jamo that make no syllable show as compatibility jamo, which are no part of anything."""
        return jamo_to_hangul(spelled)


def _syllable_grammar(labels: Sequence[str]) -> Grammar:
    """Three states: nothing open, an initial that wants its vowel, a vowel that a final may follow."""
    nothing, wants_vowel, takes_final = range(3)
    follows = np.full((3, len(labels)), nothing, np.int32)
    for label, character in enumerate(labels):
        if character in INITIALS:
            follows[:, label] = [wants_vowel, FORBIDDEN, wants_vowel]
        elif character in VOWELS:
            follows[:, label] = [FORBIDDEN, takes_final, FORBIDDEN]
        elif character in FINALS:
            follows[:, label] = [FORBIDDEN, FORBIDDEN, nothing]
        else:
            follows[:, label] = [nothing, FORBIDDEN, nothing]
    return Grammar(follows, ends=np.array([True, False, True]))


class SubwordTokenizer:
    """SentencePiece pieces. Its unknown piece has id 0, which CTC's blank takes: encode never gives it."""

    word_boundary = SUBWORD_SPACE
    grammar: Grammar | None = None

    def __init__(self, kind: str, model: bytes) -> None:
        self.kind = kind
        self._model = model
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.labels = (BLANK, *(self._pieces.id_to_piece(i) for i in range(1, self._pieces.get_piece_size())))
        self._known = set("".join(self.labels[1:])) - {SUBWORD_SPACE} | {" "}

    def spell(self, text: str) -> str:
        return text

    def read(self, spelled: str) -> str:
        return spelled

    def encode(self, text: str) -> list[int]:
        _refuse_unknown(text, self._known)
        ids: list[int] = self._pieces.encode(text)
        return ids

    def encode_known(self, text: str) -> list[int]:
        return self.encode(_single_spaces("".join(character for character in text if character in self._known)))

    def decode(self, ids: Sequence[int]) -> str:
        return _single_spaces("".join(map(self.labels.__getitem__, ids)).replace(SUBWORD_SPACE, " "))

    def spells(self, text: str) -> bool:
        return self._known >= set(text)

    def fingerprint(self) -> str:
        scores = [self._pieces.get_score(i) for i in range(1, len(self.labels))]
        return _fingerprint([self.kind, self.labels, scores])

    def save(self, folder: Path) -> None:
        _save(self, folder, model=self._model)


def written(label: str) -> str:
    """A label as an n-gram of labels writes it: the space cannot be a word there, "▁" can."""
    return label.replace(" ", SUBWORD_SPACE)


def train_tokenizer(settings: TokenizerSettings, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer that spells every character of the texts, which are normalised and from train alone.

    Characters are sorted by code point after the space, which is always there, as all jamo are. The same texts in the
    same order give the same tokenizer.

    Raises:
        AsrkitError: no text, a character that SentencePiece keeps for itself, or more or fewer subwords asked for than
            the texts allow.
    """
    if settings.kind in ("unigram", "bpe"):
        return SubwordTokenizer(settings.kind, _train_subwords(settings, texts))
    characters = set().union(*map(set, texts)) - {" "}
    if not characters:
        raise AsrkitError(_EMPTY)
    if settings.kind == "jamo":
        characters = set().union(*map(hangul_to_jamo, characters))
        if not characters & {*INITIALS}:
            raise AsrkitError("tokenizer.kind is jamo, and the training texts hold no Hangul; wanted characters")
        return JamoTokenizer([" ", *sorted(characters | {*INITIALS, *VOWELS, *FINALS})])
    return CharacterTokenizer([" ", *sorted(characters)], settings.kind)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that was saved in the folder.

    Raises:
        AsrkitError: there is none, it is damaged, or of another version.
    """
    path = folder / JSON_NAME
    saved = _read_json(path)
    if saved.get("schema") != SCHEMA:
        raise AsrkitError(f"{path} has schema {saved.get('schema')!r}; this version of asrkit reads {SCHEMA}")
    kind, labels = saved.get("kind"), saved.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels) or labels[:1] != [BLANK]:
        raise AsrkitError(f"{path} is damaged: its labels are not a list of texts that starts with {BLANK}")
    tokenizer: Tokenizer
    if kind in ("characters", "syllables"):
        tokenizer = CharacterTokenizer(labels[1:], kind)
    elif kind == "jamo":
        tokenizer = JamoTokenizer(labels[1:])
    elif kind in ("unigram", "bpe"):
        tokenizer = _load_subwords(kind, folder / MODEL_NAME)
    else:
        raise AsrkitError(f"{path} has kind {kind!r}; wanted one of {', '.join(KINDS)}")
    if list(tokenizer.labels) != labels or tokenizer.fingerprint() != saved.get("fingerprint"):
        raise AsrkitError(f"{folder} is damaged: the tokenizer does not have the fingerprint it was saved with")
    return tokenizer


def _train_subwords(settings: TokenizerSettings, texts: Iterable[str]) -> bytes:
    """A SentencePiece model of exactly settings.size pieces, the unknown piece included."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_without_reserved(texts),
            model_writer=model,
            model_type=settings.kind,
            vocab_size=settings.size,
            character_coverage=1.0,
            normalization_rule_name="identity",  # the recipe has normalised
            remove_extra_whitespaces=False,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            max_sentence_length=1_000_000,  # bytes; longer ones would be skipped, and their characters with them
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise AsrkitError(_explain(str(error), settings)) from error
    return model.getvalue()


def _without_reserved(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        reserved = sorted(_RESERVED.intersection(text))
        if reserved:
            raise AsrkitError(
                f"{text!r} holds {reserved[0]!r}, which SentencePiece keeps for itself; normalize it away"
            )
        yield text


def _explain(message: str, settings: TokenizerSettings) -> str:
    """SentencePiece's complaint in this toolkit's words."""
    if largest := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        return (
            f"tokenizer.size is {settings.size}; the largest possible for {settings.kind} on this text is "
            f"{largest[1]}: set tokenizer.size={largest[1]} or less"
        )
    if smallest := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"tokenizer.size is {settings.size}; this text has so many characters that {smallest[1]} is the smallest "
            f"possible: set tokenizer.size={smallest[1]} or more"
        )
    if "sentences_.empty()" in message:
        return _EMPTY
    return f"SentencePiece cannot train on this text: {' '.join(message.split())}"


def _load_subwords(kind: str, path: Path) -> SubwordTokenizer:
    try:
        return SubwordTokenizer(kind, path.read_bytes())
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read ({error.strerror}); the tokenizer is incomplete") from error
    except RuntimeError as error:
        raise AsrkitError(f"{path} is damaged: it is no SentencePiece model") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AsrkitError(f"no tokenizer in {path.parent}: {JSON_NAME} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise AsrkitError(f"{path} is damaged: it is no JSON") from error
    if not isinstance(saved, dict):
        raise AsrkitError(f"{path} is damaged: it holds no JSON object")
    return saved


def _save(tokenizer: Tokenizer, folder: Path, *, model: bytes | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if model is not None:
        write_whole(folder / MODEL_NAME, model)
    saved = {
        "schema": SCHEMA,
        "kind": tokenizer.kind,
        "fingerprint": tokenizer.fingerprint(),
        "labels": tokenizer.labels,
    }
    write_whole(folder / JSON_NAME, (json.dumps(saved, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))


def _refuse_unknown(text: str, known: Iterable[str]) -> None:
    unknown = sorted(set(text).difference(known))
    if unknown:
        named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown)
        raise AsrkitError(f"the tokenizer has no label for {named} in {text!r}; it spells what its training text held")


def _single_spaces(text: str) -> str:
    return " ".join(filter(None, text.split(" ")))


def _fingerprint(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8")).hexdigest()[:16]
