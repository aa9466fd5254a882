import pytest

from finegrain.errors import UserError
from finegrain.profile.group import Key
from finegrain.profile.match import match


def keys(*names: str) -> list[Key]:
    return [Key(None if ":" not in name else name.split(":")[0], name.split(":")[-1]) for name in names]


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
    (join,) = matched.joins
    assert (join.ours, join.theirs) == (here, there)
    assert rule in join.rule


def test_exact_names_come_before_rules() -> None:
    matched = match([keys("rw:a", "sx:a"), keys("sx:a", "rw:a")])
    assert len(matched.rows) == 2
    assert matched.joins == matched.apart == []


def test_a_choice_is_not_made() -> None:
    matched = match([keys("rw:a", "sx:a"), keys("lockmgr:a")])
    assert len(matched.rows) == 3
    assert [(apart.rule, apart.names) for apart in matched.apart] == [
        ("class left out", ("lockmgr:a", "rw:a", "sx:a"))
    ]


def test_exact_turns_rules_off() -> None:
    assert len(match([keys("rw:A"), keys("rw:a")], exact=True).rows) == 2


def sites(*names: str) -> list[Key]:
    return [Key("rw", "a", name) for name in names]


def test_a_class_never_stands_for_another() -> None:
    for here, there, rows in (("rw", "sx", 2), ("rw", None, 2), ("sleep mutex", "MTX", 1)):
        assert len(match([[Key(here)], [Key(there)]]).rows) == rows
    for here, there, rows in (("rw", "sx", 2), ("rw", None, 1)):
        assert len(match([[Key(here, None, "f")], [Key(there, None, "f")]]).rows) == rows


def test_modes_are_kept_apart() -> None:
    assert len(match([[Key("rw", "a", None, "read")], [Key("rw", "A", None, "write")]]).rows) == 2


@pytest.mark.parametrize(
    ("here", "there", "rule"),
    [
        ("do_fault+0x20", "do_fault+0x3c", "offsets"),
        ("/usr/src/pmap.c:12", "/usr/src/pmap.c:14", "line numbers left out"),
        ("/usr/src/pmap.c:12", "/home/me/pmap.c:14", "directories"),
    ],
)
def test_code_that_moved_is_joined_by_rule(here: str, there: str, rule: str) -> None:
    matched = match([sites(here), sites(there)])
    assert len(matched.rows) == 1
    (join,) = matched.joins
    assert rule in join.rule


def test_as_many_places_here_as_there_are_joined_in_their_order() -> None:
    matched = match([sites("f.c:900", "f.c:1000"), sites("f.c:1020", "f.c:907")])
    assert [[key and key.site for key in row] for row in matched.rows] == [
        ["f.c:900", "f.c:907"],
        ["f.c:1000", "f.c:1020"],
    ]
    matched = match([sites("f.c:9", "f.c:10"), sites("f.c:7", "f.c:11", "f.c:12")])
    assert len(matched.rows) == 5
    assert matched.apart


def test_a_place_that_stands_where_another_did_is_not_that_one() -> None:
    matched = match([sites("f.c:100", "f.c:107", "f.c:9"), sites("f.c:107", "f.c:114", "f.c:9")])
    assert sorted((key.site, row[1] and row[1].site) for row in matched.rows if (key := row[0])) == [
        ("f.c:100", "f.c:107"),
        ("f.c:107", "f.c:114"),
        ("f.c:9", "f.c:9"),
    ]
    assert [(join.ours, join.theirs) for join in matched.joins] == [
        ("rw:a at f.c:100", "rw:a at f.c:107"),
        ("rw:a at f.c:107", "rw:a at f.c:114"),
    ]
    exact = match([sites("f.c:100", "f.c:107"), sites("f.c:107", "f.c:114")], exact=True)
    assert len(exact.rows) == 3
    assert match([sites("f.c:1", "f.c:2"), sites("f.c:2", "f.c:1")]).joins == []


def test_a_place_that_was_renamed() -> None:
    before, after = [[Key("rw", "a", site), Key("rw", "a", "g")] for site in ("old", "new")]
    matched = match([before, after], same=["rw:a at old=rw:a at new"])
    assert [len([key for key in row if key]) for row in matched.rows] == [2, 2]


def test_a_third_profile_joins_what_the_second_is_called() -> None:
    matched = match([keys("rw:A"), keys("rw:a"), keys("rw:a")])
    assert len(matched.rows) == 1
    assert [join.rule for join in matched.joins] == ["case and blanks"]


def test_a_lock_that_was_renamed() -> None:
    before, after = keys("rw:pv list", "sx:map"), keys("rw:pv=superpage", "sx:map")
    for same in ("rw:pv list=rw:pv=superpage", "pv list=pv=superpage", "pv=superpage=pv list"):
        matched = match([before, after], same=[same])
        assert matched.rows[0] == [before[0], after[0]]
        assert [(join.rule, join.ours, join.theirs) for join in matched.joins] == [
            ("--same", "rw:pv list", "rw:pv=superpage")
        ]
    matched = match([sites("f.c:9"), [Key("mutex", "b", "f.c:10")]], same=["a=b"])
    assert len(matched.rows) == 1


@pytest.mark.parametrize(
    ("same", "why"),
    [
        ("a", "write OLD=NEW"),
        ("a=x", "no profile has a lock 'x'"),
        ("x=a", "no profile has a lock 'x'"),
        ("a=b", "has both"),
        ("a=c", "is rw:c, sx:c; give the class"),
    ],
)
def test_what_cannot_be_the_same_is_refused(same: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        match([keys("rw:a", "rw:b"), keys("rw:c", "sx:c")], same=[same])
