"""What the parts of a benchmark found in; tables, targets and one JSON file out."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

VERSIONS_OF = ("asrkit", "numpy", "numba", "kenlm", "pyctcdecode", "flashlight-text")


def machine() -> dict[str, Any]:
    """Where and when this runs, and what else the machine does."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if platform.system() == "Linux" else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load": load(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in VERSIONS_OF},
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def load() -> float:
    """Processes that wanted a core, the mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def version_of(name: str) -> str | None:
    """None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Target:
    """What was wanted of a figure, and what was seen."""

    what: str
    seen: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.seen >= self.limit if self.at_least else self.seen <= self.limit

    def __str__(self) -> str:
        wanted = f"{'at least' if self.at_least else 'at most'} {self.limit:,.4g}"
        return f"{self.what}: wanted {wanted}, seen {self.seen:,.4g}, {'met' if self.met else 'SHORT'}"


class Figures:
    """Prints what it is given, at once, and keeps it for the end."""

    def __init__(self) -> None:
        self.machine = machine()
        self.tables: dict[str, list[Mapping[str, Any]]] = {}
        self.targets: list[Target] = []
        self.left_out: list[str] = []

    def say(self, line: str) -> None:
        print(line, flush=True)

    def head(self) -> None:
        found = self.machine
        versions = ", ".join(f"{name} {version or 'missing'}" for name, version in found["versions"].items())
        self.say(f"{found['date']}; {found['cpu']}, {found['cores']} cores, load {found['load']}")
        self.say(f"Python {found['python']}; {versions}")

    def table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows that have the same columns."""
        self.tables[title] = list(rows)
        cells = [list(rows[0]), *([shown(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        self.say(f"\n{title} (load {load()})")
        for row in cells:
            first, *others = zip(row, widths, strict=True)
            self.say("  ".join(["", first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))

    def want(self, what: str, seen: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """One of the two limits."""
        limit = at_least if at_least is not None else at_most
        assert limit is not None
        self.targets.append(Target(what, float(seen), float(limit), at_least is not None))
        self.say(f"  {self.targets[-1]}")

    def leave_out(self, what: str, why: str) -> None:
        self.left_out.append(f"{what} left out: {why}")
        self.say(f"\n{self.left_out[-1]}")

    def end(self) -> None:
        """All targets once more."""
        self.say("\ntargets")
        for line in [*map(str, self.targets), *self.left_out]:
            self.say(f"  {line}")

    def write(self, path: Path) -> None:
        targets = [vars(target) | {"met": target.met} for target in self.targets]
        found = {"machine": self.machine, "tables": self.tables, "targets": targets, "left_out": self.left_out}
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def shown(value: object) -> str:
    """Large numbers without decimals, small ones with four digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
