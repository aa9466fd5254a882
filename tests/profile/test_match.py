import pytest

from finegrain.profile.match import match


def keys(*names: str) -> list[tuple[str | None, str | None, str | None]]:
    return [(None if ":" not in name else name.split(":")[0], name.split(":")[-1], None) for name in names]


@pytest.mark.parametrize(
    ("here", "there", "rule"),
    [
        ("rw:PV  List", "rw:pv list", "case and blanks"),
        ("sleep mutex:vm page", "mtx:vm page", "words for one class"),
        ("&zone->lock#3", "zone->lock", "lockdep"),
        ("&(&zone->lock)->rlock", "&zone->lock", "lockdep"),
        ("rw:pv list", "sleep mutex:pv list", "class left out"),
    ],
)
def test_rules_join_what_is_alone_and_say_so(here: str, there: str, rule: str) -> None:
    matched = match([keys(here), keys(there)])
    assert len(matched.rows) == 1
    (note,) = matched.notes
    assert f"{there} is taken for {here}" in note
    assert rule in note


def test_exact_names_come_before_rules() -> None:
    matched = match([keys("rw:a", "sx:a"), keys("sx:a", "rw:a")])
    assert len(matched.rows) == 2
    assert matched.notes == []


def test_a_choice_is_not_made() -> None:
    matched = match([keys("rw:a", "sx:a"), keys("lockmgr:a")])
    assert len(matched.rows) == 3
    assert any("would join more than two" in note for note in matched.notes)


def test_exact_turns_rules_off() -> None:
    assert len(match([keys("rw:A"), keys("rw:a")], exact=True).rows) == 2
