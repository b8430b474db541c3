"""VERB: a run and n-grams in; the weights with which its dev split comes out best, kept in the run, out."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asrkit.atomic import storing_in, write_whole
from asrkit.checkpoint import find_run, load_checkpoint
from asrkit.cores import usable_cores
from asrkit.decoder import Decoder, Unit, open_decoder
from asrkit.error_rates import error_rate
from asrkit.errors import AsrkitError
from asrkit.log_probs import log_probs_of
from asrkit.progress import Bar, Progress, Silent
from asrkit.search import LogProbs
from asrkit.search_all import search_all
from asrkit.shards import DataSet
from asrkit.surface import surface_page
from asrkit.trained_data import data_of
from asrkit.tuned import keep_tuned, tuned_options

ALPHAS, BETAS = (0.3, 0.6, 0.9, 1.2), (-1.0, 0.5, 2.0, 3.5)  # where the search begins
STEPS = ((0.3, 1.5), (0.15, 0.75), (0.08, 0.4))  # of alpha and beta, around the best so far
ROUNDS = 12  # of steps of one size, at most: each moves to a better place
LIMITS = (0.0, 5.0), (-10.0, 20.0)
BEAMS = (25, 50, 100, 200, 400)
FORGIVEN = 0.05  # of the lowest rate: what is above it by so much counts 1/e
AS_GOOD = 1.001  # a narrower beam is taken where its errors are no more than a thousandth above the best beam's

Measure = Literal["both", "wer", "cer"]
Pair = tuple[float, float]
MEASURES: dict[Measure, str] = {"both": "WER + CER", "wer": "WER", "cer": "CER"}


def tune(
    run: str | Path | None = None,
    *,
    lm: str | Path | None = None,
    token_lm: str | Path | None = None,
    unit: Unit | None = None,
    splits: Sequence[str] | None = None,
    by: Measure = "both",
    exp_dir: str | Path = "exp",
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = Silent(),
    **options: Any,
) -> dict[str, Any]:
    """Searches the weights alpha and beta of the n-grams, and a beam, for the least errors on the data's dev splits.

    First a grid, then ever smaller steps around its best place. Written into the run's tuned.json, where `decode` and
    `transcribe` find it for the same n-grams, and drawn as tune/<n-grams>.html. `by` is what is to be small: the WER,
    the CER without spaces, or the sum of both, which has the steadier minimum: a low WER alone may be bought with words
    left out. `options` of settings.DecodeSettings that are given stay as they are.

    Raises:
        AsrkitError: no n-gram, no dev split or one for testing, or as `asrkit.decode.decode`.
    """
    if lm is None and token_lm is None:
        raise AsrkitError("nothing to tune without an n-gram; wanted --lm FILE")
    checkpoint = load_checkpoint(find_run(run, exp_dir), device)
    tuned_options(checkpoint.home, lm, token_lm)  # a damaged file is found before the work is done
    data = data_of(checkpoint, data_dir, progress=progress)
    chosen = _dev_splits(data, splits)
    given = {name: value for name, value in options.items() if value is not None}
    decoder = open_decoder(
        checkpoint.tokenizer,
        checkpoint.decode_settings,
        given,
        lm=lm,
        token_lm=token_lm,
        unit=unit,
        progress=progress,
    )
    references: list[str] = []
    items: list[LogProbs] = []
    for split in chosen:
        index = data.index(split)
        log_probs = log_probs_of(
            checkpoint, index, checkpoint.home / "decode" / f"{split}-log-probs", progress=progress
        )
        rows = [row for row in range(len(index)) if row not in log_probs.unreadable]
        references += [index.record(row)["text"] for row in rows]
        items += [log_probs.of(row) for row in rows]
    with progress.bar(f"tuning on {', '.join(chosen)}", None, "setting") as bar:
        trial = _Trial(decoder, items, references, by, jobs or usable_cores(), bar, given)
        surfaces = trial.run()
    found = {
        "options": trial.best | {name: value for name, value in given.items() if name not in trial.best},
        "splits": list(chosen),
        "utterances": len(items),
        "by": by,
        "rate": trial.rate,
        "checkpoint_step": checkpoint.step,
        "surfaces": [surface.to_json() for surface in surfaces],
        "beams": trial.beams,
    }
    kept = keep_tuned(checkpoint.home, (lm, token_lm), found)
    page = checkpoint.home / "tune" / ("-".join(lm.name for lm in decoder.lms) + ".html")
    with storing_in(checkpoint.home):
        page.parent.mkdir(exist_ok=True)
        write_whole(page, surface_page(f"{checkpoint.run_name}: {MEASURES[by]} on {', '.join(chosen)}", found).encode())
    _say(found, progress)
    progress.say(f"kept in {kept}, where decode and transcribe find it for the same n-grams; drawn in {page}")
    return found


def _dev_splits(data: DataSet, splits: Sequence[str] | None) -> Sequence[str]:
    chosen = splits or data.splits["dev"]
    for split in chosen:
        if split in data.splits["test"]:
            raise AsrkitError(
                f"{split!r} is a test split: what is tuned on it cannot be reported on it; wanted one of "
                f"{', '.join(data.splits['dev'])}"
            )
    if not chosen:
        raise AsrkitError(f"data {data.name!r} has no dev split to tune on; wanted --split")
    return chosen


@dataclass(frozen=True)
class Surface:
    """Error rates over two options."""

    names: tuple[str, str]
    rates: dict[Pair, float]
    chosen: Pair

    def to_json(self) -> dict[str, Any]:
        """As lists of numbers: each place, and its rate."""
        points = [[*pair, rate] for pair, rate in sorted(self.rates.items())]
        return {"options": list(self.names), "chosen": list(self.chosen), "points": points}


class _Trial:
    """The search for the best options."""

    def __init__(
        self,
        decoder: Decoder,
        items: Sequence[LogProbs],
        references: Sequence[str],
        by: Measure,
        jobs: int,
        bar: Bar,
        fixed: Mapping[str, Any],
    ) -> None:
        assert decoder.options is not None
        self.decoder, self.items, self.by, self.jobs, self.bar = decoder, items, by, jobs, bar
        self.references = references
        self.options, self.fixed = decoder.options, fixed
        self.rate = 1.0
        self.beams: list[list[float]] = []
        self.tuned: list[str] = []

    @property
    def best(self) -> dict[str, Any]:
        """The options that were searched, as they came out."""
        values = asdict(self.options)
        return {name: values[name] for name in (*self.tuned, "beam")}

    def run(self) -> list[Surface]:
        """Each n-gram's pair in turn; of two n-grams the first once more, beside the other's new weight."""
        pairs = [("alpha", "beta")] * bool(self.decoder.lm)
        pairs += [("token_alpha", "token_beta")] * bool(self.decoder.token_lm)
        surfaces = [self._tune_pair(names) for names in (*pairs, *pairs[: len(pairs) - 1])]
        self.tuned = [name for names in pairs for name in names]
        if "beam" not in self.fixed:
            self._tune_beam()
        return surfaces

    def _tune_pair(self, names: tuple[str, str]) -> Surface:
        rates: dict[Pair, float] = {}

        def best() -> Pair:
            return min(rates, key=lambda pair: (rates[pair], pair))

        def allowed(pair: Pair) -> bool:
            return all(
                value == self.fixed[name] if name in self.fixed else low <= value <= high
                for name, value, (low, high) in zip(names, pair, LIMITS, strict=True)
            )

        def ask(pairs: Iterable[Pair]) -> None:
            for pair in pairs:
                if pair not in rates and allowed(pair):
                    rates[pair] = self._rate(dict(zip(names, pair, strict=True)))

        ask((self.fixed.get(names[0], alpha), self.fixed.get(names[1], beta)) for alpha in ALPHAS for beta in BETAS)
        for step in STEPS:
            for _ in range(ROUNDS):
                before = best()
                ask(_around(before, step))
                if best() == before:
                    break
        pair = smoothed_best(rates)
        chosen: dict[str, Any] = dict(zip(names, pair, strict=True))
        self.options = replace(self.options, **chosen)
        self.rate = rates[pair]
        return Surface(names, rates, pair)

    def _tune_beam(self) -> None:
        """The narrowest that is as good as the best."""
        rates = {beam: self._rate({"beam": beam}) for beam in BEAMS}
        self.beams = [[beam, rate] for beam, rate in rates.items()]
        enough = min(rates.values()) * AS_GOOD
        beam = next(beam for beam, rate in rates.items() if rate <= enough)
        self.options, self.rate = replace(self.options, beam=beam), rates[beam]

    def _rate(self, changed: dict[str, Any]) -> float:
        decoder = self.decoder.with_options(replace(self.options, **changed))
        with closing(search_all(decoder.search, self.items, jobs=self.jobs, threads=decoder.in_threads)) as searching:
            texts = [searched.hypotheses[0].text for searched in searching]
        rate = _rate(self.references, texts, self.by)
        said = " ".join(f"{name} {value:g}" for name, value in changed.items())
        self.bar.advance(status=f"{said}: {100 * rate:.2f} %")
        return rate


def smoothed_best(rates: Mapping[Pair, float]) -> Pair:
    """Where the rates would be lowest without noise: of the pairs tried, the one for which a bowl (a polynomial of
    degree 2), laid through the rates by least squares, is lowest. The better a rate is, the more it counts.

    The lowest rate itself is often luck: dev has a few thousand words, and neighbours differ by some of them.
    """
    pairs, values = np.array(list(rates)), np.array(list(rates.values()))  # (N, 2), (N,)
    x, y = ((pairs - pairs.mean(axis=0)) / np.maximum(pairs.std(axis=0), 1e-9)).T
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)  # (N, 6)
    least = values.min()
    weights = np.exp((least - values) / max(FORGIVEN * least, 1e-9))
    if np.count_nonzero(weights > weights.max() / 10) <= terms.shape[1]:
        return min(rates, key=lambda pair: (rates[pair], pair))
    bowl, *_ = np.linalg.lstsq(terms * weights[:, None], values * weights, rcond=None)
    near = weights > 1 / np.e
    found = pairs[near][(terms[near] @ bowl).argmin()]
    return float(found[0]), float(found[1])


def _around(pair: Pair, step: Pair) -> list[Pair]:
    """The eight neighbours, so many steps away, rounded as people would write them."""
    (alpha, beta), (of_alpha, of_beta) = pair, step
    return [
        (round(alpha + of_alpha * up, 2) if up else alpha, round(beta + of_beta * right, 2) if right else beta)
        for up in (-1, 0, 1)
        for right in (-1, 0, 1)
        if up or right
    ]


def _rate(references: Sequence[str], texts: Sequence[str], by: Measure) -> float:
    pairs = list(zip(references, texts, strict=True))
    words = error_rate((one.split(), other.split()) for one, other in pairs).rate if by != "cer" else 0.0
    letters = error_rate(("".join(one.split()), "".join(other.split())) for one, other in pairs).rate
    return words + (letters if by != "wer" else 0.0)


def _say(found: dict[str, Any], progress: Progress) -> None:
    rate = MEASURES[found["by"]]
    rows = [[f"{beam}", f"{100 * value:.2f}"] for beam, value in found["beams"]]
    if rows:
        progress.table(f"{rate} by beam", ("beam", f"{rate} %"), rows)
    options = ", ".join(f"{name} {value}" for name, value in found["options"].items())
    progress.say(f"best on {', '.join(found['splits'])}: {options}, {rate} {100 * found['rate']:.2f} %")
