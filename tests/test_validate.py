"""Dev decoded: as it was recorded, whatever batches it comes in and however many threads decode it."""

import pytest
import torch
from house import House

from asrkit.checkpoint import load_checkpoint
from asrkit.epochs import eval_batches
from asrkit.error_rates import error_rate
from asrkit.search import greedy
from asrkit.shards import JoinedIndex, open_data
from asrkit.validate import validate


@pytest.mark.parametrize(("batch_s", "threads"), [(0.1, 1), (1.5, 2), (60.0, 1)])
def test_dev_has_the_errors_of_a_plain_pass_over_the_recordings(house: House, batch_s: float, threads: int) -> None:
    """The model's nonsense differs from frame to frame, so that any other speed or level would be other errors."""
    trained = load_checkpoint(house.run)
    dev = JoinedIndex([open_data(house.root / "data", "mine").index("dev")])
    pairs = []
    for row in range(len(dev)):
        sound = torch.from_numpy(dev.audio(row))[None]
        log_probs, _ = trained.log_probs(sound, torch.tensor([sound.shape[1]]))
        pairs.append((dev.record(row)["text"], greedy(log_probs[0].numpy(), trained.tokenizer).text))
    found = validate(
        trained.model,
        trained.features,
        trained.tokenizer,
        dev,
        eval_batches(dev, batch_s),
        device=torch.device("cpu"),
        threads=threads,
    )
    assert found is not None
    assert found.cer == error_rate(pairs).rate
    assert found.wer == error_rate([(reference.split(), hypothesis.split()) for reference, hypothesis in pairs]).rate
    assert sum(bool(hypothesis) for _, hypothesis in pairs) > len(pairs) / 2
