"""tokenizer.py: exact round trips, the blank at 0, the same tokenizer from the same text, errors in one line."""

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import AsrkitError
from asrkit.settings import TokenizerSettings
from asrkit.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

TEXTS = [
    "hello world",
    "how are you",
    "the world is well",
    "she's here again",
    "привіт світе",
    "the well is here",
    "안녕 하세요",
    "how is she",
] * 5
ALPHABET = sorted(set("".join(TEXTS)))
CHARACTERS = TokenizerSettings()
UNIGRAM = TokenizerSettings(kind="unigram", size=38)
BPE = TokenizerSettings(kind="bpe", size=60)
SYLLABLES, JAMO = TokenizerSettings(kind="syllables"), TokenizerSettings(kind="jamo")
KINDS = (CHARACTERS, SYLLABLES, JAMO, UNIGRAM, BPE)
ALL: dict[str, Tokenizer] = {settings.kind: train_tokenizer(settings, TEXTS) for settings in KINDS}
every_kind = pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL.keys())

normalised = st.lists(st.text(st.sampled_from([c for c in ALPHABET if c != " "]), min_size=1), max_size=8).map(" ".join)


@every_kind
@given(text=normalised)
def test_encode_then_decode_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert 0 not in ids


@every_kind
@given(text=st.text())
def test_encode_takes_exactly_what_it_spells(tokenizer: Tokenizer, text: str) -> None:
    if tokenizer.spells(text):
        tokenizer.encode(text)
    else:
        with pytest.raises(AsrkitError):
            tokenizer.encode(text)
    known = " ".join("".join(c for c in text if tokenizer.spells(c)).split())
    assert tokenizer.decode(tokenizer.encode_known(text)) == known


@given(
    texts=st.lists(st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=9), min_size=1, max_size=9)
)
def test_characters_of_any_script_round_trip(texts: list[str]) -> None:
    tokenizer = train_tokenizer(CHARACTERS, texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_character_labels_are_blank_space_and_the_sorted_characters() -> None:
    tokenizer = train_tokenizer(CHARACTERS, ["cab", "a'd"])
    assert tokenizer.labels == ("<blank>", " ", "'", "a", "b", "c", "d")
    assert tokenizer.encode("a cab") == [3, 1, 5, 3, 4]
    assert tokenizer.word_boundary == " "


HANGUL = [chr(code) for code in range(ord("가"), ord("힣") + 1)]


def test_jamo_spell_every_syllable_with_67_letters() -> None:
    tokenizer = train_tokenizer(JAMO, ["안녕 하세요"])
    assert len(HANGUL) == 11_172
    assert len(tokenizer.labels) == 1 + 1 + 19 + 21 + 27  # blank, space, initials, vowels, finals
    for syllable in HANGUL:
        ids = tokenizer.encode(syllable)
        assert len(ids) in (2, 3) and tokenizer.decode(ids) == syllable
    assert [tokenizer.labels[i] for i in tokenizer.encode("닭이")] == ["\u1103", "\u1161", "\u11b0", "\u110b", "\u1175"]


@given(text=st.text(st.sampled_from([*HANGUL[::97], " ", "a"])))
def test_jamo_of_a_text_keep_to_the_grammar_and_come_back(text: str) -> None:
    tokenizer = train_tokenizer(JAMO, ["가 a"])
    ids = tokenizer.encode(text)
    assert tokenizer.grammar is not None and tokenizer.grammar.accepts(ids)
    assert tokenizer.decode(ids) == " ".join(text.split())


@given(ids=st.lists(st.integers(1, 68), max_size=12))
def test_jamo_of_nonsense_are_all_shown_where_no_syllable_can_be_composed(ids: list[int]) -> None:
    tokenizer = train_tokenizer(JAMO, ["가"])
    shown = tokenizer.decode(ids)
    assert len(tokenizer.spell(shown).replace(" ", "")) == sum(tokenizer.labels[i] != " " for i in ids)
    assert tokenizer.grammar is not None
    if tokenizer.grammar.accepts(ids):
        assert set(shown) <= {*HANGUL, " "}


def test_jamo_that_make_no_syllable_become_letters_that_stand_alone() -> None:
    tokenizer = train_tokenizer(JAMO, ["가"])
    label = {character: number for number, character in enumerate(tokenizer.labels)}
    spelled = "\u1100\u1100\u1161\u11a8\u11a8\u1161"  # g, g-a-k, k, a
    assert tokenizer.decode([label[character] for character in spelled]) == "ㄱ각ㄱㅏ"


def test_jamo_want_hangul() -> None:
    with pytest.raises(AsrkitError, match=r"tokenizer\.kind is jamo, and the training texts hold no Hangul"):
        train_tokenizer(JAMO, ["abc"])


def test_only_jamo_have_a_grammar_and_a_spelling_of_their_own() -> None:
    assert [kind for kind, tokenizer in ALL.items() if tokenizer.grammar] == ["jamo"]
    assert [kind for kind, tokenizer in ALL.items() if tokenizer.spell("안녕") != "안녕"] == ["jamo"]


@pytest.mark.parametrize("settings", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_subword_labels_are_blank_and_pieces_without_markers(settings: TokenizerSettings) -> None:
    labels = ALL[settings.kind].labels
    assert len(labels) == settings.size and labels[0] == "<blank>"
    assert not {"<unk>", "<s>", "</s>", "<pad>"} & set(labels)
    assert any(label.startswith("▁") and len(label) > 1 for label in labels)
    assert max(map(len, labels)) > 1 and {c for c in ALPHABET if c != " "} <= set(labels)


@pytest.mark.parametrize("settings", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_subwords_keep_text_as_it_is(settings: TokenizerSettings) -> None:
    text = "ﬁne Ａ１ cafe\u0301"  # NFKC would change each word
    tokenizer = train_tokenizer(replace(settings, size=46), [*TEXTS, *[text] * 5])
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("settings", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_a_sentence_of_any_length_counts(settings: TokenizerSettings) -> None:
    rare_at_the_end = "how " * 5000 + "z"
    tokenizer = train_tokenizer(settings, [*TEXTS, rare_at_the_end])
    assert tokenizer.spells("z")


def test_decode_separates_words_by_single_spaces() -> None:
    tokenizer = train_tokenizer(CHARACTERS, ["ab"])
    assert tokenizer.decode([1, 2, 1, 1, 3, 1]) == "a b"


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(AsrkitError, match=r"no label for 'ß' \(U\+00DF\) in 'groß'"):
        train_tokenizer(CHARACTERS, ["gro"]).encode("groß")
    with pytest.raises(AsrkitError, match=r"no label for '▁'"):
        ALL["bpe"].encode("a▁a")


@every_kind
def test_saved_and_loaded_it_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    again = load_tokenizer(tmp_path / "tokenizer")
    assert (again.kind, again.labels, again.fingerprint()) == (
        tokenizer.kind,
        tokenizer.labels,
        tokenizer.fingerprint(),
    )
    assert again.encode("hello you") == tokenizer.encode("hello you")
    names = {path.name for path in (tmp_path / "tokenizer").iterdir()}
    assert names == {"tokenizer.json"} | ({"tokenizer.model"} if tokenizer.kind in ("unigram", "bpe") else set())


@every_kind
def test_it_travels_between_processes(tokenizer: Tokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).encode("hello") == tokenizer.encode("hello")  # noqa: S301


@pytest.mark.parametrize("settings", [CHARACTERS, UNIGRAM, BPE], ids=["characters", "unigram", "bpe"])
def test_the_same_text_gives_the_same_fingerprint_and_other_text_another(settings: TokenizerSettings) -> None:
    assert train_tokenizer(settings, iter(TEXTS)).fingerprint() == ALL[settings.kind].fingerprint()
    assert train_tokenizer(settings, [*TEXTS, "quartz jumps"]).fingerprint() != ALL[settings.kind].fingerprint()


def test_another_process_gives_the_same_subwords() -> None:
    program = (
        "from asrkit.tokenizer import train_tokenizer; from asrkit.settings import TokenizerSettings; "
        f"print(train_tokenizer(TokenizerSettings(kind='unigram', size=38), {TEXTS!r}).fingerprint())"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == ALL["unigram"].fingerprint()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_too_many_subwords_are_refused_with_the_largest_possible(kind: str) -> None:
    with pytest.raises(AsrkitError, match=rf"tokenizer\.size is 5000; the largest possible for {kind}") as caught:
        train_tokenizer(TokenizerSettings(kind=kind, size=5000), TEXTS)  # type: ignore[arg-type]  # one of two
    largest = int(str(caught.value).split("tokenizer.size=")[1].split()[0])
    assert len(train_tokenizer(TokenizerSettings(kind=kind, size=largest), TEXTS).labels) == largest  # type: ignore[arg-type]
    with pytest.raises(AsrkitError):
        train_tokenizer(TokenizerSettings(kind=kind, size=largest + 1), TEXTS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_fewer_subwords_than_characters_are_refused_with_the_smallest_possible(kind: str) -> None:
    with pytest.raises(AsrkitError, match=r"tokenizer\.size is 8; .* is the smallest possible") as caught:
        train_tokenizer(TokenizerSettings(kind=kind, size=8), TEXTS)  # type: ignore[arg-type]  # one of two
    smallest = int(str(caught.value).split("tokenizer.size=")[1].split()[0])
    assert len(train_tokenizer(TokenizerSettings(kind=kind, size=smallest), TEXTS).labels) == smallest  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [CHARACTERS, UNIGRAM, BPE], ids=["characters", "unigram", "bpe"])
@pytest.mark.parametrize("texts", [[], ["", ""]], ids=["none", "blank"])
def test_no_text_is_refused(settings: TokenizerSettings, texts: list[str]) -> None:
    with pytest.raises(AsrkitError, match="the training texts are empty"):
        train_tokenizer(settings, texts)


@pytest.mark.parametrize("character", ["\t", "\0", "▁", "\u2585"])
def test_what_sentencepiece_keeps_for_itself_is_refused(character: str) -> None:
    with pytest.raises(AsrkitError, match="keeps for itself"):
        train_tokenizer(BPE, [*TEXTS, f"a{character}b"])


def _damage(folder: Path, **changes: object) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_folder_that_is_broken_or_of_another_version_ends_in_one_line(tmp_path: Path) -> None:
    def refused(kind: str, match: str) -> None:
        with pytest.raises(AsrkitError, match=match) as caught:
            load_tokenizer(tmp_path / kind)
        assert "\n" not in str(caught.value)

    def saved(kind: str) -> Path:
        ALL[kind].save(tmp_path / kind)
        return tmp_path / kind

    refused("nowhere", "no tokenizer in")
    _damage(saved("characters"), schema=2)
    refused("characters", "has schema 2; this version of asrkit reads 1")
    _damage(saved("characters"), kind="words")
    refused("characters", "has kind 'words'; wanted one of characters, syllables, jamo, unigram, bpe")
    _damage(saved("characters"), labels=["a"])
    refused("characters", "damaged: its labels")
    _damage(saved("characters"), labels=["<blank>", "a"])
    refused("characters", "fingerprint")
    (saved("characters") / "tokenizer.json").write_text('{"schema": 1, "ki', encoding="utf-8")
    refused("characters", "damaged: it is no JSON")
    (saved("characters") / "tokenizer.json").write_bytes(b"\xff\xfe")
    refused("characters", "damaged: it is no JSON")
    (saved("bpe") / "tokenizer.model").write_bytes(b"no model")
    refused("bpe", "damaged: it is no SentencePiece model")
    (saved("bpe") / "tokenizer.model").write_bytes((saved("unigram") / "tokenizer.model").read_bytes())
    refused("bpe", "fingerprint")
    (saved("bpe") / "tokenizer.model").unlink()
    refused("bpe", "tokenizer is incomplete")
    (saved("bpe") / "tokenizer.model").write_bytes(b"")
    refused("bpe", "damaged")
