"""Korean: Zeroth-Korean read aloud, conversations and commands from AI-Hub, or your own recordings by a manifest."""

from asrkit.recipe import Recipe
from asrkit.settings import SplitsSettings, TokenizerSettings, architecture

from .aihub import FREE_CONVERSATION, NOISY_SPEECH
from .corpus import ARCHIVES, TEST, TRAIN, read_corpus
from .ksponspeech import KSPONSPEECH
from .text import ALPHABET, normalize

RECIPE = Recipe(
    name="korean",
    language="ko",
    description="Korean: 52 hours read aloud, or conversations from AI-Hub",
    licence="CC BY 4.0",
    archives=ARCHIVES,
    read_corpus=read_corpus,
    normalize=normalize,
    alphabet=ALPHABET,
    splits=SplitsSettings(train=(TRAIN,), dev=(), test=(TEST,)),
    more_corpora=(KSPONSPEECH, FREE_CONVERSATION, NOISY_SPEECH),
    tokenizer=TokenizerSettings(kind="jamo"),
    model=architecture("deepspeech2"),
)
