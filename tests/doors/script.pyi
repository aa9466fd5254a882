from collections.abc import Iterable
from typing import Any

from finegrain.lab import LockScripts
from finegrain.machine.simulated import SimulatedMachine

class Scripts(LockScripts):
    scripts: list[list[tuple[Any, ...]]]
    def __init__(
        self,
        machine: SimulatedMachine,
        locks: Iterable[str],
        scripts: Iterable[Iterable[tuple[Any, ...]]] = (),
        stride: int | None = None,
        *,
        checked: bool = True,
    ) -> None: ...
    def chains(self) -> list[tuple[int, int]]: ...

def lock_sizes() -> tuple[int, int, int, int, int]: ...
