"""What training measures in; metrics.jsonl, and TensorBoard or Weights & Biases where asked for, out."""

import json
from pathlib import Path
from typing import Any

from asrkit.atomic import write_whole
from asrkit.errors import AsrkitError


class Metrics:
    """Appends one JSON line for each record: kind ("train" or "dev"), step, epoch, and numbers."""

    def __init__(self, run: Path, *, wandb: str | None = None, tensorboard: bool = False) -> None:
        self.path = run / "metrics.jsonl"
        self._board = _tensorboard(run) if tensorboard else None
        self._wandb = _wandb(run, wandb) if wandb else None

    def forget_after(self, step: int, validated: int) -> None:
        """Drops what a killed run wrote after the checkpoint that is resumed, and a line cut off in the middle.

        `validated` is the last step whose dev lines stay: a checkpoint may be older than the validation of its step.
        """
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                if record["step"] <= (validated if record["kind"] == "dev" else step):
                    kept.append(line + "\n")
            except ValueError:
                break
        write_whole(self.path, "".join(kept).encode("utf-8"))

    def write(self, kind: str, step: int, epoch: int, **numbers: Any) -> None:
        """One record, flushed at once."""
        line = json.dumps({"kind": kind, "step": step, "epoch": epoch, **numbers})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        scalars = {f"{kind}/{name}": value for name, value in numbers.items() if isinstance(value, int | float)}
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(scalars, step=step)

    def close(self) -> None:
        """Flushes what is buffered."""
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


class Unwritten(Metrics):
    """For a process that leaves the writing to another."""

    def __init__(self) -> None:
        pass

    def forget_after(self, step: int, validated: int) -> None:
        """Nothing."""

    def write(self, kind: str, step: int, epoch: int, **numbers: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _tensorboard(run: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise AsrkitError("--tensorboard needs a package: pip install 'asrkit[tensorboard]'") from error
    return SummaryWriter(str(run / "tensorboard"))


def _wandb(run: Path, mode: str) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise AsrkitError("--wandb needs a package: pip install 'asrkit[wandb]'") from error
    return wandb.init(project="asrkit", name=run.name, id=run.name, dir=str(run), mode=mode, resume="allow")
