"""Reading the lock profile from Python. What it counts is in tests/kernel/locks/test_profile.py."""

from typing import Any

import pytest

from finegrain.lab import (
    LockScripts,
    read_charged,
    read_names,
    read_profile,
    read_pv_waits,
    reset_profile,
)  # fmt: skip
from finegrain.lab.profile import enable_profile
from finegrain.machine.machine import Machine
from finegrain.machine.simulated import SimulatedMachine

READERS = [read_profile, read_charged, read_pv_waits]


@pytest.mark.parametrize("read", READERS)
def test_machines_without_a_kernel(read: Any) -> None:
    for m in (Machine(), SimulatedMachine(sockets=1, cores=1, threads=1)):
        with pytest.raises(ValueError, match="the machine has no kernel: nothing was counted"):
            read(m)
    with pytest.raises(TypeError):
        read(None)


def test_a_kernel_without_pv_lists() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1)
    LockScripts(m, ["mtx"])
    with pytest.raises(ValueError, match="no PV list locks"):
        read_pv_waits(m)


@pytest.mark.parametrize("at", [-1, 1 << 63])
def test_times_that_cannot_be(at: int) -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1)
    LockScripts(m, ["mtx"])
    for use in (read_names, reset_profile):
        with pytest.raises(ValueError, match="the time must be a number of picoseconds"):
            use(m, at)


def test_counting_is_switched_off_and_on() -> None:
    m = SimulatedMachine(sockets=1, cores=1, threads=1)
    locks = LockScripts(m, ["mtx"])
    for enabled in (False, True):
        enable_profile(m, enabled)
        locks.run(("lock", 0), ("unlock", 0))
    assert [row["acquisitions"] for row in read_profile(m)] == [1]
