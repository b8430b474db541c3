"""What Korean n-grams are made from: the transcripts of train, jamo by jamo.

The recipe's labels are jamo, and so no eojeol is unknown, however few there are in the text; recipes/korean/README.md
has figures. Readers of Zeroth-Korean share their sentences, also with test: prepare says how many of test are in train.
"""

from asrkit.language_model import LanguageModel, TrainTranscripts

LM = LanguageModel(
    text=(TrainTranscripts(),),
    unit="token",
    order=6,
    discount_fallback=True,  # there is no jamo that follows only one other
)
