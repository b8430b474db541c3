"""The plan: keys that a tar can hold, splits, and a dev split where a corpus has none."""

from pathlib import Path

import pytest
from corpora import Listener, manifest, recipe, sound, write_corpus, write_declared_corpus

from asrkit.errors import AsrkitError
from asrkit.plan import safe_key
from asrkit.prepare import prepare
from asrkit.recipe import Recipe
from asrkit.shards import open_data


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def declared(tmp_path: Path) -> tuple[Recipe, Path]:
    return write_declared_corpus(tmp_path)


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


# Splits


def test_dev_takes_whole_speakers_where_there_are_twenty(tmp_path: Path) -> None:
    name = sound(tmp_path / "a.wav")
    rows = [{"key": f"k{i}", "audio": name, "text": "a", "speaker": f"s{i % 24}"} for i in range(72)]
    listener = Listener()
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows), progress=listener)
    data = open_data(tmp_path / "data", "own")
    speakers = {
        split: {data.index(split).record(i)["speaker"] for i in range(len(data.index(split)))}
        for split in ("train", "dev")
    }
    assert meta["dev_from_train"] == "speaker"
    assert meta["counts"]["dev"]["utterances"] == 3  # 5 % of 72 is 4: room for one speaker
    assert len(speakers["dev"]) == 1 and len(speakers["train"]) == 23 and not speakers["dev"] & speakers["train"]
    assert "no dev split: 3 of 72 train utterances become 'dev' (1 of 24 speakers, by hash)" in listener.said


def test_dev_takes_no_speaker_that_is_too_large(tmp_path: Path) -> None:
    name = sound(tmp_path / "a.wav")
    rows = [{"key": f"k{i}", "audio": name, "text": "a", "speaker": f"s{min(i, 21)}"} for i in range(80)]
    meta = prepare(recipe(), data_dir=tmp_path / "data", manifest=manifest(tmp_path, rows))
    assert meta["counts"]["dev"]["utterances"] == 4  # never the speaker of 59


def test_dev_goes_by_key_with_fewer_speakers(corpus: Path, tmp_path: Path) -> None:
    listener = Listener()
    metas = [
        prepare(recipe(), data_dir=tmp_path / name, manifest=corpus / "own.jsonl", progress=listener) for name in "ab"
    ]
    assert metas[0]["dev_from_train"] == "key" and metas[0]["counts"]["dev"]["utterances"] == 2  # of 30
    assert metas[0]["counts"] == metas[1]["counts"]
    assert "no dev split: 2 of 30 train utterances become 'dev' (utterances, by hash)" in listener.said


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
    with pytest.raises(AsrkitError, match=r"root has no utterances in other; .* --splits clean,dev,test"):
        prepare(made, data_dir=tmp_path / "data", corpus_dir=root)
    with pytest.raises(AsrkitError, match=r"has no utterances$"):
        prepare(made, data_dir=tmp_path / "data", corpus_dir=tmp_path / "data", name="other")
