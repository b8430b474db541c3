"""What Ukrainian n-grams are made from: the transcripts of train; those of Common Voice are CC0 1.0."""

from asrkit.language_model import LanguageModel, TrainTranscripts

LM = LanguageModel(
    text=(TrainTranscripts(),),
    order=3,
)
