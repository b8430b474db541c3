"""Threads that no process waits for."""

import subprocess
import sys
import threading
import time

import pytest

from asrkit import daemon_threads
from asrkit.daemon_threads import DaemonThreads


def test_what_comes_is_in_the_order_of_what_was_asked_for():
    begun = []
    threads = DaemonThreads(3, "three", lambda: begun.append(threading.get_ident()))
    assert threads.map(lambda number: (time.sleep(0.01 * (5 - number)), number)[1], range(6)) == list(range(6))
    threads.end(10.0)
    assert len(set(begun)) == 3 and not any(thread.name == "three" for thread in threading.enumerate())


def test_after_an_error_the_others_are_not_begun(monkeypatch):
    monkeypatch.setattr(daemon_threads, "LAST_WORK_S", 5.0)
    begun = []

    def fail(number):
        begun.append(number)
        time.sleep(0.05)
        raise ValueError(number)

    threads = DaemonThreads(1, "one")
    with pytest.raises(ValueError, match="0"):
        threads.map(fail, range(50))
    assert len(begun) < 50
    assert threads.map(str, [1]) == ["1"]  # and it goes on
    threads.end(10.0)


def test_a_process_does_not_wait_for_them():
    script = (
        "import time\nfrom asrkit.daemon_threads import DaemonThreads\n"
        "threads = DaemonThreads(1, 'one')\nthreads.submit(lambda: time.sleep(600))\nthreads.end(0.1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
