import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import save_tiny_run

import asrkit
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.errors import AsrkitError
from asrkit.progress import Silent
from asrkit.transcribe import transcribe

ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-99\t<s>\t0
-1\t</s>
-2\t<unk>
-0.5\tTHE\t0
-0.7\tCAT\t0

\\2-grams:
-0.3\t<s> THE
-0.3\tTHE CAT

\\end\\
"""


class Listener(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def sound(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)


def write(path: Path, *channels: np.ndarray) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def exp_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("transcribe") / "exp"
    save_tiny_run(exp)
    return exp


def test_files_of_several_kinds(exp_dir: Path, tmp_path: Path) -> None:
    short = write(tmp_path / "a.wav", sound(1.5, 1))
    long = tmp_path / "b.flac"
    soundfile.write(long, sound(64.0, 2), SAMPLE_RATE_HZ)
    first, second = transcribe([short, str(long)], exp_dir=exp_dir, device="cpu")

    assert (first["file"], first["channel"], first["duration_s"]) == (str(short), None, 1.5)
    assert list(first) == ["file", "channel", "duration_s", "text", "words", "segments"]
    assert list(first["words"][0]) == ["word", "start_s", "end_s", "confidence"]
    assert first["text"] == " ".join(word["word"] for word in first["words"])
    assert second["duration_s"] == 64.0
    assert len(second["segments"]) == 3
    assert second["text"] == " ".join(part["text"] for part in second["segments"])
    assert all(0 <= word["start_s"] <= word["end_s"] <= 64.0 for word in second["words"])
    assert json.loads(json.dumps(second))["words"][0]["word"] == second["words"][0]["word"]
    recogniser = asrkit.load(exp_dir=exp_dir, device="cpu")
    assert recogniser.transcribe(long).text == second["text"]


def test_channels_mixed_or_each(exp_dir: Path, tmp_path: Path) -> None:
    left, right = sound(2.0, 3), sound(2.0, 4)
    both = write(tmp_path / "both.wav", left, right)
    each = list(transcribe([both], exp_dir=exp_dir, channels="each", device="cpu"))
    (mixed,) = transcribe([both], exp_dir=exp_dir, channels="mix", device="cpu")
    recogniser = asrkit.load(exp_dir=exp_dir, device="cpu")
    assert [found["channel"] for found in each] == [0, 1]
    assert [found["text"] for found in each] == [recogniser.transcribe(one).text for one in (left, right)]
    assert mixed["channel"] is None
    assert mixed["text"] == recogniser.transcribe((left + right) / 2).text
    with pytest.raises(AsrkitError, match="channels is 'all'; wanted mix or each"):
        transcribe([both], exp_dir=exp_dir, channels="all")  # type: ignore[arg-type]


def test_an_n_gram(exp_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "small.arpa").write_text(ARPA, encoding="utf-8")
    write(tmp_path / "a.wav", sound(1.0, 5))
    (found,) = transcribe([tmp_path / "a.wav"], exp_dir=exp_dir, lm=tmp_path / "small.arpa", beam=8, device="cpu")
    assert found["text"] == " ".join(word["word"] for word in found["words"])
    assert found["words"]
    assert all(0 < word["confidence"] <= 1 for word in found["words"])
    starts = [word["start_s"] for word in found["words"]]
    assert starts == sorted(starts)


def test_a_file_that_cannot_be_read_does_not_stop_the_others(exp_dir: Path, tmp_path: Path) -> None:
    good = [write(tmp_path / f"{name}.wav", sound(1.0, 6)) for name in "ab"]
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    cut_off = write(tmp_path / "cut.wav", sound(1.0, 6))
    cut_off.write_bytes(cut_off.read_bytes()[:20_000])
    paths = [good[0], tmp_path / "none.wav", tmp_path, tmp_path / "text.wav", cut_off, good[1]]
    listener = Listener()
    results = transcribe(paths, exp_dir=exp_dir, device="cpu", progress=listener)
    assert [next(results)["file"], next(results)["file"]] == [str(path) for path in good]
    with pytest.raises(AsrkitError, match=r"^4 of 6 files could not be transcribed$"):
        next(results)
    assert [warning.partition(" ")[0] for warning in listener.warnings] == [str(path) for path in paths[1:5]]
    for warning, part in zip(listener.warnings, ["does not exist", "folder", "not a sound", "cut off"], strict=True):
        assert part in warning
        assert "\n" not in warning


def test_a_single_file_that_cannot_be_read_is_one_line(exp_dir: Path, tmp_path: Path) -> None:
    listener = Listener()
    with pytest.raises(AsrkitError, match=r"none\.wav does not exist"):
        list(transcribe([tmp_path / "none.wav"], exp_dir=exp_dir, device="cpu", progress=listener))
    assert listener.warnings == []


def test_a_result_comes_before_the_next_file_is_read(exp_dir: Path, tmp_path: Path) -> None:
    first = write(tmp_path / "a.wav", sound(1.0, 7))
    results = transcribe([first, tmp_path / "later.wav"], exp_dir=exp_dir, device="cpu")
    assert next(results)["file"] == str(first)
    write(tmp_path / "later.wav", sound(1.0, 8))
    assert next(results)["file"] == str(tmp_path / "later.wav")


def test_what_is_wrong_with_the_run_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match=r"no run in .*exp/; train one first: asrkit train RECIPE"):
        transcribe([tmp_path / "a.wav"], exp_dir=tmp_path / "exp")
    with pytest.raises(AsrkitError, match="no file to transcribe"):
        transcribe([], exp_dir=tmp_path / "exp")
