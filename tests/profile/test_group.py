import pytest

from finegrain.profile.group import Key, grouped
from finegrain.profile.table import Builder, Profile

FIELDS = ("lock_class", "lock", "site", "role", "count", "contended", "wait_us", "wait_max_us", "hold_us")


def profile(*rows: tuple[object, ...]) -> Profile:
    builder = Builder(FIELDS)
    for row in rows:
        builder.add(row)
    return Profile(source="p", format="test", system="test", table=builder.finish())


ROWS = (
    ("rw", "a", "f", "site", 10, 2, 5.0, 4.0, 30.0),
    ("rw", "a", "g", "site", 30, 3, 7.0, 3.0, 10.0),
    ("rw", "b", "f", "site", 5, None, 1.0, None, None),
    ("sx", "a", "f", "site", 1, 0, None, None, None),
)


def figures(by: str, *rows: tuple[object, ...]) -> dict[str, tuple[object, ...]]:
    table = grouped(profile(*rows), by).table
    return {
        row["name"]: (row["count"], row["contended"], row["wait_us"], row["wait_max_us"])
        for row in table.to_dicts()
    }


def test_rows_add_up_and_what_nothing_tells_stays_untold() -> None:
    assert figures("lock", *ROWS) == {
        "rw:a": (40, 5, 12.0, 4.0),
        "rw:b": (5, None, 1.0, None),
        "sx:a": (1, 0, None, None),
    }
    assert figures("class", *ROWS) == {"rw": (45, 5, 13.0, 4.0), "sx": (1, 0, None, None)}
    assert list(figures("site", *ROWS)) == ["rw:a at g", "rw:a at f", "rw:b at f", "sx:a at f"]
    assert len(figures("row", *ROWS)) == 4


def test_means_are_of_waits_where_they_are_counted_else_of_acquisitions() -> None:
    table = {row["name"]: row for row in grouped(profile(*ROWS)).table.to_dicts()}
    assert table["rw:a"]["wait_avg_us"] == pytest.approx(12 / 5)
    assert table["rw:b"]["wait_avg_us"] == pytest.approx(1 / 5)
    assert table["rw:a"]["hold_avg_us"] == pytest.approx(1.0)
    assert table["sx:a"]["wait_avg_us"] is None


def test_points_of_a_lock_are_no_locks_of_their_own() -> None:
    rows = (
        ("rw", "a", None, "lock", 10, 2, 5.0, 4.0, None),
        ("rw", "a", "f", "waiter", 9, 2, 4.0, 4.0, None),
        ("rw", "a", "g", "holder", None, None, 3.0, None, None),
    )
    assert figures("lock", *rows) == {"rw:a": (10, 2, 5.0, 4.0)}
    assert figures("site", *rows) == {"rw:a at f": (9, 2, 4.0, 4.0)}
    holders = grouped(profile(rows[0], rows[2]), "site")
    assert holders.table["name"].to_list() == ["rw:a at g"]
    assert "those of the holders" in holders.notes[0]


def test_what_is_not_told_falls_back_and_says_so() -> None:
    locks = grouped(profile(("rw", "a", None, "lock", 1, 1, 1.0, 1.0, 1.0)), "site")
    assert (locks.by, locks.notes) == ("lock", ["no acquisition points are told: rows are locks"])
    callers = grouped(profile((None, None, "f", "task", 1, 1, 1.0, 1.0, 1.0)), "lock")
    assert (callers.by, callers.notes) == ("site", ["no names of locks are told: rows are threads"])


def test_names_of_rows() -> None:
    assert Key("rw", "a", None).name == "rw:a"
    assert Key("rw", "a", "f").name == "rw:a at f"
    assert Key(None, None, "f").name == "f"
    assert Key("rw", "a", None, "read").name == "rw:a (read)"
    assert Key("rw", None, "f").name == "rw at f"
