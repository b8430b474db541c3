"""VERB a prepared data set in; what each tokenizer would make of its texts out: counts, and a recommendation.

Nothing of the data set changes. Characters, or syllables and jamo where the texts are Hangul, and subwords of several
sizes are trained on train's texts as they were prepared.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.advice import SUBWORD_HOURS
from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.errors import AsrkitError
from asrkit.frames import log_mel_frames, output_frames, samples_at_speed, time_strides
from asrkit.progress import Progress, Silent
from asrkit.recipe import Recipe
from asrkit.settings import FeaturesSettings, TokenizerSettings
from asrkit.shard_writer import ctc_frames
from asrkit.shards import DataSet, resolve_data
from asrkit.text import hangul_to_jamo
from asrkit.tokenizer import Tokenizer, train_tokenizer

SIZES = (250, 500, 1000, 2000, 5000)  # of subwords; those that the texts do not allow are passed over
STRIDES = (2, 4)
RARE = 5  # a label met less often in train is hardly learned
RARE_SHARE = 0.02  # of subwords that may be so rare
LONG_SHARE = 0.001  # of utterances that may be too long for CTC
HANGUL_SHARE = 0.5  # of all characters but spaces: from here on the texts are Hangul


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What one tokenizer makes of the texts. Shares are of utterances."""

    kind: str
    size: int | None  # tokenizer.size, of subwords
    labels: int  # the blank included
    labels_per_s: float  # of sound in train, on average
    too_long: dict[int, float]  # time stride -> share of train that has more labels than output frames
    rare: int  # labels met fewer than RARE times in train
    characters_unspelled: float  # share of dev's characters that no label spells
    utterances_unspelled: float  # share of dev's utterances with such a character

    @property
    def name(self) -> str:
        return self.kind if self.size is None else f"{self.kind} {self.size}"

    @property
    def settings(self) -> str:
        """As the command line takes it."""
        return f"tokenizer.kind={self.kind}" + ("" if self.size is None else f" tokenizer.size={self.size}")


@dataclass(frozen=True)
class _Texts:
    """Normalised texts of a role, and the samples (N,) of their sounds."""

    texts: list[str]
    samples: NDArray[np.int64]


def compare_tokenizers(
    recipe: Recipe, *, data: str | None = None, data_dir: str | Path = "data", progress: Progress = Silent()
) -> dict[str, Any]:
    """The comparison of all tokenizers that the data allows, and the recommended one with its reason, as JSON values.

    Raises:
        AsrkitError: no such data set.
    """
    data_set = resolve_data(data_dir, data, recipe.name)
    if data_set.meta.get("normalizer") != recipe.text_fingerprint():
        progress.warn(f"the recipe changed since {data_set.folder} was prepared; --text-only prepares its texts anew")
    train, dev = (_read(data_set, role, progress) for role in ("train", "dev"))
    hours = float(train.samples.sum()) / SAMPLE_RATE_HZ / 3600
    candidates = _candidates(_is_hangul(train.texts))
    compared = []
    with progress.bar("comparing tokenizers", len(candidates), "tokenizers") as bar:
        for settings in candidates:
            bar.advance(0, settings.kind)
            if tokenizer := _train(settings, train.texts):
                compared.append(_compare(tokenizer, settings, train, dev, recipe))
            bar.advance()
    best, reason = recommend(compared, hours=hours, stride=recipe.model.time_stride)
    _show(compared, best, reason, data_set.name, hours, progress)
    return {
        "recipe": recipe.name,
        "data": data_set.name,
        "hours": round(hours, 4),
        "speed": max(recipe.augment.speeds),
        "tokenizers": [asdict(one) for one in compared],
        "recommended": {"kind": best.kind, "size": best.size, "reason": reason, "settings": best.settings},
    }


def recommend(compared: Sequence[Comparison], *, hours: float, stride: int) -> tuple[Comparison, str]:
    """The rule: the fewest labels, until there is so much speech that the labels of subwords are met often, too.

    From SUBWORD_HOURS on the largest vocabulary of unigram or syllables of which at most RARE_SHARE is rare, if CTC has
    room for it; before, and where there is none, jamo or characters.
    """
    few = next(one for kind in ("jamo", "characters") for one in compared if one.kind == kind)
    fitting = [
        one
        for one in compared
        if one.kind in ("unigram", "syllables")
        and one.rare <= RARE_SHARE * one.labels
        and one.too_long[stride] <= LONG_SHARE
    ]
    if hours < SUBWORD_HOURS:
        best, reason = few, f"{hours:.1f} hours are few (under {SUBWORD_HOURS:g}): the fewest labels are learned best"
    elif fitting:
        best = max(fitting, key=lambda one: one.labels)
        reason = (
            f"{hours:.0f} hours show each of its labels often enough ({best.rare} of {best.labels} under {RARE} times)"
        )
    else:
        best, reason = few, f"no subwords of which at most {RARE_SHARE:.0%} are seen under {RARE} times"
    if best.too_long[stride] > LONG_SHARE and stride == 4:
        reason += f"; with model.time_stride=2, as {best.too_long[4]:.1%} of train is too long for CTC at 4"
    return best, reason


def _candidates(hangul: bool) -> list[TokenizerSettings]:
    kinds = [TokenizerSettings(kind="syllables"), TokenizerSettings(kind="jamo")]
    whole = kinds if hangul else [TokenizerSettings(kind="characters")]
    return [
        *whole,
        *(TokenizerSettings(kind="unigram", size=size) for size in SIZES),
        *(TokenizerSettings(kind="bpe", size=size) for size in SIZES),
    ]


def _is_hangul(texts: Sequence[str]) -> bool:
    counted = Counter(char for text in texts for char in text if char != " ")
    syllables = sum(times for char, times in counted.items() if hangul_to_jamo(char) != char)
    return syllables > HANGUL_SHARE * counted.total()


def _train(settings: TokenizerSettings, texts: Sequence[str]) -> Tokenizer | None:
    """None where the texts have too many characters or too few pieces for this size."""
    try:
        return train_tokenizer(settings, texts)
    except AsrkitError as error:
        if "tokenizer.size" in str(error):
            return None
        raise


def _compare(
    tokenizer: Tokenizer, settings: TokenizerSettings, train: _Texts, dev: _Texts, recipe: Recipe
) -> Comparison:
    times: Counter[int] = Counter()
    needed = np.zeros(len(train.texts), np.int64)  # (N,) output frames
    for number, text in enumerate(train.texts):
        ids = tokenizer.encode(text)
        times.update(ids)
        needed[number] = ctc_frames(ids)
    characters = Counter(char for text in dev.texts for char in text)
    unknown = {char for char in characters if not tokenizer.spells(char)}
    return Comparison(
        kind=settings.kind,
        size=settings.size if settings.kind in ("unigram", "bpe") else None,
        labels=len(tokenizer.labels),
        labels_per_s=times.total() / (float(train.samples.sum()) / SAMPLE_RATE_HZ),
        too_long=dict(_too_long(needed, train.samples, recipe)),
        rare=sum(times[label] < RARE for label in range(1, len(tokenizer.labels))),
        characters_unspelled=sum(characters[char] for char in unknown) / max(1, characters.total()),
        utterances_unspelled=sum(not unknown.isdisjoint(text) for text in dev.texts) / max(1, len(dev.texts)),
    )


def _too_long(needed: NDArray[np.int64], samples: NDArray[np.int64], recipe: Recipe) -> Iterator[tuple[int, float]]:
    """(stride, share of the utterances that need more output frames than they have)."""
    frames = log_mel_frames(samples_at_speed(samples, 1.0), **_framing(recipe.features))
    for stride in STRIDES:
        strides = time_strides(stride, max(2, len(recipe.model.conv_channels)))
        yield stride, float((output_frames(frames, strides) < needed).mean())


def _framing(features: FeaturesSettings) -> dict[str, float]:
    return {"window_ms": features.window_ms, "hop_ms": features.hop_ms, "pad_ms": features.pad_ms}


def _read(data_set: DataSet, role: str, progress: Progress) -> _Texts:
    """What the indexes of this role say."""
    indexes = [data_set.index(split) for split in data_set.splits[role]]
    texts = []
    with progress.bar(f"reading the texts of {role}", sum(map(len, indexes)), "utterances") as bar:
        for index in indexes:
            for i in range(len(index)):
                texts.append(str(index.record(i)["text"]))
                bar.advance()
    samples = [index.rows["samples"].astype(np.int64) for index in indexes]
    return _Texts(texts, np.concatenate(samples) if samples else np.zeros(0, np.int64))


def _show(
    compared: Sequence[Comparison], best: Comparison, reason: str, name: str, hours: float, progress: Progress
) -> None:
    columns = ["tokenizer", "labels", "a second", *(f"too long at {stride}" for stride in STRIDES)]
    columns += [f"under {RARE} times", "unspelled in dev", "of utterances"]
    rows = [
        [
            one.name,
            one.labels,
            f"{one.labels_per_s:.1f}",
            *(f"{share:.2%}" for share in one.too_long.values()),
            one.rare,
            f"{one.characters_unspelled:.2%}",
            f"{one.utterances_unspelled:.2%}",
        ]
        for one in compared
    ]
    progress.table(f"tokenizers on {name}, {hours:.2f} hours of train", columns, rows)
    progress.say(f"recommended: {best.settings} ({reason})")
