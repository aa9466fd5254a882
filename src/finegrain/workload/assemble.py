"""Turns perf's raw records into the rows of a recording.

What this adds to the raw records: which process a row belongs to (pids are used again); one MAP row for
each successful mmap call, from the call's arguments, its result and the mapping record between them;
the heap's end from the result of brk; which reads, writes and closes are of pipes, which of files, and of which files
(see descriptors); and it drops the mapping records that mprotect and brk also cause when the calls themselves are
there to say more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.descriptors import follow
from finegrain.workload.syscalls import ERROR

PAGE_SHIFT = 12
_USER_ADDRESSES = 1 << 47  # x86-64 and aarch64 with 48-bit addresses: user space lies below
_LINUX_MAP_SHARED, _LINUX_MAP_ANONYMOUS = 0x3, 0x20  # 3 is MAP_SHARED_VALIDATE; 1 is within it
_CLONE_VM = 0x100
# bits of the x86 page fault error code
_PF_PRESENT, _PF_WRITE, _PF_INSTRUCTION = 1, 2, 16

# raw records that say what a mapping record after them belongs to: a call, an exec (whose last mappings are
# the vdso and its data), or nothing
_MARKS = [
    "exec", "enter", "enter_execve", "enter_execveat",
    "enter_mmap", "exit_mmap", "enter_brk", "exit_brk", "enter_mremap", "exit_mremap",
    "munmap", "mprotect", "fork", "wait", "fault_user",
]  # fmt: skip
_CONSUMED = ["enter_brk", "mprotect", "enter_mremap"]
_SPECIAL = r"^\[(vdso|vvar|vsyscall|uprobes)"


@dataclass(frozen=True)
class Assembled:
    """The parts of a recording that come from the records."""

    events: pl.DataFrame
    files: list[str]
    paths: list[str]
    processes: int
    duration_ns: int
    lost: int


def _page(column: str) -> pl.Expr:
    return pl.col(column) // (1 << PAGE_SHIFT)


def _pages(start: str, length: str) -> pl.Expr:
    """Return how many pages the bytes from `start` on touch."""
    end = pl.col(start) + pl.col(length) + ((1 << PAGE_SHIFT) - 1)
    return end // (1 << PAGE_SHIFT) - _page(start)


def _signed(column: str) -> pl.Expr:
    """Return the low 32 bits as the signed number that they are for the system call."""
    low = (pl.col(column) & 0xFFFFFFFF).cast(pl.Int64)
    return pl.when(low >= 1 << 31).then(low - (1 << 32)).otherwise(low)


def _number_processes(raw: pl.DataFrame) -> pl.DataFrame:
    """Add `process`, `thread`, and for rows that name others `other` and `leader`: indices in order of creation.

    `other` is the child of a fork or wait, the process whose group setpgid changes, or the leader of the group
    that is killed; `leader` is that of the group that setpgid names.
    """
    born = raw.filter((pl.col("what") == "fork") & (pl.col("a") != pl.col("pid"))).select(
        pl.col("a").cast(pl.Int64).alias("pid"), "row", "time"
    )
    first = raw.group_by("pid").agg(pl.col("row").min(), pl.col("time").min())
    known = born.group_by("pid").agg(pl.col("row").min().alias("born"))
    roots = first.join(known, on="pid", how="left").filter(
        pl.col("born").is_null() | (pl.col("row") < pl.col("born"))
    )
    births = (
        pl.concat([roots.select("pid", pl.col("row")), born.select("pid", "row")])
        .sort("row")
        .with_row_index("process")
    )
    raw = raw.sort("row").join_asof(births, on="row", by="pid", strategy="backward", check_sortedness=False)
    named, own, what = pl.col("a").cast(pl.Int64, strict=False), pl.col("pid"), pl.col("what")
    signed = _signed("a")
    target = pl.when(named == 0).then(own).otherwise(named)
    group = pl.col("b").cast(pl.Int64, strict=False)
    raw = raw.with_columns(
        other_pid=pl.when(what.is_in(["fork", "wait"]))
        .then(named)
        .when(what == "setpgid")
        .then(target)
        .when((what == "kill") & (signed <= 0) & (signed != -1))
        .then(pl.when(signed == 0).then(own).otherwise(-signed)),
        leader_pid=pl.when(what == "setpgid").then(pl.when(group == 0).then(target).otherwise(group)),
    )
    for name in ("other", "leader"):
        names = births.select(pl.col("pid").alias(f"{name}_pid"), pl.col("process").alias(name), "row")
        raw = raw.sort("row").join_asof(
            names, on="row", by=f"{name}_pid", strategy="backward", check_sortedness=False
        )
    # a process's threads, in order of creation, or of what is first heard of them
    begun = (pl.col("what") == "fork") & (pl.col("a") == pl.col("pid"))
    tid = pl.when(begun).then(pl.col("b").cast(pl.Int64, strict=False)).otherwise(pl.col("tid"))
    threads = (
        raw.select("row", "process", "pid", tid.alias("tid")).filter(pl.col("tid") != pl.col("pid")).sort("row")
        .unique(["process", "tid"], keep="first", maintain_order=True)
        .select("process", "tid", thread=pl.col("tid").cum_count().over("process"))
    )  # fmt: skip
    new = threads.select(
        "process", pl.col("tid").cast(pl.UInt64).alias("b"), pl.col("thread").alias("new_thread")
    )
    return (
        raw.join(threads, on=["process", "tid"], how="left", maintain_order="left")
        .join(new, on=["process", "b"], how="left", maintain_order="left")
        .with_columns(pl.col("thread").fill_null(0))
    )


def _map_calls(raw: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each mmap call that succeeded, at the time it was entered."""
    calls = raw.filter(
        pl.col("what").is_in(["enter_mmap", "exit_mmap"])
        | ((pl.col("what") == "map") & (pl.col("mark") == "enter_mmap"))
    )
    enter = pl.col("what") == "enter_mmap"

    def entered(column: str) -> pl.Expr:
        return pl.when(enter).then(pl.col(column)).forward_fill().over("tid")

    mapped = pl.when(pl.col("what") == "map").then(pl.col("name")).when(enter).then(pl.lit(""))
    calls = calls.with_columns(
        start=pl.col("a"),
        entry=entered("row"),
        at=entered("time"),
        length=entered("b"),
        prot=entered("c"),
        flags=entered("d"),
        skip=entered("e"),
        name=mapped.forward_fill().over("tid"),
    ).filter((pl.col("what") == "exit_mmap") & (pl.col("start") < ERROR) & pl.col("entry").is_not_null())
    shared = (pl.col("flags") & _LINUX_MAP_SHARED) != 2
    anonymous = (pl.col("flags") & _LINUX_MAP_ANONYMOUS) != 0
    return calls.with_columns(
        row=pl.col("entry"),
        time=pl.col("at"),
        kind=pl.lit(rec.MAP),
        page=_page("start"),
        pages=_pages("start", "length"),
        offset=pl.when(anonymous).then(0).otherwise(_page("skip")),
        info=(pl.col("prot") & 7) + pl.when(shared).then(rec.MAP_SHARED).otherwise(0),
        file_name=pl.when(~anonymous).then(pl.col("name").str.slice(5)),
    )


def _map_records(raw: pl.DataFrame) -> pl.DataFrame:
    """Return the mapping records that no call accounts for: those of exec, and all in kind "software"."""
    rows = raw.filter(
        (pl.col("what") == "map") & ~pl.col("mark").is_in([*_CONSUMED, "enter_mmap"]).fill_null(False)
    )
    name = pl.col("name").str.slice(5)
    file = (name.str.starts_with("/") & (name != "//anon")) | name.str.contains(_SPECIAL)
    info = pl.lit(0)
    for at, letter, bit in (
        (0, "r", rec.PROT_READ),
        (1, "w", rec.PROT_WRITE),
        (2, "x", rec.PROT_EXEC),
        (3, "s", rec.MAP_SHARED),
    ):
        info += pl.when(pl.col("name").str.slice(at, 1) == letter).then(bit).otherwise(0)
    info += pl.when(name == "[stack]").then(rec.MAP_STACK).otherwise(0)
    info += pl.when(pl.col("mark") == "exec").then(rec.MAP_EXEC).otherwise(0)
    return rows.with_columns(
        kind=pl.lit(rec.MAP),
        page=_page("a"),
        pages=_pages("a", "b"),
        offset=pl.when(file).then(_page("c")).otherwise(0),
        info=info,
        file_name=pl.when(file).then(name),
    )


def _faults(raw: pl.DataFrame) -> pl.DataFrame:
    """Return the fault rows, on user addresses only."""
    rows = raw.filter(pl.col("what").str.starts_with("fault") & (pl.col("a") < _USER_ADDRESSES))
    info = pl.lit(0)
    for error_bit, bit in (
        (_PF_WRITE, rec.FAULT_WRITE),
        (_PF_INSTRUCTION, rec.FAULT_EXEC),
        (_PF_PRESENT, rec.FAULT_PRESENT),
    ):
        info += pl.when((pl.col("b") & error_bit) != 0).then(bit).otherwise(0)
    info += pl.when(pl.col("what") == "fault_kernel").then(rec.FAULT_IN_KERNEL).otherwise(0)
    info = pl.when(pl.col("what") == "fault").then(rec.FAULT_UNKNOWN).otherwise(info)
    return rows.with_columns(kind=pl.lit(rec.FAULT), page=_page("a"), info=info)


def _returning(raw: pl.DataFrame, call: str, *columns: str) -> pl.DataFrame:
    """Return the successful `exit_<call>` rows, with `columns` and the time of the entry before them."""
    enter = pl.col("what") == f"enter_{call}"
    rows = raw.filter(pl.col("what").is_in([f"enter_{call}", f"exit_{call}"])).with_columns(
        *(
            pl.when(enter).then(pl.col(column)).forward_fill().over("tid").alias(f"entry_{column}")
            for column in ("row", "time", *columns)
        )
    )
    return rows.filter(
        (pl.col("what") == f"exit_{call}") & (pl.col("a") < ERROR) & pl.col("entry_row").is_not_null()
    ).with_columns(row=pl.col("entry_row"), time=pl.col("entry_time"))


def _forks(raw: pl.DataFrame) -> pl.DataFrame:
    """Return a FORK row for each new process, and a THREAD row for each new thread."""
    flags = raw.filter(pl.col("what") == "newtask").select(
        pl.col("a").alias("b"), pl.col("b").alias("flags"), "row"
    )
    rows = raw.filter((pl.col("what") == "fork") & (pl.col("b") != pl.col("pid"))).sort("row")
    rows = rows.join_asof(flags.sort("row"), on="row", by="b", strategy="forward", check_sortedness=False)
    shares = (pl.col("flags").fill_null(0) & _CLONE_VM) != 0
    own = pl.col("a") == pl.col("pid")
    return rows.with_columns(
        kind=pl.when(own).then(rec.THREAD).otherwise(rec.FORK),
        info=pl.when(own).then(pl.col("new_thread")).otherwise(pl.col("other")),
        pages=pl.when(shares & ~own).then(1).otherwise(0),
        offset=pl.col("flags"),
    )


def _exits(raw: pl.DataFrame) -> pl.DataFrame:
    """Return the exit of each process, that of its last thread, and those of the threads before."""
    rows = raw.filter(pl.col("what") == "exit")
    last = pl.col("row") == pl.col("row").max().over("process")
    return rows.with_columns(
        kind=pl.when(last).then(rec.EXIT).otherwise(rec.THREAD_EXIT),
        thread=pl.when(last).then(0).otherwise(pl.col("thread")),
    )


def _bounded() -> pl.Expr:
    """Say of rows whether their pages lie in user space: a call that fails may ask for others."""
    memory = [rec.FAULT, rec.MAP, rec.UNMAP, rec.PROTECT, rec.BREAK, rec.MOVE]
    pages = pl.col("pages").fill_null(0)
    limit = _USER_ADDRESSES >> PAGE_SHIFT
    inside = (pl.col("page") < limit) & (pages <= limit) & (pl.col("page") + pages <= limit)
    return ~pl.col("kind").is_in(memory) | inside.fill_null(True)


def assemble(
    raw: pl.DataFrame,
    descriptors: Iterable[int] = range(3),
    directory: str | None = None,
    names: bool = False,
) -> Assembled:
    """Make a recording's rows out of raw records (see perf_text) in perf's order.

    `descriptors` and `directory` (the current one) are those that the first process begins with. File calls become
    rows when their `names` were recorded.
    """
    lost = int(raw.filter(pl.col("what") == "lost")["a"].sum() or 0)
    raw = raw.filter(pl.col("what") != "lost").with_row_index("row")
    special = (pl.col("what") == "map") & pl.col("name").str.slice(5).str.contains(_SPECIAL)
    mark = pl.when(special).then(pl.lit("special")).when(pl.col("what").is_in(_MARKS)).then(pl.col("what"))
    raw = _number_processes(raw).with_columns(mark=mark.forward_fill().over("tid"))
    raw = raw.filter(pl.col("process").is_not_null())

    def only(*what: str) -> pl.DataFrame:
        return raw.filter(pl.col("what").is_in(what))

    followed = follow(raw, descriptors, directory, names)
    switch = pl.when(pl.col("what") == "in").then(rec.ON).otherwise(rec.OFF)
    parts = [
        _faults(raw),
        _map_calls(raw),
        _map_records(raw),
        only("munmap").with_columns(kind=pl.lit(rec.UNMAP), page=_page("a"), pages=_pages("a", "b")),
        only("mprotect").with_columns(
            kind=pl.lit(rec.PROTECT), page=_page("a"), pages=_pages("a", "b"), info=pl.col("c") & 7
        ),
        _returning(raw, "brk").with_columns(
            kind=pl.lit(rec.BREAK), page=(pl.col("a") + ((1 << PAGE_SHIFT) - 1)) // (1 << PAGE_SHIFT)
        ),
        _returning(raw, "mremap", "a", "b", "c").with_columns(
            kind=pl.lit(rec.MOVE),
            page=_page("a"),
            pages=_pages("entry_a", "entry_c"),
            offset=_page("entry_a"),
            info=_pages("entry_a", "entry_b"),
        ),
        _forks(raw),
        only("exec").with_columns(kind=pl.lit(rec.EXEC)),
        _exits(raw),
        only("wait")
        .filter(pl.col("other").is_not_null())
        .with_columns(kind=pl.lit(rec.WAIT), info=pl.col("other")),
        only("setpgid")
        .filter(pl.col("other").is_not_null() & pl.col("leader").is_not_null())
        .with_columns(kind=pl.lit(rec.SETPGID), info=pl.col("other"), offset=pl.col("leader")),
        only("setsid").with_columns(kind=pl.lit(rec.SETSID)),
        only("kill")
        .filter(pl.col("other").is_not_null())
        .with_columns(kind=pl.lit(rec.KILLPG), info=pl.col("other")),
        only("enter", "enter_execve", "enter_execveat").with_columns(kind=pl.lit(rec.KERNEL)),
        followed.rows,
        only("out", "preempted", "in").with_columns(
            kind=switch, info=pl.when(pl.col("what") == "preempted").then(1).otherwise(0)
        ),
    ]
    blank = pl.DataFrame(schema={"row": pl.UInt32, "file_name": pl.String, **rec.COLUMNS})
    shaped = [
        part.select(pl.col(name).cast(dtype) for name, dtype in blank.schema.items() if name in part.columns)
        for part in parts
    ]
    events = pl.concat([blank, *shaped], how="diagonal").filter(_bounded())
    # what exec and exit close stands before them
    events = events.sort("process", "row", pl.col("kind").is_in([rec.EXEC, rec.EXIT]), maintain_order=True)
    files = events["file_name"].drop_nulls().unique(maintain_order=True).sort().to_list()
    index = pl.DataFrame({"file_name": files, "number": range(1, len(files) + 1)})
    index = index.cast({"file_name": pl.String, "number": pl.UInt32})
    start = int(events.select(pl.col("time").min()).item() or 0)
    unit = rec.TIME_UNIT_NS
    events = (
        events.join(index, on="file_name", how="left", maintain_order="left")
        .with_columns(file=pl.col("number"), time=(pl.col("time") - start) // unit * unit)
        .select(pl.col(name).fill_null(0).cast(dtype) for name, dtype in rec.COLUMNS.items())
    )
    duration = int(events.select(pl.col("time").max()).item() or 0)
    processes = int(raw.select(pl.max_horizontal(pl.col("process").max(), pl.col("other").max())).item() or 0)
    return Assembled(events, files, followed.paths, processes + 1, duration, lost)
