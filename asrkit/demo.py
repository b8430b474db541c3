"""VERB: a recipe's voice and grammar in; a spoken corpus, a trained model, an n-gram and two reports out.

The folder holds corpus/ (sound files and manifest.jsonl), lm.arpa, data/ and exp/ as the other verbs leave them. What
is already there is kept: started again, the demo goes on where it was interrupted.
"""

import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from asrkit.atomic import storing_in, write_whole
from asrkit.decode import decode
from asrkit.kneser_ney import build_arpa
from asrkit.prepare import prepare
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe, default_recipe, load_recipe, load_sibling, with_overrides
from asrkit.report import TABLE_COLUMNS, table_row
from asrkit.sentences import draw_sentences
from asrkit.speak import SPOKEN_RATE_HZ, Voice, speak
from asrkit.train import train

NAME = "spoken"  # of the data set and the run
VARIANTS = {  # of an espeak-ng voice, by split: nobody who is tested is heard in training
    split: tuple(variants.split())
    for split, variants in {
        "train": """
            m1 m3 m5 m7 m8 f3 f4 f5 Andy Annie Denis Mario Mike Nguyen Reed Storm adam anika antonio aunty benjamin
            david ed edward grandma grandpa linda max miguel pablo paul pedro quincy sandro steph victor""",
        "dev": "m2 f1",
        "test": "m4 m6 f2 robert",
    }.items()
}
SETTINGS = (  # what learns most in minutes on two cores: less regularisation than a training of an hour wants
    "model=deepspeech2-small",
    "model.dropout=0.1",
    "train.weight_decay=0.01",
    "train.batch_seconds=24",
    "train.lr=2e-3",
    "augment.speeds=0.9,1.0,1.1",
)
LM_ORDER = 3


@dataclass(frozen=True)
class Size:
    """How many sentences: spoken ones for each split, and those of the text that the n-gram is made from."""

    train: int = 1250
    dev: int = 50
    test: int = 200
    text: int = 20_000


@dataclass(frozen=True)
class Line:
    """One sentence of the corpus and how it is spoken."""

    key: str
    split: str
    text: str
    voice: Voice
    snr_db: float
    gain: float


def demo(
    recipe_name: str | None = None,
    *,
    folder: str | Path | None = None,
    minutes: float | None = 3.5,
    size: Size = Size(),
    settings: Sequence[str] = SETTINGS,
    device: str = "auto",
    progress: Progress = Silent(),
) -> list[dict[str, Any]]:
    """Runs every step in turn and returns the reports of the test split: greedy, and with the n-gram.

    Without a name it is the recipe that recipes/DEFAULT names. The folder is demo, or demo-NAME of another recipe: what
    one made is of no use to the other. `minutes` are those of training (None: `train.epochs` decides); `settings` are
    the recipe's `section.key=value`.

    Raises:
        AsrkitError: a recipe without demo.py, no espeak-ng, or what the other verbs raise.
        KeyboardInterrupt: Ctrl-C or SIGTERM; started again, it goes on.
    """
    recipe = with_overrides(load_recipe(recipe_name or default_recipe()), settings)
    home = Path(folder or ("demo" if recipe.name == default_recipe() else f"demo-{recipe.name}"))
    language = load_sibling(recipe, "demo")
    spoken = size.train + size.dev + size.test
    finish = getattr(language, "finish", str)
    sentences = draw_sentences(language.GRAMMAR, random.Random(1), spoken + size.text, finish)  # all different
    with storing_in(home):
        manifest = _speak_corpus(sentences[:spoken], language.VOICE, size, home / "corpus", progress)
        prepare(recipe, data_dir=home / "data", name=NAME, manifest=manifest, progress=progress)
        run = _train(recipe, home, minutes, device, progress)
        lm = _build_lm(recipe, sentences[size.dev + size.test :], home / "lm.arpa", progress)
        greedy = decode(run, device=device, progress=progress)
        with_lm = decode(run, lm=lm, device=device, progress=progress)
    reports = greedy + with_lm
    progress.table("unseen sentences, unseen voices", TABLE_COLUMNS, [table_row(report) for report in reports])
    progress.say(f"corpus {home / 'corpus'}, data {home / 'data' / NAME}, n-gram {lm}, reports {run / 'decode'}")
    return reports


def _speak_corpus(sentences: Sequence[str], voice: str, size: Size, folder: Path, progress: Progress) -> Path:
    """The corpus's manifest, which is written last and so says that the corpus is whole."""
    manifest = folder / "manifest.jsonl"
    if manifest.exists():
        progress.say(f"{folder} is already spoken")
        return manifest
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with progress.bar("speaking", len(sentences), "sentences") as bar:
        for number, line in enumerate(_plan_corpus(sentences, voice, size)):
            samples = _record(line, np.random.default_rng([1, number]))
            (folder / f"{line.key}.flac").write_bytes(_flac(samples))
            said = {"audio": f"{line.key}.flac", "text": line.text, "speaker": line.voice.name, "split": line.split}
            lines.append(json.dumps(said, ensure_ascii=False) + "\n")
            bar.advance()
    write_whole(manifest, "".join(lines).encode("utf-8"))
    return manifest


def _plan_corpus(sentences: Sequence[str], voice: str, size: Size) -> Iterator[Line]:
    """Test and dev take the first sentences, so that the rest is free for the n-gram."""
    rng = random.Random(2)
    counts = {"test": size.test, "dev": size.dev, "train": size.train}
    splits = [split for split, count in counts.items() for _ in range(count)]
    for number, (split, text) in enumerate(zip(splits, sentences, strict=True)):
        variant = VARIANTS[split][number % len(VARIANTS[split])]
        who = Voice(f"{voice}+{variant}", words_per_minute=rng.randint(135, 175), pitch=rng.randint(30, 70))
        yield Line(f"{split}-{number:05d}", split, text, who, snr_db=rng.uniform(15, 35), gain=rng.uniform(0.2, 0.9))


def _record(line: Line, rng: np.random.Generator) -> NDArray[np.float32]:
    """The spoken sentence as a microphone in a quiet room would hear it: with noise, at some level."""
    clean = speak(line.text, line.voice)
    noise = rng.standard_normal(len(clean), dtype=np.float32)
    level = float(np.sqrt(np.mean(clean**2))) * 10 ** (-line.snr_db / 20)
    heard = clean + noise * np.float32(level)
    return heard * np.float32(line.gain / np.abs(heard).max())


def _flac(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SPOKEN_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _train(recipe: Recipe, home: Path, minutes: float | None, device: str, progress: Progress) -> Path:
    """The finished run: a new one, an old one gone on with, or one that was finished before."""
    run = home / "exp" / recipe.name / NAME
    if (run / "train.json").exists():
        progress.say(f"{run} is already trained")
        return run
    train(
        recipe,
        data=NAME,
        data_dir=home / "data",
        exp_dir=home / "exp",
        run=NAME,
        minutes=minutes,
        resume=(run / "recipe.json").exists(),
        device=device,
        progress=progress,
    )
    if not (run / "train.json").exists():
        raise KeyboardInterrupt  # train has saved and stopped on a signal; half a training is not worth decoding
    return run


def _build_lm(recipe: Recipe, sentences: Sequence[str], path: Path, progress: Progress) -> Path:
    """An n-gram model of the sentences as the recipe normalises them."""
    if path.exists():
        progress.say(f"{path} is already built")
        return path
    with progress.bar(f"{LM_ORDER}-gram of {len(sentences):,} sentences", None):
        words = (recipe.normalize(sentence).split() for sentence in sentences)
        build_arpa(words, LM_ORDER, path, discount_fallback=True)  # a grammar's counts are too regular to estimate from
    return path
