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
from tones import make_tones, tones_recipe

from asrkit.augment_preview import augment_preview
from asrkit.errors import AsrkitError
from asrkit.prepare_noise import prepare_noise
from asrkit.preview_page import png


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


def test_a_picture_is_a_png_that_others_can_read() -> None:
    picture = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    found = png(picture)
    assert found.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(found):
        (size,) = struct.unpack(">I", found[at : at + 4])
        name, content = found[at + 4 : at + 8], found[at + 8 : at + 8 + size]
        (checksum,) = struct.unpack(">I", found[at + 8 + size : at + 12 + size])
        assert checksum == zlib.crc32(name + content)
        chunks[name], at = content, at + 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (4, 3, 8, 3, 0, 0, 0) and len(chunks[b"PLTE"]) == 768
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 5)
    assert not lines[:, 0].any()
    np.testing.assert_array_equal(lines[:, 1:], np.rint(picture * 255))


def test_mistakes(tmp_path: Path) -> None:
    make_tones(tmp_path / "data")
    with pytest.raises(AsrkitError, match="data/street holds no prepared noises; run: asrkit prepare-noise"):
        augment_preview(tones_recipe("augment.noise=street"), data_dir=tmp_path / "data")
    with pytest.raises(AsrkitError, match=r"no data in .* is prepared with 'tones'"):
        augment_preview(tones_recipe(), data_dir=tmp_path / "none")
