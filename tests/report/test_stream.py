import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.report.stream import Lines, csv_pieces, json_pieces

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)


@given(JSON)
def test_pieces_are_the_value(value: Any) -> None:
    assert json.loads("".join(json_pieces(value))) == value


@given(st.lists(JSON, max_size=4))
def test_iterators_are_lists(values: list[Any]) -> None:
    text = "".join(json_pieces({"a": iter(values), "b": Lines(iter(values)), "c": 3}))
    assert json.loads(text) == {"a": values, "b": values, "c": 3}


def test_a_member_and_an_item_have_a_line_each() -> None:
    text = "".join(json_pieces({"a": Lines(iter([{"x": 1}, {"x": 2, "y": [3]}])), "b": iter([])}))
    assert text == '{\n "a": [\n  {"x": 1},\n  {"x": 2, "y": [3]}\n ],\n "b": []\n}'


@pytest.mark.parametrize("count", [0, 1, 4096, 4097, 10_000])
def test_long_lists_are_read_as_they_are_written(count: int) -> None:
    ahead = 0

    def numbers() -> Any:
        nonlocal ahead
        for number in range(count):
            ahead += 1
            yield number

    read = 0
    text = ""
    for piece in json_pieces(Lines(numbers())):
        text += piece
        assert ahead - read <= 4096
        read = text.count("\n")
    assert json.loads(text) == list(range(count))
    lines = "".join(csv_pieces(["n"], ([number] for number in range(count)))).split("\n")
    assert lines == ["n", *map(str, range(count))]


def test_what_is_no_number_of_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        "".join(json_pieces({"a": float("nan")}))
