import pytest

from finegrain.errors import UserError
from finegrain.profile.whatif import Split, parse_split, whatif
from make_profile import BUSY, COUNT, holds_profile


def test_bounds_of_a_split_are_those_of_the_closed_forms() -> None:
    (estimate,) = whatif(BUSY, [Split("pv list", 1, 16)]).estimates
    assert estimate.model_us == pytest.approx(COUNT * 7 * 8.84872, rel=1e-3)
    assert estimate.random_us == pytest.approx(COUNT * 7 * 0.067980, rel=1e-3)
    assert estimate.single_us == pytest.approx(estimate.model_us)
    assert estimate.left(estimate.random_us) == pytest.approx(0.067980 / 8.84872, rel=2e-3)
    assert estimate.wait_us == 5e6


def test_a_name_that_is_many_locks_already() -> None:
    (now,) = whatif(BUSY, [Split("rw:pv list", 16, 16)]).estimates
    assert now.model_us == now.random_us
    assert now.single_us is not None
    assert now.single_us > now.model_us


def test_the_lock_that_saturates_next() -> None:
    answer = whatif(BUSY, [Split("pv list", 1, 16)])
    uses = dict(answer.uses)
    assert uses["rw:pv list"] == pytest.approx(COUNT * 7e-6 / 16)
    assert answer.uses[0] == ("rw:objects", 2.0)
    assert uses["sx:map"] == pytest.approx(0.3)


def test_without_cpus_threads_have_no_end() -> None:
    answer = whatif(holds_profile({"rw:a": (1000, 5e5, None)}, span_s=1.0), [Split("a", 1, 2)])
    (estimate,) = answer.estimates
    assert estimate.model_us == pytest.approx(5e5)  # S rho / (1 - rho) = 500 us each
    assert estimate.random_us == pytest.approx(5e5 / 3)
    assert answer.threads is None


def test_the_threads_are_the_profile_s_own_or_those_given() -> None:
    own, given = (whatif(BUSY, [Split("pv list", 1, 512)], cpus=cpus) for cpus in (None, 16))
    assert (own.threads, own.own_cpus) == (104, True)
    assert (given.threads, given.own_cpus) == (16, False)


@pytest.mark.parametrize(
    ("lock", "more", "why"),
    [
        ("nothing", {}, "no lock 'nothing'"),
        ("pv", {}, "did you mean rw:pv list"),
        ("objects", {}, "2 at a time"),
        ("pv list", {"cpus": 0}, "--cpus 0"),
        ("pv list", {"cpus": 1_000_000}, "--cpus"),
        ("pv list", {"span": 0.9}, "taken for 1 s, and --span says 0.9 s"),
    ],
)
def test_what_cannot_be_is_refused(lock: str, more: dict[str, float], why: str) -> None:
    with pytest.raises(UserError, match=why):
        whatif(BUSY, [Split(lock, 1, 4)], **more)  # type: ignore[arg-type]


def test_a_profile_that_cannot_say_is_refused() -> None:
    with pytest.raises(UserError, match="give --span"):
        whatif(holds_profile({"rw:a": (1, 1.0, None)}), [Split("a", 1, 2)])
    with pytest.raises(UserError, match="no acquisitions or no holds"):
        whatif(holds_profile({"rw:a": (1, None, 3.0)}, span_s=1.0), [Split("a", 1, 2)])


def test_splits() -> None:
    assert parse_split("pmap pv list=512") == Split("pmap pv list", 1, 512)
    assert parse_split("rw:a=b=256:512") == Split("rw:a=b", 256, 512)
    for bad in ("a", "a=", "=3", "a=0", "a=0:3", "a=-3", "a=99999999"):
        with pytest.raises(UserError, match="--split"):
            parse_split(bad)


def test_users_that_keep_to_a_part_of_their_own_do_not_wait() -> None:
    """A lock in eight by user left far less than random use of eight would: no bound but 0 is one."""
    busy = holds_profile({"rw:a": (100_000, 5e5, 7e5)}, span_s=1.0, cpus=8)
    (estimate,) = whatif(busy, [Split("a", 1, 8)]).estimates
    assert estimate.partitioned_us == 0.0
    assert 0.05 < estimate.random_us / estimate.model_us < 0.5
    assert estimate.single_us == pytest.approx(estimate.model_us)


def test_users_with_several_threads_wait_for_their_own() -> None:
    busy = holds_profile({"rw:a": (100_000, 5e5, 7e5)}, span_s=1.0, cpus=8)
    (two,) = whatif(busy, [Split("a", 1, 8)], users=2).estimates
    (half,) = whatif(busy, [Split("a", 1, 2)]).estimates  # two parts of four threads each, whoever they are
    assert two.partitioned_us == pytest.approx(half.partitioned_us)
    assert two.partitioned_us is not None
    assert 0 < two.partitioned_us < two.model_us


def test_cases_without_cpus() -> None:
    endless = holds_profile({"rw:a": (1000, 5e5, None)}, span_s=1.0)
    (estimate,) = whatif(endless, [Split("a", 1, 4)]).estimates
    assert estimate.partitioned_us == 0.0
    (estimate,) = whatif(endless, [Split("a", 1, 4)], users=2).estimates
    assert estimate.partitioned_us == pytest.approx(5e5 / 3)
    (estimate,) = whatif(
        holds_profile({"rw:a": (1000, 3e6, None)}, span_s=1.0), [Split("a", 4, 8)], users=2
    ).estimates
    assert estimate.partitioned_us is None
    assert estimate.single_us is None
    assert estimate.left(estimate.single_us) is None


def test_users_that_cannot_be_are_refused() -> None:
    for users in (0, 105):
        with pytest.raises(UserError, match="--users"):
            whatif(BUSY, [Split("pv list", 1, 4)], users=users)


def test_the_profile_s_evidence_is_asked() -> None:
    counted = holds_profile({"rw:a": (1_000_000, 1e5, None)}, span_s=1.0, cpus=8)
    counted.table = counted.table.with_columns(contended=100)
    (estimate,) = whatif(counted, [Split("a", 16, 64)]).estimates
    assert [(one.kind, one.case) for one in estimate.evidence] == [("contended", "partitioned")]


def test_a_lock_is_split_once() -> None:
    with pytest.raises(UserError, match="rw:pv list is split twice"):
        whatif(BUSY, [Split("pv list", 1, 4), Split("rw:pv list", 1, 8)])
