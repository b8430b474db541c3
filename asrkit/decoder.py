"""A tokenizer, options and perhaps n-grams in; a search that is ready to run out: greedy, our own, or pyctcdecode's."""

import importlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asrkit.errors import AsrkitError, did_you_mean
from asrkit.native_search import NativeSearch
from asrkit.ngram import NGram, is_kenlm_binary
from asrkit.progress import Progress, Silent
from asrkit.search import Hypothesis, LogProbs, Search, greedy
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import Tokenizer
from asrkit.word_times import FrameTimes

FEW_SPELLED = 0.9  # share of an n-gram's words that the tokenizer spells, below which the user is warned
COMPILING_S = 1.0  # the first call takes longer only where the loops have to be compiled
Unit = Literal["word", "token"]

# what a search without an n-gram has a use for
_WITHOUT_LM = ("engine", "beam", "n_best", "token_min_logp", "beam_prune_logp", "hotwords", "hotword_score")
_ONLY_NATIVE = ("closed_vocab", "hotwords")
_OF_WORDS, _OF_LABELS = ("alpha", "beta", "unk_score", "closed_vocab"), ("token_alpha", "token_beta")


@dataclass(frozen=True)
class Decoder:
    """A way from log-probs to text."""

    search: Search
    engine: str  # greedy, native or pyctcdecode
    options: DecodeSettings | None  # None: greedy
    lm: NGram | None = None  # of words
    token_lm: NGram | None = None
    _scores: Any = None  # the search itself

    @property
    def lms(self) -> list[NGram]:
        """The n-grams."""
        return [lm for lm in (self.lm, self.token_lm) if lm]

    @property
    def in_threads(self) -> bool:
        """Whether the search lets other threads run; else processes are wanted."""
        return self.engine == "native"

    def with_options(self, options: DecodeSettings) -> "Decoder":
        """The same with other options; n-grams are not read again."""
        search = self._scores.with_options(options)
        return replace(self, search=search.decode, options=options, _scores=search)

    def reaches(self, text: str) -> bool:
        """Whether the n-grams know every word of the text."""
        return all(lm.reaches(text) for lm in self.lms)

    def lm_score(self, text: str) -> float:
        """What the n-grams and hotwords add to a text's score (natural logarithm)."""
        return float(self._scores.lm_score(text)) if self._scores else 0.0

    def conditions(self) -> dict[str, Any]:
        """For a report: the n-grams' paths, and every option that had a part in it; None where it had none."""
        values: dict[str, Any] = dict.fromkeys(asdict(DecodeSettings()))
        if self.options is not None:
            values = asdict(self.options) | {"hotwords": list(self.options.hotwords)}
            values["unk_score"] = self.options.unknown_score
            unused = [] if self.lm else [*_OF_WORDS]
            unused += [] if self.token_lm else _OF_LABELS
            unused += [] if self.options.hotwords else ["hotword_score"]
            unused += ["closed_vocab", "hotwords"] if self.engine == "pyctcdecode" else []
            values |= dict.fromkeys(unused)
        del values["engine"]
        return {
            "engine": self.engine,
            "lm": str(self.lm.path) if self.lm else None,
            "token_lm": str(self.token_lm.path) if self.token_lm else None,
            **values,
        }


def open_decoder(
    tokenizer: Tokenizer,
    settings: DecodeSettings,
    given: Mapping[str, Any],
    *,
    lm: str | Path | None = None,
    token_lm: str | Path | None = None,
    unit: Unit | None = None,
    times: FrameTimes | None = None,
    progress: Progress = Silent(),
) -> Decoder:
    """The search that `given`, on top of `settings`, asks for: greedy without an n-gram or an option that wants a beam.

    `unit` says what `lm` is of, where it should not be seen from its words. With `times` hypotheses have word times.

    Raises:
        AsrkitError: options that do not go together, or an n-gram that cannot be read or that does not go with the
            tokenizer.
    """
    options = with_options(settings, given)
    if "hotword_score" in given and not options.hotwords:
        raise AsrkitError("hotword_score without hotwords has nothing to reward; wanted --hotwords FILE")
    if lm is None and token_lm is None:
        _check_without_lm(given, unit)
        if not given and not options.hotwords:
            return Decoder(partial(_greedy, tokenizer=tokenizer, times=times), "greedy", None)
        return _native(tokenizer, replace(options, engine="native"), None, None, times, progress)
    if lm is not None and is_kenlm_binary(Path(lm)) and options.engine == "native":
        if given.get("engine") == "native":
            raise AsrkitError(f"{lm} is a KenLM binary, which only --engine pyctcdecode reads; wanted its .arpa")
        progress.say(f"{lm} is a KenLM binary: searching with pyctcdecode")
        options = replace(options, engine="pyctcdecode")
    if token_lm is not None and is_kenlm_binary(Path(token_lm)):
        raise AsrkitError(f"{token_lm} is a KenLM binary; wanted the .arpa it was made from")
    with_kenlm = options.engine == "pyctcdecode"
    of_labels = None if unit is None else unit == "token"
    words = _open(lm, tokenizer, with_kenlm, of_labels, progress) if lm is not None else None
    tokens = _open(token_lm, tokenizer, with_kenlm, True, progress) if token_lm is not None else None
    if words is not None and words.of_labels:
        if tokens is not None:
            raise AsrkitError(f"{lm} and {token_lm} are both n-grams of labels; wanted one of words and one of labels")
        words, tokens = None, words
    _check_weights(given, words, tokens)
    if not with_kenlm:
        return _native(tokenizer, options, words, tokens, times, progress)
    if tokens is not None:
        raise AsrkitError(f"{tokens.path} is an n-gram of labels, which pyctcdecode cannot use; wanted --engine native")
    for name in _ONLY_NATIVE:
        if getattr(options, name):
            raise AsrkitError(f"{name} is not for pyctcdecode; wanted --engine native")
    search = importlib.import_module("asrkit.pyctcdecode_search").BeamSearch(
        tokenizer, options, lm=words, times=times
    )  # loaded only here: not every machine has it
    return Decoder(search.decode, options.engine, options, words, None, search)


def with_options(settings: DecodeSettings, given: Mapping[str, Any]) -> DecodeSettings:
    """`given`, checked, on top of `settings`.

    Raises:
        AsrkitError: an impossible value.
    """
    known = [field.name for field in fields(settings)]
    for name in given:
        if name not in known:
            raise AsrkitError(f"a search has no option {name!r}{did_you_mean(name, known)}")
    options = replace(settings, **given)
    options.check()
    return options


def _greedy(log_probs: LogProbs, *, tokenizer: Tokenizer, times: FrameTimes | None) -> list[Hypothesis]:
    return [greedy(log_probs, tokenizer, times=times)]


def _check_without_lm(given: Mapping[str, Any], unit: Unit | None) -> None:
    if unit is not None:
        raise AsrkitError(f"unit {unit} says what an n-gram is of, and there is none; wanted --lm FILE")
    useless = [name for name in given if name not in _WITHOUT_LM]
    if useless:
        raise AsrkitError(f"{', '.join(useless)} without an n-gram has nothing to weigh; wanted --lm FILE")
    if given.get("engine") == "pyctcdecode":
        raise AsrkitError("pyctcdecode without an n-gram is not offered; wanted --lm FILE, or --engine native")


def _check_weights(given: Mapping[str, Any], words: NGram | None, tokens: NGram | None) -> None:
    for lm, names, unit, wanted in ((words, _OF_WORDS, "words", "--lm"), (tokens, _OF_LABELS, "labels", "--token-lm")):
        useless = [name for name in names if lm is None and name in given]
        if useless:
            raise AsrkitError(
                f"{', '.join(useless)} weighs an n-gram of {unit}, and there is none; wanted {wanted} FILE"
            )


def _open(
    path: str | Path, tokenizer: Tokenizer, with_kenlm: bool, of_labels: bool | None, progress: Progress
) -> NGram:
    lm = NGram.open(Path(path), tokenizer, with_kenlm=with_kenlm, of_labels=of_labels, progress=progress)
    share, unit = lm.spelled_share, "labels" if lm.of_labels else "words"
    summary = f"{lm.path.name}: {lm.order}-gram, {len(lm.words):,} {unit}, {100 * share:.1f} % of them spelled"
    (progress.say if share >= FEW_SPELLED else progress.warn)(f"{summary} by the tokenizer")
    return lm


def _native(
    tokenizer: Tokenizer,
    options: DecodeSettings,
    words: NGram | None,
    tokens: NGram | None,
    times: FrameTimes | None,
    progress: Progress,
) -> Decoder:
    search = NativeSearch(
        tokenizer,
        options,
        words=words.automaton if words else None,
        lexicon=words.lexicon if words else None,
        tokens=tokens.automaton if tokens else None,
        times=times,
    )
    with _said_if_slow("compiling the search for this machine: once, about 20 s", progress):
        blank = np.full((1, len(tokenizer.labels)), -100.0, dtype=np.float32)  # as log-probs come
        blank[0, 0] = 0.0
        search.decode(blank)
    return Decoder(search.decode, options.engine, options, words, tokens, search)


@contextmanager
def _said_if_slow(news: str, progress: Progress) -> Iterator[None]:
    timer = threading.Timer(COMPILING_S, progress.say, [news])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
