"""Scripts on a simulated machine of any shape, and children that may die."""

import subprocess
import sys
import textwrap
from typing import Any

from doors.script import Scripts
from finegrain.machine.costs import FREE, CostModel
from finegrain.machine.simulated import SimulatedMachine

US = 10**6
Script = list[tuple[Any, ...]]


def play(
    *scripts: Script,
    costs: CostModel = FREE,
    locks: list[str] | None = None,
    checked: bool = True,
    **shape: int,
) -> Scripts:
    m = SimulatedMachine(**({"sockets": 1, "cores": 8, "threads": 1} | shape), costs=costs)  # type: ignore[arg-type]
    s = Scripts(m, locks or [], list(scripts), checked=checked)
    m.run()
    return s


def ends(s: Scripts, op: str) -> list[float]:
    """When operations of this kind ended, in microseconds, by script and place in it."""
    return [row[1] / US for row in sorted(s.trace(), key=lambda row: row[2:4]) if row[4] == op]


def check_times(m: SimulatedMachine) -> None:
    for cpu in m.cpu_times():
        assert cpu.pop("clock") == sum(cpu.values())


def run_child(code: str, **how: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def finish(child: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return child.communicate(timeout=60)
    finally:
        child.kill()
