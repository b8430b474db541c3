import importlib
import inspect
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny import save_tiny_run

import asrkit
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.errors import AsrkitError
from asrkit.recogniser import Recogniser
from asrkit.search import greedy
from asrkit.tokenizer import CharacterTokenizer
from asrkit.word_times import FrameTimes

VERBS = ("prepare", "train", "decode", "transcribe", "new_language", "compare_tokenizers")
FRAME_S = 0.01


def tone(seconds: float, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


class BeepModel:
    """Stands in for a checkpoint: "a" in every frame of 10 ms that is loud, a space in the others."""

    def log_probs(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frame = round(FRAME_S * SAMPLE_RATE_HZ)
        whole = waveforms[:, : waveforms.shape[1] // frame * frame]
        loud = (whole.unfold(1, frame, frame).square().mean(dim=2) > 0.01).long()  # (B, T)
        probs = torch.full((*loud.shape, 3), 0.05)
        probs.scatter_(2, 1 + loud[:, :, None], 0.9)
        return probs.log(), lengths // frame


@pytest.fixture
def beeps() -> Recogniser:
    search = partial(greedy, tokenizer=CharacterTokenizer(" a"), times=FrameTimes(FRAME_S))
    return Recogniser(BeepModel(), search)  # type: ignore[arg-type]  # all that it uses of a checkpoint


@pytest.fixture(scope="module")
def exp_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("library") / "exp"
    save_tiny_run(exp, "old", seed=1, started=1.0)
    save_tiny_run(exp, "new", seed=2, started=2.0)
    return exp


def test_importing_asrkit_imports_no_torch() -> None:
    code = "import asrkit, sys; asrkit.load_recipe; asrkit.AsrkitError; dir(asrkit); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_exported_name_is_there_and_explained() -> None:
    for name in asrkit.__all__:
        value = getattr(asrkit, name)
        assert isinstance(value, str) or inspect.getdoc(value), name
    assert set(asrkit.__all__) <= set(dir(asrkit))


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_a_plain_function_with_a_docstring(verb: str) -> None:
    function = getattr(importlib.import_module(f"asrkit.{verb}"), verb)
    assert inspect.isfunction(function)
    assert function.__doc__
    assert "Raises:" in function.__doc__
    assert getattr(asrkit, verb) is importlib.import_module(f"asrkit.{verb}")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'transcibe'"):
        asrkit.transcibe  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(asrkit.__file__).with_name("py.typed").is_file()


def test_times_of_words_count_from_the_start_of_a_long_recording(beeps: Recogniser) -> None:
    samples = np.zeros(80 * SAMPLE_RATE_HZ, np.float32)
    said = [(3.0, 3.5), (31.2, 31.6), (70.25, 71.0)]
    for start_s, end_s in said:
        first = round(start_s * SAMPLE_RATE_HZ)
        samples[first : first + round((end_s - start_s) * SAMPLE_RATE_HZ)] = tone(end_s - start_s)
    transcript = beeps.transcribe(samples)
    assert transcript.text == "a a a"
    assert transcript.duration_s == 80.0
    assert [(word.start_s, word.end_s) for word in transcript.words] == [
        (pytest.approx(start_s, abs=0.011), pytest.approx(end_s, abs=0.011)) for start_s, end_s in said
    ]
    assert all(word.confidence == 0.9 for word in transcript.words)
    ends = [part.end_s for part in transcript.segments]
    assert [part.start_s for part in transcript.segments] == [0.0, *ends[:-1]]
    assert len(ends) == 4  # segments of 20 to 30 s
    assert tuple(word for part in transcript.segments for word in part.words) == transcript.words


def test_words_end_within_the_recording() -> None:
    """The model's last frames look at the padding behind the sound."""
    search = partial(greedy, tokenizer=CharacterTokenizer(" a"), times=FrameTimes(2 * FRAME_S))
    (word,) = Recogniser(BeepModel(), search).transcribe(tone(1.0)).words  # type: ignore[arg-type]
    assert (word.start_s, word.end_s) == (0.0, 1.0)


def test_arrays_of_other_rates_and_kinds_are_the_same_sound(beeps: Recogniser) -> None:
    def at(rate_hz: int) -> np.ndarray:
        quiet = np.zeros(rate_hz // 2, np.float32)
        return np.concatenate([quiet, tone(0.5, rate_hz), quiet])

    wanted = beeps.transcribe(at(SAMPLE_RATE_HZ))
    assert [(word.start_s, word.end_s) for word in wanted.words] == [(0.5, 1.0)]
    pcm = (at(SAMPLE_RATE_HZ) * 32767).astype(np.int16)
    stereo = np.stack([at(SAMPLE_RATE_HZ), at(SAMPLE_RATE_HZ)], axis=1)
    for samples, rate_hz in ((at(8000), 8000), (at(48_000), 48_000), (pcm, 16_000), (stereo, 16_000)):
        (word,) = beeps.transcribe(samples, sample_rate_hz=rate_hz).words
        assert (word.start_s, word.end_s) == (pytest.approx(0.5, abs=0.011), pytest.approx(1.0, abs=0.011))


def test_one_channel_of_an_array(beeps: Recogniser) -> None:
    both = np.stack([tone(1.0), np.zeros(SAMPLE_RATE_HZ, np.float32)], axis=1)
    assert [beeps.transcribe(both, channel=channel).text for channel in (0, 1)] == ["a", ""]
    with pytest.raises(AsrkitError, match=r"has 2 channel\(s\); wanted channel 2"):
        beeps.transcribe(both, channel=2)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 3, 4), np.float32), r"shape \(2, 3, 4\) and type float32; wanted samples"),
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.zeros(9, np.uint8), "type uint8"),
        (np.full(9, np.nan, np.float32), "not finite"),
    ],
)
def test_arrays_that_are_no_sound(beeps: Recogniser, samples: np.ndarray, message: str) -> None:
    with pytest.raises(AsrkitError, match=message):
        beeps.transcribe(samples)


def test_load_takes_the_newest_run_a_name_or_a_folder(exp_dir: Path) -> None:
    newest = asrkit.load(exp_dir=exp_dir, device="cpu")
    assert newest.checkpoint.path.parent.parent.name == "new"
    for run in ("old", "tiny/old", exp_dir / "tiny" / "old", exp_dir / "tiny" / "old" / "checkpoints" / "00000007"):
        assert asrkit.load(run, exp_dir=exp_dir, device="cpu").checkpoint.path.parent.parent.name == "old"
    with pytest.raises(AsrkitError, match=r"no run 'odl'.*did you mean 'old'"):
        asrkit.load("odl", exp_dir=exp_dir)


def test_a_file_gives_what_the_checkpoint_says(exp_dir: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE_HZ).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    recogniser = asrkit.load("old", exp_dir=exp_dir, device="cpu")
    checkpoint = recogniser.checkpoint
    log_probs, _ = checkpoint.log_probs(torch.tensor(samples)[None], torch.tensor([len(samples)]))
    transcript = recogniser.transcribe(tmp_path / "a.wav")
    assert transcript.text == greedy(log_probs[0].numpy(), checkpoint.tokenizer).text
    assert [word.word for word in transcript.words] == transcript.text.split()
    assert len(transcript.words) > 3
    starts = [word.start_s for word in transcript.words]
    assert starts == sorted(starts)


def test_settings_of_the_search_need_an_n_gram(exp_dir: Path) -> None:
    with pytest.raises(
        AsrkitError, match=r"^alpha, token_beta without an n-gram has nothing to weigh; wanted --lm FILE$"
    ):
        asrkit.load(exp_dir=exp_dir, beam=10, alpha=0.3, token_beta=0.1, device="cpu")
