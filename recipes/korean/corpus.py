"""Zeroth-Korean (OpenSLR 40): where it comes from, and its folders in, utterances out.

    AUDIO_INFO                                                  SPEAKERID|NAME|SEX|SCRIPTID|DATASET
                                                                106|...|f|003|train_data_01
    train_data_01/003/106/106_003_0001.flac                     train_data_01/<script>/<speaker>/
    train_data_01/003/106/106_003.trans.txt                     106_003_0001 우리는 위기의 진앙이 아닌 ...
    test_data_01/003/104/...

Also there are language models and a lexicon, which are not read, nor are the names of people in AUDIO_INFO.
"""

from collections.abc import Iterator
from pathlib import Path

from asrkit.corpus import known_gender, read_lines, read_transcripts, split_folder
from asrkit.errors import AsrkitError
from asrkit.recipe import Archive
from asrkit.utterance import Utterance

TRAIN, TEST = "train_data_01", "test_data_01"
ARCHIVES = (
    Archive(
        url="http://www.openslr.org/resources/40/zeroth_korean.tar.gz",
        md5="8e0a4268bb8e80db3773c331025ef1e2",  # as OpenSLR publishes it, in resources/40/checksum.md5
        size=10_339_720_618,
        splits=(TRAIN, TEST),
    ),
)


def read_corpus(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances of one split, sorted by script, speaker and number.

    `root` is the folder that holds AUDIO_INFO, or the one above, where that one is called zeroth_korean. A transcript
    without its sound file and a sound file without its transcript come too, so that prepare can count them.

    Raises:
        AsrkitError: there is no such split, or AUDIO_INFO has other columns.
    """
    home = split_folder(root, "zeroth_korean", split)
    genders = _read_genders(home.parent / "AUDIO_INFO")
    for folder in sorted(path for path in home.glob("*/*") if path.is_dir()):
        speaker = folder.name
        for key, text in read_transcripts(folder):
            yield Utterance(
                key=key,
                audio=folder / f"{key}.flac",
                text=text,
                split=split,
                speaker=speaker,
                gender=genders.get(speaker),
                language="ko",
                extra={"script": folder.parent.name},
            )


def _read_genders(path: Path) -> dict[str, str | None]:
    """{speaker: "m", "f" or None}, by the columns' names."""
    if not path.is_file():
        return {}
    rows = [[cell.strip() for cell in line.split("|")] for _, line in read_lines(path) if line.strip()]
    header = rows[0] if rows else []
    for name in ("SPEAKERID", "SEX"):
        if name not in header:
            raise AsrkitError(f"{path}, line 1: no column {name!r} (found: {', '.join(header) or 'nothing'})")
    speaker, sex = header.index("SPEAKERID"), header.index("SEX")
    return {row[speaker]: known_gender(row[sex]) for row in rows[1:] if len(row) > max(speaker, sex)}
