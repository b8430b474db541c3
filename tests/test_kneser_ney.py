"""kneser_ney.py: a model computed by hand, a plain implementation, lmplz's models on real text, and refusals."""

import gzip
import math
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.errors import AsrkitError
from asrkit.kneser_ney import MEMORY_MB, OUTSIDE_MB, Pruning, build_arpa

Entries = dict[str, tuple[float, float]]
Words = tuple[str, ...]


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


# Against a plain implementation ------------------------------------------------------------------------------------


def plain_counts(sentences: Sequence[Sequence[str]], order: int) -> tuple[list[Counter[Words]], list[Counter[Words]]]:
    """Occurrences and adjusted counts (Heafield et al. 2013, section 3.2), by length."""
    occurrences = [Counter[Words]() for _ in range(order + 1)]
    before: list[defaultdict[Words, set[str]]] = [defaultdict(set) for _ in range(order + 1)]
    for sentence in sentences:
        words = ("<s>", *sentence, "</s>")
        for n in range(1, order + 1):
            for first in range(len(words) - n + 1):
                ngram = words[first : first + n]
                occurrences[n][ngram] += 1
                if first:
                    before[n][ngram].add(words[first - 1])
    del occurrences[1][("<s>",)]
    adjusted = [
        Counter(
            {
                ngram: count if n == order or ngram[0] == "<s>" else len(before[n][ngram])
                for ngram, count in counted.items()
            }
        )
        for n, counted in enumerate(occurrences)
    ]
    return occurrences[1:], adjusted[1:]


def plain_model(sentences: Sequence[Sequence[str]], order: int, pruning: Pruning, fixed: bool) -> list[Entries]:
    """Interpolated modified Kneser-Ney, formula by formula (section 3.3), as log10 probability and back-off."""
    occurrences, adjusted = plain_counts(sentences, order)
    lower: dict[Words, float] = {}
    model: list[Entries] = []
    back_offs: list[dict[Words, float]] = []
    for n in range(1, order + 1):
        counts = adjusted[n - 1]
        seen = Counter(counts.values())
        share = seen[1] / (seen[1] + 2 * seen[2]) if seen[1] else 0
        discount = {1: 0.5, 2: 1.0, 3: 1.5}
        if not fixed:
            discount = {i: i - (i + 1) * share * seen[i + 1] / seen[i] for i in (1, 2, 3)}
        kept = {
            ngram
            for ngram, count in occurrences[n - 1].items()
            if (n == 1 or count > pruning.threshold(n))
            and (pruning.words is None or all(word in pruning.words or word in ("<s>", "</s>") for word in ngram))
        }
        total: Counter[Words] = Counter()
        left: defaultdict[Words, float] = defaultdict(float)
        for ngram, count in counts.items():
            total[ngram[:-1]] += count
            left[ngram[:-1]] += discount[min(count, 3)] if ngram in kept else count
        back_off = {context: left[context] / total[context] for context in total}
        uniform = 1 / (len(kept) + 1)
        p = {
            ngram: (counts[ngram] - discount[min(counts[ngram], 3)]) / total[ngram[:-1]]
            + back_off[ngram[:-1]] * (lower[ngram[1:]] if n > 1 else uniform)
            for ngram in kept
        }
        if n == 1:
            p |= {("<unk>",): back_off[()] * uniform, ("<s>",): 1.0}
        back_offs.append(back_off)
        lower = p
        model.append({" ".join(ngram): (math.log10(value), 0.0) for ngram, value in p.items()})
    for entries, back_off in zip(model, back_offs[1:], strict=False):
        for ngram, (value, _) in entries.items():
            entries[ngram] = value, math.log10(back_off.get(tuple(ngram.split()), 1.0))
    return model


TEXTS = st.lists(st.lists(st.sampled_from("abcdeé한"), max_size=7), min_size=1, max_size=12)
PRUNINGS = st.builds(
    Pruning,
    thresholds=st.sampled_from([(0,), (0, 1), (0, 0, 1), (0, 1, 2)]),
    words=st.none() | st.frozensets(st.sampled_from("abcdx"), min_size=1),
)


@given(TEXTS, st.integers(3, 5), PRUNINGS)
@settings(max_examples=60, deadline=None)
def test_equal_to_a_plain_implementation(texts: list[list[str]], order: int, pruning: Pruning) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lm.arpa"
        counts = build_arpa(texts, order, path, pruning=pruning, discount_fallback=True)
        found = read_arpa(path.read_text(encoding="utf-8"))
    fixed = [not estimable(adjusted) for adjusted in plain_counts(texts, order)[1]]
    if not all(fixed):
        return  # a part of the orders has discounts of its own: the real texts below have them all
    wanted = plain_model(texts, order, pruning, True)
    assert counts == [len(entries) for entries in wanted]
    for found_entries, wanted_entries in zip(found, wanted, strict=True):
        assert found_entries.keys() == wanted_entries.keys()
        for ngram, values in wanted_entries.items():
            assert found_entries[ngram] == pytest.approx(values, abs=2e-6), ngram


def estimable(adjusted: Counter[Words]) -> bool:
    seen = Counter(adjusted.values())
    return all(seen[count] for count in (1, 2, 3))


def drawn_text(seed: int, sentences: int) -> list[list[str]]:
    """Words with Zipf's frequencies: enough of all counts for discounts of their own."""
    rng = random.Random(seed)
    words, weights = [f"w{i}" for i in range(300)], [1 / (i + 1) for i in range(300)]
    return [rng.choices(words, weights, k=rng.randint(0, 12)) for _ in range(sentences)]


LIMITED = Pruning(thresholds=(0, 0, 1), words=frozenset(f"w{i}" for i in range(90)))


@pytest.mark.parametrize("pruning", [Pruning(), LIMITED])
def test_estimated_discounts_as_in_a_plain_implementation(pruning: Pruning, tmp_path: Path) -> None:
    sentences = drawn_text(1, 800)
    build_arpa(sentences, 3, tmp_path / "lm.arpa", pruning=pruning)
    found = read_arpa((tmp_path / "lm.arpa").read_text(encoding="utf-8"))
    for found_entries, wanted in zip(found, plain_model(sentences, 3, pruning, False), strict=True):
        assert found_entries.keys() == wanted.keys()
        assert all(found_entries[ngram] == pytest.approx(wanted[ngram], abs=2e-6) for ngram in wanted)


@pytest.mark.parametrize("windows", [50, 2_000])
def test_in_many_parts_the_same_bytes(windows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = drawn_text(2, 600)
    build_arpa(sentences, 4, tmp_path / "one.arpa", pruning=LIMITED, discount_fallback=True)
    monkeypatch.setattr("asrkit.ngram_counts.CHUNK_WORDS", 1_000)
    monkeypatch.setattr("asrkit.ngram_counts.BLOCK_SENTENCES", 50)
    monkeypatch.setattr("asrkit.kneser_ney.BYTES_PER_WINDOW", ((MEMORY_MB - OUTSIDE_MB) * 1e6 / windows, 0))
    build_arpa(sentences, 4, tmp_path / "many.arpa", pruning=LIMITED, discount_fallback=True)
    assert (tmp_path / "one.arpa").read_bytes() == (tmp_path / "many.arpa").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.arpa", "one.arpa"]


# lmplz's models on real text ---------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "text", "order", "thresholds", "limited"),
    [
        ("tiny.o3fallback", "tiny", 3, (0,), False),
        pytest.param("en_ljspeech.o3", "en_ljspeech", 3, (0,), False, marks=pytest.mark.slow),
        pytest.param("en_ljspeech.o4p0011", "en_ljspeech", 4, (0, 0, 1, 1), False, marks=pytest.mark.slow),
        pytest.param("en_ljspeech.o2vocab", "en_ljspeech", 2, (0,), True, marks=pytest.mark.slow),
        pytest.param("uk_tts.o3", "uk_tts", 3, (0,), False, marks=pytest.mark.slow),
    ],
)
def test_equal_to_lmplz(
    name: str, text: str, order: int, thresholds: tuple[int, ...], limited: bool, shared: Path, tmp_path: Path
) -> None:
    folder = shared / "reference" / "lm"
    sentences = [line.split() for line in (folder / f"{text}.norm.txt").read_text(encoding="utf-8").splitlines()]
    words = frozenset((folder / "vocab2000.txt").read_text(encoding="utf-8").split()) if limited else None
    pruning = Pruning(thresholds=thresholds, words=words)
    build_arpa(sentences, order, tmp_path / "ours.arpa", pruning=pruning, discount_fallback=text == "tiny")
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
    with pytest.raises(AsrkitError, match=r"no 1-gram has an adjusted count of 3; .*--discount-fallback"):
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
    with pytest.raises(AsrkitError, match="order of an n-gram model is 7; wanted 1 to 6"):
        build_arpa([["a"]], 7, tmp_path / "none.arpa")
    with pytest.raises(AsrkitError, match="memory is 100 MB; wanted 300 MB or more"):
        build_arpa([["a"]], 2, tmp_path / "none.arpa", memory_mb=100)
    with pytest.raises(AsrkitError, match="cannot be written: there is no folder"):
        build_arpa([["a"]], 2, tmp_path / "nowhere" / "none.arpa", discount_fallback=True)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ((), "prune is ''; wanted one threshold for each order"),
        ((1, 1), "prune is '1,1'; wanted one threshold for each order, 0 for words"),
        ((0, 2, 1), "prune is '0,2,1'; wanted thresholds that do not fall"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(thresholds: tuple[int, ...], message: str) -> None:
    with pytest.raises(AsrkitError, match=message):
        Pruning(thresholds=thresholds)


def test_more_thresholds_than_orders_and_an_empty_word_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="prune has 3 thresholds for 2 orders; wanted 2 at most"):
        build_arpa([["a"]], 2, tmp_path / "none.arpa", pruning=Pruning(thresholds=(0, 0, 1)))
    with pytest.raises(AsrkitError, match="word list that the n-gram is limited to is empty"):
        Pruning(words=frozenset())
