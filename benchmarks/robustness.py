"""Two trainings of as many steps, without and with noises and rooms: errors in clean speech, in noise and in rooms.

    python benchmarks/robustness.py [--data digits] [--epochs 40] [--shared FOLDER] [--folder FOLDER] [--device cpu]
                                    [--json FILE] [KEY=VALUE ...]

Wants the recordings beside the repository. Both trainings have speeds and SpecAugment; the second also hears noises of
folds 1 to 4 of ESC-10 and simulated rooms. Tests hear fold 5, at 5 dB, and rooms that were measured: nothing that
training has heard. With --folder, what is there already (data, finished trainings) is kept.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from figures import Figures

from asrkit.decode import decode
from asrkit.prepare import prepare
from asrkit.prepare_noise import prepare_noise
from asrkit.recipe import load_recipe, with_overrides
from asrkit.terminal import Terminal
from asrkit.train import train

SHARED = Path(__file__).resolve().parents[2] / "shared"
SNR_DB = 5.0
ROOMS = 200
TEST_FOLD = 5
AUGMENTED = ["augment.noise=surroundings", "augment.noise_snr_db=0,20", "augment.noise_p=0.6", "augment.reverb_p=0.4"]
RECIPE = "librispeech"


def write_noise_lists(shared: Path, folder: Path) -> dict[bool, Path]:
    """Manifests of the noises that training (False) and tests (True) hear."""
    source = shared / "speech" / "noise_esc10"
    lines = [json.loads(line) for line in (source / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {}
    for for_tests in (False, True):
        found[for_tests] = folder / ("noise-test.jsonl" if for_tests else "noise-train.jsonl")
        kept = [line for line in lines if (line["fold"] == TEST_FOLD) == for_tests]
        absolute = [line | {"audio": str(source / line["audio"])} for line in kept]
        found[for_tests].write_text("".join(json.dumps(line) + "\n" for line in absolute), encoding="utf-8")
    return found


def rows_of(
    options: argparse.Namespace, folder: Path, noises: dict[bool, Path]
) -> dict[str, dict[str | None, dict[str, Any]]]:
    """Of each training the report of each condition, None being as it was recorded."""
    told = Terminal()
    recipe = with_overrides(load_recipe(RECIPE), ["model=deepspeech2-small", f"train.epochs={options.epochs}"])
    data_dir = folder / "data"
    manifest = options.shared / "speech" / f"{options.data}.jsonl"
    prepare(recipe, data_dir=data_dir, manifest=manifest, progress=told)
    prepare_noise(noise=[noises[False]], rooms=ROOMS, data_dir=data_dir, name="surroundings", progress=told)
    found: dict[str, dict[str | None, dict[str, Any]]] = {}
    steps = set()
    for name, settings in (("plain", []), ("augmented", AUGMENTED)):
        run = train(
            with_overrides(recipe, ["train.patience=0", *options.settings, *settings]),
            data=options.data,
            data_dir=data_dir,
            exp_dir=folder / "exp",
            run=f"{options.data}-{name}",
            resume=True,
            device=options.device,
            progress=told,
        )
        if not (run / "train.json").exists():
            raise SystemExit(f"{run} was stopped; the same command with --folder goes on with it")
        where = {"data_dir": data_dir, "device": options.device, "progress": told}
        in_noise = decode(run, noise=noises[True], snrs_db=[SNR_DB], **where)
        in_rooms = decode(run, rir=options.shared / "speech" / "rir_real", **where)
        found[name] = {report["condition"]: report for report in [*in_noise, *in_rooms]}
        steps.add(json.loads((run / "train.json").read_text(encoding="utf-8"))["step"])
    if len(steps) > 1:
        raise SystemExit(f"the trainings had {' and '.join(map(str, sorted(steps)))} steps; wanted as many for both")
    told.say(f"{steps.pop()} steps each")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of both trainings")
    parser.add_argument("--data", default="digits", choices=("digits", "english"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("ASRKIT_SHARED") or SHARED))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    if not options.shared.is_dir():
        parser.exit(1, f"{options.shared} is not there; --shared says where the recordings are\n")
    figures = Figures()
    figures.head()
    with tempfile.TemporaryDirectory(prefix="asrkit-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = rows_of(options, folder, write_noise_lists(options.shared, folder))
    rate, least = ("wer", 0.30) if options.data == "digits" else ("cer", 0.15)
    rows = []
    for condition, plain in found["plain"].items():
        augmented = found["augmented"][condition]
        row = {"heard": condition or "as recorded"}
        for name, report in (("plain", plain), ("augmented", augmented)):
            row |= {f"{name} WER": round(report["wer"], 4), f"{name} CER": round(report["cer"], 4)}
        rows.append(row)
        if condition:
            fewer = 1 - augmented[rate] / max(plain[rate], 1e-9)
            figures.want(f"{options.data}, {condition}, share of errors less ({rate})", fewer, at_least=least)
        elif options.data == "digits":
            figures.want("digits, as recorded, WER more", augmented[rate] - plain[rate], at_most=0.01)
        else:
            more = augmented[rate] / plain[rate] - 1
            figures.want("english, as recorded, CER more, relative", more, at_most=0.03)
    figures.table(f"{options.data}, {options.epochs} epochs each, greedy", rows)
    figures.end()
    if options.json:
        figures.write(options.json)


if __name__ == "__main__":
    main()
