"""A tokenizer and an n-gram in; ways from log-probs to text out: asrkit's own search, and its peers'.

alpha weighs ln P of the n-gram and beta counts words, in all of them alike.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, SupportsIndex

import kenlm
import numpy as np
from numpy.typing import NDArray

from asrkit.automaton import MARKS, Automaton
from asrkit.lexicon import build_alphabet, build_lexicon
from asrkit.native_search import NativeSearch
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import Tokenizer

LogProbs = NDArray[np.float32]  # (T, V)
Decode = Callable[[LogProbs], str]
LN_10 = float(np.log(10))
FLASHLIGHT = "flashlight.lib.text.decoder"
HOW_TO_INSTALL = "python -m pip install --constraint constraints.txt '.[bench]'"


@dataclass(frozen=True)
class Engine:
    """`make(alpha, beta)` gives the search."""

    name: str
    make: Callable[[float, float], Decode]


@dataclass(frozen=True)
class WordLm:
    """One n-gram, as a file for peers and ready for asrkit."""

    arpa: Path  # not gzipped
    automaton: Automaton
    words: tuple[str, ...]  # in the order of the file, marks included

    def spelled(self, tokenizer: Tokenizer) -> dict[str, int]:
        """The words that the tokenizer can write, as it writes them, and their numbers."""
        return {
            tokenizer.spell(word): number
            for number, word in enumerate(self.words)
            if word not in MARKS and tokenizer.spells(word)
        }


def native(tokenizer: Tokenizer, lm: WordLm, *, beam: int, closed: bool) -> Engine:
    """Our own search."""
    spelled = lm.spelled(tokenizer)
    unigrams = np.ascontiguousarray(lm.automaton.tables.unigrams["log10"])
    lexicon = build_lexicon(build_alphabet(tokenizer), list(spelled), list(spelled.values()), unigrams)

    def make(alpha: float, beta: float) -> Decode:
        options = DecodeSettings(beam=beam, alpha=alpha, beta=beta, closed_vocab=closed)
        search = NativeSearch(tokenizer, options, words=lm.automaton, lexicon=lexicon)
        return lambda log_probs: search.decode(log_probs)[0].text

    return Engine(f"native, {'closed' if closed else 'open'}", make)


def pyctcdecode(tokenizer: Tokenizer, lm: WordLm, *, beam: int) -> Engine:
    """With its own use of KenLM and its own defaults. Its caches live for one call, and so for one utterance."""
    decoder_module = importlib.import_module("pyctcdecode.decoder")
    language_model = importlib.import_module("pyctcdecode.language_model")
    alphabet_module = importlib.import_module("pyctcdecode.alphabet")
    is_bpe = tokenizer.word_boundary != " "
    alphabet = alphabet_module.Alphabet(["", *map(_Label, tokenizer.labels[1:])], is_bpe=is_bpe)
    known = {word for word in lm.words if word not in MARKS}
    with quiet():
        model = language_model.LanguageModel(kenlm.Model(str(lm.arpa)), known)
    decoder = decoder_module.BeamSearchDecoderCTC(alphabet, model)

    def make(alpha: float, beta: float) -> Decode:
        def decode(log_probs: LogProbs) -> str:
            decoder.reset_params(alpha=alpha, beta=beta)
            text: str = decoder.decode(log_probs, beam_width=beam)
            return text

        return decode

    return Engine("pyctcdecode", make)


class _Label(str):
    """pyctcdecode takes a label that ends in "▁", as SentencePiece's lone "▁" does, for its unknown piece, and breaks
    the words of other beams; this one does not look so."""

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return "" if key == slice(-1, None) else super().__getitem__(key)


def has_flashlight() -> bool:
    """Whether it is installed, with its KenLM."""
    try:
        return importlib.util.find_spec(f"{FLASHLIGHT}.kenlm") is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class Variant:
    """Of flashlight. It drops beams that are `threshold` behind the best (ln), as asrkit and pyctcdecode do at 10; 50
    is what torchaudio's decoder takes."""

    name: str
    labels: int | None = None  # that are tried in a frame; None for all
    threshold: float = 10.0


ALL_LABELS = Variant("flashlight, closed, all labels")
WIDE = Variant("flashlight, closed, threshold 50", threshold=50.0)
TEN_LABELS = Variant("flashlight, closed, 10 labels", labels=10)
VARIANTS = (ALL_LABELS, WIDE, TEN_LABELS)


def flashlight(tokenizer: Tokenizer, lm: WordLm, *, beam: int) -> list[Engine]:
    """Its lexicon decoder, for labels that are characters; an engine for each of VARIANTS.

    A word ends in its separator, so that one frame with nothing but a separator is put behind the log-probs: without
    it the last word would be lost.
    """
    text_decoder = importlib.import_module(FLASHLIGHT)
    dictionary = importlib.import_module("flashlight.lib.text.dictionary").Dictionary()
    spelled = lm.spelled(tokenizer)
    for word in ("<unk>", *spelled):
        dictionary.add_entry(word)
    with quiet():
        model = importlib.import_module(f"{FLASHLIGHT}.kenlm").KenLM(str(lm.arpa), dictionary)
    separator = tokenizer.labels.index(tokenizer.word_boundary)
    trie = text_decoder.Trie(len(tokenizer.labels), separator)
    start = model.start(False)
    for word in spelled:
        number = dictionary.get_index(word)
        _, log10 = model.score(start, number)
        trie.insert([*tokenizer.encode(word), separator], number, log10)
    trie.smear(text_decoder.SmearingMode.MAX)
    behind = np.full((1, len(tokenizer.labels)), -30.0, dtype=np.float32)
    behind[0, separator] = 0.0

    def search_of(variant: Variant, alpha: float, beta: float) -> Decode:
        options = text_decoder.LexiconDecoderOptions(
            beam_size=beam,
            beam_size_token=variant.labels or len(tokenizer.labels),
            beam_threshold=variant.threshold,
            lm_weight=alpha * LN_10,  # it takes KenLM's base-10 logs as they are
            word_score=beta,
            unk_score=-np.inf,
            sil_score=0.0,
            log_add=True,  # found better than the maximum
            criterion_type=text_decoder.CriterionType.CTC,
        )
        search = text_decoder.LexiconDecoder(options, trie, model, separator, 0, 0, [], False)

        def decode(log_probs: LogProbs) -> str:
            emissions = np.ascontiguousarray(np.concatenate([log_probs, behind]), dtype=np.float32)
            best: Any = search.decode(emissions.ctypes.data, *emissions.shape)[0]
            return " ".join(dictionary.get_entry(number) for number in best.words if number >= 0)

        return decode

    return [Engine(variant.name, partial(search_of, variant)) for variant in VARIANTS]


@contextmanager
def quiet() -> Iterator[None]:
    """Sends away what C++ code writes to standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
