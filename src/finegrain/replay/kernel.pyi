from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from finegrain.design import Design
from finegrain.machine.machine import Machine
from finegrain.options import KernelOptions
from finegrain.workload.program import Program

class Kernel:
    def __init__(
        self,
        host: Machine,
        segments: Sequence[tuple[int, int, int]],
        design: Design,
        options: KernelOptions | None = None,
    ) -> None: ...
    def load(
        self,
        program: Program,
        past: Sequence[npt.NDArray[Any]],
        live: Sequence[tuple[int, ...]],
        threads: Sequence[tuple[int, ...]],
        pipes: Sequence[tuple[int, ...]],
        runs: Sequence[tuple[int, int, int]],
        file_shared: npt.NDArray[Any],
        entries: npt.NDArray[Any],
        trees: Sequence[tuple[int, int, int]],
        roots: Sequence[tuple[int, int]],
        builders: Sequence[tuple[int, ...]],
        *,
        user_time: float = 1.0,
    ) -> None: ...
    def start(self) -> None: ...
    @property
    def start_ps(self) -> int: ...
    @property
    def pv_bytes(self) -> int: ...
    def counts(self) -> dict[str, int]: ...
    def reset_counts(self) -> None: ...
    def chunks_freed(self) -> list[list[int]]: ...
    def audit(self, *, quiet: bool = False) -> tuple[int, str]: ...
    def in_use(self) -> dict[str, int]: ...
