from typing import Any

from finegrain.lab.run import Lab
from finegrain.machine.simulated import SimulatedMachine
from finegrain.options import KernelOptions

class Files(Lab):
    def __init__(
        self,
        machine: SimulatedMachine,
        segments: Any = None,
        *,
        design: str = "head",
        options: KernelOptions | None = None,
    ) -> None: ...
    def tree(self, place: int) -> dict[str, Any]: ...
    def audit(self) -> str: ...
    def in_use(self) -> dict[str, int]: ...
    def counts(self) -> dict[str, int]: ...
