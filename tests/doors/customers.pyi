from finegrain.machine.machine import Machine

def customers_start(
    m: Machine,
    threads: int,
    locks: int,
    think_ps: int,
    hold_ps: int,
    *,
    kind: str = "sleep mutex",
    think_exponential: bool = True,
    hold_exponential: bool = True,
    write_fraction: float = 1.0,
    rounds: int = 0,
    seed: int = 1,
    stride: int = 32,
    preemptible: bool = False,
) -> None: ...
