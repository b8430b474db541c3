"""Several processes that train one model: the numbers of one, any number of them on resume, and clear ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tones import make_tones

from asrkit.batches import Share
from asrkit.checkpoint import last_checkpoint
from asrkit.distributed import Ranks

# What is compared computes alike: one part in each batch, no dropout.
SETTINGS = ("train.batch_seconds=4", "model.dropout=0", "train.epochs=3", "train.patience=0")
WAIT_S = 240

UPDATES = """
import sys, json
sys.path.insert(0, {tests!r})
from dataclasses import replace
from pathlib import Path
import numpy as np, torch
from tones import TONES
from asrkit.augment import Augmentation
from asrkit.batches import read_batch
from asrkit.checkpoint import build
from asrkit.distributed import joined
from asrkit.shards import Index, JoinedIndex
from asrkit.update import Updater

index = JoinedIndex([Index.open(Path({data!r}) / "tones" / "train")])
recipe = replace(TONES, model=replace(TONES.model, dropout=0.0, layers=3), train=replace(TONES.train, middle_loss=0.3))
with joined("cpu") as (ranks, device):
    torch.manual_seed(0)
    model, features = build(recipe.to_json(), 6)
    updater = Updater(model, features, settings=recipe.train, augmentation=recipe.augment, device=device,
                      precision=torch.float32, parts={parts}, ranks=ranks)
    batches = [[0, 1, 2, 3, 4, 5, 6], [7], [8, 9, 10], [11, 12], [13, 14, 15, 16, 17]] * 2
    found = []
    for step, rows in enumerate(batches):
        augmentation = Augmentation(recipe.augment, seed=1)
        batch = read_batch(index, np.array(rows), augmentation=augmentation, share=updater.share)
        update = updater.update(batch, lr=0.01, step=step)
        found.append([update.loss, update.grad_norm, update.blank_rate, update.audio_s])
    if ranks.first:
        torch.save({{"found": found, "weights": dict(model.state_dict())}}, sys.argv[1])
"""

TRAIN = """
import atexit, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
@atexit.register
def check_threads():  # gloo's abort the process at times, where they outlive the group
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    if any("gloo" in name for name in names):
        os._exit(77)
from tones import tones_recipe
from asrkit import cli
from asrkit.train import train
from asrkit.terminal import Terminal
{before}
def run(**options):
    train(tones_recipe({settings}), data_dir={data!r}, exp_dir={exp!r}, run="run", device="cpu", resume=True,
          progress=Terminal())
sys.exit(cli._run(run))
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_tones(folder)
    return folder


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(script: str, size: int, *arguments: str) -> list[subprocess.Popen]:
    """The script in so many processes that know of each other as torchrun tells them."""
    together = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"}
    together |= {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env=os.environ | together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def end(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each; none may hang."""
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=WAIT_S)
            ended.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return ended


def training(data_dir: Path, exp: Path, *settings: str, before: str = "") -> str:
    wanted = ", ".join(repr(setting) for setting in (*SETTINGS, *settings))
    return TRAIN.format(
        tests=str(Path(__file__).parent), settings=wanted, data=str(data_dir), exp=str(exp), before=before
    )


def long_training(data_dir: Path, exp: Path) -> list[subprocess.Popen]:
    """Two processes that have done some steps."""
    processes = start(training(data_dir, exp, "train.epochs=5000"), 2)
    metrics = exp / "tones" / "run" / "metrics.jsonl"
    deadline = time.monotonic() + WAIT_S
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes


def dev_lines(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == "dev"]


@given(
    st.integers(1, 40).map(np.arange),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_a_batch_is_dealt_whole_and_so_is_each_of_its_parts(rows, size, parts):
    dealt = [Share(rank, size, parts).of(rows) for rank in range(size)]
    assert sorted(np.concatenate(dealt)) == list(rows)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= parts
    count = min(parts, len(rows))
    for part in range(count):
        assert sorted(np.concatenate([each[part::count] for each in dealt])) == list(rows[part::count])


def test_alone_there_is_nobody_to_ask():
    alone = Ranks()
    numbers = torch.tensor([1.0, 2.0])
    alone.add_up([numbers])
    assert numbers.tolist() == [1.0, 2.0] and alone.gather(numbers).tolist() == [[1.0, 2.0]]
    assert alone.of_all("a") == ["a"] and alone.of_first(lambda: 1) == 1 and alone.together(lambda: 2) == 2


@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_compute_what_one_does(data_dir, tmp_path, parts):
    """Ten steps with batches of seven to one utterance: one of the two then has none."""
    found = []
    for size in (1, 2):
        script = UPDATES.format(tests=str(Path(__file__).parent), data=str(data_dir), parts=parts)
        ended = end(start(script, size, str(tmp_path / f"{size}.pt")))
        assert [code for code, _, _ in ended] == [0] * size, ended
        found.append(torch.load(tmp_path / f"{size}.pt", weights_only=True))
    np.testing.assert_allclose(found[0]["found"], found[1]["found"], rtol=1e-4, atol=1e-5)
    for name, weight in found[0]["weights"].items():
        torch.testing.assert_close(found[1]["weights"][name], weight, rtol=1e-3, atol=2e-4)


def test_a_training_may_change_the_number_of_its_processes(data_dir, tmp_path):
    """Two begin it, one goes on, three end it; the first of them writes, and dev is validated by all."""
    whole, exp = tmp_path / "whole", tmp_path / "exp"
    (one,) = end(start(training(data_dir, whole), 1))
    assert one[0] == 0, one
    stop = """
from asrkit import train as module
saved = module._save
def save(run, updater, position):
    saved(run, updater, position)
    if position.epoch == {epoch} and position.batch == 0:
        raise KeyboardInterrupt
module._save = save
"""
    for size, epoch in ((2, 1), (1, 2)):
        ended = end(start(training(data_dir, exp, before=stop.format(epoch=epoch)), size))
        assert [code for code, _, _ in ended] == [130] * size, ended
    ended = end(start(training(data_dir, exp), 3))
    assert [code for code, _, _ in ended] == [0] * 3, ended
    assert "trained" in ended[0][1] and ended[1][1] == ended[2][1] == ""  # the first talks
    assert [line["step"] for line in dev_lines(exp / "tones" / "run")] == [
        line["step"] for line in dev_lines(whole / "tones" / "run")
    ]
    last = (last_checkpoint(folder / "tones" / "run") for folder in (exp, whole))
    weights, wanted = (load_file(folder / "model.safetensors") for folder in last)
    for name, weight in wanted.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-2, atol=2e-3)


def test_one_that_is_asked_to_stop_stops_all_and_the_run_is_saved(data_dir, tmp_path):
    processes = long_training(data_dir, tmp_path)
    processes[1].send_signal(signal.SIGTERM)
    ended = end(processes)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "stopped and saved after" in ended[0][1]
    assert last_checkpoint(tmp_path / "tones" / "run") is not None


def test_one_that_is_asked_to_stop_while_dev_is_decoded_stops_all(data_dir, tmp_path):
    stop = """
import os, signal
import asrkit.run, asrkit.validate as module
asrkit.run.CPU_VALIDATION_S = 1.0  # several batches for each
greedy = module.greedy
def ask(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return greedy(*arguments)
if os.environ["RANK"] == "1":
    module.greedy = ask
"""
    ended = end(start(training(data_dir, tmp_path, before=stop), 2))
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "stopped and saved after" in ended[0][1]
    assert last_checkpoint(tmp_path / "tones" / "run") is not None
    assert not (tmp_path / "tones" / "run" / "metrics.jsonl").exists()  # nothing of dev, and the steps were few


def test_one_that_is_killed_ends_the_others_with_a_line(data_dir, tmp_path):
    processes = long_training(data_dir, tmp_path)
    processes[1].kill()
    first, _ = end(processes)
    assert first[0] == 1
    assert "process 0 of 2: another process has ended or does not answer" in first[2]
    assert "--resume" in first[2] and "Traceback" not in first[2]


@pytest.mark.parametrize(
    ("size", "before", "line"),
    [
        (3, "", "2 utterances for 3 processes; wanted one for each at least: start fewer"),
        (
            2,
            "import os\nfrom asrkit import run\nfrom asrkit.errors import AsrkitError\n"
            "def fail(*a):\n    raise AsrkitError('no disk here')\n"
            "if os.environ['RANK'] == '1': run.take_statistics = fail\n",
            "process 1 of 2: no disk here",
        ),
        (
            2,
            "import os\nfrom asrkit import train as module\nfrom asrkit.errors import AsrkitError\n"
            "def fail(*a, **k):\n    raise AsrkitError('no data here')\n"
            "if os.environ['RANK'] == '1': module.open_run = fail\n",
            "process 1 of 2: no data here",
        ),
    ],
)
def test_what_is_wrong_before_the_first_step_is_said_once(tmp_path, size, before, line):
    make_tones(tmp_path, utterances=2)
    ended = end(start(training(tmp_path, tmp_path / "exp", before=before), size))
    assert [code for code, _, _ in ended] == [1] * size
    assert ended[0][2] == f"asrkit: {line}\n"
    assert [err for _, _, err in ended[1:]] == [""] * (size - 1)


def test_a_sample_that_one_of_them_cannot_read_is_named(tmp_path):
    make_tones(tmp_path)
    before = (
        "import os\nfrom asrkit.errors import AsrkitError\nfrom asrkit.shards import JoinedIndex\n"
        "from asrkit import train as module\nreading = JoinedIndex.audio\nbegin = module._loop\n"
        "def loop(*a):\n"
        "    def audio(self, i):\n"
        "        raise AsrkitError('shard 7 is cut off')\n"
        "    if os.environ['RANK'] == '1': JoinedIndex.audio = audio\n"
        "    return begin(*a)\n"
        "module._loop = loop\n"
    )
    first, second = end(start(training(tmp_path, tmp_path / "exp", before=before), 2))
    assert second[0] == 1 and second[2] == "asrkit: process 1 of 2: shard 7 is cut off\n"
    assert first[0] == 1 and "another process has ended" in first[2]


def test_torchrun_starts_a_training(data_dir, tmp_path):
    """The command of the README, on two processes of this machine."""
    script = tmp_path / "train.py"
    script.write_text(training(data_dir, tmp_path / "exp"), encoding="utf-8")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "exp" / "tones" / "run" / "train.json").exists()
    assert json.loads((tmp_path / "exp" / "tones" / "run" / "recipe.json").read_text())["schedule"]["steps"] > 0
