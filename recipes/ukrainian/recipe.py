"""Ukrainian: Common Voice, the audiobooks of M-AILABS, or your own recordings by a manifest."""

from asrkit.recipe import Corpus, Recipe
from asrkit.settings import SplitsSettings, TokenizerSettings, architecture

from .corpus import read_corpus
from .m_ailabs import read_corpus as read_m_ailabs
from .text import ALPHABET, normalize

RECIPE = Recipe(
    name="ukrainian",
    language="uk",
    description="Ukrainian read aloud: Common Voice, or 83 hours of audiobooks",
    licence="CC0 1.0",
    read_corpus=read_corpus,
    normalize=normalize,
    alphabet=ALPHABET,
    splits=SplitsSettings(train=("train",), dev=("dev",), test=("test",)),
    more_corpora=(
        Corpus(
            name="m-ailabs",
            description="audiobooks by six readers",
            licence="M-AILABS licence; the Ukrainian recordings for machine learning only",
            read_corpus=read_m_ailabs,
            splits=SplitsSettings(train=("train",), dev=(), test=()),
        ),
    ),
    tokenizer=TokenizerSettings(kind="characters"),
    model=architecture("deepspeech2"),
)
