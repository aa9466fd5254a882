from collections.abc import Iterable, Sequence
from typing import Any

from finegrain.lab.run import Lab
from finegrain.machine.simulated import SimulatedMachine

class LockScripts(Lab):
    def __init__(
        self,
        machine: SimulatedMachine,
        locks: Iterable[str],
        scripts: Iterable[Iterable[Sequence[Any]]] = (),
        stride: int | None = None,
    ) -> None: ...
