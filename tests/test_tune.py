"""Tuning: where a bowl with noise in it has its bottom, and a whole run from dev to what decode then takes."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from house import House, Told
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import AsrkitError
from asrkit.surface import surface_page
from asrkit.tune import ALPHAS, BETAS, smoothed_best, tune

LABELS_ARPA = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-2\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.7\ta\t-0.2
-0.8\tb\t-0.1
-0.6\t▁\t-0.4

\\2-grams:
-0.1\tb a
-0.3\t<s> b

\\end\\
"""


# The bottom of a bowl -----------------------------------------------------------------------------------------------


def bowl(alpha: float, beta: float, bottom: tuple[float, float], tilt: float = 0.0) -> float:
    """A step of 0.3 in alpha, or of 1.5 in beta, away from the bottom costs 2 of 50 %, two steps cost 8."""
    up, right = (alpha - bottom[0]) / 0.3, (beta - bottom[1]) / 1.5
    return 0.5 + 0.02 * (up * up + right * right) + tilt * up * right


def places() -> list[tuple[float, float]]:
    return [(round(alpha, 2), round(beta, 2)) for alpha in np.arange(0, 1.51, 0.15) for beta in np.arange(-1, 4.1, 0.5)]


@given(alpha=st.floats(0.3, 1.2), beta=st.floats(0, 3), tilt=st.floats(-0.02, 0.02))
def test_without_noise_the_lowest_place(alpha: float, beta: float, tilt: float) -> None:
    rates = {place: bowl(*place, (alpha, beta), tilt) for place in places()}
    found = smoothed_best(rates)
    assert rates[found] == pytest.approx(min(rates.values()), abs=0.002)


def test_with_noise_nearer_to_the_bottom_than_the_lowest_rate() -> None:
    """The noise of a few thousand words: half a point of 50 %."""
    random, bottom = np.random.default_rng(1), (0.75, 1.5)
    lost: dict[str, list[float]] = {"smoothed": [], "lowest": []}
    for _ in range(200):
        rates = {place: bowl(*place, bottom) + random.normal(0, 0.005) for place in places()}
        chosen = {"smoothed": smoothed_best(rates), "lowest": min(rates, key=lambda place: rates[place])}
        for name, place in chosen.items():
            lost[name].append(bowl(*place, bottom) - 0.5)
    assert np.mean(lost["smoothed"]) < 0.5 * np.mean(lost["lowest"])
    assert max(lost["smoothed"]) < max(lost["lowest"]) < 0.02


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({(0.5, 1.0): 0.3}, (0.5, 1.0)),
        ({(0.5, 1.0): 0.3, (0.6, 1.0): 0.2, (0.7, 1.0): 0.25}, (0.6, 1.0)),  # too few for a bowl: the lowest
        ({(0.1 * number, 1.0): 0.3 for number in range(9)}, None),  # all alike
        ({(0.1 * number, 2.0): 0.0 for number in range(9)}, None),
    ],
)
def test_of_few_or_equal_rates_one_that_was_tried(
    rates: dict[tuple[float, float], float], best: tuple[float, float] | None
) -> None:
    found = smoothed_best(rates)
    assert found in rates
    assert best in (found, None)


# A whole run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def house(house: House) -> House:
    """With an n-gram of labels."""
    (house.root / "labels.arpa").write_text(LABELS_ARPA, encoding="utf-8")
    return house


def tuned(house: House, **options: Any) -> dict[str, Any]:
    torch.set_num_threads(1)
    return tune(exp_dir=house.root / "exp", data_dir=house.root / "data", device="cpu", **options)


def dev_rate(house: House, **options: Any) -> float:
    """WER + CER without spaces of decoding dev."""
    (report,) = house.decode(splits=["dev"], **options)
    return float(report["wer"] + report["cer_no_space"])


def test_what_tuning_finds_is_what_decoding_takes(house: House) -> None:
    told = Told()
    before = dev_rate(house, lm=house.lm)
    found = tuned(house, lm=house.lm, progress=told)
    assert list(found["options"]) == ["alpha", "beta", "beam"]
    assert (found["splits"], found["utterances"], found["by"], found["checkpoint_step"]) == (["dev"], 8, "both", 7)
    (surface,) = found["surfaces"]
    points = {(alpha, beta): rate for alpha, beta, rate in surface["points"]}
    assert surface["options"] == ["alpha", "beta"]
    assert {(alpha, beta) for alpha in ALPHAS for beta in BETAS} <= set(points)
    assert all(0 <= alpha <= 5 and -10 <= beta <= 20 for alpha, beta in points)
    assert [found["options"]["alpha"], found["options"]["beta"]] == surface["chosen"]
    assert tuple(surface["chosen"]) in points
    assert [found["options"]["beam"], found["rate"]] in found["beams"]
    # the same as decoding says, and no worse than what it said before
    (report,) = house.decode(splits=["dev"], lm=house.lm)
    assert {name: report[name] for name in found["options"]} == found["options"]
    assert report["wer"] + report["cer_no_space"] == pytest.approx(found["rate"], abs=1e-9)
    assert found["rate"] <= before + 1e-9
    # kept, drawn and said
    kept = json.loads((house.run / "tuned.json").read_text(encoding="utf-8"))["tuned"]
    assert kept == [{"lms": [{"name": "ab.arpa", "bytes": house.lm.stat().st_size}], **found}]
    page = (house.run / "tune" / "ab.html").read_text(encoding="utf-8")
    assert "tiny/first: WER + CER on dev" in page
    assert len(re.findall("<circle", page)) == len(points)
    assert re.search(r"src=|href=|url\(|@import|https?:", page) is None
    assert f"kept in {house.run / 'tuned.json'}" in told.said[-1] and "ab.html" in told.said[-1]
    ((_, columns, rows),) = told.tables
    assert (columns, len(rows)) == (("beam", "WER + CER %"), len(found["beams"]))


def test_both_n_grams_and_a_beam_that_is_given(house: House) -> None:
    labels = house.root / "labels.arpa"
    found = tuned(house, lm=house.lm, token_lm=labels, beam=7, closed_vocab=True, by="cer", jobs=1)
    assert set(found["options"]) == {"alpha", "beta", "token_alpha", "token_beta", "beam", "closed_vocab"}
    assert (found["options"]["beam"], found["options"]["closed_vocab"], found["beams"]) == (7, True, [])
    assert [surface["options"][0] for surface in found["surfaces"]] == ["alpha", "token_alpha", "alpha"]
    (report,) = house.decode(splits=["dev"], lm=house.lm, token_lm=labels)
    assert {name: report[name] for name in found["options"]} == found["options"]
    assert report["cer_no_space"] == pytest.approx(found["rate"], abs=1e-9)
    assert house.decode(lm=house.lm)[0]["alpha"] == 0.5  # alone it was not tuned
    assert (house.run / "tune" / "ab-labels.html").is_file()


def test_labels_alone_by_wer_and_once_more(house: House) -> None:
    labels = house.root / "labels.arpa"
    first = tuned(house, lm=labels, by="wer", beam=5)
    again = tuned(house, token_lm=labels, by="wer", beam=5)
    assert again == first
    assert set(first["options"]) == {"token_alpha", "token_beta", "beam"}
    (report,) = house.decode(splits=["dev"], lm=labels)
    assert report["wer"] == pytest.approx(first["rate"], abs=1e-9)
    assert len(json.loads((house.run / "tuned.json").read_text(encoding="utf-8"))["tuned"]) == 1


def test_what_cannot_be_tuned(house: House) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "^nothing to tune without an n-gram; wanted --lm FILE$"),
        ({"alpha": 0.5}, "^nothing to tune without an n-gram"),
        ({"lm": house.lm, "splits": ["test"]}, "^'test' is a test split: what is tuned on it .*; wanted one of dev$"),
        ({"lm": house.lm, "splits": ["dev", "test"]}, "^'test' is a test split"),
        ({"lm": house.lm, "splits": ["dve"]}, "no split 'dve'; did you mean 'dev'"),
        ({"lm": house.root / "none.arpa"}, "none.arpa cannot be read"),
        ({"lm": house.lm, "betta": 1.0}, "a search has no option 'betta'"),
    ]
    for options, message in cases:
        with pytest.raises(AsrkitError, match=message) as refused:
            tuned(house, **options)
        assert "\n" not in str(refused.value)
    assert not (house.run / "tuned.json").exists()


def test_a_damaged_file_is_found_before_the_work_is_done(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of searching should not end there."""
    (house.run / "tuned.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr("asrkit.tune.search_all", lambda *_, **__: pytest.fail("searched"))
    with pytest.raises(AsrkitError, match=r"tuned\.json is damaged"):
        tuned(house, lm=house.lm)


def test_a_weight_that_is_given_stays(house: House) -> None:
    """As the options that are not searched do."""
    found = tuned(house, lm=house.lm, beta=0.25, beam=5)
    assert found["options"]["beta"] == 0.25
    assert {beta for _, beta, _ in found["surfaces"][0]["points"]} == {0.25}


# The picture --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "points",
    [
        [[0.5, 1.0, 0.3]],
        [[0.5, 1.0, 0.0], [0.6, 1.0, 0.0]],
        [[0.5, 1.0, 0.3], [0.5, 2.0, 2.5], [1.0, 1.0, 0.31]],
    ],
)
def test_a_picture_of_few_places(points: list[list[float]]) -> None:
    found = {
        "options": {"alpha": 0.5, "beta": 1.0},
        "rate": 0.3,
        "utterances": 1234,
        "surfaces": [{"options": ["alpha", "beta"], "chosen": points[0][:2], "points": points}],
        "beams": [],
    }
    page = surface_page("<run> & more", found)
    assert "&lt;run&gt; &amp; more" in page and "<run>" not in page
    assert page.count("<circle") == len(points)
    assert "1,234 utterances" in page
    assert "nan" not in page
