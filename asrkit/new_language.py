"""VERB a manifest of recordings in; a recipe for them out, to be read and changed: recipes/<name>/.

Nothing is trained or copied. What the recipe does with each doubtful character is shown, and stands in its README.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from asrkit.advice import advise
from asrkit.atomic import part_of, storing_in
from asrkit.audio import duration_s
from asrkit.characters import Transcript, alphabet_of, count, main_scripts
from asrkit.corpus import read_manifest
from asrkit.doubts import KINDS, find_doubts, listed
from asrkit.errors import AsrkitError
from asrkit.normaliser import Normaliser, choose_steps
from asrkit.plan import ROLES, manifest_utterances
from asrkit.progress import Progress, Silent
from asrkit.recipe import recipe_folders
from asrkit.recipe_files import Findings, Split, recipe_files
from asrkit.text import nfc
from asrkit.utterance import Utterance

UNKNOWN_LANGUAGE = "und"  # BCP 47 for "undetermined"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SHOWN = 30  # doubtful characters on the terminal
_SHOWN_LETTERS = 100


def new_language(
    name: str,
    *,
    manifest: str | Path,
    language: str = UNKNOWN_LANGUAGE,
    recipes_dir: str | Path = "recipes",
    drop_stress: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Writes recipes_dir/name and gives its path. `drop_stress` takes acute and grave accents for stress marks.

    Raises:
        AsrkitError: a name that cannot serve or is taken, or a manifest without a text or a sound that can be read.
    """
    manifest, folder = Path(manifest), Path(recipes_dir) / name
    _check(name, manifest, language, folder)
    utterances = _read(manifest, progress)
    splits = _splits(utterances, progress)
    normaliser, transcripts = _normalise(utterances, drop_stress, progress)
    trained = count(one.text for one in transcripts if one.in_train)
    scripts = main_scripts(trained)
    if not scripts:
        raise AsrkitError(f"{manifest}: no text of train has a letter; wanted transcripts in the column 'text'")
    alphabet = alphabet_of(trained, scripts, normaliser.keep)
    findings = Findings(
        name=name,
        language=language,
        manifest=Path(os.path.relpath(manifest.resolve(), folder.resolve())),
        command=name if Path(recipes_dir) == Path("recipes") else str(folder),
        normaliser=normaliser,
        alphabet=alphabet,
        counted=Counter({char: trained[char] for char in alphabet if trained[char]}),
        doubts=find_doubts(transcripts, normaliser, alphabet, trained, progress),
        transcripts=transcripts,
        splits=splits,
        advice=advise(splits["train"].hours, hangul="HANGUL" in scripts),
    )
    _write(folder, recipe_files(findings))
    _show(findings, folder, progress)
    return folder


def _check(name: str, manifest: Path, language: str, folder: Path) -> None:
    if not _NAME.fullmatch(name):
        plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:40]
        suggestion = f"; did you mean {plain!r}?" if _NAME.fullmatch(plain) else ""
        raise AsrkitError(f"{name!r} cannot name a recipe; wanted up to 40 of a to z, 0 to 9, - and _{suggestion}")
    if not _LANGUAGE.fullmatch(language):
        raise AsrkitError(f"--language {language!r} is no language tag; wanted two or three letters (BCP 47)")
    if folder.exists():
        raise AsrkitError(f"{folder} is there already; choose another name, or remove it to begin anew")
    if name in recipe_folders():
        raise AsrkitError(f"there is a recipe {name!r} already, in {recipe_folders()[name]}; choose another name")
    if not manifest.is_file():
        raise AsrkitError(f"--manifest {manifest} is not a file; wanted .jsonl, .csv or .tsv")


def _read(manifest: Path, progress: Progress) -> list[tuple[str, Utterance]]:
    """(role, utterance) of each line.

    Raises:
        AsrkitError: what read_manifest raises, nothing in train, or a text that is no Unicode.
    """
    utterances = []
    with progress.bar("reading the manifest", None, "utterances") as bar:
        for role, utterance in manifest_utterances(manifest, read_manifest(manifest), None):
            if any("\ud800" <= char <= "\udfff" for char in utterance.text):
                raise AsrkitError(f"{manifest}: the text of {utterance.key!r} is not valid Unicode (half a surrogate)")
            utterances.append((role, utterance))
            bar.advance()
    if not any(role == "train" for role, _ in utterances):
        raise AsrkitError(f"{manifest} has no utterances of split train; wanted some to learn from")
    return utterances


def _normalise(
    utterances: Sequence[tuple[str, Utterance]], drop_stress: bool, progress: Progress
) -> tuple[Normaliser, list[Transcript]]:
    """The rules that the texts want, and the texts by these rules."""
    texts = [utterance.text for _, utterance in utterances]
    with progress.bar("choosing rules for the texts", None):
        normaliser = choose_steps(texts, count(map(nfc, texts)), drop_stress=drop_stress)
    transcripts = []
    with progress.bar("normalising", len(texts), "utterances") as bar:
        for role, utterance in utterances:
            transcripts.append(Transcript(utterance.text, normaliser(utterance.text), role == "train"))
            bar.advance()
    return normaliser, transcripts


def _splits(utterances: Sequence[tuple[str, Utterance]], progress: Progress) -> dict[str, Split]:
    """Utterances, hours and speakers of each role that has any."""
    seconds = dict.fromkeys(ROLES, 0.0)
    unreadable: list[str] = []
    with progress.bar("measuring the recordings", len(utterances), "utterances") as bar:
        for role, utterance in utterances:
            try:
                seconds[role] += _duration_s(utterance)
            except AsrkitError as error:
                unreadable.append(str(error))
            bar.advance()
    if not seconds["train"]:
        raise AsrkitError(f"no recording of train can be read; the first: {unreadable[0] if unreadable else 'empty'}")
    if unreadable:
        progress.warn(f"{len(unreadable)} of {len(utterances)} recordings cannot be read; the first: {unreadable[0]}")
    found = {}
    for role in ROLES:
        own = [utterance for its, utterance in utterances if its == role]
        if own:
            speakers = {utterance.speaker for utterance in own if utterance.speaker}
            found[role] = Split(utterances=len(own), hours=seconds[role] / 3600, speakers=len(speakers))
    return found


def _duration_s(utterance: Utterance) -> float:
    """As the manifest says, or else the sound file."""
    if utterance.duration_s is not None:
        return utterance.duration_s
    end_s = duration_s(utterance.audio) if utterance.end_s is None else utterance.end_s
    return max(0.0, end_s - utterance.start_s)


def _write(folder: Path, files: dict[str, str]) -> None:
    """All of the folder or none of it."""
    with storing_in(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(folder)
        try:
            part.mkdir()
            for name, content in files.items():
                (part / name).write_text(content, encoding="utf-8", newline="\n")
            os.rename(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _show(findings: Findings, folder: Path, progress: Progress) -> None:
    """What was found and what comes next, for people."""
    rows = [[role, one.utterances, f"{one.hours:.2f}", one.speakers] for role, one in findings.splits.items()]
    progress.table(f"recipe {findings.name}", ["split", "utterances", "hours", "speakers"], rows)
    letters = [f"{char} {times}" for char, times in findings.counted.most_common(_SHOWN_LETTERS) if char != " "]
    more = ", ..." if len(findings.counted) > _SHOWN_LETTERS else ""
    progress.say(f"alphabet: {len(findings.counted)} characters, the space among them: {', '.join(letters)}{more}")
    if findings.doubts:
        columns = ["", "character", "what", "times", "in train", "what happens", "for example"]
        progress.table(f"doubtful characters: {len(findings.doubts)}", columns, listed(findings.doubts[:_SHOWN]))
        if len(findings.doubts) > _SHOWN:
            progress.say(f"and {len(findings.doubts) - _SHOWN} more, in {folder / 'README.md'}")
        for kind in dict.fromkeys(one.kind for one in findings.doubts):
            progress.say(f"{kind}: {KINDS[kind]}")
    for note in findings.notes():
        progress.warn(note)
    advice = findings.advice
    time = f"{advice.minutes} minutes" if advice.minutes else "its epochs"
    proposals = (f"tokenizer {advice.tokenizer}", f"model {advice.model}", f"training for {time}")
    for proposal, reason in zip(proposals, advice.reasons, strict=True):
        progress.say(f"{proposal}: {reason}")
    progress.say(f"{folder} is written; read its README.md, text.py and cases.tsv, then:\n  {findings.commands()[0]}")
