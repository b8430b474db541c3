"""Which search options and n-grams give, and which do not go together."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
import pytest
from house import Told
from test_native_grammar import ARPA as LABELS_ARPA
from test_search import AB, ARPA, LogProbs, normalised, path_of

from asrkit.decoder import Decoder, open_decoder, with_options
from asrkit.errors import AsrkitError
from asrkit.ngram import KENLM_MAGIC, NGram
from asrkit.packed import write_pack
from asrkit.search import LN_10
from asrkit.settings import DecodeSettings
from asrkit.word_times import FrameTimes


class Lms:
    """n-grams of every kind, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.words, self.labels = folder / "words.arpa", folder / "labels.arpa"
        self.words.write_text(ARPA, encoding="utf-8")
        self.labels.write_text(LABELS_ARPA, encoding="utf-8")
        self.packed, self.binary = folder / "words.lm", folder / "words.bin"
        automaton = NGram.open(self.words, AB).automaton
        assert automaton is not None
        write_pack(automaton, self.packed, source=self.words)
        self.binary.write_bytes(KENLM_MAGIC + b" format version 5\n\0")
        self.binary.with_name("words.bin.words").write_text("a\nab\nb\nba\n", encoding="utf-8")


@pytest.fixture
def lms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lms:
    """kenlm for Python writes no binaries: the model that is loaded is the ARPA beside it."""
    load = kenlm.Model
    monkeypatch.setattr(kenlm, "Model", lambda path, config: load(path.replace("words.bin", "words.arpa"), config))
    return Lms(tmp_path)


def opened(told: Told | None = None, *, settings: DecodeSettings = DecodeSettings(), **given: Any) -> Decoder:
    """n-grams and `unit` go by their names, the rest are options."""
    lms = {name: given.pop(name) for name in ("lm", "token_lm", "unit", "times") if name in given}
    return open_decoder(AB, settings, given, progress=told or Told(), **lms)


# Which search -------------------------------------------------------------------------------------------------------


def test_greedy_where_nothing_is_asked_for() -> None:
    decoder = opened()
    assert (decoder.engine, decoder.options, decoder.lms, decoder.in_threads) == ("greedy", None, [], False)
    assert decoder.search(path_of([2, 2, 0, 2, 3, 3]))[0].text == "aab"
    assert decoder.reaches("any")
    assert decoder.lm_score("ab") == 0.0
    assert {value for name, value in decoder.conditions().items() if name != "engine"} == {None}


@pytest.mark.parametrize(
    "given",
    [
        {"beam": 5},
        {"n_best": 3},
        {"token_min_logp": -3.0},
        {"beam_prune_logp": -3.0},
        {"hotwords": ("aab",)},
        {"hotwords": ("aab",), "hotword_score": 2.0},
        {"engine": "native"},
    ],
)
def test_an_option_of_a_beam_asks_for_one(given: dict[str, Any]) -> None:
    decoder = opened(**given)
    assert (decoder.engine, decoder.lms, decoder.in_threads) == ("native", [], True)
    assert decoder.options == replace(DecodeSettings(), **given)
    shown = decoder.conditions()
    for name, value in given.items():
        assert shown[name] == (list(value) if name == "hotwords" else value)
    assert {shown[name] for name in ("lm", "token_lm", "alpha", "beta", "unk_score", "closed_vocab")} == {None}
    assert decoder.search(path_of([2, 2, 0, 2, 3, 3], sure=0.99))[0].text == "aab"


def test_hotwords_of_the_recipe_ask_for_a_beam() -> None:
    decoder = opened(settings=DecodeSettings(hotwords=("ab ba",), hotword_score=3.0))
    assert decoder.engine == "native"
    assert decoder.lm_score("ab ba") == pytest.approx(6.0)


def test_a_recipe_with_pyctcdecode_and_no_n_gram() -> None:
    """It is our own search that runs, and the report must say so."""
    decoder = opened(settings=DecodeSettings(engine="pyctcdecode"), beam=5)
    assert (decoder.engine, decoder.in_threads) == ("native", True)


def test_an_n_gram_of_words(lms: Lms) -> None:
    told = Told()
    decoder = opened(told, lm=lms.words, alpha=0.7)
    assert (decoder.engine, decoder.in_threads, decoder.token_lm) == ("native", True, None)
    assert decoder.lm is not None and decoder.lm.path == lms.words
    assert told.said == ["words.arpa: 2-gram, 4 words, 100.0 % of them spelled by the tokenizer"]
    assert (told.warned, decoder.reaches("ab ba"), decoder.reaches("ab bb")) == ([], True, False)
    # P(ab | <s>) P(b | ab) P(</s> | b), as test_pyctcdecode_search has it
    assert decoder.lm_score("ab b") == pytest.approx(0.7 * LN_10 * (-0.2 - 0.4 - 0.5) + 2 * 1.0, abs=1e-5)
    shown = decoder.conditions()
    assert (shown["engine"], shown["lm"], shown["token_lm"], shown["alpha"]) == ("native", str(lms.words), None, 0.7)
    assert (shown["token_alpha"], shown["token_beta"], shown["hotword_score"]) == (None, None, None)
    assert (shown["closed_vocab"], shown["hotwords"]) == (False, [])


def test_a_packed_n_gram_is_its_arpa(lms: Lms) -> None:
    log_probs = normalised(3, 12, 4)
    arpa, packed = opened(lm=lms.words, n_best=3), opened(lm=lms.packed, n_best=3)
    assert arpa.search(log_probs) == packed.search(log_probs)


@pytest.mark.parametrize("how", [{"lm": "labels"}, {"token_lm": "labels"}, {"lm": "labels", "unit": "token"}])
def test_an_n_gram_of_labels(lms: Lms, how: dict[str, str]) -> None:
    paths = {name: lms.labels if value == "labels" else value for name, value in how.items()}
    told = Told()
    decoder = opened(told, **paths, token_alpha=0.5)
    assert told.said == ["labels.arpa: 2-gram, 3 labels, 100.0 % of them spelled by the tokenizer"]
    assert decoder.lm is None
    assert decoder.token_lm is not None and decoder.token_lm.of_labels
    assert decoder.reaches("abba bb")
    # P(b | <s>) P(a | b) P(</s> | a)
    assert decoder.lm_score("ba") == pytest.approx(0.5 * LN_10 * (-0.3 - 0.1 - 0.5), abs=1e-5)
    shown = decoder.conditions()
    assert (shown["lm"], shown["token_lm"], shown["alpha"], shown["token_alpha"]) == (None, str(lms.labels), None, 0.5)


def test_both_n_grams(lms: Lms) -> None:
    decoder = opened(lm=lms.words, token_lm=lms.labels, token_alpha=0.25, token_beta=0.1)
    assert [lm.path for lm in decoder.lms] == [lms.words, lms.labels]
    of_words, of_labels = opened(lm=lms.words), opened(token_lm=lms.labels, token_alpha=0.25, token_beta=0.1)
    for text in ("", "ba", "ab b", "bb a"):
        assert decoder.lm_score(text) == pytest.approx(of_words.lm_score(text) + of_labels.lm_score(text), abs=1e-9)
    assert (decoder.reaches("ab b"), decoder.reaches("bb")) == (True, False)


def test_what_an_n_gram_is_of_may_be_said(lms: Lms) -> None:
    told = Told()
    decoder = opened(told, lm=lms.words, unit="token")  # its words a and b are labels, ab and ba are none
    assert decoder.lm is None and decoder.token_lm is not None
    assert told.warned == ["words.arpa: 2-gram, 4 labels, 50.0 % of them spelled by the tokenizer"]
    decoder = opened(lm=lms.labels, unit="word")
    assert decoder.lm is not None and decoder.lm.spelled == ("a", "b")


def test_pyctcdecode(lms: Lms) -> None:
    decoder = opened(lm=lms.words, engine="pyctcdecode", alpha=0.7)
    assert (decoder.engine, decoder.in_threads) == ("pyctcdecode", False)
    assert decoder.lm_score("ab b") == pytest.approx(0.7 * LN_10 * (-0.2 - 0.4 - 0.5) + 2 * 1.0, abs=1e-5)
    assert decoder.search(path_of([2, 3, 1, 3]))[0].text == "ab b"
    shown = decoder.conditions()
    assert shown["engine"] == "pyctcdecode"
    assert {shown[name] for name in ("closed_vocab", "hotwords", "hotword_score", "token_alpha")} == {None}


def test_a_kenlm_binary_is_searched_with_pyctcdecode_and_that_is_said(lms: Lms) -> None:
    told = Told()
    decoder = opened(told, lm=lms.binary)
    assert decoder.engine == "pyctcdecode"
    assert told.said[0] == f"{lms.binary} is a KenLM binary: searching with pyctcdecode"
    assert len(told.said) == 2
    wanted = opened(lm=lms.words, engine="pyctcdecode").search(normalised(3, 12, 4))
    assert decoder.search(normalised(3, 12, 4)) == wanted
    for how in ({"engine": "pyctcdecode"}, {"settings": DecodeSettings(engine="pyctcdecode")}):
        told = Told()
        assert opened(told, lm=lms.binary, **how).engine == "pyctcdecode"
        assert len(told.said) == 1  # nothing but what the n-gram is


@pytest.mark.parametrize("engine", ["native", "pyctcdecode"])
def test_other_options_with_the_same_n_grams(lms: Lms, engine: str) -> None:
    decoder = opened(lm=lms.words, engine=engine)
    other = decoder.with_options(replace(decoder.options or DecodeSettings(), alpha=2.0, n_best=2))
    assert (other.engine, other.lm, other.conditions()["alpha"]) == (engine, decoder.lm, 2.0)
    fresh = opened(lm=lms.words, engine=engine, alpha=2.0, n_best=2)
    assert other.lm_score("ba a") == fresh.lm_score("ba a") != decoder.lm_score("ba a")
    assert other.search(normalised(1, 9, 4)) == fresh.search(normalised(1, 9, 4))
    assert decoder.conditions()["alpha"] == 0.5


@pytest.mark.parametrize("engine", ["native", "pyctcdecode"])
def test_words_have_times(lms: Lms, engine: str) -> None:
    decoder = opened(lm=lms.words, engine=engine, times=FrameTimes(0.04, start_s=-0.04))
    words = decoder.search(path_of([0, 2, 3, 0, 1, 0, 3, 0], sure=0.999))[0].words or ()
    assert [(word.word, word.start_s, word.end_s) for word in words] == [("ab", 0.0, 0.08), ("b", 0.2, 0.24)]
    found = decoder.with_options(replace(decoder.options or DecodeSettings(), beam=3)).search(path_of([0, 0]))
    assert found[0].words == ()


# What does not go together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 0.5}, r"alpha without an n-gram has nothing to weigh; wanted --lm FILE"),
        ({"hotword_score": 2.0}, r"hotword_score without hotwords has nothing to reward; wanted --hotwords FILE"),
        ({"beam": 5, "beta": 1.0, "closed_vocab": True}, r"beta, closed_vocab without an n-gram has nothing to weigh"),
        ({"unk_score": -3.0}, r"unk_score without an n-gram"),
        ({"token_alpha": 0.5, "token_beta": 0.0}, r"token_alpha, token_beta without an n-gram"),
        ({"unit": "token"}, r".*unit.*wanted --lm FILE"),
        ({"engine": "pyctcdecode"}, r"pyctcdecode without an n-gram is not offered; wanted --lm FILE, or --engine nat"),
        ({"engine": "kenlm"}, r"decode\.engine is 'kenlm'; wanted one of native, pyctcdecode"),
        ({"betta": 1.0}, r"a search has no option 'betta'; did you mean 'beta'\?"),
        ({"prune": 1.0, "lm": "words"}, r"a search has no option 'prune'"),
        ({"beam": 0}, r"decode\.beam is 0; wanted 1 to 100000"),
        ({"beam": 2.5, "lm": "words"}, r"decode\.beam is 2\.5; wanted a whole number"),
        ({"alpha": "much", "lm": "words"}, r"decode\.alpha is 'much'; wanted a number"),
        ({"alpha": -1, "lm": "words"}, r"decode\.alpha is -1\.0; wanted 0 to 100"),
        (
            {"lm": "labels", "token_lm": "labels"},
            r".*labels\.arpa and .*labels\.arpa are both n-grams of labels; wanted",
        ),
        ({"lm": "words", "unit": "token", "token_lm": "labels"}, r".*words\.arpa and .* are both n-grams of labels"),
        (
            {"lm": "words", "token_lm": "packed", "engine": "pyctcdecode"},
            r".*words\.lm is a packed n-gram, which KenLM",
        ),
        ({"lm": "labels", "engine": "pyctcdecode"}, r".*labels\.arpa is an n-gram of labels, which pyctcdecode cannot"),
        (
            {"lm": "words", "token_lm": "labels", "engine": "pyctcdecode"},
            r".*labels\.arpa is an n-gram of labels, which",
        ),
        (
            {"lm": "words", "closed_vocab": True, "engine": "pyctcdecode"},
            r"closed_vocab is not for pyctcdecode; wanted",
        ),
        (
            {"lm": "words", "hotwords": ("a",), "engine": "pyctcdecode"},
            r"hotwords is not for pyctcdecode; wanted --eng",
        ),
        ({"lm": "binary", "hotwords": ("a",)}, r"hotwords is not for pyctcdecode"),
        ({"lm": "packed", "engine": "pyctcdecode"}, r".*words\.lm is a packed n-gram, which KenLM cannot read; wanted"),
        (
            {"lm": "binary", "engine": "native"},
            r".*words\.bin is a KenLM binary, which only --engine pyctcdecode reads",
        ),
        (
            {"token_lm": "binary"},
            r".*words\.bin is a KenLM binary.*; wanted .*\.arpa",
        ),
        ({"lm": "words", "hotwords": ("c",)}, r"the hotword 'c' has letters that the tokenizer cannot spell"),
        ({"lm": "none"}, r".*none\.arpa cannot be read: No such file"),
        ({"token_lm": "none"}, r".*none\.arpa cannot be read: No such file"),
        ({"lm": "folder"}, r".* is a folder and no packed n-gram; wanted an \.arpa"),
    ],
)
def test_what_is_refused(lms: Lms, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    paths = vars(lms) | {"none": tmp_path / "none.arpa", "folder": tmp_path}
    given = {name: paths.get(value, value) if "lm" in name else value for name, value in given.items()}
    with pytest.raises(AsrkitError, match=f"^{message}") as refused:
        opened(**given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("lm", "name"),
    [
        ("words", "token_alpha"),
        ("words", "token_beta"),
        ("labels", "alpha"),
        ("labels", "beta"),
        ("labels", "unk_score"),
    ],
)
def test_a_weight_of_an_n_gram_that_is_not_there_is_refused(lms: Lms, lm: str, name: str) -> None:
    """Else the weight of an n-gram of labels would be looked for in vain under the other name."""
    with pytest.raises(AsrkitError, match=f"{name}.*wanted"):
        opened(lm=vars(lms)[lm], **{name: -0.5 if name == "unk_score" else 0.5})


def test_options_of_the_recipe_need_no_n_gram() -> None:
    """They are there for whoever gives one."""
    assert opened(settings=DecodeSettings(alpha=2.0, closed_vocab=True, beam=7)).engine == "greedy"
    assert opened(settings=DecodeSettings(alpha=2.0, beam=7), n_best=2).options == DecodeSettings(
        alpha=2.0, beam=7, n_best=2
    )


def test_given_options_go_before_the_settings() -> None:
    settings = DecodeSettings(alpha=2.0, beam=7)
    assert with_options(settings, {"beam": 9, "hotwords": ["a b"]}) == DecodeSettings(
        alpha=2.0, beam=9, hotwords=("a b",)
    )
    assert with_options(settings, {}) == settings


# What is not needed is not loaded -----------------------------------------------------------------------------------

_OUR_OWN = """
import sys, numpy as np
from pathlib import Path
import asrkit.decode, asrkit.recogniser, asrkit.tune
from asrkit.decoder import open_decoder
from asrkit.settings import DecodeSettings
from asrkit.tokenizer import CharacterTokenizer
tokenizer = CharacterTokenizer(" ab")
decoder = open_decoder(tokenizer, DecodeSettings(), {}, lm=Path(sys.argv[1]), token_lm=Path(sys.argv[2]))
decoder.search(np.log(np.full((3, 4), 0.25)))
print(sorted({"pyctcdecode", "kenlm", "pygtrie"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_our_own_search_needs_neither_pyctcdecode_nor_kenlm(lms: Lms) -> None:
    """Not every machine has them."""
    command = [sys.executable, "-c", _OUR_OWN, str(lms.words), str(lms.labels)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_compiling_is_said_where_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    opened(told, beam=5)
    assert told.said == []
    monkeypatch.setattr("asrkit.decoder.COMPILING_S", 0.0)
    monkeypatch.setattr("asrkit.native_search.NativeSearch.decode", slowly)
    opened(told, beam=5)
    assert told.said == ["compiling the search for this machine: once, about 20 s"]


def slowly(self: object, log_probs: LogProbs) -> list[object]:
    assert np.exp(log_probs).sum() == pytest.approx(1.0)
    time.sleep(0.1)
    return []
