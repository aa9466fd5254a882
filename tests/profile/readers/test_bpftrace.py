import pytest

from finegrain.errors import UserError
from read_sample import read, rows


def test_a_site_is_the_first_function_that_is_no_lock_s_own() -> None:
    text = "@wait[\n    __mutex_lock.constprop.0+5\n    mutex_lock+56\n    pipe_read+12\n    vfs_read+3\n]: 1234567\n"
    assert rows(text, "site", "wait_us", "event") == [("pipe_read+12", 1234.567, "@wait")]
    assert rows(text, "stack") == [
        (["__mutex_lock.constprop.0+5", "mutex_lock+56", "pipe_read+12", "vfs_read+3"],)
    ]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("", "7", ("count", 7)),
        ("contended", "7", ("contended", 7)),
        ("wait_count", "7", ("contended", 7)),
        ("wait_us", "7", ("wait_us", 7.0)),
        ("hold_ms", "7", ("hold_us", 7000.0)),
        ("max_wait", "7", ("wait_max_us", 0.007)),
        ("wait_ns", "count 3, average 2000, total 6000", ("wait_us", 6.0)),
        ("wait_ns", "count 3, average 2000, total 6000", ("contended", 3)),
    ],
)
def test_what_a_map_holds_shows_from_its_name(name: str, value: str, wanted: tuple[str, float]) -> None:
    assert rows(f"@{name}[\n f+1\n]: {value}\n", wanted[0]) == [(wanted[1],)]


def test_keys_beside_a_stack() -> None:
    text = "@wait[\n f+1\n g+2\n, cc1, 77]: 5000\n@wait[\n f+1\n g+2\n, ld, 78]: 6000\n"
    assert [p.table["wait_us"].to_list() for p in read(text).profiles] == [[5.0, 6.0]]
    assert rows("@wait_ns[0xffff888100]: 5000\n@wait_ns[cc1]: 1\n", "role", "lock", "site") == [
        ("lock", "0xffff888100", None),
        ("task", None, "cc1"),
    ]


def test_maps_that_are_no_profile_of_locks_are_refused_by_what_would_be() -> None:
    with pytest.raises(UserError, match=r"a histogram has no locks: .*@wait\[kstack\]"):
        read("@usecs: \n[1, 2)        12 |@@@@    |\n[2, 4)       3 |@    |\n")
    with pytest.raises(UserError, match="no lock profile"):
        read("@[bash]: 12\n@[cron]: 13\n")


def test_an_entry_that_was_cut_does_not_take_the_one_below() -> None:
    file = read("@wait[\n f+1\n g+2\n@wait[\n h+1\n]: 6000\n")
    assert file.profiles[0].table.select("site", "wait_us").rows() == [("h+1", 6.0)]
    assert [(skip.first, skip.last, skip.why) for skip in file.skipped] == [(1, 3, "entry cut short")]


def test_a_stack_again_is_another_dump() -> None:
    entry = "@wait[\n {}+1\n]: {}\n".format
    text = entry("f", 5000) + entry("g", 6000)
    assert [p.table["wait_us"].to_list() for p in read(text + entry("f", 7000)).profiles] == [[5, 6], [7]]
    assert [p.table["wait_us"].to_list() for p in read(text + entry("g", 6000)).profiles] == [[5, 6]]
    other = text.replace("@wait", "@hold")
    assert [p.table.height for p in read(text + other + entry("h", 1)).profiles] == [4, 1]


def test_a_web_page_s_line_ends_are_no_functions() -> None:
    text = "<pre>Attaching 1 probe...<br>\n@wait[<br>\n    f+1<br>\n]: 9000<br>\n</pre>\n"
    assert rows(text, "stack", "wait_us") == [(["f+1"], 9.0)]
