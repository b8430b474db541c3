"""arpa.py, automaton.py, packed.py: scores as KenLM's and by hand, packs, and files that are broken in many ways."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import kenlm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.arpa import read_arpa
from asrkit.automaton import Automaton, build_automaton
from asrkit.errors import AsrkitError
from asrkit.kneser_ney import Pruning, build_arpa
from asrkit.packed import read_pack, write_pack

ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.5
-0.9\t</s>
-0.7\tgrün\t-0.3
-0.8\tblau\t-0.2

\\2-grams:
-0.4\t<s> grün\t-0.1
-0.6\tgrün blau\t-0.25
-0.3\tblau </s>
-0.5\tblau grün

\\3-grams:
-0.2\t<s> grün blau
-0.15\tgrün blau </s>

\\end\\
"""


def model(text: str | bytes, folder: Path, name: str = "lm.arpa") -> Automaton:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return build_automaton(read_arpa(path), path)


@pytest.mark.parametrize(
    ("sentence", "score"),
    [
        ("grün blau", -0.4 - 0.2 - 0.15),  # all three as trigrams
        ("blau", (-0.5 - 0.8) - 0.3),  # back-off of <s>; then blau </s>
        ("grün grün", -0.4 + (-0.1 - 0.3 - 0.7) + (-0.3 - 0.9)),  # back-offs of "<s> grün" and of "grün", twice
        ("rot blau", (-0.5 - 1.5) + -0.8 - 0.3),  # behind an unknown word there is no context
        ("", -0.5 - 0.9),
    ],
)
def test_scores_by_hand(sentence: str, score: float, tmp_path: Path) -> None:
    assert model(ARPA, tmp_path).sentence_score(sentence.split()) == pytest.approx(score, abs=1e-6)


def test_states_that_nothing_can_tell_apart_are_one(tmp_path: Path) -> None:
    lm = model(ARPA, tmp_path)
    grün, blau = lm.number("grün"), lm.number("blau")
    _, after_known = lm.score(lm.score(lm.start, blau)[1], grün)  # "blau grün": nothing follows it, no back-off
    _, after_unknown = lm.score(lm.score(lm.start, lm.unknown)[1], grün)
    assert after_known == after_unknown
    assert lm.number("rot") == lm.unknown == lm.number("<unk>")
    assert lm.order == 3 and lm.counts == (5, 4, 2) and lm.unreachable == 0


VARIANTS: dict[str, Callable[[str], bytes]] = {
    "Windows' line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "spaces for tabs": lambda text: text.replace("\t", "  ").encode(),
    "comments and blank lines": lambda text: ("# made by hand\n\n" + text.replace("\\2-", "\n\n\\2-")).encode(),
    "no line end": lambda text: text.rstrip().encode(),
    "exponents": lambda text: text.replace("-0.25", "-2.5e-1").replace("-0.7", "-7E-01").encode(),
    "another order of lines": lambda text: (
        text.replace("-0.4\t<s> grün\t-0.1\n", "")
        .replace("-0.3\tblau </s>\n", "-0.3\tblau </s>\n-0.4\t<s> grün\t-0.1\n")
        .encode()
    ),
    "many digits": lambda text: text.replace("-0.8\t", "-0.80000000000000000000000\t").encode(),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_ways_to_write_the_same_model(variant: str, tmp_path: Path) -> None:
    lm = model(VARIANTS[variant](ARPA), tmp_path)
    for sentence in ("grün blau", "blau grün grün", "rot"):
        assert lm.sentence_score(sentence.split()) == pytest.approx(
            model(ARPA, tmp_path, "plain.arpa").sentence_score(sentence.split()), abs=1e-6
        )


def test_a_file_read_in_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model(ARPA, tmp_path)
    monkeypatch.setattr("asrkit.arpa.CHUNK_BYTES", 7)
    pieces = model(ARPA, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(whole.tables, pieces.tables, strict=True))


def test_a_model_without_unk_and_a_long_n_gram_without_its_context(tmp_path: Path) -> None:
    text = ARPA.replace("ngram 1=5", "ngram 1=4").replace("-1.5\t<unk>\n", "")
    lm = model(text.replace("-0.2\t<s> grün blau", "-0.2\tgrün grün blau"), tmp_path)
    assert lm.unreachable == 1  # "grün grün" is no 2-gram
    assert lm.sentence_score(["rot"]) == pytest.approx((-0.5 - 100) - 0.9)


Change = Callable[[str], str]


def replaced(old: str, new: str) -> Change:
    return lambda text: text.replace(old, new)


BROKEN: dict[str, tuple[Change, str]] = {
    "not an ARPA": (lambda text: "once upon a time\n", r"line 1 is 'once upon a time'; wanted '\\data\\'"),
    "empty": (lambda text: "", r"ends after line 0; wanted '\\data\\'"),
    "no counts": (replaced("ngram 1=5\n", ""), r"line 2 is 'ngram 2=4'; wanted 'ngram 1=COUNT'"),
    "fewer than promised": (replaced("2=4", "2=5"), "has 4 2-grams where its head says 5"),
    "more than promised": (replaced("2=4", "2=3"), r"line 17 is '-0.5.*blau grün'; wanted '\\3-grams:'"),
    "no section": (replaced("\\3-grams:\n", ""), r"line 19 is .*; wanted '\\3-grams:'"),
    "cut short": (lambda text: text[: text.index("-0.15")], "ends after line 20; wanted 1 more 3-grams"),
    "no end": (replaced("\\end\\", ""), r"ends after line 23; wanted '\\end\\'"),
    "not a number": (replaced("-0.8\t", "nan\t"), "line 11 is .*; wanted a log10, 1 words"),
    "a back-off that is none": (replaced("-0.25", "x"), "line 15 is .*; wanted a log10, 2 words"),
    "too few words": (replaced("grün blau </s>", "blau </s>"), "line 21 is .*; wanted a log10, 3 words"),
    "a word of its own": (replaced("blau grün", "blau rot"), "line 17 is .*; wanted words that are among the 1-grams"),
    "a probability over 1": (replaced("-0.4\t", "0.4\t"), "line 14 is .*; wanted a probability of 1 or less"),
    "a word twice": (replaced("-0.8\tblau", "-0.8\tgrün"), "line 11 is .*; wanted each n-gram once"),
    "an n-gram twice": (replaced("blau grün", "blau </s>"), "has the n-gram 'blau </s>' twice"),
    "no sentence end": (replaced("</s>", "<e>"), "has no </s> among its 1-grams"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_clear_line(name: str, tmp_path: Path) -> None:
    change, message = BROKEN[name]
    with pytest.raises(AsrkitError, match=message) as caught:
        model(change(ARPA), tmp_path)
    assert str(tmp_path / "lm.arpa") in str(caught.value) and "\n" not in str(caught.value)


def test_other_encodings_and_packings_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"word of 1-gram 4 is not UTF-8 \(as Latin-1 it would be 'grün'\)"):
        model(ARPA.encode("latin-1"), tmp_path)
    with pytest.raises(AsrkitError, match="damaged or truncated gzip"):
        model(gzip.compress(ARPA.encode())[:-20], tmp_path)
    with pytest.raises(AsrkitError, match="packed with bzip2"):
        model(b"BZh91AY", tmp_path)
    with pytest.raises(AsrkitError, match="cannot be read: No such file"):
        read_arpa(tmp_path / "none.arpa")


# KenLM's own scores ------------------------------------------------------------------------------------------------

SENTENCES = st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), min_size=2, max_size=10)


@given(SENTENCES, st.integers(2, 5), st.sampled_from([(0,), (0, 0, 1), (0, 1)]), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_scores_of_small_models_as_kenlm_gives_them(
    tmp_path_factory: pytest.TempPathFactory,
    sentences: list[list[str]],
    order: int,
    thresholds: tuple[int, ...],
    rng: random.Random,
) -> None:
    path = tmp_path_factory.mktemp("lm") / "lm.arpa"
    pruning = Pruning(thresholds=thresholds[:order])
    build_arpa(sentences, order, path, pruning=pruning, discount_fallback=True)
    lm, theirs = build_automaton(read_arpa(path), path), kenlm.Model(str(path))
    for _ in range(20):
        words = rng.choices("abcdefg", k=rng.randint(0, 7))  # g is unknown
        assert lm.sentence_score(words) == pytest.approx(theirs.score(" ".join(words)), abs=1e-4)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tiny.o3fallback", "tiny"),
        ("en_ljspeech.o3", "en_ljspeech"),
        ("en_ljspeech.o4p0011", "en_ljspeech"),
        ("en_ljspeech.o2vocab", "en_ljspeech"),
        ("uk_tts.o3", "uk_tts"),
    ],
)
def test_10_000_sentences_as_kenlm_scores_them(name: str, text: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "reference" / "lm"
    path = tmp_path / "lm.arpa"
    path.write_bytes(gzip.decompress((folder / f"{name}.arpa.gz").read_bytes()))
    lm, theirs = build_automaton(read_arpa(path), path), kenlm.Model(str(path))
    lines = [line.split() for line in (folder / f"{text}.norm.txt").read_text(encoding="utf-8").splitlines()]
    rng = random.Random(1)
    for _ in range(10_000):
        words = list(rng.choice(lines))
        for _ in range(rng.randint(0, 3)):
            words.insert(rng.randint(0, len(words)), rng.choice([rng.choice(rng.choice(lines) or ["x"]), "qqzx"]))
        assert abs(lm.sentence_score(words) - theirs.score(" ".join(words))) < 1e-4


# Packed ------------------------------------------------------------------------------------------------------------


def test_a_pack_scores_as_its_file_and_is_mapped(tmp_path: Path) -> None:
    lm = model(ARPA, tmp_path)
    write_pack(lm, tmp_path / "pack", source=tmp_path / "lm.arpa")
    packed = read_pack(tmp_path / "pack")
    for sentence in ("grün blau", "blau rot grün grün", ""):
        assert packed.sentence_score(sentence.split()) == lm.sentence_score(sentence.split())
    assert isinstance(packed.tables.slots.base, np.memmap)
    marker = json.loads((tmp_path / "pack" / "pack.json").read_text(encoding="utf-8"))
    assert marker["source"]["name"] == "lm.arpa" and marker["counts"] == [5, 4, 2]
    write_pack(lm, tmp_path / "pack", source=tmp_path / "lm.arpa")  # in place of the old one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm.arpa", "pack"]


def _cut(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def _set(path: Path, value: int, field: str | None = None) -> None:
    array = np.load(path)
    (array if field is None else array[field])[:] = value
    np.save(path, array)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "of another format": (
        lambda pack: (pack / "pack.json").write_text('{"format": 9}', encoding="utf-8"),
        "packed n-gram of format 9; this version of asrkit reads 1",
    ),
    "without its marker": (lambda pack: (pack / "pack.json").unlink(), "is no packed n-gram, or a damaged one"),
    "without an array": (lambda pack: (pack / "slots.npy").unlink(), "is no packed n-gram, or a damaged one"),
    "with half an array": (lambda pack: _cut(pack / "slots.npy"), "slots is a hash table of 15 entries"),
    "with states beyond": (lambda pack: _set(pack / "unigrams.npy", 99, "after"), "unigrams lead to states beyond"),
    "with negative states": (lambda pack: _set(pack / "states.npy", -1, "shorter"), "states lead to states beyond"),
    "with a full hash table": (lambda pack: _set(pack / "slots.npy", 7, "key"), "its hash tables have no end"),
    "with words beyond": (lambda pack: _set(pack / "word_slots.npy", 9), "its hash tables have no end"),
    "with other words": (lambda pack: _cut(pack / "words.npy"), "words and word_offsets do not go together"),
    "with pickled objects": (
        lambda pack: np.save(pack / "slots.npy", np.array([{}], dtype=object), allow_pickle=True),
        "is no packed n-gram, or a damaged one",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_pack_is_one_clear_line(name: str, tmp_path: Path) -> None:
    change, message = DAMAGED[name]
    write_pack(model(ARPA, tmp_path), tmp_path / "pack", source=tmp_path / "lm.arpa")
    change(tmp_path / "pack")
    with pytest.raises(AsrkitError, match=message):
        read_pack(tmp_path / "pack")


def test_a_pack_takes_no_other_folders_place(tmp_path: Path) -> None:
    lm = model(ARPA, tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(AsrkitError, match="is there already and is no packed n-gram"):
        write_pack(lm, tmp_path / "mine", source=tmp_path / "lm.arpa")
