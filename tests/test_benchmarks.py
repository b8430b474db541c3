"""benchmarks/: generators give what their seeds say, and decoding.py runs without recordings beside it."""

import importlib
import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asrkit.error_rates import Counts
from asrkit.model import DeepSpeech2
from asrkit.search import greedy
from asrkit.settings import architecture
from asrkit.tokenizer import CharacterTokenizer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports one of the scripts, as they import each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_a_language_is_its_seed(script: Any) -> None:
    zipf_text = script("zipf_text")
    language = zipf_text.latin(200)
    assert language == zipf_text.latin(200)
    assert len(set(language.words)) == 200
    assert not set(language.words) & set(language.strangers)
    texts = list(language.texts(50, 8, seed=3))
    assert texts == list(language.texts(50, 8, seed=3)) != list(language.texts(50, 8, seed=4))
    assert {len(text) for text in texts} == {8}
    assert any(word in language.strangers for text in language.texts(9, 9, seed=3, strange=0.5) for word in text)


def test_frequent_words_follow_zipfs_law_and_words_each_other(script: Any) -> None:
    drawn = script("zipf_text").draw(1000, 2000, 20, seed=1)
    counts = np.bincount(drawn.ravel(), minlength=1000)
    assert counts[:10].min() > counts[500:].mean() * 5
    after = [tuple(pair) for pair in np.stack([drawn[:, 10], drawn[:, 11]], axis=1).tolist()]
    assert len(set(after)) < 0.95 * len({(a, b) for (a, _), (_, b) in zip(after, after[::-1], strict=True)})


@pytest.mark.parametrize("name", ["PEAKY", "SOFT"])
def test_log_probs_are_a_distribution_around_their_text(script: Any, name: str) -> None:
    posteriors = script("posteriors")
    tokenizer = CharacterTokenizer(" abcdefgh")
    made = [
        posteriors.make_log_probs(
            tokenizer.encode("head bag abed"), np.arange(1, 10), frames=60, style=getattr(posteriors, name), seed=seed
        )
        for seed in ((1, 1), (1, 1), (1, 2))
    ]
    assert np.exp(made[0]).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()
    assert len(set(greedy(made[0], tokenizer).text) & set("head bag abed")) > 4


def test_the_bootstrap_knows_the_better_one(script: Any) -> None:
    searching = script("searching")
    texts = ["a b c d"] * 40
    found = {"good": ["a b c x"] * 20 + ["a b c d"] * 20, "bad": ["a x c x"] * 30 + ["a b c d"] * 10}
    good, bad = (
        searching.Measured(name, 0.5, 1.0, searching.word_counts(texts, said), [Counts(1)], 1.0)
        for name, said in found.items()
    )
    assert (good.wer, bad.wer) == (20 / 160, 60 / 160)
    low, high, below = searching.bootstrap(good, bad)
    assert low < -0.25 < high < 0
    assert below == 1


@pytest.mark.slow
def test_decoding_runs_without_anything_beside_it(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "decoding.py"), "--quick", "--shared", str(tmp_path / "nothing")]
    command += ["--only", "posteriors,generated,threads,loading"]
    command += ["--folder", str(tmp_path), "--json", str(tmp_path / "a.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "posteriors left out: no reference posteriors" in done.stdout
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    tables = {title.split(":")[0]: rows for title, rows in found["tables"].items()}
    for name in ("29 labels, peaky", "29 labels, soft"):
        rates = {row["engine"]: row["WER"] for row in tables[name]}
        assert {"native, open", "native, closed", "pyctcdecode"} <= rates.keys()
        assert max(rates.values()) < 0.3
    assert all({"what", "seen", "limit", "met"} <= target.keys() for target in found["targets"])
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


@pytest.mark.parametrize("name", ["deepspeech2", "deepspeech2-small"])
@pytest.mark.parametrize("rnn", ["gru", "lstm"])
def test_the_usual_network_is_as_large_and_as_long_as_ours(script: Any, name: str, rnn: str) -> None:
    settings = replace(architecture(name), rnn=rnn)
    usual = script("train_step").UsualNetwork(settings, 80).eval()
    ours = DeepSpeech2(mels=80, labels=29, **{key: value for key, value in vars(settings).items() if key != "name"})
    assert sum(p.numel() for p in usual.parameters()) == sum(p.numel() for p in ours.parameters())
    log_mel, frames = torch.zeros(2, 101, 80), torch.tensor([101, 64])
    with torch.no_grad():
        (found, lengths), (wanted, wanted_lengths) = usual(log_mel, frames), ours.eval()(log_mel, frames)
    assert found.shape == wanted.shape and lengths.tolist() == wanted_lengths.tolist()


def test_a_training_step_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "train_step.py"), "--quick", "--models", "deepspeech2-small"]
    done = subprocess.run([*command, "--json", str(tmp_path / "a.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    (rows,) = found["tables"].values()
    assert [row["rnn"] for row in rows] == ["gru", "lstm"] and all(row["usual"] > 0 for row in rows)
    assert {target["limit"] for target in found["targets"]} in ({1.1}, {1.1, 1.5})


@pytest.mark.slow
def test_the_loader_is_measured_beside_a_plain_one(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "loader.py"), "--hours", "0.005", "--shared", str(tmp_path / "nothing")]
    done = subprocess.run([*command, "--json", str(tmp_path / "a.json")], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1: a busy machine had less than is wanted
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    (rows,) = found["tables"].values()
    assert [row["augmentation"] for row in rows] == ["plain", "speed, room and noise on all"]
    assert all(row["asrkit"] > 0 and row["webdataset + torchaudio"] > 0 for row in rows)


@pytest.mark.slow
def test_what_is_for_a_gpu_goes_to_its_end_on_a_cpu(script: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Speed, learning curve and report of networks that are as small as can be."""
    train_gpu = script("train_gpu")
    speech = tmp_path / "shared" / "speech"
    speech.mkdir(parents=True)
    numbers, lines = np.random.default_rng(1), []
    for number in range(24):
        soundfile.write(speech / f"{number}.wav", numbers.normal(0, 0.1, 16_000), 16_000)
        split = ("train", "train", "dev", "test")[number % 4]
        lines.append({"audio": f"{number}.wav", "text": "A WORD", "split": split, "speaker": f"s{number}"})
    (speech / "english.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(train_gpu, "SPEED_MINUTES", 0.2)
    small = ["model.hidden=8", "model.layers=1", "model.conv_channels=2,2", "model.conv_mel_kernels=5,5"]
    small += ["model.conv_time_kernels=5,5", "train.batch_seconds=4"]
    options = Namespace(settings=small, shared=tmp_path / "shared", device="cpu", minutes=0.1)
    bench = train_gpu.Bench(options, tmp_path)
    bench.speed()
    bench.converged("english")
    assert [what.split(",")[0] for what in bench.figures.tables] == ["deepspeech2", "english", "english"]
    (speed,) = next(iter(bench.figures.tables.values()))
    assert speed["audio_s_per_s"] > 0 and 0 <= speed["waiting"] <= 1 and speed["precision"] in ("float32", "bfloat16")


def test_the_plan_of_a_large_corpus_is_measured(script: Any, tmp_path: Path) -> None:
    """30,000 utterances of 7.2 s are 60 hours: one window, and as many batches as their padded seconds fill."""
    scale = script("scale")
    scale.make_index(tmp_path / "index", 30_000)
    found = scale.plan(tmp_path / "index")
    assert found["utterances"] == 30_000 and found["windows"] == 1
    assert found["hours"] == pytest.approx(60, abs=1)
    assert found["batches"] == pytest.approx(found["hours"] * 3600 / scale.BATCH_SECONDS, rel=0.15)
