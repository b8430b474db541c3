"""Sound files of every kind in: samples, or one clear line that names the file."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asrkit import audio
from asrkit.errors import AsrkitError

RATE_HZ = audio.SAMPLE_RATE_HZ


def tone(seconds: float, rate_hz: int = RATE_HZ, hz: float = 440.0) -> np.ndarray:
    """Half as loud as can be."""
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def snr_db(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of the middle of two sounds: at its edges a filter sees silence."""
    middle = slice(len(wanted) // 4, 3 * len(wanted) // 4)
    noise = np.sum((found[middle] - wanted[middle]) ** 2) + 1e-20
    return float(10 * np.log10(np.sum(wanted[middle] ** 2) / noise))


FORMATS = [  # file type, subtype, signal-to-noise ratio that its bits or its compression allow
    ("WAV", "PCM_U8", 35),
    ("WAV", "PCM_16", 80),
    ("WAV", "PCM_24", 100),
    ("WAV", "FLOAT", 100),
    ("WAV", "ULAW", 25),
    ("FLAC", "PCM_16", 80),
    ("FLAC", "PCM_24", 100),
    ("AIFF", "PCM_16", 80),
    ("AU", "PCM_16", 80),
    ("W64", "PCM_16", 80),
    ("RF64", "PCM_16", 80),
    ("CAF", "PCM_16", 80),
    ("NIST", "PCM_16", 80),
    ("OGG", "VORBIS", 15),
    ("OGG", "OPUS", 15),
    ("MP3", "MPEG_LAYER_III", 15),
]


@pytest.mark.parametrize("rate_hz", [8000, 48_000])
@pytest.mark.parametrize(("form", "subtype", "quality_db"), FORMATS)
def test_every_format_and_rate_becomes_mono_at_16_khz(
    tmp_path: Path, form: str, subtype: str, quality_db: float, rate_hz: int
) -> None:
    path = tmp_path / f"sound.{form.lower()}"
    mono = tone(1.0, rate_hz)
    soundfile.write(path, np.stack([mono, np.zeros_like(mono)], axis=1), rate_hz, subtype, format=form)

    assert audio.channels(path) == 2
    assert audio.duration_s(path) == pytest.approx(1.0, abs=0.001)
    left = audio.read(path, channel=0)
    assert left.dtype == np.float32 and left.shape == (RATE_HZ,)
    assert snr_db(left, tone(1.0)) > quality_db
    assert np.abs(audio.read(path, channel=1)).max() < 0.03  # a lossy codec lets a little through
    assert snr_db(audio.read(path), tone(1.0) / 2) > quality_db - 6  # the mean of both channels


@pytest.mark.parametrize(("form", "subtype", "_"), FORMATS)
def test_a_piece_is_what_lies_there_in_the_whole(tmp_path: Path, form: str, subtype: str, _: float) -> None:
    path = tmp_path / f"sound.{form.lower()}"
    soundfile.write(path, tone(2.0) * np.linspace(0, 1, 2 * RATE_HZ, dtype=np.float32), RATE_HZ, subtype, format=form)
    whole = audio.read(path)
    piece = audio.read(path, start_s=0.5, end_s=1.25)
    assert len(piece) == 12_000
    np.testing.assert_allclose(piece[200:-200], whole[8200:19_800], atol=1e-4)
    np.testing.assert_allclose(audio.read(path, start_s=1.5)[200:], whole[24_200:], atol=1e-4)


def test_only_the_piece_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(60), RATE_HZ)
    counted = []
    whole_read = soundfile.SoundFile.read

    def read(sound: soundfile.SoundFile, frames: int = -1, **how: object) -> np.ndarray:
        counted.append(frames)
        return whole_read(sound, frames, **how)

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    audio.read(path, start_s=30, end_s=31)
    assert counted == [RATE_HZ]


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_blocks_joined_are_the_whole(tmp_path: Path, form: str, rate_hz: int) -> None:
    path = tmp_path / f"sound.{form.lower()}"
    swell = tone(3.0, rate_hz) * np.linspace(0, 1, 3 * rate_hz, dtype=np.float32)
    soundfile.write(path, swell, rate_hz, format=form)
    whole, _ = soundfile.read(path, dtype="float32")
    blocks = list(audio.read_blocks(path, block_s=0.4))
    assert len(blocks) >= 7 and max(map(len, blocks)) < 2 * 0.4 * RATE_HZ
    joined = np.concatenate(blocks)
    np.testing.assert_allclose(joined, audio.read(path), atol=2e-6)
    if rate_hz == RATE_HZ:
        np.testing.assert_allclose(joined, whole, atol=1e-6)


def test_a_transcript_may_end_a_rounding_behind_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(1.0), RATE_HZ)
    assert len(audio.read(path, start_s=0.5, end_s=1.05)) == 8000


# Broken input: a function that makes the file, and what its one line says.


def _cut(form: str, subtype: str, share: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, 2 * RATE_HZ)
        soundfile.write(path, noise, RATE_HZ, subtype, format=form)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return make


def _not_finite(value: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        samples = tone(1.0)
        samples[1000] = value
        soundfile.write(path, samples, RATE_HZ, "FLOAT", format="WAV")

    return make


BROKEN = [
    ("missing", lambda path: None, "does not exist"),
    ("folder", lambda path: path.mkdir(), "is a folder"),
    ("0-bytes", lambda path: path.write_bytes(b""), "empty file"),
    ("no-sound", lambda path: soundfile.write(path, np.zeros(0), RATE_HZ, format="WAV"), "0 samples"),
    ("text", lambda path: path.write_text("not sound", encoding="utf-8"), "not a sound file"),
    ("nan", _not_finite(float("nan")), "not finite"),
    ("infinite", _not_finite(float("inf")), "not finite"),
    *[
        (f"{form}-{share}", _cut(form, subtype, share), "cut off|not a sound file")
        for form, subtype, _ in FORMATS
        for share in (0.02, 0.5, 0.9)
    ],
]


@pytest.mark.parametrize(("make", "said"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "broken.wav"
    make(path)
    with pytest.raises(AsrkitError, match=said) as error:
        audio.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


# Headerless: .pcm is 16 kHz, mono, 16 bits, little-endian


@pytest.mark.parametrize("rest", [b"", b"\x7f"], ids=["even", "odd"])
def test_pcm_is_read_to_the_last_sample_and_an_odd_byte_dropped(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "sound.PCM"
    samples = np.random.default_rng(0).integers(-32768, 32767, 2 * RATE_HZ + 1)
    path.write_bytes(struct.pack(f"<{len(samples)}h", *samples) + rest)
    wanted = samples.astype(np.float32) / 32768
    np.testing.assert_array_equal(audio.read(path), wanted)
    blocks = list(audio.read_blocks(path, block_s=0.5))
    assert [len(block) for block in blocks] == [8000, 8000, 8000, 8000, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), wanted)
    np.testing.assert_array_equal(audio.read(path, start_s=0.5, end_s=0.75), wanted[8000:12_000])
    np.testing.assert_array_equal(audio.read(path, start_s=1.5, channel=0), wanted[24_000:])
    assert audio.duration_s(path) == (2 * RATE_HZ + 1) / RATE_HZ
    assert audio.channels(path) == 1


@pytest.mark.parametrize(("content", "said"), [(b"", r"is an empty file \(0 bytes"), (b"\x01", r"holds no sound \(0")])
def test_pcm_without_a_sample_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "sound.pcm").write_bytes(content)
    for reading in (audio.read, audio.duration_s):
        with pytest.raises(AsrkitError, match=rf"sound\.pcm {said}"):
            reading(tmp_path / "sound.pcm")


def test_any_other_headerless_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(bytes(1000))
    with pytest.raises(AsrkitError, match="not a sound file"):
        audio.read(tmp_path / "sound.raw")


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        ({"channel": 1}, r"has 1 channel\(s\); wanted channel 1"),
        ({"channel": -1}, "wanted channel -1"),
        ({"start_s": 1.0}, "1.00 s long; wanted the piece from 1 s to its end"),
        ({"start_s": -0.5}, "wanted the piece from -0.5 s"),
        ({"start_s": 0.5, "end_s": 0.5}, "wanted the piece from 0.5 s to 0.5 s"),
        ({"end_s": 1.2}, "wanted the piece from 0 s to 1.2 s"),
    ],
)
def test_a_piece_that_is_not_there_is_refused(tmp_path: Path, piece: dict[str, float], said: str) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(1.0), RATE_HZ)
    with pytest.raises(AsrkitError, match=said):
        audio.read(path, **piece)  # type: ignore[arg-type]


def test_a_wav_from_a_pipe_is_read_though_its_length_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(1.0), RATE_HZ, "PCM_16")
    piped = bytearray(path.read_bytes())
    piped[4:8] = piped[40:44] = struct.pack("<I", 0xFFFFFFFF)  # ffmpeg's sign for it
    path.write_bytes(piped)
    assert len(audio.read(path)) == RATE_HZ


def test_a_flac_from_a_pipe_is_read_though_its_length_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "piped.flac"
    soundfile.write(path, tone(1.0), RATE_HZ, "PCM_16")
    piped = bytearray(path.read_bytes())
    piped[21] &= 0xF0  # STREAMINFO has 36 bits for the number of samples; 0 is unknown
    piped[22:26] = bytes(4)
    path.write_bytes(piped)
    assert len(audio.read(path)) == RATE_HZ
    assert len(audio.read(path, end_s=0.5)) == 8000
    assert audio.duration_s(path) == 1.0


def test_libmpg123_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp3"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, 3 * RATE_HZ), RATE_HZ, format="MP3")
    path.write_bytes(path.read_bytes()[:-2000])  # it warns of a wrong size
    program = "import sys; from asrkit import audio; audio.read(sys.argv[1], start_s=0.5, end_s=1)"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_flac_keeps_16_bits_and_clips() -> None:
    samples = np.array([0.0, 0.5, -1.0, 1.0, 7.0, -7.0, 1 / 32768, 0.4 / 32768], np.float32)
    kept = audio.decode(audio.encode(samples, "flac")) * 32768
    assert kept.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 1, 0]


@pytest.mark.parametrize("length", [1, 319, 16_001, 161_000])
def test_opus_keeps_the_length_and_most_of_the_sound(length: int) -> None:
    samples = tone(length / RATE_HZ + 0.001)[:length]
    kept = audio.decode(audio.encode(samples, "opus"))
    assert kept.shape == (length,)
    assert length < 16_000 or snr_db(kept, samples) > 15


@pytest.mark.parametrize("codec", ["flac", "opus"])
def test_the_same_samples_give_the_same_bytes(codec: str) -> None:
    assert audio.encode(tone(0.3), codec) == audio.encode(tone(0.3), codec)


def test_opus_pages_have_stream_number_0_and_a_right_checksum() -> None:
    def crc(page: bytes) -> int:
        """Bit by bit, as RFC 3533 defines it: polynomial 0x04c11db7, no inversion."""
        value = 0
        for byte in page:
            value ^= byte << 24
            for _ in range(8):
                value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
        return value

    data = audio.encode(tone(1.5), "opus")
    pages = 0
    while data:
        body = 27 + data[26]
        size = body + sum(data[27:body])
        page, data = data[:size], data[size:]
        assert page[:4] == b"OggS" and page[14:18] == bytes(4)
        assert struct.unpack("<I", page[22:26])[0] == crc(page[:22] + bytes(4) + page[26:])
        pages += 1
    assert pages >= 3


@given(length=st.integers(1, 9000), loudness=st.sampled_from([0.0, 1e-4, 0.1, 2.0]), seed=st.integers(0, 99))
def test_flac_is_read_as_libsndfile_reads_it(length: int, loudness: float, seed: int) -> None:
    data = audio.encode((loudness * np.random.default_rng(seed).standard_normal(length)).astype(np.float32), "flac")
    found, wanted = audio.decode(data), soundfile.read(io.BytesIO(data), dtype="float32")[0]
    assert found.dtype == np.float32 and np.array_equal(found, wanted)


@given(place=st.integers(0, 41) | st.integers(0, 6000), bit=st.integers(0, 7))
def test_a_flac_with_a_wrong_bit_is_refused_or_read_right(place: int, bit: int) -> None:
    """The header, 42 bytes, has bits that mean nothing here; others change how much is there, which libsndfile takes at
    its word."""
    whole = bytearray(audio.encode(tone(0.7), "flac"))
    assert len(whole) > 6000
    wanted = audio.decode(bytes(whole))
    whole[place] ^= 1 << bit
    with suppress(AsrkitError):
        assert np.array_equal(audio.decode(bytes(whole)), wanted)


def test_a_flac_must_hold_what_it_says() -> None:
    whole = audio.encode(tone(1.0), "flac")
    with pytest.raises(AsrkitError, match="of FLAC hold 12288 samples; wanted 16000, as they say"):
        audio.decode(whole[:-1])  # all but the last of its blocks of 4096
    fewer = whole[:25] + bytes([whole[25] - 1]) + whole[26:]  # where the count ends
    with pytest.raises(AsrkitError, match="hold 16000 samples; wanted 15999, as they say"):
        audio.decode(fewer)


def test_decode_wants_one_channel_at_16_khz() -> None:
    def flac(rate_hz: int, channels: int) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, np.zeros((800, channels)), rate_hz, format="FLAC")
        return file.getvalue()

    with pytest.raises(AsrkitError, match=r"sound of 8000 Hz and 1 channel\(s\); wanted mono at 16000 Hz"):
        audio.decode(flac(8000, 1))
    with pytest.raises(AsrkitError, match=r"sound of 16000 Hz and 2 channel\(s\); wanted mono at 16000 Hz"):
        audio.decode(flac(16_000, 2))


def test_decode_refuses_what_is_no_sound() -> None:
    with pytest.raises(AsrkitError, match="12 bytes are not a whole sound file"):
        audio.decode(b"fLaC, not so")
    with pytest.raises(AsrkitError, match="9 bytes are not a whole sound file"):
        audio.decode(b"not sound")


@pytest.mark.parametrize(("speed", "length"), [(0.9, 17_778), (1.0, 16_000), (1.1, 14_545), (2.0, 8000)])
def test_speed_changes_length_and_pitch_together(speed: float, length: int) -> None:
    faster = audio.change_speed(tone(1.0), speed)
    assert faster.shape == (length,) and faster.dtype == np.float32
    assert snr_db(faster, tone(2.0, hz=440 * speed)[:length]) > 60
