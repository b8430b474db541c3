"""What was found in a language's data in; its recipe's files out: recipe.py, text.py, cases.tsv and README.md."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit import cases
from asrkit.advice import Advice
from asrkit.characters import Transcript
from asrkit.doubts import KINDS, MANY, RARE, Doubt, listed
from asrkit.normaliser import Normaliser, quoted, text_py
from asrkit.plan import DEV_SHARE
from asrkit.settings import ARCHITECTURE_SETTINGS, FiltersSettings

CASES = 60  # rows of cases.tsv, where the data has so many lines; more where there are more doubtful characters
LONG_WORD = 12  # letters of a word on average: texts with more are written without spaces between words


@dataclass(frozen=True)
class Split:
    """What the manifest has for train, dev or test."""

    utterances: int
    hours: float
    speakers: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is known of a language's data, and what its recipe will do with it."""

    name: str
    language: str
    manifest: Path  # from the recipe's folder
    command: str  # what the command line calls the recipe
    normaliser: Normaliser
    alphabet: str
    counted: Counter[str]  # of the alphabet, in train
    doubts: Sequence[Doubt]
    transcripts: Sequence[Transcript]
    splits: dict[str, Split]
    advice: Advice

    def left_out(self) -> tuple[int, int]:
        """Utterances of train whose text is empty or has a character outside the alphabet."""
        known = frozenset(self.alphabet)
        texts = [one.text for one in self.transcripts if one.in_train]
        return sum(not text for text in texts), sum(not known.issuperset(text) for text in texts)

    def max_dropped(self) -> float | None:
        """The share of train that prepare must be allowed to leave out; None where its own limit does."""
        total, lost = self.splits["train"].utterances, sum(self.left_out())
        dev = 0 if "dev" in self.splits else max(1, round(DEV_SHARE * total))  # taken from what is whole, perhaps
        share = lost / max(1, total - dev)
        return None if share <= FiltersSettings().max_dropped else min(1.0, math.ceil(share * 100) / 100)

    def notes(self) -> list[str]:
        """What a user should know before preparing."""
        empty, outside = self.left_out()
        train = self.splits["train"].utterances
        said = []
        if outside:
            said.append(f"{outside} of {train} utterances of train hold characters outside the alphabet: left out")
        if empty:
            said.append(f"{empty} of {train} utterances of train have no words in their text: left out")
        if self.max_dropped():
            said.append(
                f"that is more than filters.max_dropped allows, so that recipe.py says {self.max_dropped():g}; "
                "mend the texts or text.py and take that line out"
            )
        if "test" not in self.splits:
            said.append("no test split: give some speakers the split 'test' in the manifest, to have a report on them")
        rare = sum(times < RARE for times in self.counted.values())
        if len(self.counted) > MANY and rare and self.advice.tokenizer != "jamo":
            said.append(
                f"{rare} of {len(self.counted)} characters are met fewer than {RARE} times: too seldom to learn"
            )
        letters = sum(times for char, times in self.counted.items() if char != " ")
        words = sum(len(one.text.split()) for one in self.transcripts if one.in_train)
        if letters > LONG_WORD * words:
            said.append(f"{letters / words:.0f} letters a word: where words are not set apart, CER counts, not WER")
        return said

    def commands(self) -> list[str]:
        """From here to a report."""
        minutes = f" --minutes {self.advice.minutes}" if self.advice.minutes else ""
        split = "" if "test" in self.splits else " --split dev"
        return [
            f"asrkit prepare {self.command}",
            f"asrkit tokenizers {self.command}",
            f"asrkit train {self.command}{minutes}",
            f"asrkit decode{split}",
        ]


def recipe_files(findings: Findings) -> dict[str, str]:
    """Every file's name and content."""
    return {
        "text.py": text_py(findings.normaliser, findings.alphabet, findings.name),
        "cases.tsv": cases.case_lines((raw, findings.normaliser(raw)) for raw in _chosen_lines(findings)),
        "README.md": _readme(findings),
        "recipe.py": _recipe_py(findings),
    }


def _recipe_py(findings: Findings) -> str:
    values: dict[str, dict[str, object]] = {"tokenizer": {"kind": findings.advice.tokenizer}}
    if findings.max_dropped():
        values["filters"] = {"max_dropped": findings.max_dropped()}
    values |= ARCHITECTURE_SETTINGS.get(findings.advice.model, {})
    kinds = {section: f"{section.capitalize()}Settings" for section in values}
    lines = [
        f"    {section}={kinds[section]}({', '.join(f'{key}={_literal(value)}' for key, value in own.items())}),"
        for section, own in values.items()
    ]
    return f'''"""{findings.name}: own recordings. Say here which language this is, and what kind of speech."""

from asrkit.recipe import Recipe
from asrkit.settings import {", ".join([*sorted(kinds.values()), "architecture"])}

from .text import ALPHABET, normalize

RECIPE = Recipe(
    name={quoted(findings.name)},
    language={quoted(findings.language)},
    description="own recordings, to be described",
    licence="to be filled in",
    manifest={quoted(findings.manifest.as_posix())},  # from this folder; asrkit prepare reads it
    normalize=normalize,
    alphabet=ALPHABET,
    model=architecture({quoted(findings.advice.model)}),
{chr(10).join(lines)}
)
'''


def _literal(value: object) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)


def _chosen_lines(findings: Findings) -> list[str]:
    """Raw texts: one with each doubtful character, then those with the rarest characters, then the first ones."""
    first: dict[str, str] = {}
    times: Counter[str] = Counter()
    for one in findings.transcripts:
        for char in one.raw:
            first.setdefault(char, one.raw)
        times.update(one.raw)
    doubtful = dict.fromkeys(doubt.line for doubt in findings.doubts)
    rest = [first[char] for char in sorted(times, key=lambda char: (times[char], char))]
    rest += [one.raw for one in findings.transcripts]
    others = [line for line in dict.fromkeys(rest) if line not in doubtful]
    return [*doubtful, *others[: max(0, CASES - len(doubtful))]]


def _readme(findings: Findings) -> str:
    advice, splits = findings.advice, findings.splits.items()
    return "\n".join(
        [
            f"# {findings.name}",
            "",
            "To be filled in: which language and dialect this is, who speaks and reads what, how it was recorded, who",
            "may use it (the licence, in recipe.py too), and results with their command, machine and date.",
            "",
            "| split | hours | utterances | speakers |",
            "|---|---|---|---|",
            *(f"| {role} | {one.hours:.2f} | {one.utterances} | {one.speakers} |" for role, one in splits),
            "",
            *(f"- {note}" for note in findings.notes()),
            "",
            "## Commands",
            "",
            *(f"    {command}" for command in findings.commands()),
            "",
            f"After a change of text.py: `asrkit recipe {findings.command} --cases`, then "
            f"`asrkit prepare {findings.command} --text-only`.",
            "",
            f"- Tokenizer `{advice.tokenizer}`: {advice.reasons[0]}.",
            f"- Model `{advice.model}`: {advice.reasons[1]}.",
            f"- Time: {advice.reasons[2]}.",
            "",
            "## Alphabet",
            "",
            f"{len(findings.counted)} characters in train, with the space:",
            "",
            *_alphabet_table(findings.counted),
            "",
            "## Doubtful characters",
            "",
            *_doubts_table(findings.doubts),
            "",
            "## Rules for text",
            "",
            *(f"{number}. {step.name}: {step.why}" for number, step in enumerate(findings.normaliser.steps, 1)),
            "",
        ]
    )


def _alphabet_table(counted: Counter[str]) -> Iterator[str]:
    yield "| character | times |"
    yield "|---|---|"
    for char, times in counted.most_common():
        yield f"| {_cell(json.dumps(char) if char == ' ' else char)} | {times} |"


def _doubts_table(doubts: Sequence[Doubt]) -> Iterator[str]:
    if not doubts:
        yield "None: every character is a letter of its script that train has often."
        return
    yield "| | character | what | times | utterances of train | what happens | for example |"
    yield "|---|---|---|---|---|---|---|"
    for row in listed(doubts):
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""
    for kind in dict.fromkeys(doubt.kind for doubt in doubts):
        yield f"- {kind}: {KINDS[kind]}"


def _cell(text: str) -> str:
    """Text that cannot end a cell or begin markup."""
    plain = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return "".join("\\" + char if char in "|`*_<>[]#" else char for char in plain)
