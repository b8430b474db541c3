"""Common Voice in Ukrainian: the folder of a release in, utterances out.

A release is `cv-corpus-<version>-<date>/uk/` with the clips and one table for each split:

    clips/common_voice_uk_20892233.mp3
    train.tsv, dev.tsv, test.tsv, validated.tsv, ...
        client_id  path  sentence_id  sentence  sentence_domain  up_votes  down_votes  age  gender  accents  variant ...

Which columns there are, and in which order, differs between releases, so they are taken by their names. A quotation
mark is a character like any other. Old releases write male and female, newer ones male_masculine and female_feminine.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asrkit.corpus import known_gender, read_table
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.utterance import Utterance

from .text import normalize

_NEEDED = ("client_id", "path", "sentence")
_TAKEN = {*_NEEDED, "gender", "locale"}  # have a place of their own; all other columns are extra
_RELEASES = ("", "uk", "cv-corpus-*/uk", "*/cv-corpus-*/uk")  # where it may be in the folder that was given


def read_corpus(root: Path, split: str) -> Iterator[Utterance]:
    """The utterances that <split>.tsv lists, in its order.

    `root` is the release's folder uk, or one that holds it. A clip that is missing comes too, so that prepare can count
    it. Split `validated` is what reviewers agreed on, without dev and test, see `_validated`.

    Raises:
        AsrkitError: no release, more than one, or no such split.
    """
    home = _release(root)
    if not (home / f"{split}.tsv").is_file():
        found = sorted(path.stem for path in home.glob("*.tsv"))
        there_are = ", ".join(found) or "none"
        raise AsrkitError(f"{home} has no table {split}.tsv{did_you_mean(split, found)} (found: {there_are})")
    return _validated(home) if split == "validated" else _listed(home, split)


def _release(root: Path) -> Path:
    """The folder with the clips and the tables."""
    found = [path for place in _RELEASES for path in sorted(root.glob(place) if place else [root])]
    found = [path for path in found if any((path / f"{split}.tsv").is_file() for split in ("train", "validated"))]
    if not found:
        wanted = "clips/ and train.tsv, dev.tsv and test.tsv, in this folder, in uk/ or in cv-corpus-*/uk/"
        raise AsrkitError(f"{root} holds no Ukrainian Common Voice; wanted {wanted}")
    if len(found) > 1:
        raise AsrkitError(f"{root} holds {len(found)} releases ({', '.join(map(str, found))}); give one of them")
    return found[0]


def _listed(home: Path, split: str) -> Iterator[Utterance]:
    for _, row in read_table(home / f"{split}.tsv", required=_NEEDED):
        clip = home / "clips" / row["path"]
        yield Utterance(
            key=clip.stem,
            audio=clip if clip.suffix else clip.with_suffix(".mp3"),  # the first releases leave it out
            text=row["sentence"],
            split=split,
            speaker=row["client_id"] or None,
            gender=known_gender(row.get("gender", "")),
            language="uk",
            extra={name: value for name, value in row.items() if value and name not in _TAKEN},
        )


def _validated(home: Path) -> Iterator[Utterance]:
    """What is validated without everything that would make dev and test easier than they are.

    The official train split takes a sentence once, so much of what is validated is in no split. Passed over are the
    clips of dev and test; all other clips of their speakers, so that nobody tested is heard in training; and their
    sentences read by others, so that no tested text is known. How many of each, a note of the last utterance says.
    """
    tested = [utterance for split in ("dev", "test") for utterance in _listed(home, split)]
    clips = {utterance.key for utterance in tested}
    speakers = {utterance.speaker for utterance in tested if utterance.speaker}
    sentences = {normalize(utterance.text) for utterance in tested}
    passed_over = {"clips of dev and test": 0, "other clips of their speakers": 0, "of their sentences": 0}
    last: Utterance | None = None
    for utterance in _listed(home, "validated"):
        if utterance.key in clips:
            passed_over["clips of dev and test"] += 1
        elif utterance.speaker in speakers:
            passed_over["other clips of their speakers"] += 1
        elif normalize(utterance.text) in sentences:
            passed_over["of their sentences"] += 1
        else:
            if last:
                yield last
            last = utterance
    if last:
        said = ", ".join(f"{count} {what}" for what, count in passed_over.items())
        yield replace(last, notes=(f"last of validated; passed over before it: {said}",))
