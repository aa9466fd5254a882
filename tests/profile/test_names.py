import pytest

from finegrain.profile.names import RULES, full_name


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
    normal = RULES[rule][1]
    assert (normal(*here) == normal(*there)) is same
