import pytest

from finegrain.profile.names import CLASS_LEFT_OUT, NAME_RULES, SITE_RULES, full_name, ordinal


@pytest.mark.parametrize(
    ("lock_class", "lock", "name"),
    [("rw", "a b", "rw:a b"), (None, "a", "a"), ("rw", None, "rw"), (None, None, "?"), ("", "a", "a")],
)
def test_full_names(lock_class: str | None, lock: str | None, name: str) -> None:
    assert full_name(lock_class, lock) == name


@pytest.mark.parametrize(
    ("rule", "here", "there", "same"),
    [
        (0, ("rw", "PV  List"), ("rw", "pv list"), True),
        (0, ("rw", "a"), ("sx", "a"), False),
        (1, ("sleep mutex", "a"), ("mtx", "A"), True),
        (1, ("rwlock", "a"), ("mtx", "a"), False),
        (2, ("mtx", "&(&zone->lock)->rlock"), ("sleep mutex", "&zone->lock#3"), True),
        (2, (None, "f+0x10"), (None, "f+0x20"), True),
        (2, (None, "a"), ("rw", "a"), False),
        (3, (None, "a"), ("rw", "a"), True),
        (3, (None, "a"), ("rw", "b"), False),
    ],
)
def test_what_each_rule_takes_for_one_lock(
    rule: int, here: tuple[str | None, str], there: tuple[str | None, str], same: bool
) -> None:
    normal = (*NAME_RULES, CLASS_LEFT_OUT)[rule][1]
    assert (normal(*here) == normal(*there)) is same


@pytest.mark.parametrize(
    ("rule", "here", "there", "same"),
    [
        (0, "do_fault+0x20", "do_fault+0x3c/0x110", True),
        (0, "do_fault.isra.0+0x20", "do_fault.constprop.1.isra.3", True),
        (0, "pmap.c:12", "pmap.c:13", False),
        (1, "/usr/src/pmap.c:12", "/usr/src/pmap.c:1300", True),
        (1, "/usr/src/pmap.c:12", "/home/me/pmap.c:12", False),
        (2, "/usr/src/pmap.c:12", "/home/me/pmap.c:13", True),
        (2, "/usr/src/pmap.c:12", "/usr/src/uma.c:12", False),
    ],
)
def test_what_each_rule_takes_for_one_place(rule: int, here: str, there: str, same: bool) -> None:
    normal = SITE_RULES[rule][1]
    assert (normal(here) == normal(there)) is same


def test_where_in_its_function_or_file_a_place_is() -> None:
    assert [ordinal(site) for site in ("f+0x20/0x99", "a.c:77", "f", None)] == [32, 77, 0, 0]
