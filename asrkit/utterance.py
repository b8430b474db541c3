"""Utterance: the record that every corpus yields, one for each piece of speech and its transcript."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """Where the sound is, what was said, and whatever the corpus knows about it.

    `start_s`, `end_s` and `channel` cut the utterance from a longer or many-channel file; channels count from 0,
    None mixes all of them. `unfit` utterances stay out of train, where they are counted by their reason; dev and test
    keep them. `extra` holds JSON values and travels into the shards (distance_m, condition, ...), as all of it does.
    """

    key: str  # unique in its corpus; prepare refuses none, it replaces what a tar member name cannot hold
    audio: Path
    text: str  # as the corpus writes it; normalised once, in prepare
    pronunciation: str | None = None  # the same words as they were spoken, where the corpus writes both
    split: str | None = None
    speaker: str | None = None
    gender: str | None = None  # "m", "f" or None
    language: str | None = None  # BCP 47
    duration_s: float | None = None  # as the corpus claims; prepare measures
    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None
    unfit: str | None = None  # why it must not be trained on, such as "unclear speech"
    notes: tuple[str, ...] = ()  # what its reader did, such as "digits: pronunciation taken"; prepare counts them
    extra: Mapping[str, Any] = field(default_factory=dict)
