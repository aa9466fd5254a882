import json

import pytest

from finegrain.errors import UserError
from finegrain.profile.queueing import closed, open_wait, think_time
from finegrain.profile.table import Builder, Profile
from finegrain.profile.whatif import Split, as_json, parse_split, text, whatif

# N, r = Z/S, K, X S, W/S: the tables of M/M/1//N and of exact MVA for K equal locks
TABLE = [
    (1, 10, 1, 0.0909091, 0.0),
    (2, 1, 1, 0.8, 0.5),
    (8, 10, 1, 0.661682, 1.09041),
    (104, 10, 1, 1.0, 93.0),
    (104, 100, 1, 0.946757, 8.84872),
    (104, 1000, 1, 0.103884, 0.114543),
    (104, 0, 16, 13.983193, 6.4375),
    (104, 1, 256, 46.825781, 0.220999),
    (104, 10, 16, 8.583796, 1.115852),
    (104, 100, 256, 1.029662, 0.003999),
]


@pytest.mark.parametrize(("threads", "think", "locks", "rate", "wait"), TABLE)
@pytest.mark.parametrize("hold", [1.0, 7.5])
def test_closed_forms(threads: int, think: float, locks: int, rate: float, wait: float, hold: float) -> None:
    found_rate, found_wait = closed(threads, locks, hold, think * hold)
    assert found_rate * hold == pytest.approx(rate, rel=6e-6)
    assert found_wait / hold == pytest.approx(wait, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize(("threads", "think", "locks"), [(8, 10.0, 1), (104, 100.0, 1), (104, 3.0, 16)])
def test_thinking_is_found_from_the_rate(threads: int, think: float, locks: int) -> None:
    rate, _ = closed(threads, locks, 2.0, think)
    assert think_time(threads, locks, 2.0, rate) == pytest.approx(think, rel=1e-6)


def test_a_rate_that_cannot_be_has_no_thinking() -> None:
    assert think_time(4, 1, 2.0, 0.5) is None
    assert think_time(4, 1, 2.0, 0.49) is not None


def test_threads_without_end() -> None:
    assert open_wait(1, 2.0, 0.25) == 2.0
    assert open_wait(2, 2.0, 0.5) == 2.0
    assert open_wait(1, 2.0, 0.5) is None


def profile(locks: dict[str, tuple[int | None, float | None, float | None]], **more: object) -> Profile:
    """A profile of `class:name` -> (acquisitions, hold, wait)."""
    builder = Builder(("lock_class", "lock", "role", "count", "hold_us", "wait_us"))
    for name, (count, hold, wait) in locks.items():
        lock_class, _, lock = name.partition(":")
        builder.add((lock_class, lock, "lock", count, hold, wait))
    return Profile(source="p", format="test", system="test", table=builder.finish(), **more)  # type: ignore[arg-type]


# One second, 104 threads, Z/S = 100 at 7 us a hold: 135,251 acquisitions, each waiting 8.84872 holds.
RATE = closed(104, 1, 7.0, 700.0)[0]
COUNT = round(RATE * 1e6)
BUSY = profile(
    {"rw:pv list": (COUNT, COUNT * 7.0, 5e6), "sx:map": (1000, 3e5, 1.0), "rw:objects": (10, 2e6, None)},
    span_s=1.0,
    cpus=104,
)


def test_bounds_of_a_split_are_those_of_the_closed_forms() -> None:
    (estimate,) = whatif(BUSY, [Split("pv list", 1, 16)]).estimates
    assert estimate.model_us == pytest.approx(COUNT * 7 * 8.84872, rel=1e-3)
    assert estimate.uniform_us == pytest.approx(COUNT * 7 * 0.067980, rel=1e-3)
    assert estimate.single_us == pytest.approx(estimate.model_us)
    assert estimate.left == pytest.approx(0.067980 / 8.84872, rel=2e-3)
    assert estimate.wait_us == 5e6


def test_a_name_that_is_many_locks_already() -> None:
    (now,) = whatif(BUSY, [Split("rw:pv list", 16, 16)]).estimates
    assert now.model_us == now.uniform_us
    assert now.single_us is not None
    assert now.single_us > now.model_us


def test_the_lock_that_saturates_next() -> None:
    answer = whatif(BUSY, [Split("pv list", 1, 16)])
    uses = dict(answer.uses)
    assert uses["rw:pv list"] == pytest.approx(COUNT * 7e-6 / 16)
    page = text(answer)
    assert "Saturates next: sx:map, held 30.00% of the time: full at 3.33 x" in page
    assert "rw:objects (2 at a time)" in page


def test_without_cpus_threads_have_no_end() -> None:
    answer = whatif(profile({"rw:a": (1000, 5e5, None)}, span_s=1.0), [Split("a", 1, 2)])
    (estimate,) = answer.estimates
    assert estimate.model_us == pytest.approx(5e5)  # S rho / (1 - rho) = 500 us each
    assert estimate.uniform_us == pytest.approx(5e5 / 3)
    assert "without end" in text(answer)


def test_assumptions_are_printed_and_json_holds_everything() -> None:
    answer = whatif(BUSY, [Split("pv list", 1, 512), Split("sx:map", 1, 2)], cpus=16, span=10.0)
    page = text(answer)
    assert "exclusive" in page
    assert "16 threads" in page
    document = json.loads(as_json(answer))
    assert [split["then"] for split in document["splits"]] == [512, 2]
    assert document["span_s"] == 10.0


@pytest.mark.parametrize(
    ("lock", "more", "why"),
    [
        ("nothing", {}, "no lock 'nothing'"),
        ("pv", {}, "did you mean rw:pv list"),
        ("objects", {}, "2 at a time"),
        ("pv list", {"cpus": 0}, "--cpus 0"),
        ("pv list", {"cpus": 1_000_000}, "--cpus"),
        ("pv list", {"span": 0.9}, "at a time"),
    ],
)
def test_what_cannot_be_is_refused(lock: str, more: dict[str, float], why: str) -> None:
    with pytest.raises(UserError, match=why):
        whatif(BUSY, [Split(lock, 1, 4)], **more)  # type: ignore[arg-type]


def test_a_profile_that_cannot_say_is_refused() -> None:
    with pytest.raises(UserError, match="give --span"):
        whatif(profile({"rw:a": (1, 1.0, None)}), [Split("a", 1, 2)])
    with pytest.raises(UserError, match="no acquisitions or no holds"):
        whatif(profile({"rw:a": (1, None, 3.0)}, span_s=1.0), [Split("a", 1, 2)])


def test_splits() -> None:
    assert parse_split("pmap pv list=512") == Split("pmap pv list", 1, 512)
    assert parse_split("rw:a=b=256:512") == Split("rw:a=b", 256, 512)
    for bad in ("a", "a=", "=3", "a=0", "a=0:3", "a=-3", "a=99999999"):
        with pytest.raises(UserError, match="--split"):
            parse_split(bad)
