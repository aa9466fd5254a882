from finegrain.machine.machine import Machine

class Counter:
    machine: Machine
    def __init__(self, machine: Machine, threads: int) -> None: ...
    @property
    def value(self) -> int: ...
