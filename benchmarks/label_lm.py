"""A run, its train transcripts and further texts in; an n-gram of the labels of its tokenizer out, as an ARPA file.

    python benchmarks/label_lm.py RUN -o jamo.arpa --order 6 more-text.txt

`asrkit decode --lm jamo.arpa` knows it for what it is: its words are labels, the space written "▁".
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from asrkit.checkpoint import find_run, load_checkpoint
from asrkit.kneser_ney import build_arpa
from asrkit.recipe import load_recipe
from asrkit.shards import open_data
from asrkit.terminal import Terminal
from asrkit.tokenizer import written


def main() -> None:
    parser = argparse.ArgumentParser(description="An n-gram of labels.")
    parser.add_argument("run", help="name or path of a run")
    parser.add_argument("texts", nargs="*", type=Path, help="one sentence a line; normalised by the run's recipe")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--order", type=int, default=6)
    parser.add_argument("--exp-dir", type=Path, default=Path("exp"))
    options = parser.parse_args()

    checkpoint = load_checkpoint(find_run(options.run, options.exp_dir))
    tokenizer = checkpoint.tokenizer
    recorded = checkpoint.recipe["data"]
    data = open_data(Path(recorded["folder"]).parent, recorded["name"])
    normalize = load_recipe(checkpoint.recipe["name"]).normalize

    def sentences() -> Iterator[str]:
        for split in data.splits["train"]:
            index = data.index(split)
            yield from (index.record(row)["text"] for row in range(len(index)))
        for path in options.texts:
            yield from map(normalize, path.read_text(encoding="utf-8").splitlines())

    texts = [text for text in sentences() if text]
    spelled = [text for text in texts if tokenizer.spells(text)]
    terminal = Terminal()
    terminal.say(f"{len(spelled)} of {len(texts)} sentences are spelled by the tokenizer")
    with terminal.bar(f"{options.order}-gram of labels", None):
        labels = ([written(tokenizer.labels[i]) for i in tokenizer.encode(text)] for text in spelled)
        build_arpa(labels, options.order, options.out, discount_fallback=True)


if __name__ == "__main__":
    main()
