"""Many utterances at once: in processes, in threads, and when one of them fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_search import AB, ARPA, normalised

from asrkit.errors import AsrkitError
from asrkit.ngram import NGram
from asrkit.pyctcdecode_search import BeamSearch
from asrkit.search import Hypothesis, LogProbs, greedy
from asrkit.search_all import search_all


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "ab.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


UTTERANCES: list[LogProbs] = [
    normalised(seed, frames, 4) for seed, frames in enumerate([3, 40, 0, 7, 25, 1, 12, 9, 30])
]


def one(log_probs: LogProbs) -> list[Hypothesis]:
    return [greedy(log_probs, AB)]


@pytest.mark.parametrize("jobs", [1, 3, 50])
def test_processes_give_what_one_gives_in_order(arpa: Path, jobs: int) -> None:
    beams = BeamSearch(AB, lm=NGram.open(arpa, AB, with_kenlm=True))
    wanted = [beams.decode(each) for each in UTTERANCES]
    found = list(search_all(beams.decode, UTTERANCES, jobs=jobs))
    assert [each.hypotheses for each in found] == wanted
    assert all(each.cpu_s >= 0 for each in found)


def test_nothing_to_search() -> None:
    assert list(search_all(one, [], jobs=4)) == []


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="searches in one process")


@linux
def test_killed_process_is_a_clear_error() -> None:
    def killed(log_probs: LogProbs) -> list[Hypothesis]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    with pytest.raises(AsrkitError, match=r"one of 2 search processes was killed.*fewer with --jobs"):
        list(search_all(killed, UTTERANCES, jobs=2))


@linux
def test_error_in_a_process_is_passed_on() -> None:
    with pytest.raises(AsrkitError, match="not numbers"):
        list(search_all(one, [*UTTERANCES, np.full((2, 4), np.nan)], jobs=2))


_PARENT = """
import multiprocessing, time, numpy as np
from asrkit import search_all
search_all.ORPHAN_CHECK_S = 0.05
def slow(log_probs):
    time.sleep(0.02)
    return []
found = search_all.search_all(slow, [np.zeros((1, 4))] * 10_000, jobs=2)
next(found)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""


@linux
def test_processes_end_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < deadline, "the search processes outlive their parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
