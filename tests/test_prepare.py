"""prepare: what goes in comes out or is counted; what cannot serve is refused in one line."""

import errno
import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webdataset
from corpora import (
    ALPHABET,
    Listener,
    Row,
    folder_corpus,
    manifest,
    normalize,
    recipe,
    sound,
    states,
    write_corpus,
    write_declared_corpus,
)
from house import Told, at_work_in

from asrkit import audio
from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.recipe import Archive, Recipe, with_overrides
from asrkit.settings import SplitsSettings
from asrkit.shards import open_data
from asrkit.utterance import Utterance

NO_DEV = SplitsSettings(train=("train",), dev=(), test=("test",))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def declared(tmp_path: Path) -> tuple[Recipe, Path]:
    return write_declared_corpus(tmp_path)


# What becomes of each utterance


def odd_rows(folder: Path, split: str) -> list[Row]:
    """Ten utterances: two good ones, and eight with something about them."""
    folder.mkdir(exist_ok=True)
    good = sound(folder / "good.wav")
    cut = folder / "cut.wav"
    sound(cut, 1.0)
    cut.write_bytes(cut.read_bytes()[:5000])
    (folder / "empty.wav").write_bytes(b"")
    rows = [
        {"key": "good", "audio": good, "text": "good"},
        {"key": "also", "audio": sound(folder / "also.wav", 0.3), "text": "fine"},
        {"key": "missing", "audio": "nowhere.wav", "text": "a"},
        {"key": "cut", "audio": "cut.wav", "text": "b"},
        {"key": "empty-file", "audio": "empty.wav", "text": "c"},
        {"key": "no-text", "audio": good, "text": "  "},
        {"key": "short", "audio": sound(folder / "short.wav", 0.05), "text": "d"},
        {"key": "long", "audio": sound(folder / "long.wav", 1.5), "text": "e"},
        {"key": "outside", "audio": good, "text": "nº 5"},
        {"key": "good", "audio": good, "text": "good"},
    ]
    return [row | {"split": split} for row in rows]


ODD = ["filters.min_s=0.1", "filters.max_s=1", "filters.max_dropped=0.8"]


def test_what_is_left_out_of_train_is_counted_by_reason_with_examples(tmp_path: Path) -> None:
    path = manifest(tmp_path, [*odd_rows(tmp_path, "train"), {"audio": "also.wav", "text": "a", "split": "dev"}])
    listener = Listener()
    meta = prepare(recipe(*ODD), data_dir=tmp_path / "data", manifest=path, progress=listener)
    counts = meta["counts"]["train"]
    assert counts["left_out"] == {
        "unreadable": 3,
        "empty text": 1,
        "too short": 1,
        "too long": 1,
        "characters outside the alphabet": 1,
        "duplicate key": 1,
    }
    assert counts["utterances"] == 2 and counts["in_corpus"] == 10
    assert [one["key"] for one in counts["examples"]["unreadable"]] == ["missing", "cut", "empty-file"]
    assert "cut.wav is cut off" in counts["examples"]["unreadable"][1]["detail"]
    assert counts["examples"]["too long"] == [{"key": "long", "detail": "1.50 s; filters.max_s is 1"}]
    assert counts["examples"]["characters outside the alphabet"][0]["detail"] == "'5' 'º' in 'nº 5'"
    assert counts["characters_outside"] == {"5": 1, "º": 1}
    assert json.loads((tmp_path / "data" / "own" / "prepare.json").read_text(encoding="utf-8")) == meta
    said = "\n".join(listener.said)
    assert "train, too short: short: 0.05 s; filters.min_s is 0.1" in said
    assert "characters outside the alphabet, left out with their utterances: 2 ('5' 1, 'º' 1)" in said


def test_dev_and_test_lose_only_what_cannot_be_scored(tmp_path: Path) -> None:
    plain = [{"key": key, "audio": sound(tmp_path / f"{key}.wav"), "text": "no", "split": "train"} for key in "abcd"]
    plain[0]["split"] = "dev"
    path = manifest(tmp_path, plain + odd_rows(tmp_path, "test"))
    meta = prepare(recipe(*ODD), data_dir=tmp_path / "data", manifest=path)
    counts = meta["counts"]["test"]
    assert {reason: n for reason, n in counts["left_out"].items() if n} == {
        "unreadable": 3,
        "empty text": 1,
        "duplicate key": 1,
    }
    index = open_data(tmp_path / "data", "own").index("test")
    records = [index.record(i) for i in range(len(index))]
    assert [record["key"] for record in records] == ["good", "also", "short", "long", "outside"]
    assert records[4]["text"] == "nº 5" and index.tokens(4).tolist() == index.tokens(0).tolist()[:0] + [
        open_data(tmp_path / "data", "own").tokenizer().labels.index(character) for character in "n"
    ]


def told_corpus(folder: Path) -> list[Utterance]:
    """What a reader may tell beside the text."""
    utterances = []
    for split in ("train", "test"):
        for number in range(5):
            name = sound(folder / f"{split}{number}.wav", seed=number)
            utterances.append(
                Utterance(key=f"{split}{number}", audio=folder / name, text="abc d", split=split, speaker="x")
            )
        utterances[-1] = replace(utterances[-1], unfit="unclear speech")
        utterances[-2] = replace(utterances[-2], text="c", pronunciation="é", notes=("letters: pronunciation taken",))
    return utterances


def test_unfit_utterances_stay_out_of_train_and_are_kept_and_marked_elsewhere(tmp_path: Path) -> None:
    corpus = told_corpus(tmp_path)
    told = recipe(read_corpus=lambda root, split: [one for one in corpus if one.split == split], splits=NO_DEV)
    listener = Listener()
    meta = prepare(told, data_dir=tmp_path / "data", name="told", corpus_dir=tmp_path, progress=listener)
    assert meta["counts"]["train"]["left_out"]["unclear speech"] == 1
    assert meta["counts"]["train"]["examples"]["unclear speech"] == [{"key": "train4", "detail": "'abc d'"}]
    assert meta["counts"]["test"]["utterances"] == 5 and "unclear speech" not in meta["counts"]["test"]["left_out"]
    index = open_data(tmp_path / "data", "told").index("test")
    assert [index.record(i).get("unfit") for i in range(5)] == [None] * 4 + ["unclear speech"]
    assert meta["counts"]["test"]["notes"] == {"letters: pronunciation taken": 1}
    assert "test: letters: pronunciation taken: 1 utterances" in listener.said


def test_either_transcript_is_taken_and_both_are_kept(tmp_path: Path) -> None:
    corpus = told_corpus(tmp_path)
    told = recipe(read_corpus=lambda root, split: [one for one in corpus if one.split == split], splits=NO_DEV)
    prepare(told, data_dir=tmp_path / "data", name="told", corpus_dir=tmp_path)
    index = open_data(tmp_path / "data", "told").index("test")
    assert (index.record(3)["text"], index.record(3)["pronunciation"]) == ("c", "é")
    shards = states(tmp_path / "data" / "told")
    spoken = with_overrides(told, ["text.transcription=pronunciation"])
    prepare(spoken, data_dir=tmp_path / "data", name="told", text_only=True)
    index = open_data(tmp_path / "data", "told").index("test")
    assert [index.record(i)["text"] for i in range(5)] == ["abc d", "abc d", "abc d", "é", "abc d"]
    assert states(tmp_path / "data" / "told") == shards


def test_characters_that_train_never_had_are_counted_in_dev_and_test(tmp_path: Path) -> None:
    rows = [
        {"audio": sound(tmp_path / f"{number}.wav", seed=number), "text": text, "split": split}
        for number, (split, text) in enumerate([("train", "abc"), ("dev", "aba"), ("test", "abz zé5")])
    ]
    listener = Listener()
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows), progress=listener)
    assert meta["counts"]["test"]["characters_unspelled"] == {"z": 2, "é": 1}  # 5 is outside the alphabet altogether
    assert meta["counts"]["test"]["characters_outside"] == {"5": 1}
    assert meta["counts"]["dev"]["characters_unspelled"] == {}
    assert "test: characters without a label, kept, and counted as errors: 3 ('z' 2, 'é' 1)" in listener.said


def test_too_much_left_out_ends_prepare_and_says_what_allows_it(tmp_path: Path) -> None:
    path = manifest(tmp_path, odd_rows(tmp_path, "train") + odd_rows(tmp_path, "dev")[:2])
    folder = tmp_path / "data" / "own"
    with pytest.raises(AsrkitError) as error:
        prepare(recipe(*ODD, "filters.max_dropped=0.3"), data_dir=tmp_path / "data", manifest=path)
    said = str(error.value)
    assert said.startswith("train: 8 of 10 utterances left out (unreadable 3, ") and "\n" not in said
    assert said.endswith("more than filters.max_dropped=0.3; mend the corpus, or allow it with filters.max_dropped=0.8")
    assert not (folder / "prepare.json").exists()
    with pytest.raises(AsrkitError, match="is not prepared to the end"):
        open_data(tmp_path / "data", "own")

    before = states(folder)
    prepare(recipe(*ODD, "filters.max_dropped=0.8"), data_dir=tmp_path / "data", manifest=path)
    assert states(folder) == before  # the audio was done already


def test_a_split_of_which_nothing_remains_is_refused(tmp_path: Path) -> None:
    rows = [{"key": f"k{i}", "audio": "nowhere.wav", "text": "a"} for i in range(4)]
    with pytest.raises(AsrkitError, match=r"train: 3 of 3 .*nowhere.wav does not exist.*; none remains"):
        prepare(recipe("filters.max_dropped=1"), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows))


def test_the_index_says_what_training_needs(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    data = open_data(tmp_path / "data", "own")
    index, tokenizer = data.index("test"), data.tokenizer()
    assert index.record(0)["text"] == "say e more" and index.record(0)["text_raw"] == "Say e more"
    assert tokenizer.decode(index.tokens(0).tolist()) == "say e more"
    assert index.rows["labels"][0] == index.rows["frames"][0] == 10
    assert index.record(0)["speaker"] == "s0" and index.record(0)["duration_s"] == 0.4
    wanted = audio.read(corpus / "30.wav")
    np.testing.assert_array_equal(index.audio(0), wanted)


def test_another_recording_with_as_many_bytes_is_packed_anew(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    size = (corpus / "30.wav").stat().st_size
    wanted = 0.5 * audio.read(corpus / "30.wav")
    soundfile.write(corpus / "30.wav", wanted, audio.SAMPLE_RATE_HZ, subtype=soundfile.info(corpus / "30.wav").subtype)
    assert (corpus / "30.wav").stat().st_size == size
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    np.testing.assert_allclose(open_data(tmp_path / "data", "own").index("test").audio(0), wanted, atol=1e-4)


def test_pieces_and_channels_of_a_long_file_become_utterances(tmp_path: Path) -> None:
    left, right = (np.random.default_rng(seed).uniform(-0.3, 0.3, 32_000) for seed in (1, 2))
    soundfile.write(tmp_path / "call.flac", np.stack([left, right], axis=1), 16_000)
    rows = [
        {"audio": "call.flac", "text": "a", "start_s": 0.5, "end_s": 1.0, "channel": 0},
        {"audio": "call.flac", "text": "b", "start_s": 0.5, "end_s": 1.0, "channel": 1, "room": "hall"},
        {"audio": "call.flac", "text": "c", "split": ""},
    ]
    prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows))
    data = open_data(tmp_path / "data", "own")
    found = {}
    for split in ("train", "dev"):
        index = data.index(split)
        found |= {index.record(i)["text"]: (index.audio(i), index.record(i)) for i in range(len(index))}
    np.testing.assert_allclose(found["b"][0], right[8000:16_000], atol=1e-4)
    np.testing.assert_allclose(found["c"][0], (left + right) / 2, atol=1e-4)
    assert found["b"][1]["room"] == "hall"


def test_nfd_crlf_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    lines = [f"a.wav\t{unicodedata.normalize('NFD', 'Café')}\tk{i}\ttrain" for i in range(3)]
    path = tmp_path / "own.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["audio\ttext\tkey\tsplit", *lines]).encode() + b"\r\n")
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=path)
    assert meta["counts"]["train"]["characters_outside"] == {}
    assert open_data(tmp_path / "data", "own").index("train").record(0)["text"] == "café"


def test_a_webdataset_pipeline_reads_what_prepare_wrote(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe("audio.shard_utterances=10"), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    urls = [str(path) for path in sorted((tmp_path / "data" / "own" / "train").glob("shard-*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert len(urls) == 3 and len(samples) == 28
    first = samples[0]
    assert first["__key__"] == "00" and first["json"]["text"] == "say a" and first["json"]["speaker"] == "s0"
    np.testing.assert_array_equal(audio.decode(first["flac"]), audio.read(corpus / "00.wav"))


def test_text_that_train_has_too_is_counted(tmp_path: Path) -> None:
    name = sound(tmp_path / "a.wav")
    texts = [("train", "one"), ("train", "two"), ("dev", "ONE"), ("dev", "three"), ("test", "two"), ("test", " Two ")]
    rows = [{"key": f"k{i}", "audio": name, "text": text, "split": split} for i, (split, text) in enumerate(texts)]
    rows[3]["text_in_train"] = "the corpus says so"
    listener = Listener()
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows), progress=listener)
    assert [meta["counts"][split]["text_in_train"] for split in ("train", "dev", "test")] == [None, 1, 2]
    assert "dev: 1 of 2 utterances (50.0%) have a text that is in train" in listener.said
    data = open_data(tmp_path / "data", "own")
    assert "text_in_train" not in data.index("train").record(0)
    measured = {split: [data.index(split).record(row)["text_in_train"] for row in (0, 1)] for split in ("dev", "test")}
    assert measured == {"dev": [True, False], "test": [True, True]}


# Bad input: each ends in one clear line


BAD_MANIFESTS = [
    ("empty", b"", "own.jsonl has no utterances"),
    ("only-test", b'{"audio": "a.wav", "text": "a", "split": "test"}\n', r"no utterances of split train \(only test\)"),
    ("other-split", b'{"audio": "a.wav", "text": "a", "split": "Extra"}\n', "split 'Extra'; wanted one of train, dev"),
    (
        "half-split",
        b'{"audio": "a.wav", "text": "a", "split": "train"}\n{"audio": "b.wav", "text": "b"}\n',
        "'b' and others differ in having a split",
    ),
    ("latin-1", b'{"audio": "a.wav", "text": "caf\xe9"}\n', "line 1: byte 0xe9 .* is not UTF-8"),
    ("surrogate", b'{"audio": "a.wav", "text": "\\ud800"}\n', "of 'a' is not valid Unicode"),
    ("one", b'{"audio": "a.wav", "text": "a"}\n', r"train has 1 utterance\(s\): too few"),
]


@pytest.mark.parametrize(
    ("content", "said"), [case[1:] for case in BAD_MANIFESTS], ids=[case[0] for case in BAD_MANIFESTS]
)
def test_a_manifest_that_cannot_serve(tmp_path: Path, content: bytes, said: str) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "own.jsonl").write_bytes(content)
    with pytest.raises(AsrkitError, match=said) as error:
        prepare(recipe(), data_dir=tmp_path / "data", manifest=tmp_path / "own.jsonl")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data" / "own" / "prepare.json").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"manifest": "nowhere.jsonl"}, "--manifest nowhere.jsonl is not a file"),
        ({"corpus_dir": "nowhere"}, "--corpus-dir nowhere is not a folder; wanted the corpus, unpacked or"),
        ({"corpus_dir": ".", "manifest": "own.jsonl"}, "both --corpus-dir and --manifest"),
        ({}, "recipe 'tiny' has nothing to download; give --corpus-dir or --manifest"),
        ({"manifest": "own.jsonl", "name": "../x"}, "--name '../x' cannot name a folder"),
        ({"manifest": "own.jsonl", "splits": ["trian"]}, r"no split 'trian'; did you mean 'train'"),
        ({"text_only": True}, "tiny is not prepared; run asrkit prepare tiny without --text-only first"),
    ],
)
def test_calls_that_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jsonl").touch()
    with pytest.raises(AsrkitError, match=said):
        prepare(recipe(), data_dir=tmp_path / "data", **how)


def test_without_a_corpus_the_recipe_downloads_its_own(
    declared: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, root = declared
    asked = []

    def fetch_archives(recipe: Recipe, folder: Path, splits: list[str], progress: object) -> Path:
        asked.append((folder, splits))
        return root

    monkeypatch.setattr("asrkit.prepare.fetch_archives", fetch_archives)
    archive = Archive(url="http://localhost/a.tar.gz", md5="0", size=1, splits=("clean",))
    made = recipe(read_corpus=folder_corpus, splits=made.splits, archives=(archive,))
    prepare(made, data_dir=tmp_path / "data", splits=["clean", "test"])
    assert asked == [(tmp_path / "data" / "tiny" / "download", ["clean", "test"])]


def test_a_folder_made_from_another_source_is_refused(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    other = manifest(tmp_path, [{"audio": "corpus/01.wav", "text": "a"}])
    with pytest.raises(AsrkitError) as error:
        prepare(recipe(), data_dir=tmp_path / "data", manifest=other)
    assert str(corpus / "own.jsonl") in str(error.value) and str(other) in str(error.value)
    assert str(error.value).endswith("choose another --name")
    assert len(open_data(tmp_path / "data", "own").index("train")) == 28  # untouched


def test_a_first_try_that_failed_does_not_stand_in_the_way(corpus: Path, tmp_path: Path) -> None:
    wrong = manifest(tmp_path, [])
    with pytest.raises(AsrkitError, match="has no utterances"):
        prepare(recipe(), data_dir=tmp_path / "data", manifest=wrong)
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


def test_a_folder_with_something_else_in_it_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "own").mkdir(parents=True)
    (tmp_path / "data" / "own" / "thesis.tex").touch()
    with pytest.raises(AsrkitError, match=r"own holds 'thesis.tex' and no source.json: it is no data set"):
        prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


def test_a_second_prepare_in_the_same_folder_is_refused(corpus: Path, tmp_path: Path) -> None:
    refused = pytest.raises(AsrkitError, match=r"another prepare \(process .+\) is at work in .+own; wait for it")
    with at_work_in(tmp_path / "data" / "own", "prepare"), refused:
        prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def mkdir(path: Path, *how: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)  # the tests may run as root, whom permissions do not stop
    with pytest.raises(AsrkitError, match=rf"own cannot be written \({os.strerror(number)}\)"):
        prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


# Prepared again


def test_text_only_touches_no_audio(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    folder = tmp_path / "data" / "own"
    before, tars = open_data(tmp_path / "data", "own").index("train"), states(folder)
    assert before.record(0)["text"] == "say a"
    for path in corpus.glob("*.wav"):
        path.unlink()

    loud = recipe(normalize=lambda text: normalize(text).upper(), alphabet=ALPHABET.upper())
    meta = prepare(loud, data_dir=tmp_path / "data", name="own", text_only=True)
    data = open_data(tmp_path / "data", "own")
    after = data.index("train")
    assert states(folder) == tars
    assert after.record(0)["text"] == "SAY A"
    assert "A" in data.tokenizer().labels and before.fingerprint != after.fingerprint
    assert meta["source"]["manifest"] == str(corpus / "own.jsonl")
    np.testing.assert_array_equal(after.audio(0), before.audio(0))


def test_text_only_says_that_it_reads_no_corrected_manifest(corpus: Path, tmp_path: Path) -> None:
    manifest = corpus / "own.jsonl"
    prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest)
    plan = (tmp_path / "data" / "own" / "plan" / "plan.json").stat().st_mtime
    warned = {}
    for seconds in (-1, 1):
        told = Told()
        os.utime(manifest, (plan + seconds, plan + seconds))
        prepare(recipe(), data_dir=tmp_path / "data", name="own", text_only=True, progress=told)
        warned[seconds] = [line for line in told.warned if "was written after" in line]
    assert warned[-1] == []
    assert "prepare without --text-only where transcripts were corrected" in "".join(warned[1])


def test_text_only_is_for_the_same_recipe(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    other = Recipe(
        name="korean",
        language="ko",
        description="",
        licence="",
        read_corpus=folder_corpus,
        normalize=str,
        alphabet="a",
    )
    with pytest.raises(AsrkitError, match="was made with recipe 'tiny'; this is 'korean'"):
        prepare(other, data_dir=tmp_path / "data", name="own", text_only=True)
