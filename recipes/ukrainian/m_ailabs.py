"""M-AILABS in Ukrainian: its folder of audiobooks in, utterances out.

    uk_UK/by_book/female/<reader>/<book>/metadata.csv      <clip>|<as printed>|<cleaned>
    uk_UK/by_book/female/<reader>/<book>/wavs/<clip>.wav   16 kHz, 1 to 20 s
    uk_UK/by_book/mix/<book>/...                           several readers, not told apart

There is no header and no quoting; a bar parts the columns. What is printed is taken where the cleaned text is missing.
"""

from collections.abc import Iterator
from pathlib import Path

from asrkit.corpus import known_gender, read_lines
from asrkit.errors import AsrkitError
from asrkit.utterance import Utterance

_HOMES = ("", "uk_UK", "uk_UA")


def read_corpus(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances of all books, sorted by reader and book. All of them are train: there are six readers.

    Raises:
        AsrkitError: no books, another split, or a line without a bar.
    """
    if split != "train":
        raise AsrkitError(f"M-AILABS has no split {split!r}; wanted train (test on another corpus)")
    homes = [root / home / "by_book" for home in _HOMES]
    books = [(path, home) for home in homes for path in sorted(home.rglob("metadata.csv"))]
    if not books:
        raise AsrkitError(f"{root} holds no M-AILABS books; wanted by_book/<gender>/<reader>/<book>/metadata.csv")
    for path, home in books:
        yield from _read_book(path, path.parent.relative_to(home).parts[:-1])


def _read_book(path: Path, above: tuple[str, ...]) -> Iterator[Utterance]:
    """Of the folders above a book's: the gender, and the reader where there is one."""
    folder = path.parent
    for number, line in read_lines(path):
        if not line.strip():
            continue
        clip, *texts = line.split("|")
        if not texts:
            raise AsrkitError(f"{path}, line {number}: no '|'; wanted <clip>|<as printed>|<cleaned>")
        yield Utterance(
            key="-".join((*above[1:], folder.name, clip)),
            audio=folder / "wavs" / f"{clip}.wav",
            text=next((text for text in reversed(texts) if text.strip()), ""),
            split="train",
            speaker=above[1] if len(above) > 1 else None,
            gender=known_gender(above[0]) if above else None,
            language="uk",
            extra={"book": folder.name, "text_printed": texts[0]},
        )
