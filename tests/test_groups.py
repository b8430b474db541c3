"""What error rates are broken down by."""

from typing import Any

from asrkit.groups import groups_of


def records(**columns: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_fields_with_2_to_12_values_are_groups() -> None:
    number = range(13)
    found = groups_of(
        records(
            one=["same"] * 13,
            two=["a", "b"] * 6 + ["a"],
            twelve=[f"v{min(n, 11)}" for n in number],
            thirteen=[f"v{n}" for n in number],
        )
    )
    assert found[0] == {"two": "a", "twelve": "v0"}
    assert found[12] == {"two": "a", "twelve": "v11"}


def test_no_value_counts_as_one_and_is_left_out() -> None:
    assert groups_of([{"unfit": "unclear"}, {"unfit": None}, {}]) == [{"unfit": "unclear"}, {}, {}]


def test_values_are_as_json_writes_them() -> None:
    found = groups_of(records(text_in_train=[True, False], distance_m=[1, 2.5], tags=[["x"], []]))
    assert found == [
        {"text_in_train": "true", "distance_m": "1", "tags": '["x"]'},
        {"text_in_train": "false", "distance_m": "2.5", "tags": "[]"},
    ]


def test_speaker_and_gender_are_always_there() -> None:
    found = groups_of(records(speaker=[f"s{n}" for n in range(20)], gender=["f"] * 20))
    assert found[7] == {"speaker": "s7", "gender": "f"}


def test_many_measured_values_are_put_into_ranges() -> None:
    found = groups_of(
        records(distance_m=[0.5 * n for n in range(15)] + [None], number=[*range(16)], snr_db=[True] * 16)
    )
    # quartiles of 0, 0.5 ... 7: 1.75, 3.5 and 5.25
    wanted = ["below 1.75"] * 4 + ["1.75 to 3.5"] * 3 + ["3.5 to 5.25"] * 4 + ["5.25 or more"] * 4
    assert found == [*({"distance_m": each} for each in wanted), {}]


def test_what_is_called_condition_is_always_a_group() -> None:
    found = groups_of(records(condition=[f"place {n}" for n in range(30)]))
    assert found[29] == {"condition": "place 29"}


def test_what_the_index_and_the_report_own_are_no_groups() -> None:
    names = (
        "key shard offset size samples labels frames text text_raw pronunciation notes duration_s duration errors score"
    )
    assert groups_of([dict.fromkeys(names.split(), "a"), dict.fromkeys(names.split(), "b")]) == [{}, {}]
