"""A model and a dev index in, its greedy WER and CER out; never augmented."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from asrkit.batches import Rows, load
from asrkit.features import LogMel
from asrkit.model import DeepSpeech2
from asrkit.report import error_rate
from asrkit.search import greedy
from asrkit.shards import JoinedIndex
from asrkit.tokenizer import Tokenizer


@dataclass(frozen=True)
class Validation:
    """Corpus totals as fractions: errors over reference units."""

    wer: float
    cer: float
    example: tuple[str, str]  # reference and hypothesis of one utterance, to look at

    @property
    def score(self) -> float:
        """What models are chosen by; lower is better. CER tells weak models apart, WER good ones."""
        return self.wer + self.cer


def validate(
    model: DeepSpeech2, features: LogMel, tokenizer: Tokenizer, index: JoinedIndex, batches: Sequence[Rows], device: torch.device
) -> Validation:
    """Greedy decoding of these batches of the index.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    model.eval()
    pairs: list[tuple[str, str]] = []
    with torch.inference_mode():
        for batch in load(index, batches):
            log_mel, frames = features(batch.waveforms.to(device), batch.lengths.to(device))
            log_probs, lengths = model(log_mel, frames)  # (B, T', V), (B,)
            for row, each, length in zip(batch.rows, log_probs.cpu().numpy(), lengths.tolist(), strict=True):
                pairs.append((str(index.record(int(row))["text"]), greedy(each[:length], tokenizer).text))
    words = error_rate([(reference.split(), hypothesis.split()) for reference, hypothesis in pairs])
    characters = error_rate(pairs)
    return Validation(wer=words.rate, cer=characters.rate, example=pairs[len(pairs) // 2])
