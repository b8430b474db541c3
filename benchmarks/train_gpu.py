"""Real trainings on a GPU: how fast, what is waited for, and what comes out.

    python benchmarks/train_gpu.py [--only speed,english,korean] [--device cuda] [--minutes 10] [--folder FOLDER]
                                   [--shared FOLDER] [--json FILE] [KEY=VALUE ...]

`speed` trains `deepspeech2` (5 BiGRU-800) on English from FLAC shards, loader and augmentation included, and takes the
second half of the steps by the clock; `english` and `korean` train `deepspeech2-small` for `--minutes` each and decode.
Learning curves (metrics.jsonl) and reports stay in the folder. Wants the recordings beside the repository.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from figures import Figures

from asrkit.decode import decode
from asrkit.prepare import prepare
from asrkit.recipe import load_recipe, with_overrides
from asrkit.terminal import Terminal
from asrkit.train import train

SHARED = Path(__file__).resolve().parents[2] / "shared"
PARTS = ("speed", "english", "korean")
RECIPES = {"english": "librispeech", "korean": "korean"}
SPEED_MINUTES = 2.0
SPEED_SETTINGS = ["model=deepspeech2", "train.batch_seconds=640", "train.validate_epochs=1000"]
WANTED_SPEED, WANTED_WAITING = 4000.0, 0.05


class Bench:
    """Where everything is."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.figures, self.told = Figures(), Terminal()
        self.options, self.folder = options, folder

    def trained(self, data: str, settings: list[str], minutes: float, name: str) -> Path:
        """A finished run; one that is there already is not trained again."""
        recipe = with_overrides(load_recipe(RECIPES[data]), [*settings, *self.options.settings])
        manifest = self.options.shared / "speech" / f"{data}.jsonl"
        prepare(recipe, data_dir=self.folder / "data", name=data, manifest=manifest, progress=self.told)
        return train(
            recipe,
            data=data,
            data_dir=self.folder / "data",
            exp_dir=self.folder / "exp",
            run=name,
            minutes=minutes,
            resume=True,
            device=self.options.device,
            progress=self.told,
        )

    def speed(self) -> None:
        """Audio-seconds a second, and the share of the time in which the loader was waited for."""
        run = self.trained("english", SPEED_SETTINGS, SPEED_MINUTES, "speed")
        lines = [line for line in lines_of(run) if line["kind"] == "train"]
        if len(lines) < 2:
            raise SystemExit(f"{run} had too few steps to tell its speed; wanted more minutes, or smaller batches")
        before, *later = lines[-max(2, len(lines) // 2) :]
        clock_s = later[-1]["seconds"] - before["seconds"]  # whatever was done in it
        mean = {
            "audio_s_per_s": sum(line["audio_s"] for line in later) / clock_s,
            "waiting": sum(line["waiting"] for line in later) / len(later),
        }
        record = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
        row = {"device": device_name(), "precision": record["train"]["precision"], "steps": lines[-1]["step"]}
        self.figures.table(
            f"{record['model']['name']}, loader included", [row | {k: round(v, 4) for k, v in mean.items()}]
        )
        self.figures.want("audio-seconds a second", mean["audio_s_per_s"], at_least=WANTED_SPEED)
        self.figures.want("share of the time waiting for the loader", mean["waiting"], at_most=WANTED_WAITING)

    def converged(self, data: str) -> None:
        """The learning curve and the report."""
        settings = ["model=deepspeech2-small", "train.patience=0"]
        run = self.trained(data, settings, self.options.minutes, data)
        curve = [line for line in lines_of(run) if line["kind"] == "dev"]
        shown = curve[:: max(1, len(curve) // 10)]
        columns = ("epoch", "step", "wer", "cer")
        self.figures.table(f"{data}, dev", [{name: line[name] for name in columns} for line in shown])
        for report in decode(run, device=self.options.device, progress=self.told):
            rates = {name: round(report[name], 4) for name in ("wer", "cer")}
            self.figures.table(f"{data}, {report['split']}, greedy", [{"device": device_name()} | rates])


def lines_of(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def parts(text: str) -> list[str]:
    """In the order of PARTS."""
    if unknown := set(text.split(",")) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; wanted some of {','.join(PARTS)}")
    return [part for part in PARTS if part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--only", type=parts, default=list(PARTS), metavar=",".join(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training to convergence")
    parser.add_argument("--folder", type=Path, help="keeps data and trainings here")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("ASRKIT_SHARED") or SHARED))
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    if not options.shared.is_dir():
        parser.error(f"{options.shared} is not there; wanted the folder of the recordings: --shared")
    with tempfile.TemporaryDirectory(prefix="asrkit-bench-") as name:
        bench = Bench(options, options.folder or Path(name))
        bench.figures.head()
        bench.figures.say(f"PyTorch {torch.__version__}, {device_name()}, {os.cpu_count()} cores")
        for part in options.only:
            bench.speed() if part == "speed" else bench.converged(part)
        bench.figures.end()
        if options.json:
            bench.figures.write(options.json)


if __name__ == "__main__":
    main()
