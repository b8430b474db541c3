"""LibriSpeech (OpenSLR 12): where it comes from, and its folders in, utterances out.

Under `<split>/<speaker>/<chapter>/` lie `<speaker>-<chapter>-<number>.flac` and `<speaker>-<chapter>.trans.txt`, whose
lines are a file's name without ending, a space, and its transcript. SPEAKERS.TXT beside the splits tells the gender.
"""

from collections.abc import Iterator
from pathlib import Path

from asrkit.corpus import read_lines, read_transcripts, split_folder
from asrkit.recipe import Archive
from asrkit.utterance import Utterance

_FILES = {  # split: (md5, bytes), from the md5sum.txt and the sizes of OpenSLR 12
    "dev-clean": ("42e2234ba48799c1f50f24a7926300a1", 337_926_286),
    "dev-other": ("c8d0bcc9cca99d4f8b62fcc847357931", 314_305_928),
    "test-clean": ("32fa31d27d2e1cad72775fee3f4849a9", 346_663_984),
    "test-other": ("fb5a50374b501bb3bac4815ee91d3135", 328_757_843),
    "train-clean-100": ("2a93770f6d5c6c964bc36631d331a522", 6_387_309_499),
    "train-clean-360": ("c0e676e450a7ff2f54aeade5171606fa", 23_049_477_885),
    "train-other-500": ("d1a0fd59409feb2c614ce4d30c387708", 30_593_501_606),
}
ARCHIVES = tuple(
    Archive(url=f"http://www.openslr.org/resources/12/{split}.tar.gz", md5=md5, size=size, splits=(split,))
    for split, (md5, size) in _FILES.items()
)


def read_corpus(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances of one split, sorted by speaker, chapter and number.

    `root` is the folder LibriSpeech or the one that holds it. A transcript without its sound file and a sound file
    without its transcript come too, so that prepare can count them (unreadable, empty text).

    Raises:
        AsrkitError: there is no such split.
    """
    folder = split_folder(root, "LibriSpeech", split)
    genders = _read_genders(folder.parent / "SPEAKERS.TXT")
    for chapter in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        speaker = chapter.parent.name
        for key, text in read_transcripts(chapter):
            yield Utterance(
                key=key,
                audio=chapter / f"{key}.flac",
                text=text,
                split=split,
                speaker=speaker,
                gender=genders.get(speaker),
                language="en",
                extra={"chapter": chapter.name},
            )


def _read_genders(path: Path) -> dict[str, str]:
    """{speaker: "m" or "f"} from lines `id | sex | subset | minutes | name`; a semicolon begins a comment."""
    if not path.is_file():
        return {}
    rows = [line.split("|") for _, line in read_lines(path) if not line.startswith(";")]
    return {row[0].strip(): row[1].strip().lower() for row in rows if len(row) > 1 and row[1].strip() in ("M", "F")}
