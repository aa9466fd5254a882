"""What is in a recording, in numbers."""

from dataclasses import dataclass

import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.recording import Recording


@dataclass(frozen=True)
class Summary:
    """Counts over a whole recording; times in ns."""

    processes: int
    threads: int  # beyond each process's first
    concurrent: int  # processes alive at once, at most
    forks: int
    vforks: int
    execs: int
    faults: dict[tuple[str, bool], int]  # by access and whether the page was there already, in a fixed order
    kernel_faults: int  # of these, made by the kernel on user pages
    file_maps: int
    anonymous_maps: int
    exec_maps: int  # of these, made by exec itself
    unmaps: int
    protects: int
    breaks: int
    moves: int
    pipes: int
    pipe_reads: int
    ends_of_file: int  # of these, found the pipe's end
    pipe_writes: int
    pipe_bytes: int  # written
    file_calls: dict[int, tuple[int, int]]  # by kind of row: how many, and how many of them failed
    lookups: int  # file calls that look a name up
    nameless: int  # of these, with a name that is not known
    on_cpu_ns: int
    faults_per_process: list[tuple[int, int, int]]  # from, to (not included), processes
    executables: list[tuple[str, int]]  # file and how often it was executed, most first


def _faults(faults: pl.DataFrame) -> dict[tuple[str, bool], int]:
    """Count faults by access, and by whether the page was there already."""
    info = faults["info"]
    access = info & (rec.FAULT_WRITE | rec.FAULT_EXEC | rec.FAULT_UNKNOWN)
    names = {0: "read", rec.FAULT_EXEC: "execute", rec.FAULT_WRITE: "write", rec.FAULT_UNKNOWN: "unknown"}
    present = (info & rec.FAULT_PRESENT) != 0
    counts = {(name, False): int(((access == a) & ~present).sum()) for a, name in names.items()}
    counts |= {(name, True): int(((access == a) & present).sum()) for a, name in names.items()}
    return {key: count for key, count in counts.items() if count}


def _histogram(counts: pl.Series) -> list[tuple[int, int, int]]:
    """Count values by powers of two; the first class is 0 alone."""
    classes = [(0, 1)]
    top = int(counts.max() or 0)  # type: ignore[arg-type]
    while classes[-1][1] <= top:
        low = classes[-1][1]
        classes.append((low, 2 * low))
    histogram = [(low, high, int(((counts >= low) & (counts < high)).sum())) for low, high in classes]
    while histogram and histogram[0][2] == 0:
        del histogram[0]
    return histogram


def _executables(events: pl.DataFrame, files: list[str]) -> list[tuple[str, int]]:
    """Count execs by what was executed: the first file that an exec maps."""
    special = [i + 1 for i, name in enumerate(files) if name.startswith("[")]
    maps = (
        events.with_columns(exec=(pl.col("kind") == rec.EXEC).cum_sum().over("process"))
        .filter(
            (pl.col("kind") == rec.MAP)
            & ((pl.col("info") & rec.MAP_EXEC) != 0)
            & (pl.col("file") > 0)
            & ~pl.col("file").is_in(special)
        )
        .group_by("process", "exec", maintain_order=True)
        .agg(pl.col("file").first())
    )
    counts = maps.group_by("file").len().sort(["len", "file"], descending=[True, False])
    return [(files[file - 1], count) for file, count in counts.iter_rows()]


def _concurrent(events: pl.DataFrame) -> int:
    """Return how many processes were alive at once, at most."""
    change = pl.when(pl.col("kind") == rec.FORK).then(1).otherwise(-1)
    changes = events.filter(pl.col("kind").is_in([rec.FORK, rec.EXIT])).with_columns(change.alias("change"))
    alive = changes.sort("time", "change")["change"].cum_sum()
    return 1 + max(int(alive.max() or 0), 0)  # type: ignore[arg-type]


def _file_calls(events: pl.DataFrame) -> dict[int, tuple[int, int]]:
    """Count file calls by kind, and those of each that failed."""
    calls = events.filter(pl.col("kind") >= rec.FILE_OPEN)
    counts = calls.group_by("kind").agg(pl.len(), failed=(pl.col("error") > 0).sum()).sort("kind")
    return {kind: (count, failed) for kind, count, failed in counts.iter_rows()}


def summarize(recording: Recording) -> Summary:
    """Count what is in `recording`."""
    events = recording.events
    kind = pl.col("kind")
    faults = events.filter(kind == rec.FAULT)
    maps = events.filter(kind == rec.MAP)
    forks = events.filter(kind == rec.FORK)
    reads, writes = events.filter(kind == rec.READ), events.filter(kind == rec.WRITE)
    lookups = events.filter(kind.is_in(rec.LOOKUPS))
    task = ["process", "thread"]
    since = (pl.col("time") - pl.col("time").shift(1).over(task)).fill_null(0)
    was_off = (kind.shift(1).over(task) == rec.OFF).fill_null(False)
    per_process = (
        pl.DataFrame({"process": pl.Series(range(recording.processes), dtype=pl.UInt32)})
        .join(faults.group_by("process").len(), on="process", how="left")["len"]
        .fill_null(0)
    )

    def count(which: int) -> int:
        return int((events["kind"] == which).sum())

    return Summary(
        processes=recording.processes,
        threads=events.filter(pl.col("thread") > 0).select(task).n_unique(),
        concurrent=_concurrent(events),
        forks=int((forks["pages"] == 0).sum()),
        vforks=int((forks["pages"] != 0).sum()),
        execs=count(rec.EXEC),
        faults=_faults(faults),
        kernel_faults=int(((faults["info"] & rec.FAULT_IN_KERNEL) != 0).sum()),
        file_maps=int((maps["file"] > 0).sum()),
        anonymous_maps=int((maps["file"] == 0).sum()),
        exec_maps=int(((maps["info"] & rec.MAP_EXEC) != 0).sum()),
        unmaps=count(rec.UNMAP),
        protects=count(rec.PROTECT),
        breaks=count(rec.BREAK),
        moves=count(rec.MOVE),
        pipes=count(rec.PIPE),
        pipe_reads=len(reads),
        ends_of_file=int((reads["pages"] == 0).sum()),
        pipe_writes=len(writes),
        pipe_bytes=int(writes["pages"].sum()),
        file_calls=_file_calls(events),
        lookups=len(lookups),
        nameless=int((lookups["path"] == 0).sum()),
        on_cpu_ns=int(events.select(since.filter(~was_off).sum()).item() or 0),
        faults_per_process=_histogram(per_process),
        executables=_executables(events, recording.files),
    )
