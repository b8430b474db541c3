"""Utterances in; short tones in LibriSpeech's folders, or in an archive like OpenSLR's, out."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

SPEAKERS = """\
; Some notes; the columns are
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | dev-clean        | 25.03 | Kristin LeMoine
60   | M | dev-clean        | 20.18 | |CBW|Simon
7    | M | train-clean-100  | 25.19 | A. Reader
"""
# key: transcript; speakers 7 and 14 of the splits below, "60" without a sex-line of its own split
DEV = {
    "14-208-0000": "THE FIRST SENTENCE",
    "14-208-0001": "'TIS THE BOYS' OTHER ONE",
    "60-121-0000": "SOMEONE ELSE SPEAKS",
}
TRAIN = {f"7-{chapter}-{number:04d}": f"SENTENCE {'ABCD'[number]}" for chapter in (3, 20) for number in range(4)}


def tone(duration_s: float = 0.3, pitch_hz: float = 440.0) -> np.ndarray:
    """(S,) float32 at 16 kHz."""
    time_s = np.arange(round(duration_s * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)


def write_split(home: Path, split: str, transcripts: dict[str, str]) -> None:
    """home/<split>/<speaker>/<chapter>/, home being a folder LibriSpeech; each utterance has a pitch of its own."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "SPEAKERS.TXT").write_text(SPEAKERS, encoding="utf-8")
    for number, (key, text) in enumerate(transcripts.items()):
        speaker, chapter, _ = key.split("-")
        folder = home / split / speaker / chapter
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{key}.flac", tone(pitch_hz=200.0 + 20 * number), 16_000)
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a", encoding="utf-8") as file:
            file.write(f"{key} {text}\n")


def archive_of(folder: Path) -> bytes:
    """A .tar.gz with the folder in it, as OpenSLR makes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, folder.name)
    return buffer.getvalue()


def tar_of(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A .tar.gz of made-up members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
