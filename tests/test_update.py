"""One update of the weights: the schedule, the loss, replicas, and updates that are not finite."""

import math
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
import torch
from tones import TONES, make_tones

from asrkit import budget
from asrkit.augment import Augmentation
from asrkit.batches import read_batch
from asrkit.budget import faster_precision
from asrkit.checkpoint import build
from asrkit.epochs import Speeds
from asrkit.shards import Index, JoinedIndex
from asrkit.update import Updater, ctc_losses, learning_rate


def test_the_schedule_warms_up_and_anneals():
    rates = [learning_rate(step, steps=100, peak=1.0, warmup=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.505)  # halfway down the cosine: 0.01 + 0.99 / 2
    assert rates[99] < 0.012
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_loss_is_ctcs_by_hand():
    # Two frames, labels blank, a, b with probabilities (.5, .3, .2) and (.1, .6, .3). "a" is said by: a a, a blank,
    # blank a: .18 + .03 + .30 = .51. "ab": only a b = .3 * .3 = .09, over two labels.
    log_probs = torch.log(torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]])).expand(2, 2, 3)
    losses = ctc_losses(log_probs, torch.tensor([2, 2]), torch.tensor([[1, 0], [1, 2]]), torch.tensor([1, 2]))
    torch.testing.assert_close(losses, torch.tensor([-math.log(0.51), -math.log(0.09) / 2]))


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return JoinedIndex([Index.open(make_tones(tmp_path_factory.mktemp("data")) / "train")])


def updater(*, replicas=1, parts=None, precision=torch.float32, dropout=0.0, **train) -> Updater:
    recipe = replace(TONES, model=replace(TONES.model, dropout=dropout), train=replace(TONES.train, **train))
    torch.manual_seed(0)
    model, features = build(recipe.to_json(), 6)
    return Updater(
        model,
        features,
        settings=recipe.train,
        augmentation=recipe.augment,
        device=torch.device("cpu"),
        precision=precision,
        replicas=replicas,
        parts=parts,
    )


@pytest.mark.parametrize(("seconds", "faster"), [((9, 2, 3, 9, 1, 4), "bfloat16"), ((9, 2, 3, 9, 4, 4), "float32")])
def test_the_faster_precision_is_that_of_the_fastest_update(tones, monkeypatch, seconds, faster):
    trained = updater()
    monkeypatch.setattr(Updater, "update", lambda self, batch, *, lr, step: None)
    ticks = iter([0, *accumulate(seconds[:3]), 100, *(100 + each for each in accumulate(seconds[3:]))])
    chosen = faster_precision(trained, tones, [np.array([0, 1])], clock=lambda: next(ticks))
    assert str(chosen) == f"torch.{faster}"
    assert trained.precision == torch.float32  # its own is untouched


def test_the_speed_is_measured_on_what_training_hears(tones, monkeypatch):
    """At twice its speed an utterance may have too few frames; a loss that is not finite is looked into for long."""
    read, reading = budget.read_batch, []
    monkeypatch.setattr(budget, "read_batch", lambda *a, **named: reading.append(named) or read(*a, **named))
    unhurried = Speeds((1.0, 2.0), np.ones(len(tones), np.uint8))
    augmentation = Augmentation(replace(TONES.augment, speeds=(1.0, 2.0)), seed=1)
    for measure in (budget.measure, faster_precision):
        measure(updater(), tones, [np.arange(4)], augmentation, fastest=unhurried)
    assert len(reading) > 2 and all(named["fastest"] is unhurried for named in reading)


def test_an_optimiser_goes_on_on_another_device():
    """MPS has no fused kernel, and its state says so."""
    trained, resumed = updater(), updater()
    state = trained.state()
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = False
    resumed.load_state(state)
    assert all(group["fused"] for group in resumed.optimizer.param_groups)


@pytest.mark.parametrize(("readers", "step_s"), [(0, 5.0), (2, 2.0), (8, 1.0)])
def test_a_step_takes_as_long_as_the_slower_of_a_gpu_and_its_readers(tones, monkeypatch, readers, step_s):
    now = [0.0]

    def work(seconds):
        now[0] += seconds

    monkeypatch.setattr(budget, "read_batch", lambda *_, **__: work(4.0))
    monkeypatch.setattr(Updater, "update", lambda self, batch, *, lr, step: work(1.0))
    speed = budget.measure(updater(), tones, [np.array([0, 1])], readers=readers, clock=lambda: now[0])
    assert speed.seconds(0.0, 7) == pytest.approx(7 * step_s)


def batch_of(tones, *rows):
    return read_batch(tones, np.array(rows), augmentation=Augmentation(TONES.augment, seed=1))


def weights(updater):
    return {name: value.clone() for name, value in updater.model.state_dict().items()}


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_loss_falls(tones, replicas):
    trained = updater(replicas=replicas)
    batch = batch_of(tones, *range(8))
    losses = [trained.update(batch, lr=0.01, step=step).loss for step in range(25)]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("replicas", [1, 3])
def test_the_same_step_gives_the_same_weights_whatever_came_before(tones, replicas):
    batch = batch_of(tones, *range(7))
    results = []
    for noise in (0, 5):
        trained = updater(replicas=replicas, dropout=0.3)
        torch.rand(noise)  # torch's own random state must not matter
        for step in range(3):
            trained.update(batch, lr=0.01, step=step)
        results.append(weights(trained))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_parts_taken_in_turn_are_those_that_replicas_take_at_once(tones):
    """So a run from a CPU goes on elsewhere, and train.accumulate is the same update in less memory."""
    results = []
    for replicas in (1, 2, 4):
        trained = updater(replicas=replicas, parts=4, dropout=0.3)
        for step, rows in enumerate((range(7), [3], [1, 2], range(20))):
            trained.update(batch_of(tones, *rows), lr=0.01, step=step)
        results.append(weights(trained))
    for other in results[1:]:
        for name, weight in results[0].items():
            torch.testing.assert_close(other[name], weight, rtol=1e-4, atol=1e-6)


def test_float16_scales_the_loss_until_gradients_fit(tones):
    """65,536 times the loss is too much for these: the first updates change nothing, and nobody is blamed."""
    trained = updater(precision=torch.float16)
    trained.scaler.scale(torch.ones(()))  # it begins with the first loss
    trained.scaler.update(2.0**40)
    batch = batch_of(tones, *range(8))
    before = weights(trained)
    first = trained.update(batch, lr=0.01, step=0)
    assert not math.isfinite(first.grad_norm) and first.bad_rows == ()
    assert all(torch.equal(before[name], value) for name, value in weights(trained).items())
    updates = [trained.update(batch, lr=0.01, step=step) for step in range(1, 60)]
    assert trained.scaler.get_scale() < 2.0**40
    assert updates[-1].loss < 0.6 * first.loss and math.isfinite(updates[-1].grad_norm)
    again = updater(precision=torch.float16)
    again.load_state(trained.state())
    assert again.scaler.get_scale() == trained.scaler.get_scale()
    batch.waveforms[1, 5] = float("nan")
    assert again.update(batch, lr=0.01, step=0).bad_rows == (1,)


def test_updates_may_be_read_later(tones):
    """As on a GPU: what each found is its own, and a bad one is blamed on its own batch."""
    trained, other = updater(), updater()
    batches = [batch_of(tones, *rows) for rows in ((0, 1), (2, 3), (4, 5))]
    batches[1].waveforms[0, 5] = float("nan")
    started = [trained.start(batch, lr=0.01, step=step, save=step == 2) for step, batch in enumerate(batches)]
    late = [trained.finish(each) for each in started]
    at_once = [other.update(batch, lr=0.01, step=step) for step, batch in enumerate(batches)]
    assert [each.loss for each in late[::2]] == [each.loss for each in at_once[::2]]
    assert [each.bad_rows for each in late] == [(), (2,), ()]
    assert [each.save for each in late] == [False, False, True]
    assert late[0].audio_s == pytest.approx(float(batches[0].lengths.sum()) / 16_000)


def test_replicas_sum_to_the_gradient_of_the_whole_batch(tones):
    """Without batch norm between them (each has its own statistics) the sum over parts is the whole."""
    batch = batch_of(tones, 0, 1, 2, 3, 4)
    gradients = []
    for replicas in (1, 2):
        trained = updater(replicas=replicas, grad_clip=1e6)
        for module in [trained.model, *trained.replicas]:
            for part in module.modules():
                if hasattr(part, "running_mean"):
                    part._batch_statistics = lambda x, mask, shape, part=part: (part.running_mean, part.running_var)
        trained.update(batch, lr=0.0, step=0)
        gradients.append([weight.grad.clone() for weight in trained.model.parameters()])
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(summed, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_update_that_is_not_finite_changes_nothing_and_names_the_utterance(tones, replicas):
    trained = updater(replicas=replicas)
    batch = batch_of(tones, 4, 9, 2)
    trained.update(batch, lr=0.01, step=0)
    before, state = weights(trained), trained.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    batch.waveforms[1, 5] = float("nan")
    update = trained.update(batch, lr=0.01, step=1)
    assert update.bad_rows == (9,)
    assert not math.isfinite(update.loss)
    after = weights(trained)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(trained.optimizer.state_dict()["state"][0]["exp_avg"], state)


def test_a_text_too_long_for_its_audio_is_such_an_update(tones):
    trained = updater()
    batch = batch_of(tones, 0, 1)
    longer = torch.tensor([[2, 3] * 100, [2, 3] * 100])
    batch = replace(batch, tokens=longer, token_lengths=torch.tensor([200, 2]))
    assert trained.update(batch, lr=0.01, step=0).bad_rows == (0,)


def test_a_trial_leaves_the_original_alone(tones):
    trained = updater(replicas=2)
    before = weights(trained)
    trial = trained.trial()
    trial.update(batch_of(tones, 0, 1, 2), lr=0.1, step=0)
    after = weights(trained)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(before[name], value) for name, value in weights(trial).items())


def test_the_middle_loss_takes_its_share_of_the_gradient(tones):
    batch = batch_of(tones, 0, 1)
    plain, half, again = (updater(middle_loss=share) for share in (0.0, 0.5, 0.5))
    found = [each.update(batch, lr=1e-3, step=0) for each in (plain, half, again)]
    assert found[0].loss == found[1].loss  # what is reported is the last layer's
    assert found[0].grad_norm != found[1].grad_norm == found[2].grad_norm
