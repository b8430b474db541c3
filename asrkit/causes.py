"""A wrong hypothesis and its reference in; why the search did not find the reference out.

After Chase 1997 (Blame assignment for errors made by large vocabulary speech recognizers, Eurospeech), without what
her recognizer's pronunciations could do wrong. The first that holds:

- oov: a reference word is beyond the reach of the tokenizer (no label spells it) or of the n-gram (it is unknown there:
  an open search may still write it, but at a price);
- search: the reference's total score is higher than the winner's;
- lm: only its acoustic score is, so that the n-gram tipped the balance;
- acoustic: the sound itself fits the winner better.
"""

from typing import TYPE_CHECKING, Literal, Protocol

from asrkit.align import LogProbs, log_likelihood
from asrkit.tokenizer import Tokenizer

if TYPE_CHECKING:
    from asrkit.search import Hypothesis

Cause = Literal["oov", "search", "lm", "acoustic"]

# nats; n-grams are in single precision, and sums over a thousand frames have their own order in each search: what is
# nearer than this is the same
TOLERANCE = 0.01


class LanguageModel(Protocol):
    """What the search adds to the acoustic score."""

    def reaches(self, text: str) -> bool:
        """Whether it knows every word of the text."""

    def lm_score(self, text: str) -> float:
        """Natural logarithm, weights and bonuses included, the end of the sentence, too: as Hypothesis.lm_score."""


def cause_of(
    reference: str,
    winner: "Hypothesis",
    log_probs: LogProbs,
    tokenizer: Tokenizer,
    lm: LanguageModel | None = None,
) -> Cause | None:
    """Why the best hypothesis for log_probs (T, V) is not the reference; None where their words are the same.

    `lm` is what the search used; None when it used none: then oov and acoustic are the tokenizer's and the model's, and
    search says that the reference is likelier over all its paths, as greedy decoding, which follows a single path, or a
    narrow beam may miss. Both texts are normalised.
    """
    words = reference.split()
    if words == winner.text.split():
        return None
    reference = " ".join(words)
    if not all(map(tokenizer.spells, words)) or (lm and not lm.reaches(reference)):
        return "oov"
    acoustic = log_likelihood(log_probs, tokenizer.encode(reference))
    of_winner = _acoustic_score(winner, log_probs, tokenizer)
    if lm is None:
        return "search" if acoustic > of_winner + TOLERANCE else "acoustic"
    if acoustic + lm.lm_score(reference) > of_winner + (winner.lm_score or 0.0) + TOLERANCE:
        return "search"
    return "lm" if acoustic > of_winner + TOLERANCE else "acoustic"


def _acoustic_score(winner: "Hypothesis", log_probs: LogProbs, tokenizer: Tokenizer) -> float:
    """ln P(text | log_probs), measured as the reference's is: over all paths.

    A beam adds up only the paths it kept, and greedy decoding has a single one: next to such a sum every reference
    would look like a search error. On the other hand the search may have spelled the text in other labels than encode
    does, as subwords allow: the text is at least as likely as either. The reference has no more than encode's labels,
    so that, at worst, a search error among subwords is laid to a model.
    """
    if not tokenizer.spells(winner.text):  # such as jamo that make no syllable
        return winner.logp
    return max(winner.logp, log_likelihood(log_probs, tokenizer.encode(winner.text)))
