"""A device's name in, the device and the precision it is fast in out."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

import torch

from asrkit.cores import usable_cores
from asrkit.daemon_threads import DaemonThreads
from asrkit.errors import AsrkitError

PART_SECONDS = 10.0  # of a batch that a replica should have at least: products of a few rows waste a core


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU.

    Raises:
        AsrkitError: the device is unknown or not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    kind = name.partition(":")[0]
    if not there.get(kind, False):
        usable = ", ".join(kind for kind, ok in there.items() if ok)
        raise AsrkitError(f"no device {name!r} here; usable: auto, {usable}")
    return torch.device(name)


def choose_precision(device: torch.device, setting: str) -> torch.dtype:
    """The type that matrix products run in; `auto` is bfloat16 on a GPU with instructions for it, else float32."""
    if setting != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[setting]
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if fast else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Whether this is a CPU with instructions for bfloat16, where it may be the faster type, or not (docs/log.md).

    A CPU without them emulates: a GRU was measured 15 times slower in bfloat16, an LSTM fails.
    """
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # no public question for it yet
    return device.type == "cpu" and bool(native())


def choose_replicas(device: torch.device, batch_seconds: float) -> int:
    """Copies of the model that share a batch: one for each core of a CPU while a part stays worth it, else one."""
    return max(1, min(usable_cores(), int(batch_seconds / PART_SECONDS))) if device.type == "cpu" else 1


def loader_workers(device: torch.device, setting: int) -> int:
    """Loader processes; by default none on a CPU, where they would only take cores from the training."""
    if setting >= 0:
        return setting
    return 0 if device.type == "cpu" else min(8, max(1, usable_cores() - 1))


@cache
def one_core_threads(count: int) -> DaemonThreads:
    """Threads in which torch uses one core each: its own threads wait for each other at every small product."""
    return DaemonThreads(count, "asrkit", partial(torch.set_num_threads, 1))


@contextmanager
def one_core_here(device: torch.device) -> Iterator[None]:
    """Lets this thread of a training on a CPU use one core, beside `one_core_threads`."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
