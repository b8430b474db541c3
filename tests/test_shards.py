"""Shards and indexes: what was written comes back; what is broken is refused."""

import json
import pickle
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit import audio
from asrkit.errors import AsrkitError
from asrkit.shard_writer import IndexWriter, ShardWriter, ctc_frames, shard_is_finished
from asrkit.shards import Index, JoinedIndex, open_data, read_sidecar, resolve_data, shard_path
from asrkit.tokenizer import CharacterTokenizer

TOKENIZER = CharacterTokenizer(" ab")
Sample = tuple[str, np.ndarray, str]  # key, samples (S,), text


def sound(length: int, seed: int = 0) -> np.ndarray:
    """Samples that 16 bits hold exactly."""
    return (np.random.default_rng(seed).integers(-32768, 32768, length) / 32768).astype(np.float32)


def write_split(folder: Path, shards: list[list[Sample]], *, codec: str = "flac") -> Index:
    """A split's folder, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with IndexWriter(folder, TOKENIZER.fingerprint()) as index:
        for number, samples in enumerate(shards):
            with ShardWriter(folder, number, codec=codec, plan="p") as shard:
                for key, waveform, text in samples:
                    shard.add(key, waveform, {"text": text, "text_raw": text.upper(), "speaker": "s1"})
            for line in read_sidecar(folder, number):
                index.add(number, line, line["text"], TOKENIZER.encode_known(line["text"]))
        index.finish()
        index.publish()
    return Index.open(folder)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two shards of two utterances."""
    samples = [(f"k{i}", sound(1000 + i, i), "ab a") for i in range(4)]
    write_split(tmp_path / "train", [samples[:2], samples[2:]])
    return tmp_path / "train"


keys = st.text("abcXYZ019_-é", min_size=1, max_size=30)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(keys, st.integers(1, 3000), texts), min_size=1, max_size=6, unique_by=lambda one: one[0]))
def test_samples_and_texts_come_back(drawn: list[tuple[str, int, str]]) -> None:
    samples = [(key, sound(length, seed), text) for seed, (key, length, text) in enumerate(drawn)]
    with tempfile.TemporaryDirectory() as folder:
        index = write_split(Path(folder), [samples[:3], samples[3:]])
        assert len(index) == len(samples)
        assert index.seconds == sum(length for _, length, _ in drawn) / 16_000
        for i, (key, waveform, text) in enumerate(samples):
            np.testing.assert_array_equal(index.audio(i), waveform)
            record = index.record(i)
            assert (record["key"], record["text"], record["text_raw"]) == (key, text, text.upper())
            assert index.tokens(i).tolist() == TOKENIZER.encode_known(text)
            assert index.rows[i]["samples"] == len(waveform) and index.rows[i]["shard"] == i // 3


def test_ctc_needs_a_blank_between_equal_neighbours() -> None:
    assert [ctc_frames(tokens) for tokens in ([], [1], [1, 2, 1], [1, 1], [3, 3, 3, 2, 2])] == [0, 1, 3, 3, 8]


def test_rows_hold_what_training_reads(split: Path) -> None:
    rows = Index.open(split).rows
    assert rows["shard"].tolist() == [0, 0, 1, 1]
    assert rows["labels"].tolist() == [4] * 4 and rows["tokens"].tolist() == [0, 4, 8, 12]
    assert rows["offset"][0] == tarfile.BLOCKSIZE


def test_a_standard_webdataset_pipeline_reads_the_shards(split: Path) -> None:
    pattern = str(split / "shard-{000000..000001}.tar")
    pipeline = webdataset.WebDataset(pattern, shardshuffle=False, empty_check=False).decode()
    samples = list(pipeline)
    assert [sample["__key__"] for sample in samples] == ["k0", "k1", "k2", "k3"]
    assert samples[0]["json"] == {"text": "ab a", "text_raw": "AB A", "speaker": "s1", "duration_s": 0.0625}
    np.testing.assert_array_equal(audio.decode(samples[3]["flac"]), sound(1003, 3))


@pytest.mark.parametrize("codec", ["flac", "opus"])
def test_the_same_samples_give_the_same_tar(tmp_path: Path, codec: str) -> None:
    for name in ("one", "two"):
        write_split(tmp_path / name, [[("k", sound(4000), "a")]], codec=codec)
    assert shard_path(tmp_path / "one", 0).read_bytes() == shard_path(tmp_path / "two", 0).read_bytes()
    with tarfile.open(shard_path(tmp_path / "one", 0)) as tar:
        assert [(member.name, member.mtime, member.uid) for member in tar] == [(f"k.{codec}", 0, 0), ("k.json", 0, 0)]


def test_metadata_may_be_named_like_our_own_fields(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 0, codec="flac", plan="p") as shard:
        shard.add("k", sound(100), {"offset": 3, "room": "hall"})
    line = next(read_sidecar(tmp_path, 0))
    assert line["corpus_offset"] == 3 and line["offset"] == 512 and line["room"] == "hall"


def test_a_shard_that_is_not_completed_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path, 0, codec="flac", plan="p") as shard:
            shard.add("k", sound(100), {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_shard_is_known_by_plan_codec_and_size(split: Path) -> None:
    assert shard_is_finished(split, 0, codec="flac", plan="p")
    assert not shard_is_finished(split, 0, codec="opus", plan="p")
    assert not shard_is_finished(split, 0, codec="flac", plan="q")
    assert not shard_is_finished(split, 2, codec="flac", plan="p")
    tar = shard_path(split, 0)
    tar.write_bytes(tar.read_bytes()[:-1])
    assert not shard_is_finished(split, 0, codec="flac", plan="p")


def test_an_index_travels_to_another_process_without_its_arrays(split: Path) -> None:
    index = Index.open(split)
    assert index.rows["samples"].sum() == 4006
    sent = pickle.dumps(index)
    assert len(sent) < 2000
    assert pickle.loads(sent).tokens(1).tolist() == index.tokens(1).tolist()  # noqa: S301  # our own bytes


def test_an_index_without_utterances_opens(tmp_path: Path) -> None:
    index = write_split(tmp_path, [[]])
    assert len(index) == 0 and index.seconds == 0 and index.rows["samples"].sum() == 0


def test_splits_join(split: Path, tmp_path: Path) -> None:
    first = Index.open(split)
    second = write_split(tmp_path / "more", [[("m", sound(77), "b b")]])
    both = JoinedIndex([first, second])
    assert len(both) == 5 and both.rows["shard"].tolist() == [0, 0, 1, 1, 2]
    assert both.seconds == first.seconds + second.seconds
    assert both.record(4)["key"] == "m" and both.tokens(4).tolist() == TOKENIZER.encode("b b")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(both)).audio(4), sound(77))  # noqa: S301
    assert both.record(3)["key"] == "k3"
    assert both.fingerprint != first.fingerprint == JoinedIndex([first]).fingerprint


def test_the_fingerprint_follows_text_and_tokenizer(tmp_path: Path) -> None:
    same = [write_split(tmp_path / name, [[("k", sound(50), "a b")]]).fingerprint for name in ("one", "two")]
    other = write_split(tmp_path / "three", [[("k", sound(50), "a a")]]).fingerprint
    assert same[0] == same[1] != other


# Broken folders: what was done to the split, and what its one line says.


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


BROKEN = {
    "no-index": (lambda split: (split / "index.json").unlink(), "has no index.json; run asrkit prepare"),
    "damaged": (lambda split: (split / "index.json").write_text("{", encoding="utf-8"), "index.json is damaged"),
    "version": (lambda split: _edit(split / "index.json", schema=2), "has schema 2; this asrkit wants 1"),
    "truncated-shard": (lambda split: _shorten(split / "shard-000001.tar"), "shard-000001.tar has .* bytes, not the"),
    "missing-shard": (lambda split: (split / "shard-000000.tar").unlink(), "shard-000000.tar is missing"),
    "truncated-rows": (lambda split: _shorten(split / "index.npy"), "index.npy is missing or cut off"),
    "truncated-tokens": (lambda split: _shorten(split / "tokens.npy"), "tokens.npy is missing or cut off"),
    "truncated-lines": (lambda split: _shorten(split / "index.jsonl"), "index.jsonl has .* bytes, not the"),
    "older-rows": (lambda split: _edit(split / "index.json", utterances=5), "has 4 rows, index.json says 5"),
    "other-rows": (lambda split: np.save(split / "index.npy", np.zeros(4)), "index.npy holds float64"),
}


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_split_is_refused(split: Path, name: str) -> None:
    breaking, said = BROKEN[name]
    breaking(split)
    with pytest.raises(AsrkitError, match=said) as error:
        Index.open(split)
    assert "\n" not in str(error.value)


def test_a_shard_that_changes_after_opening_is_noticed(split: Path) -> None:
    index = Index.open(split)
    tar = split / "shard-000001.tar"
    whole = tar.read_bytes()

    tar.write_bytes(whole[: int(index.rows[2]["offset"]) + 100])
    with pytest.raises(AsrkitError, match=r"shard-000001.tar is cut off or damaged at 'k2'"):
        index.audio(2)

    shutil.copyfile(split / "shard-000000.tar", tar)  # whole, but not the shard that the index knows
    with pytest.raises(AsrkitError, match=r"shard-000001.tar does not match its index at 'k2'"):
        index.audio(2)

    tar.unlink()
    with pytest.raises(AsrkitError, match="at 'k3'"):
        index.audio(3)


def write_data(folder: Path, recipe: str, fingerprint: str | None = None) -> None:
    """A small prepared data set."""
    write_split(folder / "train", [[("k", sound(50), "a b")]])
    TOKENIZER.save(folder / "tokenizer")
    meta = {
        "schema": 1,
        "recipe": recipe,
        "splits": {"train": ["train"], "dev": [], "test": []},
        "tokenizer": {"fingerprint": fingerprint or TOKENIZER.fingerprint()},
    }
    (folder / "prepare.json").write_text(json.dumps(meta), encoding="utf-8")


def test_a_data_set_opens(tmp_path: Path) -> None:
    write_data(tmp_path / "digits", "english")
    data = open_data(tmp_path, "digits")
    assert (data.name, data.recipe_name, data.splits["train"]) == ("digits", "english", ["train"])
    assert data.tokenizer().labels == TOKENIZER.labels
    assert len(data.index("train")) == 1
    with pytest.raises(AsrkitError, match="has no split 'trian'; did you mean 'train'"):
        data.index("trian")


def test_an_index_for_another_tokenizer_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path / "digits", "english", fingerprint="0123")
    with pytest.raises(AsrkitError, match="is for another tokenizer"):
        open_data(tmp_path, "digits").index("train")


def test_data_that_is_not_there_says_what_to_run(tmp_path: Path) -> None:
    write_data(tmp_path / "digits", "english")
    (tmp_path / "half").mkdir()
    with pytest.raises(AsrkitError, match=r"half is not prepared to the end; run: asrkit prepare .*prepared: digits"):
        open_data(tmp_path, "half")
    with pytest.raises(AsrkitError, match=r"digit does not exist; .* did you mean 'digits'"):
        open_data(tmp_path, "digit")
    _edit(tmp_path / "digits" / "prepare.json", schema=9)
    with pytest.raises(AsrkitError, match="has schema 9"):
        open_data(tmp_path, "digits")


def test_which_data_a_recipe_means(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"no data in .* is prepared with 'english'; run: asrkit prepare english"):
        resolve_data(tmp_path, None, "english")
    write_data(tmp_path / "digits", "english")
    write_data(tmp_path / "seoul", "korean")
    assert resolve_data(tmp_path, None, "english").name == "digits"  # the only one
    write_data(tmp_path / "letters", "english")
    with pytest.raises(AsrkitError, match="several data sets are prepared with 'english': --data digits or letters"):
        resolve_data(tmp_path, None, "english")
    write_data(tmp_path / "english", "english")
    assert resolve_data(tmp_path, None, "english").name == "english"  # the recipe's own
    assert resolve_data(tmp_path, "letters", "english").name == "letters"
    with pytest.raises(AsrkitError, match="seoul is prepared with recipe 'korean'; wanted 'english'"):
        resolve_data(tmp_path, "seoul", "english")
