"""A small prepared data set whose letters are tones, for tests that train."""

import json
from pathlib import Path

import numpy as np

from asrkit.recipe import Recipe, with_overrides
from asrkit.settings import AugmentSettings, FeaturesSettings, ModelSettings, TrainSettings
from asrkit.shard_writer import IndexWriter, ShardWriter
from asrkit.shards import Index, read_sidecar
from asrkit.tokenizer import CharacterTokenizer

LETTERS = "abcd"
TONE_S = 0.12

TONES = Recipe(
    name="tones",
    language="und",
    description="letters as tones",
    licence="none",
    read_corpus=lambda root, split: [],
    normalize=str.lower,
    alphabet=" " + LETTERS,
    features=FeaturesSettings(mels=24),
    model=ModelSettings(
        conv_channels=(4,), conv_mel_kernels=(5,), conv_time_kernels=(5,), rnn="gru", layers=1, hidden=16
    ),
    augment=AugmentSettings(mel_mask_bins=3),
    train=TrainSettings(batch_seconds=4.0, epochs=3, lr=5e-3),
)


def tone(text: str, random: np.random.Generator, tone_s: float = TONE_S) -> np.ndarray:
    """Each letter its own pitch, a space is silence; (S,) float32."""
    time = np.arange(int(tone_s * 16_000)) / 16_000
    sounds = [np.sin(2 * np.pi * (300 + 400 * LETTERS.index(c)) * time) if c != " " else 0 * time for c in text]
    sound = np.concatenate(sounds)
    return (0.3 * sound + 0.005 * random.standard_normal(len(sound))).astype(np.float32)


def make_tones(
    data_dir: Path, *, name: str = "tones", utterances: int = 40, dev: int = 8, tone_s: float = TONE_S, shards: int = 2
) -> Path:
    """data_dir/<name> as prepare leaves it: splits train, dev and test; train has so many shards."""
    folder = data_dir / name
    random = np.random.default_rng(1)
    tokenizer = CharacterTokenizer(" " + LETTERS)
    tokenizer.save(folder / "tokenizer")
    for split, count, tars in (("train", utterances, shards), ("dev", dev, 1), ("test", dev, 1)):
        split_folder = folder / split
        split_folder.mkdir(parents=True)
        for shard in range(tars):
            with ShardWriter(split_folder, shard, codec="flac", plan="by hand") as writer:
                for number in range(shard, count, tars):
                    # no letter twice in a row: CTC then needs no more frames than there are letters
                    letters = random.permutation(list(LETTERS))[: random.integers(2, 5)]
                    text = "".join(letters[:2]) + " " + "".join(letters[2:])
                    text = text.strip()
                    meta = {"text": text, "text_raw": text.upper(), "speaker": "s"}
                    writer.add(f"{split}-{number:03d}", tone(text, random, tone_s), meta)
        with IndexWriter(split_folder, tokenizer.fingerprint()) as index:
            for shard in range(tars):
                for sample in read_sidecar(split_folder, shard):
                    index.add(shard, sample, sample["text"], tokenizer.encode(sample["text"]))
            index.finish()
            index.publish()
    splits = {"train": ["train"], "dev": ["dev"], "test": ["test"]}
    meta = {"schema": 1, "recipe": "tones", "splits": splits, "tokenizer": {"fingerprint": tokenizer.fingerprint()}}
    meta["counts"] = {split: {"fingerprint": Index.open(folder / split).fingerprint} for split in splits}
    (folder / "prepare.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def tones_recipe(*assignments: str) -> Recipe:
    return with_overrides(TONES, assignments)
