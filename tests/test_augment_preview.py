"""A page to hear and see augmentation."""

import base64
import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from house import Told
from tones import make_tones, tones_recipe

from asrkit.augment_preview import augment_preview
from asrkit.checkpoint import load_checkpoint
from asrkit.errors import AsrkitError
from asrkit.prepare_noise import prepare_noise
from asrkit.preview_page import png
from asrkit.train import train


def embedded(page: str, kind: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(rf'data:{kind};base64,([^"]+)"', page)]


def test_the_page_holds_players_and_pictures_of_before_and_after(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    (tmp_path / "street").mkdir()
    soundfile.write(tmp_path / "street" / "tram.wav", np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000)
    prepare_noise(noise=[tmp_path / "street"], data_dir=tmp_path / "data", name="noise")
    recipe = tones_recipe("augment.noise=noise", "augment.noise_p=1", "augment.speeds=0.5", "augment.codec_p=1")
    path = augment_preview(recipe, data_dir=tmp_path / "data", out=tmp_path / "page.html", utterances=3)
    page = path.read_text(encoding="utf-8")
    sounds, pictures = embedded(page, "audio/flac"), embedded(page, "image/png")
    assert len(sounds) == len(pictures) == 3 * 4
    lengths = [soundfile.info(io.BytesIO(sound)).frames for sound in sounds]
    assert lengths[1] == lengths[2] == lengths[3] == 2 * lengths[0]
    said = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert said[0] == "as recorded" and re.fullmatch(r"speed 0.5(, tram at \d+ dB)+, (ulaw|gsm|mp3)", said[1])
    assert "http" not in page  # nothing is loaded from elsewhere


def test_beside_speech_far_away_noises_are_here_as_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tones(tmp_path / "far")
    (tmp_path / "street").mkdir()
    soundfile.write(tmp_path / "street" / "tram.wav", np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000)
    prepare_noise(noise=[tmp_path / "street"], data_dir=tmp_path / "data", name="noise")
    monkeypatch.chdir(tmp_path)
    recipe = tones_recipe("augment.noise=noise", "augment.noise_p=1")
    path = augment_preview(recipe, data_dir=(tmp_path / "far").as_uri(), out=tmp_path / "page.html", utterances=1)
    assert "tram at" in path.read_text(encoding="utf-8")


def pixels(png_file: bytes) -> np.ndarray:
    """(rows, columns) from 0 to 255, read as the PNG format says."""
    assert png_file.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(png_file):
        (size,) = struct.unpack(">I", png_file[at : at + 4])
        name, content = png_file[at + 4 : at + 8], png_file[at + 8 : at + 8 + size]
        (checksum,) = struct.unpack(">I", png_file[at + 8 + size : at + 12 + size])
        assert checksum == zlib.crc32(name + content)
        chunks[name], at = content, at + 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    columns, rows, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 3, 0, 0, 0] and len(chunks[b"PLTE"]) == 768
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def test_a_picture_is_a_png_that_others_can_read() -> None:
    picture = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(pixels(png(picture)), np.rint(picture * 255))


@pytest.mark.parametrize("normalize", ["utterance", "train"])
def test_pictures_are_the_features_that_the_model_gets(tmp_path: Path, normalize: str) -> None:
    make_tones(tmp_path / "data")
    recipe = tones_recipe(f"features.normalize={normalize}", "train.epochs=1")
    path = augment_preview(recipe, data_dir=tmp_path / "data", out=tmp_path / "a" / "page.html", utterances=1)
    page = path.read_text(encoding="utf-8")
    sound, rate_hz = soundfile.read(io.BytesIO(embedded(page, "audio/flac")[0]), dtype="float32")
    trained = load_checkpoint(train(recipe, data_dir=tmp_path / "data", exp_dir=tmp_path, device="cpu"))
    log_mel, frames = trained.features(torch.from_numpy(sound)[None], torch.tensor([len(sound)]))
    wanted = (log_mel[0, : int(frames)].T.flip(0).numpy() + 2) / 5 * 255
    np.testing.assert_allclose(pixels(embedded(page, "image/png")[0]), wanted.clip(0, 255), atol=1)
    assert rate_hz == 16_000 and wanted.clip(0, 255).std() > 20


def test_a_setting_that_can_do_nothing_is_told(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    (tmp_path / "street").mkdir()
    soundfile.write(tmp_path / "street" / "tram.wav", np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000)
    prepare_noise(noise=[tmp_path / "street"], data_dir=tmp_path / "data", name="noise")
    told = Told()
    recipe = tones_recipe("augment.noise=noise", "augment.noise_p=1", "augment.reverb_p=0.5", "train.epochs=1")
    augment_preview(recipe, data_dir=tmp_path / "data", out=tmp_path / "page.html", utterances=1, progress=told)
    wanted = "augment.reverb_p=0.5 changes nothing, for there are no rooms; wanted augment.noise=NAME with some: "
    assert told.warned == [wanted + "asrkit prepare-noise --rir FOLDER --name NAME"]
    train(recipe, data_dir=tmp_path / "data", exp_dir=tmp_path, device="cpu", progress=told)
    assert told.warned == [told.warned[0]] * 2
    assert "heard among 1 noises and in 0 rooms" in told.said


def test_off_by_one_switch_nothing_is_heard_but_the_recording(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    recipe = tones_recipe("augment.enabled=false")
    path = augment_preview(recipe, data_dir=tmp_path / "data", out=tmp_path / "page.html", utterances=1)
    page = path.read_text(encoding="utf-8")
    assert set(re.findall("<figcaption>(.*?)</figcaption>", page)) == {"as recorded"}
    assert len(set(embedded(page, "image/png"))) == len(set(embedded(page, "audio/flac"))) == 1


def test_mistakes(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    with pytest.raises(AsrkitError, match="data/street holds no prepared noises; run: asrkit prepare-noise"):
        augment_preview(tones_recipe("augment.noise=street"), data_dir=tmp_path / "data")
    with pytest.raises(AsrkitError, match=r"no data in .* is prepared with 'tones'"):
        augment_preview(tones_recipe(), data_dir=tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(AsrkitError, match=r"file cannot be written \(File exists\); choose another place"):
        augment_preview(tones_recipe(), data_dir=tmp_path / "data", out=tmp_path / "file" / "page.html")
    with pytest.raises(AsrkitError, match="/dev/null is there and is no file; wanted the name of a file"):
        augment_preview(tones_recipe(), data_dir=tmp_path / "data", out="/dev/null")
    assert Path("/dev/null").is_char_device()
