"""Lock scripts as a lab: what it refuses to do. What locks do is in tests/kernel/locks."""

import pytest

from finegrain.lab import LockScripts, read_names
from finegrain.machine.simulated import SimulatedMachine

MTX, RW, SX, SPIN = range(4)


def machine() -> SimulatedMachine:
    return SimulatedMachine(sockets=1, cores=2, threads=1)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([("unlock", MTX)], "the thread does not hold the lock"),
        ([("lock", MTX), ("lock", MTX)], "the thread holds the lock already"),
        ([("rlock", RW), ("lock", RW)], "the thread holds the lock for reading"),
        ([("rlock", MTX)], "a mutex admits no readers"),
        ([("trylock", SPIN)], "a spin mutex is not tried for"),
        ([("upgrade", RW)], "does not hold the lock for reading"),
        ([("downgrade", RW)], "does not hold the lock for writing"),
        ([("lock", MTX), ("sleep", 5)], "a thread must not sleep with a mtx or rw lock held"),
        ([("lock", MTX), ("lock", SX)], "taking an sx or lockmgr lock may sleep"),
        ([("lock", SPIN), ("lock", MTX)], "the thread holds a spin mutex"),
        ([("lock", SPIN), ("user", 5)], "the thread holds a spin mutex"),
        ([("msleep", 0, MTX)], "the thread does not hold the interlock"),
        ([("lock", RW), ("msleep", 0, RW)], "the interlock must be a mtx or sx lock"),
        ([("spawn", 0)], "the script was started already"),
        ([("spawn", 77)], "there is no such script"),
        ([("lock", SX)], "after the last operation: the script ended with a lock held"),
    ],
)
def test_what_locks_do_not_allow(script: list[tuple], why: str) -> None:
    m = machine()
    locks = LockScripts(m, ["mtx", "rw", "sx", "spin"])
    locks.start(script)
    with pytest.raises(ValueError, match=why):
        locks.join()
    # The thread let go of what it held: others go on.
    assert all(row["held"] == row["waiting"] == 0 for row in read_names(m, m.time_ps).values())
    for lock in range(4):
        assert locks.run(("lock", lock), ("unlock", lock)) == [1, 0]


def test_a_failed_try_leaves_the_next_operations_out() -> None:
    locks = LockScripts(machine(), ["mtx"])
    locks.start([("lock", 0), ("charge", 1000), ("unlock", 0)])
    other = locks.start([("charge", 10), ("trylock", 0, 1), ("unlock", 0), ("word", 0)])
    locks.join()
    assert locks.results(other)[:3] == [0, 0, None]
    assert [row[4] for row in locks.trace() if row[2] == other] == ["charge", "trylock", "word"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((["mutex"],), ValueError),
        (("mtx",), TypeError),
        ((5,), TypeError),
        ((["mtx"], "x"), TypeError),
        ((["mtx"], [5]), TypeError),
        ((["mtx"], [], 33), ValueError),
        ((["mtx"], [], 16), ValueError),
        ((["mtx"] * 5000,), ValueError),
    ],
)
def test_locks_that_cannot_be(arguments: tuple, error: type[Exception]) -> None:
    with pytest.raises(error):
        LockScripts(machine(), *arguments)
