"""What all tests share: one thread for each process, and the recordings beside the repository where there are any."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from house import House  # at run time torch comes with it, which few tests want

# Repeatable, and without a deadline: a busy machine is no defect.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("house")

# Before anything imports numpy or torch: tests run in parallel, and their sums must not depend on the machine.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A runner in the background ignores Ctrl-C, and all that it starts would, too: some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the fixture `shared` bears its marker."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings, texts and reference results: ASRKIT_SHARED, or ../shared beside the repository."""
    folder = Path(os.environ.get("ASRKIT_SHARED") or REPOSITORY.parent / "shared").resolve()
    if not folder.is_dir():
        pytest.skip("no recordings here; ASRKIT_SHARED may say where they are")
    return folder


@pytest.fixture
def asrkit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: exit code, standard output, standard error."""
    from asrkit import cli

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["asrkit", *arguments])
        code = cli._run(cli.app)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def built_house(tmp_path_factory: pytest.TempPathFactory) -> "House":
    """Prepared once."""
    from house import build_house

    return build_house(tmp_path_factory.mktemp("house"))


@pytest.fixture
def house(built_house: "House", tmp_path: Path) -> "House":
    """A copy that a test may spoil."""
    return type(built_house)(Path(shutil.copytree(built_house.root, tmp_path / "house", symlinks=True)))
