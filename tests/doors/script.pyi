from typing import Any

from finegrain.machine.simulated import SimulatedMachine

class Scripts:
    machine: SimulatedMachine
    scripts: list[list[tuple[Any, ...]]]
    def __init__(
        self,
        machine: SimulatedMachine,
        locks: list[str],
        scripts: list[list[tuple[Any, ...]]],
        stride: int = 32,
    ) -> None: ...
    def trace(self) -> list[tuple[int, int, int, int, str, int]]: ...
    def chains(self) -> list[tuple[int, int]]: ...

def lock_sizes() -> tuple[int, int, int, int]: ...
