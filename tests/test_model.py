"""DeepSpeech2: shapes, padding that changes nothing, and streaming that gives the log-probs of the whole."""

from dataclasses import asdict, replace

import pytest
import torch

from asrkit.errors import AsrkitError
from asrkit.features import LogMel, length_mask
from asrkit.model import DeepSpeech2, MaskedBatchNorm, reversal, reverse
from asrkit.settings import ARCHITECTURES, FeaturesSettings, ModelSettings, architecture
from asrkit.streaming import Stream

LABELS = 7
TINY = ModelSettings(conv_channels=(4, 4), conv_mel_kernels=(5, 5), conv_time_kernels=(5, 5), layers=2, hidden=8)


def tiny(**changes: object) -> DeepSpeech2:
    settings = asdict(replace(TINY, **changes))
    settings.pop("name")
    torch.manual_seed(0)
    model = DeepSpeech2(mels=20, labels=LABELS, **settings)
    for module in model.modules():  # statistics as after some training, so that batch norm is no identity
        if isinstance(module, MaskedBatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


VARIANTS = [
    dict(rnn=rnn, bidirectional=bidirectional, merge=merge, time_stride=stride, **more)
    for rnn, bidirectional, merge, stride, more in [
        ("gru", True, "sum", 2, {}),
        ("lstm", True, "concat", 4, {}),
        ("rnn", True, "sum", 4, {"residual_blocks": 2}),
        ("gru", False, "sum", 2, {"lookahead": 3}),
        ("lstm", False, "sum", 4, {"head": 6}),
    ]
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_utterance_has_the_same_log_probs_alone_and_in_a_batch(variant):
    model = tiny(**variant)
    log_mel = torch.randn(3, 61, 20)
    lengths = torch.tensor([61, 17, 38])
    together, out_lengths = model(log_mel, lengths)  # what lies behind the lengths is not even zero here
    log_mel = log_mel * length_mask(lengths, 61)[:, :, None]
    together, out_lengths = model(log_mel, lengths)
    for place, length in enumerate(lengths.tolist()):
        alone, (out,) = model(log_mel[place : place + 1, :length], lengths[place : place + 1])
        assert out_lengths[place] == out == model.output_length(length)
        torch.testing.assert_close(together[place, :out], alone[0], atol=1e-4, rtol=0)
        assert torch.exp(alone).sum(dim=2).allclose(torch.ones(1, int(out)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_middle_layer_has_log_probs_of_its_own_from_the_layers_below_it(variant):
    model = tiny(**variant, layers=3)
    log_mel, lengths = torch.randn(2, 40, 20), torch.tensor([40, 40])
    last, middle, out_lengths = model.forward_twice(log_mel, lengths)
    whole, whole_lengths = model(log_mel, lengths)
    assert torch.equal(last, whole) and torch.equal(out_lengths, whole_lengths)
    assert torch.exp(middle).sum(dim=2).allclose(torch.ones(middle.shape[:2]))
    with torch.no_grad():
        for weight in model.recurrent[2].parameters():  # behind the middle
            weight.add_(0.1)
    changed, same, _ = model.forward_twice(log_mel, lengths)
    assert torch.equal(same, middle) and not torch.allclose(changed, last)
    with torch.no_grad():
        for weight in model.recurrent[1].parameters():
            weight.add_(0.1)
    assert not torch.allclose(model.forward_twice(log_mel, lengths)[1], middle)


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_does_not_move_the_training_statistics_or_the_loss(variant):
    model = tiny(**variant, dropout=0.0).train()
    lengths = torch.tensor([40, 23])
    log_mel = torch.randn(2, 40, 20) * length_mask(lengths, 40)[:, :, None]
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    short, out_lengths = model(log_mel, lengths)
    after = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    padded, _ = model(torch.nn.functional.pad(log_mel, (0, 0, 0, 50)), lengths)
    valid = length_mask(out_lengths, short.shape[1])
    torch.testing.assert_close(padded[:, : short.shape[1]][valid], short[valid], atol=1e-4, rtol=0)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, after[name], atol=1e-5, rtol=0)


def test_masked_batch_norm_of_full_length_input_is_torchs_own():
    ours = MaskedBatchNorm(5, channel_dim=1).train()
    theirs = torch.nn.BatchNorm2d(5).train()
    x = torch.randn(3, 5, 7, 4)
    torch.testing.assert_close(ours(x, torch.ones(3, 1, 7, 1, dtype=torch.bool)), theirs(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_reversal_is_by_each_utterances_own_length_and_its_own_inverse():
    x = torch.arange(4.0)[:, None, None] + torch.tensor([0.0, 10.0])[None, :, None]  # (T=4, B=2, H=1)
    order = reversal(torch.tensor([4, 2]), 4)
    assert reverse(x, order)[:, :, 0].T.tolist() == [[3, 2, 1, 0], [11, 10, 12, 13]]
    assert torch.equal(reverse(reverse(x, order), order), x)


def test_bidirectional_gru_equals_torchs_packed_one():
    model = tiny(rnn="gru", merge="concat", layers=1)
    layer = model.recurrent[0]
    packed = torch.nn.GRU(layer.ahead.input_size, 8, bidirectional=True)
    for suffix, part in (("", layer.ahead), ("_reverse", layer.back)):
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(packed, name + suffix).data.copy_(getattr(part, name))
    lengths = torch.tensor([9, 4])
    x = torch.randn(9, 2, layer.ahead.input_size)
    ours = layer(x, reversal(lengths, 9))
    theirs, _ = torch.nn.utils.rnn.pad_packed_sequence(packed(torch.nn.utils.rnn.pack_padded_sequence(x, lengths))[0])
    valid = length_mask(lengths, 9).T
    torch.testing.assert_close(ours[valid], theirs[valid], atol=1e-5, rtol=0)


# Counted by hand for deepspeech2 with 80 mels and 29 labels: convolutions 32*41*11 + 32*32*21*11, their norms 4*32,
# five layers of two GRUs, 3 * 800 * (inputs + 800 + 2), inputs 640 then 800, norms 2*800 each, output 29 * 801.
DEEPSPEECH2 = 32 * 451 + 32 * 32 * 231 + 128 + 2 * 2400 * (640 + 802) + 4 * 2 * 2400 * 1602 + 5 * 1600 + 29 * 801


def test_the_named_architectures_build_and_have_the_documented_sizes():
    sizes = {}
    for name in ARCHITECTURES:
        settings = asdict(architecture(name))
        settings.pop("name")
        with torch.device("meta"):
            model = DeepSpeech2(mels=80, labels=29, **settings)
        sizes[name] = sum(weight.numel() for weight in model.parameters())
    assert sizes["deepspeech2"] == DEEPSPEECH2
    documented = {"deepspeech2": 38.0, "deepspeech2-small": 3.3, "deepspeech2-streaming": 19.1, "residual": 18.2}
    documented |= {"deep": 55.6, "lstm-768": 50.0}
    assert {name: round(size / 1e6, 1) for name, size in sizes.items()} == documented


def streaming_features() -> LogMel:
    features = LogMel(**asdict(FeaturesSettings(mels=20, normalize="train")))
    features.set_statistics(torch.linspace(-9, -5, 20), torch.linspace(1, 3, 20))
    return features


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("samples", [0, 100, 4000, 16001])
@pytest.mark.parametrize("piece", [1000, 1600, 7777])
def test_streaming_in_pieces_gives_the_log_probs_of_the_whole(stride, samples, piece):
    model = tiny(rnn="gru", bidirectional=False, lookahead=5, time_stride=stride, head=6)
    features = streaming_features()
    sound = torch.randn(samples, generator=torch.Generator().manual_seed(samples)) * 0.1
    stream = Stream(model, features)
    parts = [stream.feed(part) for part in sound.split(piece)] + [stream.finish()]
    with torch.inference_mode():
        log_mel, frames = features(sound[None], torch.tensor([samples]))
        whole, _ = model(log_mel, frames)
    torch.testing.assert_close(torch.cat(parts), whole[0], atol=1e-4, rtol=0)


def test_streaming_answers_before_the_end():
    model = tiny(rnn="lstm", bidirectional=False, lookahead=5)
    stream = Stream(model, streaming_features())
    assert len(stream.feed(torch.zeros(16000))) > 30


def test_models_that_look_at_the_whole_cannot_stream():
    with pytest.raises(AsrkitError, match="wanted model=deepspeech2-streaming"):
        Stream(tiny(), streaming_features())
    own_mean = LogMel(**asdict(FeaturesSettings(mels=20)))
    with pytest.raises(AsrkitError, match=r"wanted a model trained with features\.normalize=train"):
        Stream(tiny(bidirectional=False), own_mean)
