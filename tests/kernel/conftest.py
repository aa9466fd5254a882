"""Scripted threads on a small machine."""

from collections.abc import Callable
from typing import Any

import pytest

from doors.script import Scripts
from finegrain.machine.costs import CostModel
from finegrain.machine.simulated import SimulatedMachine
from kernel.scripts import PAUSES_ONLY, Played


@pytest.fixture
def play() -> Callable[..., Played]:
    def play(
        locks: list[str],
        *scripts: list[tuple[Any, ...]],
        cpus: int = 8,
        costs: CostModel = PAUSES_ONLY,
        until: int | None = None,
        checked: bool = True,
        **shape: int,
    ) -> Played:
        m = SimulatedMachine(**({"sockets": 1, "cores": cpus, "threads": 1} | shape), costs=costs)  # type: ignore[arg-type]
        s = Scripts(m, locks, list(scripts), checked=checked)
        m.run(until)
        played = Played(m, s, s.trace())
        if until is None:
            played.check_identities()
        return played

    return play
