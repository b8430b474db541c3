"""Text and a voice in, spoken samples out: espeak-ng through ctypes, for demos and tests, never for results.

The library keeps global state and is not thread-safe: one process speaks one sentence after another.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import AsrkitError

SPOKEN_RATE_HZ = 22_050

# From espeak-ng's speak_lib.h
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_RATE, _PITCH = 1, 3
_CHARS_UTF8, _OK = 1, 0
_PATH_LIMIT = 150  # bytes of the data folder's path; espeak-ng keeps it in a buffer of 160

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice, its variant behind a plus ("NAME+f3"), and how it speaks."""

    name: str
    words_per_minute: int = 165
    pitch: int = 50  # 0 to 100


@dataclass(frozen=True)
class _Espeak:
    library: ctypes.CDLL
    data_folder: Path
    callback: Callable[..., int]  # the library holds a bare pointer to it: it must live as long
    heard: list[NDArray[np.int16]]  # pieces of the sentence that is being spoken


def speak(text: str, voice: Voice) -> NDArray[np.float32]:
    """The samples of the spoken text: (S,) float32 at SPOKEN_RATE_HZ, within -1 to 1.

    What was spoken before changes a little how it sounds; every process that speaks the same in the same order gives
    the same samples.

    Raises:
        AsrkitError: espeak-ng is not installed or has no such voice, or it says nothing for this text.
    """
    espeak = _load()
    _, _, variant = voice.name.partition("+")
    known_variant = not variant or (espeak.data_folder / "voices" / "!v" / variant).is_file()  # else it is passed over
    if not known_variant or espeak.library.espeak_SetVoiceByName(voice.name.encode("utf-8")) != _OK:
        raise AsrkitError(f"espeak-ng has no voice {voice.name!r}; wanted one of its own, perhaps a variant: NAME+f3")
    espeak.library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
    espeak.library.espeak_SetParameter(_PITCH, voice.pitch, 0)
    espeak.library.espeak_ng_SetRandSeed(1)  # some variants breathe at random
    espeak.heard.clear()
    spoken = text.encode("utf-8") + b"\0"
    status = espeak.library.espeak_Synth(spoken, len(spoken), 0, 0, 0, _CHARS_UTF8, None, None)
    if status != _OK or not espeak.heard:
        raise AsrkitError(f"espeak-ng says nothing for {text!r} in the voice {voice.name!r}")
    return np.concatenate(espeak.heard).astype(np.float32) / np.float32(32_768)


@cache
def _load() -> _Espeak:
    try:
        import espeakng_loader
    except ImportError as error:
        raise AsrkitError("speaking needs espeak-ng, which is missing: pip install espeakng-loader") from error
    data_folder = Path(espeakng_loader.get_data_path())
    if len(os.fsencode(data_folder)) > _PATH_LIMIT:
        raise AsrkitError(f"espeak-ng cannot use so long a path as {data_folder}; install asrkit in a shorter one")
    try:
        library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    except OSError as error:
        raise AsrkitError(f"espeak-ng cannot be loaded: {error}") from error
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data_folder), _DONT_EXIT)
    if rate_hz != SPOKEN_RATE_HZ:
        raise AsrkitError(f"espeak-ng did not start from {data_folder} (its answer: {rate_hz})")
    heard: list[NDArray[np.int16]] = []

    def listen(samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int) -> int:
        if samples and count > 0:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on

    callback = _Callback(listen)
    library.espeak_SetSynthCallback(callback)
    return _Espeak(library, data_folder, callback, heard)
