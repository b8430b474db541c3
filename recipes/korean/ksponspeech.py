"""KsponSpeech (AI-Hub 123): its folder, as AI-Hub delivers it, in, utterances out.

    KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.pcm      headerless, 16 kHz, 16 bits, little-endian
    KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.txt      its transcript in CP949
    ...
    KsponSpeech_05/KsponSpeech_0623/KsponSpeech_622545.pcm
    KsponSpeech_eval/eval_clean/KsponSpeech_E00001.pcm          an odd number of bytes: one too many at the end
    KsponSpeech_eval/eval_other/KsponSpeech_E03001.pcm
    KsponSpeech_scripts/train.trn, dev.trn, eval_clean.trn, eval_other.trn      in UTF-8

A line of a .trn is `KsponSpeech_01/KsponSpeech_0001/KsponSpeech_000001.pcm :: b/ 아/ 몬 소리야, 그건 또. b/`. Splits:
train is the folders 0001 to 0620 (620,000 utterances), dev 0621 to 0623 (2,545), each eval 3,000. Who speaks is not
told, so that nobody can say whether train and dev share speakers. What the marks in a transcript mean, and what becomes
of them, stands in ksponspeech_text.py.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from asrkit.corpus import read_lines
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.recipe import Corpus
from asrkit.settings import SplitsSettings
from asrkit.utterance import Utterance

from .ksponspeech_text import parse_transcript

SPLITS = ("train", "dev", "eval_clean", "eval_other")
NO_TXT, UNDECODABLE = "no .txt beside the sound", "its .txt is neither CP949 nor UTF-8"

_SCRIPTS = ("", "KsponSpeech_scripts", "scripts", "*/KsponSpeech_scripts", "*/scripts")
_LAST_OF_TRAIN, _LAST_OF_DEV = 620, 623


def read_corpus(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances that <split>.trn lists, in its order; without one, those of the split's folders with their .txt.

    `root` is the folder that holds KsponSpeech_01 and the others, or the one above. Sound without a transcript and
    transcripts without sound come too, so that prepare can count them.

    Raises:
        AsrkitError: no such split, neither a .trn nor its folders, or a line of the .trn that is none.
    """
    if split not in SPLITS:
        raise AsrkitError(f"KsponSpeech has no split {split!r}{did_you_mean(split, SPLITS)} ({', '.join(SPLITS)})")
    listed = [path for place in _SCRIPTS for path in sorted(root.glob(f"{place}/{split}.trn".lstrip("/")))]
    return _listed(root, listed[0], split) if listed else _lying(root, split)


def _listed(root: Path, listing: Path, split: str) -> Iterator[Utterance]:
    folders: dict[PurePosixPath, Path] = {}
    for number, line in read_lines(listing, encoding=_encoding(listing)):
        if not line.strip():
            continue
        name, colons, transcript = line.partition("::")
        if not colons:
            raise AsrkitError(f"{listing}, line {number}: no '::'; wanted <path>.pcm :: <transcript>")
        path = PurePosixPath(name.strip())
        if path.parent not in folders:
            folders[path.parent] = _folder(root, path.parent)
        yield _utterance(folders[path.parent] / path.name, split, transcript.strip())


def _folder(root: Path, listed: PurePosixPath) -> Path:
    """Where a folder of a .trn is: it may lie deeper than listed, or KsponSpeech_eval may be gone from its path."""
    homes = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    names = (listed, PurePosixPath(*listed.parts[1:]))
    return next((home / name for name in names for home in homes if (home / name).is_dir()), root / listed)


def _lying(root: Path, split: str) -> Iterator[Utterance]:
    """The split's utterances by their folders."""
    if split.startswith("eval"):
        places = [f"{place}{split}" for place in ("", "KsponSpeech_eval/", "*/", "*/KsponSpeech_eval/")]
        folders = [folder for place in places for folder in sorted(root.glob(place))][:1]
    else:
        first, last = (1, _LAST_OF_TRAIN) if split == "train" else (_LAST_OF_TRAIN + 1, _LAST_OF_DEV)
        places = [f"{place}KsponSpeech_[0-9][0-9]/KsponSpeech_[0-9][0-9][0-9][0-9]" for place in ("", "*/")]
        found = [folder for place in places for folder in sorted(root.glob(place))]
        folders = [folder for folder in found if first <= int(folder.name[-4:]) <= last]
    if not folders:
        raise AsrkitError(
            f"{root} holds no KsponSpeech {split}; wanted KsponSpeech_scripts/{split}.trn, or KsponSpeech_01 to _05 "
            f"and KsponSpeech_eval with a .txt beside each .pcm"
        )
    for folder in folders:
        for stem in sorted({path.stem for path in folder.iterdir() if path.suffix in (".pcm", ".txt")}):
            yield _with_txt(folder / f"{stem}.pcm", split)


def _with_txt(audio: Path, split: str) -> Utterance:
    path = audio.with_suffix(".txt")
    if not path.is_file():
        return _utterance(audio, split, "", NO_TXT)
    try:
        lines = [line.strip() for _, line in read_lines(path, encoding=_encoding(path))]
    except AsrkitError:
        return _utterance(audio, split, "", UNDECODABLE)
    return _utterance(audio, split, " ".join(lines).strip())


def _encoding(path: Path) -> str:
    """CP949 as the corpus is described, or UTF-8: the .trn are in it, and people convert the .txt.

    By Hangul alone, since short CP949 may be valid UTF-8: 호호 is ȣȣ.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return "cp949"
    except OSError as error:
        raise AsrkitError(f"{path} cannot be read ({error.strerror})") from error
    return "utf-8" if any("가" <= char <= "힣" for char in text) else "cp949"


def _utterance(audio: Path, split: str, line: str, *notes: str) -> Utterance:
    transcript = parse_transcript(line)
    differs = transcript.pronunciation != transcript.spelling
    return Utterance(
        key=audio.stem,
        audio=audio,
        text=transcript.spelling,
        pronunciation=transcript.pronunciation if differs else None,
        split=split,
        language="ko",
        unfit=transcript.unfit,
        notes=transcript.notes + notes,
        extra={"transcript": line},
    )


KSPONSPEECH = Corpus(
    name="ksponspeech",
    description="965 hours of free conversation between two people, some 2,000 speakers",
    licence="AI-Hub terms of use: on application, not to be passed on",
    read_corpus=read_corpus,
    splits=SplitsSettings(train=("train",), dev=("dev",), test=("eval_clean", "eval_other")),
)
