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
    # which list of steps each row belongs to: its process's, or beyond those its thread's
    lists: npt.NDArray[np.int64]
    thread_process: npt.NDArray[np.int32]  # of the threads that have a list, in order of the lists
    list_of: dict[tuple[int, int], int]  # by process and thread
    in_lists: npt.NDArray[np.int64]  # the rows in order of their lists

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return len(self.parent)


def _until_exit(events: pl.DataFrame) -> pl.DataFrame:
    """Leave out what a process's or thread's rows still say after its exit: that it left the CPU."""
    exits = (pl.col("kind") == rec.EXIT).cast(pl.Int32)
    events = events.filter(exits.cum_sum().over("process") - exits == 0)
    ends = ((pl.col("kind") == rec.THREAD_EXIT) & (pl.col("thread") > 0)).cast(pl.Int32)
    over = (ends.cum_sum() - ends).over("process", "thread") > 0
    return events.filter(~over | (pl.col("kind") == rec.EXIT))


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


def _threads(events: pl.DataFrame) -> list[tuple[int, int]]:
    """Return the process and number of each thread that can have steps of its own.

    The threads of a process of which one is not seen to begin, or which execs with several, are taken for one.
    """
    kind = events["kind"]
    if not (kind == rec.THREAD).any():
        return []
    begun = events.with_row_index("row").filter(pl.col("kind") == rec.THREAD)
    began = begun.select("process", pl.col("info").alias("thread"), pl.col("row").alias("began"))
    if began.select("process", "thread").is_duplicated().any():
        began = began.unique(["process", "thread"], keep="first", maintain_order=True)
    seen = (
        events.with_row_index("row")
        .filter(pl.col("thread") > 0)
        .group_by("process", "thread")
        .agg(pl.col("row").min())
        .join(began, on=["process", "thread"], how="left")
    )
    unsound = seen.filter(pl.col("began").is_null() | (pl.col("row") <= pl.col("began")))["process"]
    first = began.group_by("process").agg(pl.col("began").min())
    execs = events.with_row_index("row").filter(pl.col("kind") == rec.EXEC).join(first, on="process")
    bad = {*unsound.to_list(), *execs.filter(pl.col("row") > pl.col("began"))["process"].to_list()}
    return sorted(
        pair for pair in began.select("process", "thread").iter_rows() if pair[0] not in bad and pair[1]
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
    threads = _threads(events)
    list_of = {pair: count + i for i, pair in enumerate(threads)}
    lists = events["process"].to_numpy().astype(np.int64)
    if threads:
        # the first thread waits for the others where the process ends, whoever ends it
        others = np.flatnonzero(((events["thread"] > 0) & (events["kind"] != rec.EXIT)).to_numpy())
        of = zip(lists[others].tolist(), events["thread"].to_numpy()[others].tolist(), strict=True)
        lists[others] = [list_of.get(pair, pair[0]) for pair in of]
    return Rows(
        events=events,
        kind=events["kind"].to_numpy(),
        page=events["page"].to_numpy().astype(np.int64),
        bounds=np.searchsorted(events["process"].to_numpy(), np.arange(count + 1)),
        parent=parent,
        start=start,
        end=end,
        lists=lists,
        thread_process=np.array([process for process, _ in threads], np.int32),
        list_of=list_of,
        in_lists=np.argsort(lists, kind="stable"),
    )
