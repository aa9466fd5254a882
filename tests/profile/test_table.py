import polars as pl
import pytest

from finegrain.errors import UserError
from finegrain.profile import table
from finegrain.profile.table import BETWEEN, CORE, Builder


def test_rows_become_a_table_and_what_is_not_given_is_null() -> None:
    builder = Builder(("lock", "wait_us", "stack", "bins"), {"bins": pl.List(pl.Int64())})
    builder.add(("a", 1.5, f"f{BETWEEN}g", f"1{BETWEEN}2"))
    builder.add(("b", None, None, None))
    assert len(builder) == 2
    made = builder.finish()
    assert made.columns == [*CORE, "bins"]
    assert made.select("lock", "wait_us", "stack", "bins", "count").rows() == [
        ("a", 1.5, ["f", "g"], [1, 2], None),
        ("b", None, None, None, None),
    ]


def test_rows_in_several_pieces_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_CHUNK", 3)
    builder = Builder(("line",))
    for line in range(8):
        builder.add((line,))
    assert len(builder) == 8
    assert builder.finish()["line"].to_list() == list(range(8))


def test_no_rows_are_an_empty_table() -> None:
    assert Builder(("line",)).finish().height == 0


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_CHUNK", 2)
    monkeypatch.setattr(table, "MAX_ROWS", 3)
    builder = Builder(("line",))
    for line in range(3):
        builder.add((line,))
    with pytest.raises(UserError, match="more than 3 rows"):
        builder.add((3,))
