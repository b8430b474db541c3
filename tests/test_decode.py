"""From a prepared data set and a checkpoint to reports, with a very small model that has learnt nothing."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from house import ARPA, RECIPE, TEXTS, House, Told, save_run
from tiny import TINY

from asrkit import log_probs, search
from asrkit.checkpoint import Checkpoint, load_checkpoint
from asrkit.decode import decode
from asrkit.errors import AsrkitError
from asrkit.prepare import prepare
from asrkit.report import TABLE_COLUMNS
from asrkit.shards import INDEX_DTYPE, open_data, shard_path


def test_greedy_is_the_default_and_the_newest_run(house: House) -> None:
    told = Told()
    (report,) = house.decode(progress=told)
    assert report == house.report("test-greedy")
    assert (report["run"], report["checkpoint_step"], report["data"], report["split"]) == (
        "tiny/first",
        7,
        "mine",
        "test",
    )
    assert (report["engine"], report["lm"], report["beam"], report["alpha"], report["oov_rate"]) == (
        "greedy",
        *[None] * 4,
    )
    assert (report["utterances"], report["utterances_in_corpus"], report["excluded"]) == (8, 9, {"empty text": 1})
    assert report["words"] == sum(len(text.split()) for text in TEXTS)
    assert report["audio_s"] == pytest.approx(sum(4000 + 900 * number for number in range(8)) / 16_000, abs=1e-3)
    assert report["acoustic_s"] > 0
    assert report["data_fingerprint"] == open_data(house.root / "data", "mine").index("test").fingerprint
    ((_, columns, rows),) = told.tables
    assert (columns, len(rows), rows[0][:2]) == (TABLE_COLUMNS, 1, ("test", "greedy"))
    assert any("report.html" in line for line in told.said)


def test_groups_are_what_the_index_tells_apart(house: House) -> None:
    (report,) = house.decode()
    # 8 utterances; all of their texts are in train, too, so that text_in_train tells none apart
    assert {
        name: {value: group["utterances"] for value, group in each.items()} for name, each in report["groups"].items()
    } == {
        "speaker": {"s0": 4, "s1": 4},
        "room": {"0": 3, "1": 3, "2": 2},
    }
    assert [line["room"] for line in house.hypotheses("test-greedy")] == list("01201201")


def test_hypotheses_are_those_of_the_model_in_the_order_of_the_index(house: House) -> None:
    house.decode()
    checkpoint = load_checkpoint(house.run)
    index = open_data(house.root / "data", "mine").index("test")
    lines = house.hypotheses("test-greedy")
    assert [line["key"] for line in lines] == [index.record(row)["key"] for row in range(len(index))]
    assert [line["reference"] for line in lines] == TEXTS
    assert {line["speaker"] for line in lines} == {"s0", "s1"}
    for row, line in enumerate(lines):
        sound = torch.from_numpy(index.audio(row))[None]
        values, _ = checkpoint.log_probs(sound, torch.tensor([sound.shape[1]]))
        assert line["hypothesis"] == search.greedy(values[0].numpy().astype(np.float16), checkpoint.tokenizer).text
    assert len({line["hypothesis"] for line in lines}) > 1


def test_second_decoding_takes_the_log_probs_of_the_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first = house.decode()
    texts = house.hypotheses("test-greedy")
    monkeypatch.setattr(Checkpoint, "log_probs", lambda *_: pytest.fail("computed again"))
    second = house.decode()
    assert (first[0]["acoustic_s"] or 0) > 0
    assert second[0]["acoustic_s"] is None
    assert house.hypotheses("test-greedy") == texts
    assert second[0]["wer"] == first[0]["wer"]


def test_log_probs_lie_one_after_another(house: House) -> None:
    house.decode()
    folder = house.run / "decode" / "test-log-probs"
    assert sorted(path.name for path in folder.iterdir()) == ["cache.json", "lengths.npy", "log_probs.npy"]
    values, lengths = np.load(folder / "log_probs.npy"), np.load(folder / "lengths.npy")
    assert (values.dtype, values.shape) == (np.float16, (lengths.sum(), 4))
    assert np.allclose(np.exp(values.astype(np.float64)).sum(axis=1), 1, atol=1e-2)


@pytest.mark.parametrize("damage", ["other weights", "no marker", "cut off", "broken marker", "other index"])
def test_log_probs_that_do_not_belong_are_computed_again(house: House, damage: str) -> None:
    house.decode()
    right = house.hypotheses("test-greedy")
    folder = house.run / "decode" / "test-log-probs"
    if damage == "other weights":
        save_run(house, step=9, seed=3)
    elif damage == "no marker":
        (folder / "cache.json").unlink()
    elif damage == "cut off":
        content = (folder / "log_probs.npy").read_bytes()
        (folder / "log_probs.npy").write_bytes(content[:-100])
    elif damage == "broken marker":
        (folder / "cache.json").write_text("{", encoding="utf-8")
    else:
        marker = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        (folder / "cache.json").write_text(json.dumps(marker | {"index": "another"}), encoding="utf-8")
    (report,) = house.decode()
    assert report["acoustic_s"] is not None
    assert (house.hypotheses("test-greedy") == right) == (damage != "other weights")
    assert house.decode()[0]["acoustic_s"] is None


def test_interrupted_computation_leaves_nothing_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_probs, "BATCH_SECONDS", 1.0)
    calls = []

    def interrupted(self: Checkpoint, waveforms: torch.Tensor, lengths: torch.Tensor) -> Any:
        calls.append(len(lengths))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(self, waveforms, lengths)

    compute = Checkpoint.log_probs
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "log_probs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            house.decode()
    assert list((house.run / "decode").iterdir()) == []
    assert house.decode()[0]["acoustic_s"] is not None


def test_leftovers_of_a_killed_process_are_removed(house: House) -> None:
    dead = house.run / "decode" / ".test-log-probs.999999999.part"
    dead.mkdir(parents=True)
    living = house.run / "decode" / ".test-log-probs.1.part"
    living.mkdir()
    house.decode()
    assert not dead.exists()
    assert living.exists()


def test_batches_do_not_change_the_texts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = house.decode()
    texts = [line["hypothesis"] for line in house.hypotheses("test-greedy")]
    shutil.rmtree(house.run / "decode")
    monkeypatch.setattr(log_probs, "BATCH_SECONDS", 0.1)
    single = house.decode()
    assert [line["hypothesis"] for line in house.hypotheses("test-greedy")] == texts
    assert single[0]["wer"] == whole[0]["wer"]


def test_ngram_decoding_reports_its_conditions(house: House) -> None:
    told = Told()
    (report,) = house.decode("first", lm=house.lm, beam=20, alpha=0.75, beta=2, jobs=1, progress=told)
    assert report == house.report("test-ab-beam20-alpha0.75-beta2")
    assert (report["engine"], report["lm"], report["token_lm"]) == ("native", str(house.lm), None)
    assert (report["beam"], report["alpha"], report["beta"]) == (20, 0.75, 2.0)
    # references: 15 words, of which abba, ba, ba, ba are not among a, ab, b
    assert report["oov_rate"] == pytest.approx(4 / 15)
    assert any("ab.arpa: 2-gram, 3 words, 100.0 % of them spelled" in line for line in told.said)
    heard = [line["hypothesis"] for line in house.hypotheses("test-ab-beam20-alpha0.75-beta2")]
    assert heard != [line["hypothesis"] for line in house.decode() and house.hypotheses("test-greedy")]


def test_defaults_of_beam_search_are_the_recipes(house: House) -> None:
    (report,) = house.decode(lm=house.lm, jobs=1)
    settings = TINY.decode
    assert (report["beam"], report["alpha"], report["beta"]) == (settings.beam, settings.alpha, settings.beta)
    name = f"test-ab-beam{settings.beam}-alpha{settings.alpha:g}-beta{settings.beta:g}"
    assert "n_best" not in house.hypotheses(name)[0]


def test_more_processes_give_the_same_report(house: House) -> None:
    reports = [house.decode(lm=house.lm, beam=10, jobs=jobs)[0] for jobs in (1, 3)]
    timed = {"acoustic_s", "decode_s", "decode_cpu_s", "rtfx"}
    one, three = ({key: value for key, value in report.items() if key not in timed} for report in reports)
    assert one == three


def test_n_best_lists(house: House) -> None:
    house.decode(lm=house.lm, beam=20, n_best=3, jobs=1)
    for line in house.hypotheses("test-ab-beam20-alpha0.5-beta1"):
        assert 1 < len(line["n_best"]) <= 3
        assert line["n_best"][0] == {key: line[key] for key in ("logp", "lm_score", "score")} | {
            "text": line["hypothesis"]
        }
        assert line["score"] == pytest.approx(line["logp"] + line["lm_score"], abs=1e-3)


TUNED = {
    "schema": 1,
    "tuned": [{"lms": [{"name": "ab.arpa", "bytes": len(ARPA)}], "options": {"alpha": 0.25, "beta": 2.0, "beam": 13}}],
}


def test_tuned_options_are_taken_then_the_recipes(house: House) -> None:
    (house.run / "tuned.json").write_text(json.dumps(TUNED), encoding="utf-8")
    (report,) = house.decode(lm=house.lm, beta=-0.5)
    assert (report["alpha"], report["beta"], report["beam"]) == (0.25, -0.5, 13)
    assert report["token_min_logp"] == TINY.decode.token_min_logp
    assert report == house.report("test-ab-beam13-alpha0.25-beta-0.5")
    other = house.lm.rename(house.root / "other.arpa")
    (report,) = house.decode(lm=other)
    assert (report["alpha"], report["beta"], report["beam"]) == (0.5, 1.0, 100)
    assert house.decode()[0]["engine"] == "greedy"


def test_tuned_options_that_are_damaged(house: House) -> None:
    (house.run / "tuned.json").write_text("{", encoding="utf-8")
    with pytest.raises(AsrkitError, match=r"tuned\.json is damaged .*; delete it, and tune again$"):
        house.decode(lm=house.lm)
    house.decode()  # greedy asks for none


def test_each_choice_has_its_own_folder(house: House) -> None:
    """Also of options that the folder's name has no room for."""
    for options in (
        {},
        {"hotwords": ("ab",)},
        {"hotwords": ("ba",)},
        {"closed_vocab": True},
        {"engine": "pyctcdecode"},
    ):
        house.decode(lm=house.lm, **options)
    house.decode(beam=5)
    names = sorted(path.parent.name for path in house.run.glob("decode/*/report.json"))
    assert len(names) == 6
    assert all(re.fullmatch(r"test-[\w.-]+", name) for name in names)
    assert "test-ab-beam100-alpha0.5-beta1-engine-pyctcdecode" in names


def test_hotwords_are_in_the_report(house: House) -> None:
    (report,) = house.decode(lm=house.lm, hotwords=("ab ba", "b"), hotword_score=2.0)
    assert (report["hotwords"], report["hotword_score"]) == (["ab ba", "b"], 2.0)
    (page,) = house.run.glob("decode/*/report.html")
    assert "ab ba" in page.read_text(encoding="utf-8")


def test_causes_and_n_best_are_of_one_search(house: House) -> None:
    (report,) = house.decode(lm=house.lm, beam=50, n_best=4)
    (folder,) = {path.parent.name for path in house.run.glob("decode/*/report.json")}
    lines = house.hypotheses(folder)
    assert report["causes"] is not None
    assert sum(report["causes"].values()) == sum(line["cause"] is not None for line in lines)
    assert report["oracle_wer"] <= report["wer"]
    for line in lines:
        assert (line["cause"] is None) == (line["hypothesis"].split() == line["reference"].split())
        if set(line["reference"].split()) - {"a", "ab", "b"}:
            assert line["cause"] in (None, "oov")


def test_splits_are_chosen(house: House) -> None:
    told = Told()
    reports = house.decode(splits=["dev", "test"], progress=told)
    assert [report["split"] for report in reports] == ["dev", "test"]
    assert len(told.tables[0][2]) == 2
    with pytest.raises(AsrkitError, match=r"no split 'tset'; did you mean 'test'"):
        house.decode(splits=["tset"])


def test_single_checkpoint_has_its_own_folders(house: House) -> None:
    save_run(house, step=9, seed=3)
    (report,) = house.decode(house.run / "checkpoints" / "00000007")
    assert report["checkpoint_step"] == 7
    assert house.report("test-step7-greedy") == report
    assert house.decode()[0]["checkpoint_step"] == 9


def test_checkpoint_taken_out_of_its_run(house: House) -> None:
    alone = Path(shutil.copytree(house.run / "best", house.root / "models" / "alone"))
    (report,) = house.decode(alone)
    assert report["run"] == "models/alone"
    assert (alone / "decode" / "test-step7-greedy" / "report.json").is_file()


def test_checkpoint_that_knows_no_data_is_refused(house: House) -> None:
    settings = house.run / "checkpoints" / "00000007" / "settings.json"
    known = json.loads(settings.read_text(encoding="utf-8"))
    del known["recipe"]["data"]
    settings.write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(AsrkitError, match="does not say what data it was trained on"):
        house.decode()


def test_weights_without_an_ngram_are_refused(house: House) -> None:
    with pytest.raises(AsrkitError, match=r"^alpha, beta without an n-gram has nothing to weigh; wanted --lm FILE$"):
        house.decode(beam=5, alpha=0.5, beta=1.0)
    with pytest.raises(AsrkitError, match=r"decode\.beam is 0; wanted 1 to 100000"):
        house.decode(lm=house.lm, beam=0)


def test_data_with_another_tokenizer_is_refused(house: House) -> None:
    folder = house.root / "data" / "mine"
    manifest = house.root / "corpus" / "mine.jsonl"
    text = manifest.read_text(encoding="utf-8").replace("abba", "abca")
    shutil.rmtree(folder)
    manifest.write_text(text, encoding="utf-8")
    prepare(RECIPE, data_dir=house.root / "data", manifest=manifest, workers=1)
    with pytest.raises(
        AsrkitError, match=r"prepared with another tokenizer than checkpoint .*; wanted the data as it was"
    ):
        house.decode()


def test_train_text_that_changed_is_warned_of(house: House) -> None:
    folder = house.root / "data" / "mine"
    manifest = house.root / "corpus" / "mine.jsonl"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    shutil.rmtree(folder)
    manifest.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")  # the first is of train
    prepare(RECIPE, data_dir=house.root / "data", manifest=manifest, workers=1)
    told = Told()
    house.decode(progress=told)
    assert any("its train split changed" in line for line in told.warned)
    told = Told()
    save_run(house)
    house.decode(progress=told)
    assert told.warned == []


def spoil(house: House, rows: Sequence[int]) -> None:
    """Overwrites the sound of these test utterances in their shard; sizes stay."""
    folder = house.root / "data" / "mine" / "test"
    table = np.load(folder / "index.npy").astype(INDEX_DTYPE)
    with shard_path(folder, 0).open("r+b") as shard:
        for row in rows:
            shard.seek(int(table[row]["offset"]))
            shard.write(b"\0" * int(table[row]["size"]))


def test_audio_that_cannot_be_read_is_named_and_counted(house: House) -> None:
    spoil(house, [2, 5])
    whole = shard_path(house.root / "data" / "mine" / "test", 0).read_bytes()
    told = Told()
    (report,) = house.decode(progress=told)
    assert (report["utterances"], report["utterances_in_corpus"]) == (6, 9)
    assert report["excluded"] == {"empty text": 1, "unreadable in its shard": 2}
    assert report["words"] == sum(len(text.split()) for number, text in enumerate(TEXTS) if number not in (2, 5))
    keys = [line["key"] for line in house.hypotheses("test-greedy")]
    index = open_data(house.root / "data", "mine").index("test")
    assert keys == [index.record(row)["key"] for row in (0, 1, 3, 4, 6, 7)]
    assert any(str(index.record(2)["key"]) in line for line in told.warned)
    assert any("2 of 8 utterances of test cannot be read and are not scored" in line for line in told.warned)
    assert house.decode()[0]["acoustic_s"] is not None  # a repaired shard must not be answered from what was kept
    assert shard_path(house.root / "data" / "mine" / "test", 0).read_bytes() == whole


def test_split_of_which_nothing_can_be_read_is_refused(house: House) -> None:
    spoil(house, range(8))
    with pytest.raises(AsrkitError, match=r"none of the 8 utterances of .*test can be read"):
        house.decode()


def test_truncated_shard_is_refused(house: House) -> None:
    shard = shard_path(house.root / "data" / "mine" / "test", 0)
    shard.write_bytes(shard.read_bytes()[:-2000])
    with pytest.raises(AsrkitError, match=r"shard-000000\.tar has \d+ bytes"):
        house.decode()


def test_no_run_and_no_ngram(house: House, tmp_path: Path) -> None:
    with pytest.raises(AsrkitError, match="no run in"):
        decode(exp_dir=tmp_path / "nothing")
    with pytest.raises(AsrkitError, match=r"none\.arpa cannot be read"):
        house.decode(lm=tmp_path / "none.arpa")
    assert not (house.run / "decode").exists()


def test_folder_that_may_not_be_written(house: House) -> None:
    (house.run / "decode").write_text("in the way", encoding="utf-8")
    with pytest.raises(AsrkitError, match="log-probs cannot be kept in"):
        house.decode()
