"""compare_tokenizers.py: counts by hand, the arithmetic of CTC against the model itself, and the rule."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from tones import TONES

from asrkit.compare_tokenizers import Comparison, compare_tokenizers, recommend
from asrkit.epochs import fastest_speeds
from asrkit.errors import AsrkitError
from asrkit.features import LogMel
from asrkit.model import DeepSpeech2
from asrkit.recipe import Recipe
from asrkit.settings import FeaturesSettings
from asrkit.shard_writer import IndexWriter, ShardWriter
from asrkit.shards import Index, JoinedIndex, read_sidecar
from asrkit.tokenizer import CharacterTokenizer


def make_data(data_dir: Path, train: list[str], dev: list[str], seconds: float) -> Path:
    """data_dir/tones with silence that these texts stand beside."""
    folder = data_dir / "tones"
    tokenizer = CharacterTokenizer(sorted(set("".join(train + dev))))
    tokenizer.save(folder / "tokenizer")
    for split, texts in (("train", train), ("dev", dev)):
        (folder / split).mkdir()
        with ShardWriter(folder / split, 0, codec="flac", plan="by hand") as writer:
            for number, text in enumerate(texts):
                writer.add(f"{split}-{number}", np.zeros(int(seconds * 16_000), np.float32), {"text": text})
        with IndexWriter(folder / split, tokenizer.fingerprint()) as index:
            for sample in read_sidecar(folder / split, 0):
                index.add(0, sample, sample["text"], tokenizer.encode(sample["text"]))
            index.finish()
            index.publish()
    meta = {"schema": 1, "recipe": "tones", "tokenizer": {"fingerprint": tokenizer.fingerprint()}}
    meta["splits"] = {"train": ["train"], "dev": ["dev"], "test": []}
    meta["normalizer"] = TONES.text_fingerprint()
    (folder / "prepare.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def compare(recipe: Recipe, data_dir: Path) -> dict[str, dict[str, object]]:
    """By name."""
    found = compare_tokenizers(recipe, data_dir=data_dir)["tokenizers"]
    return {one["kind"] if one["size"] is None else f"{one['kind']} {one['size']}": one for one in found}


def test_counts_by_hand(tmp_path: Path) -> None:
    make_data(tmp_path, ["ab ab", "ab abc", "ab", "ab", "bb"], ["ab", "a dé"], seconds=0.5)
    found = compare_tokenizers(TONES, data_dir=tmp_path)
    (one,) = found["tokenizers"]  # these texts have too few pieces for 250 subwords
    assert one["kind"] == "characters" and one["size"] is None
    assert one["labels"] == 5  # blank, space, a, b, c
    assert one["labels_per_s"] == pytest.approx(17 / 2.5)  # 5 + 6 + 2 + 2 + 2 labels in five times half a second
    assert one["rare"] == 2  # the space twice, c once; a 6 times, b 8 times
    assert one["characters_unspelled"] == pytest.approx(2 / 6)  # d and é of "ab" and "a dé"
    assert one["utterances_unspelled"] == 0.5
    assert found["recommended"]["settings"] == "tokenizer.kind=characters"
    assert json.loads(json.dumps(found))["recommended"]["reason"].startswith("0.0 hours are few")
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    (shown,) = (
        json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S) if '"rare"' in block
    )
    assert list(shown) == list(found) and list(shown["recommended"]) == list(found["recommended"])
    assert list(shown["tokenizers"][0]) == list(one)


@pytest.mark.parametrize("stride", [2, 4])
def test_too_long_is_what_training_would_leave_out(tmp_path: Path, stride: int) -> None:
    folder = make_data(tmp_path, ["abcdeabcde", "abc"], ["ab"], seconds=1.0)
    features = FeaturesSettings(mels=24, window_ms=32, hop_ms=32, pad_ms=0)  # 16 and 8 output frames
    found = compare(replace(TONES, features=features), tmp_path)["characters"]["too_long"]
    log_mel = LogMel(**asdict(features))
    kernels = {"conv_channels": (4, 4), "conv_mel_kernels": (5, 5), "conv_time_kernels": (5, 5)}
    model = DeepSpeech2(mels=24, labels=6, layers=1, hidden=8, time_stride=stride, **kernels)
    index = JoinedIndex([Index.open(folder / "train")])
    fastest = fastest_speeds(index, lambda samples: model.output_length(log_mel.frame_lengths(samples)), (1.0, 1.4))
    assert isinstance(found, dict) and found[stride] == (~fastest.usable).mean() == (0.5 if stride == 4 else 0)


def test_hangul_is_compared_by_syllables_and_jamo(tmp_path: Path) -> None:
    make_data(tmp_path, ["가나다 라마", "각 나"], ["난 가"], seconds=1.0)
    found = compare(TONES, tmp_path)
    assert list(found) == ["syllables", "jamo"]
    assert found["syllables"]["labels"] == 2 + 6 and found["jamo"]["labels"] == 2 + 67
    assert found["syllables"]["utterances_unspelled"] == 1.0 and found["jamo"]["utterances_unspelled"] == 0.0
    assert found["jamo"]["labels_per_s"] == (10 + 1 + 5 + 1) / 2  # two jamo each, three in 각
    assert compare_tokenizers(TONES, data_dir=tmp_path)["recommended"]["kind"] == "jamo"


def test_subwords_of_the_sizes_that_the_texts_allow(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("bdgklmnprst")) + rng.choice(list("aeiou")) for _ in range(3)) for _ in range(400)]
    make_data(tmp_path, [" ".join(rng.choice(words, 8)) for _ in range(300)], ["bada"], seconds=1.0)
    found = compare(TONES, tmp_path)
    assert {"characters", "unigram 250", "bpe 250", "bpe 500"} <= set(found)
    assert "unigram 5000" not in found and found["unigram 250"]["labels"] == 250
    assert found["unigram 250"]["labels_per_s"] < found["characters"]["labels_per_s"]


def comparison(kind: str, labels: int, *, rare: int = 0, long_4: float = 0.0) -> Comparison:
    return Comparison(
        kind=kind,
        size=labels if kind in ("unigram", "bpe") else None,
        labels=labels,
        labels_per_s=1.0,
        too_long={2: 0.0, 4: long_4},
        rare=rare,
        characters_unspelled=0.0,
        utterances_unspelled=0.0,
    )


def test_few_hours_want_few_labels() -> None:
    compared = [comparison("syllables", 868, rare=338), comparison("jamo", 69), comparison("unigram", 500)]
    best, reason = recommend(compared, hours=1.7, stride=4)
    assert best.kind == "jamo" and reason == "1.7 hours are few (under 100): the fewest labels are learned best"


def test_many_hours_want_the_largest_vocabulary_that_is_met_often() -> None:
    compared = [comparison("characters", 29), comparison("unigram", 500, rare=10), comparison("unigram", 1000, rare=21)]
    best, reason = recommend(compared, hours=100, stride=2)
    assert best.name == "unigram 500" and "(10 of 500 under 5 times)" in reason
    assert recommend(compared[::2], hours=100, stride=2)[0].kind == "characters"


def test_what_is_too_long_at_four_wants_stride_two() -> None:
    best, reason = recommend([comparison("characters", 29, long_4=0.05)], hours=5, stride=4)
    assert best.kind == "characters" and "with model.time_stride=2, as 5.0% of train is too long" in reason


def test_there_must_be_data(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"no data in .* is prepared with 'tones'; run: asrkit prepare tones"):
        compare_tokenizers(TONES, data_dir=tmp_path)
