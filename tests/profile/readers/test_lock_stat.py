import pytest

from finegrain.errors import UserError
from finegrain.profile.group import grouped
from read_sample import read, rows

HEAD_3 = (
    "class name con-bounces contentions waittime-min waittime-max waittime-total acq-bounces acquisitions "
)
HEAD_3 += "holdtime-min holdtime-max holdtime-total"


def test_lock_stat_with_line_numbers_as_the_kernel_s_own_manual_prints_it() -> None:
    text = "01 lock_stat version 0.3\n02-------\n03 " + HEAD_3 + "\n04-------\n05\n"
    text += "06  &a->sem-W: 1 2 0.10 0.20 0.30 4 5 0.60 0.70 0.80\n07  -------\n"
    text += "08  &a->sem  3  [<ffffffff81502a70>] f+0x1/0x2 [kvm]\n"
    found = rows(text, "lock", "mode", "role", "contended", "wait_us", "site")
    assert found == [
        ("&a->sem", "write", "lock", 2, 0.3, None),
        ("&a->sem", None, "waiter", 3, None, "f+0x1/0x2 [kvm]"),
    ]


def test_lock_stat_digits_that_begin_a_line_are_no_line_numbers() -> None:
    text = f"lock_stat version 0.3\n{HEAD_3}\na_lock:  1 2\n0.57 0.60 0.70 4 5\n0.43 0.60 0.80\n"
    assert rows(text, "wait_min_us", "hold_min_us") == [(0.57, 0.43)]


def test_lock_stat_row_cut_at_the_end_is_told_not_guessed() -> None:
    file = read(
        f"lock_stat version 0.3\n{HEAD_3}\na_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\nb_lock: 1 2 0.1 0.2 0.3 4\n"
    )
    assert len(file.profiles[0].table) == 1
    assert [(skip.first, skip.why) for skip in file.skipped] == [(4, "row cut short")]


def test_lock_stat_a_point_s_name_may_stand_alone_on_its_line() -> None:
    """A mail program that breaks lines leaves the name of a long point without its count."""
    text = f"lock_stat version 0.3\n{HEAD_3}\n(w)(&(&a)->lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n----\n"
    point = "(w)(&(&a)->lock\n3  [<ffffffff81502a70>] f+0x1/0x2\n"
    found = rows(text + point + "----\n" + point, "role", "contended", "site")
    assert found[1:] == [("waiter", 3, "f+0x1/0x2"), ("holder", 3, "f+0x1/0x2")]
    file = read(text + "(w)(&(&a)->lock\nsomething else\n")
    assert [skip.why for skip in file.skipped] == ["point cut short", "not part of a profile"]


@pytest.mark.parametrize(
    "numbers", ["1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8", "1 2 0.1 0.2 0.3 0.4 5 6 0.7 0.8 0.9 1.0"]
)
def test_lock_stat_without_its_heading(numbers: str) -> None:
    assert rows(f"&(&zone->lock)->rlock: {numbers}", "lock", "contended", "wait_us") == [
        ("&(&zone->lock)->rlock", 2, 0.3)
    ]


def test_lock_stat_as_a_diff_is_the_two_dumps() -> None:
    row = "{} {}_lock: 1 2 0.1 0.2 {} 4 5 0.6 0.7 0.8\n".format
    text = f"lock_stat version 0.3\n{HEAD_3}\n"
    file = read(text + row("-", "a", 0.3) + row("+", "a", 0.4) + row(" ", "b", 5.0) + row("+", "c", 6.0))
    assert [p.table.select("lock", "wait_us").rows() for p in file.profiles] == [
        [("a_lock", 0.3), ("b_lock", 5.0)],
        [("a_lock", 0.4), ("b_lock", 5.0), ("c_lock", 6.0)],
    ]
    assert [p.label for p in file.profiles] == ["1", "2"]
    # marks on every line are of a mail, not of a diff
    assert [p.table.height for p in read(text + row("-", "a", 0.3) + row("-", "b", 0.4)).profiles] == [2]
    assert any("diff" in note for note in file.notes["Linux lock_stat"])


def test_lock_stat_heading_broken_within_a_word_and_columns_left_out() -> None:
    text = "class name con-bounces contentions waittime-min waittime-max waittime-total acq-b\n"
    text += "ounces acquisitions holdtime-min holdtime-max holdtime-total\na_lock: 1 2 0.1 0.2 0.3\n4 5 0.6 0.7 0.8\n"
    assert rows(text, "wait_us", "acq_bounces") == [(0.3, 4)]
    text = "class name con-bounces contentions waittime-min ...\nb_lock: 1 2 0.27 ...\n"
    assert rows(text, "contended", "wait_min_us", "wait_us") == [(2, 0.27, None)]


def test_lock_stat_the_same_class_and_mode_again_is_another_dump() -> None:
    row = "{}: 1 2 0.1 0.2 {} 4 5 0.6 0.7 0.8\n".format
    point = "a_lock 3 [<ffffffff81502a70>] f+0x1/0x2\n"
    text = f"lock_stat version 0.3\n{HEAD_3}\n" + row("a_lock-W", 1.5) + row("a_lock-R", 2.5) + point
    file = read(text + row("a_lock-W", 3.5) + row("a_lock-R", 4.5) + point)
    found = [p.table.filter(p.table["role"] == "lock")["wait_us"].to_list() for p in file.profiles]
    assert found == [[1.5, 2.5], [3.5, 4.5]]
    assert [p.table.height for p in file.profiles] == [3, 3]
    assert "line 6 has the lock of line 3 again: a new dump begins there" in file.notes["Linux lock_stat"]


def test_lock_stat_names_that_the_kernel_cut_may_be_those_of_two_classes() -> None:
    name = "(work_completion)(&(&device->work_of_a)" + ": 1 2 0.1 0.2 {} 4 5 0.6 0.7 0.8\n"
    text = (
        f"lock_stat version 0.3\n{HEAD_3}\n" + name.format(1.5) + "b_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n"
    )
    assert [p.table.height for p in read(text + name.format(2.5)).profiles] == [3]


@pytest.mark.parametrize("row", ["cpu0: 1 2 3 4 5 6 7 8 9 10", "eth0: 0 1 2 3 4 5 6 7 8 9 10 11"])
def test_whole_numbers_after_a_name_are_no_lock_stat(row: str) -> None:
    with pytest.raises(UserError, match="no lock profile"):
        read(f"{row}\n" * 3)
    # nor are they one under its heading
    file = read(f"lock_stat version 0.3\n{HEAD_3}\na_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n{row}\n")
    assert file.profiles[0].table["lock"].to_list() == ["a_lock"]


CLASS = f"lock_stat version 0.3\n{HEAD_3}\na_lock: 1 2 0.1 0.2 0.3 4 5 0.6 0.7 0.8\n"
RULE = "------\n"


def points(*numbers: int) -> str:
    return "".join(f"a_lock {number} [<ffffffff81502a70>] f{number}+0x1/0x2\n" for number in numbers)


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        (RULE + points(1, 2) + RULE + points(3), ["waiter", "waiter", "holder"]),
        (points(1, 2) + RULE + points(3), ["waiter", "waiter", "holder"]),
        (RULE + points(1, 2), ["waiter", "waiter"]),  # and then the text is cut
        (points(1, 2, 3), ["point"] * 3),
        (RULE + points(1, 2, 3, 4, 5), ["point"] * 5),
        (points(1) + RULE + points(2) + RULE + points(3), ["point"] * 3),
        (points(1) + "......\n", ["point"]),
    ],
)
def test_lock_stat_points_without_rules_are_of_no_known_role(text: str, roles: list[str]) -> None:
    for quote in ("", "> "):
        mail = "".join(quote + line for line in (CLASS + text).splitlines(keepends=True))
        assert rows(mail, "role") == [("lock",), *[(role,) for role in roles]]
        notes = read(mail).notes["Linux lock_stat"]
        assert any("rules between lists" in note for note in notes) == ("point" in roles)
        (profile,) = read(mail).profiles
        assert grouped(profile, "lock").table["contended"].to_list() == [2]
