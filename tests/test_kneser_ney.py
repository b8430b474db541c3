"""kneser_ney.py: a model small enough to compute by hand, lmplz's models on real text, and refusals."""

import gzip
import math
from pathlib import Path

import pytest

from asrkit.errors import AsrkitError
from asrkit.kneser_ney import build_arpa

Entries = dict[str, tuple[float, float]]


def read_arpa(text: str) -> list[Entries]:
    """n-gram -> (log10 probability, log10 back-off, 0 where none is written), one table for each order."""
    orders: list[Entries] = []
    for line in text.splitlines():
        if line.endswith("-grams:"):
            orders.append({})
        elif orders and line.count("\t"):
            probability, words, *back_off = line.split("\t")
            orders[-1][words] = (float(probability), float(back_off[0]) if back_off else 0.0)
    return orders


def test_a_bigram_model_computed_by_hand(tmp_path: Path) -> None:
    build_arpa([["a", "b"], ["a"]], 2, tmp_path / "tiny.arpa", discount_fallback=True)
    # Bigrams and their counts: <s> a 2, a b 1, b </s> 1, a </s> 1.
    # Unigrams by how many words come before: a 1, b 1, </s> 2; sum 4; discounts 0.5 (once) and 1.0 (twice).
    left = (0.5 + 0.5 + 1.0) / 4  # goes to the uniform distribution over a, b, </s>, <unk>
    a, b, end = 0.5 / 4 + left / 4, 0.5 / 4 + left / 4, 1.0 / 4 + left / 4
    after_begin, after_a, after_b = 1.0 / 2, (0.5 + 0.5) / 2, 0.5 / 1
    expected = [
        {
            "<unk>": (left / 4, 1.0),
            "<s>": (1.0, after_begin),
            "</s>": (end, 1.0),
            "a": (a, after_a),
            "b": (b, after_b),
        },
        {
            "<s> a": ((2 - 1.0) / 2 + after_begin * a, 1.0),
            "a b": ((1 - 0.5) / 2 + after_a * b, 1.0),
            "a </s>": ((1 - 0.5) / 2 + after_a * end, 1.0),
            "b </s>": ((1 - 0.5) / 1 + after_b * end, 1.0),
        },
    ]
    text = (tmp_path / "tiny.arpa").read_text(encoding="utf-8")
    assert text.startswith("\\data\\\nngram 1=5\nngram 2=4\n\n\\1-grams:\n") and text.endswith("\n\\end\\\n")
    found = read_arpa(text)
    assert [list(entries) for entries in found] == [
        ["<unk>", "<s>", "</s>", "a", "b"],
        ["a </s>", "b </s>", "<s> a", "a b"],  # by their last words
    ]
    for entries, wanted in zip(found, expected, strict=True):
        assert entries.keys() == wanted.keys()
        for ngram, values in wanted.items():
            assert entries[ngram] == pytest.approx([math.log10(value) for value in values], abs=1e-6), ngram


def test_estimated_discounts_by_hand(tmp_path: Path) -> None:
    # As unigrams (order 1 counts occurrences): a 1, b 1, c 1, d 2, e 2, f 3, </s> 1; n1 = 4, n2 = 2, n3 = 1, n4 = 0.
    build_arpa([["a", "b", "c", *"dd", *"ee", *"fff"]], 1, tmp_path / "one.arpa")
    share = 4 / (4 + 2 * 2)
    one, two, three = 1 - 2 * share * 2 / 4, 2 - 3 * share * 1 / 2, 3.0
    left = (4 * one + 2 * two + 1 * three) / 11
    (unigrams,) = read_arpa((tmp_path / "one.arpa").read_text(encoding="utf-8"))
    assert unigrams["a"][0] == pytest.approx(math.log10((1 - one) / 11 + left / 8), abs=1e-6)
    assert unigrams["d"][0] == pytest.approx(math.log10((2 - two) / 11 + left / 8), abs=1e-6)
    assert unigrams["f"][0] == unigrams["<unk>"][0] == pytest.approx(math.log10(left / 8), abs=1e-6)
    assert sum(10**value for word, (value, _) in unigrams.items() if word != "<s>") == pytest.approx(1, abs=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "text", "fallback"),
    [
        ("tiny.o3fallback", "tiny", True),
        pytest.param("en_ljspeech.o3", "en_ljspeech", False, marks=pytest.mark.slow),
        pytest.param("uk_tts.o3", "uk_tts", False, marks=pytest.mark.slow),
    ],
)
def test_equal_to_lmplz(name: str, text: str, fallback: bool, shared: Path, tmp_path: Path) -> None:
    folder = shared / "reference" / "lm"
    sentences = [line.split() for line in (folder / f"{text}.norm.txt").read_text(encoding="utf-8").splitlines()]
    build_arpa(sentences, 3, tmp_path / "ours.arpa", discount_fallback=fallback)
    ours = read_arpa((tmp_path / "ours.arpa").read_text(encoding="utf-8"))
    theirs = read_arpa(gzip.decompress((folder / f"{name}.arpa.gz").read_bytes()).decode("utf-8"))
    for found, wanted in zip(ours, theirs, strict=True):
        assert found.keys() == wanted.keys()
        assert max(abs(a - b) for ngram in wanted for a, b in zip(found[ngram], wanted[ngram], strict=True)) < 1e-4


def test_the_same_text_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    sentences = [["b", "a"], ["c"], [], ["a", "b", "c"]]
    build_arpa(sentences, 3, tmp_path / "one.arpa", discount_fallback=True)
    build_arpa(reversed(sentences), 3, tmp_path / "two.arpa", discount_fallback=True)
    assert (tmp_path / "one.arpa").read_bytes() == (tmp_path / "two.arpa").read_bytes()


def test_a_text_too_small_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"no 1-gram has an adjusted count of 3; .*discount_fallback=True"):
        build_arpa([["a", "b"], ["a"]], 2, tmp_path / "tiny.arpa")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["<s>", "<unk>", "</s>", "", "two words", "tab\there"])
def test_words_that_an_arpa_cannot_hold_are_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="which an ARPA file cannot hold"):
        build_arpa([["a", word, "b"]], 2, tmp_path / "bad.arpa", discount_fallback=True)


def test_no_sentences_order_zero_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="the text for the n-gram model is empty"):
        build_arpa([], 3, tmp_path / "none.arpa")
    with pytest.raises(AsrkitError, match="order of an n-gram model is 0"):
        build_arpa([["a"]], 0, tmp_path / "none.arpa")
    with pytest.raises(AsrkitError, match="cannot be written: there is no folder"):
        build_arpa([["a"]], 2, tmp_path / "nowhere" / "none.arpa", discount_fallback=True)
