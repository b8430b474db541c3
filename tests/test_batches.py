"""The plan of batches, what CTC can align, and padded batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tones import make_tones

from asrkit.augment import Augmentation
from asrkit.batches import LEAST_PADDING_STEP, PADDING_SHARE, load, read_batch
from asrkit.epochs import EpochPlan, eval_batches, fastest_speeds, plan_epoch
from asrkit.errors import AsrkitError, UnreachableError
from asrkit.settings import AugmentSettings
from asrkit.shards import INDEX_DTYPE, Index, JoinedIndex


def index_of(seconds, shards=None, frames=None):
    """Only the numbers of an index: what plans are made from."""
    rows = np.zeros(len(seconds), INDEX_DTYPE)
    rows["samples"] = np.round(np.array(seconds) * 16_000)
    rows["shard"] = shards if shards is not None else 0
    rows["frames"] = frames if frames is not None else 0
    return _Numbers(rows)


class _Numbers:
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)


@given(
    seconds=st.lists(st.floats(0.1, 30), min_size=1, max_size=200),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
    window=st.integers(0, 3),
)
def test_every_utterance_is_in_one_batch_and_batches_keep_to_the_budget(seconds, seed, epoch, window):
    index = index_of(seconds, shards=np.arange(len(seconds)) // 20)
    plan = EpochPlan(seed=seed, batch_seconds=40, window_shards=window)
    batches = list(plan_epoch(index, plan, epoch))
    assert len(plan_epoch(index, plan, epoch)) == len(batches)
    for done in (1, len(batches) - 1):
        behind = list(plan_epoch(index, plan, epoch).after(done))
        assert [rows.tolist() for rows in behind] == [rows.tolist() for rows in batches[done:]]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(seconds)))
    for rows in batches:
        assert len(rows) == 1 or index.rows["samples"][rows].max() * len(rows) <= 40 * 16_000
    again = plan_epoch(index, plan, epoch)
    assert [rows.tolist() for rows in batches] == [rows.tolist() for rows in again]


def test_epochs_differ_seeds_differ_and_little_is_padding():
    index = index_of(np.random.default_rng(0).uniform(1, 20, 300))
    epochs = [
        plan_epoch(index, EpochPlan(seed=seed, batch_seconds=60), number) for seed, number in ((1, 0), (1, 1), (2, 0))
    ]
    orders = [[rows.tolist() for rows in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    padded = sum(index.rows["samples"][rows].max() * len(rows) for rows in epochs[0])
    assert epochs[0].padded_s == pytest.approx(padded / 16_000)
    assert epochs[0].padding == pytest.approx(1 - index.rows["samples"].sum() / padded)
    assert epochs[0].padding < 0.1


def test_a_window_of_shards_is_used_up_before_the_next():
    index = index_of(np.full(60, 1.0), shards=np.arange(60) // 10)
    batches = list(plan_epoch(index, EpochPlan(seed=0, batch_seconds=5, window_shards=2), 0))
    thirds = [set(index.rows["shard"][np.concatenate(batches[start : start + 4])].tolist()) for start in (0, 4, 8)]
    assert [len(shards) for shards in thirds] == [2, 2, 2]
    assert set.union(*thirds) == set(range(6))


def test_only_chosen_rows_take_part():
    index = index_of(np.full(10, 1.0))
    usable = np.isin(np.arange(10), [1, 4, 7, 8])
    batches = list(plan_epoch(index, EpochPlan(seed=0, batch_seconds=3, usable=usable), 0))
    assert sorted(np.concatenate(batches).tolist()) == [1, 4, 7, 8]


def test_evaluation_takes_the_longest_first():
    batches = eval_batches(index_of([1, 5, 2, 4]), batch_seconds=8)
    assert [rows.tolist() for rows in batches] == [[1], [3, 2], [0]]


def test_an_utterance_is_spoken_no_faster_than_ctc_can_align():
    # One frame each 1000 samples: 16,000 samples leave 15 frames for sure at speed 1, 14 at 1.1 (16000 / 1.1 = 14545)
    # and 13 at 1.2 (13333).
    index = index_of([1.0] * 4, frames=[13, 14, 15, 16])
    fastest = fastest_speeds(index, lambda samples: samples // 1000, (0.9, 1.1, 1.2))
    assert fastest.tolist() == [1.2, 1.1, 1.0, 0.0]


def test_speeds_are_drawn_up_to_the_limit(tones):
    augmentation = Augmentation(AugmentSettings(speeds=(0.5, 2.0)))
    fastest = np.full(len(tones), 2.0)
    fastest[1] = 1.0
    limited = {"augmentation": augmentation, "fastest": fastest}
    batches = [read_batch(tones, np.array([0, 1]), epoch=epoch, **limited) for epoch in range(20)]
    whole = [len(tones.audio(row)) for row in (0, 1)]
    assert {round(whole[0] / int(batch.lengths[0]), 1) for batch in batches} == {0.5, 2.0}
    assert {round(whole[1] / int(batch.lengths[1]), 1) for batch in batches} == {0.5}
    only_fast = Augmentation(AugmentSettings(speeds=(2.0,)))
    assert int(read_batch(tones, np.array([1]), augmentation=only_fast, fastest=fastest).lengths) == whole[1]


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = make_tones(tmp_path_factory.mktemp("data"))
    return JoinedIndex([Index.open(folder / "train")])


def test_a_batch_is_padded_with_zeros_and_counts_what_is_not(tones):
    rows = np.array([3, 0, 20])
    batch = read_batch(tones, rows)
    for place, row in enumerate(rows):
        sound = tones.audio(int(row))
        assert batch.lengths[place] == len(sound)
        assert torch.equal(batch.waveforms[place, : len(sound)], torch.from_numpy(sound))
        assert not batch.waveforms[place, len(sound) :].any()
        assert batch.tokens[place, : batch.token_lengths[place]].tolist() == tones.tokens(int(row)).tolist()


def test_parts_of_a_batch_hold_each_utterance_once_without_needless_padding(tones):
    batch = read_batch(tones, np.arange(7), augmentation=Augmentation(AugmentSettings()))
    parts = batch.parts(3)
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(7))
    for part in parts:
        longest = int(part.lengths.max())
        assert 0 <= part.waveforms.shape[1] - longest < max(LEAST_PADDING_STEP, longest * PADDING_SHARE)
    assert len(batch.parts(20)) == 7


def test_augmentation_depends_on_seed_epoch_and_utterance_not_on_batch_or_worker(tones):
    augmentation = Augmentation(AugmentSettings(), seed=3)
    batches = [np.array([5, 6]), np.array([7, 1, 2])]
    alone = read_batch(tones, np.array([1]), augmentation=augmentation, epoch=2)
    for workers in (0, 2):
        _, second = load(tones, [(2, rows) for rows in batches], augmentation=augmentation, workers=workers)
        assert torch.equal(second.waveforms[1, : alone.lengths[0]], alone.waveforms[0, : alone.lengths[0]])
        assert torch.equal(second.masks[1], alone.masks[0])
    speeds = {int(read_batch(tones, np.array([1]), augmentation=augmentation, epoch=e).lengths) for e in range(9)}
    assert len(speeds) == 3  # 0.9, 1.0 and 1.1 all come


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_shard_ends_in_one_line_that_names_it(tmp_path, workers):
    folder = make_tones(tmp_path)
    index = JoinedIndex([Index.open(folder / "train")])
    shard = folder / "train" / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(AsrkitError, match=r"shard-000000\.tar is cut off or damaged at 'train-\d+'") as caught:
        list(load(index, [(0, np.arange(10))], workers=workers))
    assert "\n" not in str(caught.value)


class _UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("a server's answer cannot be pickled")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_arrives_whatever_caused_it(workers, monkeypatch):
    """tblib, which Dask brings, has errors pickled with what caused them; a queue drops what it cannot pickle."""
    from tblib import pickling_support

    def unreachable(*arguments, **named):
        raise UnreachableError("the server is gone") from _UnpicklableError()

    pickling_support.install()
    monkeypatch.setattr("asrkit.batches.read_batch", unreachable)
    with pytest.raises(UnreachableError, match="the server is gone"):
        next(load(None, [(0, np.array([0]))], workers=workers))
