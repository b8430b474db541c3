"""A model and a dev index in, its greedy WER and CER out; never augmented."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from asrkit.batches import read_batch
from asrkit.device import one_core_threads
from asrkit.distributed import ALONE, Ranks
from asrkit.epochs import Rows
from asrkit.error_rates import error_rate
from asrkit.features import LogMel
from asrkit.model import DeepSpeech2
from asrkit.search import greedy
from asrkit.shards import JoinedIndex
from asrkit.tokenizer import Tokenizer


@dataclass(frozen=True)
class Validation:
    """Corpus totals as fractions: errors over reference units."""

    wer: float
    cer: float
    words: int  # of the references

    @property
    def score(self) -> float:
        """What models are chosen by; lower is better. CER tells weak models apart, WER good ones."""
        return self.wer + self.cer

    @property
    def noise(self) -> float:
        """The standard error of the WER: differences within it say little about which model is better."""
        return math.sqrt(min(self.wer, 1) * (1 - min(self.wer, 1)) / max(1, self.words))


def validate(
    model: DeepSpeech2,
    features: LogMel,
    tokenizer: Tokenizer,
    index: JoinedIndex,
    batches: Sequence[Rows],
    *,
    device: torch.device,
    threads: int = 1,
    ranks: Ranks = ALONE,
    stopped: Callable[[], bool] = lambda: False,
) -> Validation | None:
    """Greedy decoding of these batches of the index, several at a time in `threads` on a CPU, and by all ranks.

    None where a rank was `stopped` before its last batch.

    Raises:
        AsrkitError: a sample cannot be read.
    """
    model.eval()

    def decode(rows: Rows) -> list[tuple[str, str]] | None:
        if stopped():
            return None
        batch = read_batch(index, rows)
        with torch.inference_mode():
            log_mel, frames = features(batch.waveforms.to(device), batch.lengths.to(device))
            log_probs, lengths = model(log_mel, frames)  # (B, T', V), (B,)
        texts = [str(index.record(row)["text"]) for row in rows.tolist()]
        each = zip(texts, log_probs.cpu().numpy(), lengths.tolist(), strict=True)
        return [(text, greedy(frames[:length], tokenizer).text) for text, frames, length in each]

    run = one_core_threads(threads).map if threads > 1 else map
    decoded = list(chain.from_iterable(ranks.of_all(list(run(decode, batches[ranks.rank :: ranks.size])))))
    each = [batch for batch in decoded if batch is not None]
    if len(each) < len(decoded):
        return None
    pairs = list(chain.from_iterable(each))
    words = error_rate([(reference.split(), hypothesis.split()) for reference, hypothesis in pairs])
    return Validation(wer=words.rate, cer=error_rate(pairs).rate, words=words.units)
