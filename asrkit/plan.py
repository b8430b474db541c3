"""A corpus's utterances in, one working file for each split out: plan/<split>.jsonl, in the corpus's order.

A line says all that a process needs to make a sample: key (as its tar members are named), audio (absolute), bytes (of
that file; null when missing), start_s, end_s, channel, text_raw, text (normalised) and meta (what else goes into the
sample's .json; pronunciation, unfit and notes, too, where the corpus says any); or key, left_out (the reason) and
detail. plan.json, written last, is `Plan`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, Any

from asrkit.atomic import part_of, replacing, write_whole
from asrkit.checksums import file_state
from asrkit.errors import AsrkitError, did_you_mean
from asrkit.progress import Progress
from asrkit.settings import SplitsSettings
from asrkit.tally import Tally, order
from asrkit.utterance import Utterance

ROLES = ("train", "dev", "test")
DEV_SHARE = 0.05  # of train, where a corpus has no dev split
DEV_SPEAKERS = 20  # speakers that train must have for dev to take whole speakers: then at least one is small enough
DUPLICATE = "duplicate key"
_MANIFEST_ROLES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "test": "test"}
_KEY_BYTES = 80  # a tar member's name holds 100


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is planned: the splits of each role, and the utterances of each split, left out or not."""

    splits: dict[str, list[str]]
    utterances: dict[str, int]
    audio: dict[str, Any]  # settings of the shards: codec, shard_utterances
    dev_from_train: str | None = None  # "speaker" or "key": by whose hash dev was taken from train

    def shards(self, split: str) -> int:
        return -(-self.utterances[split] // int(self.audio["shard_utterances"]))

    def roles(self) -> Iterator[tuple[str, str]]:
        """(split, role), train first."""
        for role, splits in self.splits.items():
            for split in splits:
                yield split, role

    def save(self, folder: Path) -> None:
        write_whole(folder / "plan.json", json.dumps(asdict(self), indent=1).encode("utf-8"))


def load_plan(folder: Path) -> Plan:
    """The plan of an earlier prepare.

    Raises:
        AsrkitError: there is none.
    """
    try:
        return Plan(**json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise AsrkitError(f"{folder} holds no finished plan; run asrkit prepare without --text-only first") from error


def plan_path(folder: Path, split: str) -> Path:
    """Where the split's lines are, in the plan's folder."""
    return folder / f"{split}.jsonl"


def corpus_splits(declared: SplitsSettings, chosen: Sequence[str] | None) -> dict[str, list[str]]:
    """The declared splits of each role, or those of them that were chosen.

    Raises:
        AsrkitError: a chosen split is not declared, or none of them is for training.
    """
    everything = {role: list(getattr(declared, role)) for role in ROLES}
    known = [name for names in everything.values() for name in names]
    for name in chosen or ():
        if name not in known:
            raise AsrkitError(f"no split {name!r}{did_you_mean(name, known)} (there are: {', '.join(known)})")
    splits = {role: [name for name in names if not chosen or name in chosen] for role, names in everything.items()}
    if not splits["train"]:
        train = ", ".join(everything["train"])
        raise AsrkitError(f"no train split among {', '.join(chosen or ['none'])}; the tokenizer needs one of: {train}")
    return splits


def corpus_utterances(
    read_corpus: Callable[[Path, str], Iterable[Utterance]], root: Path, splits: dict[str, list[str]]
) -> Iterator[tuple[str, Utterance]]:
    """(split, utterance) of each split in turn."""
    for role in ROLES:
        for split in splits[role]:
            for utterance in read_corpus(root, split):
                yield split, utterance


def manifest_splits(chosen: Sequence[str] | None) -> dict[str, list[str]] | None:
    """The splits that a manifest must have: those that were chosen; None takes what it has.

    Raises:
        AsrkitError: a manifest has no such split, or train is not among the chosen.
    """
    return corpus_splits(SplitsSettings(), chosen) if chosen else None


def manifest_utterances(
    manifest: Path, utterances: Iterable[Utterance], chosen: Sequence[str] | None
) -> Iterator[tuple[str, Utterance]]:
    """(train, dev or test, utterance), in the manifest's order; without a split column, all of them are train.

    Raises:
        AsrkitError: a split of another name, or only some lines with one.
    """
    labelled: bool | None = None
    for utterance in utterances:
        has_split = bool(utterance.split)
        if labelled not in (None, has_split):
            raise AsrkitError(
                f"{manifest}: {utterance.key!r} and others differ in having a split; give it to all or none"
            )
        labelled = has_split
        role = _MANIFEST_ROLES.get((utterance.split or "train").strip().lower())
        if role is None:
            wanted = ", ".join(_MANIFEST_ROLES)
            raise AsrkitError(f"{manifest}: {utterance.key!r} has split {utterance.split!r}; wanted one of {wanted}")
        if not chosen or role in chosen:
            yield role, utterance


def write_plan(
    folder: Path,
    utterances: Iterable[tuple[str, Utterance]],
    *,
    splits: dict[str, list[str]] | None,
    origin: str,
    normalize: Callable[[str], str],
    audio: dict[str, Any],
    progress: Progress,
) -> Plan:
    """Streams the utterances into plan files; takes a dev split from train where there is none.

    `splits` are those that must be there; None for a manifest, which has what it has. `origin` is named in errors.

    Raises:
        AsrkitError: no utterances at all, none in a split, or too few for a dev split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").unlink(missing_ok=True)
    with Tally(part_of(folder / "tally")) as tally:
        roles = {name: role for role, names in (splits or {role: [role] for role in ROLES}).items() for name in names}
        counts = _write_lines(folder, utterances, roles, normalize, tally, progress)
        _refuse_empty(counts, splits, origin)
        if splits is None:
            splits = {role: [role] * (role in counts) for role in ROLES}
        plan = Plan(splits=splits, utterances=counts, audio=audio)
        if not splits["dev"]:
            plan = _take_dev_from_train(folder, plan, tally, progress)
    if not splits["test"]:
        progress.say("no test split: nothing will be there to decode and report on")
    for path in folder.glob("*.jsonl"):
        if path.stem not in plan.utterances:
            path.unlink()
    plan.save(folder)
    return plan


def _write_lines(
    folder: Path,
    utterances: Iterable[tuple[str, Utterance]],
    roles: dict[str, str],
    normalize: Callable[[str], str],
    tally: Tally,
    progress: Progress,
) -> dict[str, int]:
    """Writes the plan of each split; gives the number of lines."""
    counts: dict[str, int] = {}
    with ExitStack() as stack, progress.bar("reading the corpus", None, "utterances") as bar:
        files: dict[str, IO[bytes]] = {}
        for split, utterance in utterances:
            if split not in files:
                files[split] = stack.enter_context(replacing(plan_path(folder, split)))
                counts[split] = 0
            record = _plan_record(split, roles[split], utterance, normalize, tally)
            files[split].write(_line(record, utterance))
            counts[split] += 1
            if roles[split] == "train" and "left_out" not in record:
                tally.add("train key", record["key"])
                if utterance.speaker:
                    tally.add("train speaker", utterance.speaker)
            bar.advance()
    return counts


def _plan_record(
    split: str, role: str, utterance: Utterance, normalize: Callable[[str], str], tally: Tally
) -> dict[str, Any]:
    """The plan line of one utterance.

    A key that comes again: train leaves the utterance out. Dev and test lose nothing but a repetition of the very
    same utterance; another one under the same key is kept, under a key of its own.
    """
    audio = os.path.abspath(utterance.audio)
    cut = (utterance.start_s, utterance.end_s, utterance.channel)
    content = json.dumps([utterance.key, audio, cut, utterance.text])
    repeated = tally.add(f"key of {split}", utterance.key) > 1
    same = tally.add(f"utterance of {split}", content) > 1
    if repeated and (role == "train" or same):
        return {"key": utterance.key, "left_out": DUPLICATE, "detail": f"{utterance.key} again, {audio}"}
    key = safe_key(utterance.key)
    if tally.add(f"member of {split}", key) > 1:  # two keys that differ only in what a member name cannot hold
        key = f"{key}-{sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
        tally.add(f"member of {split}", key)
    known = {"speaker": utterance.speaker, "gender": utterance.gender, "language": utterance.language}
    told = {"pronunciation": utterance.pronunciation, "unfit": utterance.unfit, "notes": list(utterance.notes)}
    return {
        "key": key,
        "audio": audio,
        "state": file_state(audio),
        "start_s": utterance.start_s,
        "end_s": utterance.end_s,
        "channel": utterance.channel,
        "text_raw": utterance.text,
        "text": normalize(utterance.text),
        "meta": dict(utterance.extra) | known | {name: value for name, value in told.items() if value},
    }


def safe_key(key: str) -> str:
    """The key as a tar member's name can hold it: letters, digits, _ and -, neither dots nor slashes, and not long."""
    safe = re.sub(r"[^\w-]", "_", key)
    if len(safe.encode("utf-8")) <= _KEY_BYTES:
        return safe
    start = safe.encode("utf-8")[: _KEY_BYTES - 17].decode("utf-8", "ignore")
    return f"{start}-{order(key).hex()[:16]}"


def _line(record: dict[str, Any], utterance: Utterance) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError as error:
        raise AsrkitError(f"the text or metadata of {utterance.key!r} is not valid Unicode ({error.reason})") from error
    except (TypeError, ValueError) as error:
        raise AsrkitError(f"extra of {utterance.key!r} is more than JSON can hold ({error})") from error


def _refuse_empty(counts: dict[str, int], splits: dict[str, list[str]] | None, origin: str) -> None:
    if not counts:
        raise AsrkitError(f"{origin} has no utterances")
    if splits is None and "train" not in counts:
        raise AsrkitError(f"{origin} has no utterances of split train (only {', '.join(counts)})")
    empty = [name for names in (splits or {}).values() for name in names if name not in counts]
    if empty:
        raise AsrkitError(
            f"{origin} has no utterances in {', '.join(empty)}; to do without, name the others: "
            f"--splits {','.join(counts)}"
        )


def _take_dev_from_train(folder: Path, plan: Plan, tally: Tally, progress: Progress) -> Plan:
    """Moves 5 % of train's utterances to a split of their own: whole speakers where there are enough of them."""
    total = sum(count for _, count in tally.by_hash("train key"))
    speakers = tally.distinct("train speaker")
    by = "speaker" if speakers >= DEV_SPEAKERS else "key"
    if total < 2:
        raise AsrkitError(f"train has {total} utterance(s): too few to take a dev split from; add data or a dev split")
    room = max(1, round(DEV_SHARE * total))
    chosen = _speakers_within(tally, room) if by == "speaker" else set()
    last = b"" if by == "speaker" else next(islice(tally.by_hash("train key"), room - 1, None))[0]
    dev = "dev" if "dev" not in plan.utterances else "dev-from-train"
    counts = dict(plan.utterances) | {dev: 0}
    with replacing(plan_path(folder, dev)) as dev_file:
        for split in plan.splits["train"]:
            with plan_path(folder, split).open("rb") as lines, replacing(plan_path(folder, split)) as train_file:
                for line in lines:
                    record = json.loads(line)
                    speaker = record.get("meta", {}).get("speaker") or ""
                    in_dev = order(speaker) in chosen if by == "speaker" else order(record["key"]) <= last
                    taken = in_dev and "left_out" not in record
                    (dev_file if taken else train_file).write(line)
                    counts[split] -= taken
                    counts[dev] += taken
    who = f"{len(chosen)} of {speakers} speakers" if by == "speaker" else "utterances"
    progress.say(f"no dev split: {counts[dev]} of {total} train utterances become {dev!r} ({who}, by hash)")
    return replace(plan, splits=plan.splits | {"dev": [dev]}, utterances=counts, dev_from_train=by)


def _speakers_within(tally: Tally, room: int) -> set[bytes]:
    """Speakers in the order of their hashes, passing over those whose utterances would take dev above its share."""
    chosen = set()
    for speaker, utterances in tally.by_hash("train speaker"):
        if utterances <= room:
            chosen.add(speaker)
            room -= utterances
    return chosen
