from collections.abc import Iterable

from finegrain.design import Design
from finegrain.lab import Pmaps as LabPmaps
from finegrain.machine.simulated import SimulatedMachine

BREAKS: tuple[str, ...]

class Pmaps(LabPmaps):
    def __init__(
        self,
        machine: SimulatedMachine,
        segments: Iterable[tuple[int, int, int]] | None = None,
        *,
        design: str | Design = "head",
        checked: bool = True,
    ) -> None: ...
    def arena_resident(self) -> int: ...
    def write_back(self, start: int, end: int) -> None: ...
