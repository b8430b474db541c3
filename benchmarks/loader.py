"""Shards in, log-mel batches out, as training gets them: audio-seconds per CPU-second of one worker, and of a plain
pipeline of webdataset and torchaudio that does the same work.

    python benchmarks/loader.py [--hours 0.5] [--shared FOLDER] [--json FILE]

One process with one thread; CPU time, the fastest of eight passes. With the recordings beside the repository they are
English sentences, and noises and rooms are real; without them espeak-ng speaks, and noises and rooms are made up.
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio
import webdataset
from figures import Figures
from scipy.fft import next_fast_len

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.augment import Augmentation
from asrkit.batches import read_batch
from asrkit.epochs import EpochPlan, plan_epoch
from asrkit.features import LogMel
from asrkit.noise_data import open_noise, surroundings
from asrkit.prepare import prepare
from asrkit.prepare_noise import prepare_noise
from asrkit.recipe import Recipe
from asrkit.settings import AugmentSettings, FeaturesSettings
from asrkit.shards import JoinedIndex, open_data
from asrkit.speak import SPOKEN_RATE_HZ, Voice, speak

SHARED = Path(__file__).resolve().parents[2] / "shared"
PASSES = 8  # what else runs on a shared machine takes up to half of the speed away, for seconds or minutes
BATCH_SECONDS = 120.0
ALL = AugmentSettings(speeds=(0.9, 1.1), reverb_p=1.0, noise_p=1.0, noise_most=1, time_masks=0, mel_masks=0)
PLAIN = AugmentSettings(enabled=False).in_force()


def make_data(folder: Path, shared: Path | None, hours: float) -> None:
    """data/english and data/noise."""
    recipe = Recipe(
        name="english",
        language="en",
        description="",
        licence="",
        read_corpus=lambda root, split: [],
        normalize=lambda text: " ".join("".join(c for c in text.lower() if c.isalpha() or c == " ").split()),
        alphabet=" abcdefghijklmnopqrstuvwxyz",
    )
    sounds = folder / "sounds"
    manifest, noises, rooms = sounds / "speech.jsonl", sounds / "noises", sounds / "rooms"
    if shared:
        lines = (shared / "speech" / "english.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        records = [one | {"audio": str(shared / "speech" / one["audio"])} for one in records if one["split"] == "train"]
        noises, rooms = shared / "speech" / "noise_esc10", shared / "speech" / "rir_real"
    else:
        records = list(_spoken(sounds / "speech", hours))
        _write_noises(noises, rooms)
    seconds, kept = 0.0, []
    for record in records[:: max(1, len(records) // 4000)]:
        kept.append(record)
        seconds += float(record["duration_s"])
        if seconds > hours * 3600:
            break
    sounds.mkdir(exist_ok=True)
    manifest.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    prepare(recipe, data_dir=folder, name="english", manifest=manifest)
    prepare_noise(noise=[noises], rir=[rooms], data_dir=folder)


def _spoken(folder: Path, hours: float) -> Iterator[dict[str, Any]]:
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    words = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "and",
        "of",
        "the",
        "house",
        "river",
        "mountain",
        "bread",
        "water",
    ]
    seconds = number = 0.0
    while seconds < hours * 3600 * 1.1:
        text = " ".join(random.choice(words, int(random.integers(4, 30))))
        sound = speak(text, Voice(f"en-us+m{1 + int(number) % 5}", 150 + int(random.integers(40))))
        path = folder / f"{int(number)}.flac"
        soundfile.write(path, sound, SPOKEN_RATE_HZ)
        yield {"audio": str(path), "text": text, "duration_s": len(sound) / SPOKEN_RATE_HZ, "split": "train"}
        seconds, number = seconds + len(sound) / SPOKEN_RATE_HZ, number + 1


def _write_noises(noises: Path, rooms: Path) -> None:
    random = np.random.default_rng(2)
    for folder in (noises, rooms):
        folder.mkdir(parents=True)
    for number in range(100):
        soundfile.write(noises / f"{number}.flac", 0.1 * random.standard_normal(5 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    for number in range(30):
        fading = np.exp(-np.arange(SAMPLE_RATE_HZ) / random.uniform(1000, 4000)) * random.standard_normal(
            SAMPLE_RATE_HZ
        )
        soundfile.write(rooms / f"{number}.flac", 0.2 * fading / np.abs(fading).max(), SAMPLE_RATE_HZ)


# asrkit ------------------------------------------------------------------------------------------------------------


def ours(index: JoinedIndex, augmentation: Augmentation, features: LogMel) -> Callable[[int], Iterator[None]]:
    """The batches of one epoch, padded, and their log-mel spectrograms."""
    plan = EpochPlan(seed=1, batch_seconds=BATCH_SECONDS)

    def one_pass(epoch: int) -> Iterator[None]:
        for rows in plan_epoch(index, plan, epoch):
            batch = read_batch(index, rows, augmentation=augmentation, epoch=epoch)
            features(batch.waveforms, batch.lengths)
            yield

    return one_pass


# The plain pipeline ------------------------------------------------------------------------------------------------


def plain(folder: Path, noise_folder: Path, *, augmented: bool) -> Callable[[int], Iterator[None]]:
    """webdataset in the order of the shards, torchaudio for everything else, batches of 16.

    Written with care: spectrograms by the utterance, so that no padding is transformed; the resampler's kernels and the
    decoded noises and rooms are kept; transforms of lengths that are fast (those of torchaudio's fftconvolve are not).
    """
    mel = torchaudio.transforms.MelSpectrogram(SAMPLE_RATE_HZ, n_fft=512, win_length=400, hop_length=160, n_mels=80)
    speeds = [torchaudio.transforms.Speed(SAMPLE_RATE_HZ, factor) for factor in (0.9, 1.1)]
    noises, rooms = ([_sound(sample["flac"]) for sample in _samples(noise_folder / kind)] for kind in ("noise", "rir"))

    def augment(sound: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        sound, _ = speeds[int(random.integers(len(speeds)))](sound)
        room = rooms[int(random.integers(len(rooms)))]
        size = next_fast_len(len(sound) + len(room) - 1, real=True)
        sound = torch.fft.irfft(torch.fft.rfft(sound, size) * torch.fft.rfft(room, size), size)[: len(sound)]
        noise = noises[int(random.integers(len(noises)))]
        noise = noise.repeat(-(-len(sound) // len(noise)))[: len(sound)]
        snr = torch.tensor(float(random.uniform(5, 25)))
        mixed: torch.Tensor = torchaudio.functional.add_noise(sound, noise, snr)
        return mixed

    def one_pass(epoch: int) -> Iterator[None]:
        random = np.random.default_rng(epoch)
        sounds = (_sound(sample["flac"]) for sample in _samples(folder / "train"))
        heard = (augment(sound, random) for sound in sounds) if augmented else sounds
        while batch := list(islice(heard, 16)):
            spectrograms = [torch.log(mel(sound) + 1e-6).T for sound in batch]
            torch.nn.utils.rnn.pad_sequence(spectrograms, batch_first=True)
            yield

    return one_pass


def flac_alone(folder: Path) -> Callable[[int], Iterator[None]]:
    """All audio decoded from memory and nothing else: no loader is faster, and machines differ in it."""
    packed = [sample["flac"] for sample in _samples(folder / "train")]

    def one_pass(epoch: int) -> Iterator[None]:
        for flac in packed:
            _sound(flac)
            yield

    return one_pass


def _samples(folder: Path) -> Iterable[dict[str, bytes]]:
    """In the order of the shards."""
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    found: Iterable[dict[str, bytes]] = webdataset.WebDataset(shards, shardshuffle=False)
    return found


def _sound(flac: bytes) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(io.BytesIO(flac), dtype="float32")[0])


# -------------------------------------------------------------------------------------------------------------------


def speed(one_pass: Callable[[int], Iterator[None]], audio_s: float) -> float:
    """Audio-seconds per CPU-second, of the fastest pass; the audio counts as long as it was recorded."""
    took = []
    for epoch in range(PASSES):
        before = time.process_time()
        for _ in one_pass(epoch):
            pass
        took.append(time.process_time() - before)
    return audio_s / min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=0.5, help="of speech")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("ASRKIT_SHARED") or SHARED))
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = Figures()
    figures.head()
    with tempfile.TemporaryDirectory(prefix="asrkit-bench-") as name:
        folder = Path(name)
        make_data(folder, options.shared if options.shared.is_dir() else None, options.hours)
        index = JoinedIndex([open_data(folder, "english").index("train")])
        around = surroundings([open_noise(folder / "noise")])
        features = LogMel(**vars(FeaturesSettings()))
        audio_s = index.seconds
        epoch = plan_epoch(index, EpochPlan(seed=1, batch_seconds=BATCH_SECONDS), 0)
        figures.say(f"{audio_s / 3600:.2f} hours of speech; {epoch.padding:.1%} of a batch is padding")
        rows, speeds = [], {}
        for what, settings, augmented in (("plain", PLAIN, False), ("speed, room and noise on all", ALL, True)):
            own = speed(ours(index, Augmentation(settings, around, 1), features), audio_s)
            peer = speed(plain(folder / "english", folder / "noise", augmented=augmented), audio_s)
            rows.append({"augmentation": what, "asrkit": own, "webdataset + torchaudio": peer, "times": own / peer})
            speeds[what] = own
        alone = speed(flac_alone(folder / "english"), audio_s)
    figures.table("loader with log-mel, audio-s per CPU-s of one worker", rows)
    figures.say(f"FLAC alone: {alone:,.0f} audio-s per CPU-s")
    figures.want("loader, plain", speeds["plain"], at_least=1500)
    figures.want("loader, speed, room and noise on all", speeds["speed, room and noise on all"], at_least=500)
    figures.end()
    if options.json:
        figures.write(options.json)


if __name__ == "__main__":
    main()
