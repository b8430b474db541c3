"""Shards' sidecars in; tokenizer, index and counts out: everything about text, without touching audio.

Run again alone, it gives a prepared data set new text rules or another tokenizer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from textwrap import shorten
from typing import Any

from asrkit.atomic import part_of
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.errors import AsrkitError
from asrkit.packing import UNREADABLE
from asrkit.plan import DUPLICATE, Plan
from asrkit.progress import Progress
from asrkit.recipe import Recipe
from asrkit.settings import FiltersSettings
from asrkit.shard_writer import IndexWriter
from asrkit.shards import read_sidecar
from asrkit.tally import Tally
from asrkit.tokenizer import Tokenizer, train_tokenizer

EMPTY, SHORT, LONG, OUTSIDE = "empty text", "too short", "too long", "characters outside the alphabet"
REASONS = (UNREADABLE, EMPTY, SHORT, LONG, OUTSIDE, DUPLICATE)
_EXAMPLES = 5  # kept of each reason


@dataclass(kw_only=True)
class SplitCounts:
    """What became of the utterances of one split."""

    role: str
    utterances: int = 0  # used
    samples: int = 0
    speakers: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by reason
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # reason -> [{key, detail}]
    notes: Counter[str] = field(default_factory=Counter)  # what the corpus's reader did, in utterances
    characters_outside: Counter[str] = field(default_factory=Counter)  # of the alphabet; dev and test keep them
    characters_unspelled: Counter[str] = field(default_factory=Counter)  # of the alphabet, and no label for them
    text_in_train: int | None = None  # utterances whose text is in train, too; None for train itself
    fingerprint: str = ""  # of the index

    @property
    def in_corpus(self) -> int:
        return self.utterances + self.left_out.total()

    def leave_out(self, key: str, reason: str, detail: str) -> None:
        self.left_out[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append({"key": key, "detail": detail})

    def to_json(self) -> dict[str, Any]:
        """As prepare.json holds it."""
        return {
            "role": self.role,
            "in_corpus": self.in_corpus,
            "utterances": self.utterances,
            "hours": round(self.samples / SAMPLE_RATE_HZ / 3600, 6),
            "speakers": self.speakers,
            "left_out": dict.fromkeys(REASONS, 0) | most_common(self.left_out),
            "examples": {reason: self.examples[reason] for reason in sorted(self.examples)},
            "notes": most_common(self.notes),
            "characters_outside": most_common(self.characters_outside),
            "characters_unspelled": most_common(self.characters_unspelled),
            "text_in_train": self.text_in_train,
            "fingerprint": self.fingerprint,
        }


def most_common(counted: Counter[str]) -> dict[str, int]:
    """The most frequent first, and ties in a fixed order."""
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


@dataclass
class NewIndex:
    """A tokenizer and the finished index of each split, not yet in place of the old ones."""

    folder: Path
    tokenizer: Tokenizer
    writers: list[IndexWriter]

    def publish(self) -> None:
        """Puts all of them in place."""
        self.tokenizer.save(self.folder / "tokenizer")
        for writer in self.writers:
            writer.publish()

    @property
    def fingerprint(self) -> str:
        return sha256(" ".join(writer.fingerprint for writer in self.writers).encode("ascii")).hexdigest()[:16]


def count(folder: Path, plan: Plan, recipe: Recipe, progress: Progress) -> dict[str, SplitCounts]:
    """Decides for each utterance whether it is used; counts by reason. Filters for length and alphabet thin train only.

    Raises:
        AsrkitError: a sidecar is missing or damaged.
    """
    counts = {split: SplitCounts(role=role) for split, role in plan.roles()}
    alphabet = frozenset(recipe.alphabet)
    with Tally(part_of(folder / "tally")) as tally, _bar("checking texts", plan, progress) as bar:
        for split, role in plan.roles():
            one = counts[split]
            for _, sample, text in _samples(folder, split, plan, recipe):
                bar.advance()
                reason = _reason(sample, text, role, recipe)
                one.characters_outside.update(character for character in text if character not in alphabet)
                one.notes.update(_notes(sample))
                if reason:
                    one.leave_out(sample["key"], *reason)
                    continue
                one.utterances += 1
                one.samples += sample["samples"]
                if sample.get("speaker"):
                    one.speakers += tally.add(f"speaker of {split}", sample["speaker"]) == 1
                if role == "train":
                    tally.add("text of train", text)
                else:
                    one.text_in_train = (one.text_in_train or 0) + (tally.count("text of train", text) > 0)
    return counts


def refuse_thinned(counts: dict[str, SplitCounts], filters: FiltersSettings) -> None:
    """Ends prepare where more than filters.max_dropped of a split had to be left out, or nothing remains of it.

    Raises:
        AsrkitError: with the counts and the setting that allows it.
    """
    for split, one in counts.items():
        dropped = one.left_out.total()
        share = dropped / max(one.in_corpus, 1)
        reasons = ", ".join(f"{reason} {n}" for reason, n in one.left_out.most_common())
        first = next(iter(one.examples.values()), [{"key": "", "detail": ""}])[0]
        found = (
            f"{split}: {dropped} of {one.in_corpus} utterances left out ({reasons}; {first['key']}: {first['detail']})"
        )
        if dropped and one.utterances == 0:
            raise AsrkitError(f"{found}; none remains")
        if share > filters.max_dropped:
            raise AsrkitError(
                f"{found}: more than filters.max_dropped={filters.max_dropped:g}; mend the corpus, "
                f"or allow it with filters.max_dropped={min(1.0, -(-share * 100 // 1) / 100):g}"
            )


def write_index(
    folder: Path, plan: Plan, recipe: Recipe, counts: dict[str, SplitCounts], stack: ExitStack, progress: Progress
) -> NewIndex:
    """Trains the tokenizer on train's texts and writes each split's index under temporary names.

    Dev and test keep characters that no label spells, and they are counted: their tokens skip them, their text does
    not. Their lines say whether train has the text, too (text_in_train).
    `stack` removes the temporary files.
    """
    progress.say(f"training the tokenizer ({recipe.tokenizer.kind})")
    tokenizer = train_tokenizer(recipe.tokenizer, _train_texts(folder, plan, recipe))
    alphabet = frozenset(recipe.alphabet)
    writers = []
    with Tally(part_of(folder / "tally")) as tally, _bar("writing the index", plan, progress) as bar:
        for split, role in plan.roles():
            writer = stack.enter_context(IndexWriter(folder / split, tokenizer.fingerprint()))
            for shard, sample, text in _samples(folder, split, plan, recipe):
                bar.advance()
                if _reason(sample, text, role, recipe) is not None:
                    continue
                if role == "train":
                    tally.add("text of train", text)
                    writer.add(shard, sample, text, tokenizer.encode(text))
                    continue
                if not tokenizer.spells(text):
                    unspelled = (c for c in text if c in alphabet and not tokenizer.spells(c))
                    counts[split].characters_unspelled.update(unspelled)
                known = {"text_in_train": tally.count("text of train", text) > 0}
                writer.add(shard, sample | known, text, tokenizer.encode_known(text))
            counts[split].fingerprint = writer.finish()
            writers.append(writer)
    return NewIndex(folder, tokenizer, writers)


def _samples(folder: Path, split: str, plan: Plan, recipe: Recipe) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(shard, sidecar line, normalised text) of each utterance, left out or not."""
    for number in range(plan.shards(split)):
        for sample in read_sidecar(folder / split, number):
            yield number, sample, "" if "left_out" in sample else recipe.normalize(_transcript(sample, recipe))


def _transcript(sample: dict[str, Any], recipe: Recipe) -> str:
    """The spelling, or the pronunciation where that is asked for and known."""
    pronunciation = sample.get("pronunciation") if recipe.text.transcription == "pronunciation" else None
    return str(pronunciation or sample["text_raw"])


def _notes(sample: dict[str, Any]) -> list[str]:
    notes = sample.get("notes")
    return notes if isinstance(notes, list) else []  # a manifest may have a column of that name


def _train_texts(folder: Path, plan: Plan, recipe: Recipe) -> Iterable[str]:
    for split in plan.splits["train"]:
        for _, sample, text in _samples(folder, split, plan, recipe):
            if _reason(sample, text, "train", recipe) is None:
                yield text


def _reason(sample: dict[str, Any], text: str, role: str, recipe: Recipe) -> tuple[str, str] | None:
    """Why an utterance is left out, and the detail; None when it is used."""
    if "left_out" in sample:
        return sample["left_out"], sample["detail"]
    if not text.strip():
        return EMPTY, repr(sample["text_raw"])
    if role != "train":
        return None
    if sample.get("unfit"):
        return str(sample["unfit"]), repr(shorten(sample["text_raw"], 60, placeholder=" ..."))
    duration_s = sample["samples"] / SAMPLE_RATE_HZ
    if duration_s < recipe.filters.min_s:
        return SHORT, f"{duration_s:.2f} s; filters.min_s is {recipe.filters.min_s:g}"
    if duration_s > recipe.filters.max_s:
        return LONG, f"{duration_s:.2f} s; filters.max_s is {recipe.filters.max_s:g}"
    outside = sorted(character for character in set(text) if character not in recipe.alphabet)
    if outside:
        return OUTSIDE, f"{' '.join(map(repr, outside))} in {shorten(text, 60, placeholder=' ...')!r}"
    return None


def _bar(label: str, plan: Plan, progress: Progress) -> Any:
    return progress.bar(label, sum(plan.utterances.values()), "utterances")
