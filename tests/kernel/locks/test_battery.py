"""What every kind of lock promises, held against each: exclusion, no lost wake-ups, adaptive spinning, priority lent
along chains of owners, owners that can be asserted, misuse refused, exact accounts."""

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest

from finegrain.lab.profile import read_charged, read_profile
from finegrain.machine.costs import CostModel
from finegrain.machine.errors import KernelPanic
from kernel.scripts import PAUSES_ONLY, US, Play, Played, expected_look, hold, later

MS = 1000 * US
LENDING = ["mtx", "mtx8", "bit2", "rw"]  # block on a turnstile
BLOCKING = [*LENDING, "sx"]  # leave the CPU to wait
EVERY = [*BLOCKING, "spin"]
PAIRS = list(product(LENDING, repeat=2))
CLASSES = {"mtx": "sleep mutex", "spin": "spin mutex"}
SLICED = replace(PAUSES_ONLY, time_slice=1.0)  # a look at the run queue after every millisecond of user time

Script = list[tuple[Any, ...]]


def sections(p: Played, locks: int) -> list[list[tuple[int, int, int]]]:
    """By lock: from when, until when and by whom it was held, in order."""
    since: dict[tuple[int, int], int] = {}
    held: list[list[tuple[int, int, int]]] = [[] for _ in range(locks)]
    for begin, end, script, index, op, result in p.trace:
        if op in ("lock", "trylock") and result:
            since[script, p.scripts.scripts[script][index][1]] = end
        elif op == "unlock":
            lock = p.scripts.scripts[script][index][1]
            held[lock].append((since.pop((script, lock)), begin, script))
    assert not since
    return [sorted(spans) for spans in held]


def exclude(spans: list[tuple[int, int, int]]) -> bool:
    return all(end <= begin for (_, end, _), (begin, _, _) in pairwise(spans))


# --- exclusion, and no lost wake-ups


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("cpus", [1, 3, 8])
def test_one_at_a_time_and_everybody_has_a_turn(play: Play, kind: str, cpus: int) -> None:
    how = "charge" if kind == "spin" else "user"
    costs = replace(CostModel(), time_slice=50_000.0)
    threads = [later(i, (hold(30 + 7 * i, i % 2, how) + hold(1, 1, how)) * 4) for i in range(9)]
    p = play([kind] * 2, *threads, cpus=cpus, costs=costs)
    first, second = sections(p, 2)
    assert (len(first), len(second)) == (4 * 5, 4 * (4 + 9))
    assert exclude(first)
    assert exclude(second)


@pytest.mark.parametrize("kind", BLOCKING)
def test_no_wake_up_is_lost_however_the_waiter_meets_the_owner(play: Play, kind: str) -> None:
    """The owner leaves its CPU at 30 us and comes back at 60; waiters come at every moment around both, and go on."""
    costs = replace(CostModel(), probe=0.0)
    for ns in (*range(29_000, 31_000, 100), *range(58_000, 66_000, 250)):
        owner: Script = [("lock", 0), ("charge", 30 * US), ("park",), ("unlock", 0)]
        waiters = [[("charge", (ns + 13 * i) * 1000), *hold(0)] for i in range(3)]
        p = play([kind], owner, later(60, [("unpark", 0)]), *waiters, costs=costs)
        assert p.machine.threads == 0
        assert len(p.order("unlock")) == 4


@pytest.mark.parametrize("kind", BLOCKING)
@pytest.mark.parametrize("moment", [30, 60], ids=["it leaves", "it is back"])
def test_no_wake_up_is_lost_at_whatever_step_they_meet(play: Play, kind: str, moment: int) -> None:
    """Nothing takes time, so from the moment on all take turns at every step; steps of nothing shift them."""
    owner: Script = [("lock", 0), ("charge", 30 * US), ("park",), ("unlock", 0)]
    for steps, lead in product(range(14), (0, 1, 5)):
        nothing: Script = [("charge", 0)] * steps
        waiters = [
            later(moment, [*nothing, *hold(0)]),
            later(moment, [*nothing, *[("charge", 0)] * lead, *hold(0)]),
        ]
        p = play([kind], owner, later(60, [("unpark", 0)]), *waiters)
        assert p.machine.threads == 0
        assert len(p.order("unlock")) == 3
        p = play([kind], *waiters, owner, later(60, [("unpark", 2)]))
        assert p.machine.threads == 0
        assert len(p.order("unlock")) == 3


@pytest.mark.parametrize("kind", BLOCKING)
def test_release_wakes_all_and_they_race(play: Play, kind: str) -> None:
    owner: Script = [("lock", 0), ("park",), ("unlock", 0)]
    p = play([kind], owner, *[later(1, hold(10))] * 3, later(100, [("unpark", 0)]))
    assert p.machine.counters()["wakeups"] == 5 + 1 + 3  # the starts, the owner, every waiter
    assert sorted(p.order("lock")[1:]) == [1, 2, 3]
    # Two of the woken lost the race and spun for their turn.
    assert p.profile()["spin"] > 0


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_newcomer_barges_in(play: Play, kind: str) -> None:
    costs = replace(PAUSES_ONLY, wakeup=3000.0)
    owner: Script = [("lock", 0), ("park",), ("unlock", 0)]
    newcomer: Script = [("charge", 104 * US), ("lock", 0), ("charge", 20 * US), ("unlock", 0)]
    # Released at 106; the woken waiter runs from 109; the newcomer, which came at 107, has it.
    p = play([kind], owner, later(1, hold(1)), newcomer, later(100, [("unpark", 0)]), costs=costs)
    assert p.order("lock") == [0, 2, 1]
    assert p.end(2, 1) == 107


# --- adaptive spinning


@pytest.mark.parametrize("kind", EVERY)
def test_spins_while_the_owner_runs(play: Play, kind: str) -> None:
    p = play([kind], hold(100), later(1, hold(1)))
    row = p.profile()
    assert row["contested"] == 1
    assert row["block"] == 0
    assert row["wait"] == row["spin"] == p.end(1, 1) - 1
    assert p.machine.counters()["wakeups"] == 2  # the two starts


@pytest.mark.parametrize("kind", BLOCKING)
def test_blocks_when_the_owner_does_not_run(play: Play, kind: str) -> None:
    # A time slice passes, and the second thread finds the owner off its CPU.
    p = play([kind], hold(3000, how="user"), hold(1), cpus=1, costs=SLICED)
    row = p.profile()
    assert row["spin"] == 0
    assert row["block"] == row["wait"] == 2000  # preempted at 1,000 us, done at 3,000


@pytest.mark.parametrize("kind", BLOCKING)
def test_stops_spinning_when_the_owner_leaves_its_cpu(play: Play, kind: str) -> None:
    owner: Script = [("lock", 0), ("charge", 50 * US), ("park",), ("unlock", 0)]
    p = play([kind], owner, hold(1), later(150, [("unpark", 0)]))
    row = p.profile()
    assert round(row["spin"] * 1000) == expected_look(50_000, 4096)
    assert row["wait"] == 150


@pytest.mark.parametrize("kind", BLOCKING)
def test_an_owner_that_is_back_is_spun_for_until_it_leaves_again(play: Play, kind: str) -> None:
    """Away from 10 us to 50 and from 90 to 150; one waiter comes before it is back, one after."""
    away: Script = [("charge", 40 * US), ("park",)]
    owner: Script = [("lock", 0), ("charge", 10 * US), ("park",), *away, ("unlock", 0)]
    waker = later(50, [("unpark", 0), ("charge", 100 * US), ("unpark", 0)])
    p = play([kind], owner, waker, later(20, hold(1)), later(60, hold(1)))
    row = p.profile()
    assert round(row["spin"] * 1000) >= expected_look(30_000, 4096)
    assert round(row["block"] * 1000) >= 130_000 + 150_000 - 60_000 - expected_look(30_000, 4096)
    assert sorted([p.end(2, 1), p.end(3, 1)])[0] == 150


def preempted(ns: int) -> list[Script]:
    """So late after 5 ms an interactive thread wants the CPU of the holder, which has the lock from 5 ms to 5.2 ms."""
    start = ("sleep", 3 * MS)
    shell: Script = [("sleep", 2 * MS), ("user", US), ("park",), ("user", 500 * US)]
    waker: Script = [
        start,
        ("priority", 100),
        ("charge", 2 * MS + ns * 1000),
        ("unpark", 0),
        ("charge", 20 * MS),
    ]
    waiter: Script = [start, ("user", 2040 * US), ("lock", 0), ("unlock", 0)]
    work: Script = [("charge", 100 * US)] * 2
    return [shell, waker, waiter, [start, ("user", 2 * MS), ("lock", 0), *work, ("unlock", 0)]]


ULE = replace(PAUSES_ONLY, preemption=1, run_queues=1, ctx_switch=1000.0)


@pytest.mark.parametrize("kind", BLOCKING)
def test_who_is_preempted_in_the_kernel_is_waited_for_off_the_cpu(play: Play, kind: str) -> None:
    """The idle CPU takes the holder over."""
    p = play([kind], *preempted(50_000), cpus=3, costs=ULE)
    assert p.machine.counters()["preemptions"] == 1
    row = p.profile()
    assert row["contested"] == 1
    assert row["spin"] > 0
    assert row["block"] > 0


@pytest.mark.parametrize("kind", BLOCKING)
def test_who_is_preempted_as_it_lets_go_wakes_its_waiter(play: Play, kind: str) -> None:
    """The profile takes a microsecond between the look at the lock and its release."""
    preemptions = 0
    for ns in range(199_000, 205_000, 250):
        p = play([kind], *preempted(ns), cpus=3, costs=replace(ULE, probe=2000.0))
        assert p.machine.threads == 0
        preemptions += p.machine.counters()["preemptions"]
    assert preemptions > 10


@pytest.mark.parametrize("kind", [k for k in EVERY if k != "spin"])
def test_trylock_never_waits_and_counts_its_failures(play: Play, kind: str) -> None:
    p = play(
        [kind],
        hold(10),
        later(5, [("trylock", 0, 2), *hold(0)[1:]]),
        later(20, [("trylock", 0), ("unlock", 0)]),
    )
    assert p.result(1, 1) == 0
    assert p.end(1, 1) == 5
    assert p.result(2, 1) == 1
    assert p.profile()["trylock_failures"] == 1
    assert p.profile()["contested"] == 0


# --- priority


@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
def test_priority_is_lent_along_a_chain_of_owners_and_given_back(play: Play, kinds: tuple[str, str]) -> None:
    # One CPU.  The owner of lock 0 (priority 200) is preempted; the owner of lock 1 (150) blocks on lock 0; an urgent
    # one (50) blocks on lock 1.
    low: Script = [("priority", 200), ("lock", 0), ("user", 5 * MS), ("priority_of", 0), ("unlock", 0),
                   ("priority_of", 0)]  # fmt: skip
    middle: Script = [("priority", 150), ("lock", 1), ("lock", 0), ("priority_of", 1), ("unlock", 0),
                      ("priority_of", 1), ("unlock", 1), ("priority_of", 1)]  # fmt: skip
    urgent: Script = [("priority", 50), ("lock", 1), ("unlock", 1)]
    p = play(list(kinds), low, middle, urgent, cpus=1, costs=SLICED)
    assert p.result(0, 3) == 50
    assert p.result(0, 5) == 200
    assert p.result(1, 3) == 50  # lock 1 is still wanted
    assert p.result(1, 5) == 50
    assert p.result(1, 7) == 150


@pytest.mark.parametrize("kind", LENDING)
def test_a_chain_of_three_locks_of_all_kinds(play: Play, kind: str) -> None:
    """Each owner but the last waits for the next one's lock; the most urgent comes last, or first."""
    low: Script = [
        ("priority", 200),
        ("lock", 0),
        ("park",),
        ("priority_of", 0),
        ("unlock", 0),
        ("priority_of", 0),
    ]
    links = [
        [("priority", 180 - 10 * i), ("lock", i + 1), ("charge", 10 * US), *hold(0, i), ("priority_of", i + 1),
         ("unlock", i + 1), ("priority_of", i + 1)]
        for i in (0, 1)
    ]  # fmt: skip
    for others in product(LENDING, repeat=2):
        for lag in (5, 30):
            urgent = later(lag, [("priority", 50), *hold(0, 2)])
            p = play([kind, *others], low, *links, urgent, later(90, [("unpark", 0)]))
            assert [p.result(0, 3), p.result(0, 5)] == [50, 200]
            assert [p.result(1, 6), p.result(1, 8)] == [50, 180]
            assert [p.result(2, 6), p.result(2, 8)] == [50, 170]
            assert p.end(3, 2) == pytest.approx(90, abs=20)


@pytest.mark.parametrize("kind", LENDING)
def test_a_loan_lasts_as_long_as_the_lock_that_it_came_by(play: Play, kind: str) -> None:
    low: Script = [("priority", 200), ("lock", 0), ("lock", 1), ("park",), ("priority_of", 0), ("unlock", 1),
                   ("priority_of", 0), ("unlock", 0), ("priority_of", 0)]  # fmt: skip
    waiters = [later(1, [("priority", 100 - 50 * i), *hold(0, i)]) for i in (0, 1)]
    p = play([kind, kind], low, *waiters, later(50, [("unpark", 0)]))
    assert [p.result(0, op) for op in (4, 6, 8)] == [50, 100, 200]


@pytest.mark.parametrize("kind", LENDING)
def test_a_lent_priority_moves_its_owner_up_in_the_run_queue(play: Play, kind: str) -> None:
    low: Script = [("priority", 200), ("lock", 0), ("user", 3 * MS), ("unlock", 0)]
    other: Script = [("priority", 120), ("user", 3 * MS)]
    urgent: Script = [("priority", 50), ("lock", 0), ("unlock", 0)]
    p = play([kind], low, other, other, urgent, cpus=1, costs=SLICED)
    # The owner ran first for a millisecond; the urgent one blocked on it, so it came before both others.
    assert p.order("unlock") == [0, 3]
    assert p.end(0, 3) == 5000
    assert [p.end(1, 1), p.end(2, 1)] == [8000, 9000]


@pytest.mark.parametrize("kind", LENDING)
def test_the_most_urgent_waiter_is_woken_first(play: Play, kind: str) -> None:
    def waiter(priority: int) -> Script:
        return [("priority", priority), ("lock", 0), ("unlock", 0)]

    low: Script = [("priority", 200), ("lock", 0), ("user", 2 * MS), ("unlock", 0)]
    p = play([kind], low, waiter(150), waiter(100), waiter(120), cpus=1, costs=SLICED)
    assert p.order("lock") == [0, 2, 3, 1]


# --- owners, and misuse


@pytest.mark.parametrize("kind", EVERY)
def test_the_owner_is_known_to_itself(play: Play, kind: str) -> None:
    owner: Script = [("owned", 0), ("lock", 0), ("owned", 0), ("charge", 9 * US), ("unlock", 0), ("owned", 0)]
    p = play([kind], owner, later(5, [("owned", 0)]), later(20, [("owned", 0)]))
    assert [p.result(0, op) for op in (0, 2, 5)] == [0, 1, 0]
    assert p.result(1, 1) == p.result(2, 1) == 0


@pytest.mark.parametrize(
    ("kind", "again", "not_mine"),
    [
        ("mtx", "locking a mutex that this thread holds", "unlocking a mutex that this thread does not hold"),
        (
            "mtx8",
            "locking a mutex that this thread holds",
            "unlocking a mutex that this thread does not hold",
        ),
        (
            "bit2",
            "locking a 2-bit lock that this th",
            "unlocking a 2-bit lock that this thread does not hold",
        ),
        ("rw", "write-locking a lock that this thread holds", "does not hold for writing"),
        ("sx", "write-locking a lock that this thread holds", "does not hold for writing"),
        (
            "spin",
            "locking a spin mutex that this thread holds",
            "unlocking a spin mutex that this thread does not",
        ),
    ],
)
def test_recursion_and_the_release_of_what_is_not_held_panic(
    play: Play, kind: str, again: str, not_mine: str
) -> None:
    with pytest.raises(KernelPanic, match=again):
        play([kind], [("lock", 0), ("lock", 0)], checked=False)
    with pytest.raises(KernelPanic, match=not_mine):
        play([kind], [("wunlock", 0)], checked=False)
    with pytest.raises(KernelPanic, match=not_mine):
        play([kind], hold(10), later(5, [("wunlock", 0)]), checked=False)
    kept = f"a thread ended with locks held(.|\n)*holds {CLASSES.get(kind, kind)}:script .script/exclusive"
    with pytest.raises(KernelPanic, match=kept):
        play([kind], [("lock", 0)], checked=False)


@pytest.mark.parametrize("kind", LENDING)
def test_to_be_held_across_a_sleep_panics(play: Play, kind: str) -> None:
    for asleep in (("sleep", 10 * US), ("msleep", 1, -1)):
        with pytest.raises(KernelPanic, match="must not be held across a sleep"):
            play([kind], [("lock", 0), asleep, ("unlock", 0)], later(1, hold(1)), checked=False)


@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
@pytest.mark.parametrize("how", ["charge", "user"])
def test_a_deadlock_names_locks_threads_and_places(play: Play, kinds: tuple[str, str], how: str) -> None:
    """Also among other threads that go on, or would."""

    def both(a: int, b: int) -> Script:
        return [("lock", a), (how, 10 * US), ("lock", b), ("unlock", b), ("unlock", a)]

    bystander: Script = [("user", 10_000 * MS)]
    with pytest.raises(KernelPanic) as panic:
        play(list(kinds), both(0, 1), later(1, both(1, 0)), bystander)
    text = str(panic.value)
    first, second = (CLASSES.get(kind, kind) for kind in kinds)
    assert text.startswith("deadlock: this thread waits for itself")
    assert f"wants {first}:script at script/exclusive; holds {second}:script (script/exclusive)" in text
    assert f"wants {second}:script at script/exclusive; holds {first}:script (script/exclusive)" in text


# --- accounts


@pytest.mark.parametrize("kind", EVERY)
def test_waits_are_spinning_and_blocking_and_are_charged_to_somebody(play: Play, kind: str) -> None:
    """`play` checks the identities for all locks together; here each part is there at all."""
    how = "charge" if kind == "spin" else "user"
    costs = replace(CostModel(), time_slice=50_000.0)
    p = play([kind], *[later(i, hold(100, how=how) * 5) for i in range(6)], cpus=3, costs=costs)
    (row,) = read_profile(p.machine)
    assert row["acquisitions"] == 30
    assert 0 < row["contested"] < 30
    assert row["spin_ps"] > 0
    assert (row["block_ps"] > 0) == (kind != "spin")
    assert row["spin_ps"] + row["block_ps"] == row["wait_ps"]
    charged = read_charged(p.machine)
    assert sum(charged.values()) == row["wait_ps"]
    name = f"{CLASSES.get(kind, kind)}:script"
    assert charged[name, "script/exclusive", "script/exclusive"] > 0.5 * row["wait_ps"]
