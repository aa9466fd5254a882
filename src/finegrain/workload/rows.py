"""A recording's rows made ready to be compiled: put right, and as arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.recording import Recording


@dataclass(frozen=True)
class Rows:
    """The rows of all processes, and the processes."""

    events: pl.DataFrame
    kind: npt.NDArray[np.uint8]
    page: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]  # process p's rows are bounds[p]:bounds[p + 1]
    parent: npt.NDArray[np.int32]  # -1: there from the start, or its fork was not seen
    start: npt.NDArray[np.int64]  # recording time, ns
    end: npt.NDArray[np.int64]  # recording time, ns; the recording's end without an exit

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return len(self.parent)


def _until_exit(events: pl.DataFrame) -> pl.DataFrame:
    """Leave out what a process's rows still say after its EXIT: that its last thread left the CPU."""
    exits = (pl.col("kind") == rec.EXIT).cast(pl.Int32)
    return events.filter(exits.cum_sum().over("process") - exits == 0)


def _tuck_exec_maps(events: pl.DataFrame) -> pl.DataFrame:
    """Cut what exec maps of a file where its next segment begins.

    Linux first maps the whole span of a position-independent program, then its segments over it.
    """
    maps = events.with_row_index("row").filter(pl.col("kind") == rec.MAP)
    following = {
        name: pl.col(name).shift(-1).over("process").alias(f"next_{name}")
        for name in ("page", "file", "info")
    }
    cut = (
        maps.with_columns(*following.values())
        .filter(
            ((pl.col("info") & pl.col("next_info") & rec.MAP_EXEC) != 0)
            & (pl.col("file") > 0)
            & (pl.col("file") == pl.col("next_file"))
            & (pl.col("page") < pl.col("next_page"))
            & (pl.col("next_page") < pl.col("page") + pl.col("pages"))
        )
        .select("row", (pl.col("next_page") - pl.col("page")).alias("cut"))
    )
    return (
        events.with_row_index("row")
        .join(cut, on="row", how="left", maintain_order="left")
        .with_columns(pages=pl.coalesce("cut", "pages"))
        .drop("row", "cut")
    )


def ready(recording: Recording) -> Rows:
    """Put the rows of `recording` right, and find out who forked whom, and when."""
    events = _tuck_exec_maps(_until_exit(recording.events))
    count = recording.processes
    parent = np.full(count, -1, np.int32)
    start = np.zeros(count, np.int64)
    end = np.full(count, recording.duration_ns, np.int64)
    # a child has a higher number than its parent; what says otherwise is not a fork
    forks = events.filter((pl.col("kind") == rec.FORK) & (pl.col("info") > pl.col("process")))
    forks = forks.unique("info", keep="first", maintain_order=True)
    child = forks["info"].to_numpy()
    parent[child] = forks["process"].to_numpy()
    start[child] = forks["time"].to_numpy()
    exits = events.filter(pl.col("kind") == rec.EXIT)
    end[exits["process"].to_numpy()] = exits["time"].to_numpy()
    first = events.group_by("process").agg(pl.col("time").min())
    unforked = first.filter(pl.col("process").is_in(np.flatnonzero(parent < 0)))
    start[unforked["process"].to_numpy()] = unforked["time"].to_numpy()
    return Rows(
        events=events,
        kind=events["kind"].to_numpy(),
        page=events["page"].to_numpy().astype(np.int64),
        bounds=np.searchsorted(events["process"].to_numpy(), np.arange(count + 1)),
        parent=parent,
        start=start,
        end=end,
    )
