"""prepare: what goes in comes out or is counted, once, whatever happens on the way."""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import webdataset

from asrkit import audio
from asrkit.errors import AsrkitError
from asrkit.plan import safe_key
from asrkit.prepare import prepare
from asrkit.progress import Silent
from asrkit.recipe import Archive, Recipe, with_overrides
from asrkit.settings import SplitsSettings
from asrkit.shards import open_data
from asrkit.utterance import Utterance

Row = dict[str, Any]
ALPHABET = " abcdefghijklmnopqrstuvwxyzé"


def normalize(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def recipe(*settings: str, **parts: Any) -> Recipe:
    """A language of a few letters; half of a small corpus may be left out."""
    parts = {"read_corpus": lambda root, split: [], "normalize": normalize, "alphabet": ALPHABET} | parts
    made = Recipe(name="tiny", language="en", description="for tests", licence="none", **parts)
    return with_overrides(made, ["filters.max_dropped=0.5", *settings])


class Listener(Silent):
    """Keeps what prepare says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    warn = say

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.said += [" ".join(map(str, columns)), *(" ".join(map(str, row)) for row in rows)]


def sound(path: Path, seconds: float = 0.2, rate_hz: int = 16_000, seed: int = 0) -> str:
    """Writes noise; gives the file's name."""
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, int(seconds * rate_hz))
    soundfile.write(path, samples, rate_hz, "PCM_16", format="WAV")
    return path.name


def manifest(folder: Path, rows: Iterable[Row], name: str = "own.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """30 utterances to train on and 4 to test on, in corpus/own.jsonl."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = [
        {
            "audio": sound(folder / f"{i:02}.wav", 0.1 + i / 100, seed=i),
            "text": f"Say {chr(97 + i % 26)} {i // 26 * 'more'}",
            "speaker": f"s{i % 3}",
            "split": "train" if i < 30 else "test",
        }
        for i in range(34)
    ]
    return manifest(folder, rows).parent


def files_of(folder: Path) -> dict[str, str]:
    """Every file that must be the same however prepare came to its end, with its SHA-256."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "plan" not in path.parts]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.name not in (".lock", "source.json", "prepare.json")
    }


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """What shows whether a shard was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.tar")
    }


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
    path = manifest(tmp_path, odd_rows(tmp_path, "train"))
    listener = Listener()
    meta = prepare(recipe(*ODD), data_dir=tmp_path / "data", manifest=path, progress=listener)
    counts = meta["counts"]["train"]
    dev = meta["counts"]["dev"]
    assert counts["left_out"] == {
        "unreadable": 3,
        "empty text": 1,
        "too short": 1,
        "too long": 1,
        "characters outside the alphabet": 1,
        "duplicate key": 1,
    }
    assert counts["utterances"] + dev["utterances"] == 2 and counts["in_corpus"] + dev["in_corpus"] == 10
    assert [one["key"] for one in counts["examples"]["unreadable"]] == ["missing", "cut", "empty-file"]
    assert "cut.wav is cut off" in counts["examples"]["unreadable"][1]["detail"]
    assert counts["examples"]["too long"] == [{"key": "long", "detail": "1.50 s; filters.max_s is 1"}]
    assert counts["examples"]["characters outside the alphabet"][0]["detail"] == "'5' 'º' in 'nº 5'"
    assert counts["characters_outside"] == {"5": 1, "º": 1}
    assert json.loads((tmp_path / "data" / "own" / "prepare.json").read_text(encoding="utf-8")) == meta
    said = "\n".join(listener.said)
    assert "train, too short: short: 0.05 s; filters.min_s is 0.1" in said
    assert "characters outside the alphabet, left out with their utterances: '5' 1, 'º' 1" in said


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


def test_another_utterance_under_the_same_key_stays_in_test(tmp_path: Path) -> None:
    rows = [
        {"key": f"k{i}", "audio": sound(tmp_path / f"{i}.wav", seed=i), "text": "a", "split": "train"}
        for i in (1, 2, 3)
    ]
    rows += [{"key": "t", "audio": f"{i}.wav", "text": "b", "split": "test"} for i in "12"]
    prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows))
    index = open_data(tmp_path / "data", "own").index("test")
    keys = [index.record(i)["key"] for i in range(len(index))]
    assert len(keys) == 2 and keys[0] == "t" and keys[1].startswith("t-")


def test_too_much_left_out_ends_prepare_and_says_what_allows_it(tmp_path: Path) -> None:
    path = manifest(tmp_path, odd_rows(tmp_path, "train") + odd_rows(tmp_path, "test")[:2])
    folder = tmp_path / "data" / "own"
    with pytest.raises(AsrkitError) as error:
        prepare(recipe(*ODD, "filters.max_dropped=0.3"), data_dir=tmp_path / "data", manifest=path)
    said = str(error.value)
    assert said.startswith("train: 8 of 9 utterances left out (unreadable 3, ") and "\n" not in said
    assert said.endswith(
        "more than filters.max_dropped=0.3; mend the corpus, or allow it with filters.max_dropped=0.89"
    )
    assert not (folder / "prepare.json").exists()
    with pytest.raises(AsrkitError, match="is not prepared to the end"):
        open_data(tmp_path / "data", "own")

    before = states(folder)
    prepare(recipe(*ODD, "filters.max_dropped=0.89"), data_dir=tmp_path / "data", manifest=path)
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


@pytest.mark.parametrize(
    ("key", "safe"),
    [("plain-1_x", "plain-1_x"), ("clips/a.b c", "clips_a_b_c"), ("їжак", "їжак"), ("", ""), ("x" * 80, "x" * 80)],
)
def test_keys_become_tar_members(key: str, safe: str) -> None:
    assert safe_key(key) == safe


def test_long_keys_are_cut_and_stay_different() -> None:
    one, two = safe_key("é" * 99 + "1"), safe_key("é" * 99 + "2")
    assert one != two and max(len(key.encode()) for key in (one, two)) <= 80


def test_keys_that_look_alike_in_a_tar_stay_apart(tmp_path: Path) -> None:
    rows = [{"key": key, "audio": sound(tmp_path / "a.wav"), "text": "a"} for key in ("x.1", "x/1", "x 1", "y")]
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows))
    assert sum(counts["utterances"] for counts in meta["counts"].values()) == 4
    assert all(counts["left_out"]["duplicate key"] == 0 for counts in meta["counts"].values())


# Splits


def test_dev_takes_whole_speakers_where_there_are_twenty(tmp_path: Path) -> None:
    name = sound(tmp_path / "a.wav")
    rows = [{"key": f"k{i}", "audio": name, "text": "a", "speaker": f"s{i % 24}"} for i in range(120)]
    listener = Listener()
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows), progress=listener)
    data = open_data(tmp_path / "data", "own")
    speakers = {
        split: {data.index(split).record(i)["speaker"] for i in range(len(data.index(split)))}
        for split in ("train", "dev")
    }
    assert (
        meta["dev_from_train"] == "speaker" and meta["counts"]["dev"]["utterances"] == 5
    )  # 5 % of 120 is 6: one speaker
    assert len(speakers["dev"]) == 1 and len(speakers["train"]) == 23 and not speakers["dev"] & speakers["train"]
    assert "no dev split: 5 of 120 train utterances become 'dev' (1 of 24 speakers, by hash)" in listener.said


def test_dev_takes_no_speaker_that_is_too_large(tmp_path: Path) -> None:
    name = sound(tmp_path / "a.wav")
    rows = [{"key": f"k{i}", "audio": name, "text": "a", "speaker": f"s{min(i, 21)}"} for i in range(200)]
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows))
    assert meta["counts"]["dev"]["utterances"] == 10  # never the speaker of 179


def test_dev_goes_by_key_with_fewer_speakers(corpus: Path, tmp_path: Path) -> None:
    listener = Listener()
    metas = [
        prepare(recipe(), data_dir=tmp_path / name, manifest=corpus / "own.jsonl", progress=listener) for name in "ab"
    ]
    assert metas[0]["dev_from_train"] == "key" and metas[0]["counts"]["dev"]["utterances"] == 2  # of 30
    assert metas[0]["counts"] == metas[1]["counts"]
    assert "no dev split: 2 of 30 train utterances become 'dev' (utterances, by hash)" in listener.said


def test_text_that_train_has_too_is_counted(tmp_path: Path) -> None:
    name = sound(tmp_path / "a.wav")
    texts = [("train", "one"), ("train", "two"), ("dev", "ONE"), ("dev", "three"), ("test", "two"), ("test", " Two ")]
    rows = [{"key": f"k{i}", "audio": name, "text": text, "split": split} for i, (split, text) in enumerate(texts)]
    listener = Listener()
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows), progress=listener)
    assert [meta["counts"][split]["text_in_train"] for split in ("train", "dev", "test")] == [None, 1, 2]
    assert "dev: 1 of 2 utterances (50.0%) have a text that is in train" in listener.said


def _folder_corpus(root: Path, split: str) -> Iterable[Utterance]:
    for path in sorted((root / split).glob("*.wav")):
        yield Utterance(key=path.stem, audio=path, text="a")


@pytest.fixture
def declared(tmp_path: Path) -> tuple[Recipe, Path]:
    """A recipe with two train splits, dev and test, and its corpus."""
    for split in ("clean", "other", "dev", "test"):
        (tmp_path / "root" / split).mkdir(parents=True)
        for i in range(3):
            sound(tmp_path / "root" / split / f"{split}{i}.wav", seed=i)
    splits = SplitsSettings(train=("clean", "other"), dev=("dev",), test=("test",))
    return recipe(read_corpus=_folder_corpus, splits=splits), tmp_path / "root"


def test_a_corpus_folder_is_read_by_its_recipe(declared: tuple[Recipe, Path], tmp_path: Path) -> None:
    made, root = declared
    meta = prepare(made, data_dir=tmp_path / "data", corpus_dir=root)
    assert meta["splits"] == {"train": ["clean", "other"], "dev": ["dev"], "test": ["test"]}
    assert {split: counts["utterances"] for split, counts in meta["counts"].items()} == dict.fromkeys(
        ("clean", "other", "dev", "test"), 3
    )
    assert open_data(tmp_path / "data", "tiny").index("test").record(2)["key"] == "test2"


def test_some_of_the_splits(declared: tuple[Recipe, Path], tmp_path: Path) -> None:
    made, root = declared
    meta = prepare(made, data_dir=tmp_path / "data", corpus_dir=root, splits=["other", "test"])
    assert meta["splits"] == {"train": ["other"], "dev": ["dev"], "test": ["test"]}  # dev taken from train
    assert meta["dev_from_train"] == "key"


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (["claen"], "no split 'claen'; did you mean 'clean'.*clean, other, dev, test"),
        (["dev", "test"], "no train split among dev, test; the tokenizer needs one of: clean, other"),
    ],
)
def test_wrong_splits(declared: tuple[Recipe, Path], tmp_path: Path, splits: list[str], said: str) -> None:
    with pytest.raises(AsrkitError, match=said):
        prepare(declared[0], data_dir=tmp_path / "data", corpus_dir=declared[1], splits=splits)


def test_a_declared_split_with_nothing_in_it(declared: tuple[Recipe, Path], tmp_path: Path) -> None:
    made, root = declared
    for path in (root / "other").iterdir():
        path.unlink()
    with pytest.raises(AsrkitError, match="root has no utterances in other; .* --splits clean,dev,test"):
        prepare(made, data_dir=tmp_path / "data", corpus_dir=root)
    with pytest.raises(AsrkitError, match="has no utterances$"):
        prepare(made, data_dir=tmp_path / "data", corpus_dir=tmp_path / "data", name="other")


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
        ({"manifest": "nowhere.jsonl"}, "nowhere.jsonl cannot be read"),
        ({"corpus_dir": "nowhere"}, "--corpus-dir nowhere is not a folder"),
        ({"corpus_dir": ".", "manifest": "own.jsonl"}, "both --corpus-dir and --manifest"),
        ({}, "recipe 'tiny' has nothing to download; give --corpus-dir or --manifest"),
        ({"manifest": "own.jsonl", "name": "../x"}, "--name '../x' cannot name a folder"),
        ({"manifest": "own.jsonl", "splits": ["trian"]}, r"no split 'trian'; did you mean 'train'"),
        ({"text_only": True}, "tiny is not prepared; run asrkit prepare tiny without --text-only first"),
    ],
)
def test_calls_that_cannot_serve(tmp_path: Path, how: dict[str, Any], said: str) -> None:
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
    made = recipe(read_corpus=_folder_corpus, splits=made.splits, archives=(archive,))
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


def test_a_folder_with_something_else_in_it_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "own").mkdir(parents=True)
    (tmp_path / "data" / "own" / "thesis.tex").touch()
    with pytest.raises(AsrkitError, match=r"own holds 'thesis.tex' and no source.json: it is no data set"):
        prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


def test_a_second_prepare_in_the_same_folder_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "own").mkdir(parents=True)
    with (tmp_path / "data" / "own" / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AsrkitError, match="another prepare is at work in"):
            prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


# Prepared again


def test_text_only_touches_no_audio(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    folder = tmp_path / "data" / "own"
    before, tars = open_data(tmp_path / "data", "own").index("train"), states(folder)
    for path in corpus.glob("*.wav"):
        path.unlink()

    loud = recipe(normalize=lambda text: normalize(text).upper(), alphabet=ALPHABET.upper())
    meta = prepare(loud, data_dir=tmp_path / "data", name="own", text_only=True)
    data = open_data(tmp_path / "data", "own")
    after = data.index("train")
    assert states(folder) == tars
    assert before.record(0)["text"] == "say a" and after.record(0)["text"] == "SAY A"
    assert "A" in data.tokenizer().labels and before.fingerprint != after.fingerprint
    assert meta["source"]["manifest"] == str(corpus / "own.jsonl")
    np.testing.assert_array_equal(after.audio(0), before.audio(0))


def test_text_only_is_for_the_same_recipe(corpus: Path, tmp_path: Path) -> None:
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    other = Recipe(
        name="korean",
        language="ko",
        description="",
        licence="",
        read_corpus=_folder_corpus,
        normalize=str,
        alphabet="a",
    )
    with pytest.raises(AsrkitError, match="was made with recipe 'tiny'; this is 'korean'"):
        prepare(other, data_dir=tmp_path / "data", name="own", text_only=True)


def test_nothing_is_done_twice(corpus: Path, tmp_path: Path) -> None:
    made = recipe("audio.shard_utterances=10")
    folder = tmp_path / "data" / "own"
    prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    files, tars = files_of(folder), states(folder)
    prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    assert files_of(folder) == files and states(folder) == tars

    (folder / "train" / "shard-000001.jsonl").unlink()
    (folder / "train" / ".shard-000001.tar.99.part").write_bytes(b"half")
    tar = folder / "test" / "shard-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1])
    prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    again = states(folder)
    assert files_of(folder) == files
    assert {name for name in tars if tars[name] != again[name]} == {"train/shard-000001.tar", "test/shard-000000.tar"}


def test_a_mended_sound_file_is_read_again(corpus: Path, tmp_path: Path) -> None:
    made = recipe("audio.shard_utterances=10")
    whole = (corpus / "31.wav").read_bytes()
    (corpus / "31.wav").write_bytes(whole[:-100])
    meta = prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    assert meta["counts"]["test"]["left_out"]["unreadable"] == 1
    tars = states(tmp_path / "data" / "own")
    (corpus / "31.wav").write_bytes(whole)
    meta = prepare(made, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    again = states(tmp_path / "data" / "own")
    assert meta["counts"]["test"]["utterances"] == 4
    assert {name for name in tars if tars[name] != again[name]} == {"test/shard-000000.tar"}


def test_other_audio_settings_make_the_shards_anew_and_say_so(corpus: Path, tmp_path: Path) -> None:
    listener = Listener()
    folder = tmp_path / "data" / "own"
    prepare(recipe("audio.shard_utterances=10"), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    opus = recipe("audio.shard_utterances=30", "audio.codec=opus")
    prepare(opus, data_dir=tmp_path / "data", manifest=corpus / "own.jsonl", progress=listener)
    assert "3 of 3 shards are from another state of the corpus or audio settings: made anew" in listener.said
    assert len(list((folder / "train").glob("shard-*"))) == 2  # those behind are gone
    assert open_data(tmp_path / "data", "own").index("test").audio(0).shape == (6400,)

    fresh = prepare(opus, data_dir=tmp_path / "fresh", manifest=corpus / "own.jsonl")
    assert files_of(folder) == files_of(tmp_path / "fresh" / "own") and fresh["counts"]


# Things that end prepare before its time


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(corpus: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # bytes; a write behind it fails as on a full disk
    try:
        with pytest.raises(AsrkitError, match=r"no room left to write .*; free some space and start again"):
            prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    folder = tmp_path / "data" / "own"
    assert states(folder) == {} and list(folder.rglob("*.part")) == []
    prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")
    assert len(open_data(tmp_path / "data", "own").index("train")) == 28


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def mkdir(path: Path, *how: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)  # the tests may run as root, whom permissions do not stop
    with pytest.raises(AsrkitError, match=rf"own cannot be written \({os.strerror(number)}\)"):
        prepare(recipe(), data_dir=tmp_path / "data", manifest=corpus / "own.jsonl")


RUN = """
import sys, unicodedata
from pathlib import Path
from asrkit.prepare import prepare
from asrkit.recipe import Recipe, with_overrides
made = Recipe(name="tiny", language="en", description="", licence="", read_corpus=lambda root, split: [],
              normalize=lambda text: " ".join(text.lower().split()), alphabet=" abcdefghijklmnopqrstuvwxyz")
made = with_overrides(made, ["audio.shard_utterances=4"])
prepare(made, data_dir=sys.argv[1], manifest=sys.argv[2], workers=int(sys.argv[3]))
"""


def start(data_dir: Path, path: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, str(data_dir), str(path), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_processes_make_no_difference(corpus: Path, tmp_path: Path) -> None:
    metas = [
        prepare(
            recipe("audio.shard_utterances=4"), data_dir=tmp_path / f"{n}", manifest=corpus / "own.jsonl", workers=n
        )
        for n in (1, 2)
    ]
    assert metas[0] == metas[1]
    assert files_of(tmp_path / "1" / "own") == files_of(tmp_path / "2" / "own")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_prepare_in_one_line(tmp_path: Path) -> None:
    name = sound(tmp_path / "long.wav", 30)
    rows = [{"key": f"k{i}", "audio": name, "text": "a"} for i in range(200)]

    def kill() -> None:
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.01)
        os.kill(workers[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(AsrkitError, match="a worker process was killed, perhaps because memory ran out"):
        prepare(
            recipe("audio.shard_utterances=20"),
            data_dir=tmp_path / "data",
            manifest=manifest(tmp_path, rows),
            workers=2,
        )
    thread.join()
    assert not (tmp_path / "data" / "own" / "prepare.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_started_again_it_ends_with_the_same_files(corpus: Path, tmp_path: Path, workers: int) -> None:
    began = time.monotonic()
    assert start(tmp_path / "calm", corpus / "own.jsonl", workers).wait(60) == 0
    took_s = time.monotonic() - began
    for share in (0.5, 0.7, 0.9):
        process = start(tmp_path / "data", corpus / "own.jsonl", workers)
        time.sleep(share * took_s)
        process.kill()
        process.wait(60)
    assert start(tmp_path / "data", corpus / "own.jsonl", workers).wait(60) == 0
    assert files_of(tmp_path / "data" / "own") == files_of(tmp_path / "calm" / "own")


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    name = sound(tmp_path / "long.wav", 30)
    path = manifest(tmp_path, [{"key": f"k{i}", "audio": name, "text": "a"} for i in range(2000)])
    process = start(tmp_path / "data", path, 2)
    folder = tmp_path / "data" / "own"
    while not states(folder):  # the first shards are done, most are not
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: parent and workers
    assert process.wait(10) != 0
    assert list(folder.rglob("*.part")) == [] and not (folder / "prepare.json").exists()
    assert states(folder)
