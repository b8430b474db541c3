"""English, read aloud: LibriSpeech, or your own English recordings by a manifest."""

from asrkit.recipe import Recipe
from asrkit.settings import SplitsSettings, TokenizerSettings, architecture

from .corpus import ARCHIVES, read_corpus
from .text import ALPHABET, normalize

RECIPE = Recipe(
    name="librispeech",
    language="en",
    description="English read aloud: 100 to 960 hours of audiobooks",
    licence="CC BY 4.0",
    archives=ARCHIVES,
    read_corpus=read_corpus,
    normalize=normalize,
    alphabet=ALPHABET,
    splits=SplitsSettings(
        train=("train-clean-100",), dev=("dev-clean", "dev-other"), test=("test-clean", "test-other")
    ),
    tokenizer=TokenizerSettings(kind="characters"),
    model=architecture("deepspeech2"),
)
