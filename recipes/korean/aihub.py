"""Two corpora of AI-Hub as it delivers them, free conversation (109) and commands in noise (71405): folders in,
utterances out.

Free conversation has a JSON for each recording, in a folder of the same name as that of its sound:

    Training/[라벨]1.AI챗봇/일반남여_일반통합05_M_1455308554-6_37_수도권_실내/일반남여_..._실내_06313.json
    Training/[원천]1.AI챗봇_1/일반남여_일반통합05_M_1455308554-6_37_수도권_실내/일반남여_..._실내_06313.wav
    Validation/...

    {"발화정보": {"stt": "(FP:음) 내일 오후 (SP:세시에) 예약해 주세요 (SN:)", "fileNm": "일반남여_..._06313.wav",
                  "recrdTime": "5.000", "scriptId": ..., "recrdQuality": "16K", "recrdDt": ..., "scriptSetNo": ...},
     "대화정보": {"recrdEnvrn": "실내", "cityCode": "수도권", "recrdUnit": ..., "convrsThema": ..., ...},
     "녹음자정보": {"gender": "남", "recorderId": "1455308554-6", "age": 37}}

Its tags, with or without words in them: NO noise, SN breath or laughter of the speaker, FP a filler word, SP words that
are mispronounced or not clearly heard. The words stay, the tags go, and an utterance with SP is unfit for training, as
is one with parentheses of any other kind.

Commands in noise have a JSON for two recordings of the same command, -N and -S; AI-Hub's folders say whether the
speaker was near (근거리) or far (원거리). What N and S stand for is not published; N is the noisier one.

    01.데이터/Training/02.라벨링데이터/TL_01.다화자_소음_환경_001.식당_01.원거리/<name>-J.json
    01.데이터/Training/01.원천데이터/TS_01.다화자_소음_환경_001.식당_01.원거리/<name>-N.wav and <name>-S.wav
    01.데이터/Validation/02.라벨링데이터/VL_.../..., 01.원천데이터/VS_.../...

    {"file": {"name": ..., "length": ..., "speechLength": ..., "samplingRate": "16kHz"},
     "command": {"text": ..., "category": ..., "snr": ...}, "noise": {"level": ...},
     "speaker": {"id": ..., "gender": ..., "age": ..., "recordingDevice": ..., "mask": ...}}
"""

import json
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from asrkit.corpus import known_gender
from asrkit.errors import AsrkitError
from asrkit.recipe import Corpus
from asrkit.settings import SplitsSettings
from asrkit.text import collapse_spaces, fold_forms, nfc
from asrkit.utterance import Utterance

from .ksponspeech_text import MALFORMED, UNCLEAR

NO_TRANSCRIPT = "no transcript in its label"
IN_TEST_TOO = "speaker is in test, too"

_DELIVERED = {"train": "Training", "test": "Validation"}
_TEST_PERCENT = 5  # of the speakers, where AI-Hub's two folders are not there
_TAG = re.compile(r"\(\s*(NO|SN|FP|SP)\s*:([^()]*)\)")
_SOUND = (".wav", ".pcm")
_GENDERS = {"남": "m", "남성": "m", "남자": "m", "여": "f", "여성": "f", "여자": "f"}
_DISTANCES = {"원거리": "far", "근거리": "near"}
_Section = dict[str, Any]


def read_free_conversation(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances of one split (see `_read`), sorted by the labels' paths.

    Raises:
        AsrkitError: there is no such split, or no labels.
    """
    return _read(root, split, partial(_conversation, _sound_folders(root)))


def read_noisy_speech(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances of one split (see `_read`), two for each label, sorted by the labels' paths.

    Raises:
        AsrkitError: there is no such split, or no labels.
    """
    return _read(root, split, partial(_commands, root))


def _read(root: Path, split: str, utterances: Callable[[Path], Iterator[Utterance]]) -> Iterator[Utterance]:
    """The utterances of a split's labels: train is AI-Hub's Training, test its Validation.

    AI-Hub does not say that the two share no speakers, so an utterance of train whose speaker is in test bears a note,
    which prepare counts. Where the two folders are not there, test is 5 % of the speakers by their hash. A label
    without its sound or its transcript comes too, so that prepare can count it; sound without a label stays unseen.
    """
    if split not in _DELIVERED:
        raise AsrkitError(f"this corpus has no split {split!r}; wanted train or test")
    homes = {name: _folders(root, word) for name, word in _DELIVERED.items()}
    delivered = all(homes.values())
    labels = _labels(homes[split] if delivered else [root])
    first = next(labels, None)
    if first is None:
        raise AsrkitError(f"{root} holds no labels (.json); wanted AI-Hub's folders, with their archives unpacked")
    tested = {one.speaker for label in _labels(homes["test"]) for one in utterances(label)} if delivered else set()
    for label in chain([first], labels):
        for one in utterances(label):
            if delivered or _in_test(one.speaker or label.stem) == (split == "test"):
                notes = (IN_TEST_TOO,) if split == "train" and one.speaker and one.speaker in tested else ()
                yield replace(one, split=split, notes=one.notes + notes)


def _folders(root: Path, ending: str) -> list[Path]:
    """The nearest folders below root whose names end so."""
    for depth in range(4):
        found = [path for path in sorted(root.glob("*/" * depth + f"*{ending}")) if path.is_dir()]
        if found:
            return found
    return []


def _labels(homes: list[Path]) -> Iterator[Path]:
    for home in homes:
        for folder, inner, files in os.walk(home):
            inner.sort()
            yield from (Path(folder, name) for name in sorted(files) if name.endswith(".json"))


def _in_test(speaker: str) -> bool:
    return int.from_bytes(sha256(speaker.encode("utf-8")).digest()[:8], "big") % 100 < _TEST_PERCENT


def _sound_folders(root: Path) -> dict[str, list[Path]]:
    """{name: folders of that name that hold sound}; a speaker's sound may be spread over several archives."""
    found: dict[str, list[Path]] = {}
    for folder, inner, files in os.walk(root):
        inner.sort()
        if any(name.endswith(_SOUND) for name in files):
            found.setdefault(nfc(Path(folder).name), []).append(Path(folder))
    return found


def _conversation(folders: dict[str, list[Path]], label: Path) -> Iterator[Utterance]:
    """The utterance of a label of free conversation."""
    content = _load(label)
    said, talk, speaker = (_section(content, name) for name in ("발화정보", "대화정보", "녹음자정보"))
    text, unfit = _clean(_word(said, "stt"))
    stems = dict.fromkeys(stem for stem in (label.stem, Path(_word(said, "fileNm")).stem) if stem)
    places = [*folders.get(nfc(label.parent.name), []), label.parent]
    paths = [place / f"{stem}{ending}" for place in places for stem in stems for ending in _SOUND]
    yield Utterance(
        key=label.stem,
        audio=next((path for path in paths if path.is_file()), paths[0]),
        text=text,
        speaker=_word(speaker, "recorderId") or None,
        gender=_gender(speaker),
        language="ko",
        duration_s=_seconds(_word(said, "recrdTime")),
        unfit=unfit,
        notes=() if "stt" in said else (NO_TRANSCRIPT,),
        extra=_known(
            transcript=said.get("stt"),
            age=speaker.get("age"),
            environment=talk.get("recrdEnvrn"),
            device=talk.get("recrdUnit"),
            region=talk.get("cityCode"),
            topic=talk.get("convrsThema"),
            collected=talk.get("colctUnitCode"),
        ),
    )


def _commands(root: Path, label: Path) -> Iterator[Utterance]:
    """The two utterances of a label of commands in noise."""
    content = _load(label)
    file, command, noise, speaker = (_section(content, name) for name in ("file", "command", "noise", "speaker"))
    text, unfit = _clean(_word(command, "text"))
    folder = root.joinpath(*(_part_of_sound(part) for part in label.parent.relative_to(root).parts))
    distances = [distance for word, distance in _DISTANCES.items() if word in nfc(str(label))]
    for recording in ("N", "S"):
        key = f"{label.stem.removesuffix('-J')}-{recording}"
        yield Utterance(
            key=key,
            audio=folder / f"{key}.wav",
            text=text,
            speaker=_word(speaker, "id") or None,
            gender=_gender(speaker),
            language="ko",
            duration_s=_seconds(_word(file, "length")),
            unfit=unfit,
            notes=() if "text" in command else (NO_TRANSCRIPT,),
            extra=_known(
                transcript=command.get("text"),
                condition=distances[0] if distances else None,
                recording=recording,
                age=speaker.get("age"),
                device=speaker.get("recordingDevice"),
                mask=speaker.get("mask"),
                snr=command.get("snr"),
                noise_level=noise.get("level"),
                category=command.get("category"),
            ),
        )


def _part_of_sound(part: str) -> str:
    """One folder of a label's path as its sound's path has it, composed or decomposed as it was."""
    plain = nfc(part)
    sound = plain.replace("02.라벨링데이터", "01.원천데이터").replace("라벨링데이터", "원천데이터")
    return unicodedata.normalize("NFC" if part == plain else "NFD", re.sub(r"^([TV])L_", r"\1S_", sound))


def _clean(raw: str) -> tuple[str, str | None]:
    """(words without tags, why they must not be trained on)."""
    text = fold_forms(nfc(raw))
    unclear = any(tag[1] == "SP" for tag in _TAG.finditer(text))
    text = _TAG.sub(lambda tag: f" {tag[2]} " if tag[1] == "FP" or not tag[2] else tag[2], text)
    malformed = "(" in text or ")" in text
    words = collapse_spaces(text.replace("(", " ").replace(")", " "))
    return words, UNCLEAR if unclear else MALFORMED if malformed else None


def _load(label: Path) -> _Section:
    """The label; an empty one where it cannot be read, so that the utterance is counted."""
    try:
        content = json.loads(label.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _section(content: _Section, name: str) -> _Section:
    section = content.get(name)
    return section if isinstance(section, dict) else {}


def _word(section: _Section, name: str) -> str:
    value = section.get(name)
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _gender(speaker: _Section) -> str | None:
    word = _word(speaker, "gender")
    return _GENDERS.get(nfc(word)) or known_gender(word)


def _seconds(word: str) -> float | None:
    try:
        seconds = float(word)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, str | int | float) and value != ""}


_LICENCE = "AI-Hub terms of use: on application, not to be passed on"
FREE_CONVERSATION = Corpus(
    name="free-conversation",
    description="AI-Hub 109: 4,000 hours of free conversation, over 2,000 speakers",
    licence=_LICENCE,
    read_corpus=read_free_conversation,
    splits=SplitsSettings(train=("train",), dev=(), test=("test",)),
)
NOISY_SPEECH = Corpus(
    name="noisy-speech",
    description="AI-Hub 71405: commands in noise, near and far",
    licence=_LICENCE,
    read_corpus=read_noisy_speech,
    splits=SplitsSettings(train=("train",), dev=(), test=("test",)),
)
