"""Sounds and their spectrograms in, one self-contained HTML page with players and pictures out."""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from asrkit.settings import AugmentSettings

_COLOURS = np.array([(8, 10, 40), (60, 30, 120), (170, 55, 105), (240, 130, 50), (252, 245, 180)], dtype=np.float64)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", sans-serif; margin: 0 auto;
  max-width: 1120px; padding: 28px 20px 60px; }
h1 { font-size: 22px; } h2 { font-size: 16px; margin: 32px 0 0; } p { margin: 2px 0 10px; } .soft { opacity: 0.7; }
.heard { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; }
figure { margin: 0; } img { width: 100%; height: 120px; image-rendering: pixelated; border-radius: 6px; }
audio { width: 100%; height: 34px; } figcaption { font-size: 13px; min-height: 2.9em; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Heard:
    """One way in which an utterance is heard."""

    said: str  # what was done to it
    flac: bytes
    picture: NDArray[np.float32]  # (F, T) from 0 to 1


@dataclass(frozen=True)
class Utterance:
    """What is said, and all the ways in which it is heard."""

    key: str
    text: str
    heard: Sequence[Heard]


def preview_page(title: str, settings: AugmentSettings, utterances: Sequence[Utterance]) -> str:
    """The whole page."""
    shown = ", ".join(f"{name} {_listed(value)}" for name, value in asdict(settings).items())
    parts = [
        f"<!doctype html><html><head><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style></head>",
        f"<body><h1>{escape(title)}</h1><p class=soft>{escape(shown)}</p>",
        "<p>Above each player are the features that the model gets: time to the right, pitch upwards, masks as bars of "
        "one colour. Dev and test are always as recorded.</p>",
    ]
    for one in utterances:
        figures = "".join(map(_figure, one.heard))
        parts.append(f"<h2>{escape(one.text)}</h2><p class=soft>{escape(one.key)}</p><div class=heard>{figures}</div>")
    return "\n".join(parts) + "\n</body></html>\n"


def _listed(value: object) -> str:
    return "/".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _figure(heard: Heard) -> str:
    picture, sound = (base64.b64encode(each).decode("ascii") for each in (png(heard.picture), heard.flac))
    return (
        f'<figure><img alt="spectrogram" src="data:image/png;base64,{picture}">'
        f'<audio controls preload=none src="data:audio/flac;base64,{sound}"></audio>'
        f"<figcaption>{escape(heard.said)}</figcaption></figure>"
    )


def png(picture: NDArray[np.float32]) -> bytes:
    """A picture (rows, columns) of numbers from 0 to 1 as a PNG file with a palette (W3C 2003)."""
    rows, columns = picture.shape
    steps = np.linspace(0, len(_COLOURS) - 1, 256)
    palette = np.stack([np.interp(steps, range(len(_COLOURS)), _COLOURS[:, channel]) for channel in range(3)], axis=1)
    pixels = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels], axis=1)  # each with its filter: none
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
