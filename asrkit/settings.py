"""What a recipe can set: frozen dataclasses, one for each section, with units, defaults that work, and checks.

A wrong value raises AsrkitError naming `section.key`. `parse_value` turns the text of a `section.key=value` override
into the type that the field declares.
"""

import math
import types
import typing
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin

from asrkit.errors import AsrkitError, did_you_mean

CODECS = ("ulaw", "alaw", "gsm", "opus", "mp3")


def _require(condition: bool, key: str, found: object, wanted: str) -> None:
    if not condition:
        raise AsrkitError(f"{key} is {found!r}; wanted {wanted}")


@dataclass(frozen=True, kw_only=True)
class Section:
    """What all sections share: types are checked on construction, whoever constructs."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in fields(self):
            value = getattr(self, field.name)
            fitted = _fit(value, hints[field.name])
            if fitted is _UNFIT:
                wanted = _type_name(hints[field.name])
                raise AsrkitError(f"{self.section()}.{field.name} is {value!r}; wanted {wanted}")
            object.__setattr__(self, field.name, fitted)
        self.check()

    def check(self) -> None:
        """Refuses impossible values; sections override it."""

    @classmethod
    def section(cls) -> str:
        return cls.__name__.removesuffix("Settings").lower()

    def _check_range(self, key: str, low: float, high: float) -> None:
        value = getattr(self, key)
        _require(low <= value <= high, f"{self.section()}.{key}", value, f"{low:g} to {high:g}")


@dataclass(frozen=True, kw_only=True)
class SplitsSettings(Section):
    """Names of the corpus's splits; several train splits are read one after another."""

    train: tuple[str, ...] = ("train",)
    dev: tuple[str, ...] = ("dev",)
    test: tuple[str, ...] = ("test",)


@dataclass(frozen=True, kw_only=True)
class AudioSettings(Section):
    """How shards keep sound: 16 kHz mono."""

    codec: Literal["flac", "opus"] = "flac"  # flac 78 MB an hour, lossless; opus 13 MB, eight times slower to read
    shard_utterances: int = 1000  # utterances planned into one shard

    def check(self) -> None:
        self._check_range("shard_utterances", 1, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class FiltersSettings(Section):
    """What is left out of training splits; dev and test lose only unreadable audio and empty references."""

    min_s: float = 0.1
    max_s: float = 35.0
    max_dropped: float = 0.05  # share of a split above which prepare fails

    def check(self) -> None:
        self._check_range("max_dropped", 0, 1)
        _require(0 <= self.min_s < self.max_s, "filters.min_s", self.min_s, f"0 to filters.max_s ({self.max_s:g})")


@dataclass(frozen=True, kw_only=True)
class TextSettings(Section):
    """Which transcript is trained on and scored, where a corpus writes two."""

    transcription: Literal["spelling", "pronunciation"] = "spelling"


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings(Section):
    """How text becomes labels. Syllables are the characters of Hangul, jamo their letters."""

    kind: Literal["characters", "syllables", "jamo", "unigram", "bpe"] = "characters"
    size: int = 1000  # labels of unigram and bpe, blank included; the others take what train holds

    def check(self) -> None:
        self._check_range("size", 8, 100_000)


@dataclass(frozen=True, kw_only=True)
class FeaturesSettings(Section):
    """Log-mel spectrogram."""

    mels: int = 80
    window_ms: float = 25.0
    hop_ms: float = 10.0
    pad_ms: float = 100.0  # silence put on both sides: the first and last sounds of a tight cut need context
    normalize: Literal["utterance", "train"] = "utterance"  # by its own mean and variance, or by those of train
    prior_s: float = 1.0  # seconds of train that count beside an utterance's own sound, in its mean and variance

    def check(self) -> None:
        self._check_range("mels", 8, 256)
        self._check_range("hop_ms", 1, 50)
        self._check_range("pad_ms", 0, 1000)
        self._check_range("prior_s", 0, 1000)
        _require(
            self.hop_ms <= self.window_ms <= 32,
            "features.window_ms",
            self.window_ms,
            f"features.hop_ms ({self.hop_ms:g}) to 32",
        )


SNR_DB = (-20.0, 60.0)  # from where speech is no longer heard to where noise is not


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(Section):
    """How training utterances are varied, in this order; dev and test never are. What is drawn depends on the seed, the
    epoch and the utterance alone."""

    enabled: bool = True  # false leaves them as they are
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)  # one is drawn for each utterance and epoch
    speed_p: float = 1.0  # share of utterances for which it is
    noise: tuple[str, ...] = ()  # data sets of asrkit prepare-noise: where noises and rooms come from
    reverb_p: float = 0.3  # share of utterances that are heard in a room, where `noise` has any
    noise_p: float = 0.5  # share that is heard among noises, where `noise` has any
    noise_snr_db: tuple[float, float] = (5.0, 25.0)  # of each noise, by the speech without its pauses
    noise_most: int = 2  # noises at once
    gain_p: float = 0.0  # features are normalised by the utterance: the model hardly hears it
    gain_db: tuple[float, float] = (-12.0, 6.0)
    codec_p: float = 0.0  # share that goes through a codec
    codecs: tuple[str, ...] = ("ulaw", "gsm", "mp3")  # one is drawn; ulaw, alaw and gsm at the telephone's 8 kHz
    masks_p: float = 1.0  # share of utterances that SpecAugment masks
    time_masks: int = 2
    time_mask_share: float = 0.06  # of the utterance, the widest mask
    mel_masks: int = 2
    mel_mask_bins: int = 15  # the widest mask

    def check(self) -> None:
        ok = len(self.speeds) > 0 and all(0.5 <= speed <= 2 for speed in self.speeds)
        _require(ok, "augment.speeds", self.speeds, "one or more factors from 0.5 to 2")
        for key in ("speed_p", "reverb_p", "noise_p", "gain_p", "codec_p", "masks_p"):
            self._check_range(key, 0, 1)
        for key, low, high in (("noise_snr_db", *SNR_DB), ("gain_db", -60.0, 30.0)):
            least, most = getattr(self, key)
            wanted = f"two numbers that do not fall, from {low:g} to {high:g}"
            _require(low <= least <= most <= high, f"augment.{key}", (least, most), wanted)
        self._check_range("noise_most", 1, 8)
        known = len(self.codecs) > 0 and set(self.codecs) <= set(CODECS)
        _require(known, "augment.codecs", self.codecs, f"some of {', '.join(CODECS)}")
        self._check_range("time_masks", 0, 20)
        self._check_range("mel_masks", 0, 20)
        self._check_range("time_mask_share", 0, 0.5)
        self._check_range("mel_mask_bins", 0, 128)

    @property
    def masks(self) -> int:
        """Of SpecAugment, over time and over mel bins."""
        return self.time_masks + self.mel_masks

    def in_force(self) -> "AugmentSettings":
        """Themselves, or where they are not enabled settings that change nothing."""
        if self.enabled:
            return self
        off = AugmentSettings(speeds=(1.0,), reverb_p=0.0, noise_p=0.0, time_masks=0, mel_masks=0)
        return replace(off, enabled=False)


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Section):
    """A DeepSpeech2 (arXiv 1512.02595); the keyword arguments of `model.DeepSpeech2`, and the name they came from."""

    name: str = "deepspeech2"
    conv_channels: tuple[int, ...] = (32, 32)
    conv_mel_kernels: tuple[int, ...] = (41, 21)
    conv_time_kernels: tuple[int, ...] = (11, 11)
    time_stride: Literal[2, 4] = 2
    residual_blocks: int = 0
    rnn: Literal["gru", "lstm", "rnn"] = "gru"
    layers: int = 5
    hidden: int = 800
    bidirectional: bool = True
    merge: Literal["sum", "concat"] = "sum"  # of the two directions
    lookahead: int = 0  # frames of future that a forward network sees after its recurrent layers
    head: int = 0  # hidden units of an extra linear layer before the labels; 0 for none
    dropout: float = 0.1

    def check(self) -> None:
        convs = len(self.conv_channels)
        _require(1 <= convs <= 3, "model.conv_channels", self.conv_channels, "one to three convolutions")
        for key in ("conv_mel_kernels", "conv_time_kernels"):
            kernels = getattr(self, key)
            ok = len(kernels) == convs and all(k > 0 and k % 2 == 1 for k in kernels)
            _require(ok, f"model.{key}", kernels, f"{convs} odd sizes, one for each convolution")
        _require(
            self.time_stride == 2 or convs >= 2, "model.time_stride", self.time_stride, "2 with a single convolution"
        )
        self._check_range("layers", 1, 20)
        self._check_range("hidden", 1, 8192)
        self._check_range("residual_blocks", 0, 20)
        self._check_range("dropout", 0, 0.9)
        self._check_range("head", 0, 8192)
        self._check_range("lookahead", 0, 200)
        _require(
            not (self.bidirectional and self.lookahead), "model.lookahead", self.lookahead, "0 in a bidirectional model"
        )


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "deepspeech2": {},
    "deepspeech2-small": dict(
        conv_channels=(16, 32, 32),
        conv_mel_kernels=(5, 5, 5),
        conv_time_kernels=(5, 5, 5),
        time_stride=4,
        rnn="lstm",
        layers=3,
        hidden=256,
        dropout=0.2,
    ),
    "deepspeech2-streaming": dict(bidirectional=False, lookahead=20),
    "residual": dict(
        conv_channels=(32,), conv_mel_kernels=(3,), conv_time_kernels=(3,), residual_blocks=3, layers=5, hidden=512
    ),
    "deep": dict(conv_channels=(32, 32, 96), conv_mel_kernels=(41, 21, 21), conv_time_kernels=(11, 11, 11), layers=7),
    "lstm-768": dict(
        conv_channels=(32, 32, 96),
        conv_mel_kernels=(41, 21, 21),
        conv_time_kernels=(11, 11, 11),
        rnn="lstm",
        layers=5,
        hidden=768,
        head=768,
    ),
}


# What goes with an architecture in other sections. What streams cannot wait for an utterance's own mean. The small
# model takes larger steps, and is meant for few hours of speech, which it must not learn by heart.
ARCHITECTURE_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "deepspeech2-streaming": {"features": {"normalize": "train"}},
    "deepspeech2-small": {
        "train": {"lr": 2e-3, "weight_decay": 0.2, "middle_loss": 0.3},
        "augment": {"speeds": (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)},
    },
}


def architecture(name: str) -> ModelSettings:
    """The named architecture, whole.

    Raises:
        AsrkitError: the name is not one of ARCHITECTURES.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise AsrkitError(f"no model named {name!r}{did_you_mean(name, ARCHITECTURES)} (there are: {known})")
    return ModelSettings(name=name, **ARCHITECTURES[name])


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Section):
    """How long, how fast and in what portions the model learns."""

    epochs: int = 40  # --minutes N replaces it by the number of steps that fit
    batch_seconds: float = 0.0  # padded seconds of audio in one batch; 0: a 200th of the corpus, from 20 to 320
    accumulate: int = 1  # portions that a batch is worked on in, one after the other: less memory, the same update
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    grad_clip: float = 2.0
    middle_loss: float = 0.0  # share of the loss that the middle recurrent layer's own log-probs have
    seed: int = 1
    workers: int = -1  # loader processes; -1 chooses
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of matrix products
    save_minutes: float = 10.0  # between checkpoints, beside one at each validation
    validate_epochs: int = 1  # validate after every so many epochs
    patience: int = 20  # validations without a better dev WER+CER before training stops; 0 never stops
    max_bad_steps: int = 20  # updates with a loss or gradient that is not finite before training stops

    def check(self) -> None:
        self._check_range("epochs", 1, 100_000)
        self._check_range("batch_seconds", 0, 1e6)
        self._check_range("accumulate", 1, 1000)
        self._check_range("lr", 1e-8, 10)
        self._check_range("warmup", 0, 0.9)
        self._check_range("middle_loss", 0, 0.9)
        self._check_range("grad_clip", 1e-3, 1e6)
        self._check_range("workers", -1, 256)
        self._check_range("save_minutes", 0.01, 1e5)
        self._check_range("validate_epochs", 1, 10_000)
        self._check_range("patience", 0, 100_000)
        self._check_range("max_bad_steps", 0, 1_000_000)


# for pyctcdecode its own; the native search charges for the length of an unknown word, too (docs/log.md)
UNKNOWN_SCORES = {"native": -6.0, "pyctcdecode": -10.0}


@dataclass(frozen=True, kw_only=True)
class DecodeSettings(Section):
    """Beam search with an n-gram; greedy decoding has no settings. Natural logarithms, where nothing else is said."""

    engine: Literal["native", "pyctcdecode"] = "native"
    beam: int = 100
    alpha: float = 0.5  # weight of the n-gram of words
    beta: float = 1.0  # bonus for each word
    # log10, weighted as the n-gram's: for each word that it does not know, besides its own; None: UNKNOWN_SCORES
    unk_score: float | None = None
    closed_vocab: bool = False  # only words that the n-gram knows
    token_alpha: float = 0.5  # weight of the n-gram of labels
    token_beta: float = 0.0  # bonus for each label
    token_min_logp: float = -5.0  # labels below it are not tried in a frame, its best aside (see frame_labels.EASE)
    beam_prune_logp: float = -10.0  # beams so far behind the best are dropped (closed_vocab keeps a few)
    n_best: int = 1
    hotwords: tuple[str, ...] = ()  # words and phrases to listen for
    hotword_score: float = 10.0  # for each of their words

    def check(self) -> None:
        self._check_range("beam", 1, 100_000)
        self._check_range("n_best", 1, 10_000)
        for name in ("alpha", "token_alpha"):
            self._check_range(name, 0, 100)
        for name in ("beta", "token_beta", "hotword_score"):
            self._check_range(name, -100, 100)
        if self.unk_score is not None:
            self._check_range("unk_score", -1000, 0)
        for name in ("token_min_logp", "beam_prune_logp"):
            self._check_range(name, -1e9, 0)

    @property
    def unknown_score(self) -> float:
        """unk_score, or what stands for it."""
        return UNKNOWN_SCORES[self.engine] if self.unk_score is None else self.unk_score


_UNFIT = object()


def _fit(value: Any, hint: Any) -> Any:
    """`value` as the declared type (an int serves as a float, a list as a tuple), or _UNFIT."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return next((arg for arg in args if arg == value and type(arg) is type(value)), _UNFIT)
    if origin in (types.UnionType, typing.Union):
        return next((fitted for arg in args if (fitted := _fit(value, arg)) is not _UNFIT), _UNFIT)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _UNFIT
        kinds = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        fitted_items = [_fit(item, kind) for item, kind in zip(value, kinds, strict=False)]
        return _UNFIT if len(kinds) != len(value) or _UNFIT in fitted_items else tuple(fitted_items)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else _UNFIT
    return value if type(value) is hint or (hint is type(None) and value is None) else _UNFIT


def parse_value(text: str, hint: Any, key: str) -> Any:
    """The value that `text` spells for a field of type `hint`; tuples are comma-separated.

    Raises:
        AsrkitError: the text is no such value; names `key`.
    """
    parsed = _parse(text.strip(), hint)
    if parsed is _UNFIT:
        raise AsrkitError(f"{key} is {text!r}; wanted {_type_name(hint)}")
    return parsed


def _parse(text: str, hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return next((arg for arg in args if str(arg) == text), _UNFIT)
    if origin in (types.UnionType, typing.Union):
        return next((value for arg in args if (value := _parse(text, arg)) is not _UNFIT), _UNFIT)
    if origin is tuple:
        parts = [part for part in text.strip("()[]").split(",") if part.strip()]
        kinds = [args[0]] * len(parts) if len(args) == 2 and args[1] is Ellipsis else list(args)
        values = [_parse(part.strip(), kind) for part, kind in zip(parts, kinds, strict=False)]
        return _UNFIT if len(kinds) != len(parts) or _UNFIT in values else tuple(values)
    if hint is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), _UNFIT)
    if hint is type(None):
        return None if text.lower() in ("none", "null") else _UNFIT
    try:
        value = hint(text)
    except ValueError:
        return _UNFIT
    return _fit(value, hint)


def _type_name(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(arg) for arg in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type_name(arg) for arg in args)
    if origin is tuple:
        many = len(args) == 2 and args[1] is Ellipsis
        kind = {str: "names", int: "whole numbers", float: "numbers"}.get(args[0], "values")
        return f"comma-separated {kind}" if many else f"{len(args)} comma-separated {kind}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return names.get(hint, str(hint))
