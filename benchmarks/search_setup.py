"""Where a benchmark's utterances come from: a real model's log-probs, or a made-up language and a generator."""

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
from engines import LogProbs, WordLm
from figures import Figures
from numpy.typing import NDArray
from posteriors import Style, make_log_probs
from searching import Fold
from zipf_text import Language, hangul, hangul_syllables, latin

from asrkit.arpa import read_arpa
from asrkit.automaton import build_automaton
from asrkit.build_lm import build_lm
from asrkit.settings import TokenizerSettings
from asrkit.tokenizer import CharacterTokenizer, Tokenizer, train_tokenizer

LETTERS = "aeiouyhwlrnmbpdtgkqcjszxfv' "  # in an order that puts like by like
STRANGE = 0.01  # share of unknown words in what is searched


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is made and measured."""

    words: int = 50_000  # of a made-up language
    text_words: int = 3_000_000  # that its n-gram is built from
    utterances: int = 600  # whose errors are counted
    timed_utterances: int = 60  # the first of them, again and again
    dev_utterances: int = 320
    round_s: float = 3.0  # of each engine, several times
    syllables: int = 2_500
    subwords: int = 1_000
    every: int = 1  # of the real utterances
    build_words: tuple[int, ...] = (1_000_000, 6_600_000, 50_000_000)
    packed_words: int = 4_100_000  # of text, for so many n-grams and some more:
    packed_ngrams: int = 10_000_000
    beam: int = 100
    frames: int = 600
    frame_s: float = 0.02


QUICK = Sizes(
    words=2_000,
    text_words=60_000,
    utterances=4,
    timed_utterances=2,
    dev_utterances=2,
    round_s=0.1,
    syllables=300,
    subwords=200,
    every=20,
    build_words=(100_000,),
    packed_words=50_000,
    packed_ngrams=100_000,
    frames=200,
)


@dataclass(frozen=True)
class Setup:
    """A made-up language, its labels and its n-gram."""

    language: Language
    tokenizer: Tokenizer
    likeness: NDArray[np.int64]  # labels in an order that puts like by like
    label_frames: float  # frames for each label
    lm: WordLm

    def fold(self, style: Style, count: int, *, sizes: Sizes, seed: int) -> Fold:
        """Utterances whose texts fill their frames."""
        texts, spelled = [], []
        room = int(sizes.frames / self.label_frames)
        for words in self.language.texts(count, room, seed=seed, strange=STRANGE):
            fitting = 1
            while fitting < len(words) and len(self.tokenizer.encode(" ".join(words[: fitting + 1]))) <= room:
                fitting += 1
            texts.append(" ".join(words[:fitting]))
            spelled.append(self.tokenizer.encode(texts[-1]))
        return Fold(_Made(spelled, self.likeness, sizes.frames, style, seed), texts, sizes.frame_s)


@dataclass(frozen=True)
class _Made(Sequence[LogProbs]):
    """Log-probs of labels, made whenever they are asked for: those of 600 utterances and 2,500 labels are 4 GB."""

    spelled: list[list[int]]
    likeness: NDArray[np.int64]
    frames: int
    style: Style
    seed: int

    def __len__(self) -> int:
        return len(self.spelled)

    @overload
    def __getitem__(self, asked: int) -> LogProbs: ...
    @overload
    def __getitem__(self, asked: slice) -> list[LogProbs]: ...
    def __getitem__(self, asked: int | slice) -> LogProbs | list[LogProbs]:
        if isinstance(asked, slice):
            return [self[number] for number in range(*asked.indices(len(self)))]
        seed = self.seed, asked
        return make_log_probs(self.spelled[asked], self.likeness, frames=self.frames, style=self.style, seed=seed)


@dataclass(frozen=True, eq=False)
class Bench:
    """What all parts are given; what is costly to make is made once."""

    figures: Figures
    folder: Path  # temporary
    shared: Path | None
    sizes: Sizes

    @property
    def quick(self) -> bool:
        """Whether figures mean little."""
        return self.sizes is QUICK

    def reference(self, name: str) -> Path | None:
        """A folder of reference results, where there is one."""
        path = self.shared / "reference" / name if self.shared else None
        return path if path and path.is_dir() else None

    @cached_property
    def letters(self) -> Setup:
        """29 labels: the blank, the space, the apostrophe and a to z."""
        tokenizer = CharacterTokenizer(sorted(LETTERS))
        likeness = np.array([tokenizer.labels.index(letter) for letter in LETTERS])
        language = latin(self.sizes.words)
        return Setup(language, tokenizer, likeness, 3.85, self._lm("letters", language))

    @cached_property
    def subwords(self) -> Setup:
        """SentencePiece pieces of the same language."""
        language, settings = self.letters.language, TokenizerSettings(kind="unigram", size=self.sizes.subwords)
        texts = [" ".join(text) for text in language.texts(3000, 30, seed=4, strange=STRANGE)]
        tokenizer = train_tokenizer(settings, [*texts, *language.strangers])
        return Setup(language, tokenizer, _sorted(tokenizer), 9.0, self.letters.lm)

    @cached_property
    def syllables(self) -> Setup:
        """Syllables of Hangul."""
        syllables = hangul_syllables(self.sizes.syllables)
        language = hangul(self.sizes.words, syllables)
        tokenizer = CharacterTokenizer([" ", *sorted(syllables)], "syllables")
        return Setup(language, tokenizer, _sorted(tokenizer), 9.0, self._lm("syllables", language))

    def _lm(self, name: str, language: Language) -> WordLm:
        text, arpa = self.folder / f"{name}.txt", self.folder / f"{name}.arpa"
        language.write(text, self.sizes.text_words, seed=1)
        build_lm([text], arpa, order=4, discount_fallback=self.quick)
        return open_lm(arpa)


def _sorted(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Labels that begin alike, or syllables that do, lie side by side."""
    return np.array(sorted(range(1, len(tokenizer.labels)), key=tokenizer.labels.__getitem__))


def open_lm(arpa: Path) -> WordLm:
    """An n-gram that is not gzipped."""
    found = read_arpa(arpa)
    offsets, text = found.words.offsets, found.words.bytes.tobytes()
    words = (text[first:end].decode("utf-8") for first, end in pairwise(offsets))
    return WordLm(arpa, build_automaton(found, arpa), tuple(words))


@dataclass(frozen=True)
class Real:
    """Log-probs of a real model on real speech, in two folds."""

    tokenizer: Tokenizer
    lm: WordLm
    dev: Fold
    test: Fold

    @classmethod
    def read(cls, source: Path, folder: Path, every: int) -> "Real":
        """The folder's README says what is there."""
        arpa = folder / "real.arpa"
        with gzip.open(source / "english.o3.arpa.gz") as packed, arpa.open("wb") as out:
            shutil.copyfileobj(packed, out)
        labels = json.loads((source / "labels.json").read_text(encoding="utf-8"))
        lines = (source / "english_test.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        stored = np.load(source / "english_test.npz")
        ends = np.cumsum(stored["lengths"])
        log_probs = np.split(stored["log_probs"].astype(np.float32), ends[:-1])

        def fold(name: str) -> Fold:
            rows = [row for row, record in enumerate(records) if record["fold"] == name][::every]
            return Fold([log_probs[row] for row in rows], [records[row]["text"] for row in rows], 0.04)

        return cls(CharacterTokenizer(labels[1:]), open_lm(arpa), fold("dev"), fold("test"))
