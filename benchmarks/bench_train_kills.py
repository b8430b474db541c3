"""A synthetic corpus in, a table out: what SIGKILL at random moments does to the result of a training.

    python benchmarks/bench_train_kills.py [--kills 10] [--folder FOLDER]

The training hears noises, rooms and telephones. One runs undisturbed, others are killed again and again and resumed,
until all kills are spent; the weights of all must be the same bit for bit, and so the WER and CER of every validation.
"""

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from bench_prepare import start, synthetic, write_manifest, write_sounds

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.checkpoint import last_checkpoint
from asrkit.prepare_noise import prepare_noise
from asrkit.recipe import with_overrides
from asrkit.train import train

SETTINGS = [
    "model=deepspeech2-small",
    "model.hidden=32",
    "model.layers=2",
    "train.epochs=6",
    "train.batch_seconds=20",
    "train.patience=0",
    "train.save_minutes=0.02",
    "augment.noise=surroundings",
    "augment.noise_p=0.5",
    "augment.reverb_p=0.5",
    "augment.gain_p=0.5",
    "augment.codec_p=0.2",
]


def run(data_dir: str, exp_dir: str) -> None:
    """What is killed; in a process of its own."""
    train(
        with_overrides(synthetic(), SETTINGS), data_dir=data_dir, exp_dir=exp_dir, run="run", resume=True, device="cpu"
    )


def write_surroundings(folder: Path, data_dir: Path) -> None:
    """Noises of several lengths and rooms, made up, into data_dir/surroundings."""
    numbers = np.random.default_rng(1)
    for kind in ("noises", "rooms"):
        (folder / kind).mkdir(exist_ok=True)
    for number in range(20):
        noise = numbers.normal(0, 0.1, int(numbers.uniform(0.5, 40) * SAMPLE_RATE_HZ))
        soundfile.write(folder / "noises" / f"{number}.flac", noise, SAMPLE_RATE_HZ)
        fading = np.exp(-np.arange(8_000) / numbers.uniform(500, 3_000)) * numbers.normal(size=8_000)
        soundfile.write(folder / "rooms" / f"{number}.flac", 0.9 * fading / np.abs(fading).max(), SAMPLE_RATE_HZ)
    prepare_noise(noise=[folder / "noises"], rir=[folder / "rooms"], data_dir=data_dir, name="surroundings")


def begin(data_dir: Path, exp_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--run", str(data_dir), str(exp_dir)])  # noqa: S603  # ourselves


def result(run_folder: Path) -> tuple[str, list[tuple[int, float, float]]]:
    """The last weights' SHA-256, and (step, WER, CER) of every validation."""
    weights = last_checkpoint(run_folder)
    assert weights is not None
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    validations = [(line["step"], line["wer"], line["cer"]) for line in lines if line["kind"] == "dev"]
    return hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest(), validations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_sounds(folder)
        data_dir = folder / "data"
        assert start(data_dir, write_manifest(folder, 300), shard_utterances=100).wait() == 0
        write_surroundings(folder, data_dir)
        began = time.monotonic()
        assert begin(data_dir, folder / "whole").wait() == 0
        seconds = time.monotonic() - began
        whole = result(folder / "whole" / "synthetic" / "run")
        print(f"undisturbed: {seconds:.0f} s, {len(whole[1])} validations, weights {whole[0][:12]}")

        numbers = random.Random(1)
        kills, trainings, identical = 0, 0, 0
        while kills < options.kills:  # a training outlives only some kills: then the next one begins
            exp_dir = folder / f"killed-{trainings}"
            while kills < options.kills:
                process = begin(data_dir, exp_dir)
                try:
                    process.wait(numbers.uniform(0, seconds))  # some kills fall into the start, some into saving
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
            assert begin(data_dir, exp_dir).wait() == 0  # resumes what is unfinished, confirms what is finished
            killed = result(exp_dir / "synthetic" / "run")
            trainings += 1
            identical += killed == whole
            verdict = "identical" if killed == whole else "DIFFERS"
            print(f"training {trainings}, {kills} kills so far: weights {killed[0][:12]}, {verdict}", flush=True)
        print(f"{kills} kills, {trainings} trainings, {identical} identical to the undisturbed one")
        sys.exit(identical != trainings)


if __name__ == "__main__":
    main()
