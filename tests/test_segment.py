import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.audio import SAMPLE_RATE_HZ
from asrkit.segment import MAX_S, segment


def in_blocks(samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """`samples` in blocks of the given sizes, again and again until all are used."""
    blocks, at, turn = [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        blocks.append(samples[at : at + size])
        at, turn = at + size, turn + 1
    return blocks


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 5000),
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=5),
    max_samples=st.integers(3, 1500),
    seed=st.integers(0, 99),
)
def test_pieces_are_the_whole_bit_for_bit(length: int, sizes: list[int], max_samples: int, seed: int) -> None:
    samples = noise(length / SAMPLE_RATE_HZ, seed)
    pieces = list(segment(in_blocks(samples, sizes), max_s=max_samples / SAMPLE_RATE_HZ))
    together = np.concatenate([piece for _, piece in pieces]) if pieces else np.empty(0, np.float32)
    assert together.tobytes() == samples.tobytes()
    assert all(0 < len(piece) <= max_samples for _, piece in pieces)
    assert all(len(piece) >= 2 * max_samples // 3 for _, piece in pieces[:-1])
    starts = np.cumsum([0, *(len(piece) for _, piece in pieces)])[:-1] / SAMPLE_RATE_HZ
    assert [start for start, _ in pieces] == list(starts)


def test_a_recording_of_thirty_seconds_is_one_piece() -> None:
    samples = noise(MAX_S)
    ((start_s, piece),) = segment(in_blocks(samples, [100_000]))
    assert start_s == 0.0
    assert np.array_equal(piece, samples)


def test_no_samples_are_no_pieces() -> None:
    assert list(segment([])) == []
    assert list(segment([np.empty(0, np.float32)])) == []


@pytest.mark.parametrize("block_s", [0.1, 7.0, 100.0])
def test_cuts_lie_in_the_pauses(block_s: float) -> None:
    samples = noise(70.0)
    pauses = [(5.0, 5.4), (24.0, 24.2), (27.0, 27.1), (49.5, 49.7)]  # the third is shorter than the window
    for begin, end in pauses:
        samples[round(begin * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)] *= 0.01
    blocks = in_blocks(samples, [round(block_s * SAMPLE_RATE_HZ)])
    starts = [start_s for start_s, _ in segment(blocks)]
    assert len(starts) == 3
    assert 24.05 < starts[1] < 24.15
    assert 49.55 < starts[2] < 49.65


def test_memory_holds_one_piece_and_one_block() -> None:
    """Every block is taken only when the pieces before it are out: at most 30 s are ever waiting."""
    taken = 0

    def blocks():  # type: ignore[no-untyped-def]  # a generator that counts
        nonlocal taken
        for number in range(40):
            taken += 10 * SAMPLE_RATE_HZ
            yield noise(10.0, number)

    given_out = 0
    for _, piece in segment(blocks()):
        given_out += len(piece)
        assert taken - given_out <= (MAX_S + 10) * SAMPLE_RATE_HZ
    assert given_out == 400 * SAMPLE_RATE_HZ
