"""Sections refuse wrong types and impossible values by section.key, and read the text of an override."""

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Literal

import pytest

from asrkit.errors import AsrkitError
from asrkit.settings import (
    ARCHITECTURES,
    AudioSettings,
    AugmentSettings,
    DecodeSettings,
    FeaturesSettings,
    FiltersSettings,
    ModelSettings,
    Section,
    SplitsSettings,
    TokenizerSettings,
    TrainSettings,
    architecture,
    parse_value,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainSettings(lr="fast"), "train.lr is 'fast'; wanted a number"),
        (lambda: TrainSettings(lr=True), "train.lr is True; wanted a number"),
        (lambda: TrainSettings(lr=float("nan")), "train.lr is nan; wanted a number"),
        (lambda: TrainSettings(epochs=2.5), "train.epochs is 2.5; wanted a whole number"),
        (lambda: TrainSettings(epochs=True), "train.epochs is True; wanted a whole number"),
        (lambda: ModelSettings(bidirectional=1), "model.bidirectional is 1; wanted true or false"),
        (lambda: TrainSettings(betas=(0.9,)), "train.betas is (0.9,); wanted 2 comma-separated numbers"),
        (
            lambda: TrainSettings(precision="float8"),
            "train.precision is 'float8'; wanted one of auto, float32, bfloat16, float16",
        ),
        (lambda: SplitsSettings(train="train"), "splits.train is 'train'; wanted comma-separated names"),
        (lambda: ModelSettings(time_stride=3), "model.time_stride is 3; wanted one of 2, 4"),
        (
            lambda: ModelSettings(conv_channels=(32, "x")),
            "model.conv_channels is (32, 'x'); wanted comma-separated whole numbers",
        ),
    ],
)
def test_wrong_type_names_the_setting(make: Callable[[], Section], message: str) -> None:
    with pytest.raises(AsrkitError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: AudioSettings(shard_utterances=0), "audio.shard_utterances is 0; wanted 1 to"),
        (lambda: FiltersSettings(max_dropped=1.5), "filters.max_dropped is 1.5; wanted 0 to 1"),
        (lambda: FiltersSettings(min_s=40.0), "filters.min_s is 40.0; wanted 0 to filters.max_s (35)"),
        (lambda: TokenizerSettings(size=1), "tokenizer.size is 1; wanted 8 to"),
        (lambda: FeaturesSettings(mels=0), "features.mels is 0; wanted 8 to 256"),
        (lambda: FeaturesSettings(window_ms=5.0), "features.window_ms is 5.0; wanted features.hop_ms (10)"),
        (lambda: AugmentSettings(speeds=()), "augment.speeds is (); wanted one or more factors"),
        (lambda: AugmentSettings(speeds=(1.0, 9.0)), "augment.speeds is (1.0, 9.0); wanted one or more factors"),
        (lambda: ModelSettings(conv_channels=()), "model.conv_channels is (); wanted one to three"),
        (lambda: ModelSettings(conv_mel_kernels=(41, 20)), "model.conv_mel_kernels is (41, 20); wanted 2 odd sizes"),
        (lambda: ModelSettings(conv_time_kernels=(11,)), "model.conv_time_kernels is (11,); wanted 2 odd sizes"),
        (lambda: ModelSettings(layers=0), "model.layers is 0; wanted 1 to 20"),
        (lambda: ModelSettings(dropout=1.0), "model.dropout is 1.0; wanted 0 to 0.9"),
        (lambda: ModelSettings(lookahead=20), "model.lookahead is 20; wanted 0 in a bidirectional model"),
        (lambda: TrainSettings(lr=0.0), "train.lr is 0.0; wanted 1e-08 to 10"),
        (lambda: TrainSettings(warmup=1.0), "train.warmup is 1.0; wanted 0 to 0.9"),
        (lambda: DecodeSettings(beam=0), "decode.beam is 0; wanted 1 to"),
    ],
)
def test_impossible_value_names_the_setting(make: Callable[[], Section], key: str) -> None:
    with pytest.raises(AsrkitError, match=f"^{re.escape(key)}"):
        make()


def test_whole_numbers_serve_as_numbers_and_lists_as_tuples() -> None:
    assert isinstance(TrainSettings(lr=1).lr, float)
    assert SplitsSettings(train=["a", "b"]).train == ("a", "b")  # type: ignore[arg-type]  # as JSON brings it


def test_replace_checks_too() -> None:
    with pytest.raises(AsrkitError, match=r"model\.layers is 99"):
        replace(ModelSettings(), layers=99)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("2e-4", float, 2e-4),
        (" 3 ", int, 3),
        ("a,b", tuple[str, ...], ("a", "b")),
        ("a", tuple[str, ...], ("a",)),
        ("(0.9, 1.0)", tuple[float, ...], (0.9, 1.0)),
        ("", tuple[float, ...], ()),
        ("0.9,0.98", tuple[float, float], (0.9, 0.98)),
        ("4", Literal[2, 4], 4),
        ("true", bool, True),
        ("No", bool, False),
        ("none", int | None, None),
        ("7", int | None, 7),
        ("a=b", str, "a=b"),
    ],
)
def test_text_of_an_override_is_read(text: str, hint: Any, value: Any) -> None:
    parsed = parse_value(text, hint, "some.key")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "wanted"),
    [
        ("fast", float, "a number"),
        ("inf", float, "a number"),
        ("2.5", int, "a whole number"),
        ("maybe", bool, "true or false"),
        ("3", Literal[2, 4], "one of 2, 4"),
        ("1,x", tuple[int, ...], "comma-separated whole numbers"),
        ("1,2,3", tuple[float, float], "2 comma-separated numbers"),
        ("x", int | None, "a whole number or none"),
    ],
)
def test_text_that_is_no_such_value_is_refused(text: str, hint: Any, wanted: str) -> None:
    with pytest.raises(AsrkitError, match=f"^{re.escape(f'some.key is {text!r}; wanted {wanted}')}$"):
        parse_value(text, hint, "some.key")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_are_what_their_name_says(name: str) -> None:
    model = architecture(name)
    assert model.name == name
    assert asdict(model) == asdict(ModelSettings(**asdict(model)))


def test_unknown_architecture_suggests_the_nearest() -> None:
    with pytest.raises(AsrkitError, match=r"no model named 'deepspeach2'; did you mean 'deepspeech2'\?"):
        architecture("deepspeach2")
