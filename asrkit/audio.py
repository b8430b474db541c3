"""Sound files in, mono float32 samples at 16 kHz out; and samples in, FLAC or Opus bytes out, the same every time.

Everything that libsndfile reads comes in, at any rate and with any number of channels; and .pcm, headerless: 16 kHz,
mono, 16 bits, little-endian, where an odd last byte is half a sample and dropped. A file that is broken, cut off or
empty is refused by name, never read as if it were whole.

Shapes: S is samples, C is channels.
"""

import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import miniaudio
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asrkit.errors import AsrkitError

SAMPLE_RATE_HZ = 16_000
Samples = npt.NDArray[np.float32]  # (S,)

_BLOCK_S = 30.0  # of a file that is read at once
_END_SLACK_S = 0.1  # by which a transcript's end_s may lie behind the file's end: rounding
_MP3_SLACK_SAMPLES = 1152  # one or two frames: whether the count in the header includes the delay varies
_MP3_RUN_UP_S = 1.0  # after a seek an MP3 decoder lacks the bits that earlier frames keep for later ones
_UNKNOWN_BYTES = 0x7F00_0000  # a data chunk that claims this much and more was written to a pipe: its length is unknown
# What libsndfile's log says when a header promises more than there is.
_CLAIMED_BYTES = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_FLAC_COUNT = slice(18, 26)  # 28 bits that say other things, and how many samples there are (RFC 9639, 8.2)
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255  # the longest
_HEADERLESS = {"samplerate": SAMPLE_RATE_HZ, "channels": 1, "format": "RAW", "subtype": "PCM_16", "endian": "LITTLE"}
_SPHERE_SAMPLES = re.compile(rb"sample_count -i (\d+)")


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no type hints
    """A file read from front to back. After each read soundfile seeks to where it is already, which makes an MP3
    decoder forget what it needs for the next frames, and which a FLAC of unknown length cannot do."""

    def seekable(self) -> bool:
        return False


def read(path: str | Path, *, start_s: float = 0.0, end_s: float | None = None, channel: int | None = None) -> Samples:
    """The sound from `start_s` to `end_s`; `channel` counts from 0, None mixes all. Seeks: only the piece is read.

    Raises:
        AsrkitError: missing, unreadable, cut off, empty, not finite, no such channel, or no such piece.
    """
    return np.concatenate(list(_blocks(Path(path), start_s, end_s, channel, _BLOCK_S)))  # (S,)


def read_blocks(path: str | Path, *, block_s: float, channel: int | None = None) -> Iterator[Samples]:
    """A file of any length, about `block_s` seconds at a time, in bounded memory; joined, they are what `read` gives,
    but for rounding in the last bits where it is resampled.

    Raises:
        AsrkitError: as `read` does; what is found at the end of a file is raised there.
    """
    return _blocks(Path(path), 0.0, None, channel, block_s)


def channels(path: str | Path) -> int:
    """How many channels the file has."""
    with _open(Path(path)) as sound:
        return int(sound.channels)


def duration_s(path: str | Path) -> float:
    """The length of the file, from its header."""
    with _open(Path(path)) as sound:
        if _length_known(sound):
            return float(sound.frames / sound.samplerate)
    return sum(len(block) for block in read_blocks(path, block_s=_BLOCK_S)) / SAMPLE_RATE_HZ


def encode(samples: Samples, codec: str) -> bytes:
    """The samples (S,) as a FLAC (16 bits, clipped to [-1, 1)) or an Ogg Opus file; same samples, same bytes."""
    pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)  # (S,)
    buffer = io.BytesIO()
    form, subtype = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}[codec]
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE_HZ, 1, subtype, format=form) as sound:
        for start in range(0, len(pcm), 10 * SAMPLE_RATE_HZ):  # libsndfile's Ogg encoders overflow on very long arrays
            sound.write(pcm[start : start + 10 * SAMPLE_RATE_HZ])
    return buffer.getvalue() if codec == "flac" else _with_fixed_serial(buffer.getvalue())


def decode(data: bytes) -> Samples:
    """What `encode` made, as samples (S,).

    Raises:
        AsrkitError: not a whole sound file at 16 kHz.
    """
    try:
        samples, rate_hz, channels = _decode_flac(data) if data.startswith(b"fLaC") else _decode_other(data)
    except (soundfile.SoundFileError, TypeError, miniaudio.MiniaudioError) as error:
        raise AsrkitError(f"{len(data)} bytes are not a whole sound file ({_reason(error)})") from error
    if (rate_hz, channels) != (SAMPLE_RATE_HZ, 1):
        raise AsrkitError(f"sound of {rate_hz} Hz and {channels} channel(s); wanted mono at {SAMPLE_RATE_HZ} Hz")
    return samples


def _decode_other(data: bytes) -> tuple[Samples, int, int]:
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)  # (S, C)
    return samples[:, 0], rate_hz, samples.shape[1]


def _decode_flac(data: bytes) -> tuple[Samples, int, int]:
    """Decoding is half of what a plain loader does, and dr_flac, which miniaudio brings, takes half of libFLAC's time.

    It leaves out a frame whose checksum is wrong, so the samples must be as many as the header says.
    """
    sound = miniaudio.flac_read_f32(data)
    promised = int.from_bytes(data[_FLAC_COUNT], "big") & (1 << 36) - 1
    if sound.num_frames != promised:
        raise AsrkitError(f"{len(data)} bytes of FLAC hold {sound.num_frames} samples; wanted {promised}, as they say")
    return np.frombuffer(sound.samples, np.float32), sound.sample_rate, sound.nchannels


def change_speed(samples: Samples, speed: float) -> Samples:
    """The samples `speed` times as fast, tempo and pitch together, as sox's `speed` effect does it."""
    if speed == 1.0:
        return samples
    return soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ)  # type: ignore[no-any-return]  # untyped


def _blocks(path: Path, start_s: float, end_s: float | None, channel: int | None, block_s: float) -> Iterator[Samples]:
    """Mono blocks at 16 kHz; one resampler goes through all of them, so that there are no seams."""
    with _open(path) as sound:
        if channel is not None and not 0 <= channel < sound.channels:
            raise AsrkitError(f"{path} has {sound.channels} channel(s); wanted channel {channel}, counted from 0")
        first, last = _frame_range(sound, path, start_s, end_s)
        rate_hz = sound.samplerate
        resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        frames_read = samples_given = 0
        for block in _native_blocks(sound, path, first, last, channel, max(1, int(block_s * rate_hz))):
            frames_read += len(block)
            if rate_hz != SAMPLE_RATE_HZ:
                block = resampler.resample_chunk(block)
            samples_given += len(block)
            if len(block):
                yield block  # (S,)
        _check_whole(sound, path, first, last, frames_read)
    if rate_hz != SAMPLE_RATE_HZ:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        samples_given += len(rest)
        if len(rest):
            yield rest
    if samples_given == 0:
        raise AsrkitError(f"{path} holds no sound (0 samples)")


def _native_blocks(
    sound: soundfile.SoundFile, path: Path, first: int, last: int, channel: int | None, block_frames: int
) -> Iterator[Samples]:
    """Mono blocks at the file's own rate."""
    try:
        if first:
            with _quiet(path):
                run_up = min(first, int(_MP3_RUN_UP_S * sound.samplerate)) if sound.format == "MP3" else 0
                sound.seek(first - run_up)
                if run_up:
                    sound.read(run_up, dtype="float32")
        while first < last:
            with _quiet(path):
                frames = sound.read(min(block_frames, last - first), dtype="float32", always_2d=True)  # (S, C)
            if not len(frames):
                return
            only = 0 if sound.channels == 1 else channel
            mono = frames.mean(axis=1, dtype=np.float32) if only is None else frames[:, only]  # (S,)
            if not np.isfinite(mono).all():
                raise AsrkitError(f"{path} holds samples that are not finite (NaN or infinite)")
            first += len(frames)
            yield np.ascontiguousarray(mono)
    except (soundfile.SoundFileError, ValueError) as error:
        raise AsrkitError(f"{path} is cut off or damaged ({_reason(error)})") from error


def _open(path: Path) -> soundfile.SoundFile:
    """The file, opened, with everything checked that its header tells."""
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # a folder that may not be entered, a name longer than the file system takes
        raise AsrkitError(f"{path} cannot be read ({error.strerror})") from error
    if not is_file:
        raise AsrkitError(f"{path} {'is a folder' if is_folder else 'does not exist'}; wanted a sound file")
    if path.stat().st_size == 0:
        raise AsrkitError(f"{path} is an empty file (0 bytes)")
    try:
        with _quiet(path):
            sound = _ForwardFile(path, **(_HEADERLESS if path.suffix.lower() == ".pcm" else {}))
    except (soundfile.SoundFileError, TypeError, OSError) as error:  # TypeError: a .raw file has no header to read
        raise AsrkitError(f"{path} is not a sound file that libsndfile reads ({_reason(error)})") from error
    try:
        _check_log(sound, path)
        if sound.frames == 0:
            raise AsrkitError(f"{path} holds no sound (0 samples)")
    except AsrkitError:
        sound.close()
        raise
    return sound


def _check_log(sound: soundfile.SoundFile, path: Path) -> None:
    """libsndfile takes what is there for the whole and only tells its log that the header promised more."""
    log = sound.extra_info
    for claimed, found in _CLAIMED_BYTES.findall(log):
        if int(found) < int(claimed) < _UNKNOWN_BYTES:
            raise AsrkitError(f"{path} is cut off: {found} of the {claimed} bytes of sound that its header promises")
    if sound.format == "OGG" and not _ogg_ends(path):
        raise AsrkitError(f"{path} is cut off: its last Ogg page does not end the stream")
    if sound.format == "NIST":
        promised = _SPHERE_SAMPLES.search(_piece(path, 0, 1024))
        if promised and sound.frames < int(promised[1]):
            raise AsrkitError(f"{path} is cut off: {sound.frames} of the {int(promised[1])} samples promised")


def _frame_range(sound: soundfile.SoundFile, path: Path, start_s: float, end_s: float | None) -> tuple[int, int]:
    """First frame and the one behind the last, at the file's own rate."""
    length_s = sound.frames / sound.samplerate
    if not 0 <= start_s < length_s or (end_s is not None and not start_s < end_s <= length_s + _END_SLACK_S):
        wanted = f"{start_s:g} s to {'its end' if end_s is None else f'{end_s:g} s'}"
        raise AsrkitError(f"{path} is {length_s:.2f} s long; wanted the piece from {wanted}")
    first = round(start_s * sound.samplerate)
    last = sound.frames if end_s is None else min(round(end_s * sound.samplerate), sound.frames)
    return first, last


def _check_whole(sound: soundfile.SoundFile, path: Path, first: int, last: int, frames_read: int) -> None:
    """Refuses a file that ended before the length in its header, where the header tells one."""
    missing = last - first - frames_read
    slack = 0
    if sound.format == "MP3":
        # Without a Xing or Info frame the length is only a guess from the bit rate.
        slack = _MP3_SLACK_SAMPLES if _has_xing(path) else missing
    if _length_known(sound) and missing > slack:
        raise AsrkitError(f"{path} is cut off: {first + frames_read} of the {last} samples that its header promises")


def _length_known(sound: soundfile.SoundFile) -> bool:
    """A FLAC written to a pipe does not say how long it is; libsndfile then gives the largest number it has."""
    return bool(sound.frames < 2**60)


def _has_xing(path: Path) -> bool:
    """Whether an MP3 says how long it is."""
    head = _piece(path, 0, 256)
    if head[:3] == b"ID3":  # tags come first; their size has seven bits a byte
        head = _piece(path, 10 + sum(byte << (7 * (3 - i)) for i, byte in enumerate(head[6:10])), 256)
    return b"Xing" in head or b"Info" in head


def _ogg_ends(path: Path) -> bool:
    """Whether the last page is whole and marked as the end of its stream (RFC 3533, section 6)."""
    tail = _piece(path, max(0, path.stat().st_size - 2 * _OGG_PAGE_BYTES), 2 * _OGG_PAGE_BYTES)
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """Keeps libmpg123, which has no switch for it, from writing to the terminal; it complains after every seek."""
    if path.suffix.lower() not in (".mp3", ".mpga", ".mpeg"):
        yield
        return
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the file name that our message has already."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _with_fixed_serial(ogg: bytes) -> bytes:
    """The Ogg file with stream number 0: libsndfile draws a random one (layout of a page: RFC 3533, section 6)."""
    pages = bytearray(ogg)
    start = 0
    while start < len(pages):
        segments = pages[start + 26]
        body = start + 27 + segments
        end = body + sum(pages[start + 27 : body])
        pages[start + 14 : start + 18] = bytes(4)
        pages[start + 22 : start + 26] = bytes(4)  # the checksum is taken with its own place zero
        pages[start + 22 : start + 26] = _ogg_crc(bytes(pages[start:end])).to_bytes(4, "little")
        start = end
    return bytes(pages)


def _ogg_crc(page: bytes) -> int:
    """Ogg's CRC-32 is zlib's with the bits of all bytes mirrored, starting from 0 and not inverted at the end."""
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
