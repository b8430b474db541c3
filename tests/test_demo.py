"""demo.py and the grammars of the recipes: nothing tested is trained on; a tiny demo runs, and only once."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asrkit.budget import Speed
from asrkit.demo import VARIANTS, Size, demo
from asrkit.errors import AsrkitError
from asrkit.recipe import load_recipe, load_sibling
from asrkit.sentences import draw_sentences
from asrkit.speak import Voice, speak
from asrkit.update import Started, Updater

RECIPES = Path(__file__).parent.parent / "recipes"
RECIPE = load_recipe(RECIPES / "librispeech")
SPOKEN = sorted(file.parent.name for file in RECIPES.glob("*/demo.py"))
TINY = Size(train=12, dev=3, test=4, text=300)
QUICK = (
    *("model=deepspeech2-small", "model.hidden=24", "model.layers=1", "features.mels=16"),
    *("train.epochs=1", "train.batch_seconds=20", "train.workers=0"),
)


@pytest.mark.parametrize("name", SPOKEN)
def test_sentences_are_many_and_already_normal(name: str) -> None:
    recipe = load_recipe(RECIPES / name)
    language = load_sibling(recipe, "demo")
    sentences = draw_sentences(language.GRAMMAR, random.Random(1), 30_000, getattr(language, "finish", str))
    assert [sentence for sentence in sentences if recipe.normalize(sentence) != sentence] == []
    assert len({word for sentence in sentences for word in sentence.split()}) > 500


@pytest.mark.parametrize("name", SPOKEN)
@pytest.mark.parametrize("variant", [variant for variants in VARIANTS.values() for variant in variants])
def test_every_voice_speaks(name: str, variant: str) -> None:
    voice = load_sibling(load_recipe(RECIPES / name), "demo").VOICE
    assert np.abs(speak("7", Voice(f"{voice}+{variant}"))).max() > 0.05


def test_nobody_who_is_tested_is_heard_in_training() -> None:
    train, dev, test = (set(VARIANTS[split]) for split in ("train", "dev", "test"))
    assert not train & dev and not train & test and not dev & test


def test_a_recipe_without_a_demo_is_refused(tmp_path: Path) -> None:
    source = (
        "from asrkit.recipe import Recipe\n"
        "RECIPE = Recipe(name='mute', language='en', description='', licence='', read_corpus=lambda root, split: [],\n"
        "                normalize=str.lower, alphabet='abc ')\n"
    )
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "recipe.py").write_text(source, encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"recipe 'mute' has no demo\.py"):
        demo(str(tmp_path / "mute"), folder=tmp_path / "demo", settings=())


@pytest.mark.parametrize(("recipe", "folder"), [(None, "demo"), ("librispeech", "demo"), ("korean", "demo-korean")])
def test_every_recipe_has_a_folder_of_its_own(recipe: str | None, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def speak_corpus(sentences: Any, voice: Any, size: Any, corpus: Path, progress: Any) -> Path:
        raise AsrkitError(str(corpus))

    monkeypatch.setattr("asrkit.demo._speak_corpus", speak_corpus)
    with pytest.raises(AsrkitError, match=f"^{folder}/corpus$"):
        demo(recipe, size=TINY)


def _made(folder: Path) -> dict[Path, int]:
    """What takes long to make, and when it was written."""
    patterns = ("corpus/*", "lm.arpa", "data/*/*/*.tar", "exp/*/*/checkpoints/*/*")
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in folder.glob(pattern)}


@pytest.mark.slow
def test_stopped_in_training_it_ends_there_and_goes_on_when_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> list[dict[str, object]]:
        return demo(str(RECIPE.folder), folder=tmp_path, minutes=None, size=TINY, settings=QUICK, device="cpu")

    def stop_after_a_step(self: Updater, *arguments: Any, **named: Any) -> Started:
        signal.raise_signal(signal.SIGTERM)
        return start(self, *arguments, **named)

    start = Updater.start
    monkeypatch.setattr(Updater, "start", stop_after_a_step)
    monkeypatch.setattr("asrkit.run.measure", lambda *_, **__: Speed(1.0, 1.0, 1.0))  # it updates a copy
    with pytest.raises(KeyboardInterrupt):
        run()
    trained = tmp_path / "exp" / "librispeech" / "spoken"
    assert not (trained / "decode").exists() and not (trained / "train.json").exists()
    monkeypatch.undo()
    assert len(run()) == 2
    assert (trained / "train.json").exists()


@pytest.mark.slow
def test_a_tiny_demo_runs_and_started_again_does_nothing_twice(tmp_path: Path) -> None:
    def run() -> list[dict[str, object]]:
        return demo(str(RECIPE.folder), folder=tmp_path, minutes=None, size=TINY, settings=QUICK, device="cpu")

    greedy, with_lm = run()
    assert (greedy["split"], greedy["utterances"], greedy["lm"]) == ("test", 4, None)
    assert (with_lm["utterances"], with_lm["lm"]) == (4, str(tmp_path / "lm.arpa"))

    lines = (tmp_path / "corpus" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line) for line in lines]
    assert [sum(line["split"] == split for line in said) for split in ("train", "dev", "test")] == [12, 3, 4]
    assert all(line["speaker"].removeprefix("en-us+") in VARIANTS[line["split"]] for line in said)
    assert all((tmp_path / "corpus" / line["audio"]).stat().st_size > 10_000 for line in said)

    written = _made(tmp_path)
    assert [report["wer"] for report in run()] == [greedy["wer"], with_lm["wer"]]
    assert len(written) > 19 and _made(tmp_path) == written
