"""Where a recording's time went: user time, waits for children, sleep."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from finegrain.workload import recording as rec

# What a record costs, and the kernel work that it stands for, is taken to be this quantile of the times on
# a CPU from records of its class to the next record: the times in which hardly any user code ran.
COST_QUANTILE = 0.1
# A class with fewer samples than this takes the cost of all classes together.
_ENOUGH = 50
# A process that goes on, and a child that exits within this time after, have to do with each other: it
# has read the end of the child's output, which comes before the child's exit.
_ABOUT_TO_EXIT_NS = 1_000_000

# after these a thread is in the kernel, or not on a CPU
_NOT_USER = [rec.OFF, rec.KERNEL, rec.EXEC, rec.FILE_EXEC]


@dataclass(frozen=True)
class Pause:
    """An interval that a process spent off the CPU of its own will."""

    row: int  # of the OFF event
    end: int  # recording time, ns, when it went on
    ns: int
    child: int  # process that it waited for, or -1


def user_time(events: pl.DataFrame) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Return the user time (ns) between each row and the row of its thread before it, and the costs used.

    It is time on a CPU less a cost that depends on the class of the row before; see COST_QUANTILE.
    """
    thread = ["process", "thread"]
    fault_class = pl.col("info") & (rec.FAULT_WRITE | rec.FAULT_EXEC | rec.FAULT_PRESENT | rec.FAULT_UNKNOWN)
    # what a call took is the kernel's; the row stands at its end
    duration = pl.when(pl.col("kind").is_in(rec.TIMED)).then(pl.col("offset").cast(pl.Int64))
    in_kernel = duration.fill_null(0) * rec.TIME_UNIT_NS
    by_exec = (pl.col("kind") == rec.MAP) & ((pl.col("info") & rec.MAP_EXEC) != 0)
    group = (
        pl.when(pl.col("kind") == rec.FAULT).then(fault_class.cast(pl.Int32) + 32)
        .when(by_exec | pl.col("kind").is_in(_NOT_USER)).then(-1)
        .otherwise(pl.col("kind").cast(pl.Int32))
    )  # fmt: skip
    gaps = events.select(
        (pl.col("time") - pl.col("time").shift(1).over(thread) - in_kernel)
        .fill_null(0)
        .clip(lower_bound=0)
        .alias("gap"),
        group.shift(1).over(thread).fill_null(-1).alias("group"),
        "kind",
    )
    on_cpu = gaps.filter((pl.col("group") >= 0) & ~pl.col("kind").is_in([rec.OFF, rec.ON, rec.EXEC]))
    costs = on_cpu.group_by("group").agg(pl.col("gap").quantile(COST_QUANTILE).alias("cost"), pl.len())
    every = float(on_cpu["gap"].quantile(COST_QUANTILE) or 0)
    costs = costs.with_columns(
        pl.when(pl.col("len") < _ENOUGH).then(every).otherwise(pl.col("cost")).alias("cost")
    )
    user = (
        gaps.join(costs, on="group", how="left", maintain_order="left")
        .select(
            pl.when((pl.col("group") < 0) | (pl.col("kind") == rec.ON))
            .then(0)
            .otherwise((pl.col("gap") - pl.col("cost").fill_null(every)).clip(lower_bound=0).cast(pl.Int64))
        )
        .to_series()
        .to_numpy()
    )
    table = {f"{group}": int(cost) for group, cost, _ in costs.sort("group").iter_rows()}
    return user, table


def pauses(
    events: pl.DataFrame,
    parent: npt.NDArray[np.int32],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
) -> list[Pause]:
    """Return the voluntary pauses of all processes in order of row, and which child each waited for.

    A pause within a READ or WRITE is that call's. A pause waited for the child, there at its beginning and not waited
    for before, whose exit (at `end`) was the last within it, or else the first just after it. A pause of one thread
    while another thread ran does not count.
    """
    table = events.with_row_index("row").with_columns(
        pl.col("kind").shift(-1).alias("next_kind"),
        pl.col("thread").shift(-1).alias("next_thread"),
        pl.col("process").shift(-1).alias("next_process"),
        pl.col("time").shift(-1).alias("next_time"),
    )
    call = pl.when(pl.col("kind").is_in([rec.READ, rec.WRITE])).then(
        pl.col("time") - pl.col("offset").cast(pl.Int64) * rec.TIME_UNIT_NS
    )
    within = call.backward_fill().over(["process", "thread"]) <= pl.col("time")
    table = table.with_columns(within.fill_null(False).alias("within")).filter(
        (pl.col("kind") == rec.OFF)
        & ~pl.col("within")
        & (pl.col("info") == 0)
        & (pl.col("next_kind") == rec.ON)
        & (pl.col("next_thread") == pl.col("thread"))
        & (pl.col("next_process") == pl.col("process"))
    )
    children: dict[int, list[int]] = {}
    for child in np.argsort(end, kind="stable").tolist():
        children.setdefault(int(parent[child]), []).append(child)
    exits = {process: end[of].tolist() for process, of in children.items()}
    found = []
    waited: set[int] = set()
    for row, process, since, until in table.select("row", "process", "time", "next_time").iter_rows():
        child = -1
        times = exits.get(process, [])
        for i in range(bisect_left(times, since), bisect_right(times, until + _ABOUT_TO_EXIT_NS)):
            if times[i] > until and child >= 0:
                break
            candidate = children[process][i]
            if candidate not in waited and start[candidate] < since:
                child = candidate
        if child >= 0:
            waited.add(child)
        found.append(Pause(row, until, until - since, child))
    return found
