"""A run, an n-gram and grids of alpha and beta in; the error rate of each pair on a dev split out.

    python benchmarks/tune.py RUN --lm 4gram.arpa --split dev --alphas 0.3,0.5,0.7 --betas 0,1,2

The log-probs are those that `asrkit decode` keeps. Choose on dev, report on test.
"""

import argparse
from pathlib import Path

from asrkit.checkpoint import find_run, load_checkpoint
from asrkit.cores import usable_cores
from asrkit.error_rates import error_rate
from asrkit.log_probs import log_probs_of
from asrkit.ngram import NGram
from asrkit.prefix_search import beam_search
from asrkit.report_html import percent
from asrkit.search import search_all
from asrkit.settings import DecodeSettings
from asrkit.shards import open_data
from asrkit.terminal import Terminal


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description="WER or CER over a grid of alpha and beta.")
    parser.add_argument("run", nargs="?", help="name or path of a run (default: the newest)")
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--split", help="default: the data's first dev split")
    parser.add_argument("--alphas", type=numbers, default=[0.2, 0.4, 0.6, 0.8, 1.0])
    parser.add_argument("--betas", type=numbers, default=[0.0, 1.0, 2.0, 3.0])
    parser.add_argument("--beam", type=int, default=100)
    parser.add_argument("--by", choices=("wer", "cer"), default="wer", help="cer: without spaces")
    parser.add_argument("--every", type=int, default=1, help="search only every so many utterances")
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--exp-dir", type=Path, default=Path("exp"))
    options = parser.parse_args()

    terminal = Terminal()
    checkpoint = load_checkpoint(find_run(options.run, options.exp_dir))
    recorded = checkpoint.recipe["data"]
    data = open_data(Path(recorded["folder"]).parent, recorded["name"])
    split = options.split or data.splits["dev"][0]
    index = data.index(split)
    kept = checkpoint.path.parent.parent / "decode" / f"{split}-log-probs"
    log_probs = log_probs_of(checkpoint, index, kept, progress=terminal)
    rows = [row for row in range(0, len(index), options.every) if row not in log_probs.unreadable]
    units = str.split if options.by == "wer" else lambda text: list("".join(text.split()))
    references = [units(index.record(row)["text"]) for row in rows]
    utterances = [log_probs.of(row) for row in rows]
    lm = NGram.open(options.lm, checkpoint.tokenizer, progress=terminal)

    found: dict[tuple[float, float], float] = {}
    with terminal.bar(f"{split}, {len(rows)} utterances", len(options.alphas) * len(options.betas), "setting") as bar:
        for alpha in options.alphas:
            for beta in options.betas:
                settings = DecodeSettings(beam=options.beam, alpha=alpha, beta=beta)
                beams = beam_search(checkpoint.tokenizer, lm, settings)
                hypotheses = search_all(beams.decode, utterances, jobs=options.jobs)
                texts = [units(searched.hypotheses[0].text) for searched in hypotheses]
                found[alpha, beta] = error_rate(zip(references, texts, strict=True)).rate
                bar.advance(status=f"alpha {alpha:g} beta {beta:g}: {percent(found[alpha, beta])}")
    table = [[f"{alpha:g}", *(percent(found[alpha, beta]) for beta in options.betas)] for alpha in options.alphas]
    rate = options.by.upper()
    terminal.table(f"{rate} on {split}", ["alpha \\ beta", *(f"{beta:g}" for beta in options.betas)], table)
    alpha, beta = min(found, key=lambda pair: found[pair])
    terminal.say(f"best on {split}: --alpha {alpha:g} --beta {beta:g}, {rate} {percent(found[alpha, beta])}")


if __name__ == "__main__":
    main()
