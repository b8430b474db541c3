"""Hours of speech in, a tokenizer, a model and a time to train out, with the reasons: where a new recipe begins.

Rules of thumb from the measurements in docs/log.md and the README, not results: `asrkit tokenizers` and a run on dev
decide.
"""

from dataclasses import dataclass

from asrkit.settings import TrainSettings

SMALL_HOURS = 20.0  # up to here the small model, from here the paper's
SUBWORD_HOURS = 100.0  # from here subwords are met often enough to be learned
CORE_SPEED = 50.0  # seconds of sound that one core trains the small model on in a second, two shared cores of 2026
CORES = 2
PASSES = TrainSettings().epochs
LEAST_MINUTES = 10.0


@dataclass(frozen=True)
class Advice:
    """What a recipe may begin with."""

    tokenizer: str
    model: str
    minutes: int | None  # of training; None leaves it to train.epochs
    reasons: tuple[str, str, str]  # of the tokenizer, the model, and the minutes


def advise(hours: float, *, hangul: bool) -> Advice:
    """For so many hours in train."""
    if hangul:
        tokenizer = "jamo"
        why_tokenizer = "67 letters of Hangul, all met often; many of its syllables are met too seldom to be learned"
    else:
        tokenizer = "characters"
        why_tokenizer = "the fewest labels, each of them met often"
    if hours >= SUBWORD_HOURS:
        why_tokenizer += f"; with {SUBWORD_HOURS:g} hours and more, compare subwords: asrkit tokenizers"
    if hours < SMALL_HOURS:
        minutes = max(LEAST_MINUTES, hours * 60 * PASSES / (CORE_SPEED * CORES))
        return Advice(
            tokenizer,
            "deepspeech2-small",
            round(minutes),
            (
                why_tokenizer,
                f"under {SMALL_HOURS:g} hours a larger one learns the recordings by heart; this one trains on a laptop",
                f"some {PASSES} passes over {hours:.1f} hours on {CORES} cores, {CORE_SPEED:g} seconds of sound a "
                f"second on each; at least {LEAST_MINUTES:g} minutes",
            ),
        )
    return Advice(
        tokenizer,
        "deepspeech2",
        None,
        (
            why_tokenizer,
            f"{SMALL_HOURS:g} hours and more feed a model of 38 million parameters; it wants a GPU",
            f"train.epochs={PASSES} passes; with --minutes a shorter schedule",
        ),
    )
