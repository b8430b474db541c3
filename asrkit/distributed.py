"""Several processes that train one model, over torch.distributed: which of them this is; what they tell each other.

torchrun starts them and sets RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. A process
that was not started so is alone, and all that is here does nothing.

Values travel pickled, as torch.distributed has no other way: between these processes only, never from or to a file.

Shapes: W ranks.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before there is a group, which its default arguments would keep for ever
from torch import Tensor

from asrkit.device import choose_device
from asrkit.errors import AsrkitError, SaidElsewhereError

TIMEOUT = timedelta(minutes=10)  # that a rank waits for the others: one may measure, validate or save meanwhile
Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among all of them; `Ranks()` is alone."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and talks."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes its sum over the ranks, in one go; they are of one type."""
        if self.size == 1:
            return
        whole = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(whole)
        for tensor, summed in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def gather(self, numbers: Tensor) -> Tensor:
        """(n,) of each rank -> (W, n) on all of them; gradients find their way back."""
        return cast(Tensor, _Gather.apply(numbers, self)) if self.size > 1 else numbers[None]

    def take_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes what it is on the first rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def of_all(self, value: Value) -> list[Value]:
        """The value of every rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def of_first(self, action: Callable[[], Value]) -> Value:
        """What the action returns on the first rank, where alone it runs.

        Raises:
            AsrkitError: it did there.
        """
        if self.size == 1:
            return action()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = action()
            except AsrkitError as error:
                told[1] = str(error)
        dist.broadcast_object_list(told, src=0)
        self._raise(told[1])
        return cast(Value, told[0])

    def together(self, action: Callable[[], Value]) -> Value:
        """What the action returns here, after it has succeeded on every rank.

        Raises:
            AsrkitError: it did on one of them, whose line the first rank says.
        """
        if self.size == 1:
            return action()
        value, failed = None, None
        try:
            value = action()
        except AsrkitError as error:
            failed = str(error)
        lines = self.of_all(failed)
        if lines[0] is None:
            lines = [f"process {rank} of {self.size}: {line}" for rank, line in enumerate(lines) if line is not None]
        self._raise(next(iter(lines), None))
        return cast(Value, value)

    def _raise(self, line: str | None) -> None:
        if line is not None:
            raise AsrkitError(line) if self.first else SaidElsewhereError(line)


ALONE = Ranks()


class _Gather(torch.autograd.Function):
    """All ranks' numbers; each gradient goes back, summed, to the rank whose numbers they were."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, ranks: Ranks) -> Tensor:
        ctx.rank = ranks.rank
        gathered = [torch.empty_like(numbers) for _ in range(ranks.size)]
        dist.all_gather(gathered, numbers.contiguous())
        return torch.stack(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        summed = gradients[0].contiguous()
        dist.all_reduce(summed)
        return summed[ctx.rank], None


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """This process among those that torchrun started, with a device of its own; alone where it was not.

    Raises:
        AsrkitError: no such device, or fewer GPUs than processes; later, that another process has gone or does not
            answer.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, choose_device(device)
        return
    ranks = Ranks(int(os.environ["RANK"]), size)
    own = _own_device(choose_device(device))
    try:
        with _group(own):
            yield ranks, own
    except SaidElsewhereError:
        raise
    except AsrkitError as error:
        if ranks.first:
            raise
        raise AsrkitError(f"process {ranks.rank} of {size}: {error}") from error
    except RuntimeError as error:
        if not _is_of_others(error):
            raise
        raise AsrkitError(
            f"process {ranks.rank} of {size}: another process has ended or does not answer "
            f"({str(error).splitlines()[0].strip()}); if it said nothing, it was killed, perhaps because memory ran "
            "out: --resume goes on from the last checkpoint, with as many processes as you like"
        ) from error


@contextmanager
def _group(device: torch.device) -> Iterator[None]:
    """The group of all processes, from here to the end, also when that is an error.

    Gloo's threads must have ended before Python does: one that still frees a tensor then aborts the process. NCCL is
    left alone after an error, as what it waits for may never come.
    """
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield
    except BaseException:
        if device.type == "cpu":
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def _own_device(device: torch.device) -> torch.device:
    """The GPU of this process among those of its machine."""
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if device.type == "mps":
        raise AsrkitError(f"torchrun started {here} processes; MPS can serve one: leave torchrun out, or --device cpu")
    if device.type == "cpu":
        return device
    if device.index is not None:
        raise AsrkitError(f"--device {device} is for one process; with torchrun, --device cuda gives each its own GPU")
    if here > torch.cuda.device_count():
        raise AsrkitError(
            f"{here} processes for {torch.cuda.device_count()} GPU(s) of this machine; wanted --nproc-per-node "
            f"{torch.cuda.device_count()}"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _is_of_others(error: RuntimeError) -> bool:
    """Whether it is about a connection. Gloo raises plain RuntimeErrors that name its files or say what broke."""
    signs = ("gloo", "Connection", "connect", "Socket", "Broken pipe", "Timed out", "timed out")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)
