from finegrain.machine.machine import Machine

class Station:
    def __init__(
        self,
        machine: Machine,
        customers: int,
        think: float,
        hold: float,
        *,
        kind: str = "fifo",
        slow: float = 0.0,
        writers: float = 1.0,
        fixed: bool = False,
        seed: int = 1,
    ) -> None: ...
    def counts(self) -> tuple[tuple[int, int, int, float], tuple[int, int, int, float]]: ...

def arena_blocks(machine: Machine, steps: list[int]) -> list[int]: ...
