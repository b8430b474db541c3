"""Prepared data on a web server and in an object store: the same training, two windows of shards, clear errors."""

import errno
import json
import os
import shutil
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tones import make_tones, tones_recipe

from asrkit import batches, remote, window_cache
from asrkit import epochs as epochs_module
from asrkit.checkpoint import find_run, last_checkpoint, load_checkpoint
from asrkit.decode import decode
from asrkit.epochs import EpochPlan, plan_epoch
from asrkit.errors import AsrkitError, UnreachableError
from asrkit.log_probs import log_probs_of
from asrkit.shards import JoinedIndex, open_data, resolve_data
from asrkit.train import train
from asrkit.trained_data import data_of

SHARDS = 6


@pytest.fixture(autouse=True)
def quick_and_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.0)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_tones(folder, shards=SHARDS)
    return folder


class Web:
    """A web server over a folder; `asked` counts what was asked for, `fails` are statuses of the next answers.

    `silence` says of a path that it is not answered before `comes` is set, `down` that it cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.fails: list[int] = []
        self.silence: Callable[[str], bool] = lambda path: False
        self.down: Callable[[str], bool] = lambda path: False
        self.comes = threading.Event()
        web = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked[self.path.lstrip("/")] += 1
                if web.silence(self.path):
                    web.comes.wait(60)
                if web.fails or web.down(self.path):
                    self.send_error(web.fails.pop(0) if web.fails else 503)
                else:
                    super().do_GET()

            def log_message(self, *args) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web(data_dir, tmp_path):
    folder = tmp_path / "served"
    shutil.copytree(data_dir, folder)
    server = Web(folder)
    server.folder = folder
    yield server
    server.close()


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(last_checkpoint(run) / "model.safetensors")


def cached(home: Path, split: str = "train") -> set[str]:
    return {path.name for path in home.glob(f"asrkit/*/tones/{split}/shard-*.tar")}


@pytest.mark.parametrize("workers", [0, 2])
def test_training_from_a_web_server_is_training_from_a_folder(data_dir, web, tmp_path, monkeypatch, workers):
    """The same weights; each shard fetched once an epoch, and never more than two windows of them are here."""
    for name in ("WINDOW_HOURS", "REMOTE_WINDOW_HOURS"):
        seconds = open_data(data_dir, "tones").index("train").seconds
        monkeypatch.setattr(epochs_module, name, 1.01 * seconds / SHARDS / 3600)
    for module in (batches, window_cache):
        monkeypatch.setattr(module, "PREFETCHED", 1)
    most = 0
    fetch_shard = JoinedIndex.fetch_shard

    def watched(index, number):
        nonlocal most
        fetch_shard(index, number)
        most = max(most, len(cached(tmp_path / "cache")))

    monkeypatch.setattr(JoinedIndex, "fetch_shard", watched)
    recipe = tones_recipe("train.epochs=2", "train.batch_seconds=1.5", f"train.workers={workers}")
    runs = [
        train(recipe, data_dir=place, exp_dir=tmp_path / str(number), device="cpu")
        for number, place in enumerate((data_dir, web.address))
    ]
    record = json.loads((runs[1] / "recipe.json").read_text(encoding="utf-8"))
    assert record["window_shards"] == 1 and record["data"]["folder"] == f"{web.address}/tones"
    here, there = map(final_weights, runs)
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert most == 2
    # Each twice, but that which is kept between the epochs; once more that which is measured with before.
    asked = [web.asked[f"tones/train/shard-{number:06d}.tar"] for number in range(SHARDS)]
    assert min(asked) >= 1 and sum(asked) <= 2 * SHARDS + 1


def test_two_windows_at_a_time(web):
    """Windows of two shards: the next is fetched when the last one's batches are read, and the last one is removed."""
    index = JoinedIndex([open_data(web.address, "tones").index("train")])
    epoch = plan_epoch(index, EpochPlan(seed=3, batch_seconds=1.0, window_shards=2), 0)
    order = [set(window.shards.tolist()) for window in epoch.windows()]
    seen = []
    for rows in window_cache.follow(index, epoch, 0, workers=0):
        for row in rows.tolist():
            index.audio(row)
        here = {int(path.name[6:12]) for path in index.folder.glob("shard-*.tar")}
        seen.append((set(index.rows["shard"][rows].tolist()), here))
    assert len(seen) == len(epoch)
    for shards, here in seen:
        window = next(place for place, each in enumerate(order) if shards <= each)
        allowed = [set().union(*order[max(0, window - 1) : window + 1]), set().union(*order[window : window + 2])]
        assert any(here <= each for each in allowed)


def test_two_windows_over_epochs_and_in_a_resumed_one(web, monkeypatch):
    """Also where one epoch follows another, whose last batches are read late: they are not fetched again."""
    index = JoinedIndex([open_data(web.address, "tones").index("train")])
    plan = EpochPlan(seed=3, batch_seconds=0.7, window_shards=2)
    epochs = [plan_epoch(index, plan, number) for number in range(4)]
    here, fetch = [], remote.fetch

    def counted(*arguments, **options):
        fetch(*arguments, **options)
        here.append(len(list(index.folder.glob("shard-*.tar"))))

    monkeypatch.setattr(remote, "fetch", counted)

    def read(parts):
        """As a loader does, which begins with the next epoch while its last batches are still being read."""
        waiting = deque()
        for rows in chain.from_iterable(window_cache.follow(index, epochs[number], done, 0) for number, done in parts):
            waiting.append(rows)
            if len(waiting) > window_cache.PREFETCHED:
                for row in waiting.popleft().tolist():
                    index.audio(row)

    read([(0, 0), (1, 0), (2, 0)])
    on_disk, before, wanted = set(), set(), 0
    for window in chain.from_iterable(epoch.windows() for epoch in epochs[:3]):
        shards = set(window.shards.tolist())
        on_disk &= before | shards
        wanted += len(shards - on_disk)
        on_disk, before = on_disk | shards, shards
    assert sum(count for name, count in web.asked.items() if "/train/shard-" in name) == wanted
    for done in (0, 1, len(epochs[3]) - 1):  # what the end of an epoch left here, or of such a resumed one
        read([(3, done)])
    assert max(here) == 4
    left = set(index.folder.glob("shard-*.tar"))
    assert list(window_cache.follow(index, epochs[3], len(epochs[3]), 0)) == []  # only dev is left of it
    assert left == set(index.folder.glob("shard-*.tar")) != set()


def test_asked_to_stop_while_the_server_is_silent_it_saves_and_goes_on_with_another_look(
    data_dir, web, tmp_path, monkeypatch
):
    seconds = open_data(data_dir, "tones").index("train").seconds
    for name in ("WINDOW_HOURS", "REMOTE_WINDOW_HOURS"):
        monkeypatch.setattr(epochs_module, name, 1.01 * seconds / SHARDS / 3600)
    recipe = tones_recipe("train.epochs=2", "train.batch_seconds=1.5")
    undisturbed = train(recipe, data_dir=data_dir, exp_dir=tmp_path / "here", device="cpu")
    where = dict(data_dir=web.address, exp_dir=tmp_path / "there", run="run", resume=True, device="cpu")

    asked = []

    def silence(path):
        begun = "shard-" in path and (tmp_path / "there" / "tones" / "run" / "recipe.json").exists()
        shards = sum(count for name, count in web.asked.items() if "/train/shard-" in name)
        if not begun or shards < 5:
            return False
        if not asked:
            asked.append(path)
            threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGTERM]).start()
        return True

    with monkeypatch.context() as patched:
        patched.setattr(web, "silence", silence)
        run = train(recipe, **where)
    assert not (run / "train.json").exists() and int(last_checkpoint(run).name) > 0
    web.comes.set()
    train(recipe, **where)
    here, there = map(final_weights, (undisturbed, run))
    assert all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.parametrize("done", [0, 1, 5, 14])
def test_it_may_begin_anywhere(web, done):
    index = JoinedIndex([open_data(web.address, "tones").index("train")])
    epoch = plan_epoch(index, EpochPlan(seed=3, batch_seconds=1.0, window_shards=1), 0)
    wanted = [rows.tolist() for rows in epoch][done:]
    assert [rows.tolist() for rows in window_cache.follow(index, epoch, done, workers=1)] == wanted


def test_an_object_store_serves_as_well(data_dir, tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = boto3.client("s3")
        store.create_bucket(Bucket="speech")
        for path in sorted(data_dir.rglob("*")):
            if path.is_file():
                store.upload_file(str(path), "speech", f"corpora/{path.relative_to(data_dir)}")
        here, there = (open_data(place, "tones").index("test") for place in (data_dir, "s3://speech/corpora"))
        for row in range(len(here)):
            np.testing.assert_array_equal(there.audio(row), here.audio(row))
            assert there.record(row) == here.record(row)
        with pytest.raises(
            AsrkitError, match=r"s3://speech/corpora/nothing/prepare\.json does not exist; wanted the ad"
        ):
            open_data("s3://speech/corpora", "nothing")
    finally:
        server.stop()


def test_it_is_decoded_from_where_it_was_trained_on(web, tmp_path):
    run = train(tones_recipe("train.epochs=1"), data_dir=web.address, exp_dir=tmp_path, device="cpu")
    data = data_of(load_checkpoint(run))
    assert data.place == f"{web.address}/tones"
    assert len(data.index("test").audio(0)) == data.index("test").rows[0]["samples"]


def test_a_server_that_is_gone_while_decoding_is_no_damage(web, tmp_path):
    """Else its utterances would be counted as unreadable, and the rest taken for the whole."""
    train(tones_recipe("train.epochs=1"), data_dir=web.address, exp_dir=tmp_path, device="cpu")
    web.down = lambda path: "/test/shard-" in path
    with pytest.raises(
        UnreachableError, match=r"^http\S+/test/shard-000000\.tar cannot be read \(503, .+\); start aga"
    ):
        decode(exp_dir=tmp_path, device="cpu")
    web.down = lambda path: False
    checkpoint = load_checkpoint(find_run(None, tmp_path))
    assert log_probs_of(checkpoint, data_of(checkpoint).index("test"), tmp_path / "kept").unreadable == {}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_is_gone_while_training_is_told_to_resume(data_dir, web, tmp_path, monkeypatch, workers):
    seconds = open_data(data_dir, "tones").index("train").seconds
    for name in ("WINDOW_HOURS", "REMOTE_WINDOW_HOURS"):
        monkeypatch.setattr(epochs_module, name, 1.01 * seconds / SHARDS / 3600)
    recipe = tones_recipe("train.epochs=1", "train.batch_seconds=1.5", f"train.workers={workers}")
    where = dict(data_dir=web.address, exp_dir=tmp_path / "there", run="run", resume=True, device="cpu")
    web.down = lambda path: "/train/shard-" in path and sum("/train/shard-" in name for name in web.asked) > 3
    with pytest.raises(
        UnreachableError,
        match=r"^http\S+/train/shard-\d+\.tar cannot be read \(503, .+\); .+, a training with --resume$",
    ):
        train(recipe, **where)
    assert int(last_checkpoint(tmp_path / "there" / "tones" / "run").name) > 0  # no step is lost
    web.down = lambda path: False
    here = train(recipe, data_dir=data_dir, exp_dir=tmp_path / "here", device="cpu")
    weights, mended = final_weights(here), final_weights(train(recipe, **where))
    assert all(torch.equal(weights[name], mended[name]) for name in weights)


def test_what_was_fetched_is_not_fetched_again_until_it_is_prepared_again(web, tmp_path):
    for _ in range(2):
        data = resolve_data(web.address, None, "tones")
        data.index("dev").audio(0)
    assert web.asked["tones/train/index.npy"] == web.asked["tones/dev/shard-000000.tar"] == 1
    meta = json.loads((web.folder / "tones" / "prepare.json").read_text())
    (web.folder / "tones" / "prepare.json").write_text(json.dumps(meta | {"again": True}))
    resolve_data(web.address, None, "tones").index("dev").audio(0)
    assert web.asked["tones/train/index.npy"] == web.asked["tones/dev/shard-000000.tar"] == 2


def test_what_a_killed_process_fetched_in_part_is_removed(web):
    index = open_data(web.address, "tones").index("train")
    parts = [index.folder / f".shard-{number:06d}.tar.elsewhere-99.part" for number in range(2)]
    for part in parts:
        part.write_bytes(b"half")
    index.fetch_shard(0)
    assert [part.exists() for part in parts] == [False, True]
    index.fetch_shard(1)
    assert list(index.folder.glob(".*.part")) == []


def test_a_full_disk_is_not_taken_for_a_server_that_is_gone(web, monkeypatch):
    index = open_data(web.address, "tones").index("train")

    class Store:
        def get_file(self, name, path):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fsspec.core.url_to_fs", lambda address, **options: (Store(), address))
    wanted = r"^no room left to fetch http\S+/train/shard-000000\.tar; free some space and start again, a training with"
    with pytest.raises(UnreachableError, match=wanted):
        index.audio(0)


def test_what_fails_once_is_tried_again(web):
    web.fails += [503, 500]
    assert open_data(web.address, "tones").name == "tones"


def test_a_store_that_is_gone_and_a_cut_shard_are_one_line(web):
    index = open_data(web.address, "tones").index("train")
    shard = web.folder / "tones" / "train" / "shard-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(
        AsrkitError, match=rf"shard-000000\.tar has {len(whole) - 1} bytes, its index says {len(whole)}: up"
    ):
        index.audio(0)
    shard.unlink()
    with pytest.raises(AsrkitError, match=r"shard-000000\.tar does not exist; upload the data again"):
        index.audio(0)
    assert not cached(index.folder.parents[3])
    web.fails += [500] * 9
    with pytest.raises(
        AsrkitError,
        match=r"http.*prepare\.json cannot be read \(500, .+\); start again when it can be, a training with --resume",
    ):
        open_data(web.address, "tones")


DAMAGED = r"^http\S+/tones/prepare\.json is damaged; upload the data again, prepare\.json last$"
ODD = r"^http\S+/tones/prepare\.json names a split .+; wanted the plain name of a folder$"


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ("{", DAMAGED),
        ("[]", DAMAGED),
        ("[1]", DAMAGED),
        ("null", DAMAGED),
        ('{"splits": {"train": ["train"], "dev": [], "test": []}}', DAMAGED),
        ('{"recipe": "tones", "splits": null}', DAMAGED),
        ('{"recipe": "tones", "splits": {"train": ["train"]}}', DAMAGED),
        ('{"recipe": "tones", "splits": {"train": null, "dev": [], "test": []}}', DAMAGED),
        ('{"recipe": "tones", "splits": {"train": "train", "dev": [], "test": []}}', DAMAGED),
        ('{"recipe": "tones", "splits": {"train": [1], "dev": [], "test": []}}', ODD),
        ('{"recipe": "tones", "splits": {"train": ["../../out"], "dev": [], "test": []}}', ODD),
        ('{"recipe": "tones", "splits": {"train": ["prepare.json"], "dev": [], "test": []}}', ODD),
    ],
)
def test_a_prepare_json_that_is_none_is_one_line_and_costs_nothing(web, meta, said):
    """What was fetched before stays."""
    index = open_data(web.address, "tones").index("dev")
    (web.folder / "tones" / "prepare.json").write_text(meta, encoding="utf-8")
    with pytest.raises(AsrkitError, match=said):
        open_data(web.address, "tones")
    assert (index.folder.parent / "prepare.json").is_file() and len(index.audio(0))


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "../../x", "/x", "a/b", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(web, tmp_path, name):
    """It may come from a checkpoint of somebody else's."""
    beside = tmp_path / "cache" / "x" / "train" / "shard-000000.tar"
    beside.parent.mkdir(parents=True)
    beside.write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    for data_dir in (web.address, str(tmp_path)):
        with pytest.raises(
            AsrkitError, match=r"^'.*' cannot name a data set in \S+; wanted the plain name of a folder"
        ):
            open_data(data_dir, name)
    assert sorted(tmp_path.rglob("*")) == before and not web.asked


def test_an_address_that_nothing_can_open_is_one_line():
    with pytest.raises(
        AsrkitError, match=r"gopher://a/tones/prepare\.json cannot be opened \(Protocol not known: goph"
    ):
        open_data("gopher://a", "tones")
