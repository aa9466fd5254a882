"""The lock in two bits: its word, its owner's name, and what that costs. What every kind does alike is in
test_battery.py."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from doors.script import Scripts
from finegrain.machine.costs import FREE, CostModel
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine
from kernel.scripts import US, Play, hold, later

HELD, CONTESTED = 1, 2
LARGEST = (1 << 62) - 1
Script = list[tuple[Any, ...]]


def test_the_generation_stays_above_the_bits(play: Play) -> None:
    for generation in (0, 1, 5, 1 << 31, LARGEST):
        script: Script = [
            ("lock", 0),
            ("set_generation", 0, generation),
            ("word", 0),
            ("unlock", 0),
            ("word", 0),
        ]
        p = play(["bit2"], [*script, ("lock", 0), ("generation", 0), ("unlock", 0)])
        word = generation << 2
        signed = [w - (1 << 64) if w >> 63 else w for w in (word | HELD, word)]
        assert [p.result(0, 2), p.result(0, 4)] == signed
        assert p.result(0, 6) == generation


def test_contested_is_set_by_the_owner_that_leaves_and_by_nobody_else(play: Play) -> None:
    # Spinners come at 5; the owner leaves at 20 and is back at 40; it lets go at 60.
    owner: Script = [("lock", 0), ("set_generation", 0, 7), ("charge", 20 * US), ("park",), ("word", 0),
                     ("charge", 20 * US), ("unlock", 0), ("word", 0)]  # fmt: skip
    looker = later(10, [("word", 0), ("charge", 20 * US), ("word", 0)])
    p = play(["bit2"], owner, later(5, hold(0)), looker, later(40, [("unpark", 0)]))
    assert p.result(2, 1) == 7 << 2 | HELD
    assert p.result(2, 3) == 7 << 2 | HELD | CONTESTED
    assert p.result(0, 4) == 7 << 2 | HELD | CONTESTED  # back, and still known
    assert p.result(0, 7) >> 2 == 7
    # Without waiters it is the same: nobody has asked yet, but somebody might.
    p = play(["bit2"], owner, looker, later(40, [("unpark", 0)]))
    assert p.result(1, 3) == 7 << 2 | HELD | CONTESTED
    assert p.result(0, 7) == 7 << 2


def test_the_generation_is_changed_while_the_owner_is_known(play: Play) -> None:
    """Contested is not lost: the waiter that queued before the change is woken."""
    owner: Script = [
        ("lock", 0),
        ("park",),
        ("set_generation", 0, 9),
        ("charge", 5 * US),
        ("word", 0),
        ("unlock", 0),
    ]
    p = play(
        ["bit2"], owner, later(5, hold(0)), later(20, [("unpark", 0), ("charge", 3 * US), ("generation", 0)])
    )
    assert p.result(0, 4) == 9 << 2 | HELD | CONTESTED
    assert p.result(2, 3) == 9
    assert p.end(1, 1) == pytest.approx(25, abs=1)


def test_readers_without_the_lock_see_generations_whole_and_in_order(play: Play) -> None:
    """Each generation repeats one number in both halves; writers queue, spin and are preempted meanwhile."""
    costs = replace(CostModel(), time_slice=30_000.0)

    def generation(n: int) -> int:
        return n << 32 | n

    writer: Script = []
    for n in range(1, 41):
        writer += [("lock", 0), ("set_generation", 0, generation(n)), ("user", 20 * US), ("unlock", 0)]
    rival: Script = [*hold(15, how="user"), ("user", 10 * US)] * 20
    reader: Script = [("generation", 0), ("user", 3 * US)] * 300
    p = play(["bit2"], writer, rival, reader, reader, cpus=2, costs=costs)
    for script in (2, 3):
        seen = [row[5] for row in p.trace if row[2] == script and row[4] == "generation"]
        assert {n >> 32 for n in seen} == {n & 0xFFFFFFFF for n in seen}
        assert all(before <= after for before, after in pairwise(seen))
        assert len(set(seen)) > 10
    assert p.profile()["block"] > 0
    assert p.profile()["spin"] > 0


def test_a_few_may_be_held_at_once_and_let_go_in_any_order(play: Play) -> None:
    take: Script = [("lock", i) for i in range(4)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        script: Script = [*take, ("park",), *[("unlock", i) for i in order], *[("word", i) for i in range(4)]]
        waiters = [later(1 + i, hold(0, i)) for i in range(4)]
        p = play(["bit2"] * 4, script, *waiters, later(50, [("unpark", 0)]))
        assert p.profile()["contested"] == 4
        assert p.profile()["block"] > 4 * 40
        assert all(50 <= p.end(1 + i, 1) <= 51 for i in range(4))
    with pytest.raises(KernelPanic, match="too many 2-bit locks held at once"):
        play(["bit2"] * 5, [("lock", i) for i in range(5)], checked=False)
    locks = Scripts(SimulatedMachine(sockets=1, cores=1, costs=FREE), ["bit2"] * 5)
    with pytest.raises(ValueError, match="too many 2-bit locks"):
        locks.run(*[("lock", i) for i in range(5)])


def test_the_generation_is_for_the_holder_to_change(play: Play) -> None:
    with pytest.raises(KernelPanic, match="changing a generation whose 2-bit lock this thread does not hold"):
        play(["bit2"], hold(10), later(5, [("set_generation", 0, 1)]), checked=False)


def test_who_makes_itself_known_may_find_that_nobody_wants_its_cpu_any_more(play: Play) -> None:
    """Its slice ends, and while it says so the other CPU falls idle and takes over the thread that waited for this."""
    costs = replace(CostModel(), time_slice=100_000.0, preemption=0, tick=0.0)
    rival: Script = [("user", 2000 * US)]
    known = 0
    for ns in range(0, 1000, 100):
        other: Script = [("charge", 1000 * US + ns * 1000)]
        holder: Script = [*hold(3000, how="user"), ("word", 0)]
        holder.insert(2, ("word", 0))
        p = play(["bit2"], holder, other, rival, cpus=2, costs=costs)
        assert p.machine.counters()["steals"] == 1
        assert max(p.end(0, 1), p.end(2, 0)) < 3010  # no CPU idles while a thread waits for one
        known += p.result(0, 2) == HELD | CONTESTED and p.end(0, 1) < 3004  # it stayed where it was
    assert known > 0


def test_the_spin_on_a_known_owner_is_bounded(play: Play) -> None:
    """The word cannot tell one owner that became known from another, so the turnstile is asked again.

    The first has the lock, leaves, and is back; a newcomer spins on it by name. It lets go, and the second takes the
    lock and leaves, all between two looks of the newcomer, while the first runs on. The word is the same again.
    """
    first: Script = [("lock", 0), ("park",), ("charge", 50 * US), ("unlock", 0), ("charge", 10_000 * US)]
    second: Script = [("priority", 200), ("charge", 60_500_000), ("trylock", 0, 2), ("park",), ("unlock", 0)]
    newcomer: Script = [("priority", 50), ("charge", 12 * US), ("lock", 0), ("unlock", 0)]
    looker = later(500, [("priority_of", 1)])
    waker = later(10, [("unpark", 0), ("charge", 990 * US), ("unpark", 1)])
    p = play(["bit2"], first, second, newcomer, looker, waker)
    assert p.result(1, 2) == 1
    assert p.result(3, 1) == 50  # the newcomer found out, and lends to the second
    assert p.end(2, 3) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("kind", ["mtx8", "bit2"])
def test_what_an_uncontended_pair_costs(kind: str) -> None:
    """Beside the mutex's two operations on the word, two notes in the thread's own record."""
    costs = replace(CostModel(), probe=0.0, tick=0.0)
    m = SimulatedMachine(sockets=1, cores=1, threads=1, costs=costs)
    s = Scripts(m, [kind], [[("lock", 0), ("unlock", 0), ("charge", US), ("lock", 0), ("unlock", 0)]])
    m.run()
    rows = {(row[3], row[4]): row[1] - row[0] for row in s.trace()}
    p = costs.picoseconds()
    word = p["l1_hit"] + p["rmw_hit"]
    note = p["op"] if kind == "bit2" else 0
    assert rows[3, "lock"] == rows[4, "unlock"] == word + note
