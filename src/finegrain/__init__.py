"""What a finer lock is worth, before you build it.

`finegrain.compare(...)` is the main job: it gives a `finegrain.Result`, which shows itself. What is below - studies,
profiles, workloads, kernels, machines - knows no report; here, and in the commands, the two meet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finegrain.design import DEFAULT_DESIGNS, Design
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import Shape
from finegrain.options import KernelOptions
from finegrain.study import result as _study
from finegrain.study.defaults import (
    DEFAULT_MEMORY,
    DEFAULT_REPLICATIONS,
    DEFAULT_WARMUP,
    DEFAULT_WORKLOAD,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

__version__ = "0.1.0"
__all__ = ["Result", "compare"]


@dataclass(frozen=True)
class Result(_study.Result):
    """Designs side by side, on one machine and workload. Shows itself in a terminal and a notebook."""

    # Reports are loaded on first use: the readers of other systems' profiles need none of them.

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON's types, full precision, under the schema finegrain.compare/4."""
        from finegrain.report.result import as_dict

        return as_dict(self)

    def __rich__(self) -> "RenderableType":
        """Draw for a Rich console."""
        from finegrain.report.result import rich

        return rich(self)

    def __str__(self) -> str:
        """Draw as plain text."""
        from finegrain.report.result import text

        return text(self)

    def _repr_html_(self) -> str:
        from finegrain.report.result import html

        return html(self)


def compare(
    designs: Sequence[str | Design] = DEFAULT_DESIGNS,
    *,
    cpus: int | None = None,
    shape: Shape | None = None,
    jobs: int | None = None,
    workload: str = DEFAULT_WORKLOAD,
    images: str | None = None,
    free_memory: str = "used",
    seconds: float | None = None,
    warmup: float = DEFAULT_WARMUP,
    replications: int = DEFAULT_REPLICATIONS,
    precision: float | None = None,
    seed: int = 1,
    costs: CostModel | None = None,
    options: KernelOptions | None = None,
    calibration: str | None = None,
    force: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    processes: int | None = None,
    progress: bool | None = None,
) -> Result:
    """Compare designs of the PV list lock on a replayed build.

    `cpus` (1 to 1,024) chooses a machine of that many CPUs, `shape` an exact one; the default is 2 sockets of
    26 cores of 2 hardware threads. `jobs` builders (default: one a CPU) each replay `workload`, the name of a
    bundled recording, a file or a mix of them (`NAME=SHARE,...`; "poudriere" is one), from a point of their
    own; with `images` "private" each builder has its own copy of every file's pages, with "shared" all map the
    same ones, with "mixed" they share what jails share (default: "mixed" for "poudriere", else "private").
    `free_memory` begins "used", as on a machine in long use, or "fresh", as after boot. `seconds` simulated
    seconds (default: 0.04; on more CPUs than the default machine's, as many CPU-seconds as there) are measured
    after `warmup`, in each of `replications` independent runs with seeds from `seed` on; from two runs on,
    figures have 95% confidence intervals. With a `precision` there are as many runs as it takes, at least 5,
    until the half-width of these intervals is at most that part of the value (0.05: 5%) for the first design's
    worst lock and for its PV list waiting over each other design's; at most 20 simulated seconds are measured
    of each design, and Ctrl-C gives the result of the runs that are done. `options` are of the kernel, the same
    for all designs. `calibration` names a file, or "head", which comes with finegrain (None: none): its scale
    of the costs applies unless `costs` are given, the rest to the workload that it was made with; a file that
    was made for another workload or machine is refused unless `force`. `processes` (default: one a core, fewer
    where memory is short) run at a time. `progress` shows a display on the terminal (default: when there is
    one). Raises UserError for what cannot be.
    """
    from finegrain.report.progress import bars, on_terminal
    from finegrain.study import experiment

    result = experiment.compare(
        designs,
        cpus=cpus,
        shape=shape,
        jobs=jobs,
        workload=workload,
        images=images,
        free_memory=free_memory,
        seconds=seconds,
        warmup=warmup,
        replications=replications,
        precision=precision,
        seed=seed,
        costs=costs,
        options=options,
        calibration=calibration,
        force=force,
        memory_bytes=memory_bytes,
        processes=processes,
        progress=bars if (on_terminal() if progress is None else progress) else None,
    )
    return Result(**vars(result))
